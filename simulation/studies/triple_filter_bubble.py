"""Echo chambers from three filters: what people believe, what friends post, what is recommended.

People stand in a square of attitudes at the mean of the items that they remember, and remember an
item with a probability that falls with its distance from them. Items are found alone, broadcast to
all, or recommended because they are close; friends may post what they remember. An echo chamber
is a group of people who stand together and share what they remember with nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.randomness import generator
from ..society.graphs import block_chances
from ..society.opinions import acceptance
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "The triple filter bubble: echo chambers from cognition, friends and recommenders"
PAPER = (
    "Geschke, Lorenz & Holtz (2019). The triple-filter bubble: Using agent-based modelling to test "
    "a meta-theoretical framework for the emergence of filter bubbles and echo chambers. British "
    "Journal of Social Psychology 58(1), doi:10.1111/bjso.12286"
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

News = Literal["individual", "central", "close"]

SCENARIOS: dict[str, tuple[News, bool]] = {
    "individual": ("individual", False),
    "central": ("central", False),
    "individual + posting": ("individual", True),
    "close + posting": ("close", True),
}
"""How news come, and whether friends post: scenarios 1, 2, 3 and 7 of the paper."""


@dataclass(frozen=True)
class Params(StudyParams):
    """The paper's baseline settings."""

    people: int = setting(500, "people", low=4)
    ticks: int = setting(10_000, "ticks", low=10)
    groups: int = setting(4, "groups of friends", low=1)
    friends: int = setting(20, "mean number of friends", low=1)
    between: float = setting(0.2, "share of friendships between groups", low=0.0, high=1.0)
    memory: int = setting(20, "items that a person remembers", low=1)
    latitude: float = setting(0.3, "distance at which half of the items are accepted", low=0.001)
    sharpness: float = setting(20.0, "how sharply acceptance falls there", low=0.0)
    societies: int = setting(1, "independent societies of each scenario", low=1)

    @classmethod
    def quick(cls) -> Self:
        """Two fifths of the people for 300 ticks."""
        return cls(people=200, ticks=300, societies=1)


# People ------------------------------------------------------------------------------------------


class Society:
    """Everybody's memory as arrays.

    Attributes:
        place: (people, 2) attitude, the mean of what is remembered.
        item: (people, memory) numbers of the remembered items, from the left.
        where: (people, memory, 2) their attitudes.
        held: (people,) how many are remembered.
    """

    def __init__(self, params: Params, luck: np.random.Generator) -> None:
        self.params, self.luck = params, luck
        n, k = params.people, params.memory
        self.place = luck.uniform(-1, 1, (n, 2))
        self.item = np.full((n, k), -1, dtype=np.int64)
        self.where = np.zeros((n, k, 2))
        self.held = np.zeros(n, dtype=np.int64)
        self.n_items = 0

    def new_items(self, n: int) -> tuple[Ints, Floats]:
        """Numbers (n,) and attitudes (n, 2) of new items, uniform in the square."""
        self.n_items += n
        return np.arange(self.n_items - n, self.n_items), self.luck.uniform(-1, 1, (n, 2))

    def consider(self, person: Ints, item: Ints, where: Floats) -> None:
        """People (distinct) each meet one item, and remember it or not.

        A full memory forgets a random item first; an item that is remembered already is not
        remembered twice, though something may have been forgotten for it.
        """
        params = self.params
        distance = np.sqrt(((self.place[person] - where) ** 2).sum(axis=1))
        chance = acceptance(distance, params.latitude, params.sharpness)
        accept = self.luck.random(len(person)) < chance
        person, item, where = person[accept], item[accept], where[accept]
        full = np.flatnonzero(self.held[person] >= params.memory)
        who = person[full]
        slot, last = self.luck.integers(0, params.memory, len(who)), params.memory - 1
        self.item[who, slot], self.where[who, slot] = self.item[who, last], self.where[who, last]
        self.item[who, last] = -1
        self.held[who] -= 1
        new = (self.item[person] != item[:, None]).all(axis=1)
        who, end = person[new], self.held[person[new]]
        self.item[who, end], self.where[who, end] = item[new], where[new]
        self.held[who] += 1
        kept = np.arange(params.memory) < self.held[person, None]
        total = (self.where[person] * kept[:, :, None]).sum(axis=1)
        self.place[person] = total / self.held[person, None]


