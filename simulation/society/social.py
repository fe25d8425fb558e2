"""Society: friends share what they consumed, opinions move, falsehoods are believed.

In a step, the last slots of a slate hold what friends shared before; people choose; then everybody
hears their friends as they were in the step before, meets the stance of what they consumed, and
may share it. All luck belongs to (purpose, step, persons, item), so arms stay coupled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import mesa
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...recommenders.border import NOTHING, Slates
from ...recommenders.catalog import Catalog
from ...recommenders.datasets.dataset import UserTable
from ...recommenders.datasets.synthetic import Market
from ...recommenders.errors import UserError
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import child_seed, stream, uniform
from ..people.agreement import stance_of_past
from ..people.drift import Floats, average
from .friendships import rewired as rewired
from .opinions import Talk, bimodality, polarisation
from .sharing import delivered, inserted, reached, shares

if TYPE_CHECKING:
    from ..platform.shown import Shown
    from ..process import Arrays
    from ..world import World
    from .settings import SocietySection

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def check_society(
    section: SocietySection, catalog: Catalog, users: UserTable, past: Interactions, *, seed: int
) -> sp.csr_matrix:
    """The graph of a world's people, after everything that a society reads was found there.

    Args:
        catalog, users, past: what the world begins with; seed: of the world.

    Raises:
        UserError: the items lack what is asked of them, or the graph cannot be made.
    """
    lacks = []
    if catalog.stance is None and (section.exposure.law != "none" or section.opinions == "past"):
        lacks.append(("stance", "exposure = 'none' and opinions = 'uniform'"))
    if catalog.veracity is None and section.false_below > 0:
        lacks.append(("veracity", "false_below = 0"))
    if lacks:
        what = " and no ".join(name for name, _ in lacks)
        cure = " and ".join(cure for _, cure in lacks)
        raise UserError(f"[society] reads traits of items: this catalog has no {what}; set {cure}")
    return section.graph.build(users.ids, past, seed=child_seed(seed, "friends"))


class Society(mesa.Agent):
    """Friends, opinions and shares of everybody in one world.

    Traits: ``opinion`` and ``opinion_start`` in [-1, 1]; ``misinformed``, belief in falsehoods from
    0 to 1; ``false_seen``, false items shown; ``inbox``, what friends shared and is not seen yet.

    Args:
        world: with its columns and platform in place; section: [society].
        everybody: the whole market, where the world knows only a shard's part of it.
    """

    key = "society"

    def __init__(
        self, world: World, section: SocietySection, *, everybody: Market | None = None
    ) -> None:
        super().__init__(world)
        self.columns, self.section = world.columns, section
        now = self.columns
        users, past = now.users, now.past
        if everybody is not None:
            users, past = everybody.users, everybody.log
        self.befriend(check_society(section, now.catalog, users, past, seed=now.seed))
        n = len(now.taste)
        first = self._first()
        now.traits.update(
            {
                "opinion": first,
                "opinion_start": first.copy(),
                "misinformed": np.zeros(n),
                "false_seen": np.zeros(n, np.int32),
                "inbox": np.full((n, section.friend_slots), NOTHING, np.int32),
            }
        )
        self.now = {"shares": float("nan"), "friend_clicks": float("nan")}

    def befriend(self, graph: sp.csr_matrix) -> None:
        """From now on people hear those whom row i of this graph names for person i."""
        self.graph = graph
        self.listeners = graph.T.tocsr()

    def _first(self) -> Floats:
        """(n,) opinions at the start."""
        now = self.columns
        n = len(now.taste)
        if self.section.opinions == "uniform":
            return 2.0 * uniform(stream(now.seed, "opinion"), np.arange(n)) - 1.0
        return stance_of_past(now.past, self._of_items("stance"))

    def _of_items(self, trait: str) -> Floats:
        """(items,) a trait; NaN where it is not known."""
        column = getattr(self.columns.catalog, trait)
        if column is None:
            return np.full(len(self.columns.catalog), np.nan)
        return np.asarray(column, dtype=np.float64)

    # -- before people choose ------------------------------------------------------------------

    def before(self, world: World) -> None:
        """Nothing."""

    def serve(self, world: World, users: NDArray[np.int32], slates: Slates) -> tuple[Slates, Flags]:
        """What friends shared, in the last slots; seen once, and never if consumed already."""
        inbox = self.columns.traits["inbox"]
        if self.section.friend_slots == 0 or slates.items.shape[1] == 0:
            return slates, np.zeros(slates.items.shape, np.bool_)
        friends = inbox[users]
        n_items = len(self.columns.catalog)
        friends[world.platform.hidden(users).contains(friends, n_items)] = NOTHING
        friends[~self.columns.available[friends]] = NOTHING
        inbox[users] = NOTHING
        items, shared = inserted(slates.items, friends)

        def unknown(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
            return None if values is None else np.where(shared, np.float32(np.nan), values)

        scores, chances = unknown(slates.scores), unknown(slates.propensities)
        return replace(slates, items=items, scores=scores, propensities=chances), shared

    # -- after people chose --------------------------------------------------------------------

    def after(self, world: World, shown: Shown) -> None:
        """Opinions, beliefs, shares and friendships of the step."""
        now, section = self.columns, self.section
        traits, users, taken = now.traits, shown.users, shown.feedback.taken
        before = traits["opinion"]
        talk = Talk(
            self.graph, before, traits["opinion_start"], now.there, now.t,
            stream(now.seed, "who is met"),
        )  # fmt: skip
        opinion = np.where(now.present, section.influence.listen(talk), before)
        slots = np.maximum(shown.items, 0)
        stance = average(self._of_items("stance")[slots], taken)  # (n,) NaN where nothing was taken
        met = np.isfinite(stance)
        opinion[users[met]] = section.exposure.meet(opinion[users[met]], stance[met])
        traits["opinion"][:] = opinion
        self._believe(shown, slots)
        people, items = self._shared(shown)
        self.deliver(people, items, step=now.t)
        self.part(step=now.t)

    def _believe(self, shown: Shown, slots: NDArray[np.int32]) -> None:
        """Each false item consumed takes a share of what doubt is left: ``1 - (1 - g)^n``."""
        traits, section = self.columns.traits, self.section
        real = shown.items >= 0
        false = (self._of_items("veracity") < section.false_below)[slots] & real
        traits["false_seen"][shown.users] += false.sum(axis=1, dtype=np.int32)
        n_taken = (false & shown.feedback.taken).sum(axis=1)
        doubt = 1.0 - traits["misinformed"][shown.users]
        traits["misinformed"][shown.users] = 1.0 - doubt * (1.0 - section.gullibility) ** n_taken

    def _shared(self, shown: Shown) -> tuple[Ints, NDArray[np.int32]]:
        """(people, items): who shares what of what was taken in this step."""
        now, section = self.columns, self.section
        row, slot = np.nonzero(shown.feedback.taken)
        people, items = shown.users[row].astype(np.int64), shown.items[row, slot]
        match = shown.match[row, slot].astype(np.float64)
        luck = uniform(stream(now.seed, "shares"), now.t, people, items)
        does = luck < shares(match, section.share, section.share_slope)
        placed = shown.from_friends
        n_placed = 0 if placed is None else int(placed[row, slot].sum())
        self.count(shares=int(does.sum()), taken=len(row), placed=n_placed)
        return people[does], items[does]

    def count(self, *, shares: int, taken: int, placed: int) -> None:
        """The step's series: what was shared, and how much of what was taken friends had placed."""
        share = placed / taken if taken else float("nan")
        self.now = {"shares": float(shares), "friend_clicks": share}

    def deliver(self, people: Ints, items: NDArray[np.int32], *, step: int) -> None:
        """What these people share is put before their friends who are there."""
        now, section = self.columns, self.section
        if section.friend_slots == 0:
            return
        friend, item = reached(
            self.listeners, people, items, reach=section.reach,
            key=stream(now.seed, "reaches"), step=step,
        )  # fmt: skip
        here = now.present[friend]
        now.traits["inbox"][:] = delivered(
            now.traits["inbox"], friend[here], item[here],
            key=stream(now.seed, "inbox"), step=step,
        )  # fmt: skip

    def part(self, *, step: int) -> None:
        """Friends too far apart part, and find others."""
        now, section = self.columns, self.section
        if section.rewiring:
            self.befriend(
                rewired(
                    self.graph, now.traits["opinion"], now.there, tolerance=section.tolerance,
                    chance=section.rewiring, key=stream(now.seed, "parting"), step=step,
                )
            )  # fmt: skip

    # -- what is seen and kept -----------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """Of people present: opinions, belief in falsehoods, and what was shared in the step."""
        here = self.columns.there
        traits = self.columns.traits
        opinion = traits["opinion"][here]
        some = len(opinion) > 0
        nothing = float("nan")
        return {
            "opinion_mean": float(opinion.mean()) if some else nothing,
            "opinion_variance": float(opinion.var()) if some else nothing,
            "opinion_bimodality": bimodality(opinion),
            "opinion_polarisation": polarisation(opinion),
            "misinformed": float(traits["misinformed"][here].mean()) if some else nothing,
            "false_exposed": float((traits["false_seen"][here] > 0).mean()) if some else nothing,
            **self.now,
        }

    def state(self) -> Arrays:
        """Friendships, where they change; all else is in the traits."""
        if self.section.rewiring == 0:
            return {}
        return {"indices": self.graph.indices, "indptr": self.graph.indptr}

    def load_state(self, state: Arrays) -> None:
        """The inverse of :meth:`state`."""
        if self.section.rewiring == 0:
            return
        ones = np.ones(len(state["indices"]))
        n = len(state["indptr"]) - 1
        held = sp.csr_matrix((ones, state["indices"], state["indptr"]), shape=(n, n))
        self.befriend(held)
