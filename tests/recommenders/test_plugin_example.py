"""A real third-party package is installed with pip, listed, created, proved, run and audited."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "plugin_example"


def install(source: Path, target: Path) -> None:
    """What a user does, offline: no dependencies, no downloads for the build."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(target)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def python(code: str, *sites: Path) -> Any:
    """Run code in a fresh interpreter that sees the installed plug-ins; its JSON output."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sites))}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=sites[0])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in installed."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PLUGIN, folder / "source")  # a build leaves files behind
    install(source, folder / "site")
    try:
        importlib.metadata.distribution("loopaudit")
    except importlib.metadata.PackageNotFoundError:  # tests run on a bare checkout
        (folder / "site" / "loopaudit").symlink_to(ROOT)
    return folder / "site"


def test_an_installed_plugin_is_listed_without_being_imported(site: Path) -> None:
    code = """
import json, sys
from loopaudit.recommenders.registry import entries
rows = [vars(e) for g in ("recommenders", "auditors") for e in entries(g)]
assert "loopaudit_plugin_example" not in sys.modules
print(json.dumps([row for row in rows if row["origin"] != "built-in"]))
"""
    summary = "A recommender by topic and an auditor of repeated exposure"
    rows = python(code, site)
    assert [row["name"] for row in rows] == ["topic-match", "repeated-exposure"]
    for row in rows:
        assert row["origin"] == "loopaudit-plugin-example 0.1.0"
        assert row["summary"] == summary
        assert row["error"] is None


def test_an_installed_recommender_passes_the_published_contract(site: Path) -> None:
    code = """
import json
from functools import partial
from loopaudit.recommenders.registry import create
from loopaudit.recommenders.testing import verify
print(json.dumps(verify(partial(create, "topic-match", {"popularity": 0.2}))))
"""
    results = python(code, site)
    assert len(results) > 15
    assert not {name: said for name, said in results.items() if said.startswith("failed")}
    assert sum(said == "passed" for said in results.values()) > 15


def test_an_installed_recommender_and_auditor_take_part_in_a_study(site: Path) -> None:
    code = """
import json
from loopaudit.audit.auditing import audit_run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
study = Study.model_validate({
    "study": {"steps": 4, "worlds": 3, "arms": ["random"]},
    "world": {"users": 20, "items": 40, "topics": 4, "history": 5.0},
    "people": {"slate": 5},
    "recommenders": [{"name": "topic-match", "retrain_every": 2}],
    "audit": {"families": [], "auditors": ["repeated-exposure"], "sensitivity_worlds": 0},
})
run = simulate(study, out=None)
finding, = audit_run(run).findings
print(json.dumps({
    "key": finding.key, "effect": finding.effect, "units": finding.n_units,
    "verdict": finding.verdict, "faults": run.faults("topic-match")["counts"],
    "values": finding.arm_values,
}))
"""
    said = python(code, site)
    assert said["key"] == "topic-match/repeated-exposure.share"
    assert said["units"] == 3
    assert said["faults"] == {}
    assert said["values"]["target"] > said["values"]["random"]
    assert said["verdict"] == "VIOLATION"


def test_two_distributions_with_one_name_are_an_error_naming_both(
    site: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(PLUGIN, tmp_path / "source")
    (source / "loopaudit_plugin_example").rename(source / "rival")
    text = (source / "pyproject.toml").read_text()
    text = text.replace("loopaudit_plugin_example", "rival")
    text = text.replace("loopaudit-plugin-example", "loopaudit-rival")
    (source / "pyproject.toml").write_text(text)
    install(source, tmp_path / "site")
    code = """
import json
from loopaudit.recommenders import registry
from loopaudit.recommenders.errors import UserError
errors = [e.error for g in ("recommenders", "auditors") for e in registry.entries(g) if e.error]
for call in (lambda: registry.create("topic-match"),
             lambda: registry.make("repeated-exposure", group="auditors")):
    try:
        call()
    except UserError as error:
        errors.append(str(error))
named = registry.create("rival.topic_match:TopicMatch").name
print(json.dumps([errors, named]))
"""
    errors, named = python(code, site, tmp_path / "site")
    assert len(errors) == 6
    for error in errors:
        assert "loopaudit-plugin-example 0.1.0" in error
        assert "loopaudit-rival 0.1.0" in error
    assert named == "topic-match", "it can still be named by module and attribute"
