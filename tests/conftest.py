"""What every test shares: the package under its name, one thread, and the way to real data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

# before numpy or torch is imported: two threads beside a busy neighbour are slower than one
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

ROOT = Path(__file__).resolve().parent.parent

if find_spec("loopaudit") is None:  # not installed: the repository root is the package
    _spec = spec_from_file_location(
        "loopaudit", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = module_from_spec(_spec)
    sys.modules["loopaudit"] = _package
    _spec.loader.exec_module(_package)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds real data by its path below the data folder, or skips the test with the reason.

    The folder is the environment's ``LOOPAUDIT_DATA``, else ``shared/data`` beside the checkout.
    Real data may not be redistributed, so they are never in the repository.
    """
    folder = Path(os.environ.get("LOOPAUDIT_DATA") or ROOT.parent / "shared" / "data")

    def find(relative_path: str) -> Path:
        path = folder / relative_path
        if not path.exists():
            pytest.skip(f"no real data: {path} is absent (set LOOPAUDIT_DATA to the data folder)")
        return path

    return find


class SmallDisk:
    """A file system of its own in memory; ``path`` is where it is mounted."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path = path
        self._mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path))

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)

    def resize(self, kilobytes: int) -> None:
        self._mount("-o", f"remount,size={kilobytes}k", str(self.path))

    def read_only(self) -> None:
        self._mount("-o", "remount,ro", str(self.path))

    def remove(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Makes small disks, given their size in kilobytes; skips where nobody may mount one."""
    made: list[SmallDisk] = []

    def make(kilobytes: int) -> SmallDisk:
        path = tmp_path / f"disk-{len(made)}"
        path.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small disk")
        try:
            made.append(SmallDisk(path, kilobytes))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no small disk can be mounted here: {error}")
        return made[-1]

    yield make
    for disk in made:
        disk.remove()
