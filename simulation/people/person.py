"""One object a person, for studies where people talk: scripted by the laws, or asked by chat.

A person's taste and satiation are a row of the world's columns like anybody's, moved by the same
laws, so every measure means the same. What differs is who chooses: a scripted Person applies the
segment's law of choice to the one slate before them; a TalkingPerson asks a language model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.faults import Faults, plain
from ...recommenders.language.chat import ChatClient, ChatRequest, Usage
from ...recommenders.language.structured import Structured
from ...recommenders.randomness import bits, stream
from .choice import Feedback, Visit
from .cohort import act, fill, visit_of
from .columns import Columns
from .equations import Segment
from .talk import Memory, Reply, instructions, liked_topics, likings, reply_shape, situation

if TYPE_CHECKING:
    from ..process import Arrays
    from ..study import ChatSection
    from ..world import Shown, World

_LONGEST_REASON = 200


class Person(mesa.Agent):
    """One simulated person who chooses by their segment's law.

    Args:
        model: the world.
        columns: its state; the person's own is row ``user``.
        segment: constants and laws.
        user: index.
    """

    def __init__(self, model: mesa.Model, columns: Columns, segment: Segment, user: int) -> None:
        super().__init__(model)
        self.columns, self.segment, self.user = columns, segment, user

    def look(self, items: NDArray[np.int32], *, ordered: bool) -> Visit:
        """The person before a slate (k,): a Visit of one row."""
        user = np.array([self.user], np.int32)
        return visit_of(self.columns, self.segment, user, items[None, :], ordered=ordered)

    def choose(self, visit: Visit) -> Feedback:
        """What they do with it, by the law of choice; (1, k) columns."""
        return act(self.segment, visit)


class TalkingPerson(Person):
    """One person whose choices come from a language model, with a memory of what they took.

    Attributes:
        memories: past choices, oldest first.
    """

    def __init__(
        self,
        model: mesa.Model,
        columns: Columns,
        segment: Segment,
        user: int,
        *,
        settings: ChatSection,
    ) -> None:
        super().__init__(model, columns, segment, user)
        self.settings = settings
        self.memories: list[Memory] = []

    def question(self, visit: Visit, liking: NDArray[np.float64]) -> ChatRequest:
        """What is asked about a slate; its seed is the luck of (person, step) in every arm.

        Args:
            visit: from :meth:`look`.
            liking: (topics,) from talk.likings.
        """
        now = self.columns
        shown = visit.items[0][visit.items[0] >= 0]
        told = now.users.attributes
        seed = bits(stream(now.seed, "talk"), now.t, self.user) >> np.uint64(33)
        return ChatRequest(
            (
                instructions(self.settings.take_at_most),
                situation(
                    likes=liked_topics(liking, now.catalog.topic_names),
                    attributes={k: str(told[k][self.user]) for k in self.settings.attributes},
                    memories=self.memories,
                    catalog=now.catalog,
                    items=shown,
                    ordered=visit.ordered,
                    step=now.t,
                ),
            ),
            seed=int(seed),
        )

    def hear(self, visit: Visit, answer: Structured[Reply]) -> Feedback:
        """The answer as feedback (1, k), and into memory; nothing is taken where it has a fault."""
        slots = np.flatnonzero(visit.items[0] >= 0)  # number n of the list is slot slots[n - 1]
        taken = np.zeros(visit.items.shape, np.bool_)
        rating = np.full(visit.items.shape, np.nan, np.float32)
        reply = answer.value
        for one in () if reply is None else reply.take:
            slot = slots[one.item - 1]
            if taken[0, slot]:  # named twice
                continue
            taken[0, slot] = True
            rating[0, slot] = np.nan if one.rating is None else one.rating
            title = self.columns.catalog.titles[visit.items[0, slot]]
            reason = plain(reply.reason)[:_LONGEST_REASON] if reply is not None else ""
            self.memories.append(Memory(self.columns.t, plain(title), one.rating, reason))
        self.memories = self.memories[-self.settings.memory :] if self.settings.memory else []
        return Feedback(taken, rating=rating)


class Persons:
    """All persons of a world that are objects; asks those who talk in one batch a step.

    A process of the world: its memory (what people remember, what went wrong, what it cost) is in
    every checkpoint.

    Args:
        world: with columns and segments in place.
        settings: of the endpoint.

    Raises:
        UserError: the endpoint cannot be asked.

    Attributes:
        asked: how many were asked by chat in this step, and how many answers could not be read.
        spoken: what each person who was asked in this step said, "" where that cannot be read.
    """

    key = "persons"

    def __init__(self, world: World, settings: ChatSection) -> None:
        now = world.columns
        self.settings = settings
        self.everyone: dict[int, Person] = {}
        first, last = world.people or (0, len(now.segment))
        mine = now.segment[first:last]
        for number, segment in enumerate(world.segments):
            some = first + np.flatnonzero(mine == number)
            for user in some.tolist() if segment.persons else ():
                if segment.persons == "chat":
                    person: Person = TalkingPerson(world, now, segment, user, settings=settings)
                else:
                    person = Person(world, now, segment, user)
                self.everyone[user] = person
        self.client: ChatClient | None = None
        if any(segment.persons == "chat" for segment in world.segments):
            self.client = ChatClient(settings)
        self.asked = 0, 0
        self._said: list[tuple[int, int, int, str, str]] = []
        self.spoken: dict[int, str] = {}

    @property
    def faults(self) -> Faults:
        """What went wrong when people were asked."""
        return Faults() if self.client is None else self.client.faults

    def choose(self, shown: Shown, *, ordered: bool) -> None:
        """What the persons among the active people do with their slates; filled into ``shown``."""
        talking: list[tuple[int, TalkingPerson, Visit]] = []
        for row, user in enumerate(shown.users.tolist()):
            person = self.everyone.get(user)
            if person is None:
                continue
            visit = person.look(shown.items[row], ordered=ordered)
            shown.match[row] = visit.match[0]
            if isinstance(person, TalkingPerson):
                talking.append((row, person, visit))
            else:
                fill(shown.feedback, person.choose(visit), np.array([row]))
        self.asked = 0, 0
        self.spoken = {}
        if talking:
            self._ask(shown, talking)

    def _ask(self, shown: Shown, talking: list[tuple[int, TalkingPerson, Visit]]) -> None:
        """One batch for each length of slate; people who were shown nothing are not asked."""
        assert self.client is not None
        now = talking[0][1].columns
        users = np.array([person.user for _, person, _ in talking])
        liking = likings(now.taste[users], now.topics, now.features, space=now.space)
        lengths = np.array([int((visit.items >= 0).sum()) for _, _, visit in talking])
        for length in np.unique(lengths[lengths > 0]).tolist():
            batch = [i for i in range(len(talking)) if lengths[i] == length]
            answers = self.client.ask_for(
                reply_shape(length, self.settings.take_at_most),
                [talking[i][1].question(talking[i][2], liking[i]) for i in batch],
            )
            for i, answer in zip(batch, answers, strict=True):
                row, person, visit = talking[i]
                told = person.hear(visit, answer)
                fill(shown.feedback, told, np.array([row]))
                asked, unread = self.asked
                self.asked = asked + 1, unread + (answer.value is None)
                words = answer.why if answer.value is None else answer.value.reason
                n = int(told.taken.sum())
                self.spoken[person.user] = "" if answer.value is None else plain(words)
                self._said.append((now.t, person.user, n, answer.fault, plain(words)))

    def close(self) -> None:
        """Close the connections to the endpoint."""
        if self.client is not None:
            self.client.close()

    def said(self) -> pl.DataFrame:
        """What people answered since this was last asked; see Run.talk."""
        schema = {"step": pl.Int32, "user": pl.Int32, "taken": pl.Int16, "fault": pl.String}
        rows = pl.DataFrame(self._said, schema={**schema, "reason": pl.String}, orient="row")
        self._said = []
        return rows.sort("step", "user")

    # -- as a process of the world ---------------------------------------------------------------

    def before(self, world: World) -> None:
        """Nothing: persons act when they are served."""

    def after(self, world: World, shown: Shown) -> None:
        """Nothing: what was taken is remembered when it is taken."""

    def series(self) -> Mapping[str, float]:
        """``persons_asked`` by chat in the step, and ``persons_unread``: answers with a fault."""
        if self.client is None:
            return {}
        asked, unread = self.asked
        return {"persons_asked": float(asked), "persons_unread": float(unread)}

    def tally(self) -> dict[str, Any]:
        """What went wrong and what it cost, as JSON; the same for every replay of a record."""
        if self.client is None:
            return {}
        usage = self.client.usage
        names = ("requests", "prompt_tokens", "completion_tokens", "unmetered", "cost")
        return {
            "faults": self.client.faults.to_dict(),
            "usage": {name: getattr(usage, name) for name in names},
        }

    def add(self, tally: Mapping[str, Any]) -> None:
        """What went wrong and what it cost elsewhere, from :meth:`tally`."""
        if self.client is not None:
            self.client.faults.merge(Faults.from_dict(tally["faults"]))
            for name, amount in tally["usage"].items():
                setattr(self.client.usage, name, getattr(self.client.usage, name) + amount)

    def state(self) -> Arrays:
        """Everybody's memories and the tally, as the bytes of a JSON text."""
        if self.client is None:
            return {}
        memories = {
            str(user): [asdict(one) for one in person.memories]
            for user, person in self.everyone.items()
            if isinstance(person, TalkingPerson)
        }
        text = json.dumps({"memories": memories, "tally": self.tally()}, sort_keys=True)
        return {"memory": np.frombuffer(text.encode(), np.uint8)}

    def load_state(self, state: Arrays) -> None:
        """The inverse of :meth:`state`."""
        if self.client is None:
            return
        held = json.loads(state["memory"].tobytes())
        for user, memories in held["memories"].items():
            person = self.everyone[int(user)]
            if isinstance(person, TalkingPerson):
                person.memories = [Memory(**one) for one in memories]
        self.client.faults = Faults.from_dict(held["tally"]["faults"])
        self.client.usage = Usage(**held["tally"]["usage"])


def persons_of(world: World, settings: ChatSection) -> Persons | None:
    """The persons of a world, or None where everybody is a row of a cohort."""
    some = any(segment.persons for segment in world.segments)
    return Persons(world, settings) if some else None
