"""The guard: stands between the harness and any recommender, and contains what misbehaves.

History filtering, duplicates, unknown items, padding and time limits are the harness's job, never
the model's: libraries disagree on all of them. A recommender that raises, hangs, or answers
nonsense never ends a run: the people it failed see an empty slate, and what happened is counted
per request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .answer import Answer
from .border import Capabilities, Progress, Requests, Slates, State
from .catalog import Catalog
from .cleaning import Allowed, clean, numeric
from .containment import Contained
from .faults import KINDS, Faults, Limits, described, plain
from .growth import known_log, known_requests, widened
from .handed import heard, own, own_requests
from .interactions import Interactions, Ragged
from .ranking import best, blocks

__all__ = ["KINDS", "Faults", "Guard", "Limits"]

_FAILED = object()


class Guard:
    """Wraps any recommender; is itself one, and never raises because of it.

    Args:
        recommender: anything with ``recommend(requests) -> Slates``.
        n_items: size of the catalog; item indices outside it are unknown.
        limits: time limits and strikes.
        filter_history: drop items that stand in the request's history.
        catalog: for a recommender that updates by refitting after :meth:`load_state`; else
            remembered from :meth:`fit`.
        in_loop: ratings in a log are only for a recommender that declares ``ratings``.

    Attributes:
        faults: what went wrong so far; may be replaced when a run is resumed.
        known: how many items the recommender was told of; fewer than ``n_items`` between the entry
            of items and its next fit, unless it implements AddsItems.
        available: (items,) which may be shown, None for all.
    """

    def __init__(
        self,
        recommender: object,
        *,
        n_items: int,
        limits: Limits | None = None,
        filter_history: bool = True,
        catalog: Catalog | None = None,
        in_loop: bool = False,
    ) -> None:
        self.recommender = recommender
        self.n_items = n_items
        self.limits = limits or Limits()
        self.filter_history = filter_history
        self.catalog = catalog
        self.in_loop = in_loop
        self.faults = Faults()
        self.known = n_items
        self.available: NDArray[np.bool_] | None = None
        self._subject = Contained(recommender)

    # -- what it says of itself ----------------------------------------------------------------

    @property
    def name(self) -> str:
        """The recommender's name, or its type's where it has none."""
        name = self._subject.attribute("name")
        return plain(name) if isinstance(name, str) and name else type(self.recommender).__name__

    @property
    def capabilities(self) -> Capabilities:
        """What the recommender declares; the plainest black box where it declares nothing."""
        declared = self._subject.attribute("capabilities")
        return declared if isinstance(declared, Capabilities) else Capabilities()

    @property
    def can_score(self) -> bool:
        """Whether it offers scores of the whole catalog."""
        return self.capabilities.scores != "none" and callable(self._subject.attribute("score"))

    @property
    def _tells_more(self) -> bool:
        """Whether its lists are or say more than what its scores rank first."""
        says = self.capabilities
        return says.stochastic or "explanations" in says.outputs

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fit it, if it learns at all; one that fails here is switched off."""
        self.catalog = catalog
        fit = self._subject.attribute("fit")
        if not callable(fit):
            return
        log, _ = heard(log, self.capabilities, in_loop=self.in_loop)
        done = self._learn("fit", lambda: fit(own(log), own(catalog), seed=seed, progress=progress))
        if not done:
            self.faults.off = True

    def add_items(self, catalog: Catalog) -> None:
        """Items entered at the end of the catalog; it is told now, or at its next fit."""
        if self.available is not None:
            entered = np.ones(len(catalog) - self.n_items, np.bool_)
            self.available = np.concatenate([self.available, entered])
        self.n_items, self.catalog = len(catalog), catalog
        add = self._subject.attribute("add_items")
        if not callable(add):
            if not callable(self._subject.attribute("fit")):  # it never heard of a catalog
                self.known = self.n_items
        elif self._learn("add_items", lambda: add(own(catalog))):
            self.known = self.n_items

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """From now on only these items are shown, whatever the recommender answers."""
        self.available = None if available.all() else available.copy()
        told = self._subject.attribute("withdraw")
        if callable(told):
            self._learn("withdraw", lambda: told(available.copy()))

    def grown(self) -> NDArray[np.int64]:
        """(1,) how many items it knows, for a checkpoint."""
        return np.array([self.known], np.int64)

    def regrow(self, catalog: Catalog, known: NDArray[np.int64]) -> None:
        """The catalog as it was at a checkpoint; what it knows of it comes with its own state."""
        self.n_items, self.catalog, self.known = len(catalog), catalog, int(known[0])

    def update(self, log: Interactions, *, since: int, seed: int = 0, full: bool = False) -> None:
        """Let it learn on; one that fails goes on as it was, one that hangs is switched off.

        Args:
            log: everything so far; rows from ``since`` are new.
            seed: of this update.
            full: learn everything anew, even where it could learn on.
        """
        update, fit = self._subject.attribute("update"), self._subject.attribute("fit")
        catalog = self.catalog
        declared = self.capabilities.update
        if declared == "none":
            return
        log, since = heard(log, self.capabilities, since, in_loop=self.in_loop)
        can_fit = callable(fit) and catalog is not None
        behind = self.known < self.n_items and declared == "refit"  # its update knows old items
        if callable(update) and not (can_fit and (full or behind)):
            if self.known < self.n_items:
                log, since = known_log(log, self.known, since=since)
            self._learn("update", lambda: update(own(log), since=since, seed=seed))
        elif callable(fit) and catalog is not None and (full or declared == "refit"):
            if self._learn("update", lambda: fit(own(log), own(catalog), seed=seed, progress=None)):
                self.known = self.n_items
        else:
            self.faults.add("fit_failed", 1, f"update: declared {declared!r}, but has no way to")

    def _hidden(self, requests: Requests) -> Ragged | None:
        """What each row must not be shown, or None for nothing."""
        if requests.unwanted is None:
            return requests.history if self.filter_history else None
        if not self.filter_history:
            return requests.unwanted
        return requests.history.beside(requests.unwanted)

    def _learn(self, what: str, call: Callable[[], object]) -> bool:
        if self.faults.off:
            self.faults.add("switched_off", 1, f"{what} was not tried")
            return False
        kind, value = self._subject.call(call, self.limits.seconds_per_fit)
        if kind is None:
            return True
        self.faults.add("fit_failed", 1, f"{what}: {value}")
        if kind == "timed_out":  # another try would cost as much again
            self.faults.off = True
        return False

    # -- serving -------------------------------------------------------------------------------

    def recommend(self, requests: Requests) -> Slates:
        """Clean slates: (n, k) known, unique, unseen items, -1 where there is nothing to show."""
        n = len(requests)
        self.faults.requests += n
        answer = Answer(n, requests.k, faults=self.faults)
        # a policy that draws its slates must draw them itself: its scores are not its behaviour;
        # and one that explains them must be asked for them
        by_score = self.can_score and not self._tells_more
        serve = self._by_score if by_score else self._by_list
        size = self._batch(n)
        for cut in blocks(n, self.n_items) if by_score else [np.arange(n)]:
            for at in range(0, len(cut), size):
                rows = cut[at : at + size]
                part = requests.take(rows)
                serve(part, rows, answer)
        self._count_short(requests, answer)
        return answer.slates()

    def _by_score(self, part: Requests, rows: NDArray[np.int64], answer: Answer) -> None:
        raw = self._scores_of(part, rows, answer)
        if raw is None:
            return
        if self.available is not None:
            raw = np.where(self.available, raw, np.float32(-np.inf))
        found = best(raw, part.k, without=self._hidden(part))
        if found.odd.any():
            answer.note("not_finite", rows[found.odd], "scores are NaN or infinite")
        if not _full(found.items):
            found.scores[found.items < 0] = np.nan
            silent = np.flatnonzero((found.items < 0).all(axis=1))
            strange = (raw[silent] == -np.inf).all(axis=1)  # a stranger to it, not a sated person
            answer.mark(rows[silent[strange]], "short: it scores no item for this person")
        where = slice(int(rows[0]), int(rows[-1]) + 1)  # of consecutive rows
        answer.items[where] = found.items
        answer.put("scores", where, found.scores)

    def _scores_of(
        self, part: Requests, rows: NDArray[np.int64], answer: Answer
    ) -> NDArray[np.float32] | None:
        """(rows, items) float32, maybe the recommender's own array; None if the call failed."""
        score = self._subject.attribute("score")
        value = self._answer_of(lambda: score(self._asked(part)), rows, answer)
        if value is _FAILED:
            return None
        raw = numeric(value)
        if raw is None or raw.shape != (len(rows), self.known):
            said = "scores are not an array" if raw is None else f"scores {raw.dtype} {raw.shape}"
            expected = (len(rows), self.known)
            answer.fail("wrong_shape", rows, f"{said}, expected float32 {expected}")
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return widened(np.asarray(raw, dtype=np.float32), self.n_items)

    def _score_matrix(
        self, part: Requests, rows: NDArray[np.int64], answer: Answer
    ) -> NDArray[np.float32] | None:
        """(rows, items) float32 of our own, without NaN or +inf; None if the call failed."""
        raw = self._scores_of(part, rows, answer)
        if raw is None:
            return None
        matrix = raw.copy()
        worst = ~(matrix.max(axis=1, initial=-np.inf) < np.inf)  # NaN and +inf reach the maximum
        if worst.any():
            matrix[~(matrix < np.inf)] = -np.inf
            answer.note("not_finite", rows[worst], "scores are NaN or infinite")
        return matrix

    def _by_list(self, part: Requests, rows: NDArray[np.int64], answer: Answer) -> None:
        hidden = self._hidden(part)
        longest = 0 if hidden is None else int(hidden.lengths.max(initial=0))
        gone = 0 if self.available is None else int((~self.available).sum())
        ask = max(part.k, min(part.k + longest + gone, self.n_items))
        if self.capabilities.unseen:  # nothing will have to be taken out
            ask = part.k
        asked = self._asked(replace(part, k=ask))
        recommend = self._subject.attribute("recommend")
        value = self._answer_of(lambda: recommend(asked), rows, answer)
        if value is _FAILED:
            return
        if not isinstance(value, Slates):
            answer.fail("not_slates", rows, f"got {type(value).__name__}")
            return
        try:
            allowed = Allowed(self.n_items, hidden, self.available)
            names = not self.capabilities.closed_catalog
            clean(value, answer, rows=rows, asked=ask, allowed=allowed, names=names)
        except Exception as error:  # a field that fights back when it is read
            answer.fail("not_slates", rows, described(error))

    def _count_short(self, requests: Requests, answer: Answer) -> None:
        """Rows that answered, yet with fewer items than were asked for and left to show, and rows
        whose people were shown nothing at all, be it by a failure or an empty answer."""
        if _full(answer.items) and not answer.failed.any():
            return
        found = (answer.items >= 0).sum(axis=1)
        self.faults.unanswered += int((answer.failed & (found == 0)).sum())
        rows = np.flatnonzero((found < requests.k) & ~answer.failed)
        if len(rows) == 0:
            return
        could = np.arange(self.n_items) < self.known
        if self.available is not None:
            could &= self.available
        left = np.full(len(rows), could.sum())
        hidden = self._hidden(requests.take(rows))
        if hidden is not None:
            pairs = np.unique(hidden.row_index * self.n_items + hidden.values)
            pairs = pairs[could[pairs % self.n_items]]
            left -= np.bincount(pairs // self.n_items, minlength=len(rows))
        short = found[rows] < np.minimum(left, requests.k)
        self.faults.add("short", int(short.sum()))
        self.faults.unanswered += int((short & (found[rows] == 0)).sum())

    def score(self, requests: Requests) -> NDArray[np.float32] | None:
        """(n, n_items) scores as the recommender gives them, history not masked.

        NaN and +inf become -inf. None where it has no scores or the call failed.
        """
        n = len(requests)
        if not self.can_score:
            return None
        self.faults.requests += n
        answer = Answer(n, 1, faults=self.faults)
        size = self._batch(n)
        parts = []
        for at in range(0, n, size):
            rows = np.arange(at, min(at + size, n))
            part = self._score_matrix(requests.take(rows), rows, answer)
            if part is None:
                return None
            parts.append(part)
        return np.concatenate(parts) if parts else np.empty((0, self.n_items), np.float32)

    # -- remembering ---------------------------------------------------------------------------

    def state(self) -> State | None:
        """Its memory as named arrays, or None if it has none or cannot tell."""
        state = self._subject.attribute("state")
        if not callable(state) or self.faults.off:
            return None
        kind, value = self._subject.call(state, self.limits.seconds_per_call)
        if kind is not None:
            self.faults.add(kind, 1, f"state: {value}")
            return None
        if isinstance(value, dict) and all(
            isinstance(k, str) and isinstance(v, np.ndarray) and v.dtype.kind != "O"
            for k, v in value.items()
        ):
            return {str(k): v.copy() for k, v in value.items()}
        self.faults.add("wrong_shape", 1, "state is not a dict of arrays")
        return None

    def load_state(self, state: State) -> None:
        """Give it back its memory; one that cannot take it is switched off."""
        load = self._subject.attribute("load_state")
        if not callable(load):
            self.faults.add("fit_failed", 1, "load_state is missing")
            self.faults.off = True
        elif not self._learn("load_state", lambda: load(state)):
            self.faults.off = True

    # -- asking --------------------------------------------------------------------------------

    def _asked(self, requests: Requests) -> Requests:
        """Requests of its own, without items that it was not told of."""
        if requests.ago is not None and "times" not in self.capabilities.inputs:
            requests = replace(requests, ago=None)
        if self.known < self.n_items:
            requests = known_requests(requests, self.known)
        return own_requests(requests)

    def _batch(self, n: int) -> int:
        largest = self.capabilities.max_batch
        return largest if isinstance(largest, int) and 0 < largest < n else max(1, n)

    def _answer_of(
        self, call: Callable[[], object], rows: NDArray[np.int64], answer: Answer
    ) -> object:
        if self.faults.off:
            answer.fail("switched_off", rows, KINDS["switched_off"])
            return _FAILED
        kind, value = self._subject.call(call, self.limits.seconds_per_call)
        if kind is None:
            self.faults.strikes = 0
            return value
        answer.fail(kind, rows, str(value))
        self.faults.strikes += 1
        self.faults.off = self.faults.strikes >= self.limits.strikes
        return _FAILED


def _full(items: NDArray[np.int32]) -> bool:
    """Whether no slot is empty, where slots are filled from the left."""
    return items.size > 0 and bool((items[:, -1] >= 0).all())
