"""``loopaudit check``: the published contract on somebody's own recommender."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopaudit import cli

SOUND = """
import numpy as np

def newest_first(history, k, top=80):
    return [i for i in range(top) if i not in history][:k] if not history else \\
        sorted(range(top), key=lambda i: (abs(i - history[-1]), i))[:k]

class LeaksIntoItsNeighbours:
    name = "leaks"
    def __init__(self):
        from loopaudit.recommenders.border import Capabilities
        self.capabilities = Capabilities(history="none")
    def recommend(self, requests):
        from loopaudit.recommenders.border import Slates
        start = int(requests.users[0])
        items = (np.arange(requests.k) + start) % 80
        return Slates(np.tile(items.astype(np.int32), (len(requests), 1)))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOUND)
    return path


def test_a_sound_function_passes_and_arguments_are_set(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", f"{file}:newest_first", "--set", "top=80", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["tests"]["test_a_batch_equals_its_requests_one_by_one"] == "passed"
    assert not [said for said in held["tests"].values() if said.startswith("failed")]


def test_one_that_leaks_into_its_batch_fails_by_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", f"{file}:LeaksIntoItsNeighbours"]) == 1
    told = capsys.readouterr().out
    assert "permuting the batch permutes the slates" in told
    assert "slates depend on the order of the batch" in told


def test_ratings_are_there_for_whom_needs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "rated.py"
    mine.write_text(
        "import numpy as np\n"
        "from loopaudit.recommenders.border import Capabilities, Slates\n"
        "class Liked:\n"
        "    name, capabilities = 'liked', Capabilities(history='none', update='refit')\n"
        "    def fit(self, log, catalog, *, seed=0, progress=None):\n"
        "        if log.value is None or not 1 <= log.value.min() < log.value.max() <= 5:\n"
        "            raise ValueError('no ratings')\n"
        "        score = np.bincount(log.item, log.value, minlength=len(catalog))\n"
        "        self.ranked = np.argsort(-score, kind='stable').astype(np.int32)\n"
        "    def recommend(self, requests):\n"
        "        return Slates(np.tile(self.ranked[: requests.k], (len(requests), 1)))\n"
    )
    assert cli.main(["check", f"{mine}:Liked", "--quiet"]) == 1
    assert cli.main(["check", f"{mine}:Liked", "--ratings", "--quiet"]) == 0
    assert "0 failed" in capsys.readouterr().out


def test_a_mistake_in_the_name_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "eas"]) == 2
    assert "Did you mean ease" in capsys.readouterr().err
    assert cli.main(["check", "ease", "--set", "reg"]) == 2
    assert "argument=value" in capsys.readouterr().err
