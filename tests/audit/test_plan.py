"""Plans: the same plan has the same hash, a changed one is refused, every departure is listed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loopaudit.audit.auditor import AUDITORS, auditors_for, named_auditor
from loopaudit.audit.finding import Check
from loopaudit.audit.plan import Plan, declare_in
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.study import AuditSection, RecommenderSection, Study


def narrowing(**changes: object) -> Check:
    base = Check(
        id="bubbles.toy",
        family="bubbles",
        question="Does it narrow?",
        estimand="target minus random",
        statistic="narrowing",
        unit_label="bits",
        unit="world",
        tau=0.25,
        tau_source="convention",
        needs_arms=("random",),
    )
    return replace(base, **changes)


class Toy:
    """Declares what it is given."""

    family = "bubbles"
    question = "Does it narrow?"

    def __init__(self, *checks: object, name: str = "toy") -> None:
        self.name = name
        self.own = checks

    def checks(self, settings: AuditSection) -> tuple[object, ...]:
        if self.own and isinstance(self.own[0], Exception):
            raise self.own[0]
        return self.own

    def measure(self, evidence: object) -> dict[str, object]:
        raise AssertionError("a plan is declared before anything is measured")


STUDY = Study(recommenders=(RecommenderSection(name="ease"),))


def test_the_same_plan_has_the_same_hash_and_a_changed_threshold_another() -> None:
    one = Plan.declare(STUDY, [Toy(narrowing())])
    assert one.hash == Plan.declare(STUDY, [Toy(narrowing())], when="after the run").hash
    assert len(one.hash) == 64
    for change in ({"tau": 0.3}, {"alpha": 0.01}, {"estimand": "other"}, {"role": "descriptive"}):
        assert Plan.declare(STUDY, [Toy(narrowing(**change))]).hash != one.hash
    longer = STUDY.model_copy(update={"study": STUDY.study.model_copy(update={"steps": 99})})
    assert Plan.declare(longer, [Toy(narrowing())]).hash != one.hash


def test_a_plan_survives_json_and_the_disk(tmp_path: Path) -> None:
    plan = Plan.declare(STUDY, [Toy(narrowing())]).departing(["something changed"])
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.hash == plan.hash
    assert again.checks == plan.checks
    assert again.deviations == ("something changed",)
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json").to_json() == plan.to_json()
    assert [f.name for f in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    Plan.declare(STUDY, [Toy(narrowing())]).save(path)
    path.write_text(path.read_text().replace('"tau": 0.25', '"tau": 0.75'))
    with pytest.raises(UserError, match=r"plan\.json.*changed after it was declared"):
        Plan.load(path)
    path.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Plan.load(path)
    path.write_text("[]")
    with pytest.raises(UserError, match="no plan"):
        Plan.load(path)
    path.write_text('{"schema": 1}')
    with pytest.raises(UserError, match="no plan"):
        Plan.load(path)


def test_the_study_sets_thresholds_and_is_named_as_their_source() -> None:
    strict = AuditSection(tau={"bubbles.toy": 0.1})
    (check,) = Plan.declare(STUDY, [Toy(narrowing())], settings=strict).checks
    assert check.tau == 0.1
    assert "study.toml" in check.tau_source


def test_a_threshold_for_a_check_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match=r"bubbles\.toi.*Did you mean bubbles\.toy"):
        Plan.declare(STUDY, [Toy(narrowing())], settings=AuditSection(tau={"bubbles.toi": 0.1}))


def test_a_threshold_of_a_family_that_is_switched_off_is_no_mistake() -> None:
    off = AuditSection(families=("bubbles",), tau={"manipulation.induced-shift": 0.1})
    assert Plan.declare(STUDY, settings=off).checks


def test_nothing_departs_from_a_plan_carried_out() -> None:
    planned = Plan.declare(STUDY, [Toy(narrowing())])
    assert Plan.declare(STUDY, [Toy(narrowing())], when="after the run").compared(planned) == ()


def test_every_departure_is_listed() -> None:
    planned = Plan.declare(STUDY, [Toy(narrowing(), narrowing(id="bubbles.dropped"))])
    smaller = STUDY.model_copy(update={"study": STUDY.study.model_copy(update={"worlds": 4})})
    now = Plan.declare(smaller, [Toy(narrowing(tau=0.5), narrowing(id="bubbles.new"))])
    said = now.compared(planned)
    assert said == (
        "bubbles.dropped was planned, but not asked.",
        "bubbles.new was asked, but not planned.",
        "bubbles.toy: tau was planned as 0.25, and is 0.5.",
        "The study's study.worlds was planned as 10, and is 4.",
    )


def test_a_plan_declared_after_the_run_says_so() -> None:
    late = Plan.declare(STUDY, [Toy(narrowing())], when="after the run")
    assert late.compared(late) == ("The plan was declared after the simulation had run.",)


def test_an_auditor_that_cannot_declare_is_noted_and_the_others_go_on() -> None:
    broken = Toy(RuntimeError("no\nluck"), name="broken")
    plan = Plan.declare(STUDY, [broken, Toy(narrowing())])
    assert [check.id for check in plan.checks] == ["bubbles.toy"]
    assert plan.undeclared == ("broken declared no checks: RuntimeError: no luck",)
    assert "broken declared no checks: RuntimeError: no luck." in plan.compared(plan)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("not a check", "not a Check"),
        (narrowing(alpha=0.7), "alpha must lie between 0 and 0.5, got 0.7"),
        (narrowing(tau=float("nan")), "tau must be a finite number"),
        (narrowing(method="guess"), "method must be one of"),
        (narrowing(unit="row"), "unit must be one of"),
    ],
)
def test_a_malformed_check_is_noted(wrong: object, said: str) -> None:
    plan = Plan.declare(STUDY, [Toy(wrong)])
    assert plan.checks == ()
    assert said in plan.undeclared[0]


def test_one_check_or_auditor_declared_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"'bubbles\.toy' is declared twice: by 'a' and 'b'"):
        Plan.declare(STUDY, [Toy(narrowing(), name="a"), Toy(narrowing(), name="b")])
    with pytest.raises(UserError, match="two auditors are called 'a'"):
        Plan.declare(STUDY, [Toy(narrowing(), name="a"), Toy(name="a")])


def test_a_plan_in_a_run_directory_is_declared_first_and_kept(tmp_path: Path) -> None:
    first = declare_in(tmp_path, STUDY)
    assert first.declared_when == "before the run"
    assert first.checks
    other = STUDY.model_copy(update={"audit": AuditSection(families=("bubbles",))})
    assert declare_in(tmp_path, other).hash != first.hash  # nothing has run yet
    declare_in(tmp_path, STUDY)
    (tmp_path / "study.toml").touch()  # the simulation has started
    assert declare_in(tmp_path, other).hash == first.hash
    (tmp_path / "plan.json").unlink()
    assert declare_in(tmp_path, STUDY).declared_when == "after the run"


def test_built_in_auditors_declare_well_formed_checks_of_their_family() -> None:
    everything = AuditSection(families=("bubbles", "bias", "manipulation", "privacy", "generation"))
    plan = Plan.declare(STUDY.model_copy(update={"audit": everything}))
    assert plan.undeclared == ()
    assert set(plan.auditors) == set(AUDITORS)
    for name in AUDITORS:
        auditor = named_auditor(name)
        assert auditor.name == name
        for check in auditor.checks(AuditSection()):
            assert check.family == auditor.family
            assert check.id.startswith(f"{check.family}.")
            assert plan.auditor_of(check.id) == name
            for text in (check.formula, check.source, check.not_tested, check.mitigation):
                assert text, f"{check.id} leaves a field of its card empty"
    assert plan.auditor_of("nothing") == ""


def test_families_choose_the_built_in_auditors() -> None:
    names = [a.name for a in auditors_for(AuditSection(families=("bubbles", "privacy")))]
    assert names == ["filter-bubble", "membership"]


def test_an_unknown_auditor_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="filter-bubble"):
        named_auditor("filter-bubbel")
    with pytest.raises(UserError, match=r"not an auditor: it has no .*measure"):
        named_auditor("collections:OrderedDict")
