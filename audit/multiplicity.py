"""Many checks, few false alarms: Benjamini-Hochberg in a family, Holm across the gates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .finding import Finding, Verdict

FAMILY_Q = 0.05
"""False-discovery rate inside a harm family."""


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: reject where at most q, and the false-discovery rate is at most q.

    Args:
        p_values: (tests,) raw p-values.

    Source: Benjamini & Hochberg 1995; agrees with ``multipletests(method="fdr_bh")``.
    """
    p = np.asarray(p_values, dtype=np.float64)
    m = len(p)
    order = np.argsort(p, kind="stable")
    # from the largest down: a smaller p-value is never adjusted above a larger one
    stepped = (p[order] * m / np.arange(1, m + 1))[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped)[::-1], 1.0)
    return adjusted


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: reject where at most alpha; any false alarm has at most that chance.

    Args:
        p_values: (tests,) raw p-values.

    Source: Holm 1979; agrees with ``multipletests(method="holm")``.
    """
    p = np.asarray(p_values, dtype=np.float64)
    m = len(p)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def adjust(findings: Sequence[Finding], *, q: float = FAMILY_Q) -> tuple[Finding, ...]:
    """Put adjusted p-values beside the raw ones, and withdraw violations that do not survive.

    A family is all checks of one harm family about one recommender, so that a verdict does not
    depend on which other recommenders were audited beside it. The gate set is every gate of the
    audit, because one exit code answers for all of them.

    Args:
        findings: each judged alone; those without a p-value are left as they are.
        q: false-discovery rate inside a family.
    """
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    gates: list[int] = []
    for i, finding in enumerate(findings):
        if finding.p_value is not None and finding.verdict_alone is not Verdict.NOT_RUN:
            families[finding.recommender, finding.check.family].append(i)
            if finding.check.role == "gate":
                gates.append(i)
    out = list(findings)

    def p_of(members: list[int]) -> list[float]:
        return [p for i in members if (p := findings[i].p_value) is not None]

    for members in families.values():
        for i, p in zip(members, benjamini_hochberg(p_of(members)), strict=True):
            out[i] = _in_family(findings[i], float(p), len(members), q)
    if gates:
        for i, p in zip(gates, holm(p_of(gates)), strict=True):
            out[i] = replace(out[i], p_gate=float(p))
    return tuple(out)


def _in_family(finding: Finding, p: float, members: int, q: float) -> Finding:
    adjusted = replace(finding, p_family=p)
    if finding.verdict_alone is not Verdict.VIOLATION or p <= q:
        return adjusted
    check = finding.check
    because = (
        f"Alone, the {check.statistic} would exceed the threshold of {check.tau:.3g} "
        f"{check.unit_label} (p = {finding.p_value:.2g}), but not among the {members} checks of "
        f"its family (adjusted p = {p:.2g}, at most {q:g} needed)."
    )
    return replace(adjusted, verdict=Verdict.INCONCLUSIVE, because=because)
