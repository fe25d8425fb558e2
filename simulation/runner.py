"""Runs a study: worlds in parallel processes, progress, resume, and a manifest at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..recommenders.errors import UserError
from ..recommenders.language.chat import ready
from .arms import arms_of
from .record.directory import finish, prepare, refuse_others
from .record.store import DiskStore, Lock, MemoryStore
from .run import Factories, Run
from .running.executors import Executor, execute, one_thread
from .running.live import live_world
from .running.shards import refuse_undividable, shard_rows
from .running.teams import sharded
from .study import Study, label_of
from .variants import variants
from .world import origin

ProgressSink = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; the unit is one step of one arm in one world."""


def simulate(
    study: Study,
    *,
    out: Path | None = None,
    workers: int = 0,
    executor: Executor = "processes",
    progress: ProgressSink | None = None,
    factories: Factories | None = None,
) -> Run:
    """Live a study and return its Run.

    The same study gives the same bytes, whatever ``workers`` and ``executor`` are. An unfinished
    directory of the same study is resumed; a finished one is read; another study's is refused.

    Args:
        study: what to run; needs at least one recommender.
        out: the run directory; None keeps everything in memory.
        workers: processes; 0 for one a core. One is used when ``out`` is None or ``factories``
            hold objects that only this process knows.
        executor: where worlds and arms are lived: "processes", "serial" or "ray"; the bytes are
            the same.
        progress: told of every finished step.
        factories: recommenders by label that no name can create.

    Raises:
        UserError: no recommender, unknown names, or a directory that belongs to another study.
    """
    check_study(study, factories or {})
    total = sum(
        part.study.steps * len(arms_of(part))
        for index in range(study.study.worlds)
        for _, part in variants(study, index)
    )
    counter = _Counter(total, progress)
    lived_by = sharded(study, executor, workers) if study.study.shards > 1 else None
    if out is None:
        memory = MemoryStore()
        with one_thread():
            for index in range(study.study.worlds):
                live_world(
                    study, index, memory, factories or {}, counter.tick(index), lived_by=lived_by
                )
        return Run(study, memory, factories=factories)
    store = DiskStore(out)
    with Lock(out):
        if prepare(study, store, factories or {}):
            return Run.open(out)
        if _paced(study, factories or {}):
            executor = "serial"  # one process keeps the endpoint's limits, asks everything once
        try:
            execute(
                study,
                out,
                executor=executor,
                workers=workers,
                factories=factories or {},
                done=counter.add,
                lived_by=lived_by,
            )
        except BaseException:
            store.sweep()  # what a worker was writing when another's failure ended it
            raise
        if study.world.kind == "dataset" and not store.exists("realism.json"):
            from .fitting.realism import realism_rows

            store.put_json("realism.json", realism_rows(study))
        finish(study, store, factories or {})
    return Run(study, store, path=out, factories=factories)


def check_study(
    study: Study, factories: Factories | None = None, *, out: Path | None = None
) -> None:
    """What no schema can see: recommenders that exist, data that can be read, a directory to use.

    Called before anything is written, so that a mistake leaves no directory behind.

    Raises:
        UserError: no recommender, an unknown name or argument, a dataset that cannot be read, or
            a directory that holds something else.
    """
    from ..recommenders import registry

    if not study.recommenders:
        raise UserError(
            "the study names no recommender; add [[recommenders]] with a name "
            "(`loopaudit list` shows them)"
        )
    for section in study.recommenders:
        if section.name != "none" and label_of(section) not in (factories or {}):
            made = registry.create(section.name, section.args)
            if study.study.shards > 1 and not callable(getattr(made, "state", None)):
                raise UserError(
                    f"{label_of(section)} has no state() and load_state() to be sent to shards by; "
                    "set [study] shards to 1, or let it save itself"
                )
            can = getattr(made, "capabilities", None)
            if (
                section.retrain_mode == "incremental"
                and getattr(can, "update", "") != "incremental"
            ):
                raise UserError(
                    f"{label_of(section)} cannot learn incrementally (it says update = "
                    f'{getattr(can, "update", "none")!r}); set retrain_mode to "auto" or "full"'
                )
    if study.study.shards > 1:
        refuse_undividable(study)
        if factories:
            raise UserError(
                "recommenders that only this process knows cannot be sent to shards; set [study] "
                "shards to 1, or name them by module or file"
            )
        if _paced(study, {}):
            raise UserError(
                "shards cannot keep the limits of one endpoint together; set [study] shards to 1, "
                "or replay a record (mode = 'replay')"
            )
    people = study.world.users
    if study.world.kind == "dataset":
        people = len(origin(study.world, study.study.seed, 0).users)
    shard_rows(people, shards=study.study.shards, block=study.study.block)
    if study.society is not None:
        _check_society(study)
    if study.asks:
        _check_talk(study)
    if out is not None:
        refuse_others(study, out)


def reach_recommenders(study: Study) -> None:
    """Processes start and servers answer, before a simulation in which they would serve nobody.

    Raises:
        UserError: one does not; with what it said.
    """
    from ..recommenders import registry
    from ..recommenders.plugins.wire import WireError

    for section in study.recommenders:
        if section.name.startswith(("cmd:", "http://", "https://")):
            try:
                registry.create(section.name, section.args).reach()  # type: ignore[attr-defined]
            except (WireError, TimeoutError) as error:
                raise UserError(f"{section.name} does not get ready: {error}") from None


def _paced(study: Study, factories: Factories) -> bool:
    """Whether somebody asks an endpoint whose limits hold for the whole study."""
    from ..recommenders import registry

    if study.asks and study.chat.mode != "replay":
        return True
    named = (s for s in study.recommenders if s.name != "none" and label_of(s) not in factories)
    return any(getattr(registry.create(s.name, s.args), "paced", False) for s in named)


def _check_society(study: Study) -> None:
    """Traits that a society reads and a file of friends: looked for before anything is lived."""
    from .society.social import check_society

    assert study.society is not None
    if study.world.kind == "dataset" or study.society.graph.form == "file":
        start = origin(study.world, study.study.seed, 0)
        check_society(study.society, start.catalog, start.users, start.log, seed=study.study.seed)


def _check_talk(study: Study) -> None:
    """People who choose by chat: attributes that exist, an endpoint that can be asked."""
    known = origin(study.world, study.study.seed, 0).users.attributes
    for name in study.chat.attributes:
        if name not in known:
            raise UserError(
                f"[chat] attributes: people have no attribute {name!r}; they have "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    ready(study.chat)


class _Counter:
    """Adds up ticks of all worlds for one progress display."""

    def __init__(self, total: int, progress: ProgressSink | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, steps: int, what: str) -> None:
        self.done += steps
        if self.progress is not None:
            self.progress(self.done, self.total, what)

    def tick(self, index: int) -> Callable[[int, str], None]:
        """For one world, lived here."""
        return lambda steps, what: self.add(steps, f"world {index + 1} · {what}")
