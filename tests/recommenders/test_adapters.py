"""Which adapter an object gets: by where its class was written, without importing anything."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.plugins.adapters import ADAPTERS, Adapter, adapter_of


def test_nothing_of_a_library_is_imported_to_decide_or_to_list() -> None:
    packages = [adapter.package for adapter in ADAPTERS]
    code = (
        "import sys; from loopaudit.cli import main; main(['list', 'libraries', '--quiet']);"
        "from loopaudit.recommenders import registry; registry.create('ease');"
        f"print([p for p in {packages!r} if p in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_adapter_names_an_extra_that_exists() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads(
        (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    for adapter in ADAPTERS:
        if not adapter.extra:
            assert adapter.cure
            continue
        wanted = project["optional-dependencies"][adapter.extra]
        assert any(adapter.distribution in one for one in wanted)


def library(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class that says it is implicit's, although it has nothing of it."""
    module = types.ModuleType("implicit.imagined")
    monkeypatch.setitem(sys.modules, "implicit.imagined", module)
    made = type("Model", (), {"__module__": "implicit.imagined", "recommend": lambda self: None})
    return made


def test_a_class_derived_from_a_librarys_goes_to_its_adapter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = library(monkeypatch)
    mine = type("Mine", (theirs,), {"__module__": "my_code"})
    for thing in (theirs, theirs(), mine, mine()):
        adapter = adapter_of(thing)
        assert adapter is not None
        assert adapter.library == "implicit"


def test_what_speaks_the_border_itself_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(library(monkeypatch)):  # type: ignore[misc]
        name, capabilities = "mine", Capabilities()

        def recommend(self, requests: object) -> Slates:
            raise NotImplementedError

    assert adapter_of(Mine) is None
    tables, factories = registry.name_objects([Mine])
    assert factories[str(tables[0]["label"])]().name == "mine"


def test_a_library_that_cannot_be_used_is_said_with_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Adapter(
        "implicit", "implicit", "implicit", "no_such_module_x:Y", "implicit:Z", "implicit"
    )
    monkeypatch.setattr("loopaudit.recommenders.plugins.adapters._BY_PACKAGE", (broken,))
    with pytest.raises(UserError, match=r"loopaudit\[implicit\]") as caught:
        registry.name_objects([library(monkeypatch)])
    assert "no_such_module_x" in str(caught.value)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    monkeypatch.setitem(sys.modules, "implicit.als", None)
    with pytest.raises(UserError, match=r"pip install 'loopaudit\[implicit\]'"):
        registry.create("implicit.als:AlternatingLeastSquares")
