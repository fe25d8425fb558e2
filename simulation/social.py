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

from ..recommenders.border import NOTHING, Slates
from ..recommenders.catalog import Catalog
from ..recommenders.datasets.dataset import UserTable
from ..recommenders.errors import UserError
from ..recommenders.interactions import Interactions
from ..recommenders.randomness import child_seed, stream, uniform
from .agreement import stance_of_past
from .choice import sigmoid
from .drift import Floats, average
from .graphs import mutual
from .opinions import Talk, bimodality, polarisation

if TYPE_CHECKING:
    from .process import Arrays
    from .shown import Shown
    from .society_settings import SocietySection
    from .world import World

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


# Sharing -----------------------------------------------------------------------------------------


def shares(match: Floats, share: float, slope: float) -> Floats:
    """Chance to share what was consumed: ``sigmoid(logit(share) + slope * match)``."""
    if share in (0.0, 1.0):
        return np.full(match.shape, share)
    return sigmoid(np.log(share) - np.log1p(-share) + slope * match)


def reached(
    listeners: sp.csr_matrix,
    people: NDArray[np.integer],
    items: NDArray[np.integer],
    *,
    reach: float,
    key: np.uint64,
    step: int,
) -> tuple[Ints, Ints]:
    """(friends, items): whom each share reaches, each friend by luck of their own.

    One chance for each link, when a person shares: where everybody consumes and shares what reaches
    them, that is the independent cascade of Kempe, Kleinberg & Tardos (2003), in which a message
    gets d links far down a line with probability ``reach^d``.

    Args:
        listeners: (n, n) row j: who hears person j.
        people, items: (shares,) who shares what.
    """
    first = listeners.indptr[people].astype(np.int64)
    n_friends = np.diff(listeners.indptr)[people].astype(np.int64)
    end = n_friends.cumsum()
    within = np.arange(int(n_friends.sum())) - np.repeat(end - n_friends, n_friends)
    friend = listeners.indices[np.repeat(first, n_friends) + within].astype(np.int64)
    sender, item = np.repeat(people, n_friends), np.repeat(items, n_friends).astype(np.int64)
    if reach < 1:
        sees = uniform(key, step, sender, friend, item) < reach
        friend, item = friend[sees], item[sees]
    return friend, item


def delivered(
    inbox: NDArray[np.int32], friend: Ints, item: Ints, *, key: np.uint64, step: int
) -> NDArray[np.int32]:
    """(n, slots) inboxes after more arrived: newest first, luck decides among those of one step.

    Args:
        inbox: (n, slots) items, -1 empty; friend, item: (messages,).
    """
    n, slots = inbox.shape
    row, slot = np.nonzero(inbox != NOTHING)
    person = np.concatenate([friend, row])
    thing = np.concatenate([item, inbox[row, slot].astype(np.int64)])
    rank = np.concatenate([uniform(key, step, friend, item), 1.0 + slot])
    order = np.lexsort((rank, thing, person))
    once = np.ones(len(order), np.bool_)
    once[1:] = (np.diff(person[order]) != 0) | (np.diff(thing[order]) != 0)
    kept = order[once]
    kept = kept[np.lexsort((rank[kept], person[kept]))]
    person, thing = person[kept], thing[kept]
    place = np.arange(len(person)) - np.searchsorted(person, person)
    fits = place < slots
    out = np.full((n, slots), NOTHING, np.int32)
    out[person[fits], place[fits]] = thing[fits]
    return out


