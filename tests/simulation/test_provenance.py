"""What a run is made with: a plug-in, a library or data that changed are named, with the cure."""

from __future__ import annotations

import importlib
import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loopaudit as la
from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.simulation.record import journal
from loopaudit.simulation.record.manifest import read_manifest
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

TRENDING = """
import numpy as np
from loopaudit.recommenders.border import Capabilities, Slates
{more}

class Trending:
    name, capabilities = "trending", Capabilities(update="refit")

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.ranked = np.argsort({sign}log.popularity(), kind="stable").astype(np.int32)

    def recommend(self, requests):
        return Slates(np.tile(self.ranked[: requests.k], (len(requests), 1)))
"""


def plugged(faults: Any, name: str, **more: Any) -> Study:
    return faults.tiny(recommenders=[{"name": name, "retrain_every": 6, **more}])


def changed_and_restored(faults: Any, out: Path, study: Study, file: Path, said: str) -> None:
    """Stop, change a file, be refused, restore it, and end with the bytes of a whole run."""
    simulate(study, out=out.with_name("whole"), workers=1)
    faults.begun(out, study=study)
    kept, seen = file.read_bytes(), file.stat()
    file.write_bytes(kept.replace(b"-log", b"+log") if b"-log" in kept else kept + b"#")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as a clock set back would have it
    text = faults.refused(said, lambda: simulate(study, out=out, workers=1))
    assert "restore it, or choose another --out" in text
    file.write_bytes(kept)
    simulate(study, out=out, workers=1)
    assert faults.content(out) == faults.content(out.with_name("whole"))


def test_a_file_plugin_changed_between_stop_and_resume_is_named(
    faults: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TRENDING.format(more="", sign="-"))
    study = plugged(faults, f"{file}:Trending")
    changed_and_restored(
        faults, tmp_path / "run", study, file, r"mine\.py:Trending' changed \(mine\.py\)"
    )


def test_a_neighbour_that_a_file_plugin_imports_counts_as_its_source(
    faults: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        TRENDING.format(more="from my_words_for_it import SIGN", sign="SIGN * ")
    )
    neighbour = tmp_path / "my_words_for_it.py"
    neighbour.write_text("SIGN = -1\n")
    study = plugged(faults, f"{tmp_path / 'mine.py'}:Trending")
    changed_and_restored(faults, tmp_path / "run", study, neighbour, r"\(my_words_for_it\.py\)")


