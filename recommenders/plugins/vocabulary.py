"""The outer border's vocabulary: string ids outside, indices inside, one map in each direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

UNKNOWN = np.iinfo(np.int32).max
"""The index that an id outside the catalog gets; the guard counts it as an unknown item."""


class Vocabulary:
    """Item ids and indices of one catalog.

    Args:
        ids: (items,) unique string ids; the position is the index.

    Example:
        >>> words = Vocabulary(["a", "b"])
        >>> words.indices(["b", "nowhere"]) == [1, UNKNOWN]
        True
        >>> words.ids([1, 0])
        ['b', 'a']
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = tuple(ids)
        self._index = {text: index for index, text in enumerate(self._ids)}

    def __len__(self) -> int:
        return len(self._ids)

    def indices(self, ids: Iterable[str]) -> list[int]:
        """The index of each id, UNKNOWN where the catalog does not hold it."""
        return [self._index.get(text, UNKNOWN) for text in ids]

    def ids(self, indices: Iterable[int] | NDArray[np.integer]) -> list[str]:
        """The id of each index."""
        return [self._ids[index] for index in indices]
