"""Conversations of people with the recommender that serves them: the latest turns of each.

People's turns are what a law of speech makes of each visit (critiques.py), kept as numbers and put
into words when somebody reads them, or the own words of people who are asked by chat. The system's
turns are what the recommender said with a list (``Slates.slate_text``). Nothing is kept and no text
is made for people who are served by a recommender that does not read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Turn
from ..experiment import Served, Split
from ..record.said import cut
from .critiques import NOTHING, critiques_of, in_words

if TYPE_CHECKING:
    from ..process import Arrays
    from ..world import Shown, World

_COLUMNS = ("step", "item", "stars", "rejected", "topic")
_TYPES = {"stars": np.int8, "topic": np.int16}
_NEVER = -1

Speaker = Literal["user", "system"]


class Dialogue:
    """The latest turns of everybody's conversation; a process of the world.

    Args:
        world: with segments, persons and platform in place.
    """

    key = "dialogue"

    def __init__(self, world: World) -> None:
        self.world = world
        laws = [kind.says for kind in world.segments]
        self.speaks = np.array([law is not None for law in laws])  # (kinds,)
        self.chats = np.array([kind.persons == "chat" for kind in world.segments])
        self.turns = max(law.turns for law in laws if law is not None)
        self._visits: dict[str, NDArray[Any]] = {}  # (users, turns) each, the latest at the right
        self._texts: dict[int, list[tuple[int, Speaker, str]]] = {}

    def of(self, users: NDArray[np.int32]) -> tuple[tuple[Turn, ...], ...] | None:
        """What was said so far, oldest turn first; None where nobody who is asked about is served
        by somebody who reads it."""
        reads = readers(self.world.platform.recommender, users)
        if not reads.any():
            return None
        listed = zip(users.tolist(), reads.tolist(), strict=True)
        return tuple(self._conversation(user) if heard else () for user, heard in listed)

    def _conversation(self, user: int) -> tuple[Turn, ...]:
        catalog = self.world.columns.catalog
        said: list[tuple[int, int, Turn]] = [
            (step, int(speaker == "user"), Turn(speaker, text))
            for step, speaker, text in self._texts.get(user, ())
        ]
        if self._visits:
            rows = zip(*(self._visits[name][user].tolist() for name in _COLUMNS), strict=True)
            for step, *critique in rows:
                if step != _NEVER:
                    said.append((step, 1, Turn("user", in_words(catalog, *critique))))
        said.sort(key=lambda turn: turn[:2])  # the system speaks first in a step
        return tuple(turn for _, _, turn in said[-self.turns :])

    # -- as a process of the world ---------------------------------------------------------------

    def before(self, world: World) -> None:
        """Nothing: people speak after they were served."""

    def after(self, world: World, shown: Shown) -> None:
        """The recommender's words with new lists, then people's with what they did."""
        now, served = world.columns, world.platform.served
        rows = np.flatnonzero(readers(world.platform.recommender, shown.users))
        if len(rows) == 0:
            return
        if served is not None and served.lists.slate_text is not None:
            reads = readers(world.platform.recommender, served.asked).tolist()
            said_to = zip(served.asked.tolist(), reads, served.lists.slate_text, strict=True)
            for user, heard, text in said_to:
                if heard and text:
                    self._say(user, "system", text)
        own = {} if world.persons is None else world.persons.spoken
        kinds = now.segment[shown.users]
        by_law = self.speaks[kinds] & ~self.chats[kinds]
        rows = rows[by_law[rows]]
        said = critiques_of(shown, now.topics)
        self._remember(
            shown.users[rows],
            [np.full(len(rows), now.t, np.int32)]
            + [getattr(said, name)[rows] for name in _COLUMNS[1:]],
        )
        for user, text in own.items():
            if text and self.speaks[now.segment[user]]:
                self._say(user, "user", text)

    def _remember(self, users: NDArray[np.int32], columns: list[NDArray[Any]]) -> None:
        if not self._visits:
            shape = len(self.world.columns.users), self.turns
            self._visits = {
                name: np.full(shape, NOTHING, _TYPES.get(name, np.int32)) for name in _COLUMNS
            }
        for name, new in zip(_COLUMNS, columns, strict=True):
            kept = self._visits[name]
            kept[users, :-1] = kept[users, 1:]
            kept[users, -1] = new

    def _say(self, user: int, speaker: Speaker, text: str) -> None:
        said = self._texts.setdefault(user, [])
        said.append((self.world.columns.t, speaker, cut(text)))
        del said[: -self.turns]

    def series(self) -> Mapping[str, float]:
        """Nothing is measured."""
        return {}

    def state(self) -> Arrays:
        """What was said, for a checkpoint."""
        texts = json.dumps(self._texts, sort_keys=True).encode()
        return {**self._visits, "texts": np.frombuffer(texts, np.uint8)}

    def load_state(self, state: Arrays) -> None:
        """The inverse of :meth:`state`."""
        self._visits = {name: state[name].copy() for name in _COLUMNS if name in state}
        held = json.loads(state["texts"].tobytes())
        self._texts = {int(user): [tuple(one) for one in said] for user, said in held.items()}


def readers(recommender: Served | None, users: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(n,) whether what serves each of these people says that it reads conversations."""
    if isinstance(recommender, Split):
        a, b = ("dialogue" in part.capabilities.inputs for part in recommender.parts)
        return np.where(recommender.treated[users], a, b)
    reads = recommender is not None and "dialogue" in recommender.capabilities.inputs
    return np.full(len(users), reads)


def dialogue_of(world: World) -> Dialogue | None:
    """The conversations of a world, or None where nobody says anything."""
    return Dialogue(world) if any(kind.says is not None for kind in world.segments) else None
