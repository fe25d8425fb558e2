"""Fits that are kept: what was fitted once, in the same way on the same data, is read back.

Training a generative recommender takes minutes to hours; measuring it on the validation part and
then on the test, or at other list lengths, needs the fit only once. A fit that is stopped leaves
what it reached beside them (``NAME-DIGEST.unfinished.npz``), and the same fit goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

from .border import Progress, State
from .catalog import Catalog
from .errors import UserError
from .guard import Guard
from .interactions import Interactions
from .unfinished import UnfinishedFit, kept_under_way

_SECONDS = "kept/fit_seconds"


class KeptFits:
    """A folder of fitted recommenders, one ``NAME-DIGEST.npz`` each.

    Args:
        folder: made where it is missing.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"fits cannot be kept in {folder}: {error.strerror}") from None

    def file(
        self,
        name: str,
        args: Mapping[str, object],
        seed: int,
        log: Interactions,
        catalog: Catalog,
    ) -> Path:
        """Where the fit of a recommender on a log lies; every input is in the digest.

        The version of LoopAudit is one of them. Between versions, after a change of a recommender's
        code, the folder must be emptied by hand.
        """
        told = [name, dict(sorted(args.items())), seed, version("loopaudit"), log.n_users]
        told += ["timed"] if log.timed else []
        words = json.dumps([*told, catalog.ids, catalog.titles, catalog.topic_names], default=str)
        digest = hashlib.blake2b(words.encode(), digest_size=8)
        for column in (log.user, log.item, log.step, log.value, log.kind, catalog.topics):
            digest.update(b"" if column is None else np.ascontiguousarray(column).tobytes())
        called = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        return self.folder / f"{called}-{digest.hexdigest()}.npz"

    def read(self, file: Path) -> tuple[State, float] | None:
        """The state and the CPU seconds of its fit, or None where there is none.

        Raises:
            UserError: the file cannot be read.
        """
        kept = _read(file)
        return None if kept is None else (kept, float(kept.pop(_SECONDS)))

    def fitted(
        self,
        file: Path,
        guard: Guard,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> float:
        """Takes the fit that is kept in a file, or fits and keeps it; CPU seconds of the fit."""
        kept = self.read(file)
        if kept is not None:
            guard.load_state(kept[0])
            return kept[1]
        part = file.with_suffix(".unfinished.npz")
        fit = UnfinishedFit(lambda: _read(part), lambda state: _write(part, state))
        with kept_under_way(guard.recommender, fit):
            guard.fit(log, catalog, seed=seed, progress=progress)
        seconds = fit.seconds
        state = guard.state()  # None where it has none to keep
        if state is not None:
            _write(file, {_SECONDS: np.array(seconds), **state})
        part.unlink(missing_ok=True)
        return seconds


def _read(file: Path) -> State | None:
    """The arrays of a file, or None where there is none."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the fit kept in {file} cannot be read ({error}); delete it and it is fitted anew"
        ) from None


def _write(file: Path, arrays: State) -> None:
    """Keeps arrays; whoever is stopped midway leaves no half-written file behind its name."""
    part = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    try:
        np.savez(part, **cast(dict[str, Any], arrays))
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"the fit cannot be kept in {file}: {error.strerror}") from None
