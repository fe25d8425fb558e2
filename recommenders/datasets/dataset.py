"""A dataset: a catalog, its people and what they did, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..catalog import Catalog
from ..interactions import Interactions


@dataclass(frozen=True)
class UserTable:
    """People as columns.

    Attributes:
        ids: (users,) string ids.
        attributes: attribute name to (users,) text labels, "" where unknown.
    """

    ids: tuple[str, ...]
    attributes: dict[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Dataset:
    """What a loader returns.

    Attributes:
        name: what the user asked for.
        catalog, log, users: the data, index spaces agreeing.
        source: where it came from, in words.
        sha256: digest of the interaction file.
        dropped: (count, reason) of every kind of row left out.
        clock: "time" if steps of different people can be compared, "order" if they only order
            each person's own choices.
    """

    name: str
    catalog: Catalog
    log: Interactions
    users: UserTable
    source: str
    sha256: str
    dropped: tuple[tuple[int, str], ...] = ()
    clock: Literal["time", "order"] = "time"
