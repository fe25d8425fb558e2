"""Where the parts of a study are lived: here, in processes, or on the machines of a Ray cluster.

The parts are tasks: first every world is drawn and written, then each recommender's arms in each
world are lived. Tasks share nothing but the run directory, in which every file is written by one
task, whole or not at all; so the bytes are the same whoever runs them, in whatever order.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue as queues
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...recommenders.errors import UserError
from ..arms import arms_of
from ..record.manifest import read_manifest
from ..record.provenance import refuse_changed
from ..record.store import DiskStore, working_for
from ..record.world_files import write_world
from ..run import Factories, world_name
from ..study import Study
from .live import ArmRun, group_of, live_world

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

Executor = Literal["processes", "serial", "ray"]
EXECUTORS: tuple[Executor, ...] = ("processes", "serial", "ray")

Done = Callable[[int, str], None]
"""Called as ``done(steps, what)`` whenever steps were lived, by one thread at a time."""

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_PROBE = ".ray-sees-this"


class Task(NamedTuple):
    """One part of a study.

    Attributes:
        world: index; group: whose arms are lived in it, "" to draw and write the world itself.
    """

    world: int
    group: str


def stages(study: Study) -> tuple[list[Task], list[Task]]:
    """The tasks of a study: those of the second stage need all of the first."""
    worlds = range(study.study.worlds)
    groups = list(dict.fromkeys(group_of(arm) for arm in arms_of(study)))
    return [Task(w, "") for w in worlds], [Task(w, g) for w in worlds for g in groups]


def execute(
    study: Study,
    out: Path,
    *,
    executor: Executor,
    workers: int,
    factories: Factories,
    done: Done,
    lived_by: Callable[..., ArmRun] | None = None,
) -> None:
    """Live all tasks of a study into a run directory.

    Args:
        study: what to live; out: its prepared run directory.
        executor: "serial" here, "processes" on this machine, "ray" on a cluster.
        workers: processes, or CPUs of a Ray started here; 0 for one a core.
        factories: recommenders that only this process knows; they make it serial.
        done: told of every finished step.
        lived_by: what lives an arm by sharing it out; tasks are then done one after the other.

    Raises:
        UserError: Ray is missing, or its workers do not see the run directory.
        RuntimeError: a worker died.
    """
    n = workers or os.cpu_count() or 1
    for tasks in stages(study):
        if lived_by is not None:
            with one_thread():
                for task in tasks:
                    _live(study, task, out, factories, done, lived_by)
        elif executor == "ray" and not factories:
            _on_ray(study, out, tasks, workers, done)
        elif executor == "serial" or factories or n == 1 or len(tasks) == 1:
            with one_thread():
                for task in tasks:
                    _live(study, task, out, factories, done)
        else:
            _in_processes(study, out, tasks, min(n, len(tasks)), done)


def _live(
    study: Study,
    task: Task,
    out: Path,
    factories: Factories,
    done: Done,
    lived_by: Callable[..., ArmRun] | None = None,
) -> None:
    """Live one task; before every arm, what the run is made with must be what it was begun with.

    A plug-in that is edited meanwhile would be loaded anew by the next arm.
    """
    begun = read_manifest(out)
    writer = f"{world_name(task.world)}-{task.group}" if task.group else world_name(task.world)
    store = DiskStore(out, writer=writer)

    def watched(steps: int, what: str) -> None:
        if steps == 0:
            refuse_changed(begun, study, factories, root=out)
        done(steps, f"world {task.world + 1} · {what}")

    if task.group:
        live_world(
            study, task.world, store, factories, watched, group=task.group, lived_by=lived_by
        )
    else:
        write_world(study, task.world, store)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for BLAS and torch: two beside a busy neighbour are slower, and sums differ.

    Torch need not be loaded for that: whoever loads it inside finds one thread in the environment.
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 1
    with _environment(dict.fromkeys(_ONE_THREAD[:3], "1")):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            with threadpool_limits(limits=1):
                yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


@contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    """Inside, these variables of the environment are so."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# -- processes -----------------------------------------------------------------------------------

