"""Popularity bias grows round by round, and grows more for the smaller group of users.

Everybody gets a top-10 list of what they have not taken, accepts one item of it (higher ranks
likelier), and the recommender learns again, for twenty rounds. What is popular can be counted now
or as it was before the loop, and the two tell opposite stories, so both are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ...recommenders.datasets import load
from ...recommenders.errors import UserError
from ...recommenders.randomness import generator
from .study import Curves, Progress, Row, StudyParams, StudyResult, setting

TITLE = "Feedback loop and bias amplification: popularity bias by round and by gender"
PAPER = (
    "Mansoury, Abdollahpouri, Pechenizkiy, Mobasher & Burke (2020). Feedback Loop and Bias "
    "Amplification in Recommender Systems. CIKM 2020, arXiv:2007.13019"
)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

RECOMMENDERS = ("popular", "userknn", "bpr")
_CLAIM = "claim of the paper"
_RECOMPUTED = "recomputation on a synthetic long tail"
_BLOCK = 1000
"""Users that are scored at once: 1,000 x 4,000 scores are 16 MB."""


@dataclass(frozen=True)
class Params(StudyParams):
    """The paper's protocol on MovieLens, or on an invented long tail."""

    data: str = setting("auto", "ml-1m, ml-100k, synthetic, or auto: the first that can be had")
    rounds: int = setting(20, "rounds of recommending, accepting and learning again", low=2)
    list_size: int = setting(10, "items on a list", low=2)
    attention: float = setting(-0.1, "rank r is accepted with weight exp(attention r)", high=0.0)
    neighbours: int = setting(50, "of UserKNN", low=1)
    embedding_size: int = setting(32, "of BPR", low=2)
    epochs: int = setting(30, "of BPR before the loop", low=1)
    epochs_again: int = setting(3, "of BPR at each later round, from where it stood", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data not in ("auto", "ml-1m", "ml-100k", "synthetic"):
            raise UserError(f"data must be auto, ml-1m, ml-100k or synthetic, got {self.data!r}")

    @classmethod
    def quick(cls) -> Self:
        """An invented long tail of 1,000 people and 800 items."""
        return cls(data="synthetic", epochs=10, epochs_again=1)


# Who took what -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """The people and items before the loop.

    Attributes:
        name: where they come from.
        taken: (users, items) who took what.
        topics: (items, topics) shares of each topic.
        women: (users,) the smaller group.
    """

    name: str
    taken: Flags
    topics: Floats
    women: Flags


def synthetic_market(*, seed: int, n_users: int = 1000, n_items: int = 800) -> Market:
    """A long tail: popularity falls as 1 / rank; 28 % of people like other topics better."""
    luck = generator(seed, "synthetic market")
    n_topics = 10
    topic = luck.integers(0, n_topics, n_items)
    women = luck.random(n_users) < 0.28
    likes = np.where(women[:, None], np.arange(n_topics) + 1.0, n_topics - np.arange(n_topics))
    likes = likes * luck.gamma(2.0, 0.5, (n_users, n_topics))
    weight = np.log(likes[:, topic]) - np.log(1.0 + luck.permutation(n_items) / 20)
    order = np.argsort(-weight - luck.gumbel(size=weight.shape), axis=1)
    size = np.minimum(20 + luck.exponential(40, n_users), n_items / 4).astype(int)
    taken = np.zeros((n_users, n_items), dtype=bool)
    np.put_along_axis(taken, order, np.arange(n_items) < size[:, None], axis=1)
    topics = np.eye(n_topics, dtype=np.float32)[topic]
    return Market("a synthetic long tail", taken, topics, women)


def read_market(name: str, *, seed: int) -> tuple[Market, list[str]]:
    """The data that were asked for, or the first of the list that can be had, and why not others.

    Raises:
        UserError: named data cannot be had.
    """
    missing: list[str] = []
    for one in ("ml-1m", "ml-100k", "synthetic") if name == "auto" else (name,):
        if one == "synthetic":
            return synthetic_market(seed=seed), missing
        try:
            data = load(one)
        except UserError:
            if name != "auto":
                raise
            missing.append(
                f"{one} was not found: `loopaudit study mansoury2020 --set data={one}` says why."
            )
            continue
        taken = np.asarray(data.log.to_csr().toarray() > 0)
        seen = taken.any(axis=0)
        women = data.users.attributes["gender"] == "F"
        return Market(one, taken[:, seen], data.catalog.topics[seen], women), missing
    raise AssertionError("the synthetic market can always be had")


# Recommenders ------------------------------------------------------------------------------------


class Recommender(Protocol):
    """Scores of everybody, a block of users at a time."""

    def learn(self, taken: Flags, fresh: NDArray[np.int64] | None) -> None:
        """Learn from all that was taken; ``fresh`` (users,) is new this round, -1 for nothing."""
        ...

    def score(self, rows: slice) -> Floats:
        """(rows, items) scores."""
        ...


class Popular:
    """How many people took an item."""

    def learn(self, taken: Flags, fresh: NDArray[np.int64] | None) -> None:
        """Count."""
        self.shape = taken.shape
        self.counts = taken.sum(axis=0).astype(np.float32)

    def score(self, rows: slice) -> Floats:
        """The same counts for everybody."""
        n = len(range(*rows.indices(self.shape[0])))
        return np.broadcast_to(self.counts, (n, self.shape[1]))


class UserKNN:
    """Items of the most similar people, by the cosine of what they took.

    Args:
        neighbours: how many people are asked.
    """

    def __init__(self, neighbours: int) -> None:
        self.neighbours = neighbours

    def learn(self, taken: Flags, fresh: NDArray[np.int64] | None) -> None:
        """Common items of all pairs; a round adds one column a person, so they are updated."""
        self.taken = taken.astype(np.float32)
        if fresh is None:
            self.common = self.taken @ self.taken.T  # (users, users)
            return
        new = fresh >= 0
        # (users, users) whether u has what v just took
        other = np.where(new, self.taken[:, np.maximum(fresh, 0)], np.float32(0))
        # pairs that just took the same item are counted on both sides, but share it once
        same = (fresh[:, None] == fresh[None, :]) & new
        self.common += other + other.T - same

    def score(self, rows: slice) -> Floats:
        """(rows, items) sum of the neighbours' similarities."""
        import scipy.sparse as sp

        length = np.sqrt(np.maximum(np.diag(self.common), 1))
        alike = self.common[rows] / length[rows, None] / length
        here = np.arange(*rows.indices(len(length)))
        alike[np.arange(len(here)), here] = -1.0
        k = min(self.neighbours, alike.shape[1] - 1)
        near = np.argpartition(-alike, k, axis=1)[:, :k]
        weight = np.take_along_axis(alike, near, axis=1)
        offsets = np.arange(len(here) + 1) * k
        votes = sp.csr_matrix(
            (weight.ravel(), near.ravel(), offsets), shape=(len(here), len(length))
        )
        return np.asarray(votes @ self.taken)


class BPR:
    """Matrix factorisation by pairs of taken and not taken (Rendle et al., UAI 2009)."""

    def __init__(self, params: Params, *, seed: int) -> None:
        self.params, self.seed, self.round = params, seed, 0
        self.weights: list[Any] = []

    def learn(self, taken: Flags, fresh: NDArray[np.int64] | None) -> None:
        """Adam on softplus losses; later rounds continue from the vectors and moments."""
        import torch
        from torch.nn.functional import softplus

        luck = torch.Generator().manual_seed(self.seed + self.round)
        size = self.params.embedding_size
        if not self.weights:
            shapes = ((taken.shape[0], size), (taken.shape[1], size), (taken.shape[1], 1))
            self.weights = [
                (0.1 * torch.randn(shape, generator=luck)).requires_grad_() for shape in shapes
            ]
            self.adam = torch.optim.Adam(self.weights, lr=0.005, fused=True)
        persons, items, bias = self.weights
        user, item = (torch.from_numpy(index) for index in np.nonzero(taken))
        batch = max(1024, len(user) // 200)
        for _ in range(self.params.epochs_again if self.round else self.params.epochs):
            order = torch.randperm(len(user), generator=luck)
            other = torch.randint(0, taken.shape[1], (len(user),), generator=luck)
            for at in range(0, len(order), batch):
                rows = order[at : at + batch]
                p, i, j = persons[user[rows]], items[item[rows]], items[other[rows]]
                ahead = (p * (i - j)).sum(1) + (bias[item[rows]] - bias[other[rows]])[:, 0]
                norm = (p**2).sum(1) + (i**2).sum(1) + (j**2).sum(1)
                loss = (softplus(-ahead) + 0.005 * norm).mean()
                self.adam.zero_grad()
                loss.backward()
                self.adam.step()
        self.round += 1
        persons, items, bias = (w.detach().numpy() for w in self.weights)
        self.people, self.items, self.bias = persons, items, bias[:, 0]

    def score(self, rows: slice) -> Floats:
        """(rows, items) products plus bias."""
        return np.asarray(self.people[rows] @ self.items.T + self.bias)


# The loop ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Path:
    """What the lists and profiles were like, round by round.

    Attributes:
        popular_data: (rounds + 1,) mean over all that was taken of the share of people who took it.
        popular_now: (rounds,) mean share of people who had taken the listed items by then.
        popular_first: (rounds,) the same share before the loop.
        diversity: (rounds,) share of all items that stand on some list.
        drift: (rounds, 2) KL divergence of the topics of men's and women's profiles from those
            before the loop, after the round.
    """

    popular_data: NDArray[np.float64]
    popular_now: NDArray[np.float64]
    popular_first: NDArray[np.float64]
    diversity: NDArray[np.float64]
    drift: NDArray[np.float64]


def lists(
    recommender: Recommender, taken: Flags, size: int, *, again: bool = False
) -> NDArray[np.int64]:
    """(users, size) best items, best first; items that one took only if they may come again."""
    found = []
    for at in range(0, len(taken), _BLOCK):
        rows = slice(at, at + _BLOCK)
        score = np.array(recommender.score(rows))
        if not again:
            score[taken[rows]] = -np.inf
        top = np.argpartition(-score, size, axis=1)[:, :size]
        order = np.argsort(-np.take_along_axis(score, top, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(found)


def topics_of(taken: Flags, topics: Floats, group: Flags) -> NDArray[np.float64]:
    """(topics,) mean over people of the topic shares of their profiles."""
    own = taken[group].astype(np.float32) @ topics
    own /= np.maximum(own.sum(axis=1, keepdims=True), 1e-9)
    mean = own.mean(axis=0).astype(np.float64) + 1e-9
    return np.asarray(mean / mean.sum())


def popularity_in(taken: Flags) -> float:
    """Mean over all that was taken of the share of people who took that item."""
    counts = taken.sum(axis=0).astype(np.float64)
    return float((counts**2).sum() / counts.sum() / len(taken))


def live(
    recommender: Recommender,
    market: Market,
    params: Params,
    luck: np.random.Generator,
    *,
    again: bool = False,
) -> Path:
    """All rounds with one recommender; ``again``: what one took may be recommended again."""
    taken = market.taken.copy()
    n_users, everyone = len(taken), np.arange(len(taken))
    groups = (~market.women, market.women)
    before = [topics_of(taken, market.topics, group) for group in groups]
    first = taken.sum(axis=0)
    chance = np.exp(params.attention * np.arange(1, params.list_size + 1))
    steps = np.cumsum(chance / chance.sum())
    data, now_by, first_by, distinct, drift = [popularity_in(taken)], [], [], [], []
    fresh: NDArray[np.int64] | None = None
    for _ in range(params.rounds):
        recommender.learn(taken, fresh)
        slate = lists(recommender, taken, params.list_size, again=again)
        now_by.append(taken.sum(axis=0)[slate].mean() / n_users)
        first_by.append(first[slate].mean() / n_users)
        distinct.append(len(np.unique(slate)) / taken.shape[1])
        rank = np.searchsorted(steps[:-1], luck.random(n_users))
        accepted = slate[everyone, rank]
        fresh = np.where(taken[everyone, accepted], -1, accepted)
        taken[everyone, accepted] = True
        data.append(popularity_in(taken))
        after = [topics_of(taken, market.topics, group) for group in groups]
        drift.append([(p * np.log(p / q)).sum() for p, q in zip(after, before, strict=True)])
    return Path(
        np.array(data), np.array(now_by), np.array(first_by), np.array(distinct), np.array(drift)
    )


# The study ---------------------------------------------------------------------------------------


def run(params: Params, *, seed: int, progress: Progress) -> StudyResult:
    """Three recommenders; UserKNN also where what was taken may come again."""
    market, missing = read_market(params.data, seed=seed)
    if params.list_size >= market.taken.shape[1]:
        raise UserError(
            f"list_size must be below the {market.taken.shape[1]} items, got {params.list_size}"
        )
    jobs: list[tuple[str, Recommender]] = [
        ("popular", Popular()),
        ("userknn", UserKNN(params.neighbours)),
        ("bpr", BPR(params, seed=seed)),
        ("userknn again", UserKNN(params.neighbours)),
    ]
    paths = {}
    for at, (name, recommender) in enumerate(jobs):
        progress(at, len(jobs), name)
        luck = generator(seed, "accepting")
        paths[name] = live(recommender, market, params, luck, again=name.endswith("again"))
    progress(len(jobs), len(jobs), "done")
    n_users, n_items = market.taken.shape
    said = "; ".join(
        f"{name} {path.diversity[0]:.3f} to {path.diversity[-1]:.3f}"
        for name, path in paths.items()
    )
    notes = (
        f"Data: {market.name}, {n_users:,} people ({market.women.mean():.0%} in the smaller "
        f"group), {n_items:,} items, {market.taken.sum():,} interactions.",
        *missing,
        "An accepted item counts as taken; rating values are not used.",
        "By the counts before the loop the popularity of the lists falls wherever taken items are "
        "left out: people move down the same ranking. By the counts of the round it may rise.",
        f"Share of items that stand on a list, first round to last: {said}. The paper's decline "
        "of aggregate diversity appears only where taken items may be recommended again.",
    )
    rounds = tuple(float(n) for n in range(1, params.rounds + 1))
    lines = {}
    for name in RECOMMENDERS:
        lines[f"{name}, counts of the round"] = tuple(paths[name].popular_now.tolist())
        lines[f"{name}, counts before"] = tuple(paths[name].popular_first.tolist())
    figure = Curves(
        title="Mean popularity of the lists, by two definitions",
        description="Share of people who had taken the listed items, by round. Counted in the "
        "round it tends to rise, counted before the loop it falls.",
        x_label="round",
        y_label="share of people",
        x=rounds,
        lines=lines,
    )
    return StudyResult(TITLE, PAPER, tuple(_rows(market, paths)), figures=(figure,), notes=notes)


def _gain(values: NDArray[np.float64]) -> float:
    return float(values[-1] - values[0])


def _rows(market: Market, paths: dict[str, Path]) -> list[Row]:
    last = "last round less first"
    rows = [
        Row(f"popularity in the data, {last}, {name}", _gain(paths[name].popular_data), 0, 0,
            _CLAIM, "above")
        for name in RECOMMENDERS
    ]  # fmt: skip
    counted = "popularity of the lists"
    rows += [
        Row(f"{counted} by counts of the round, {last}, popular",
            _gain(paths["popular"].popular_now), 0, 0, _RECOMPUTED, "above"),
        *(
            Row(f"{counted} by counts before the loop, {last}, {name}",
                _gain(paths[name].popular_first), 0, 0, _RECOMPUTED, "below")
            for name in ("popular", "userknn")
        ),
        Row(f"{counted} by counts of the round, {last}, userknn, items may come again",
            _gain(paths["userknn again"].popular_now), 0, 0, _CLAIM, "above"),
        Row("share of items on a list, last round less first, userknn, items may come again",
            _gain(paths["userknn again"].diversity), 0, 0, _CLAIM, "below"),
    ]  # fmt: skip
    if market.name.startswith("ml-"):
        rows += [
            Row(f"change of the topics of profiles, women beside men, {name}",
                float(paths[name].drift[-1, 1] / paths[name].drift[-1, 0]), 1, 0, _CLAIM, "above")
            for name in RECOMMENDERS
        ]  # fmt: skip
    return rows
