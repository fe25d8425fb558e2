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
class Lists:
    """What people were shown, one row a slot; rows of one list stand together.

    Attributes:
        user, item: (rows,) indices.
        list_id: (rows,) number of the list, ascending; rows of one person and time are one list.
        position: (rows,) place in the list, from 0 at the top.
        chosen: (rows,) whether it was taken.
        complete: whether what was not taken is there too; without it only what was chosen is.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    list_id: NDArray[np.int64]
    position: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    complete: bool


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
        lists: the places that items were chosen from, where the log tells them.
    """

    name: str
    catalog: Catalog
    log: Interactions
    users: UserTable
    source: str
    sha256: str
    dropped: tuple[tuple[int, str], ...] = ()
    clock: Literal["time", "order"] = "time"
    lists: Lists | None = None
