"""LoopAudit: simulate long feedback loops around a recommender, and audit what they do to people.

Two verbs and what they return::

    import loopaudit as la

    world = la.World.synthetic(users=300, items=400, topics=12, seed=7)
    run = la.simulate(world, "multvae", arms=["random", "frozen"], steps=40, worlds=10)
    report = la.audit(run)

Nothing heavy is imported until a verb is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .recommenders.errors import UserError

if TYPE_CHECKING:
    from .reports.report import AuditFailed, Report
    from .simulation.run import Run
    from .simulation.runner import ProgressSink
    from .simulation.running.executors import Executor
    from .simulation.study import AuditSection, PeopleSection, RecommenderSection, Study
    from .simulation.world import World

    Named = str | RecommenderSection | Callable[..., Any]

__all__ = [
    "AuditFailed",
    "AuditSection",
    "PeopleSection",
    "RecommenderSection",
    "Report",
    "Run",
    "Study",
    "UserError",
    "World",
    "audit",
    "simulate",
]

_HOMES = {
    "AuditFailed": ".reports.report",
    "AuditSection": ".simulation.study",
    "PeopleSection": ".simulation.study",
    "RecommenderSection": ".simulation.study",
    "Report": ".reports.report",
    "Run": ".simulation.run",
    "Study": ".simulation.study",
    "World": ".simulation.world",
}


def simulate(
    world: World | Study,
    recommender: Named | Sequence[Named] = (),
    *,
    arms: Sequence[str] = ("random", "popularity", "frozen", "none"),
    steps: int = 40,
    worlds: int = 10,
    settings: AuditSection | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    executor: Executor = "processes",
    progress: ProgressSink | None = None,
) -> Run:
    """Let simulated people live with a recommender, and otherwise, in several worlds.

    The checks of the audit are declared and hashed before the first step, into ``out/plan.json``.

    Args:
        world: where people live, from ``World.synthetic`` or ``World.fit``; or a whole ``Study``,
            which then says everything that the arguments from ``recommender`` to ``settings`` say.
        recommender: one or several of: a name (``"multvae"``, ``"my_pkg:Mine"``,
            ``"mine.py:Mine"``), a ``RecommenderSection`` with arguments, a class, or a function
            ``f(history, k)`` that returns item indices.
        arms: what the same people live with otherwise.
        steps: length of the loop.
        worlds: independent worlds, the unit of inference.
        settings: how strict the coming audit will be: thresholds, families, plug-in auditors.
        out: run directory; an unfinished one is resumed. None keeps everything in memory.
        workers: processes, 0 for one a core; one when ``out`` is None or for classes and
            functions that only this process knows.
        executor: where worlds and arms are lived: "processes", "serial", or "ray" (a cluster named
            by ``RAY_ADDRESS``, or one started here); the bytes are the same.
        progress: called as ``progress(done, total, what)``.

    Raises:
        UserError: an unknown name, a number out of range, or a directory of another study.
    """
    from .simulation.runner import check_study, reach_recommenders
    from .simulation.runner import simulate as live
    from .simulation.study import Study

    factories: dict[str, Callable[[], Any]] = {}
    if isinstance(world, Study):
        study = world
    else:
        from .recommenders.registry import name_objects
        from .simulation.study_file import study_from

        several = recommender if isinstance(recommender, list | tuple) else [recommender]
        entries, factories = name_objects(several)
        study = study_from(
            {
                "study": {
                    "seed": world.study.study.seed,
                    "steps": steps,
                    "worlds": worlds,
                    "arms": list(arms),
                },
                **{
                    table: value
                    for table, value in world.study.model_dump(mode="json").items()
                    if table not in ("study", "recommenders", "audit")
                },
                "recommenders": entries,
                "audit": {} if settings is None else settings.model_dump(mode="json"),
            },
            source="la.simulate",
        )
    folder = None if out is None else Path(out)
    check_study(study, factories, out=folder)
    if folder is None or not (folder / "study.toml").exists():  # one begun needs them maybe no more
        reach_recommenders(study)
    from .audit.plan import Plan, declare_in

    if folder is None:
        plan = Plan.declare(study)
    else:
        from .simulation.record.store import Lock

        with Lock(folder):
            plan = declare_in(folder, study)
    run = live(
        study,
        out=folder,
        workers=workers,
        executor=executor,
        progress=progress,
        factories=factories,
    )
    run.declared = plan
    return run


def audit(
    subject: Run | Named | Path,
    *,
    data: str | World | None = None,
    folder: str = "",
    settings: AuditSection | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    progress: ProgressSink | None = None,
) -> Report:
    """Ask every question of a run, or of a recommender after simulating it, and report.

    Args:
        subject: a ``Run``, a run directory, or a recommender named as in :func:`simulate`.
        data: for a recommender, where people come from: a dataset (``"ml-100k"``, a CSV or Parquet
            file), a ``World``, or None for the synthetic market.
        folder: where the dataset's files are, if not in the cache.
        settings: how strict; the study's own when None. What differs from the plan declared
            before the data is listed in the report as a deviation.
        out: run directory of the simulation, for a recommender.
        workers: processes of the simulation, 0 for one a core.
        progress: called as ``progress(done, total, what)``.

    Raises:
        UserError: no such run or recommender, or a dataset that cannot be read.
    """
    from .audit.auditing import audit_run
    from .reports.report import Report
    from .simulation.run import Run
    from .simulation.world import World

    if isinstance(subject, Run):
        run = subject
    elif isinstance(subject, str | Path) and Path(subject).is_dir():
        run = Run.open(subject)
    else:
        if isinstance(data, World):
            world = data
        elif data is None:
            world = World.synthetic()
        else:
            world = World.fit(data, folder=folder)
        named = str(subject) if isinstance(subject, Path) else subject
        run = simulate(world, named, settings=settings, out=out, workers=workers, progress=progress)
    result = audit_run(run, settings=settings, progress=progress)
    return Report(result, run)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("loopaudit")
    if name not in _HOMES:
        raise AttributeError(f"module 'loopaudit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])


class _Room(ModuleType):
    """The room ``loopaudit.audit`` shares its name with the verb: the room can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        return _audit_verb(*args, **kwargs)


_audit_verb = audit
_room = import_module(".audit", __name__)  # rebinds `audit` here to the room
_room.__class__ = _Room
_room.__signature__ = signature(_audit_verb)  # type: ignore[attr-defined]
