"""Machines that flood a catalog with copies of what sells, and who is seen beside them.

The items are near those clicked most of late, so a recommender that learns from clicks places them
well at once; what it shows of them is clicked, and copied again (a source echo chamber).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import mesa
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.randomness import stream, uniform
from ..process import Happened
from .making import Floats, normal
from .newcomers import NewItems, fresh_ids, like

if TYPE_CHECKING:
    from ...recommenders.generative.images.item_images import ItemImages
    from ..platform.shown import Shown
    from ..process import Arrays
    from ..world import World
    from .settings import GeneratorsSection

_PICTURES = 800
"""Pictures that machines learn to draw from: those of the items that sold best."""

AI = 1
"""The origin of what a machine made, in the catalog."""

PHASES = ("human-dominated", "coexistence", "AI-dominated")
_EDGES = (1 / 3, 2 / 3)  # of the machines' share of the catalog; a convention of ours


def relative_gap(human: float, ai: float) -> float:
    """``2 (M_h - M_ai) / (M_h + M_ai)``, -2 (machines only) to 2 (humans only); NaN for 0 / 0.

    Zhou et al. (2024), Source Echo Chamber.
    """
    whole = human + ai
    return 2 * (human - ai) / whole if whole > 0 else float("nan")


def gap_by_phase(series: pl.DataFrame) -> pl.DataFrame:
    """The relative gap in each phase of the flood, from an arm's series.

    A step belongs to a phase by the machines' share of the catalog: below a third, up to two
    thirds, above. M is the number of times an item of that origin was shown in a step, on average.

    Args:
        series: as from Run.series, of a study with [generators].

    Returns:
        One row a phase: phase, steps, ai_exposure (mean), gap (mean over steps where it is
        defined; null in a phase without one).
    """
    phase = np.digitize(series["ai_share"].to_numpy(), _EDGES)
    rows = []
    for place, name in enumerate(PHASES):
        mine = series.filter(pl.Series(phase == place))
        gap = mine["ai_gap"].to_numpy()
        shown = mine["ai_exposure"].to_numpy()
        rows.append((name, mine.height, _mean(shown), _mean(gap)))
    return pl.DataFrame(rows, schema=["phase", "steps", "ai_exposure", "gap"], orient="row")


def _mean(values: NDArray[np.floating]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


class Generators(mesa.Agent):
    """Machines that copy the items clicked most of late, with noise.

    Attributes:
        heard: (items,) discounted clicks.
    """

    key = "generators"

    def __init__(self, world: World, section: GeneratorsSection) -> None:
        super().__init__(world)
        self.world, self.section = world, section
        self.seed = world.columns.seed
        self.heard = world.columns.past.popularity().astype(np.float64)
        self.shares = dict.fromkeys(("ai_exposure", "ai_click_share", "ai_gap"), float("nan"))
        self._painter: ItemImages | None = None  # learns when the first picture is wanted

    # -- a step ------------------------------------------------------------------------------

    def before(self, world: World) -> None:
        """The flood of this step enters."""
        now, section = world.columns, self.section
        self._look()
        if now.t < section.start:
            return
        luck = float(uniform(stream(self.seed, "machines"), now.t))
        n = int(section.rate) + int(luck < section.rate % 1)
        n = min(n, self._room())
        if n > 0:
            world.add_items(self._made(n))
        self._look()

    def after(self, world: World, shown: Shown) -> None:
        """See :meth:`answer`."""
        self.answer(world, Happened.of(shown, len(world.columns.catalog)))

    def answer(self, world: World, happened: Happened) -> None:
        """Who was shown and clicked; what sells is remembered."""
        now = world.columns
        self._look()
        ai, taken, times = self.ai, happened.taken, happened.seen
        self.heard = self.section.discount * self.heard + np.bincount(taken, minlength=len(ai))
        n_seen = int(times.sum())
        human, machine = (
            float(times[rows].mean()) if rows.any() else float("nan")
            for rows in (now.available & ~ai, now.available & ai)
        )
        self.shares = {
            "ai_exposure": float(times[ai].sum() / n_seen) if n_seen else float("nan"),
            "ai_click_share": float(ai[taken].mean()) if len(taken) else float("nan"),
            "ai_gap": relative_gap(human, machine),
        }

    @property
    def ai(self) -> NDArray[np.bool_]:
        """(items,) which a machine made."""
        origin = self.world.columns.catalog.origin
        if origin is None:
            return np.zeros(len(self.world.columns.catalog), np.bool_)
        return np.asarray(origin == AI)

    def _look(self) -> None:
        more = len(self.world.columns.catalog) - len(self.heard)
        self.heard = np.pad(self.heard, (0, more))

    def _room(self) -> int:
        """How many may enter so that machines hold at most their share of what is available."""
        now, cap = self.world.columns, self.section.share_cap
        there = int(now.available.sum())
        machine = int((now.available & self.ai).sum())
        if cap >= 1:
            return int(self.section.rate) + 1
        # (machine + n) / (there + n) <= cap
        return max(0, int(np.floor((cap * there - machine) / (1 - cap) + 1e-9)))

    def _made(self, n: int) -> NewItems:
        """n copies: each of one of the best-clicked items, topics and features with noise."""
        now, section, seed = self.world.columns, self.section, self.seed
        worth = np.where(now.available, self.heard, -1.0)
        order = np.lexsort((np.arange(len(worth)), -worth))
        best = order[: min(section.copy_of, int(now.available.sum()))]
        nth = np.arange(n)
        draw = uniform(stream(seed, "copied"), now.t, nth)
        model = best[np.minimum((draw * len(best)).astype(np.int64), len(best) - 1)]

        def noise(purpose: str, width: int) -> Floats:
            return normal(seed, purpose, now.t, nth[:, None], np.arange(width))

        k = now.topics.shape[1]
        mixed = now.topics[model] * np.exp(section.noise * noise("copy topics", k))
        topics = mixed / np.maximum(mixed.sum(axis=1, keepdims=True), 1e-12)
        features: Floats = topics
        if now.features is not now.topics:
            d = now.features.shape[1]
            step = noise("copy features", d) / np.sqrt(d)
            raw = now.features[model] + section.noise * step
            features = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        names, main = now.catalog.topic_names, topics.argmax(axis=1)
        number = len(now.catalog) + nth
        made = like(
            now,
            model,
            ids=fresh_ids(now.catalog, n, word="ai"),
            titles=tuple(f"AI item {i} ({names[m]})" for i, m in zip(number, main, strict=True)),
            topics=topics,
            features=features,
            quality=now.quality[model] + section.appeal,
            awareness=now.awareness[model] + section.awareness,
            provider=np.full(n, -1),
            origin=AI,
        )
        vectors = {name: self._near(rows, name) for name, rows in made.catalog.vectors.items()}
        images = self._pictures(made.catalog.images, topics)
        return replace(made, catalog=replace(made.catalog, vectors=vectors, images=images))

    def _near(self, rows: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """(n, d) vectors of copies: their models' with noise of ``noise`` times their length."""
        n, d = rows.shape
        step = normal(
            self.seed, f"copy {name}", self.world.columns.t, np.arange(n)[:, None], np.arange(d)
        )
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows + self.section.noise * length * step / np.sqrt(d), np.float32)

    def _pictures(
        self, models: NDArray[np.uint8] | None, topics: Floats
    ) -> NDArray[np.uint8] | None:
        """(n, height, width, 3) pictures of copies, whose models' are given."""
        now = self.world.columns
        if models is None or self.section.images == "copied" or not models.any():
            return models
        from ...recommenders.generative.images.item_images import ItemImages, conditions

        assert now.catalog.images is not None  # its rows are the models'
        if self._painter is None:  # from what there was before the loop: the same in every arm
            first = now.past.n_items
            sold = now.past.popularity().astype(np.float64)
            best = np.argsort(-sold, kind="stable")[:_PICTURES]
            told = conditions(now.topics[:first], sold)
            self._painter = ItemImages()
            self._painter.fit(now.catalog.images[best], told[best], seed=self.seed)
        told = np.column_stack([topics, np.ones(len(topics))])  # they are made to be popular
        width = np.arange(self._painter.latent_size)
        luck = normal(self.seed, "copy image", now.t, np.arange(len(topics))[:, None], width)
        return self._painter.varied(models, told, luck, noise=self.section.noise)

    # -- what is seen of it ------------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """ai_share of the available items; ai_exposure, ai_click_share: of what was shown and
        taken in the step; ai_gap: relative gap of showings an item, humans less machines."""
        available = self.world.columns.available
        return {"ai_share": float(self.ai[available].mean()), **self.shares}

    def state(self) -> Arrays:
        """What sold."""
        return {"heard": self.heard}

    def load_state(self, state: Arrays) -> None:
        """Continues from :meth:`state`."""
        self.heard = state["heard"]
