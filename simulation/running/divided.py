"""The processes of a world in shards: what a shard tells of its people, what it hears of others.

Each process that touches people has two halves here. The half in a shard lives its own people and
tells what others need of them; the half with the driver puts together what all shards told, so that
it has the undivided world's series, and says what each shard must hear before its next step.
Processes that know people only by what they did to items live with the driver alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import mesa
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...recommenders.datasets.synthetic import Market
from ...recommenders.randomness import child_seed, stream
from ..process import Arrays, Process
from ..society.friendships import border_of, heard_outside, moved_links, only_rows, relinked
from ..society.social import Ints, Society
from ..society.staying import COUNTS, Staying
from ..supply.adversary import Adversary
from ..supply.creators import Creators
from ..supply.generators import Generators
from ..supply.sight import Ranks, Sight, ranks_of, together

if TYPE_CHECKING:
    from ..platform.shown import Shown
    from ..society.settings import SocietySection
    from ..study import Study
    from ..supply.settings import AdversarySection
    from ..world import World

NOBODY = np.empty(0, np.int32)


@runtime_checkable
class InShard(Protocol):
    """The half of a process that lives a shard's people."""

    key: str

    def told(self) -> Arrays:
        """After a step: what the other half must know of these people."""
        ...

    def hear(self, news: Arrays) -> None:
        """Before the next step: what the other half says of everybody else."""
        ...


@runtime_checkable
class AtDriver(Protocol):
    """The half of a process that sees what all shards told."""

    key: str

    def divide(self, rows: Sequence[slice]) -> None:
        """Whom each shard lives; said once, before the first step here."""
        ...

    def gather(self, told: Sequence[Arrays]) -> None:
        """What each shard told of the step."""
        ...

    def news(self) -> list[Arrays]:
        """What each shard must hear before its next step; what happened is said once."""
        ...


def processes_of_shard(study: Study, world: World, *, everybody: Market) -> tuple[Process, ...]:
    """The halves that live a shard's people.

    Args:
        everybody: the whole market, of which the world knows a part.
    """
    found: list[Process] = []
    if study.staying is not None:
        found.append(StayingInShard(world, study.staying))
    if study.society is not None:
        found.append(SocietyInShard(world, study.society, everybody=everybody))
    found.extend(AdversaryInShard(world, one) for one in study.adversaries)
    return tuple(found)


def processes_of_driver(study: Study, world: World) -> tuple[Process, ...]:
    """The halves with the driver, in the order in which they act."""
    found: list[Process] = []
    if study.staying is not None:
        found.append(StayingAtDriver(world, study.staying))
    if study.society is not None:
        found.append(SocietyAtDriver(world, study.society))
    if study.supply is not None:
        found.append(Creators(world, study.supply))
    if study.generators is not None:
        found.append(Generators(world, study.generators))
    found.extend(AdversaryAtDriver(world, one) for one in study.adversaries)
    return tuple(found)


# Coming and going --------------------------------------------------------------------------------


class StayingInShard(Staying):
    """Arrivals, visits, leaving and return of a shard's people."""

    def told(self) -> Arrays:
        """Who is there and how satisfied, and how many came and left."""
        now, rows = self.columns, self.rows
        counts = np.array([self.counts[name] for name in COUNTS])
        content = now.traits["content"][rows]
        return {"present": now.present[rows], "content": content, "counts": counts}

    def hear(self, news: Arrays) -> None:
        """Nothing: everybody comes and goes by their own luck and satisfaction."""


class StayingAtDriver(Staying):
    """The same of everybody, as shards told it."""

    def divide(self, rows: Sequence[slice]) -> None:
        """See AtDriver."""
        self.shards = rows

    def gather(self, told: Sequence[Arrays]) -> None:
        """Everybody's presence and satisfaction, and the sums of those who came and left."""
        now = self.columns
        for rows, one in zip(self.shards, told, strict=True):
            now.present[rows] = one["present"]
            now.traits["content"][rows] = one["content"]
        now.there = now.present
        counts = np.sum([one["counts"] for one in told], axis=0)
        self.counts = dict(zip(COUNTS, counts.tolist(), strict=True))

    def news(self) -> list[Arrays]:
        """Nothing."""
        return [{} for _ in self.shards]


# Society -----------------------------------------------------------------------------------------

_TRAITS = ("opinion", "misinformed", "false_seen")
"""What a society's series are made of."""


