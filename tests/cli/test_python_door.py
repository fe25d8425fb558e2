"""``import loopaudit as la``: two verbs, lazy names, recommenders as names, classes, functions."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import loopaudit as la
from loopaudit.recommenders.border import Capabilities, Requests, Slates

SMALL = la.AuditSection(families=("bubbles",), sensitivity_worlds=0)


class First:
    """Always the first items of the catalog."""

    name, capabilities = "first", Capabilities()

    def recommend(self, requests: Requests) -> Slates:
        return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))


def world() -> la.World:
    return la.World.synthetic(users=40, items=50, topics=4, seed=3)


def test_every_public_name_is_there_and_unknown_ones_are_not() -> None:
    for name in la.__all__:
        assert getattr(la, name) is not None
    assert set(la.__all__) <= set(dir(la))
    assert la.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        la.nonsense  # noqa: B018


def test_the_verb_audit_and_the_room_audit_share_a_name() -> None:
    import loopaudit.audit.finding

    assert callable(la.audit)
    assert "settings" in inspect.signature(la.audit).parameters
    assert loopaudit.audit.finding.Verdict.PASS == "PASS"


@pytest.mark.slow
def test_both_verbs_are_typed_for_callers(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(
        "import loopaudit as la\n"
        "world = la.World.synthetic(users=10)\n"
        "run = la.simulate(world, 'ease', worlds=2)\n"
        "report = la.audit(run)\n"
        "reveal_type(run)\n"
        "reveal_type(report)\n"
        "reveal_type(la.audit('ease', data='ml-100k').exit_code)\n"
        "la.audit(run, sett=3)\n"
    )
    links = Path(__file__).resolve().parents[2] / ".links"
    if not links.exists():
        pytest.skip("type checkers see the checkout through .links (make check makes it)")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", "user.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(links), "PATH": "", "MYPY_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    assert [line.rsplit('"', 2)[1] for line in told[:3]] == [
        "loopaudit.simulation.run.Run",
        "loopaudit.reports.report.Report",
        "int",
    ]
    assert 'Unexpected keyword argument "sett"' in told[3]


def test_classes_and_functions_are_recommenders_too() -> None:
    run = la.simulate(
        world(),
        [First, lambda history, k: range(k)],
        arms=["random"],
        steps=3,
        worlds=2,
        settings=SMALL,
    )
    assert run.targets[0] == "First"
    assert len(run.targets) == 2
    shown = run.events("First", 0).collect()
    assert len(shown) > 0
    report = la.audit(run)
    departed = " ".join(report.result.plan.deviations)
    assert "was planned as" not in departed  # the settings were declared before the run
    assert "declared after" not in departed
    assert {f.recommender for f in report.findings} == set(run.targets)


def test_a_recommender_is_simulated_and_audited_in_one_call(tmp_path: Path) -> None:
    study = la.Study.model_validate(
        {
            "study": {"steps": 4, "worlds": 2, "arms": ["random"]},
            "world": {"users": 40, "items": 50, "topics": 4},
            "recommenders": [{"name": "popularity", "label": "most-seen"}],
            "audit": SMALL.model_dump(),
        }
    )
    run = la.simulate(study, out=tmp_path / "run", workers=1)
    assert (tmp_path / "run/plan.json").is_file()
    again = la.audit(str(tmp_path / "run"))
    assert [f.key for f in again.findings] == [f.key for f in la.audit(run).findings]
    assert again.result.plan.declared_when == "before the run"


def test_a_mistake_in_python_is_a_user_error() -> None:
    with pytest.raises(la.UserError, match=r"users must be at least 1, got 0 \(World\.synthetic"):
        la.World.synthetic(users=0)
    with pytest.raises(la.UserError, match="Did you mean ease"):
        la.simulate(world(), "eaze")
    with pytest.raises(la.UserError, match="steps must be at least 2"):
        la.simulate(world(), "ease", steps=0)
    with pytest.raises(la.UserError, match="Did you mean random"):
        la.simulate(world(), "ease", arms=["randon"])
