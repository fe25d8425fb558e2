"""What is installed is what is on the disk: packages, data files, no stray modules."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("audit", "cli", "recommenders", "reports", "simulation")


def settings() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_only_two_python_files_stand_at_the_root() -> None:
    found = {p.name for p in ROOT.glob("*.py")}
    assert found == {"__init__.py", "__main__.py"}


def test_every_package_on_the_disk_is_listed_and_no_other() -> None:
    on_disk = {"loopaudit"} | {
        ".".join(("loopaudit", *p.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for p in (ROOT / room).rglob("__init__.py")
    }
    assert set(settings()["packages"]) == on_disk


def test_every_folder_with_python_in_it_is_a_package() -> None:
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} has no __init__.py"


FLOORS = ("recommenders", "simulation", "audit", "reports")


def test_a_lower_floor_never_imports_a_higher_one() -> None:
    for height, floor in enumerate(FLOORS):
        higher = "|".join((*FLOORS[height + 1 :], "cli"))
        upward = re.compile(
            rf"^\s*from \.{{2,}}({higher})\b|^\s*from \.\.+ import ({higher})\b", re.M
        )
        for file in (ROOT / floor).rglob("*.py"):
            found = upward.search(file.read_text())
            assert found is None, f"{file.relative_to(ROOT)}: {found.group().strip()}"


def test_library_code_imports_relatively() -> None:
    absolute = re.compile(r"^\s*(from|import) loopaudit\b", re.M)
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            code = re.sub(r'"""[\s\S]*?"""', "", file.read_text())
            assert not absolute.search(code), f"{file.relative_to(ROOT)} imports loopaudit.…"


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_every_data_file(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed, and the wheel is built without a network")
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    build = f"-m pip wheel -q --no-deps --no-build-isolation -w {tmp_path} {copy}"
    done = subprocess.run([sys.executable, *build.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("py", "json", "html", "css", "j2", "js", "svg", "typed")
    for room in ROOMS:
        for file in (copy / room).rglob("*"):
            if file.is_file() and file.suffix.lstrip(".") in kinds:
                assert f"loopaudit/{file.relative_to(copy).as_posix()}" in held
    assert {"loopaudit/py.typed", "loopaudit/cli/__init__.py"} <= held
    assert not any(name.startswith(("tests/", "loopaudit/tests")) for name in held)
