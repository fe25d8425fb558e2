"""Named ways to cut a log into what a model learns from and what it must foresee.

The split moves published numbers more than the model does (EASE on MovieLens 100K: NDCG@10 .341 on
a random split, .073 on leave-last-out), so every result carries the split's id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import UserError, unknown_name
from .interactions import Interactions
from .randomness import generator


@dataclass(frozen=True)
class Split:
    """Parts of one log over the same user and item indices.

    Attributes:
        id: how it was cut, printed beside every result.
        train: what models are fitted on.
        valid: set aside for choosing settings; masked when testing, may be empty.
        test: what has to be foreseen.
        fold_in: what is known of the people who are not in ``train`` (strong generalisation);
            part of the history they are served with, never of the fit. None elsewhere.
    """

    id: str
    train: Interactions
    valid: Interactions
    test: Interactions
    fold_in: Interactions | None = None

    def known(self, parts: str) -> Interactions:
        """The log of what is known when a person asks: "train" or "train+valid" (and fold-in)."""
        if parts not in ("train", "train+valid"):
            raise unknown_name("history", parts, ("train", "train+valid"))
        log = self.train if self.fold_in is None else self.train.then(self.fold_in)
        return log.then(self.valid) if parts == "train+valid" else log


def split_random(
    log: Interactions, *, test: float = 0.1, valid: float = 0.1, seed: int = 0
) -> Split:
    """A random share of each person's interactions; a model may learn from the future of others.

    Args:
        log: what to cut.
        test, valid: shares of each person's interactions, rounded to the nearest number.
        seed: of the choice.
    """
    _check_shares(test, valid)
    luck = generator(seed, "split", "random").random(len(log))
    rank, count = rank_within_user(log, luck)
    n_test, n_valid = np.rint(test * count), np.rint(valid * count)
    is_test = rank < n_test
    is_valid = ~is_test & (rank < n_test + n_valid)
    return _cut(f"random test={test:g} valid={valid:g} seed={seed}", log, is_test, is_valid)


def split_last_out(log: Interactions) -> Split:
    """Each person's last interaction is the test, the one before it validation (SASRec's split).

    People with fewer than three interactions stay in train whole. Models may learn from the
    future of others: Y. Ji et al., arXiv 2010.11060.
    """
    rank, count = rank_within_user(log, -np.arange(len(log), dtype=np.float64), -log.step)
    is_test = (rank == 0) & (count >= 3)
    is_valid = (rank == 1) & (count >= 3)
    return _cut("leave-last-out", log, is_test, is_valid)


def split_time(log: Interactions, *, test: float = 0.1, valid: float = 0.1) -> Split:
    """One cut in time for everybody: nobody's future is in train. The honest default.

    Args:
        log: what to cut.
        test, valid: shares of the interactions, by time; equal times stay together.
    """
    _check_shares(test, valid)
    if len(log) == 0:
        raise UserError("cannot split a log without interactions")
    first_cut, last_cut = np.quantile(log.step, [1.0 - test - valid, 1.0 - test], method="lower")
    is_test = log.step > last_cut
    is_valid = ~is_test & (log.step > first_cut)
    return _cut(f"time test={test:g} valid={valid:g}", log, is_test, is_valid)


def split_strong(
    log: Interactions, *, people: float = 0.2, test: float = 0.2, seed: int = 0
) -> Split:
    """Strong generalisation: people who are not in train at all, served from part of their history.

    The protocol of Liang et al., WWW 2018. Needs a recommender with history="any".

    Args:
        log: what to cut.
        people: share of the people held out.
        test: share of each held-out person's interactions to foresee; the rest folds in.
        seed: of both choices.
    """
    _check_shares(people, 0.0)
    _check_shares(test, 0.0)
    luck = generator(seed, "split", "strong")
    held_out = np.zeros(log.n_users, dtype=bool)
    chosen = luck.permutation(log.n_users)[: max(1, round(people * log.n_users))]
    held_out[chosen] = True
    rank, count = rank_within_user(log, luck.random(len(log)))
    of_held_out = held_out[log.user]
    is_test = of_held_out & (rank < np.rint(test * count))
    return Split(
        id=f"strong people={people:g} test={test:g} seed={seed}",
        train=log.take(~of_held_out),
        valid=log.take(np.zeros(0, dtype=np.int64)),
        test=log.take(is_test),
        fold_in=log.take(of_held_out & ~is_test),
    )


SPLITS: dict[str, Callable[[Interactions, int], Split]] = {
    "random": lambda log, seed: split_random(log, seed=seed),
    "leave-last-out": lambda log, seed: split_last_out(log),
    "time": lambda log, seed: split_time(log),
    "strong": lambda log, seed: split_strong(log, seed=seed),
}
"""Every named split with its default shares, as a function of (log, seed)."""


def split(log: Interactions, name: str, *, seed: int = 0) -> Split:
    """Cut a log the named way: "random", "leave-last-out", "time" or "strong"."""
    if name not in SPLITS:
        raise unknown_name("split", name, SPLITS)
    return SPLITS[name](log, seed)


def load_split(path: str | Path) -> Split:
    """A split fixed in files, so that its numbers can be compared across libraries.

    Args:
        path: an .npz with ``train``, ``valid`` and ``test``, each (rows, 2) of user and item
            indices in time order, and, unless they follow from the largest indices, the scalars
            ``n_users`` and ``n_items``; or NAME.train, a text of ``user item ...`` lines with
            indices from 0, which has NAME.test beside it and no validation part.

    Raises:
        UserError: a file or one of its arrays is missing, or a line is not numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no split file at {path}")
    if path.suffix == ".train":
        test = path.with_suffix(".test")
        if not test.is_file():
            raise UserError(f"no {test.name} beside {path}")
        pairs = {"train": _lines(path), "valid": np.zeros((0, 2), np.int32), "test": _lines(test)}
        sizes: tuple[int, int] | None = None
    else:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"train", "valid", "test"} - set(arrays.files)
            if missing:
                raise UserError(f"{path.name} lacks the array {sorted(missing)[0]!r}")
            pairs = {name: arrays[name].astype(np.int32) for name in ("train", "valid", "test")}
            told = {"n_users", "n_items"} <= set(arrays.files)
            sizes = (int(arrays["n_users"]), int(arrays["n_items"])) if told else None
    if sizes is None:
        most = np.concatenate(list(pairs.values())).max(axis=0, initial=-1)
        sizes = int(most[0]) + 1, int(most[1]) + 1
    parts = []
    start = 0
    for rows in pairs.values():
        step = np.arange(start, start + len(rows), dtype=np.int64)
        parts.append(Interactions(rows[:, 0].copy(), rows[:, 1].copy(), step, *sizes))
        start += len(rows)
    return Split(f"file {path.stem}", *parts)