def friendships(params: Params, luck: np.random.Generator) -> Flags:
    """(people, people) symmetric; within and between groups so that the means are as asked."""
    group = luck.integers(0, params.groups, params.people)
    inside, outside = block_chances(params.friends, params.groups, params.between, params.people)
    chance = np.where(group[:, None] == group, inside, outside)
    half = np.triu(luck.random(chance.shape) < chance, 1)
    return np.asarray(half | half.T)


def turns(network: Flags) -> list[tuple[Ints, Ints]]:
    """Friendships as (receivers, senders) turns; a person receives at most once in a turn."""
    receiver, sender = np.nonzero(network)
    first = np.searchsorted(receiver, np.arange(len(network)))
    turn = np.arange(len(receiver)) - first[receiver]
    return [(receiver[turn == t], sender[turn == t]) for t in range(turn.max(initial=-1) + 1)]


# A tick ------------------------------------------------------------------------------------------


def news(society: Society, kind: News) -> None:
    """Everybody meets one item: of their own, the same for all, or one that lies close."""
    n = society.params.people
    everyone = np.arange(n)
    if kind == "central":
        item, where = society.new_items(1)
        society.consider(everyone, np.repeat(item, n), np.repeat(where, n, axis=0))
        return
    item, where = society.new_items(n)
    if kind == "close":
        known, at = _remembered(society)
        if len(known) >= n:
            chosen = _close(society, known, at)
            has = chosen >= 0
            item = np.where(has, known[chosen], item)
            where = np.where(has[:, None], at[chosen], where)
    society.consider(everyone, item, where)


def _remembered(society: Society) -> tuple[Ints, Floats]:
    """Numbers and attitudes of all items that somebody remembers."""
    kept = society.item >= 0
    numbers, first = np.unique(society.item[kept], return_index=True)
    return numbers, society.where[kept][first]


def _close(society: Society, known: Ints, at: Floats) -> Ints:
    """(people,) index into ``known`` of a random close item one does not remember; -1: none."""
    luck, latitude = society.luck, society.params.latitude
    chosen = np.full(society.params.people, -1, dtype=np.int64)
    rest = np.arange(society.params.people)
    for _ in range(8):  # most people find one by trying at random
        guess = luck.integers(0, len(known), len(rest))
        near = ((society.place[rest] - at[guess]) ** 2).sum(axis=1) < latitude**2
        fits = near & (society.item[rest] != known[guess][:, None]).all(axis=1)
        chosen[rest[fits]] = guess[fits]
        rest = rest[~fits]
        if len(rest) == 0:
            return chosen
    gap = ((society.place[rest][:, None] - at) ** 2).sum(axis=2)
    free = gap < latitude**2  # (rest, known)
    own = society.item[rest]
    spot = np.searchsorted(known, np.maximum(own, 0))
    free[np.arange(len(rest))[:, None], spot] &= own < 0
    key = np.where(free, luck.random(free.shape), -1.0)
    best = key.argmax(axis=1)
    chosen[rest] = np.where(free[np.arange(len(rest)), best], best, -1)
    return chosen


def post(society: Society, rounds: list[tuple[Ints, Ints]]) -> None:
    """Everybody posts one remembered item to all friends."""
    n = society.params.people
    can = society.held > 0
    slot = (society.luck.random(n) * society.held).astype(np.int64)
    item, where = society.item[np.arange(n), slot], society.where[np.arange(n), slot]
    for turn in society.luck.permutation(len(rounds)):
        receiver, sender = rounds[turn]
        able = can[sender]
        society.consider(receiver[able], item[sender[able]], where[sender[able]])


# What is seen ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """The state of a society.

    Attributes:
        apart: mean distance of two people.
        sharers: mean distance of a person to those who remember an item in common, 0 if nobody.
        friends: mean distance of a person to friends.
        sharing: mean share of the others who remember an item in common.
        chambers: groups of five and more people between which nothing is shared.
        largest: share of people in the largest of them.
    """

    apart: float
    sharers: float
    friends: float
    sharing: float
    chambers: int
    largest: float


def look(society: Society, network: Flags) -> View:
    """Measure a society; distances as in the authors' model, as shares of half the square."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n = society.params.people
    gap = np.sqrt(((society.place[:, None] - society.place) ** 2).sum(axis=2))
    kept = society.item >= 0
    _, column = np.unique(society.item[kept], return_inverse=True)
    holder = np.nonzero(kept)[0]
    held = csr_matrix(
        (np.ones(len(holder)), (holder, column)), shape=(n, column.max(initial=0) + 1)
    )
    shared = (held @ held.T).toarray() > 0
    np.fill_diagonal(shared, False)
    _, label = connected_components(shared, directed=False)
    size = np.bincount(label)
    large = size[size >= 5]

    def mean_gap(links: Flags) -> float:
        return float(((gap * links).sum(axis=1) / np.maximum(links.sum(axis=1), 1)).mean())

    return View(
        apart=float(gap.sum() / (n * (n - 1))),
        sharers=mean_gap(shared),
        friends=mean_gap(network),
        sharing=float(shared.sum() / (n * (n - 1))),
        chambers=len(large),
        largest=float(large.max(initial=0) / n),
    )


