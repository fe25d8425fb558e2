"""The study: every choice of a simulation and its audit, as one validated, hashable object.

``study.toml`` maps onto :class:`Study` one to one; unknown keys are refused. The file written into
a run directory holds every default, so a run can be repeated from it alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .audit_settings import AuditSection as AuditSection
from .people.settings import BehaviourSection as BehaviourSection
from .people.settings import ChatSection as ChatSection
from .people.settings import PeopleSection as PeopleSection
from .people.settings import UsersSection as UsersSection
from .section import Section
from .society.settings import SocietySection, StayingSection
from .supply.settings import AdversarySection, GeneratorsSection, SupplySection

USER_MODELS = ("habitual", "curious", "impressionable")
Arm = Literal["random", "popularity", "frozen", "none", "shuffled", "oracle"]
ARMS: tuple[Arm, ...] = ("random", "popularity", "frozen", "none")

_LONGEST_LABEL = 100  # bytes

Scalar = bool | int | float | str


class StudySection(Section):
    """[study]: what is run, how often, from which seed."""

    name: str = Field(
        default="study",
        max_length=120,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="names the run directory",
    )
    seed: int = Field(default=7, ge=0, description="everything random derives from this number")
    steps: int = Field(default=40, ge=2, description="steps of the feedback loop")
    worlds: int = Field(default=10, ge=1, description="independent worlds: the unit of inference")
    block: int = Field(
        default=65_536, ge=16, description="people served and counted at once; unit of shards"
    )
    shards: int = Field(
        default=1, ge=1, description="parts a world's people are lived in, side by side"
    )
    arms: tuple[Arm, ...] = Field(
        default=ARMS, description="what the same people live with otherwise"
    )
    engine: Literal["auto", "numpy", "compiled"] = Field(
        default="auto",
        description="auto: compiled where all people follow the plain laws, else numpy",
    )
    log: Literal["compact", "full"] = Field(
        default="compact",
        description="compact: lists once and visits that point into them; full: a row a slot",
    )
    log_scores: bool = Field(
        default=False,
        description="keep the scores of lists in a compact log too: two thirds of its bytes",
    )
    said_to: Annotated[int, Field(ge=0)] = Field(
        default=100,
        description="people of a world of whom is kept what a recommender told them in words, "
        "0 = nothing is kept",
    )
    checkpoint_every: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="steps between checkpoints, kept at the end of a part of the log, which has "
        "10 steps at most and never more than this; 0 = every part, unless that would cost over a "
        "tenth of the time",
    )


class WorldSection(Section):
    """[world]: the people and the catalog."""

    kind: Literal["synthetic", "dataset"] = Field(
        default="synthetic", description="invented people, or people fitted to a dataset"
    )
    dataset: str = Field(default="", description="a named data set, or a CSV or Parquet file")
    folder: str = Field(
        default="", description="where the dataset's files are, if not in the cache"
    )
    columns: dict[str, str] = Field(default_factory=dict, description="column map of a CSV")
    users: Annotated[int, Field(ge=1)] = Field(default=300, description="people in each world")
    items: Annotated[int, Field(ge=2)] = Field(default=400, description="items in the catalog")
    topics: Annotated[int, Field(ge=2)] = Field(
        default=12, description="topics that tastes are made of"
    )
    dim: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0,
        description="0: tastes are topic shares; else unit vectors of so many dimensions",
    )
    history: Annotated[float, Field(gt=0)] = Field(
        default=20.0, description="mean interactions a user has before the loop starts"
    )
    learn: tuple[Literal["persistence", "drift", "position_bias"], ...] = Field(
        default=("persistence",),
        description="constants of people estimated from the dataset, in place of the preset's",
    )
    unequal_base_rates: bool = Field(
        default=False, description="groups differ in taste breadth and activity (a fairness trap)"
    )

    @model_validator(mode="after")
    def _dataset_named(self) -> WorldSection:
        if self.kind == "dataset" and not self.dataset:
            raise ValueError("kind = 'dataset' needs dataset = '...' (ml-100k, ml-1m or a file)")
        return self


class RecommenderSection(Section):
    """[[recommenders]]: one recommender to study."""

    name: str = Field(
        min_length=1, description="built-in name, entry point, module:attr, path, URL"
    )
    label: str = Field(
        default="", description="how reports call it; default: derived from the name"
    )
    args: dict[str, Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict, description="handed to the recommender: { epochs = 20 }"
    )
    role: Literal["target", "reference"] = Field(
        default="target", description="audited, or only lived as one more arm to compare with"
    )
    retrain_every: Annotated[int, Field(ge=0)] = Field(
        default=10, description="steps between updates, 0 = never"
    )
    retrain_on_drift: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="update when consumed topics moved by this total variation; 0 = by steps",
    )
    refresh_every: Annotated[int, Field(ge=1)] = Field(
        default=1, description="steps that lists are served from before they are made anew"
    )
    list_length: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="items in a list, 0 = as many as a slate; longer ones are paged"
    )
    retrain_mode: Literal["auto", "incremental", "full"] = Field(
        default="auto", description="auto: incremental where the recommender can, else full"
    )
    training_budget: Annotated[int, Field(ge=0)] = Field(
        default=0, description="updates at most over the whole loop, 0 = no limit"
    )
    seconds_per_call: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="a call that takes longer is a fault, and the arm goes on"
    )


class ExperimentSection(Section):
    """[[experiments]]: an A/B test inside one world, its people split between two recommenders."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the arm: experiment-<name>"
    )
    treatment: str = Field(description="label of the recommender on trial")
    control: str = Field(description="label of the recommender it is compared with")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="share of people who get the treatment"
    )
    pooled: bool = Field(
        default=True, description="both learn from everybody's clicks; false: each from its own"
    )


