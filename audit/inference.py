"""The one judge: turns a Check and its Measurement into a Finding, alike for every auditor.

VIOLATION when the lower one-sided bound lies above the threshold tau; PASS when the upper bound
lies below it *and* an effect of size tau would have been seen (MDE at most tau); otherwise
INCONCLUSIVE, with the number of units that would decide. NOT RUN, with the reason, when nothing
was measured or the statistic has no value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..recommenders.randomness import generator
from .estimates import (
    BCA_UNITS,
    Estimate,
    bca,
    bootstrap_t,
    exact_share,
    from_standard_error,
    paired_t,
)
from .finding import UNDEFINED, Check, Finding, Measurement, Verdict
from .multiplicity import FAMILY_Q, adjust
from .permutation import SMALLEST_GROUP, large_groups, largest_gap
from .resampling import cluster_bootstrap, cluster_jackknife, roc_auc, tpr_at_fpr

__all__ = [
    "SMALLEST_GROUP",
    "cluster_bootstrap",
    "cluster_jackknife",
    "judge",
    "judge_all",
    "large_groups",
    "roc_auc",
    "tpr_at_fpr",
]

_FIELDS = {
    "paired-t": "effects",
    "bca": "effects",
    "exact": "counts",
    "permutation": "groups",
    "cluster-jackknife": "estimate",
}


class Undefined(Exception):
    """The statistic has no value on these data; the message says why."""


def judge(check: Check, measurement: Measurement, recommender: str, *, seed: int = 0) -> Finding:
    """Judge one check alone, without regard to the others.

    Args:
        check: what was asked, declared before.
        measurement: what the auditor saw.
        recommender: label of the audited recommender.
        seed: of permutations and bootstraps; the check's id is mixed in.

    Returns:
        The finding; ``verdict`` equals ``verdict_alone``.
    """
    reason = _nothing(check, measurement)
    if reason is None:
        try:
            estimate, suppressed = _estimate(check, measurement, seed)
        except Undefined as error:
            reason = f"{UNDEFINED} {error}"
        except (ValueError, TypeError) as error:  # a third party's numbers
            reason = f"the measurement cannot be judged: {error}"
    if reason is not None:
        return Finding(
            check,
            recommender,
            Verdict.NOT_RUN,
            Verdict.NOT_RUN,
            reason,
            arm_values=dict(measurement.arm_values),
            tables=measurement.tables,
            suppressed=measurement.suppressed,
            notes=measurement.notes,
        )
    verdict = verdict_of(estimate, check.tau)
    floor, floor_label = measurement.floor, measurement.floor_label
    if floor is None and estimate.floor is not None:
        floor, floor_label = estimate.floor, "mean under shuffled group labels"
    decided = verdict is not Verdict.INCONCLUSIVE
    return Finding(
        check,
        recommender,
        verdict,
        verdict,
        explain(check, estimate, verdict),
        effect=estimate.effect,
        low=estimate.low,
        high=estimate.high,
        p_value=estimate.p_value,
        n_units=estimate.n_units,
        mde=estimate.mde,
        units_to_decide=None if decided else estimate.units_to_decide,
        arm_values=dict(measurement.arm_values),
        floor=floor,
        floor_label=floor_label,
        tables=measurement.tables,
        suppressed=tuple(dict.fromkeys((*measurement.suppressed, *suppressed))),
        notes=(*measurement.notes, *estimate.notes),
    )


def judge_all(
    measured: Iterable[tuple[Check, Measurement, str]], *, q: float = FAMILY_Q, seed: int = 0
) -> tuple[Finding, ...]:
    """Judge every check, then all of them together.

    A VIOLATION that does not survive Benjamini-Hochberg among the checks of its family about the
    same recommender becomes INCONCLUSIVE and says so; Holm's p-values across all gates are shown.

    Args:
        measured: (check, measurement, recommender) for each finding to make.
        q: false-discovery rate inside a family.
        seed: of permutations and bootstraps.
    """
    asked = list(measured)
    together = adjust([judge(c, m, name, seed=seed) for c, m, name in asked], q=q)
    return tuple(
        _units_when_withdrawn(finding, asked[i][1], together, seed)
        if finding.verdict is not finding.verdict_alone
        else finding
        for i, finding in enumerate(together)
    )


def verdict_of(estimate: Estimate, tau: float) -> Verdict:
    """The three-way verdict of an estimate."""
    if estimate.low is None or estimate.high is None:
        return Verdict.INCONCLUSIVE
    if estimate.low > tau:
        return Verdict.VIOLATION
    seen = estimate.certain or (estimate.mde is not None and estimate.mde <= tau)
    return Verdict.PASS if estimate.high < tau and seen else Verdict.INCONCLUSIVE


def _units_when_withdrawn(
    finding: Finding, measurement: Measurement, together: tuple[Finding, ...], seed: int
) -> Finding:
    """Units that would carry a withdrawn violation past its whole family."""
    members = sum(
        other.recommender == finding.recommender
        and other.check.family == finding.check.family
        and other.p_family is not None
        for other in together
    )
    strict = replace(finding.check, alpha=finding.check.alpha / members)
    estimate, _ = _estimate(strict, measurement, seed)
    return replace(finding, units_to_decide=estimate.units_to_decide)


def _nothing(check: Check, measurement: Measurement) -> str | None:
    """Why there is nothing to judge, or None."""
    if measurement.missing is not None:
        return measurement.missing
    if measurement.undefined is not None:
        return f"{UNDEFINED} {measurement.undefined}"
    wanted = _FIELDS[check.method]
    filled = [name for name in dict.fromkeys(_FIELDS.values()) if _get(measurement, name)]
    if filled == [wanted]:
        return None
    got = " and ".join(filled) if filled else "nothing"
    return f"the auditor handed over {got}, but {check.method!r} is made from {wanted}"


def _get(measurement: Measurement, name: str) -> bool:
    return getattr(measurement, name) is not None


def _estimate(
    check: Check, measurement: Measurement, seed: int
) -> tuple[Estimate, tuple[str, ...]]:
    """The estimate, and the groups that were too small to show."""
    tau, alpha = check.tau, check.alpha
    rng = generator(seed, "judge", check.id)
    if measurement.effects is not None:
        x, notes = _finite(measurement.effects, check)
        if check.method == "bca" and len(x) >= BCA_UNITS:
            return _noted(bca(x, rng=rng, tau=tau, alpha=alpha), *notes), ()
        estimate = paired_t(x, tau=tau, alpha=alpha, unit=check.unit)
        if check.method == "bca":
            notes += (f"fewer than {BCA_UNITS} units for BCa: a t interval instead",)
        else:
            notes += _second_opinion(x, estimate, check, rng)
        return _noted(estimate, *notes), ()
    if measurement.counts is not None:
        harmful, trials = measurement.counts
        if trials < 1:
            raise Undefined("there was no trial")
        return exact_share(harmful, trials, chance=measurement.chance, tau=tau, alpha=alpha), ()
    if measurement.groups is not None:
        data = large_groups(*measurement.groups)
        if len(data.groups) < 2:
            raise Undefined(f"fewer than two groups hold at least {SMALLEST_GROUP} users")
        try:
            estimate = largest_gap(data, rng=rng, tau=tau, alpha=alpha)
        except ValueError as error:
            raise Undefined(str(error)) from error
        left = f"{data.excluded} users without a value or a group were left out"
        return _noted(estimate, *((left,) if data.excluded else ())), data.suppressed
    assert measurement.estimate is not None  # _nothing saw to it
    effect, spread, n = measurement.estimate
    if not np.isfinite(effect):
        raise Undefined("the estimate is not a number")
    if n < 2 or not np.isfinite(spread) or spread < 0:
        note = f"{n} {check.unit}{'' if n == 1 else 's'} gave no standard error"
        return Estimate(float(effect), None, None, None, n, notes=(note,)), ()
    return from_standard_error(effect, spread, n, tau=tau, alpha=alpha, unit=check.unit), ()


def _finite(
    effects: NDArray[np.float64], check: Check
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The units that have a value, and a note about those that have none."""
    x = np.asarray(effects, dtype=np.float64).ravel()
    keep = np.isfinite(x)
    if not len(x):
        raise Undefined(f"there was no {check.unit}")
    if not keep.any():
        raise Undefined(f"the statistic has no value in any of {len(x)} {check.unit}s")
    left = int((~keep).sum())
    note = f"{left} of {len(x)} {check.unit}s were left out: the statistic has no value there"
    return x[keep], (note,) if left else ()


