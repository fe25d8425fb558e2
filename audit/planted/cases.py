"""What the self-test audits: every plant at every dose, every control, and their small worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...simulation.study import Study

LABEL = "subject"
_PLANTED = __package__


@dataclass(frozen=True)
class Setting:
    """Tables of study.toml for one kind of small study."""

    study: Mapping[str, Any] = field(default_factory=dict)
    world: Mapping[str, Any] = field(default_factory=dict)
    people: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One recommender of known dose, audited again and again in new worlds.

    Attributes:
        auditor: who has to judge it.
        name: the plant's class, or what a control is called.
        kind: "planted" or "control".
        checks: the checks it says something about.
        setting: the small study it lives in.
        spec: what the study names, and the arguments it is made with.
        parameter, dose: the argument that is the dose.
        documented: the checks whose power is promised at this dose.
    """

    auditor: str
    name: str
    kind: Literal["planted", "control"]
    checks: tuple[str, ...]
    setting: Setting
    spec: str
    args: Mapping[str, float] = field(default_factory=dict)
    parameter: str = "dose"
    dose: float = 0.0
    documented: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For the progress line: "filter-bubble: BubbleFormer(beta = 2.5)"."""
        dose = f"({self.parameter} = {self.dose:g})" if self.kind == "planted" else ""
        return f"{self.auditor}: {self.name}{dose}"


def study_of(case: Case, seed: int) -> Study:
    """The small study of one run: ten worlds, unless the setting says otherwise."""
    return Study.model_validate(
        {
            "study": {"name": "selftest", "seed": seed, "worlds": 10, **case.setting.study},
            "world": case.setting.world,
            "people": case.setting.people,
            "recommenders": [{"name": case.spec, "label": LABEL, "args": dict(case.args)}],
            "audit": {"sensitivity_worlds": 0, "group": "gender"},
        }
    )


def planted(
    auditor: str,
    name: str,
    parameter: str,
    doses: Mapping[float, tuple[str, ...]],
    checks: tuple[str, ...],
    setting: Setting,
) -> tuple[Case, ...]:
    """One case per dose; ``doses`` maps each to the checks whose power is promised there."""
    return tuple(
        Case(
            auditor,
            name,
            "planted",
            checks,
            setting,
            f"{_PLANTED}:{name}",
            {parameter: dose},
            parameter.strip("_"),
            dose,
            documented,
        )
        for dose, documented in doses.items()
    )


def cases() -> tuple[Case, ...]:
    """Every case, auditor by auditor."""
    return (
        *_filter_bubble(),
        *_attribute_use(),
        *_quality(),
        *_induced_shift(),
        *_membership(),
        *_made_up_names(),
    )


def _filter_bubble() -> tuple[Case, ...]:
    """People here drift strongly by their own clicks, whoever recommends: before/after comparisons
    see narrowing even under a random recommender."""
    name, checks = "filter-bubble", ("bubbles.slate-narrowing", "bubbles.click-narrowing")
    drifting = Setting(
        {"steps": 36, "arms": ["random"]},
        {"users": 120, "items": 300, "topics": 8},
        {"drift": 0.1, "outside_utility": 1.0},
    )
    level = ("bubbles.narrower-than-alone",)
    both = replace(drifting, study={"steps": 36, "arms": ["random", "none"]})
    alone = replace(drifting, study={"steps": 36, "arms": ["none"]})
    doses = {1.5: (), 2.0: (), 2.5: checks, 4.0: level}
    return (
        *planted(name, "BubbleFormer", "beta", doses, checks + level, both),
        Case(name, "DriftingUsersRandomRec", "control", checks, drifting, "random", {"seed": 1}),
        Case(name, "NobodyRecommends", "control", level, alone, "none", {"seed": 1}),
    )


def _attribute_use() -> tuple[Case, ...]:
    """Probes of the recommender before the loop, so the loop itself is kept short."""
    name, checks = "attribute-use", ("bias.attribute-use", "bias.attribute-quality")
    probed = Setting({"steps": 2, "arms": []}, {"users": 100, "items": 180})
    unequal = replace(probed, world={**probed.world, "unequal_base_rates": True})
    doses = {0.05: (), 0.1: checks[:1], 0.2: checks}
    return (
        *planted(name, "GenderDegrader", "eps", doses, checks, probed),
        Case(name, "UnequalBaseRates", "control", checks, unequal, "itemknn"),
        Case(name, "Random", "control", checks, probed, "random"),
    )


def _quality() -> tuple[Case, ...]:
    """Descriptions only: no power is promised, but where groups are alike nothing may be found."""
    checks = ("bias.quality-gap", "bias.quality-disparity", "bias.loop-quality-gap")
    compared = Setting({"steps": 6, "arms": ["random"]}, {"users": 240, "items": 150})
    probed = Setting({"steps": 2, "arms": []}, {"users": 120, "items": 150})
    alike, lift = "EqualGroups", ("bias.popularity-lift-group",)
    return (
        *planted("quality-gap", "GenderDegrader", "eps", {0.5: (), 1.0: ()}, checks, compared),
        Case("quality-gap", alike, "control", checks, compared, "itemknn"),
        Case("popularity-lift", alike, "control", lift, probed, "itemknn"),
    )


def _induced_shift() -> tuple[Case, ...]:
    """People here also move to what they are merely shown."""
    name = "induced-shift"
    checks = ("manipulation.induced-shift", "manipulation.worse-by-own-taste")
    natural = Setting(
        {"steps": 30, "arms": ["none"]},
        {"users": 100, "items": 240, "topics": 8},
        {"drift": 0.06, "exposure_drift": 0.01, "outside_utility": 1.0},
    )
    doses = {0.25: (), 0.5: checks[:1], 0.8: ()}
    return (
        *planted(name, "PreferenceShaper", "lambda_", doses, checks, natural),
        Case(name, "NobodyRecommends", "control", checks, natural, "none", {"seed": 1}),
    )


def _membership() -> tuple[Case, ...]:
    """One world is enough: the person is the unit."""
    name = "membership"
    checks = ("privacy.membership-auc", "privacy.membership-tpr", "privacy.membership-score")
    trained = Setting({"steps": 2, "worlds": 1, "arms": []}, {"users": 100, "items": 180})
    doses = {0.1: (), 0.2: (), 0.3: checks[:2]}
    return (
        *planted(name, "Memoriser", "q", doses, checks, trained),
        Case(name, "Random", "control", checks, trained, "random"),
    )


def _made_up_names() -> tuple[Case, ...]:
    """The lowest dose lies on the threshold, where an alarm in 5 % of runs is right."""
    name, checks = "made-up-names", ("generation.made-up-names",)
    spoken = Setting({"steps": 4, "arms": []}, {"users": 60, "items": 120})
    doses = {0.01: (), 0.015: (), 0.02: checks}
    exists = {"share": 0.0}
    return (
        *planted(name, "TitleInventor", "share", doses, checks, spoken),
        Case(
            name,
            "NamesOnlyWhatExists",
            "control",
            checks,
            spoken,
            f"{_PLANTED}:TitleInventor",
            exists,
        ),
        Case(name, "ClosedCatalog", "control", checks, spoken, "itemknn"),
    )
