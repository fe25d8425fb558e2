"""``loopaudit list RECOMMENDER``: what it declares, and what can be set of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from loopaudit import cli
from loopaudit.recommenders.arguments import arguments_of
from loopaudit.recommenders.registry import RECOMMENDERS, create, load, resolve
from loopaudit.reports.inventory import described

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "generating.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_argument_of_a_built_in_recommender_is_explained(name: str) -> None:
    listed = arguments_of(load(resolve(name)))
    assert not [one.name for one in listed if len(one.meaning) < 5]
    assert not [one.name for one in listed if "`" in one.meaning.replace("`seed`", "")]


def test_the_knobs_of_a_model_stand_with_defaults_and_meanings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["list", "diffrec"]) == 0
    told = capsys.readouterr().out
    assert "sampling_steps  0" in told
    assert "each costs one pass of the" in told
    assert all(len(line) <= 120 for line in told.splitlines())
    assert cli.main(["list", "genret", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert "constrained" in [one["name"] for one in held["arguments"]]
    assert ["serves", "any history"] in held["abilities"]
    assert ("lists", "draws its lists") in described("cfgan").abilities


def test_the_page_of_generators_names_arguments_that_exist_and_defaults_that_hold() -> None:
    rows = PAGE.split("|---|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    models: list[str] = []
    for row in rows:
        model, arguments = row.split("|")[1:3]
        models = re.findall(r"`([\w-]+)`", model) or models
        for name in re.findall(r"`(\w+)(?: = [^`]*)?`", arguments):
            for one in models:
                assert name in [a.name for a in described(one).arguments], (one, name)
    assert {a.name: a.default for a in described("cfgan").arguments}["noise_size"] == "8"
    for name, more in [
        ("multvae", {"sample": True}),
        ("textlm", {"sample": True}),
        ("cfgan", {}),
        ("diffrec", {"corrupt_steps": 1}),
        ("list-cvae", {}),
        ("gflownet", {}),
    ]:
        assert create(name, more).capabilities.stochastic, name
    for name in ("genret", "textlm"):
        assert not create(name, {"constrained": False}).capabilities.closed_catalog


def test_keys_of_an_endpoint_are_arguments_of_a_language_model() -> None:
    listed = {one.name: one for one in described("zeroshot").arguments}
    assert listed["budget"].default == "0.0"
    assert "money" in listed["budget"].meaning


def test_what_is_somebody_elses_is_listed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "def near(history, k, seed, width=3):\n"
        '    """Near items.\n\n    Args:\n'
        "        width: how \x1b[31mfar; at most, say: 9.\n"
        '    """\n'
        "    return list(range(k))\n"
    )
    assert [one.name for one in described(f"{mine}:near").arguments] == ["width"]
    assert described(f"{mine}:near").arguments[0].meaning == "how [31mfar; at most, say: 9."
    parts = {one.name: one for one in described("sklearn.decomposition:NMF").arguments}
    assert parts["n_components"].meaning.startswith("Number of components")
    assert parts["tol"].meaning.startswith("Tolerance of the stopping condition")
    assert "memory_mb" in [one.name for one in described("cmd:python x.py").arguments]
    assert "token_env" in [one.name for one in described("http://localhost:1/").arguments]
    assert cli.main(["list", "eas"]) == 2
    assert cli.main(["list", "dataset"]) == 2
    told = capsys.readouterr().err
    assert "unknown recommender 'eas'. Did you mean ease" in told
    assert "unknown kind of name 'dataset'. Did you mean datasets" in told
