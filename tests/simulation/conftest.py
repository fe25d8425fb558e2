"""What tests of broken runs share: a tiny study, kills at chosen moments, a whole run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.record.manifest import read_manifest
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

TINY: dict[str, Any] = {
    "study": {"steps": 24, "worlds": 1, "seed": 3, "arms": ["random", "frozen"]},
    "world": {"users": 20, "items": 40, "topics": 4, "history": 6.0},
    "recommenders": [{"name": "ease", "retrain_every": 6}],
    "audit": {"sensitivity_worlds": 1, "user_models": ["curious"]},
}


class Killed(BaseException):
    """What a kill looks like to a process that is tested from inside."""


class Power:
    """Goes off at the n-th time that something is made to last: a file, a line of a journal, a
    rename, a removal. What was being written is then cut in half, or whole, but not in place.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, off_at: int, torn: bool = False) -> None:
        self.left, self.torn, self.off = off_at, torn, False
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def at(call: Callable[..., None]) -> Callable[..., None]:
            def instead(*args: Any, **kwargs: Any) -> None:
                self._lasts(args[0] if call is fsync else None)
                call(*args, **kwargs)

            return instead

        monkeypatch.setattr(os, "fsync", at(fsync))
        monkeypatch.setattr(os, "replace", at(replace))
        monkeypatch.setattr(os, "unlink", at(unlink))

    def _lasts(self, file: int | None) -> None:
        if self.off:  # what runs after a kill here would not run after a real one
            return
        self.left -= 1
        if self.left >= 0:
            return
        self.off = True
        if file is not None and self.torn:
            size = os.fstat(file).st_size
            os.ftruncate(file, max(size - 7, size // 2))
        raise Killed


class Faults:
    """What tests of broken runs share; handed to them by the fixture of that name."""

    study = TINY["study"]

    @staticmethod
    def tiny(**tables: Any) -> Study:
        return Study.model_validate({**TINY, **tables})

    @staticmethod
    def content(root: Path) -> dict[str, bytes]:
        return {
            p.relative_to(root).as_posix(): p.read_bytes()
            for p in sorted(root.rglob("*"))
            if p.is_file()
        }

    @staticmethod
    def run_until(
        out: Path, moment: int, *, torn: bool = False, study: Study | None = None
    ) -> bool:
        """Simulate until killed at a moment; False when it was over before."""
        with pytest.MonkeyPatch.context() as patch:
            Power(patch, off_at=moment, torn=torn)
            try:
                simulate(study or Faults.tiny(), out=out, workers=1)
            except Killed:
                return True
        return False

    @staticmethod
    def begun(out: Path, *, study: Study | None = None, saved: bool = True) -> None:
        """An unfinished run, killed repeatedly: an arm is complete, another has a checkpoint."""
        assert Faults.run_until(out, 30, study=study)
        for more in range(20):
            complete = Faults.checkpoints(out) and list(out.rglob("done.json"))
            if list(out.glob("events/*/*/*.parquet")) and (complete or not saved):
                break
            assert Faults.run_until(out, 25 + 5 * more, study=study)  # less would get nowhere
        assert not read_manifest(out)["finished"]
        assert list(out.glob("events/*/*/*.parquet"))
        assert read_manifest(out)["session"] >= 1 or Faults.run_until(out, 5, study=study)

    @staticmethod
    def checkpoints(out: Path) -> list[Path]:
        """The checkpoints in a run directory."""
        return sorted(out.rglob("checkpoint*.npz"))

    @staticmethod
    def refused(said: str, call: Callable[[], object]) -> str:
        with pytest.raises(UserError, match=said) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text
        return text

    @staticmethod
    def flip(path: Path) -> None:
        """Flip one bit in the middle of a file."""
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    @staticmethod
    def lasting(out: Path, *, study: Study | None = None) -> int:
        """How often a study makes something last: the moments at which it can be killed."""
        with pytest.MonkeyPatch.context() as patch:
            power = Power(patch, off_at=1_000_000)
            simulate(study or Faults.tiny(), out=out, workers=1)
        return 1_000_000 - power.left


@pytest.fixture(scope="session")
def faults() -> Faults:
    """A tiny study and ways to break a run of it."""
    return Faults()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, uninterrupted."""
    root = tmp_path_factory.mktemp("whole") / "run"
    simulate(Faults.tiny(), out=root, workers=1)
    return root


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many moments there are at which the tiny study can be killed."""
    return Faults.lasting(tmp_path_factory.mktemp("counted") / "run")