class Study(Section):
    """A whole study; ``Study()`` is the default synthetic one."""

    study: StudySection = Field(default_factory=lambda: StudySection())
    world: WorldSection = Field(default_factory=lambda: WorldSection())
    people: PeopleSection = Field(default_factory=lambda: PeopleSection())
    users: tuple[UsersSection, ...] = ()
    chat: ChatSection = Field(default_factory=lambda: ChatSection())
    society: SocietySection | None = None
    staying: StayingSection | None = None
    supply: SupplySection | None = None
    generators: GeneratorsSection | None = None
    adversaries: tuple[AdversarySection, ...] = ()
    recommenders: tuple[RecommenderSection, ...] = ()
    experiments: tuple[ExperimentSection, ...] = ()
    audit: AuditSection = Field(default_factory=lambda: AuditSection())

    @field_validator("users")
    @classmethod
    def _shares_sum_to_one(cls, value: tuple[UsersSection, ...]) -> tuple[UsersSection, ...]:
        whole = sum(kind.share for kind in value)
        if value and abs(whole - 1.0) > 1e-6:
            raise ValueError(f"the shares of [[users]] must sum to 1, got {whole:g}")
        return value

    @property
    def asks(self) -> bool:
        """Whether some people's choices come from a chat endpoint."""
        return any(kind.persons == "chat" for kind in self.users)

    @model_validator(mode="after")
    def _endpoint_named(self) -> Study:
        if self.asks and (lacks := self.chat.lacks()):
            raise ValueError(f"[[users]] persons = 'chat' asks the endpoint of [chat], and {lacks}")
        return self

    @model_validator(mode="after")
    def _new_items_leave_room(self) -> Study:
        fresh = 0 if self.supply is None else self.supply.fresh_slots
        if fresh > self.people.slate:
            raise ValueError(
                f"[supply] fresh_slots must be at most [people] slate ({self.people.slate}), got "
                f"{fresh}"
            )
        return self

    @model_validator(mode="after")
    def _rows_hold_items(self) -> Study:
        if self.people.rows > self.people.slate:
            raise ValueError(
                f"[people] rows must be at most slate ({self.people.slate}), got "
                f"{self.people.rows}: a row without an item is no row"
            )
        laws = [kind.choice.law for kind in self.users or (self.people,)]
        if self.people.rows > 1 and "carousel" not in laws:
            raise ValueError(
                f"[people] rows = {self.people.rows}, and nobody looks at rows; set choice = "
                "'carousel' in [people] or in one of [[users]]"
            )
        return self

    @model_validator(mode="after")
    def _satisfaction_is_kept(self) -> Study:
        if self.staying is not None and self.staying.pleased_by == "satisfaction":
            for kind in self.users or (self.people,):
                if "satisfaction" not in [law.law for law in kind.change]:
                    raise ValueError(
                        "[staying] pleased_by = 'satisfaction' needs the law 'satisfaction' in "
                        "change of [people], or of every one of [[users]]"
                    )
        return self

    @model_validator(mode="after")
    def _lists_hold_slates(self) -> Study:
        for one in self.recommenders:
            if 0 < one.list_length < self.people.slate:
                raise ValueError(
                    f"{label_of(one)!r}: list_length must be 0 or at least [people] slate "
                    f"({self.people.slate}), got {one.list_length}"
                )
        return self

    @model_validator(mode="after")
    def _laws_fit_the_tastes(self) -> Study:
        for kind in (self.people, *self.users):
            for law in kind.change:
                if law.vectors_only and self.world.dim == 0:
                    raise ValueError(
                        f"the law {law.law!r} moves unit vectors, and tastes are shares of topics; "
                        "set [world] dim to the number of dimensions"
                    )
        return self

    @field_validator("adversaries")
    @classmethod
    def _attacks_differ(cls, value: tuple[AdversarySection, ...]) -> tuple[AdversarySection, ...]:
        names = [one.name for one in value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two adversaries are called {twice[0]!r}; give them other names")
        return value

    @field_validator("recommenders")
    @classmethod
    def _labels_differ(
        cls, value: tuple[RecommenderSection, ...]
    ) -> tuple[RecommenderSection, ...]:
        labels = [label_of(r) for r in value]
        twice = {x for x in labels if labels.count(x) > 1}
        if twice:
            raise ValueError(f"two recommenders are called {sorted(twice)[0]!r}; give them labels")
        reserved = {"random", "popularity", "none", "oracle"}
        reserved |= {f"{label}-{kind}" for label in labels for kind in ("frozen", "shuffled")}
        taken = reserved & {label for label, r in zip(labels, value, strict=True) if r.label}
        if taken:
            raise ValueError(f"the label {sorted(taken)[0]!r} is the name of an arm; pick another")
        return value

    @model_validator(mode="after")
    def _experiments_name_recommenders(self) -> Study:
        by_label = {label_of(r): r for r in self.recommenders if r.name != "none"}
        names = [e.name for e in self.experiments]
        if len(set(names)) < len(names):
            raise ValueError("two [[experiments]] have the same name; rename one")
        for one in self.experiments:
            for part in (one.treatment, one.control):
                if part not in by_label:
                    raise ValueError(
                        f"experiment {one.name!r} names {part!r}, which is no recommender of this "
                        f"study ({', '.join(by_label) or 'there is none'})"
                    )
            if one.treatment == one.control:
                raise ValueError(f"experiment {one.name!r} compares {one.control!r} with itself")
            a, b = by_label[one.treatment], by_label[one.control]
            if schedule_of(a) != schedule_of(b):
                raise ValueError(
                    f"experiment {one.name!r}: {one.treatment!r} and {one.control!r} must be "
                    "retrained and refreshed on the same schedule (retrain_every, "
                    "retrain_on_drift, training_budget, refresh_every, list_length)"
                )
        return self


def schedule_of(section: RecommenderSection) -> tuple[int, float, int, int, int]:
    """When a recommender is retrained (every so many steps, on so much drift, at most so often),
    when its lists are made anew, and how long they are."""
    return (
        section.retrain_every,
        section.retrain_on_drift,
        section.training_budget,
        section.refresh_every,
        section.list_length,
    )


def label_of(recommender: RecommenderSection) -> str:
    """The file-system-safe name a recommender's arm carries: "multvae", "my_pkg.MyRecommender",
    "mine.Trending" for ``path/mine.py:Trending``, "host.org-8000-top" for
    ``http://host.org:8000/top``, "python-child.py" for ``cmd:python child.py``."""
    raw = recommender.label or recommender.name
    if not recommender.label and (outside := re.match(r"(?:https?://|cmd:)(.+)", raw)):
        raw = re.sub(r"[^\w.]+", "-", outside[1].split("?")[0]).strip("-")
    if recommender.label == "" and raw in ("random", "popularity", "none", "oracle"):
        raw = f"{raw}-target"
    tail = raw.rsplit("/", 1)[-1] if ":" not in raw.split("/")[0] else raw
    if not recommender.label:
        tail = tail.replace(".py:", ".")
    safe = "".join(c if c.isalnum() or c in "._-" else "." for c in tail).strip(".")
    if len(safe.encode()) > _LONGEST_LABEL:  # file systems allow 255 bytes
        short = safe.encode()[:_LONGEST_LABEL].decode(errors="ignore")
        safe = f"{short}-{hashlib.sha256(raw.encode()).hexdigest()[:8]}"
    return safe or "recommender"
