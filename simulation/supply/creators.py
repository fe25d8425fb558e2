"""Creators: providers who release items near their profile, follow their clicks, enter and leave.

A recommender decides who is seen; who is seen is clicked; creators move towards what was clicked
and those who are not clicked make less or leave. So a recommender also decides what there will be
to recommend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mesa
import numpy as np
from numpy.typing import NDArray

from ...recommenders.concentration import entropy_bits, gini
from ...recommenders.randomness import stream, uniform
from ..process import Happened
from .making import (
    FLOOR,
    Floats,
    Ints,
    allotted,
    directions,
    dirichlet,
    follow,
    normal,
    nth_of_each,
    one_of_own,
    viability,
)
from .newcomers import NewItems, fresh_ids, like

if TYPE_CHECKING:
    from ..platform.shown import Shown
    from ..process import Arrays
    from ..world import World
    from .settings import SupplySection

_SCATTER = 0.3  # length of the noise on an item's direction, as in the synthetic market
_START = 10.0  # a creator who enters has a profile from Dirichlet(10, 10, ...), as in T-RECS


class Creators(mesa.Agent):
    """All creators of a world as arrays; creator c is provider c of the catalog.

    Attributes:
        profiles: (creators, topics) what each makes, rows sum to about 1.
        maker: (items,) who made each item, -1 for nobody here.
        clicks: (creators,) discounted clicks.
        entered: (creators,) step of entry, 0 for those who were there; alive: (creators,).
        group: (creators,) provider group.
    """

    key = "creators"

    def __init__(self, world: World, section: SupplySection) -> None:
        super().__init__(world)
        self.world, self.section = world, section
        now = world.columns
        self.seed = now.seed
        self.maker = self._makers()
        n = int(self.maker.max(initial=0)) + 1
        profiles = np.full((n, now.topics.shape[1]), 1e-3)
        np.add.at(profiles, self.maker[self.maker >= 0], now.topics[self.maker >= 0])
        profiles /= profiles.sum(axis=1, keepdims=True)
        self.profiles: Floats = np.clip(profiles, FLOOR, 1.0)
        self.clicks = np.zeros(n)
        self.entered = np.zeros(n, np.int64)
        self.alive = np.isin(np.arange(n), self.maker)
        self.group = np.full(n, -1, np.int32)
        known = self.maker >= 0
        self.group[self.maker[known]] = now.catalog.provider_group[known]
        # what items are at birth, before they age
        self.quality, self.awareness = now.quality.copy(), now.awareness.copy()
        self._first = now.quality.copy(), now.awareness.copy()
        vectors = now.features is not now.topics
        self._directions = directions(now.topics, now.features) if vectors else None

    def _makers(self) -> NDArray[np.int64]:
        provider = self.world.columns.catalog.provider.astype(np.int64)
        if (provider >= 0).any():
            return provider
        luck = uniform(stream(self.seed, "who made it"), np.arange(len(provider)))
        return np.asarray((luck * self.section.creators).astype(np.int64))

    # -- a step ------------------------------------------------------------------------------

    def before(self, world: World) -> None:
        """Creators enter and leave, items leave, enter and age."""
        now, section = world.columns, self.section
        self._look()
        if now.t > 0:
            self._enter(now.t)
            self._leave(now.t)
            self._expire(now.t)
        if now.t > 0 and now.t % section.every == 0:
            creator = self._who(now.t)
            if len(creator):
                world.add_items(self._made(creator))
                self.maker = np.concatenate([self.maker, creator])
        self._look()
        self._age()

    def after(self, world: World, shown: Shown) -> None:
        """See :meth:`answer`."""
        self.answer(world, Happened.of(shown, len(world.columns.catalog)))

    def answer(self, world: World, happened: Happened) -> None:
        """Clicks are counted, and profiles follow them."""
        taken = happened.taken
        self._look()
        mine = taken[self.maker[taken] >= 0]
        creator = self.maker[mine]
        self.clicks = self.section.discount * self.clicks + np.bincount(
            creator, minlength=len(self.clicks)
        )
        topics = world.columns.topics
        if self.section.follow > 0:
            self.profiles = follow(self.profiles, creator, topics[mine], self.section.follow)

    def _look(self) -> None:
        """Items that others put into the catalog: nobody's here."""
        now = self.world.columns
        n = len(now.catalog) - len(self.maker)
        self.maker = np.concatenate([self.maker, np.full(n, -1, np.int64)])
        for name in ("quality", "awareness"):
            own = getattr(self, name)
            setattr(self, name, np.concatenate([own, getattr(now, name)[len(own) :]]))

    # -- who is there ------------------------------------------------------------------------

    def _enter(self, t: int) -> None:
        mean = self.section.enter
        draw = float(uniform(stream(self.seed, "creators enter"), t))
        n = int(mean) + int(draw < mean % 1)
        if n == 0:
            return
        old, k = self.profiles.shape
        number = np.arange(old, old + n)
        new = dirichlet(np.full((n, k), _START), self.seed, "profile", number)
        smallest = np.bincount(self.maker[self.maker >= 0], minlength=old)[: len(self.group)]
        group = self.group[np.where(self.alive, smallest, np.inf).argmin()]
        self.profiles = np.concatenate([self.profiles, np.clip(new, FLOOR, 1.0)])
        self.clicks = np.concatenate([self.clicks, np.zeros(n)])
        self.entered = np.concatenate([self.entered, np.full(n, t)])
        self.alive = np.concatenate([self.alive, np.ones(n, np.bool_)])
        self.group = np.concatenate([self.group, np.full(n, group, np.int32)])

    def _leave(self, t: int) -> None:
        if self.section.leave_below == 0:
            return
        share = viability(self.clicks, self.alive, weight=self.section.weight)
        weak = share * self.alive.sum() < self.section.leave_below
        gone = self.alive & weak & (t - self.entered >= self.section.patience)
        self.alive = self.alive & ~gone
        if self.section.take_along and gone.any():
            self._withdraw(np.isin(self.maker, np.flatnonzero(gone)))

    def _expire(self, t: int) -> None:
        if self.section.lifetime > 0:
            luck = uniform(stream(self.seed, "items leave"), t, np.arange(len(self.maker)))
            self._withdraw(luck < 1.0 / self.section.lifetime)

    def _withdraw(self, which: NDArray[np.bool_]) -> None:
        """Never the last items: people must have something left to be shown."""
        now = self.world.columns
        left = now.available & ~which
        gone = np.flatnonzero(now.available & which)
        if len(gone) and left.any():
            self.world.withdraw(gone)

    # -- what is made ------------------------------------------------------------------------

    def _who(self, t: int) -> NDArray[np.int64]:
        """(n,) who makes each of the items of this release."""
        alive, n = np.flatnonzero(self.alive), self.section.release
        if self.section.allot == "equal":
            return np.repeat(alive, n)
        share = viability(self.clicks, self.alive, weight=self.section.weight)
        luck = uniform(stream(self.seed, "who releases"), t, np.arange(n * len(alive)))
        return np.sort(allotted(share, luck))

    def _made(self, creator: NDArray[np.int64]) -> NewItems:
        """One new item each; its appeal and awareness are drawn from those of the first items."""
        now, seed = self.world.columns, self.seed
        labels = now.t, creator, nth_of_each(creator)

        def luck(purpose: str) -> Floats:
            return uniform(stream(seed, f"new item/{purpose}"), *labels)

        a = self.section.concentration * self.profiles[creator]
        topics = dirichlet(a, seed, "new item", *labels)
        quality, awareness = (
            np.quantile(first, luck(name), method="inverted_cdf")
            for first, name in zip(self._first, ("quality", "awareness"), strict=True)
        )
        number = len(now.catalog) + np.arange(len(creator))
        names = now.catalog.topic_names
        titles = tuple(
            f"Item {n} ({names[main]})"
            for n, main in zip(number, topics.argmax(axis=1), strict=True)
        )
        made = like(
            now,
            one_of_own(self.maker, creator, luck("model")),
            ids=fresh_ids(now.catalog, len(creator)),
            titles=titles,
            topics=topics,
            features=self._features(topics, labels),
            quality=quality,
            awareness=awareness,
            provider=creator,
        )
        made.catalog.provider_group[:] = self.group[creator]
        return made

    def _features(self, topics: Floats, labels: tuple[int, Ints, Ints]) -> Floats:
        if self._directions is None:
            return topics
        t, creator, nth = labels
        column = np.arange(self._directions.shape[1])
        noise = normal(self.seed, "new item/noise", t, creator[:, None], nth[:, None], column)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        raw = np.einsum("nt,td->nd", topics, self._directions) + _SCATTER * noise
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))

    def _age(self) -> None:
        """Odds halve with each half-life: ``x - ln 2 age / half_life`` in logits."""
        now, section = self.world.columns, self.section
        age = now.t - now.born
        for name in ("awareness", "quality"):
            half = section.awareness_half_life if name == "awareness" else section.appeal_half_life
            if half > 0:
                aged = getattr(self, name) - np.log(2.0) * age / half
                setattr(now, name, aged.astype(np.float32))

    # -- what is seen of it ------------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """creators alive; items available; topic entropy of these (bits); mean entropy of the
        profiles of those alive (bits); Gini of their discounted clicks."""
        now = self.world.columns
        mass = now.topics[now.available].sum(axis=0, dtype=np.float64)
        unequal = gini(self.clicks[self.alive], universe="catalog")
        return {
            "creators": float(self.alive.sum()),
            "items": float(now.available.sum()),
            "supply_entropy": float(entropy_bits(mass[None, :])[0]),
            "profile_entropy": float(entropy_bits(self.profiles[self.alive]).mean()),
            "creator_gini": float("nan") if unequal is None else unequal,
        }

    _ARRAYS = (
        "profiles", "maker", "clicks", "entered", "alive", "group", "quality", "awareness",
    )  # fmt: skip

    def state(self) -> Arrays:
        """Profiles, who made what, who is there, and items as they were before they aged."""
        return {name: getattr(self, name) for name in self._ARRAYS}

    def load_state(self, state: Arrays) -> None:
        """Continues from :meth:`state`."""
        for name in self._ARRAYS:
            setattr(self, name, state[name])