_queue: SimpleQueue[tuple[int, str]] | None = None


def _enter_worker(queue: SimpleQueue[tuple[int, str]]) -> None:
    global _queue
    _queue = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would write into a run that somebody goes on with."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(study_json: str, task: tuple[int, str], out: str) -> None:
    def done(steps: int, what: str) -> None:
        if _queue is not None:
            _queue.put((steps, what))

    with one_thread(), working_for(Path(out)):
        _live(Study.model_validate_json(study_json), Task(*task), Path(out), {}, done)


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
    try:
        with _environment(dict.fromkeys(_ONE_THREAD, "1")):
            yield
    finally:
        main.__dict__.update(hidden)
        main.__spec__ = spec


def _in_processes(study: Study, out: Path, tasks: Sequence[Task], workers: int, done: Done) -> None:
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue[tuple[int, str]] = context.SimpleQueue()

    def listen() -> None:
        while (message := queue.get())[0] >= 0:
            done(*message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, context, initializer=_enter_worker, initargs=(queue,))
    try:
        with fresh_interpreters():
            text = study.model_dump_json()
            futures: list[Future[None]] = [
                pool.submit(_work, text, (task.world, task.group), str(out)) for task in tasks
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


# -- Ray -----------------------------------------------------------------------------------------


@contextmanager
def ray_cluster(workers: int) -> Iterator[Any]:
    """The ``ray`` module, connected: to ``RAY_ADDRESS`` if that is set, else to a Ray started here.

    Args:
        workers: CPUs of a Ray started here; 0 for all.
    """
    try:
        import ray
    except ImportError:
        raise UserError("the executor 'ray' needs Ray: pip install 'loopaudit[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        address = os.environ.get("RAY_ADDRESS")
        local: dict[str, Any] = (
            {} if address else {"num_cpus": workers or None, "include_dashboard": False}
        )
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": dict.fromkeys(_ONE_THREAD, "1")},
                **local,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot connect to Ray at {address or 'this machine'}: "
                f"{str(error).splitlines()[0]}"
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _remote_task(study_json: str, task: tuple[int, str], out: str, messages: Any) -> str:
    """Runs on a Ray worker; returns "" or what is wrong with its machine."""
    root = Path(out)
    if not (root / _PROBE).exists():
        return f"{os.uname().nodename} does not see {out}"

    def done(steps: int, what: str) -> None:
        messages.put((steps, what))

    with one_thread(), working_for(root):
        _live(Study.model_validate_json(study_json), Task(*task), root, {}, done)
    return ""


def _on_ray(study: Study, out: Path, tasks: Sequence[Task], workers: int, done: Done) -> None:
    root = out.resolve()
    with ray_cluster(workers) as ray:
        from ray.util.queue import Empty, Queue

        messages = Queue()
        remote = ray.remote(num_cpus=1, max_retries=0)(_remote_task)
        probe = root / _PROBE
        probe.touch()
        try:
            text = ray.put(study.model_dump_json())
            waiting = [remote.remote(text, tuple(task), str(root), messages) for task in tasks]
            while waiting:
                ready, waiting = ray.wait(waiting, timeout=0.2)
                with_messages = True
                while with_messages:
                    try:
                        done(*messages.get_nowait())
                    except (Empty, queues.Empty):
                        with_messages = False
                for wrong in ray.get(ready):
                    if wrong:
                        raise UserError(
                            f"{wrong}; a Ray cluster needs a folder that all its machines share: "
                            "name it with --out"
                        )
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"a Ray worker died ({str(error).splitlines()[0]}); what was finished is in {out} "
                "and the same command goes on from there"
            ) from error
        finally:
            probe.unlink(missing_ok=True)
            messages.shutdown(force=True)