def test_a_module_plugin_changed_between_stop_and_resume_is_named(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "my_faulty_pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("SIGN = -1\n")
    (package / "model.py").write_text(
        TRENDING.format(more="from .inner import SIGN", sign="SIGN * ")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    study = plugged(faults, "my_faulty_pkg.model:Trending")
    changed_and_restored(
        faults,
        tmp_path / "run",
        study,
        package / "inner.py",
        r"'my_faulty_pkg\.model:Trending' changed \(my_faulty_pkg/inner\.py\)",
    )


def test_an_installed_plugin_of_another_version_is_named(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "my_dist_mod.py").write_text(TRENDING.format(more="", sign="-"))

    def install(version: str) -> None:
        for old in site.glob("*.dist-info"):
            shutil.rmtree(old)
        info = site / f"my_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: my-dist\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(
            "[loopaudit.recommenders]\nmy-trending = my_dist_mod:Trending\n"
        )

    install("1.0")
    monkeypatch.syspath_prepend(str(site))
    study = plugged(faults, "my-trending")
    faults.begun(tmp_path / "run", study=study)
    install("1.1")
    faults.refused(
        "'my-trending' was my-dist 1.0 and is my-dist 1.1 now; restore it, or choose another --out",
        lambda: simulate(study, out=tmp_path / "run", workers=1),
    )
    install("1.0")
    simulate(study, out=tmp_path / "run", workers=1)


def test_a_program_that_a_command_names_counts_as_its_source(faults: Any, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        textwrap.dedent(
            """
            import json, sys
            print(json.dumps({"ready": True}), flush=True)
            for line in sys.stdin:
                rows = json.loads(line)["requests"]
                print(json.dumps({"results": [{"items": []} for _ in rows]}), flush=True)
            """
        )
    )
    study = faults.tiny(
        study={**faults.study, "steps": 12, "arms": ["random"]},
        recommenders=[{"name": f"cmd:python {script}"}],
    )
    faults.begun(tmp_path / "run", study=study, saved=False)
    faults.flip(script)
    faults.refused(
        r"the source of 'cmd:python", lambda: simulate(study, out=tmp_path / "run", workers=1)
    )


def test_a_library_of_another_version_is_named(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopaudit.simulation.record import provenance

    faults.begun(tmp_path / "run")
    now = provenance.library_versions()
    monkeypatch.setattr(provenance, "library_versions", lambda: {**now, "numpy": "9.9.9"})
    faults.refused(
        r"numpy was \S+ and is 9\.9\.9 now; install that version again",
        lambda: simulate(faults.tiny(), out=tmp_path / "run", workers=1),
    )
    # a patch of Python decides no byte
    patched = {**now, "python": f"{now['python'].rpartition('.')[0]}.99"}
    monkeypatch.setattr(provenance, "library_versions", lambda: patched)
    simulate(faults.tiny(), out=tmp_path / "run", workers=1)


def ratings(path: Path, *, last: int) -> None:
    rows = [(u, (7 * u + 3 * i) % 30) for u in range(25) for i in range(8)]
    lines = "".join(f"{u},{i}\n" for u, i in [*rows[:-1], (24, last)])
    path.write_text(f"user,item\n{lines}")


def test_a_data_file_changed_between_stop_and_resume_is_named(faults: Any, tmp_path: Path) -> None:
    ratings(tmp_path / "log.csv", last=3)
    study = faults.tiny(
        world={"kind": "dataset", "dataset": str(tmp_path / "log.csv"), "users": 15, "topics": 3}
    )
    simulate(study, out=tmp_path / "whole", workers=1)
    digest = read_manifest(tmp_path / "whole")["data"]["log.csv"]
    assert digest == journal.file_sha256(tmp_path / "log.csv")
    faults.begun(tmp_path / "run", study=study)
    ratings(tmp_path / "log.csv", last=4)
    faults.refused(
        r"the data file log\.csv changed; restore it, or choose another --out",
        lambda: simulate(study, out=tmp_path / "run", workers=1),
    )
    ratings(tmp_path / "log.csv", last=3)
    simulate(study, out=tmp_path / "run", workers=1)
    assert faults.content(tmp_path / "run") == faults.content(tmp_path / "whole")


def test_data_changed_between_two_runs_of_one_process_are_read_again(
    faults: Any, tmp_path: Path
) -> None:
    study = faults.tiny(
        world={"kind": "dataset", "dataset": str(tmp_path / "log.csv"), "users": 15, "topics": 3}
    )
    histories = []
    for number, last in enumerate((3, 29)):
        ratings(tmp_path / "log.csv", last=last)
        run = simulate(study, out=tmp_path / str(number), workers=1)
        histories.append(run.catalog(0).titles)
        histories.append(sorted(run.history(0).item.tolist()))
    assert histories[:2] != histories[2:]


def test_a_file_that_an_argument_names_counts_and_a_record_of_answers_may_grow(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def first(history, k, weights='', answers='', model=''):\n    return list(range(k))\n"
    )
    (tmp_path / "w.npz").write_bytes(b"weights")
    (tmp_path / "a.jsonl").write_bytes(b"{}\n")
    (tmp_path / "models/mine").mkdir(parents=True)
    (tmp_path / "models/mine/layer-1").write_bytes(b"weights")
    args = {"weights": "w.npz", "answers": "a.jsonl", "model": "models/mine"}
    study = plugged(faults, "mine.py:first", args=args)
    faults.begun(tmp_path / "run", study=study)
    (tmp_path / "a.jsonl").write_bytes(b"{}\n{}\n")  # recorded meanwhile
    (tmp_path / "w.npz").write_bytes(b"weightz")
    faults.refused(
        "the file w.npz changed", lambda: simulate(study, out=tmp_path / "run", workers=1)
    )
    (tmp_path / "w.npz").write_bytes(b"weights")
    (tmp_path / "models/mine/layer-1").write_bytes(b"weightz")
    faults.refused("the folder models/mine changed", lambda: simulate(study, out=tmp_path / "run"))
    (tmp_path / "models/mine/layer-1").write_bytes(b"weights")
    (tmp_path / "a.jsonl").write_bytes(b"[]\n{}\n")
    faults.refused(
        "the file a.jsonl changed", lambda: simulate(study, out=tmp_path / "run", workers=1)
    )
    (tmp_path / "a.jsonl").write_bytes(b"{}\n{}\n")
    simulate(study, out=tmp_path / "run", workers=1)


def test_a_plugin_edited_while_its_run_goes_on_stops_it(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(TRENDING.format(more="", sign="-"))
    study = plugged(faults, f"{file}:Trending")
    put = DiskStore.put_json

    def editing(self: DiskStore, name: str, value: Any) -> None:
        put(self, name, value)
        if name.endswith("done.json"):
            file.write_text(TRENDING.format(more="", sign="+"))

    with monkeypatch.context() as patch:
        patch.setattr(DiskStore, "put_json", editing)
        faults.refused("mine.py:Trending' changed", lambda: simulate(study, out=out, workers=1))
    assert len(list(out.rglob("done.json"))) == 1  # nothing was lived with the other one
    file.write_text(TRENDING.format(more="", sign="-"))
    simulate(study, out=out, workers=1)
    simulate(study, out=tmp_path / "whole", workers=1)
    assert faults.content(out) == faults.content(tmp_path / "whole")


def test_a_plugin_changed_after_its_run_is_not_probed_in_its_place(
    faults: Any, tmp_path: Path
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(TRENDING.format(more="", sign="-"))
    simulate(plugged(faults, f"{file}:Trending"), out=out, workers=1)
    Run.open(out).recommender("mine.Trending", 0)
    file.write_text(TRENDING.format(more="", sign="+"))
    run = Run.open(out)  # what was lived can still be read
    assert run.events("mine.Trending", 0).collect().height > 0
    for probe in (lambda: run.create("mine.Trending"), lambda: run.recommender("mine.Trending", 0)):
        faults.refused("changed .* restore it, or simulate again", probe)
    file.unlink()
    faults.refused(
        "mine.py, which belongs to .* is not there; restore it, go where the run was begun, or",
        lambda: run.create("mine.Trending"),
    )


def test_a_finished_run_is_not_read_in_place_of_one_with_another_plugin(
    faults: Any, tmp_path: Path
) -> None:
    """As when a cell of a notebook is run again after mine.py was edited."""
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(TRENDING.format(more="", sign="-"))
    study = plugged(faults, f"{file}:Trending")
    simulate(study, out=out, workers=1)
    assert simulate(study, out=out, workers=1).worlds == 1
    file.write_text(TRENDING.format(more="", sign="+"))
    faults.refused("changed .* choose another --out", lambda: simulate(study, out=out, workers=1))


def test_a_class_that_only_this_process_knows_counts_by_its_source(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class First:
        name, capabilities = "first", Capabilities()

        def recommend(self, requests: Any) -> Slates:
            return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))

    class Second(First):
        pass

    study = faults.tiny(recommenders=[{"name": "first"}])
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(DiskStore, "put_arrays", stop)
        with pytest.raises(KeyboardInterrupt):
            simulate(study, out=out, factories={"first": First})
    faults.refused(
        "the source of 'first' changed",
        lambda: simulate(study, out=out, factories={"first": Second}),
    )
    simulate(study, out=out, factories={"first": First})


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_another_kind_of_machine_is_named(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platform

    faults.begun(tmp_path / "run")
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    faults.refused(
        r"the machine was .* and is \S+ pdp11 now; go on there, or choose another --out",
        lambda: simulate(faults.tiny(), out=tmp_path / "run", workers=1),
    )


def test_a_class_given_by_an_importable_module_is_known_to_other_processes(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    module = tmp_path / "site" / "my_given_module.py"
    module.write_text(TRENDING.format(more="", sign="-"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    given = importlib.import_module("my_given_module").Trending
    world = la.World.synthetic(users=20, items=40, topics=4, seed=3)
    quick = {"arms": ["random"], "steps": 12, "worlds": 1}
    la.simulate(world, given, out=tmp_path / "run", **quick)
    assert Run.open(tmp_path / "run").create("Trending") is not None
    module.write_text(TRENDING.format(more="", sign="+"))
    faults.refused(
        r"'my_given_module:Trending' changed \(my_given_module\.py\)",
        lambda: Run.open(tmp_path / "run").create("Trending"),
    )
