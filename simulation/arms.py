"""Arms: the policies that one world lives through, so that harms are contrasts, not anecdotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .study import ExperimentSection, RecommenderSection, Study, label_of

Kind = Literal[
    "target",
    "reference",
    "frozen",
    "shuffled",
    "experiment",
    "random",
    "popularity",
    "none",
    "oracle",
]

REFERENCE_RETRAIN = 10
"""Steps between updates of the reference arms (only popularity has something to learn)."""


@dataclass(frozen=True)
class Arm:
    """One policy.

    Attributes:
        name: directory-safe, unique in a study: "multvae", "multvae-frozen", "random".
        kind: what it stands for in a contrast.
        recommender: what serves it; None for the organic arm and for the oracle. In an experiment
            it is the treatment.
        control: what serves the other people of an experiment; else None.
        experiment: the experiment's table; else None.
        retrain_every: steps between updates, 0 for never.
        luck: shifts the organic arm's luck, for A/A tests.
    """

    name: str
    kind: Kind
    recommender: RecommenderSection | None
    retrain_every: int = 0
    luck: int = 0
    control: RecommenderSection | None = None
    experiment: ExperimentSection | None = None

    @property
    def learns(self) -> bool:
        """Whether what people do under this arm comes back into its recommender."""
        return self.kind != "frozen" and self.recommender is not None

    @property
    def refresh_every(self) -> int:
        """Steps between refreshes of the lists that slates are served from."""
        return 1 if self.recommender is None else self.recommender.refresh_every

    @property
    def list_length(self) -> int:
        """Items of such a list; 0 for as many as a slate has."""
        return 0 if self.recommender is None else self.recommender.list_length


def arms_of(study: Study) -> tuple[Arm, ...]:
    """Every arm of a study, targets first, references last."""
    arms: list[Arm] = []
    for section in study.recommenders:
        label = label_of(section)
        if section.name == "none":  # the organic process as a target: the control of A/A tests
            luck = int(section.args.get("seed", 0))  # type: ignore[arg-type]
            arms.append(Arm(label, "target", None, luck=luck))
            continue
        arms.append(Arm(label, section.role, section, section.retrain_every))
        if section.role == "reference":
            continue
        if "frozen" in study.study.arms:
            arms.append(Arm(f"{label}-frozen", "frozen", section))
        if "shuffled" in study.study.arms:
            arms.append(Arm(f"{label}-shuffled", "shuffled", section, section.retrain_every))
    by_label = {label_of(section): section for section in study.recommenders}
    for test in study.experiments:
        a, b = by_label[test.treatment], by_label[test.control]
        name = f"experiment-{test.name}"
        arms.append(Arm(name, "experiment", a, a.retrain_every, control=b, experiment=test))
    for kind in ("random", "popularity", "none", "oracle"):
        if kind in study.study.arms:
            repeats = kind == "random" and study.people.repeat
            made = RecommenderSection(name=kind, args={"repeat": True} if repeats else {})
            served_by = None if kind in ("none", "oracle") else made
            every = REFERENCE_RETRAIN if kind == "popularity" else 0
            arms.append(Arm(kind, kind, served_by, every))
    return tuple(arms)
