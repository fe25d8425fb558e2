"""Small lived worlds and judged answers, for tests of auditors."""

from collections.abc import Callable

import pytest

from loopaudit.audit.auditor import Auditor, declared
from loopaudit.audit.evidence import Evidence, access_of
from loopaudit.audit.finding import Finding, Measurement
from loopaudit.audit.inference import judge
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

Live = Callable[..., Run]
Ask = Callable[..., dict[str, Finding]]


@pytest.fixture(scope="session")
def live() -> Live:
    """Lives a small study with one recommender, labelled "subject", in memory."""

    def lived(name, args=None, *, arms=(), steps=2, worlds=6, seed=3, people=None, **tables) -> Run:
        audit = tables.pop("audit", {})
        world = {"users": 90, "items": 150, "topics": 8, "history": 16.0, **tables}
        return simulate(
            Study.model_validate(
                {
                    "study": {"seed": seed, "steps": steps, "worlds": worlds, "arms": list(arms)},
                    "world": world,
                    "people": people or {},
                    "recommenders": [{"name": name, "label": "subject", "args": args or {}}],
                    "audit": {"sensitivity_worlds": 0, **audit},
                }
            )
        )

    return lived


def evidence_of(run: Run) -> Evidence:
    return Evidence(run, "subject", run.study.audit, access_of(run, "subject"), seed=5)


@pytest.fixture(scope="session")
def measure():
    """What one auditor measures on a run, by check id."""

    def measured(auditor: Auditor, run: Run) -> dict[str, Measurement]:
        return auditor.measure(evidence_of(run))

    return measured


@pytest.fixture(scope="session")
def ask(measure) -> Ask:
    """What one auditor finds on a run, each check judged alone."""

    def asked(auditor: Auditor, run: Run) -> dict[str, Finding]:
        evidence, seen = evidence_of(run), measure(auditor, run)
        found = {}
        for check in declared(auditor, run.study.audit):
            reason = evidence.missing(check)
            said = Measurement(missing=reason) if reason else seen[check.id]
            found[check.id] = judge(check, said, "subject")
        return found

    return asked
