"""``loopaudit check``: the published contract on somebody's own recommender."""

from __future__ import annotations

import json
import sys
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


CHILD = """
import json, sys, time
mode = sys.argv[1]
if mode == "dies":
    sys.exit("no weights")
if mode == "hangs":
    time.sleep(60)
print(json.dumps({"ready": True, "capabilities": {"history": "none"}}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)["requests"]
    results = [{"items": [f"i{n}" for n in range(r["k"])]} for r in asked]
    print(json.dumps({"results": results}), flush=True)
"""


def test_a_failure_that_many_tests_share_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    command = f"cmd:{sys.executable} {tmp_path / 'child.py'}"
    assert cli.main(["check", f"{command} dies"]) == 1
    told = capsys.readouterr().out
    assert told.count("no weights") == 1
    assert told.count("failed: as 'a batch equals its requests one by one'") > 10


def test_a_process_that_hangs_is_not_waited_for_in_every_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    command = f"cmd:{sys.executable} {tmp_path / 'child.py'} hangs"
    assert cli.main(["check", command, "--set", "start_seconds=0.2", "--json"]) == 1
    told = list(json.loads(capsys.readouterr().out)["tests"].values())
    assert sum("no answer within 0.2 s" in said for said in told) == 2
    assert sum("not tried" in said for said in told) == len(told) - 2


def test_items_that_do_not_exist_are_quoted_as_the_process_wrote_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    assert cli.main(["check", f"cmd:{sys.executable} {tmp_path / 'child.py'} answers"]) == 1
    told = capsys.readouterr().out
    assert "'i0' is not in the catalog; the items of this test, of which fit is told" in told
    assert "2147483647" not in told