class SocietyInShard(Society):
    """Friends, opinions and shares of a shard's people.

    What was shared in a step is put before friends when it is known what people of other shards
    shared: before the next step.

    Attributes:
        rows: its people; border: people of other shards whom they hear.
    """

    def __init__(self, world: World, section: SocietySection, *, everybody: Market) -> None:
        assert world.people is not None
        self.rows = slice(*world.people)
        self._shares: tuple[Ints, NDArray[np.int32]] | None = None
        super().__init__(world, section, everybody=everybody)

    def befriend(self, graph: sp.csr_matrix) -> None:
        """Keep whom its own people hear, and who of them is heard outside."""
        self.graph = only_rows(graph, self.rows)
        if self.section.friend_slots:
            self.listeners = self.graph.T.tocsr()
        self.border = border_of(graph, self.rows)
        if self.section.rewiring:  # friendships go both ways, and only its own rows are known later
            graph = self.graph.T.tocsr()
        self._heard_outside = heard_outside(graph, self.rows)

    def deliver(self, people: Ints, items: NDArray[np.int32], *, step: int) -> None:
        """Held back until :meth:`hear`."""
        self._shares = people, items

    def part(self, *, step: int) -> None:
        """The driver says who parts: whom they find then may be anybody."""

    def count(self, *, shares: int, taken: int, placed: int) -> None:
        """Numbers that can be added up."""
        self._counts = np.array([shares, taken, placed])

    def told(self) -> Arrays:
        """What these people are like, and what those of them shared who are heard outside."""
        traits, rows = self.columns.traits, self.rows
        told = {name: traits[name][rows] for name in _TRAITS}
        if "left" in traits:  # who has left is not heard any more
            told["left"] = traits["left"][rows]
        if self.section.friend_slots:
            people, items = (NOBODY, NOBODY) if self._shares is None else self._shares
            outside = self._heard_outside[people - rows.start]
            told["share_user"] = people[outside].astype(np.int32)
            told["share_item"] = items[outside].astype(np.int32)
        return {**told, "counts": self._counts}

    def hear(self, news: Arrays) -> None:
        """What friends outside shared, who parted from whom, and what the border thinks now."""
        traits = self.columns.traits
        if self._shares is not None:
            people, items = self._shares
            if "share_user" in news:
                people = np.concatenate([people, news["share_user"]])
                items = np.concatenate([items, news["share_item"]])
            super().deliver(people, items, step=self.columns.t - 1)
            self._shares = None
        if "ended" in news:
            self.befriend(relinked(self.graph, news["ended"], news["begun"], rows=self.rows))
        traits["opinion"][self.border] = news["opinion"]
        if "left" in news:
            traits["left"][self.border] = news["left"]


class SocietyAtDriver(Society):
    """The same of everybody, as shards told it; friendships end and begin here."""

    def befriend(self, graph: sp.csr_matrix) -> None:
        """Nobody is heard here; the graph says who is on whose border."""
        self.graph = graph

    def divide(self, rows: Sequence[slice]) -> None:
        """Find the borders; the graph is kept only where it changes."""
        self.shards = rows
        self.borders = [border_of(self.graph, part) for part in rows]
        self._shares: list[Arrays] | None = None
        self._moved: tuple[Ints, Ints] | None = None
        if self.section.rewiring == 0:
            self.graph = sp.csr_matrix(self.graph.shape)

    def gather(self, told: Sequence[Arrays]) -> None:
        """What everybody is like, and what happens between shards."""
        traits = self.columns.traits
        for rows, one in zip(self.shards, told, strict=True):
            for name in (*_TRAITS, *(("left",) if "left" in one else ())):
                traits[name][rows] = one[name]
        shares, taken, placed = np.sum([one["counts"] for one in told], axis=0).tolist()
        self.count(shares=shares, taken=taken, placed=placed)
        if self.section.friend_slots:
            user, item = (
                np.concatenate([one[name] for one in told]) for name in ("share_user", "share_item")
            )
            heard = [np.isin(user, border) for border in self.borders]
            self._shares = [{"share_user": user[of], "share_item": item[of]} for of in heard]
        self.part(step=self.columns.t)

    def part(self, *, step: int) -> None:
        """Friends too far apart part; only the links that moved are told."""
        now, section = self.columns, self.section
        if section.rewiring == 0:
            return
        self._moved = ended, begun = moved_links(
            self.graph, now.traits["opinion"], now.there, tolerance=section.tolerance,
            chance=section.rewiring, key=stream(now.seed, "parting"), step=step,
        )  # fmt: skip
        if len(ended):
            self.graph = relinked(self.graph, ended, begun)
            self.borders = [border_of(self.graph, part) for part in self.shards]

    def news(self) -> list[Arrays]:
        """See SocietyInShard.hear."""
        traits, n = self.columns.traits, self.graph.shape[0]
        found: list[Arrays] = []
        for number, (rows, border) in enumerate(zip(self.shards, self.borders, strict=True)):
            one = {"opinion": traits["opinion"][border]}
            if "left" in traits:
                one["left"] = traits["left"][border]
            if self._shares is not None:
                one |= self._shares[number]
            if self._moved is not None:
                one |= {
                    name: _touching(links, rows, n)
                    for name, links in zip(("ended", "begun"), self._moved, strict=True)
                }
            found.append(one)
        self._shares = self._moved = None
        return found


