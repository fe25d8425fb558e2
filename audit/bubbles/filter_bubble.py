"""Filter bubble: does the loop narrow what people are shown, and what they take in?

Before/after comparisons cannot answer this: people whose taste drifts by their own clicks narrow
under a *random* recommender too. So the narrowing over time under the target is compared with the
narrowing of the same people, under the same luck, who got random exposure
(difference-in-differences), world by world.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from ..permutation import SMALLEST_GROUP
from .entropies import MIN_CLICKS, Windows, click_entropy, slate_entropy

SLATE_WINDOW = 1 / 4
"""Share of the steps in the early and in the late window of slates."""

CLICK_WINDOW = 1 / 3
"""The same for clicks, of which there are fewer."""

_CONVENTION = (
    "LoopAudit default: convention (a quarter of a bit; no universal cut-off exists in the "
    "literature)"
)
_ENTROPY = "H = -sum_t p_t log2 p_t over the topics of the catalog"


class FilterBubble:
    """Narrowing of slates and of consumption beyond what random exposure brings."""

    name = "filter-bubble"
    family: Family = "bubbles"
    question = "Does the loop narrow what people are shown, and what they take in?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Two gates against random exposure, one description against the frozen recommender."""
        return (
            Check(
                id="bubbles.slate-narrowing",
                family=self.family,
                question="Do slates become narrower over time than under random exposure?",
                estimand=(
                    "per world: (mean slate topic entropy in the first quarter of the steps minus "
                    "in the last quarter) under the target, minus the same under random exposure"
                ),
                statistic="narrowing of slate topic entropy",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                needs_arms=("random",),
                access="B",
                formula=f"{_ENTROPY} of one slate; mean over slates, then over people",
                source=(
                    "difference-in-differences against a counterfactual arm; entropy: Shannon 1948"
                ),
                not_tested=(
                    "Narrowness that is there from the first step (see narrower-than-alone), "
                    "narrowing inside a topic, stances and viewpoints, what people meet elsewhere."
                ),
                mitigation=(
                    "Reserve slots for topics outside the profile; re-rank with a diversity or "
                    "calibration term (Steck 2018); train on exposure-corrected clicks."
                ),
            ),
            Check(
                id="bubbles.click-narrowing",
                family=self.family,
                question="Does consumption become narrower over time than under random exposure?",
                estimand=(
                    "per world: (mean consumption topic entropy of people in the first third of "
                    "the steps minus in the last third) under the target, minus the same for the "
                    "same people under random exposure, with equal numbers of clicks a person in "
                    "all four cells"
                ),
                statistic="narrowing of consumption topic entropy",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                needs_arms=("random",),
                access="B",
                formula=(
                    f"{_ENTROPY} of one person's clicks in a window, plus "
                    "sum_t var_t / p_t / (2 n ln 2) for n clicks (equals Miller-Madow when items "
                    f"have one topic); people with at least {MIN_CLICKS} clicks in every cell"
                ),
                source="bias correction: Miller 1955; exposure or choice: Hosseinmardi et al. 2024",
                not_tested=(
                    "People who click rarely, narrowing inside a topic, stances, effects that need "
                    "more steps than the run has."
                ),
                mitigation=(
                    "Let people see and reset their profile; widen the candidates of those whose "
                    "consumption narrows; weigh recent clicks less."
                ),
            ),
            Check(
                id="bubbles.loop-narrowing",
                family=self.family,
                question="How much of the narrowing comes from learning from its own clicks?",
                estimand=(
                    "per world: narrowing of slate topic entropy under the target minus under the "
                    "same recommender trained once and never again"
                ),
                statistic="narrowing of slate topic entropy due to retraining",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                role="descriptive",
                needs_arms=("frozen",),
                access="BW",
                formula=f"{_ENTROPY} of one slate; mean over slates, then over people",
                source="retraining on own exposure: Chaney, Stewart and Engelhardt 2018",
                not_tested="Feedback through the histories in requests: the frozen arm keeps it.",
                mitigation="Retrain less often, or on exploration traffic.",
            ),
            Check(
                id="bubbles.narrower-than-alone",
                family=self.family,
                question="In the end, do people take in fewer topics than if left alone?",
                estimand=(
                    "per world: mean consumption topic entropy of people in the last third of the "
                    "steps when they browse by themselves, minus the same for the same people "
                    "under the target, with equal numbers of clicks a person"
                ),
                statistic="consumption narrower than without a recommender",
                unit_label="bits",
                unit="world",
                tau=0.25,
                tau_source=_CONVENTION,
                alpha=settings.alpha,
                role="descriptive",
                needs_arms=("none",),
                access="B",
                formula=(
                    f"{_ENTROPY} of one person's clicks, corrected as for click narrowing; people "
                    f"with at least {MIN_CLICKS} clicks in both windows of both arms"
                ),
                source="a level beside the trend: narrowness that is there from the first step",
                not_tested=(
                    "Whether people want it narrower: serving a taste well also concentrates "
                    "consumption. How people would find things by themselves is assumed."
                ),
                mitigation="As for narrowing; show people what they are not being shown.",
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """Per-world contrasts, read from the event log only."""
        run = evidence.run
        target = evidence.arm("target")
        if target is None:
            return {}
        windows = Windows.of(run.steps, SLATE_WINDOW)
        if windows.late_from < windows.length:
            reason = f"a run of {run.steps} steps has no separate early and late window"
            return {c.id: Measurement(missing=reason) for c in self.checks(evidence.settings)}
        references = {
            kind: arm for kind in ("random", "frozen") if (arm := evidence.arm(kind)) is not None
        }
        slates = {
            arm: np.stack(
                [
                    slate_entropy(run, arm, w, run.catalog(w, arm=arm).topics, windows)
                    for w in range(run.worlds)
                ]
            )
            for arm in (target, *references.values())
        }  # arm -> (worlds, 2)
        measured = {}
        if "random" in references:
            reference = references["random"]
            measured["bubbles.slate-narrowing"] = _contrast(
                {"target": slates[target], "random": slates[reference]}, windows
            )
            table, people, wider = _clicks(evidence, target, reference)
            measured["bubbles.click-narrowing"] = _contrast(
                {"target": table[:, 0], "random": table[:, 1]},
                wider,
                note=_counted(people, run),
                undefined=f"{_TOO_FEW}; {_counted(people, run)}; {_CURE}",
            )
        if (alone := evidence.arm("none")) is not None:
            measured["bubbles.narrower-than-alone"] = _level(evidence, target, alone)
        if "frozen" in references:
            measured["bubbles.loop-narrowing"] = _contrast(
                {"target": slates[target], "frozen": slates[references["frozen"]]}, windows
            )
        return measured


_TOO_FEW = (
    f"fewer than {SMALLEST_GROUP} people have {MIN_CLICKS} clicks in both windows of both arms"
)
_CURE = "raise [study] steps or [world] users"


def _counted(people: float, run: Run) -> str:
    """Who is counted: those with enough clicks, who come more often than others."""
    return f"people with enough clicks: {people:.0f} of {len(run.users(0))} per world"


def _clicks(
    evidence: Evidence, target: str, reference: str
) -> tuple[NDArray[np.float64], float, Windows]:
    """((worlds, 2 arms, 2 windows) consumption entropy, people behind it a world, the windows)."""
    run = evidence.run
    windows = Windows.of(run.steps, CLICK_WINDOW)
    cells = []
    for w in range(run.worlds):
        a, b = (run.catalog(w, arm=arm).topics for arm in (target, reference))
        cells.append(click_entropy(run, (target, reference), w, (a, b), windows))
    return np.stack([cell for cell, _ in cells]), float(np.mean([n for _, n in cells])), windows


def _level(evidence: Evidence, target: str, alone: str) -> Measurement:
    """How much narrower consumption is at the end under the target than without it."""
    table, people, windows = _clicks(evidence, target, alone)
    late = table[:, :, 1]  # (worlds, 2 arms)
    usable = np.isfinite(late).all(axis=1)
    if not usable.any():
        return Measurement(undefined=f"{_TOO_FEW}; {_counted(people, evidence.run)}; {_CURE}")
    notes = [_counted(people, evidence.run)]
    if not usable.all():
        notes.append(f"{int((~usable).sum())} of {len(late)} worlds left out: {_TOO_FEW}; {_CURE}")
    means = late[usable].mean(axis=0)
    return Measurement(
        effects=late[usable, 1] - late[usable, 0],
        arm_values={"target": float(means[0]), "none": float(means[1])},
        tables=(
            Table(
                f"Entropy of consumption in bits, last {windows.length} steps, mean over worlds",
                ("arm", "late"),
                (("target", float(means[0])), ("none", float(means[1]))),
            ),
        ),
        notes=tuple(notes),
    )


def _contrast(
    arms: dict[str, NDArray[np.float64]],
    windows: Windows,
    *,
    note: str = "",
    undefined: str = "nobody was shown items with a known topic both early and late",
) -> Measurement:
    """Narrowing under the first arm minus under the second, world by world."""
    narrowing = {kind: values[:, 0] - values[:, 1] for kind, values in arms.items()}
    first, second = narrowing.values()
    effects = first - second
    usable = np.isfinite(effects)
    if not usable.any():
        return Measurement(undefined=undefined)
    dropped = int((~usable).sum())
    notes = [note] if note else []
    if dropped:
        notes.append(f"{dropped} of {len(effects)} worlds left out: {undefined}")
    rows = tuple(
        (
            kind,
            float(values[usable, 0].mean()),
            float(values[usable, 1].mean()),
            float(narrowing[kind][usable].mean()),
        )
        for kind, values in arms.items()
    )
    table = Table(
        f"Entropy in bits, first and last {windows.length} steps, mean over worlds",
        ("arm", "early", "late", "narrowing"),
        rows,
    )
    return Measurement(
        effects=effects[usable],
        arm_values={kind: float(value[usable].mean()) for kind, value in narrowing.items()},
        tables=(table,),
        notes=tuple(notes),
    )
