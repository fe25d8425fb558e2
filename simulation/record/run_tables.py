"""The tables that a simulation left, read lazily: the log, series, people, items, what was said."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog
from ...recommenders.errors import UserError, unknown_name
from ...recommenders.interactions import Interactions
from ..arms import Arm, arms_of
from ..people.equations import space_of
from ..platform.training import SCHEMA as TRAINING_SCHEMA
from ..study import Study
from .events import Parts, lazy_events, with_origin
from .said import COUNTS, SAID
from .store import Store
from .tables import LISTS, SLOTS, VISITS, Schema


def world_name(index: int) -> str:
    """The directory name of a world: "w003"."""
    return f"w{index:03d}"


def shard_name(index: int, shard: int) -> str:
    """The directory name of a shard of a world: "w003-s001"."""
    return f"{world_name(index)}-s{shard:03d}"


_SMALL = 1 << 18  # bytes of a table that is kept when read
_KEPT = 128  # how many of them; together 32 MiB at most


class RunTables:
    """What is in a run's files, by arm and world; Run adds what the study was about.

    Args:
        study: what was lived; store: where it was written.
        prefix: "" or the folder of another user model.
    """

    def __init__(self, study: Study, store: Store, *, prefix: str = "") -> None:
        self.study = study
        self._store = store
        self._prefix = prefix
        self._kept: dict[str, pl.DataFrame] = {}
        self._arms = {arm.name: arm for arm in arms_of(study)}

    def _known(self, arm: str) -> Arm:
        if arm not in self._arms:
            raise unknown_name("arm", arm, self._arms)
        return self._arms[arm]

    def _places(self, world: int) -> list[str]:
        """The directories that hold a world's people: one, or one a shard."""
        shards = self.study.study.shards
        if shards == 1:
            return [world_name(world)]
        return [shard_name(world, number) for number in range(shards)]

    def _one(self, name: str) -> pl.DataFrame:
        """A table of its own; small ones are read once, since every auditor asks for them."""
        frame = self._kept.get(name)
        if frame is None:
            frame = self._store.scan([name]).collect()
            if frame.estimated_size() <= _SMALL:
                if len(self._kept) >= _KEPT:
                    self._kept.pop(next(iter(self._kept)))  # the oldest
                self._kept[name] = frame
        return frame.clone()

    def events(self, arm: str, world: int) -> pl.LazyFrame:
        """The event log of one arm in one world, one row per shown slot.

        Sorted by step, user, position (shard by shard, where a world was lived in shards). It is
        put together from visits and lists as it is read, of
        the columns and rows that are asked for: aggregate with ``collect(engine="streaming")``,
        and no log is too long for memory.

        Columns: step, user, position, item, score, propensity, shown_by, clicked, value; then,
        null where nobody told: list_version (step in which the list was made), log_propensity,
        rejected, dwell_seconds, recommender_version (times it had learnt), trained_until (last
        step it had learnt from), and origin (0 human, 1 AI-made) if the catalog knows it.
        """
        found, catalog = self._log(arm, world), self.catalog(world, arm=arm)
        if self.study.study.log == "full":
            names = [name for parts in found for name in parts.events]
            return with_origin(self._store.scan(names), catalog)
        return lazy_events(self._store, found, catalog)

    def visits(self, arm: str, world: int) -> pl.LazyFrame:
        """One row a person and step they were there, also where nothing could be shown.

        Sorted by step, user; columns: step, user, list_version, slots (how many items were shown),
        taken and rejected (how many of them; rejected is null where nobody can say so). Much less
        to read than :meth:`events`. A full log knows no visits without a slot.
        """
        found = self._log(arm, world)
        names = [name for parts in found for name in parts.events]
        full = self.study.study.log == "full"
        parts = self._store.scan(names, None if full else VISITS)
        if full:
            return parts.group_by("step", "user", maintain_order=True).agg(
                pl.col("list_version").first(),
                pl.len().cast(pl.UInt32).alias("slots"),
                pl.col("clicked").sum().cast(pl.UInt32).alias("taken"),
                pl.when(pl.col("rejected").count() > 0)
                .then(pl.col("rejected").sum())
                .cast(pl.UInt32)
                .alias("rejected"),
            )
        return parts.select(
            "step",
            "user",
            "list_version",
            SLOTS.cast(pl.UInt32),
            pl.col("taken", "rejected").bitwise_count_ones(),
        )

    def lists(self, arm: str, world: int) -> pl.LazyFrame:
        """One row a list that was made for a person; slates are pages of them.

        Sorted by list_version, user; columns: user, list_version, items, scores and
        log_propensities (lists, null where the recommender gives none), shown_by,
        recommender_version, trained_until.

        Raises:
            UserError: the log is full, and its lists are not kept.
        """
        names = [name for parts in self._log(arm, world) for name in parts.lists]
        if not names:
            raise UserError(
                'this run kept slates and no lists ([study] log = "full"); read them with events()'
            )
        return self._store.scan(names, LISTS)

    def _log(self, arm: str, world: int) -> list[Parts]:
        """Where an arm's log is, shard by shard."""
        every, society = self._known(arm).refresh_every, self.study.society

        def files(what: str, place: str) -> tuple[str, ...]:
            names = self._store.listing(f"{self._prefix}{what}/{arm}/{place}/")
            return tuple(name for name in names if name.endswith(".parquet"))

        return [
            Parts(
                files("events", place),
                files("lists", place),
                every,
                inserted=society is not None and society.friend_slots > 0,
            )
            for place in self._places(world)
        ]

    def series(self, arm: str, world: int) -> pl.DataFrame:
        """Per-step measures of one arm in one world; see simulation.measures.SERIES."""
        self._known(arm)
        return self._one(f"{self._prefix}series/{arm}/{world_name(world)}.parquet")

    def training(self, arm: str, world: int) -> pl.DataFrame:
        """One row an epoch that the arm's recommender trained for: learning (0 is the first fit),
        step (-1: before the loop), epoch (from 1), loss. Empty where it keeps no ``losses``."""
        self._known(arm)
        name = f"{self._prefix}training/{arm}/{world_name(world)}.parquet"
        if not self._store.exists(name):
            return pl.DataFrame(schema=TRAINING_SCHEMA)
        return self._one(name)

    def outcomes(self, arm: str, world: int) -> pl.DataFrame:
        """What became of each person: user, clicks, slate_utility, click_utility,
        initial_click_utility (match of choices with the taste the person started with), taste_end.
        Null for people who never arrived ([staying] arrive).
        """
        self._known(arm)
        truth = f"{self._prefix}truth"
        names = [f"{truth}/outcomes/{arm}/{place}.parquet" for place in self._places(world)]
        return self._store.scan(names).collect()

    def end(self, arm: str, world: int) -> pl.DataFrame:
        """What people were like after the last step: user, present, satiation, and the traits that
        processes and laws of this study keep. Truth: no recommender saw it."""
        self._known(arm)
        truth = f"{self._prefix}truth"
        names = [f"{truth}/end/{arm}/{place}.parquet" for place in self._places(world)]
        return self._store.scan(names).collect()

    def users(self, world: int) -> pl.DataFrame:
        """The people of a world: user, id, attribute columns; then the truth about them: activity,
        taste at the start, segment (index of the kind of people they are)."""
        truth = self._one(f"truth/worlds/{world_name(world)}/people.parquet")
        known = self._one(f"worlds/{world_name(world)}/users.parquet")
        return known.with_columns(truth["activity"], truth["taste"], truth["segment"])

    def attributes(self, world: int) -> tuple[str, ...]:
        """Names of the attribute columns of :meth:`users`."""
        known = self._one(f"worlds/{world_name(world)}/users.parquet").columns
        return tuple(name for name in known if name not in ("user", "id"))

    def catalog(self, world: int, *, arm: str | None = None) -> Catalog:
        """The items of a world, with the truth about them.

        Args:
            world: its number.
            arm: as the catalog was at the end of this arm, with the items that entered; None for
                the items the world began with. Indices of the first are the same in both.
        """
        names = tuple(self._store.json(f"worlds/{world_name(world)}/topics.json"))
        return Catalog.from_frame(self._items(world, arm), names)

    def supply(self, arm: str, world: int) -> pl.DataFrame:
        """One row an item of an arm's final catalog: item, id, title, provider, origin and the
        other traits, born (the step it entered, 0 for those that were there), available."""
        frame = self._items(world, arm)
        if "born" in frame.columns:
            return frame
        return frame.with_columns(born=pl.lit(0, pl.Int32), available=pl.lit(True))

    def _items(self, world: int, arm: str | None) -> pl.DataFrame:
        if arm is not None:
            self._known(arm)
            grown = f"{self._prefix}truth/catalogs/{arm}/{world_name(world)}.parquet"
            if self._store.exists(grown):
                return self._one(grown)
        known = self._one(f"worlds/{world_name(world)}/catalog.parquet")
        truth = self._one(f"truth/worlds/{world_name(world)}/items.parquet")
        kept = ("quality", "veracity", "harmful")
        return known.with_columns(truth[name] for name in kept if name in truth.columns)

    def features(self, world: int) -> NDArray[np.float32]:
        """(items, d) what tastes are matched with: the topics, or the items' unit vectors."""
        if space_of(self.study.world) == "topics":
            return self.catalog(world).topics
        frame = self._one(f"truth/worlds/{world_name(world)}/items.parquet")
        return np.asarray(frame["features"].to_numpy(), dtype=np.float32)

    def history(self, world: int, *, target: str = "") -> Interactions:
        """What people did before the loop (steps are negative).

        Args:
            world: its number.
            target: as this recommender learnt it: with ratings, where it learns from them.
        """
        frame = self._one(f"worlds/{world_name(world)}/history.parquet")
        rated = f"state/{target}/{world_name(world)}/ratings.parquet"
        return Interactions(
            frame["user"].to_numpy(),
            frame["item"].to_numpy(),
            frame["step"].to_numpy(),
            len(self.users(world)),
            len(self.catalog(world)),
            self._one(rated)["rating"].to_numpy() if self._store.exists(rated) else None,
            timed=self.study.world.kind == "synthetic",  # else in order, one a row
        )

    def talk(self, arm: str, world: int) -> pl.LazyFrame:
        """What people who were asked by chat said, one row an answer (see docs/people-who-talk.md).

        Sorted by step, user (shard by shard); columns: step, user, taken (how many items), fault
        ("" or one of faults.KINDS), reason (the person's words, or what was wrong; hostile until
        escaped).

        Raises:
            UserError: nobody was asked.
        """
        self._known(arm)
        parts = [
            name
            for place in self._places(world)
            for name in self._store.listing(f"{self._prefix}talk/{arm}/{place}/")
        ]
        if not parts:
            raise UserError("nobody in this study was asked by chat ([[users]] persons = 'chat')")
        return self._store.scan([p for p in parts if p.endswith(".parquet")])

    def said(self, arm: str, world: int) -> pl.LazyFrame:
        """What the arm's recommender said in words, one row a text (see docs/run-directory.md).

        Sorted by step, user (shard by shard), of the people whose texts are kept ([study] said_to);
        columns: step (in which the list was made), user, place (in the list from 0, -1 for what is
        about no place), kind (see simulation.said.KINDS), text (hostile until escaped). Empty where
        nothing was said.
        """
        return self._said("part", arm, world, SAID)

    def said_counts(self, arm: str, world: int) -> pl.DataFrame:
        """How much the arm's recommender said to everybody, one row a step in which it did: step,
        lists (made), names (that it gave among the places asked for) and made_up (in no catalog),
        lists_with_made_up, row_titles, explanations, replies. Empty where nothing was said."""
        rows = self._said("counts", arm, world, COUNTS)
        return rows.group_by("step").agg(pl.exclude("step").sum()).sort("step").collect()

    def _said(self, what: str, arm: str, world: int, schema: Schema) -> pl.LazyFrame:
        self._known(arm)
        found = [
            name
            for place in self._places(world)
            for name in self._store.listing(f"{self._prefix}said/{arm}/{place}/{what}-")
        ]
        return self._store.scan(found) if found else pl.LazyFrame(schema=schema)
