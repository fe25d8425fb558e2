"""Runs a study: worlds in parallel processes, progress, resume, and a manifest at the end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..recommenders.chat import ready
from ..recommenders.errors import UserError
from .arms import arms_of
from .directory import finish, prepare, refuse_others
from .live import Tick, live_world, variants
from .manifest import read_manifest
from .provenance import refuse_changed
from .run import Factories, Run, world_name
from .store import DiskStore, Lock, MemoryStore
from .study import Study, label_of
from .world import origin

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

ProgressSink = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; the unit is one step of one arm in one world."""

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def simulate(
    study: Study,
    *,
    out: Path | None = None,
    workers: int = 0,
    progress: ProgressSink | None = None,
    factories: Factories | None = None,
) -> Run:
    """Live a study and return its Run.

    The same study gives the same bytes, whatever ``workers`` is. An unfinished directory of the
    same study is resumed; a finished one is read; another study's is refused.

    Args:
        study: what to run; needs at least one recommender.
        out: the run directory; None keeps everything in memory.
        workers: processes; 0 for one a core. One is used when ``out`` is None or ``factories``
            hold objects that only this process knows.
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
    if out is None:
        memory = MemoryStore()
        with one_thread():
            for index in range(study.study.worlds):
                live_world(study, index, memory, factories or {}, counter.tick(index))
        return Run(study, memory, factories=factories)
    store = DiskStore(out)
    with Lock(out):
        if prepare(study, store, factories or {}):
            return Run.open(out)
        n = min(workers or os.cpu_count() or 1, study.study.worlds)
        if study.asks and study.chat.mode != "replay":
            n = 1  # one process keeps the endpoint's limits, and asks each question once
        if factories or n == 1:
            with one_thread():
                for index in range(study.study.worlds):
                    _live(study, index, store, factories or {}, counter.tick(index))
        else:
            _in_processes(study, out, n, counter)
        if study.world.kind == "dataset" and not store.exists("realism.json"):
            from .realism import realism

            rows = realism(study.world, study.people, seed=study.study.seed)
            store.put_json("realism.json", [vars(row) for row in rows])
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
            can = getattr(made, "capabilities", None)
            if (
                section.retrain_mode == "incremental"
                and getattr(can, "update", "") != "incremental"
            ):
                raise UserError(
                    f"{label_of(section)} cannot learn incrementally (it says update = "
                    f'{getattr(can, "update", "none")!r}); set retrain_mode to "auto" or "full"'
                )
    if study.world.kind == "dataset":
        origin(study.world, study.study.seed, 0)
    if study.asks:
        _check_talk(study)
    if out is not None:
        refuse_others(study, out)


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


def _live(study: Study, index: int, store: DiskStore, factories: Factories, tick: Tick) -> None:
    """Live a world; before every arm, what the run is made with must be what it was begun with.

    A plug-in that is edited meanwhile would be loaded anew by the next arm.
    """
    begun = read_manifest(store.root)

    def watched(steps: int, what: str) -> None:
        if steps == 0:
            refuse_changed(begun, study, factories, root=store.root)
        tick(steps, what)

    live_world(study, index, store, factories, watched)


class _Counter:
    """Adds up ticks of all worlds for one progress display."""

    def __init__(self, total: int, progress: ProgressSink | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, steps: int, what: str) -> None:
        self.done += steps
        if self.progress is not None:
            self.progress(self.done, self.total, what)

    def tick(self, index: int) -> Callable[[int, str], None]:
        return lambda steps, what: self.add(steps, f"world {index + 1} · {what}")


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS and torch: two beside a busy neighbour are slower, and sums differ."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


# -- processes -----------------------------------------------------------------------------------

_queue: SimpleQueue[tuple[int, str]] | None = None


def _enter_worker(queue: SimpleQueue[tuple[int, str]]) -> None:
    import signal

    global _queue
    _queue = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides


def _work(study_json: str, index: int, out: str) -> None:
    study = Study.model_validate_json(study_json)

    def tick(steps: int, what: str) -> None:
        if _queue is not None:
            _queue.put((steps, f"world {index + 1} · {what}"))

    with one_thread():
        _live(study, index, DiskStore(Path(out), writer=world_name(index)), {}, tick)


@contextmanager
def fresh_interpreters() -> Iterator[None]:
    """Spawned workers start with one thread each and do not run the caller's script again.

    A user's fourteen-line script has no ``if __name__ == "__main__"``; our work never lives in
    ``__main__``, so hiding its file from the spawn machinery is enough.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec = getattr(main, "__spec__", None)
    main.__spec__ = None
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        main.__spec__ = spec
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _in_processes(study: Study, out: Path, workers: int, counter: _Counter) -> None:
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[tuple[int, str]] = context.SimpleQueue()

    def listen() -> None:
        while (message := queue.get())[0] >= 0:
            counter.add(*message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, context, initializer=_enter_worker, initargs=(queue,))
    try:
        with fresh_interpreters():
            text = study.model_dump_json()
            futures: list[Future[None]] = [
                pool.submit(_work, text, index, str(out)) for index in range(study.study.worlds)
            ]
        for future in as_completed(futures):
            future.result()
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(
                f"a worker process died (out of memory, or killed); what was finished is in {out} "
                "and the same command goes on from there"
            ) from error
        raise
    pool.shutdown()
    queue.put((-1, ""))
    listener.join()