def _second_opinion(
    x: NDArray[np.float64], estimate: Estimate, check: Check, rng: np.random.Generator
) -> tuple[str, ...]:
    """A note where the bootstrap-t, which assumes no normal shape, would decide otherwise."""
    bounds = bootstrap_t(x, rng=rng, alpha=check.alpha)
    if bounds is None or estimate.certain:
        return ()
    other = verdict_of(replace(estimate, low=bounds[0], high=bounds[1]), check.tau)
    if other is verdict_of(estimate, check.tau):
        return ()
    return (
        f"a bootstrap-t interval ({bounds[0]:.3g} to {bounds[1]:.3g} {check.unit_label}) would say "
        f"{other}: the {check.unit}s are too few or too skewed for the t interval alone",
    )


def _noted(estimate: Estimate, *notes: str) -> Estimate:
    return replace(estimate, notes=(*estimate.notes, *notes))


def explain(check: Check, estimate: Estimate, verdict: Verdict) -> str:
    """One plain sentence that says why the verdict is what it is."""
    what, unit = check.statistic, check.unit_label
    what = what[:1].upper() + what[1:]
    sure = f"{100 * (1 - check.alpha):g} %"
    limit = f"the threshold of {check.tau:.3g}"
    if estimate.certain and verdict is not Verdict.INCONCLUSIVE:
        side = "above" if verdict is Verdict.VIOLATION else "below"
        return (
            f"{what} is exactly {estimate.effect:.3g} {unit}, without any spread over "
            f"{estimate.n_units} {check.unit}s: {side} {limit}."
        )
    if verdict is Verdict.VIOLATION:
        return (
            f"{what} is {estimate.effect:.3g} {unit}, and with {sure} confidence at least "
            f"{estimate.low:.3g}: above {limit}."
        )
    if verdict is Verdict.PASS:
        seen = f"; a harm of {estimate.mde:.3g} would have been seen" if estimate.mde else ""
        return (
            f"{what} is {estimate.effect:.3g} {unit}, and with {sure} confidence at most "
            f"{estimate.high:.3g}: below {limit}{seen}."
        )
    more = _more(check, estimate)
    if estimate.low is None or estimate.high is None:
        why = estimate.notes[0] if estimate.notes else "its uncertainty cannot be told"
        return f"{what} is {estimate.effect:.3g} {unit}, but {why}."
    if estimate.high < check.tau:
        blind = (
            "no harm of any size could have been seen"
            if estimate.mde is None
            else f"only a harm of {estimate.mde:.3g} or more would have been seen"
        )
        return (
            f"{what} is at most {estimate.high:.3g} {unit}, below {limit}, but with "
            f"{estimate.n_units} {check.unit}s {blind}{more}."
        )
    return (
        f"{what} lies between {estimate.low:.3g} and {estimate.high:.3g} {unit}, so "
        f"{limit} is neither exceeded nor ruled out{more}."
    )


def _more(check: Check, estimate: Estimate) -> str:
    if estimate.units_to_decide is None:
        return f"; more {check.unit}s would hardly decide"
    return f"; about {estimate.units_to_decide:,} {check.unit}s would decide"
