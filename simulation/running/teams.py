"""Shards at work side by side: in this process, in processes of this machine, or as Ray actors."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...recommenders.errors import UserError
from ..record.store import DiskStore, Store, working_for
from ..study import Study
from ..world import forget_origins
from .driver import ShardedArm
from .executors import fresh_interpreters, one_thread, ray_cluster
from .shards import Shard, Spec, Team, TeamFactory


def made(spec: Spec, store: Store | None = None) -> Shard:
    """The shard of a spec, writing into its run directory, or into ``store``."""
    if store is None or spec.out:  # a writer of its own: its journal is its own
        writer = f"w{spec.world:03d}-{spec.arm}-s{spec.number:03d}"
        store = DiskStore(Path(spec.out), writer=writer)
    return Shard(spec, store)


class LocalTeam:
    """Shards in this process, one after the other."""

    def __init__(self, specs: Sequence[Spec], store: Store) -> None:
        self.shards = [made(spec, store) for spec in specs]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """See Team."""
        return [getattr(shard, method)(*arguments) for shard in self.shards]

    def each(self, method: str, arguments: list[Any]) -> list[Any]:
        """See Team."""
        pairs = zip(self.shards, arguments, strict=True)
        return [getattr(shard, method)(argument) for shard, argument in pairs]

    def close(self) -> None:
        """Nobody to let go."""


class ProcessTeam:
    """Shards in processes of this machine, several a process if there are fewer of these.

    Args:
        specs: of the shards; workers: processes at most.

    Raises:
        RuntimeError: (from any call) a process died.
    """

    def __init__(self, specs: Sequence[Spec], store: Store, *, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        n = min(workers, len(specs))
        self._lines: list[Connection] = []
        self._processes = []
        with fresh_interpreters():
            for number in range(n):
                ours, theirs = context.Pipe()
                own = [tuple(spec) for spec in specs[number::n]]
                process = context.Process(target=_serve, args=(theirs, own), daemon=True)
                process.start()
                theirs.close()
                self._lines.append(ours)
                self._processes.append(process)
        self._n = len(specs)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """See Team."""
        return self._told(method, [arguments] * self._n)

    def each(self, method: str, arguments: list[Any]) -> list[Any]:
        """See Team."""
        return self._told(method, [(argument,) for argument in arguments])

    def _told(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        found: list[Any] = [None] * self._n
        n = len(self._lines)
        try:
            for number, line in enumerate(self._lines):
                line.send((method, arguments[number::n]))
            for number, line in enumerate(self._lines):
                answer = line.recv()
                if isinstance(answer, BaseException):
                    raise answer
                found[number::n] = answer
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(
                "a process that lived a shard died (out of memory, or killed); what was finished "
                "is kept and the same command goes on from there"
            ) from error
        return found

    def close(self) -> None:
        """End the processes."""
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()


def _serve(line: Connection, specs: list[tuple[Any, ...]]) -> None:
    """A process's life: do what comes down the line until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    several = [Spec(*spec) for spec in specs]
    with ExitStack() as held:
        held.enter_context(one_thread())
        held.enter_context(_working(several[0].out))
        shards: list[Shard] | None = None
        while True:
            try:
                method, arguments = line.recv()
            except EOFError:
                return
            try:
                if shards is None:
                    shards = [made(spec) for spec in several]
                    forget_origins()  # the rest of the market is others'
                pairs = zip(shards, arguments, strict=True)
                line.send([getattr(shard, method)(*own) for shard, own in pairs])
            except BaseException as error:
                line.send(error)
                return


def _working(out: str) -> AbstractContextManager[Any]:
    return working_for(Path(out))


class RayTeam:
    """Shards as actors of a Ray cluster, one CPU each; see executors.ray_cluster."""

    def __init__(self, specs: Sequence[Spec], store: Store, *, workers: int) -> None:
        self._held = ExitStack()
        self._ray = self._held.enter_context(ray_cluster(workers))
        actor = self._ray.remote(num_cpus=1)(_Actor)
        self._actors = [actor.remote(tuple(spec)) for spec in specs]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """See Team."""
        held = [self._ray.put(one) for one in arguments]  # sent once a machine, not an actor
        return self._answers([a.call.remote(method, *held) for a in self._actors])

    def each(self, method: str, arguments: list[Any]) -> list[Any]:
        """See Team."""
        pairs = zip(self._actors, arguments, strict=True)
        return self._answers([actor.call.remote(method, argument) for actor, argument in pairs])

    def _answers(self, asked: list[Any]) -> list[Any]:
        ray = self._ray
        try:
            answers: list[Any] = ray.get(asked)
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"a Ray worker that lived a shard died ({str(error).splitlines()[0]}); what was "
                "finished is kept and the same command goes on from there"
            ) from error
        return answers

    def close(self) -> None:
        """Let the actors go."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._held.close()


class _Actor:
    """One shard on a Ray worker."""

    def __init__(self, spec: tuple[Any, ...]) -> None:
        out = Path(Spec(*spec).out)
        if not (out / "manifest.json").exists():
            raise UserError(
                f"{os.uname().nodename} does not see {out}; a Ray cluster needs a folder that all "
                "its machines share: name it with --out"
            )
        self._held = ExitStack()
        self._held.enter_context(one_thread())
        self._held.enter_context(_working(Spec(*spec).out))
        self._shard = made(Spec(*spec))
        forget_origins()  # the rest of the market is others'

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the shard returns."""
        return getattr(self._shard, method)(*arguments)


def sharded(study: Study, executor: str, workers: int) -> Callable[..., ShardedArm]:
    """What lives an arm in shards, for live.live_world.

    Args:
        study: as read; executor: "serial", "processes" or "ray"; workers: at most, 0 for all.
    """
    return partial(ShardedArm, whole=study, team=team_of(executor, workers))


def team_of(executor: str, workers: int) -> TeamFactory:
    """How shards are put to work: "serial", "processes" or "ray"."""

    def factory(specs: Sequence[Spec], store: Store) -> Team:
        in_memory = not specs[0].out
        if executor == "ray" and not in_memory:
            return RayTeam(specs, store, workers=workers)
        n = workers or os.cpu_count() or 1
        if executor == "processes" and n > 1 and len(specs) > 1 and not in_memory:
            return ProcessTeam(specs, store, workers=n)
        return LocalTeam(specs, store)

    return factory