def inserted(
    items: NDArray[np.int32], friends: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Flags]:
    """Slates whose last slots hold what friends shared, and which slots do.

    Empty slots are filled first; what stands in the slate already stays where it is.

    Args:
        items: (n, k) of the recommender; friends: (n, f) shared, -1 for none.
    """
    k = items.shape[1]
    friends = np.where((friends[:, :, None] == items[:, None]).any(axis=2), NOTHING, friends)
    order = np.argsort(friends == NOTHING, axis=1, kind="stable")[:, :k]
    friends = np.take_along_axis(friends, order, axis=1)  # (n, f), -1 last
    n_shared = (friends != NOTHING).sum(axis=1)
    n_own = (items != NOTHING).sum(axis=1)
    begin = np.minimum(n_own, k - n_shared)[:, None]
    at = np.arange(k) - begin  # which of the shared items a slot holds
    from_friends = (at >= 0) & (at < n_shared[:, None])
    column = np.clip(at, 0, max(friends.shape[1] - 1, 0))
    return (
        np.where(from_friends, np.take_along_axis(friends, column, axis=1), items),
        from_friends,
    )


# Friendships that end ----------------------------------------------------------------------------


def rewired(
    graph: sp.csr_matrix,
    opinion: Floats,
    present: Flags,
    *,
    tolerance: float,
    chance: float,
    key: np.uint64,
    step: int,
) -> sp.csr_matrix:
    """Friends too far apart part, and one of them finds somebody else; the number of links stays.

    Each link with ``|x_i - x_j| > tolerance`` is cut with a chance, and one end, by luck, links to
    a person drawn from all who are there; who is already a friend is no replacement.

    Source: coevolution of opinions and networks, Holme & Newman (2006).
    """
    n = len(opinion)
    upper = sp.triu(graph, 1).tocoo()
    a, b = upper.row.astype(np.int64), upper.col.astype(np.int64)
    far = np.abs(opinion[a] - opinion[b]) > tolerance
    cut = far & present[a] & present[b] & (uniform(key, step, a, b, 0) < chance)
    keeps = np.where(uniform(key, step, a, b, 1) < 0.5, a, b)
    to = (uniform(key, step, a, b, 2) * n).astype(np.int64)
    old = a * n + b
    new = np.minimum(keeps, to) * n + np.maximum(keeps, to)
    cut &= (to != keeps) & present[to] & ~np.isin(new, old)
    where = np.flatnonzero(cut)
    _, once = np.unique(new[where], return_index=True)
    where = where[np.sort(once)]
    code = old.copy()
    code[where] = new[where]
    return mutual(code // n, code % n, n)


# The process -------------------------------------------------------------------------------------


_TOLD = ("opinion", "misinformed", "false_seen")
"""Traits that a society's series are made of."""


def only_rows(graph: sp.csr_matrix, rows: slice) -> sp.csr_matrix:
    """The graph in which only these people hear anybody; indices stay what they are."""
    begin, end = graph.indptr[rows.start], graph.indptr[rows.stop]
    offsets = np.clip(graph.indptr, begin, end) - begin
    return sp.csr_matrix(
        (graph.data[begin:end], graph.indices[begin:end], offsets), shape=graph.shape
    )


class Society(mesa.Agent):
    """Friends, opinions and shares of everybody in one world.

    Traits: ``opinion`` and ``opinion_start`` in [-1, 1]; ``misinformed``, belief in falsehoods from
    0 to 1; ``false_seen``, false items shown; ``inbox``, what friends shared and is not seen yet.

    Args:
        world: with its columns and platform in place; section: [society].
    """

    key = "society"

    def __init__(self, world: World, section: SocietySection) -> None:
        super().__init__(world)
        self.columns, self.section = world.columns, section
        self.rows = None if world.people is None else slice(*world.people)
        now = self.columns
        self._befriend(check_society(section, now.catalog, now.users, now.past, seed=now.seed))
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
        self._n_taken = 0
        self._now = {"shares": float("nan"), "friend_clicks": float("nan")}

    def _befriend(self, graph: sp.csr_matrix) -> None:
        if self.rows is not None:  # a shard knows whom its own people hear
            graph = only_rows(graph, self.rows)
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
            self.graph, before, traits["opinion_start"], self._here(), now.t,
            stream(now.seed, "who is met"),
        )  # fmt: skip
        opinion = np.where(now.present, section.influence.listen(talk), before)
        slots = np.maximum(shown.items, 0)
        stance = average(self._of_items("stance")[slots], taken)  # (n,) NaN where nothing was taken
        met = np.isfinite(stance)
        opinion[users[met]] = section.exposure.meet(opinion[users[met]], stance[met])
        traits["opinion"][:] = opinion
        self._believe(shown, slots)
        self._share(shown)
        if section.rewiring:
            self._befriend(
                rewired(
                    self.graph, opinion, now.present, tolerance=section.tolerance,
                    chance=section.rewiring, key=stream(now.seed, "parting"), step=now.t,
                )
            )  # fmt: skip

    def _believe(self, shown: Shown, slots: NDArray[np.int32]) -> None:
        """Each false item consumed takes a share of what doubt is left: ``1 - (1 - g)^n``."""
        traits, section = self.columns.traits, self.section
        real = shown.items >= 0
        false = (self._of_items("veracity") < section.false_below)[slots] & real
        traits["false_seen"][shown.users] += false.sum(axis=1, dtype=np.int32)
        n_taken = (false & shown.feedback.taken).sum(axis=1)
        doubt = 1.0 - traits["misinformed"][shown.users]
        traits["misinformed"][shown.users] = 1.0 - doubt * (1.0 - section.gullibility) ** n_taken

    def _share(self, shown: Shown) -> None:
        now, section = self.columns, self.section
        row, slot = np.nonzero(shown.feedback.taken)
        people, items = shown.users[row].astype(np.int64), shown.items[row, slot]
        match = shown.match[row, slot].astype(np.float64)
        luck = uniform(stream(now.seed, "shares"), now.t, people, items)
        does = luck < shares(match, section.share, section.share_slope)
        self._now["shares"] = float(does.sum())
        if section.friend_slots:
            friend, item = reached(
                self.listeners, people[does], items[does], reach=section.reach,
                key=stream(now.seed, "reaches"), step=now.t,
            )  # fmt: skip
            here = now.present[friend]
            now.traits["inbox"][:] = delivered(
                now.traits["inbox"], friend[here], item[here],
                key=stream(now.seed, "inbox"), step=now.t,
            )  # fmt: skip
        shared = shown.from_friends
        n_taken = self._n_taken = len(row)
        n_shared = 0 if shared is None else int(shared[row, slot].sum())
        self._now["friend_clicks"] = n_shared / n_taken if n_taken else float("nan")

    # -- between shards ------------------------------------------------------------------------

    def _here(self) -> Flags:
        """(n,) who can be heard: in a shard everybody, whoever lives them."""
        here = self.columns.present
        return here if self.rows is None else np.ones(len(here), np.bool_)

    def border(self) -> Ints:
        """The people of other shards whom this shard's people hear."""
        heard = np.unique(self.graph.indices)
        assert self.rows is not None
        return heard[(heard < self.rows.start) | (heard >= self.rows.stop)].astype(np.int64)

    def hear(self, people: Ints, opinion: Floats) -> None:
        """What people of other shards think, as of the step before."""
        self.columns.traits["opinion"][people] = opinion

    def told(self) -> Arrays:
        """What this shard's people are like, and what happened among them in the step."""
        assert self.rows is not None
        kept = {name: self.columns.traits[name][self.rows] for name in _TOLD}
        return {**kept, "shares": np.array(self._now["shares"]), "n_taken": np.array(self._n_taken)}

    def gather(self, first: int, told: Arrays) -> None:
        """The driver's copy of what a shard that begins at person ``first`` told."""
        for name in _TOLD:
            column = told[name]
            self.columns.traits[name][first : first + len(column)] = column

    def total(self, told: list[Arrays]) -> None:
        """What was shared and consumed in all shards together; nothing reaches a slate there."""
        self._now["shares"] = float(sum(one["shares"] for one in told))
        self._now["friend_clicks"] = 0.0 if any(one["n_taken"] for one in told) else float("nan")

    # -- what is seen and kept -----------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """Of people present: opinions, belief in falsehoods, and what was shared in the step."""
        here = self._here()
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
            **self._now,
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
        self._befriend(held)