def _touching(links: Ints, rows: slice, n: int) -> Ints:
    """Those of the links ``a n + b`` that have an end among these people."""
    a, b = links // n, links % n
    return np.asarray(
        links[((a >= rows.start) & (a < rows.stop)) | ((b >= rows.start) & (b < rows.stop))]
    )


# Attacks -----------------------------------------------------------------------------------------


class AdversaryInShard(mesa.Agent):
    """What a shard's people are shown of an attack's target, and how it ranks for them."""

    def __init__(self, world: World, section: AdversarySection) -> None:
        super().__init__(world)
        self.world, self.section = world, section
        self.key = f"adversary/{section.name}"
        self.seed = child_seed(world.columns.seed, "adversary", section.name)
        self.target = -1
        self._told: Arrays = {}

    def before(self, world: World) -> None:
        """How the target ranks just before the attack, if it is there already."""
        self._told = {}
        if world.columns.t == self.section.step and not self.section.new_item:
            self._keep("before", ranks_of(world, self.target, seed=self.seed))

    def after(self, world: World, shown: Shown) -> None:
        """What is seen of the target in this step, and every few steps how it ranks."""
        if self.target < 0:
            return
        if self.section.looks_at(world.columns.t):
            self._keep("now", ranks_of(world, self.target, seed=self.seed))
        sight = Sight.of(shown, self.target, None)
        numbers = sight.slates, sight.holding, sight.taken, sight.target_taken
        self._told["sight"] = np.array(numbers, np.int64)

    def _keep(self, when: str, found: Ranks | None) -> None:
        if found is not None:
            self._told |= {f"{when}/{name}": rows for name, rows in found._asdict().items()}

    def told(self) -> Arrays:
        """See AdversaryAtDriver.gather."""
        return self._told

    def hear(self, news: Arrays) -> None:
        """Which item is pushed."""
        self.target = int(news["target"])

    def series(self) -> dict[str, float]:
        """Nothing: the driver's half has them."""
        return {}

    def state(self) -> Arrays:
        """Nothing that would not be told again."""
        return {}

    def load_state(self, state: Arrays) -> None:
        """See :meth:`state`."""


class AdversaryAtDriver(Adversary):
    """The attack: picks the target, invents people, and sums up what shards saw of it."""

    def divide(self, rows: Sequence[slice]) -> None:
        """See AtDriver."""
        self._n_shards = len(rows)

    def look_before(self) -> None:
        """The shards look, in the step that begins."""

    def gather(self, told: Sequence[Arrays]) -> None:
        """What was seen, in the order of the people."""
        if "sight" not in told[0]:
            return
        before = [_ranks_in(one, "before") for one in told]
        now = [_ranks_in(one, "now") for one in told]
        sights = []
        for one, ranks in zip(told, now, strict=True):
            slates, holding, taken, target_taken = one["sight"].tolist()
            sights.append(Sight(slates, holding, taken, target_taken, ranks))
        if any(found is not None for found in before):
            self.tell_before(together([Sight(0, 0, 0, 0, found) for found in before]).ranks)
        self.tell(together(sights))

    def news(self) -> list[Arrays]:
        """See AdversaryInShard.hear."""
        return [{"target": np.array(self.target)}] * self._n_shards


def _ranks_in(told: Arrays, when: str) -> Ranks | None:
    if f"{when}/users" not in told:
        return None
    return Ranks(*(told[f"{when}/{name}"] for name in Ranks._fields))