def _lines(path: Path) -> NDArray[np.int32]:
    """(rows, 2) of the first two columns of a text."""
    try:
        return np.loadtxt(path, usecols=(0, 1), dtype=np.int32, ndmin=2)
    except ValueError as error:
        raise UserError(f"{path} is not a text of user and item numbers: {error}") from None


def split_validation(on: Split, *, last: bool = False) -> Split:
    """The split that settings are chosen on: its test is the validation part, the real test is
    nowhere in it.

    Where there is no validation part, a tenth of each person's training rows, drawn at random,
    takes its place. People held out whole (strong generalisation) are left out.

    Args:
        on: the split that the settings are for.
        last: takes each person's last tenth of train instead, whatever validation part there is:
            where a test is what comes next, this is most like it.
    """
    if last:
        rank, count = rank_within_user(on.train, -np.arange(len(on.train)), -on.train.step)
        return _cut(
            f"{on.id}, the last tenth of train",
            on.train,
            rank < np.rint(0.1 * count),
            np.zeros(len(on.train), dtype=np.bool_),
        )
    if len(on.valid) == 0:
        inner = split_random(on.train, test=0.1, valid=0.0)
        return Split(f"{on.id}, a tenth of train", inner.train, inner.valid, inner.test)
    nothing = on.valid.take(np.zeros(0, dtype=np.int64))
    return Split(f"{on.id}, validation part", on.train, nothing, on.valid)


def rank_within_user(
    log: Interactions, *keys: NDArray[np.generic]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row: its rank among its user's rows (last key first), and their number."""
    order = np.lexsort((*keys, log.user))
    counts = np.bincount(log.user, minlength=log.n_users)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(log), dtype=np.int64)
    rank[order] = np.arange(len(log)) - starts[log.user[order]]
    return rank, counts[log.user]


def _cut(
    id: str, log: Interactions, is_test: NDArray[np.bool_], is_valid: NDArray[np.bool_]
) -> Split:
    return Split(id, log.take(~is_test & ~is_valid), log.take(is_valid), log.take(is_test))


def _check_shares(test: float, valid: float) -> None:
    if not (0.0 < test < 1.0 and 0.0 <= valid < 1.0 and test + valid < 1.0):
        raise UserError(
            f"shares must be between 0 and 1 and leave something to train on, "
            f"got test {test} and valid {valid}"
        )
