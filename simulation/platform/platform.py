"""The recommender with its schedules of refreshing and retraining, and what it learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import mesa
import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import LateColumns, Requests, Slates
from ...recommenders.interactions import Interactions, Ragged
from ...recommenders.randomness import child_seed, generator, gumbel, stream, uniform
from ...recommenders.ranking import top_k
from ..arms import Arm
from ..experiment import Split
from ..people.columns import Columns
from ..people.equations import SEARCH_SKILL
from .clicks import Arrays, Clicks
from .history import HistoryBuffer
from .lists import Lists, Page, whole_page
from .ratings import Rated
from .rejections import Rejections
from .schedule import Schedule
from .showcase import Showcase
from .slates import first_slots, joined, rearranged
from .training import TrainingRecord

if TYPE_CHECKING:
    from ..experiment import Served
    from ..people.dialogue import Dialogue
    from ..world import Shown


_BLOCK = 1 << 22  # cells of (people, items) held at once, so that memory stays near 100 MB


@dataclass(frozen=True)
class Serving:
    """What was served in one step, and from what: the log is written from it.

    Attributes:
        asked: (m,) people who got a new list; lists: theirs, (m, length).
        page: where the slates of all active people stand in their lists.
        version: how often the recommender had learnt; trained_until: the last step it had learnt
            from, -1 for the past before the loop.
    """

    asked: NDArray[np.int32]
    lists: Slates
    page: Page
    version: int
    trained_until: int


class Platform(mesa.Agent):
    """Serves slates, records clicks, refreshes lists and retrains on schedule.

    Args:
        model: the world it serves, and the columns it reads.
        arm: what kind of policy it runs.
        recommender: guarded recommender, already fitted on the world's past; None for the organic
            arm, where people browse by themselves, and for the oracle, which needs none.
        blocks: (first, last) of people who are served in one batch: a model may round differently
            for another batch, so batches are the same however a world is shared out.
        repeat: whether what was consumed may be shown again.
        rated: where people rate and the recommender learns from it.

    Attributes:
        led: somebody else says when the recommender learns (a shard's driver).
        served: what the latest step was served with.
        version: how often the recommender changed by learning; trained_until: the last step it
            learnt from, -1 for the past before the loop.
        training: the losses of every time it learnt.
    """

    def __init__(
        self,
        model: mesa.Model,
        columns: Columns,
        arm: Arm,
        recommender: Served | None,
        blocks: list[tuple[int, int]],
        *,
        repeat: bool = False,
        rated: Rated | None = None,
    ) -> None:
        super().__init__(model)
        self.columns = columns
        self.arm = arm
        self.recommender = recommender
        self.blocks = blocks
        self.led = False
        timed = recommender is not None and "times" in recommender.capabilities.inputs
        self.history = HistoryBuffer(columns.past, timed=timed)
        self.rated = rated
        self.clicks = Clicks(rated=rated is not None)
        self.learnt_rows = len(columns.past)
        self.rejections = Rejections(len(columns.taste))
        self.schedule = Schedule(arm)
        self.retrained = False
        self.showcase: Showcase | None = None  # slots kept for new items
        self.version, self.trained_until = 0, -1
        self.training = TrainingRecord()
        self.repeat = repeat
        self.lists = Lists(
            *(blocks[0][0], blocks[-1][1]) if blocks else (0, 0),
            every=arm.refresh_every,
            length=arm.list_length,
            slate=columns.slate,
            repeat=repeat,
        )
        self.served: Serving | None = None
        self.dialogue: Dialogue | None = None  # what people and recommender said to each other
        self.n_fakes = 0  # users beyond the world's, whom adversaries invented
        self.n_first = len(columns.catalog)  # their draws do not move when others enter
        self._newcomers = stream(columns.seed, f"browse newcomers/{arm.luck}")
        self._browsed = generator(columns.seed, "browse", arm.luck).bit_generator.random_raw()

    @property
    def organic(self) -> bool:
        """Whether people browse by themselves, seeing no ranking."""
        return self.recommender is None and self.arm.kind != "oracle"

    def shown_by(self, users: NDArray[np.int32]) -> NDArray[np.str_]:
        """(n,) name of what serves each of these people."""
        arm = self.arm
        if arm.recommender is None:
            return np.full(len(users), "oracle" if arm.kind == "oracle" else "organic")
        if arm.control is None or not isinstance(self.recommender, Split):
            return np.full(len(users), arm.recommender.name)
        mine = self.recommender.treated[users]
        return np.where(mine, arm.recommender.name, arm.control.name)

    def serve(self, users: NDArray[np.int32]) -> Slates:
        """Slates for the active people of this step, from lists made now or at the last refresh."""
        lists, t = self.lists, self.columns.t
        asked = users[lists.wanting(users, t)]
        made = self._make(asked)
        if lists.once:
            slates = first_slots(made, self.columns.slate)
            page = whole_page(slates.items, t)
        else:
            lists.put(asked, made, t)
            slates, page = lists.serve(users)
        self.served = Serving(asked, made, page, self.version, self.trained_until)
        return slates

    def hidden(self, users: NDArray[np.int32]) -> Ragged:
        """What these people must not be shown: what they consumed, and what they rejected."""
        nothing = Ragged(np.empty(0, np.int32), np.zeros(len(users) + 1, np.int64))
        history = nothing if self.repeat else self.history.of(users)
        unwanted = self.rejections.of(users, len(self.columns.catalog))
        return history if unwanted is None else history.beside(unwanted)

    def _make(self, users: NDArray[np.int32]) -> Slates:
        """A new list for each of these people, block by block."""
        cuts = [slice(*np.searchsorted(users, block)) for block in self.blocks]
        parts = [self._make_of(users[cut]) for cut in cuts if cut.stop > cut.start]
        if not parts:
            return Slates(np.empty((0, self.lists.width), np.int32))
        return joined(parts)

    def _make_of(self, users: NDArray[np.int32]) -> Slates:
        now = self.columns
        if self.arm.kind == "oracle":
            return self._oracle(users, self.hidden(users))
        if self.organic or self.recommender is None:
            return self._organic(users, self.hidden(users))
        made = self.recommender.recommend(
            Requests(
                users=users,
                history=self.history.of(users),
                k=self.lists.width,
                seed=child_seed(now.seed, "recommend"),
                step=now.t,
                attributes=LateColumns(now.users.attributes, users),
                unwanted=self.rejections.of(users, len(now.catalog)),
                dialogue=None if self.dialogue is None else self.dialogue.of(users),
                slate=now.slate,
                rows=now.rows,
                ago=self.history.ago(users, now.t),
            )
        )
        if self.arm.kind == "shuffled":
            made = self._shuffled(users, made)
        if self.showcase is not None:
            made = self.showcase.in_pages(now, users, self.hidden(users), made)
        return made

    def add_items(self) -> None:
        """Items entered the catalog: the recommender is told."""
        if self.recommender is not None:
            self.recommender.add_items(self.columns.catalog.public())

    def withdraw(self) -> None:
        """Items left: the recommender's answers are filtered."""
        self.lists.withdraw(self.columns.available)
        if self.recommender is not None:
            self.recommender.withdraw(self.columns.available)

    def regrow(self, known: NDArray[np.int64]) -> None:
        """Catalog and offer as they were at a checkpoint, before its recommender's state."""
        if self.recommender is not None:
            self.recommender.regrow(self.columns.catalog.public(), known)
            if not self.columns.available.all():
                self.recommender.withdraw(self.columns.available)

    def _shuffled(self, users: NDArray[np.int32], slates: Slates) -> Slates:
        """The same items in random order within each page of a list: what the ranking does is
        gone, the selection stays."""
        now = self.columns
        key = stream(now.seed, "shuffle")
        luck = uniform(key, now.t, users[:, None], slates.items)  # (n, k), by person and item
        luck += np.arange(slates.items.shape[1]) // now.slate  # luck is below 1: pages stay apart
        order = np.argsort(np.where(slates.items >= 0, luck, np.inf), axis=1, kind="stable")
        return rearranged(replace(slates, propensities=None), order)

    def _oracle(self, users: NDArray[np.int32], history: Ragged) -> Slates:
        """The unseen items each person would like best, by the truth no recommender knows."""
        now = self.columns
        match = np.einsum("nt,it->ni", now.taste[users], now.features)
        utility = now.taste_scale * match + now.quality
        utility[history.row_index, history.values] = -np.inf
        utility[:, ~now.available] = -np.inf
        return Slates(top_k(utility.astype(np.float32), now.slate))

    def _organic(self, users: NDArray[np.int32], history: Ragged) -> Slates:
        """What people would look at without a recommender: drawn from taste and awareness.

        Gumbel top-k over the whole catalog; noise is laid out by (person, item), so it does not
        depend on who is active.
        """
        now = self.columns
        rng = generator(self._browsed, "step", now.t)
        slates = np.full((len(users), min(now.slate, len(now.catalog))), -1, np.int32)
        size = max(1, _BLOCK // len(now.catalog))
        for first in range(0, len(now.taste), size):  # one draw, taken in pieces
            n = min(size, len(now.taste) - first)
            low, high = np.searchsorted(users, [first, first + size])
            if high == low:  # nobody asks: the draws are jumped over
                rng.bit_generator.advance(n * self.n_first)  # type: ignore[attr-defined]
                continue
            everyone = rng.random((n, self.n_first))
            rows = slice(int(low), int(high))
            noise = -np.log(-np.log(everyone[users[rows] - first]))
            noise = self._with_newcomers(noise, users[rows])
            slates[rows] = self._glance(users[rows], history.take(np.arange(low, high)), noise)
        return Slates(slates)

    def _with_newcomers(
        self, noise: NDArray[np.float64], users: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """(n, items) the same with noise for items that entered later, keyed by person and item."""
        entered = np.arange(self.n_first, len(self.columns.catalog))
        if len(entered) == 0:
            return noise
        more = gumbel(self._newcomers, self.columns.t, users[:, None], entered[None, :])
        return np.concatenate([noise, more], axis=1)

    def _glance(
        self, users: NDArray[np.int32], history: Ragged, noise: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """(n, k) what these people would look at, -1 where nothing is left."""
        now = self.columns
        # affinity by einsum: a BLAS product may round differently for different batch sizes
        match = np.einsum("nt,it->ni", now.taste[users], now.features)
        glance = SEARCH_SKILL * now.taste_scale * match
        keys = glance + now.quality + now.awareness + noise
        keys[history.row_index, history.values] = -np.inf
        keys[:, ~now.available] = -np.inf
        k = min(now.slate, keys.shape[1])
        top = np.argpartition(-keys, k - 1, axis=1)[:, :k]
        rank = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1, kind="stable")
        items = np.take_along_axis(top, rank, axis=1).astype(np.int32)
        possible = np.isfinite(np.take_along_axis(keys, items, axis=1))
        return np.where(possible, items, np.int32(-1))

    def record(self, shown: Shown) -> None:
        """What was taken: in histories at once, in training data at the next update."""
        if self.served is not None:
            self.lists.use_up(shown, self.served.page)
        if shown.took is not None:
            self.remember(*shown.took)
            return
        taken = shown.feedback.taken
        order = taken.cumsum(axis=1)  # the how-manieth thing taken
        for nth in range(1, int(order.max(initial=0)) + 1):
            row, column = np.nonzero(taken & (order == nth))
            told = shown.feedback.rating
            stars = None if told is None else told[row, column]
            self.remember(shown.users[row], shown.items[row, column], stars)
        self.rejections.add(shown, self.columns.t)

    def remember(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        stars: NDArray[np.float32] | None = None,
    ) -> None:
        """One consumption for each of these (distinct) people, and what they say of it."""
        self.history.append(users, items, self.columns.t)
        step = np.array(self.columns.t, np.int64)  # one number for all of them
        self.clicks.add(users, items, step, stars)

    def take_note(
        self,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        stars: NDArray[np.float32] | None = None,
    ) -> None:
        """Consumptions for training alone: who serves these people has their histories."""
        order = np.argsort(users, kind="stable")
        step = np.array(self.columns.t, np.int64)
        stars = None if stars is None else stars[order]
        self.clicks.add(users[order], items[order], step, stars)

    def learnt_elsewhere(self) -> None:
        """The recommender was replaced by one that learnt from everything so far."""
        self.learnt_rows = len(self.columns.past) + len(self.clicks)
        if self.columns.t > 0:
            self._renewed(self.columns.t - 1)

    def _renewed(self, step: int) -> None:
        """The recommender learnt from everything up to a step: lists it made before are old."""
        if self.recommender is not None and self.recommender.capabilities.update != "none":
            self.version, self.trained_until = self.version + 1, step
            self.lists.expire()

    def inject(self, fakes: Ragged) -> None:
        """Pasts of fake people enter what is learnt from: they are users beyond the world's, and
        where ratings are learnt from they give the most stars.

        Args:
            fakes: a row of items a person.
        """
        first = self.columns.past.n_users + self.n_fakes
        self.n_fakes += len(fakes)
        step = np.array(self.columns.t, np.int64)
        stars = None
        if self.rated is not None:
            stars = np.full(len(fakes.values), self.rated.highest, np.float32)
        self.clicks.add((first + fakes.row_index).astype(np.int32), fakes.values, step, stars)

    def restore(self, clicks: Arrays) -> None:
        """What was remembered before a stop, in its order (each call's people are distinct).

        Args:
            clicks: from Clicks.state.
        """
        users, items = clicks["user"].astype(np.int32), clicks["item"].astype(np.int32)
        self.clicks.add(users, items, clicks["step"], clicks.get("stars"))
        n_users = self.columns.past.n_users
        self.n_fakes = max(int(users.max(initial=-1)) + 1 - n_users, 0)
        order = np.argsort(users, kind="stable")
        order = order[users[order] < n_users]
        counts = np.bincount(users[order], minlength=n_users)
        offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        self.history.extend(Ragged(items[order], offsets), clicks["step"][order])

    def log(self) -> Interactions:
        """Everything the platform knows: the past and all clicks so far, in time order."""
        past, stars = self.columns.past, None if self.rated is None else self.rated.past
        n_users = past.n_users + self.n_fakes
        return self.clicks.after(past, n_users, len(self.columns.catalog), stars)

    def learn(self) -> None:
        """Update the recommender when the schedule says so."""
        now, section = self.columns, self.arm.recommender
        self.retrained = False
        if self.led or not self.arm.learns or self.recommender is None or section is None:
            return
        if not self.schedule.might_be_due(now.t):
            return
        log = self.log()
        if not self.schedule.due(now.t, log, self.learnt_rows, now.topics):
            return
        self.retrained = True
        self.schedule.updates += 1
        seed = child_seed(now.seed, "update", now.t)
        full = section.retrain_mode == "full"
        whole, since = self.rejections.among(log, past=len(now.past), since=self.learnt_rows)
        self.recommender.update(whole, since=since, seed=seed, full=full)
        self.training.heard(now.t, self.recommender)
        self.learnt_rows, self.rejections.learnt = len(log), len(self.rejections)
        self._renewed(now.t)
