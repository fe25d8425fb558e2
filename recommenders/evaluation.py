"""How accurate a recommender is: full ranking, named splits, the trivial baselines always beside.

Accuracy is not what LoopAudit is about, but a harm found in a recommender that is worse than
popularity says little, so every audit can show this table. Sampled metrics are not offered
(W. Krichene & S. Rendle, KDD 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import process_time

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .border import NOTHING, Progress, Recommender, Requests
from .catalog import Catalog
from .concentration import coverage, gini
from .errors import UserError, unknown_name
from .guard import Guard
from .interactions import Interactions, Ragged
from .kept_fits import KeptFits
from .ranking import blocks, top_k
from .splits import (
    SPLITS,
    Split,
    load_split,
    split,
    split_last_out,
    split_random,
    split_strong,
    split_time,
    split_validation,
)

__all__ = [
    "BASELINES",
    "SPLITS",
    "Evaluation",
    "Split",
    "evaluate",
    "evaluate_beside_baselines",
    "exposure_gini",
    "load_split",
    "ranking_metrics",
    "split",
    "split_last_out",
    "split_random",
    "split_strong",
    "split_time",
    "split_validation",
    "to_frame",
]

BASELINES = ("random", "popularity", "markov", "ease")
"""What every evaluation is shown beside: each takes a second, and often wins."""


@dataclass(frozen=True)
class Evaluation:
    """What one recommender reached on one split.

    Attributes:
        name: of the recommender.
        split: id of the split.
        history: what people were served from, "train" or "train+valid".
        filtered: what was removed from the lists, "train" or "train+valid".
        ks: list lengths.
        users: (n,) int32 the people measured.
        n_dropped: people without anything to foresee, left out.
        per_user: (n,) float64 by metric: precision@k, recall@k, recall_min@k, ndcg@k, mrr@k, hit@k.
        overall: over all lists together: coverage@k, gini@k.
        fit_seconds: CPU seconds of the fit.
        users_per_second: people served a CPU second.
        faults: what the recommender did wrong, as ``Faults.to_dict()``.
    """

    name: str
    split: str
    history: str
    filtered: str
    ks: tuple[int, ...]
    users: NDArray[np.int32]
    n_dropped: int
    per_user: Mapping[str, NDArray[np.float64]]
    overall: Mapping[str, float]
    fit_seconds: float
    users_per_second: float
    faults: Mapping[str, object] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        """The mean over people of a metric, or one of the overall ones."""
        if metric in self.overall:
            return self.overall[metric]
        if metric not in self.per_user:
            raise unknown_name("metric", metric, [*self.per_user, *self.overall])
        return float(self.per_user[metric].mean())

    def interval(self, metric: str) -> tuple[float, float]:
        """95 % interval of a mean over people (normal approximation; people are independent
        given the fitted model, so it says nothing about another training seed)."""
        values = self.per_user[metric]
        mean = float(values.mean())
        half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else np.inf
        return mean - half, mean + half

    def to_dict(self) -> dict[str, object]:
        """One flat row: what was done, means, intervals, costs."""
        row: dict[str, object] = {
            "recommender": self.name,
            "split": self.split,
            "history": self.history,
            "filtered": self.filtered,
            "users": len(self.users),
            "dropped": self.n_dropped,
        }
        for metric in self.per_user:
            low, high = self.interval(metric)
            row |= {metric: self[metric], f"{metric} low": low, f"{metric} high": high}
        row |= dict(self.overall)
        row |= {"fit_seconds": self.fit_seconds, "users_per_second": self.users_per_second}
        row["unanswered"] = self.faults.get("unanswered", 0)
        return row


def evaluate(
    recommender: str | Recommender,
    on: Split,
    *,
    ks: Sequence[int] = (10, 20),
    history: str = "train",
    mask: str = "train+valid",
    catalog: Catalog | None = None,
    args: Mapping[str, object] | None = None,
    attributes: Mapping[str, NDArray[np.generic]] | None = None,
    fit: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    keep: KeptFits | None = None,
) -> Evaluation:
    """Fit on train, rank the whole catalog for everybody with something to foresee, measure.

    Args:
        recommender: a spec ("ease", "file.py:Mine", ...) or an instance.
        on: the split.
        ks: list lengths.
        history: what people are served from: "train" or "train+valid".
        mask: what may not be recommended: "train" or "train+valid". Masked items do not count
            as something to foresee.
        catalog: the items; without it, a bare one of the right size.
        args: of the recommender, when it is named by a spec.
        attributes: named (n_users,) arrays handed over with the requests.
        fit: False for an instance that is fitted already.
        seed: of the fit and of the requests.
        progress: hears the epochs of the fit.
        keep: where the fits of recommenders named by a spec are kept, and read from if they were
            made before; ``fit_seconds`` is then what the fit took when it was made.

    Raises:
        UserError: nothing to foresee, a wrong name, a recommender that cannot be fitted, or that
            serves only people it was trained on where the split holds people out.
    """
    ks = tuple(sorted(set(ks)))
    if not ks or ks[0] < 1:
        raise UserError(f"ks must be list lengths of at least 1, got {list(ks)}")
    n_items = on.train.n_items
    catalog = catalog if catalog is not None else _bare_catalog(n_items)
    guard = Guard(_made(recommender, args), n_items=n_items, filter_history=False)
    if on.fold_in is not None and guard.capabilities.history == "trained_users_only":
        raise UserError(
            f"{guard.name} serves only people it was trained on, and the split {on.id!r} holds "
            "people out; take another split"
        )
    fit_seconds = 0.0
    if fit:
        public = catalog.public()
        if keep is not None and isinstance(recommender, str):
            file = keep.file(recommender, args or {}, seed, on.train, public)
            fit_seconds = keep.fitted(file, guard, on.train, public, seed=seed, progress=progress)
        else:
            started = process_time()
            guard.fit(on.train, public, seed=seed, progress=progress)
            fit_seconds = process_time() - started
    if guard.faults.off:
        raise UserError(f"{guard.name} could not be fitted: {guard.faults.examples[-1]}")

    served = on.known(history).histories()
    masked = on.known(mask).histories()
    wanted = _to_foresee(on.test, masked)
    users = np.flatnonzero(wanted.lengths > 0).astype(np.int32)
    if len(users) == 0:
        raise UserError(f"the split {on.id!r} leaves nothing to foresee")
    requests = Requests(
        users,
        served.take(users),
        ks[-1],
        seed=seed,
        attributes={name: column[users] for name, column in (attributes or {}).items()},
        ago=_ago(on, history, users) if "times" in guard.capabilities.inputs else None,
    )
    started = process_time()
    items = _best_unmasked(guard, requests, masked.take(users), n_items)
    serve_seconds = max(process_time() - started, 1e-6)

    overall = {f"coverage@{k}": _coverage(items[:, :k], n_items) for k in ks}
    overall |= {f"gini@{k}": exposure_gini(items[:, :k], n_items) for k in ks}
    return Evaluation(
        name=recommender if isinstance(recommender, str) else guard.name,
        split=on.id,
        history=history,
        filtered=mask,
        ks=ks,
        users=users,
        n_dropped=len(_askable(on)) - len(users),
        per_user=ranking_metrics(items, wanted.take(users), n_items, ks=ks),
        overall=overall,
        fit_seconds=fit_seconds,
        users_per_second=len(users) / serve_seconds,
        faults=guard.faults.to_dict(),
    )


def evaluate_beside_baselines(
    recommenders: Sequence[str | Recommender],
    on: Split,
    *,
    ks: Sequence[int] = (10, 20),
    history: str = "train",
    mask: str = "train+valid",
    catalog: Catalog | None = None,
    args: Mapping[str, Mapping[str, object]] | None = None,
    attributes: Mapping[str, NDArray[np.generic]] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    keep: KeptFits | None = None,
) -> tuple[Evaluation, ...]:
    """:func:`evaluate` for several recommenders, then for the baselines not among them.

    ``args`` are by spec; everything else is as in :func:`evaluate`.
    """
    named = [r for r in recommenders if isinstance(r, str)]
    return tuple(
        evaluate(
            recommender,
            on,
            ks=ks,
            history=history,
            mask=mask,
            catalog=catalog,
            args=(args or {}).get(recommender) if isinstance(recommender, str) else None,
            attributes=attributes,
            seed=seed,
            progress=progress,
            keep=keep,
        )
        for recommender in [*recommenders, *(b for b in BASELINES if b not in named)]
    )


def to_frame(evaluations: Sequence[Evaluation]) -> pl.DataFrame:
    """One row an evaluation, the columns of :meth:`Evaluation.to_dict`."""
    return pl.DataFrame([evaluation.to_dict() for evaluation in evaluations])


def ranking_metrics(
    items: NDArray[np.int32], wanted: Ragged, n_items: int, *, ks: Sequence[int] = (10, 20)
) -> dict[str, NDArray[np.float64]]:
    """(n,) metrics of each list; all in [0, 1], higher is better.

    With h_r = 1 where the item at rank r (from 1) was wanted, and w items wanted:
    precision@k = sum h / k; recall@k = sum h / w; recall_min@k = sum h / min(k, w);
    ndcg@k = sum h_r / log2(r + 1) over the same sum for min(k, w) hits at the top (binary,
    K. Jarvelin & J. Kekalainen 2002); mrr@k = 1 / r of the first hit within k, else 0;
    hit@k = whether there is one.

    Args:
        items: (n, at least max(ks)) best first, -1 for nothing.
        wanted: n rows of distinct items, none empty (a person who wants nothing has no recall).
        n_items: size of the catalog.
        ks: list lengths.
    """
    n_wanted = wanted.lengths.astype(np.float64)  # (n,)
    if (n_wanted == 0).any():
        raise UserError("recall and NDCG are undefined for people with nothing to foresee")
    short = max(*ks, items.shape[1]) - items.shape[1]
    items = np.pad(items, ((0, 0), (0, short)), constant_values=NOTHING)
    hit = wanted.contains(items, n_items)  # (n, longest)
    rank = np.arange(1, max(items.shape[1], *ks) + 1)
    gain = 1.0 / np.log2(rank + 1.0)  # (longest,)
    ideal = np.concatenate([[0.0], np.cumsum(gain)])  # (longest + 1,), by number of hits
    metrics: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        top = hit[:, :k]
        found = top.sum(axis=1).astype(np.float64)
        reachable = np.minimum(n_wanted, k)
        metrics[f"precision@{k}"] = found / k
        metrics[f"recall@{k}"] = found / n_wanted
        metrics[f"recall_min@{k}"] = found / reachable
        metrics[f"ndcg@{k}"] = top @ gain[:k] / ideal[reachable.astype(np.int64)]
        metrics[f"mrr@{k}"] = np.where(top, 1.0 / rank[:k], 0.0).max(axis=1)
        metrics[f"hit@{k}"] = (found > 0).astype(np.float64)
    return metrics


def exposure_gini(items: NDArray[np.int32], n_items: int) -> float:
    """Gini coefficient of how often each item of the whole catalog was listed.

    0 when all items are listed equally often, (n_items - 1) / n_items when one item takes all;
    neither is better as such. NaN when nothing was listed.
    """
    value = gini(np.bincount(items[items >= 0], minlength=n_items), universe="catalog")
    return float("nan") if value is None else value


def _coverage(items: NDArray[np.int32], n_items: int) -> float:
    """Share of the catalog that stands in at least one list."""
    return coverage(np.bincount(items[items >= 0], minlength=n_items)) or 0.0


def _best_unmasked(
    guard: Guard, requests: Requests, masked: Ragged, n_items: int
) -> NDArray[np.int32]:
    """(n, k) best items outside the mask, by scores where there are some, else by longer lists."""
    k = requests.k
    out = np.full((len(requests), k), NOTHING, dtype=np.int32)
    by_score = guard.can_score and not guard.capabilities.stochastic
    for rows in blocks(len(requests), n_items):
        part, mask = requests.take(rows), masked.take(rows)
        scores = guard.score(part) if by_score else None
        if scores is not None:
            scores[mask.row_index, mask.values] = -np.inf
            out[rows] = top_k(scores, k)
            continue
        if guard.capabilities.unseen:  # it composes lists, and can be told what to leave out
            asked = replace(part, unwanted=mask)
        else:
            asked = replace(part, k=min(n_items, k + int(mask.lengths.max(initial=0))))
        listed = guard.recommend(asked).items  # (rows, k or more), distinct and known
        keep = (listed >= 0) & ~mask.contains(listed, n_items)
        place = np.cumsum(keep, axis=1) - 1  # slot after the dropped ones close up
        row, column = np.nonzero(keep & (place < k))
        out[rows[row], place[row, column]] = listed[row, column]
    return out


def _askable(on: Split) -> NDArray[np.int32]:
    """The people this split is about: those held out, or everybody with an interaction."""
    parts = (on.train, on.valid, on.test) if on.fold_in is None else (on.fold_in, on.test)
    return np.unique(np.concatenate([part.user for part in parts]))


def _ago(on: Split, history: str, users: NDArray[np.int32]) -> Ragged | None:
    """How long before they come back people met what they are served from.

    They come back when they take the first item to foresee: a recommender knows the hour at which
    it is asked. Never before the newest item that is known (a random split would).
    """
    known = on.known(history)
    back = np.full(known.n_users, np.iinfo(np.int64).max)
    np.minimum.at(back, on.test.user, on.test.step)
    newest = np.full(known.n_users, np.iinfo(np.int64).min)
    np.maximum.at(newest, known.user, known.step)
    return known.ago(users, np.maximum(back, newest)[users])


def _to_foresee(test: Interactions, masked: Ragged) -> Ragged:
    """(n_users) rows of distinct test items that are allowed in a list."""
    n_items = test.n_items
    asked = np.unique(test.user.astype(np.int64) * n_items + test.item)
    barred = np.unique(masked.row_index * n_items + masked.values)
    asked = np.setdiff1d(asked, barred, assume_unique=True)
    counts = np.bincount(asked // n_items, minlength=test.n_users)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    return Ragged((asked % n_items).astype(np.int32), offsets)


def _made(recommender: str | Recommender, args: Mapping[str, object] | None) -> object:
    if not isinstance(recommender, str):
        if args:
            raise UserError("args are for recommenders named by a spec; this one is made already")
        return recommender
    from .registry import create

    return create(recommender, args)


def _bare_catalog(n_items: int) -> Catalog:
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), dtype=np.float32), (), nobody, nobody)
