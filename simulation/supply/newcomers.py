"""Items that enter a world: what they are, and how a checkpoint remembers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...recommenders.catalog import Catalog

if TYPE_CHECKING:
    from ..people.columns import Columns

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class NewItems:
    """Rows that are put at the end of a world's catalog.

    Attributes:
        catalog: the items; ids that the world's catalog does not hold yet, its topic names.
        features: (n, d) what tastes are matched with.
        quality, awareness: (n,) as in Columns.
        born: (n,) the step of entry, None for now.
    """

    catalog: Catalog
    features: NDArray[np.float32]
    quality: NDArray[np.float32]
    awareness: NDArray[np.float32]
    born: NDArray[np.int32] | None = None


def like(
    now: Columns,
    model: NDArray[np.integer],
    *,
    ids: tuple[str, ...],
    titles: tuple[str, ...],
    topics: NDArray[np.float32],
    features: NDArray[np.float32],
    quality: NDArray[np.float32],
    awareness: NDArray[np.float32],
    provider: NDArray[np.integer],
    origin: int = 0,
) -> NewItems:
    """New items that take every trait not given here from a model among the old ones.

    Args:
        now: the world they enter.
        model: (n,) index of an item each; stance, veracity, harm, the provider's group, named
            vectors and the image are its.
        ids, titles: n each; topics: (n, topics); features: (n, d); quality, awareness, provider:
            (n,); origin: 0 human, 1 AI.
    """
    old = now.catalog

    def copied(name: str) -> Any:
        column = getattr(old, name)
        return None if column is None else column[model]

    catalog = Catalog(
        ids=ids,
        titles=titles,
        topics=topics.astype(np.float32),
        topic_names=old.topic_names,
        provider=provider.astype(np.int32),
        provider_group=old.provider_group[model],
        quality=None if old.quality is None else quality.astype(np.float32),
        stance=copied("stance"),
        veracity=copied("veracity"),
        harmful=copied("harmful"),
        origin=np.full(len(ids), origin, np.int8),
        vectors={name: rows[model] for name, rows in old.vectors.items()},
        images=copied("images"),
    )
    return NewItems(
        catalog,
        features.astype(np.float32),
        quality.astype(np.float32),
        awareness.astype(np.float32),
    )


def fresh_ids(catalog: Catalog, n: int, *, word: str = "new") -> tuple[str, ...]:
    """n ids that a catalog does not hold: the word and the index that the item will have."""
    taken, found = set(catalog.ids), []
    for index in range(len(catalog), len(catalog) + n):
        name = f"{word}-{index:05d}"
        while name in taken:
            name += "+"
        found.append(name)
    return tuple(found)


_OPTIONAL = ("quality", "stance", "veracity", "harmful", "origin", "images")


def to_arrays(now: Columns, first: int) -> Arrays:
    """Everything about the items from ``first`` on, and which of all may be shown."""
    held: Arrays = {"available": now.available}
    catalog = now.catalog
    if len(catalog) == first:
        return held
    words = {"ids": catalog.ids, "titles": catalog.titles, "text": catalog.text}
    held |= {name: np.array(said[first:]) for name, said in words.items() if said is not None}
    for name in ("features", "quality", "awareness", "born"):
        held[name] = getattr(now, name)[first:]
    for name in ("topics", "provider", "provider_group", *_OPTIONAL):
        if (column := getattr(catalog, name)) is not None:
            held[f"catalog/{name}"] = column[first:]
    return held | {f"vectors/{name}": rows[first:] for name, rows in catalog.vectors.items()}


def from_arrays(now: Columns, held: Arrays) -> NewItems | None:
    """The inverse, None where nothing had entered."""
    if "ids" not in held:
        return None

    def words(name: str) -> tuple[str, ...]:
        return tuple(str(word) for word in held[name])

    catalog = Catalog(
        ids=words("ids"),
        titles=words("titles"),
        topics=held["catalog/topics"],
        topic_names=now.catalog.topic_names,
        provider=held["catalog/provider"],
        provider_group=held["catalog/provider_group"],
        text=words("text") if "text" in held else None,
        vectors={n[len("vectors/") :]: v for n, v in held.items() if n.startswith("vectors/")},
        **{name: held.get(f"catalog/{name}") for name in _OPTIONAL},
    )
    return NewItems(catalog, *(held[n] for n in ("features", "quality", "awareness", "born")))
