"""What happens to a catalog as news for those who hold a copy: items enter, leave and age."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..process import Arrays
from ..world import World
from .newcomers import NewItems, from_arrays, to_arrays
from .sight import uncounted

_AGEING = ("quality", "awareness")


class Ledger(World):
    """A world that writes down what happens to its catalog, in order."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self._news: Arrays = {}
        super().__init__(*args, **more)
        self._told = self._ages()

    def add_items(self, new: NewItems) -> None:
        """See World.add_items."""
        first = len(self.columns.catalog)
        super().add_items(new)
        entered = to_arrays(self.columns, first)
        del entered["available"]  # all of them are
        self._write({f"new/{name}": rows for name, rows in entered.items()})

    def withdraw(self, items: NDArray[np.integer]) -> None:
        """See World.withdraw."""
        super().withdraw(items)
        self._write({"gone": items.astype(np.int32)})

    def _write(self, rows: Arrays) -> None:
        number = len({name.split("/")[0] for name in self._news})
        self._news |= {f"{number:03d}/{name}": column for name, column in rows.items()}

    def _ages(self) -> Arrays:
        return {name: getattr(self.columns, name) for name in _AGEING}

    def news(self) -> Arrays:
        """What :func:`follow` needs to know of what happened since this was last asked."""
        now = self._ages()
        aged = {name: now[name] for name in _AGEING if not self._is_known(now[name], name)}
        found, self._news, self._told = {**self._news, **aged}, {}, now
        return found

    def _is_known(self, column: NDArray[np.float32], name: str) -> bool:
        """Whether those who hold a copy have this column, with what entered."""
        held = self._told[name]
        entered = [rows for key, rows in self._news.items() if key.endswith(f"/new/{name}")]
        return np.array_equal(np.concatenate([held, *entered]), column)


def follow(world: World, news: Arrays) -> None:
    """Do to a world's catalog what was done to that of a :class:`Ledger`.

    What a recommender fails at then is in the tally of the one that the ledger told.
    """
    served = world.platform.recommender
    with ExitStack() as held:
        if served is not None:
            held.enter_context(uncounted(served))
        for number in sorted({name.split("/")[0] for name in news} - set(_AGEING)):
            if (gone := news.get(f"{number}/gone")) is not None:
                world.withdraw(gone)
                continue
            start = f"{number}/new/"
            rows = {name[len(start) :]: v for name, v in news.items() if name.startswith(start)}
            new = from_arrays(world.columns, rows)
            assert new is not None
            world.add_items(new)
    for name in _AGEING:
        if name in news:
            setattr(world.columns, name, news[name])
