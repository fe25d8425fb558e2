"""The items: what they are called, what they are about, who provides them, what an audit needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError


@dataclass(frozen=True)
class Catalog:
    """Items as columns; row ``i`` is the item with index ``i`` everywhere inside LoopAudit.

    Attributes:
        ids: (items,) string ids, unique; the vocabulary of the outer border.
        titles: (items,) display titles, not unique, hostile until escaped.
        topics: (items, topics) float32, non-negative; rows sum to 1, or to 0 for "no topic known".
        topic_names: (topics,) names.
        provider: (items,) int32 provider index, -1 unknown.
        provider_group: (items,) int32 group of the provider, -1 unknown.
        quality: (items,) float32 intrinsic appeal, or None when only the world knows it.
        stance: (items,) float32 in [-1, 1], or None.
        veracity: (items,) float32 in [0, 1], or None.
        harmful: (items,) bool, or None.
        origin: (items,) int8, 0 human, 1 AI-made, or None.
        text: (items,) longer description, or None.
        vectors: named (items, dim) float32 item vectors from image or text, maybe empty.
        images: (items, height, width, 3) uint8 RGB, all zeros for an item without one, or None.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    topics: NDArray[np.float32]
    topic_names: tuple[str, ...]
    provider: NDArray[np.int32]
    provider_group: NDArray[np.int32]
    quality: NDArray[np.float32] | None = None
    stance: NDArray[np.float32] | None = None
    veracity: NDArray[np.float32] | None = None
    harmful: NDArray[np.bool_] | None = None
    origin: NDArray[np.int8] | None = None
    text: tuple[str, ...] | None = None
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    images: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise UserError("a catalog needs at least 1 item, got 0")
        if len(set(self.ids)) != n:
            seen: set[str] = set()
            twice = next(i for i in self.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise UserError(f"item ids must be unique; {twice!r} stands twice in the catalog")
        if self.topics.shape != (n, len(self.topic_names)):
            raise UserError(
                f"catalog topics must have shape ({n}, {len(self.topic_names)}), "
                f"got {self.topics.shape}"
            )
        for name in ("titles", "provider", "provider_group"):
            if len(getattr(self, name)) != n:
                got = len(getattr(self, name))
                raise UserError(f"catalog {name} must have {n} rows, got {got}")
        if self.images is not None and (
            self.images.ndim != 4 or (len(self.images), self.images.shape[3]) != (n, 3)
        ):
            raise UserError(
                f"catalog images must have shape ({n}, height, width, 3), got {self.images.shape}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def main_topic(self) -> NDArray[np.int32]:
        """(items,) index of the heaviest topic, -1 where no topic is known."""
        best = self.topics.argmax(axis=1).astype(np.int32)
        return np.where(self.topics.sum(axis=1) > 0, best, np.int32(-1))

    def then(self, later: Catalog) -> Catalog:
        """This catalog followed by items that entered it; old items keep their indices.

        A trait that only one of the two knows is filled up with what says nothing: quality 0,
        stance and veracity NaN, not harmful, human, the title as text, a zero vector, no image.

        Raises:
            UserError: an id stands in both.
        """
        a, b = len(self), len(later)

        def joined(name: str, fill: float | bool, dtype: type) -> Any:
            parts = [getattr(self, name), getattr(later, name)]
            if all(part is None for part in parts):
                return None
            rows = [
                np.full(n, fill, dtype) if p is None else p
                for p, n in zip(parts, (a, b), strict=True)
            ]
            return np.concatenate(rows).astype(dtype)

        vectors = {}
        for name in sorted({*self.vectors, *later.vectors}):
            known = self.vectors.get(name, later.vectors.get(name))
            blank = [np.zeros((n, known.shape[1]), np.float32) for n in (a, b)]  # type: ignore[union-attr]
            halves = (self.vectors.get(name, blank[0]), later.vectors.get(name, blank[1]))
            vectors[name] = np.concatenate(halves).astype(np.float32)
        seen = self.images if self.images is not None else later.images
        images = None
        if seen is not None:
            none = [np.zeros((n, *seen.shape[1:]), np.uint8) for n in (a, b)]
            pictures = [self.images, later.images]
            images = np.concatenate(
                [z if p is None else p for p, z in zip(pictures, none, strict=True)]
            )
        said = self.text is not None or later.text is not None
        return Catalog(
            ids=self.ids + later.ids,
            titles=self.titles + later.titles,
            topics=np.concatenate([self.topics, later.topics]),
            topic_names=self.topic_names,
            provider=np.concatenate([self.provider, later.provider]),
            provider_group=np.concatenate([self.provider_group, later.provider_group]),
            quality=joined("quality", 0.0, np.float32),
            stance=joined("stance", np.nan, np.float32),
            veracity=joined("veracity", np.nan, np.float32),
            harmful=joined("harmful", False, np.bool_),
            origin=joined("origin", 0, np.int8),
            text=(self.text or self.titles) + (later.text or later.titles) if said else None,
            vectors=vectors,
            images=images,
        )

    def public(self) -> Catalog:
        """The catalog as a recommender may see it: without quality, veracity and harm labels."""
        return replace(self, quality=None, veracity=None, harmful=None)

    def to_frame(self) -> pl.DataFrame:
        """One row an item, for ``worlds/wNNN/catalog.parquet``; vectors and images are left out."""
        columns: dict[str, object] = {
            "item": np.arange(len(self), dtype=np.int32),
            "id": list(self.ids),
            "title": list(self.titles),
            "topics": pl.Series(
                "topics", self.topics, dtype=pl.Array(pl.Float32, self.topics.shape[1])
            ),
            "provider": self.provider,
            "provider_group": self.provider_group,
        }
        for name in ("quality", "stance", "veracity", "harmful", "origin"):
            value = getattr(self, name)
            if value is not None:
                columns[name] = value
        if self.text is not None:
            columns["text"] = list(self.text)
        return pl.DataFrame(columns)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, topic_names: tuple[str, ...]) -> Catalog:
        """The inverse of :meth:`to_frame`."""

        def column(name: str) -> NDArray[np.generic] | None:
            return frame[name].to_numpy().copy() if name in frame.columns else None

        return cls(
            ids=tuple(frame["id"].to_list()),
            titles=tuple(frame["title"].to_list()),
            topics=np.ascontiguousarray(frame["topics"].to_numpy(), dtype=np.float32),
            topic_names=topic_names,
            provider=frame["provider"].to_numpy().astype(np.int32),
            provider_group=frame["provider_group"].to_numpy().astype(np.int32),
            quality=column("quality"),  # type: ignore[arg-type]
            stance=column("stance"),  # type: ignore[arg-type]
            veracity=column("veracity"),  # type: ignore[arg-type]
            harmful=column("harmful"),  # type: ignore[arg-type]
            origin=column("origin"),  # type: ignore[arg-type]
            text=tuple(frame["text"].to_list()) if "text" in frame.columns else None,
        )
