"""Quality gap: are some groups of people served worse than others?

A gap describes; it does not accuse. Groups may want different things, have longer or shorter
histories, or be easier to predict (a clean EASE on MovieLens-100K serves men better than women).
Whether the recommender *uses* the attribute is asked by ``attribute_use``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Requests
from ...recommenders.evaluation import ranking_metrics
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import child_seed
from ...recommenders.splits import split_random
from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from .probe import MIN_GROUP, Groups, groups, majority

K = 10
HOLDOUT = 0.2
STRATA = 4

_TAU_SOURCE = (
    "convention of Giskard's scan: a slice more than 10 % worse than the whole is a major issue"
)


def profile_strata(log: Interactions, users: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n,) quarter of ``users`` by profile size, 0 the shortest; equal sizes share a stratum."""
    size = log.histories().lengths[users]
    cuts = np.quantile(size, np.arange(1, STRATA) / STRATA)
    return np.searchsorted(cuts, size, side="left")


def gap(values: NDArray[np.float64], largest: NDArray[np.bool_]) -> tuple[float, float]:
    """(effect, standard error) of the majority's mean minus everybody else's, as a share of the
    overall mean; NaN when one side has nobody.

    The standard error is the infinitesimal jackknife over people (the sum of squared influences),
    which for a plain difference of means is Welch's, up to ``n/(n-1)``.
    """
    first, rest = values[largest], values[~largest]
    if not len(first) or not len(rest):
        return float("nan"), float("nan")
    overall = values.mean()
    effect = (first.mean() - rest.mean()) / overall
    influence = -effect * (values - overall) / len(values)
    influence[largest] += (first - first.mean()) / len(first)
    influence[~largest] -= (rest - rest.mean()) / len(rest)
    n = len(values)
    return float(effect), float(np.sqrt((influence**2).sum() * n / (n - 1)) / overall)


def adjusted_gap(
    values: NDArray[np.float64], largest: NDArray[np.bool_], strata: NDArray[np.int64]
) -> float:
    """The gap within strata of profile size, weighted by the size of the strata in which both
    sides are present; a share of the overall mean."""
    total, weight = 0.0, 0
    for stratum in np.unique(strata):
        here = strata == stratum
        if largest[here].any() and (~largest[here]).any():
            difference = values[here & largest].mean() - values[here & ~largest].mean()
            total += here.sum() * difference
            weight += int(here.sum())
    return float(total / weight / values.mean()) if weight else float("nan")


def group_table(
    ndcg: NDArray[np.float64], recall: NDArray[np.float64], labels: NDArray[np.str_]
) -> Table:
    """Group means by fairlearn's MetricFrame; its intervals are not used, because a percentile
    bootstrap of a maximum minus minimum excludes 0 even when there is nothing."""
    from fairlearn.metrics import MetricFrame, count

    def mean(_: NDArray[np.float64], value: NDArray[np.float64]) -> float:
        return float(np.mean(value))

    frames = {
        "ndcg": MetricFrame(
            metrics={"people": count, "mean": mean},
            y_true=ndcg,
            y_pred=ndcg,
            sensitive_features=labels,
        ),
        "recall": MetricFrame(
            metrics={"mean": mean}, y_true=recall, y_pred=recall, sensitive_features=labels
        ),
    }
    by_ndcg, by_recall = frames["ndcg"].by_group, frames["recall"].by_group
    rows = [
        (
            str(label),
            int(by_ndcg.loc[label, "people"]),
            float(by_ndcg.loc[label, "mean"]),
            float(by_recall.loc[label, "mean"]),
        )
        for label in by_ndcg.index
    ]
    overall = frames["ndcg"].overall, frames["recall"].overall
    rows.append(
        (
            "everybody",
            int(overall[0]["people"]),
            float(overall[0]["mean"]),
            float(overall[1]["mean"]),
        )
    )
    return Table(
        "Quality on held-out interactions by group (fairlearn MetricFrame)",
        ("group", "people", f"NDCG@{K}", f"recall@{K}"),
        tuple(rows),
    )