def live(name: str, params: Params, *, seed: int, looks: int = 20) -> tuple[Ints, list[View]]:
    """One scenario: ticks at which it was looked at, and what was seen."""
    luck = generator(seed, "society", name)
    network = friendships(params, generator(seed, "friends"))
    society, rounds = Society(params, luck), turns(network)
    kind, posting = SCENARIOS[name]
    when = np.unique(np.linspace(1, params.ticks, looks).astype(np.int64))
    views = []
    for tick in range(1, params.ticks + 1):
        news(society, kind)
        if posting:
            post(society, rounds)
        if tick in when:
            views.append(look(society, network))
    return when, views


# The study ---------------------------------------------------------------------------------------

_CLAIM = "claim of the abstract"
_MODEL = "each item has one finder and nobody passes it on"


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """Four scenarios: no filter but cognition, a channel to all, friends, and a recommender."""
    seen: dict[str, list[list[View]]] = {}
    when = np.zeros(1, dtype=np.int64)
    total = len(SCENARIOS) * params.societies
    for at, name in enumerate(SCENARIOS):
        seen[name] = []
        for n in range(params.societies):
            progress(at * params.societies + n, total, name)
            when, views = live(name, params, seed=seed + 1000 * n)
            seen[name].append(views)
    progress(total, total, "done")

    def mean(name: str, what: str, look_at: int = -1) -> float:
        return float(np.mean([getattr(views[look_at], what) for views in seen[name]]))

    rows = [
        Row("people in chambers, individual news", mean("individual", "largest"), 0, 0, _MODEL),
        Row("distance of sharers beside distance of people, central news",
            mean("central", "sharers") / mean("central", "apart"), 0.5, 0, _CLAIM, "below"),
        Row("share of others with an item in common, central less individual news",
            mean("central", "sharing") - mean("individual", "sharing"), 0.05, 0, _CLAIM, "above"),
    ]  # fmt: skip
    for name in ("individual + posting", "close + posting"):
        rows += [
            Row(f"separate echo chambers, {name}", mean(name, "chambers"), 1, 0, _CLAIM, "above"),
            Row(f"more distinct: distance of sharers beside that of central news, {name}",
                mean(name, "sharers") / mean("central", "sharers"), 1, 0, _CLAIM, "below"),
            Row(f"less interconnected: people in the largest chamber, less central news, {name}",
                mean(name, "largest") - mean("central", "largest"), 0, 0, _CLAIM, "below"),
        ]  # fmt: skip
    figure = Curves(
        title="Distance of people who remember an item in common",
        description="By tick. With central news alone it settles near the latitude of acceptance; "
        "with friends posting, or a recommender as well, it falls to a fraction of it. Where news "
        "are individual and nobody posts there is nobody to share with, and it is 0.",
        x_label="tick",
        y_label="mean distance of sharers (the square is 2 wide)",
        x=tuple(float(tick) for tick in when),
        lines={
            name: tuple(mean(name, "sharers", n) for n in range(len(when))) for name in SCENARIOS
        },
    )
    ends = "; ".join(
        f"{name} {mean(name, 'chambers'):.1f} chambers, largest {mean(name, 'largest'):.0%}, "
        f"sharers {mean(name, 'sharers'):.3f}, friends {mean(name, 'friends'):.3f}"
        for name in SCENARIOS
    )
    notes = (
        f"At the end: {ends}.",
        "The paper prints pictures of single runs; its claims are orders, and that is what is "
        "judged. A chamber is five or more people who share with nobody outside.",
        "All people act at once where the authors' program lets them act one after the other: what "
        "is posted in a tick is chosen before its first post arrives.",
    )
    return StudyResult(TITLE, PAPER, tuple(rows), figures=(figure,), notes=notes)