class QualityGap:
    """Differences in quality between groups, on held-out data and inside the loop."""

    name = "quality-gap"
    family: Family = "bias"
    question = "Are some groups of people served worse than others?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Three descriptions; a gap is a disparity, not a verdict on its cause."""
        group = settings.group
        protocol = (
            "world 0's interactions before the loop, a random fifth of each person's held out, "
            "the recommender trained on the rest"
        )
        not_tested = (
            "Why the gap exists (see attribute use); people's own judgement of quality; groups "
            f"below {MIN_GROUP} people; intersections of attributes."
        )
        mitigation = (
            "Look at the profile sizes of the groups first; collect or weigh interactions of the "
            "group served worse; tune on its validation score too."
        )
        ndcg = (
            f"NDCG@{K} = sum_hits 1/log2(1 + rank) / sum_(r <= min({K}, held out)) 1/log2(1 + r) "
            "over the whole catalog without training items"
        )
        return (
            Check(
                id="bias.quality-gap",
                family=self.family,
                question=f"Is the largest group by {group} served better than everybody else?",
                estimand=(
                    f"mean NDCG@{K} of the largest group by {group} minus that of everybody else, "
                    f"as a share of the overall mean; {protocol}"
                ),
                statistic=f"NDCG@{K} gap, largest group minus everybody else",
                unit_label="share of mean NDCG",
                unit="user",
                tau=0.1,
                tau_source=_TAU_SOURCE,
                method="cluster-jackknife",
                alpha=settings.alpha,
                role="descriptive",
                access="BW",
                formula=ndcg,
                source="Ekstrand et al. 2018, All the Cool Kids, How Do They Fit In?",
                not_tested=not_tested,
                mitigation=mitigation,
            ),
            Check(
                id="bias.quality-disparity",
                family=self.family,
                question=(
                    f"With equally long profiles, does any group by {group} differ from another "
                    "in quality?"
                ),
                estimand=(
                    f"largest difference in mean NDCG@{K} between two groups by {group} among "
                    "people with equally long profiles (weighted mean over quarters of profile "
                    "size), as a share of the overall mean, against permutations of the labels "
                    f"within these quarters; {protocol}"
                ),
                statistic=f"NDCG@{K} range over groups at equal profile size",
                unit_label="share of mean NDCG",
                unit="user",
                tau=0.1,
                tau_source=_TAU_SOURCE,
                method="permutation",
                alpha=settings.alpha,
                role="descriptive",
                access="BW",
                formula=(
                    "max over pairs (a, b) of sum_s w_s (mean_as - mean_bs) / sum_s w_s over "
                    f"quarters s of profile size, w_s = n_as n_bs / (n_as + n_bs); {ndcg}"
                ),
                source="MetricFrame.difference of fairlearn; inference by permutation is ours",
                not_tested=not_tested,
                mitigation=mitigation,
            ),
            Check(
                id="bias.loop-quality-gap",
                family=self.family,
                question=f"Does the loop serve the largest group by {group} better than others?",
                estimand=(
                    "per world: (mean true affinity of slates of the largest group minus that of "
                    "everybody else, as a share of the overall mean) under the target, minus the "
                    "same under random exposure"
                ),
                statistic="affinity gap, largest group minus everybody else",
                unit_label="share of mean affinity",
                unit="world",
                tau=0.1,
                tau_source=_TAU_SOURCE,
                alpha=settings.alpha,
                role="descriptive",
                needs_arms=("random",),
                access="B",
                formula="mean over a person's slots of taste . topics(item), over the whole loop",
                source="group gaps against a counterfactual arm: LoopAudit",
                not_tested=not_tested,
                mitigation=mitigation,
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """One fit on world 0 for the held-out quality; every world's outcomes for the loop."""
        run, attribute = evidence.run, evidence.settings.group
        measured = {}
        reference = majority(run, attribute)
        people = groups(run, 0, attribute, reference, seed=evidence.seed)
        if isinstance(people, str):
            reason = Measurement(missing=people)
            return {check.id: reason for check in self.checks(evidence.settings)}
        if "W" in evidence.access:
            measured.update(_held_out(run, evidence.target, people, evidence.seed))
        target, random = evidence.arm("target"), evidence.arm("random")
        if target is not None and random is not None:
            measured["bias.loop-quality-gap"] = _in_loop(
                run, (target, random), attribute, reference, evidence.seed
            )
        return measured


def _held_out(run: Run, target: str, people: Groups, seed: int) -> dict[str, Measurement]:
    ids = ("bias.quality-gap", "bias.quality-disparity")
    cut = split_random(
        run.history(0, target=target),
        test=HOLDOUT,
        valid=0.0,
        seed=child_seed(seed, "quality-gap"),
    )
    train = cut.train
    recommender = run.create(target)
    recommender.fit(train, run.catalog(0).public(), seed=child_seed(seed, "quality-gap", "fit"))
    if recommender.faults.counts.get("fit_failed"):
        reason = Measurement(missing="the recommender could not be trained on the split")
        return dict.fromkeys(ids, reason)
    frame = run.users(0)
    columns: dict[str, NDArray[np.generic]] = {
        name: frame[name].to_numpy().astype(str)[people.users] for name in run.attributes(0)
    }
    request = Requests(
        users=people.users,
        history=train.histories().take(people.users),
        k=K,
        seed=child_seed(seed, "quality-gap", "ask"),
        attributes=columns,
        ago=train.ago(people.users, 0),
    )
    truth = cut.test.histories().take(people.users)
    tested = np.flatnonzero(truth.lengths > 0)
    items = recommender.recommend(request).items[tested]
    metrics = ranking_metrics(items, truth.take(tested), train.n_items, ks=(K,))
    ndcg, recall = metrics[f"ndcg@{K}"], metrics[f"recall@{K}"]
    labels, users = people.labels[tested], people.users[tested]
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.min() < MIN_GROUP:
        reason = Measurement(
            missing=f"some group has fewer than {MIN_GROUP} people with interactions to hold out"
        )
        return dict.fromkeys(ids, reason)
    if ndcg.mean() == 0:
        nothing = Measurement(undefined="no held-out item was recommended to anybody")
        return dict.fromkeys(ids, nothing)
    largest = np.asarray(labels == people.majority)
    strata = profile_strata(train, users)
    effect, error = gap(ndcg, largest)
    table = group_table(ndcg, recall, labels)
    means = {str(row[0]): float(row[2] or 0.0) for row in table.rows}
    adjusted = adjusted_gap(ndcg, largest, strata)
    note = f"within quarters of profile size the gap is {adjusted:+.3f} (unadjusted {effect:+.3f})"
    return {
        "bias.quality-gap": Measurement(
            estimate=(effect, error, len(ndcg)),
            arm_values=means,
            tables=(table,),
            suppressed=people.suppressed,
            notes=(note,),
        ),
        "bias.quality-disparity": Measurement(
            groups=(ndcg / ndcg.mean(), labels, strata),
            arm_values=means,
            suppressed=people.suppressed,
        ),
    }


def _in_loop(
    run: Run, arms: tuple[str, str], attribute: str, reference: str, seed: int
) -> Measurement:
    gaps: list[list[float]] = []
    for world in range(run.worlds):
        people = groups(run, world, attribute, reference, seed=seed)
        if isinstance(people, str):
            return Measurement(missing=people)
        row = []
        for arm in arms:
            utility = run.outcomes(arm, world).sort("user")["slate_utility"].cast(float)
            values = utility.fill_null(np.nan).to_numpy()[people.users]
            served = np.isfinite(values)
            row.append(gap(values[served], people.in_majority[served])[0])
        gaps.append(row)
    table = np.array(gaps)
    if np.isnan(table).all(axis=0).any():
        return Measurement(undefined="in some arm a whole group was shown nothing in any world")
    return Measurement(
        effects=table[:, 0] - table[:, 1],
        arm_values={
            "target": float(np.nanmean(table[:, 0])),
            "random": float(np.nanmean(table[:, 1])),
        },
    )
