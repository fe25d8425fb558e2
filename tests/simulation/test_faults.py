"""Nothing that happens to a run directory ends in a wrong result: a clear refusal, or same bytes.

Kills, damaged files, edited manifests, changed plug-ins and data, two processes, directories that
are read-only, moved, or oddly named.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopaudit import cli
from loopaudit.recommenders.errors import CannotWrite, UserError
from loopaudit.simulation import journal
from loopaudit.simulation.manifest import read_manifest
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.store import DiskStore, Lock
from loopaudit.simulation.study import Study

TINY: dict[str, Any] = {
    "study": {"steps": 24, "worlds": 1, "seed": 3, "arms": ["random", "frozen"]},
    "world": {"users": 20, "items": 40, "topics": 4, "history": 6.0},
    "recommenders": [{"name": "ease", "retrain_every": 6}],
    "audit": {"sensitivity_worlds": 1, "user_models": ["curious"]},
}


def tiny(**tables: Any) -> Study:
    return Study.model_validate({**TINY, **tables})


def content(root: Path) -> dict[str, bytes]:
    return {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file()
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, uninterrupted."""
    root = tmp_path_factory.mktemp("whole") / "run"
    simulate(tiny(), out=root, workers=1)
    return root


@pytest.fixture(scope="module")
def lasting(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How often the tiny study makes something last: the moments at which it can be killed."""
    with pytest.MonkeyPatch.context() as patch:
        power = Power(patch, off_at=1_000_000)
        simulate(tiny(), out=tmp_path_factory.mktemp("counted") / "run", workers=1)
    return 1_000_000 - power.left


def run_until(out: Path, moment: int, *, torn: bool = False, study: Study | None = None) -> bool:
    """Simulate until killed at a moment; False when it was over before."""
    with pytest.MonkeyPatch.context() as patch:
        Power(patch, off_at=moment, torn=torn)
        try:
            simulate(study or tiny(), out=out, workers=1)
        except Killed:
            return True
    return False


def begun(out: Path, *, study: Study | None = None, then: int = 60) -> None:
    """An unfinished run that was killed, went on, and was killed again."""
    assert run_until(out, 30, study=study)
    assert run_until(out, then, study=study)
    assert not read_manifest(out)["finished"]
    assert list(out.glob("events/*/*/*.parquet"))


def refused(said: str, call: Callable[[], object]) -> str:
    with pytest.raises(UserError, match=said) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


# -- kills ---------------------------------------------------------------------------------------


def test_a_tiny_run_is_killed_at_every_kind_of_moment(lasting: int) -> None:
    """Three for each file (it, its journal line, its rename), two for each removal."""
    assert lasting > 100


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_any_moment_a_run_goes_on_to_the_same_bytes(
    whole: Path, lasting: int, tmp_path: Path, torn: bool
) -> None:
    expected = content(whole)
    for moment in range(torn, lasting, 7 if torn else 4):
        out = tmp_path / str(moment)
        assert run_until(out, moment, torn=torn)
        simulate(tiny(), out=out, workers=1)
        assert content(out) == expected, moment
        shutil.rmtree(out)


@pytest.mark.parametrize("moments", [(3, 9, 40, 41, 7), (30, 2, 2, 2, 60), (110, 1, 5, 8, 4)])
def test_killed_again_and_again_a_run_goes_on_to_the_same_bytes(
    whole: Path, tmp_path: Path, moments: tuple[int, ...]
) -> None:
    for number, moment in enumerate(moments):
        run_until(tmp_path / "run", moment, torn=number % 2 == 0)
    simulate(tiny(), out=tmp_path / "run", workers=1)
    assert content(tmp_path / "run") == content(whole)


SUICIDE = """
import os, signal, sys
from pathlib import Path
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study
left, name = int(sys.argv[3]), sys.argv[4]
replace = os.replace
def dying(source, target, **more):
    global left
    left -= name in str(target)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **more)
os.replace = dying
simulate(Study.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]), workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "name"),
    [(0, "manifest.json"), (1, "manifest.json"), (0, "checkpoint.npz"), (2, "checkpoint.npz")],
)
def test_sigkill_while_a_checkpoint_or_the_manifest_is_written(
    whole: Path, tmp_path: Path, times: int, name: str
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", SUICIDE, tiny().model_dump_json(), str(out), str(times), name]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(out.rglob(".*.tmp"))  # what it was writing
    simulate(tiny(), out=out, workers=1)
    assert content(out) == content(whole)


# -- damaged files -------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip,
    "cut off": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "other bytes at the end": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a folder instead": lambda path: (path.unlink(), path.mkdir())[0],
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere"))[0],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "pattern",
    ["events/ease/*/*.parquet", "state/*/*/*.npz", "worlds/*/users.parquet", "state/*/*/done.*"],
)
def test_a_damaged_file_is_named_whether_the_run_is_finished_or_not(
    whole: Path, tmp_path: Path, pattern: str, damage: str
) -> None:
    finished = shutil.copytree(whole, tmp_path / "finished")
    unfinished = tmp_path / "unfinished"
    begun(unfinished)
    for root, use in (
        (finished, lambda: Run.open(finished)),
        (unfinished, lambda: simulate(tiny(), out=unfinished, workers=1)),
    ):
        victim = sorted(root.glob(pattern))[-1]
        DAMAGES[damage](victim)
        said = refused("is damaged", use)
        assert victim.relative_to(root).as_posix() in said
        assert "restore it from a copy" in said


def test_a_checkpoint_that_was_cut_off_is_named(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    (checkpoint,) = (tmp_path / "run").rglob("checkpoint.npz")
    cut(checkpoint)
    refused(r"checkpoint\.npz is not the file", lambda: simulate(tiny(), out=tmp_path / "run"))


def test_a_file_put_back_from_a_copy_heals_the_run(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun(out)
    victim = sorted(out.glob("events/*/*/*.parquet"))[0]
    kept = victim.read_bytes()
    flip(victim)
    refused("is damaged", lambda: simulate(tiny(), out=out, workers=1))
    victim.write_bytes(kept)
    simulate(tiny(), out=out, workers=1)
    assert content(out) == content(whole)


@pytest.mark.parametrize("damage", ["a flipped bit", "emptied", "missing"])
def test_a_damaged_journal_is_noticed(tmp_path: Path, damage: str) -> None:
    begun(tmp_path / "run")
    (path,) = (tmp_path / "run" / journal.FOLDER).iterdir()
    DAMAGES[damage](path)
    refused("damaged|did not write", lambda: simulate(tiny(), out=tmp_path / "run", workers=1))


def test_a_file_damaged_while_the_run_goes_on_is_noticed_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    put = DiskStore.put_json

    def damaging(self: DiskStore, name: str, value: Any) -> None:
        put(self, name, value)
        if name == "state/random/w000/done.json":
            flip(sorted(out.glob("events/*/w000/*.parquet"))[0])

    monkeypatch.setattr(DiskStore, "put_json", damaging)
    refused("is damaged: events/", lambda: simulate(tiny(), out=out, workers=1))
    refused("is unfinished", lambda: Run.open(out))


@pytest.mark.parametrize(
    "name", ["events/ease/w000/part-00077.parquet", "worlds/w009/users.parquet", "state/x"]
)
def test_a_file_that_the_run_did_not_write_is_named(whole: Path, tmp_path: Path, name: str) -> None:
    finished, unfinished = shutil.copytree(whole, tmp_path / "finished"), tmp_path / "unfinished"
    begun(unfinished)
    for root in (finished, unfinished):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    refused(f"holds {name}, which the run did not write; move", lambda: Run.open(finished))
    refused(f"holds {name}", lambda: simulate(tiny(), out=unfinished, workers=1))


def test_notes_beside_the_runs_folders_and_hidden_files_do_no_harm(
    whole: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    (root / "notes.txt").write_text("mine")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "events/ease/w000/._part-00000.parquet").write_bytes(b"x")  # what macOS leaves
    before, after = Run.open(whole), Run.open(root)
    assert after.events("ease", 0).collect().equals(before.events("ease", 0).collect())


def test_parts_on_another_disk_behind_a_link_are_read(whole: Path, tmp_path: Path) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    shutil.move(root / "events", tmp_path / "elsewhere")
    (root / "events").symlink_to(tmp_path / "elsewhere")
    assert Run.open(root).events("ease", 0).collect().height > 0
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "elsewhere")
    assert Run.open(root).worlds == 1
    flip(tmp_path / "elsewhere/ease/w000/part-00000.parquet")
    refused("damaged: events/ease/w000/part-00000", lambda: Run.open(root))


def test_a_write_never_follows_a_link_out_of_the_directory(tmp_path: Path) -> None:
    precious = tmp_path / "precious.json"
    precious.write_text("{}")
    out = tmp_path / "run"
    assert run_until(out, 2)  # the manifest stands, the study is not written yet
    (out / "study.toml").symlink_to(precious)
    simulate(tiny(), out=out, workers=1)
    assert precious.read_text() == "{}"
    assert not (out / "study.toml").is_symlink()


# -- the manifest and the study ------------------------------------------------------------------


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        held = json.loads(path.read_text())
        path.write_text(json.dumps({**held, **changes}, indent=2, sort_keys=True))

    return edit


def without_a_file(path: Path) -> None:
    held = json.loads(path.read_text())
    held["files"] = dict(list(held["files"].items())[1:])
    path.write_text(json.dumps(held))


EDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "finished": (edited(finished=True), "does not fit its own sha256"),
    "unfinished": (edited(finished=False), "does not fit its own sha256"),
    "study": (edited(study={}), "does not fit its own sha256"),
    "file list": (without_a_file, "does not fit its own sha256"),
    "no digest": (edited(sha256=None), "does not fit its own sha256"),
    "another key": (edited(more=1), "does not fit its own sha256"),
    "another schema": (edited(schema=1), "run schema 1, this LoopAudit reads schema"),
    "not JSON": (lambda path: path.write_text("{"), "is no JSON"),
    "not an object": (lambda path: path.write_text("[]"), "is no manifest"),
    "not UTF-8": (lambda path: path.write_bytes(b"\xff\xfe{}"), "cannot be read"),
    "empty": (lambda path: path.write_text(""), "is no JSON"),
}


@pytest.mark.parametrize(
    ("state", "what"),
    [(state, what) for state in ("finished", "unfinished") for what in EDITS if what != state],
)
def test_an_edited_manifest_is_refused_and_never_read(
    whole: Path, tmp_path: Path, what: str, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "run"
    if state == "finished":
        shutil.copytree(whole, root)
    else:
        begun(root)
    edit, said = EDITS[what]
    edit(root / "manifest.json")
    refused(said, lambda: Run.open(root))
    refused(said, lambda: simulate(tiny(), out=root, workers=1))
    for command in (
        ["audit", str(root)],
        ["simulate", str(root / "study.toml"), "--out", str(root)],
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(root) in line


def test_a_manifest_that_is_gone_leaves_no_run(whole: Path, tmp_path: Path) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    (root / "manifest.json").unlink()
    refused(r"it has no manifest\.json", lambda: Run.open(root))
    refused("is not empty and is no run directory", lambda: simulate(tiny(), out=root))


def test_an_edited_study_file_is_refused_and_a_missing_one_written_again(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    begun(out)
    kept = (out / "study.toml").read_text()
    again = ["simulate", str(out / "study.toml"), "--out", str(out), "--workers", "1"]
    (out / "study.toml").write_text(kept.replace("steps = 24", "steps = 25"))
    assert cli.main(again) == 2
    assert "[study] steps is 24 there, 25 here" in capsys.readouterr().err
    (out / "study.toml").write_text(kept.replace("steps = 24", "steps = "))
    assert cli.main(again) == 2
    assert "study.toml is not valid TOML" in capsys.readouterr().err
    (out / "study.toml").write_text(kept + "# a note\n")  # the same study, another file
    assert cli.main(again) == 2
    assert "study.toml is not the file that was written" in capsys.readouterr().err
    (out / "study.toml").unlink()
    (out / "plan.json").unlink()  # the command's own, says when it was declared
    simulate(tiny(), out=out, workers=1)
    assert content(out) == content(whole)


# -- what a run is made with ---------------------------------------------------------------------

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


def plugged(name: str, **more: Any) -> Study:
    return tiny(recommenders=[{"name": name, "retrain_every": 6, **more}])


def changed_and_restored(out: Path, study: Study, file: Path, said: str) -> None:
    """Stop, change a file, be refused, restore it, and end with the bytes of a whole run."""
    simulate(study, out=out.with_name("whole"), workers=1)
    begun(out, study=study)
    kept, seen = file.read_bytes(), file.stat()
    file.write_bytes(kept.replace(b"-log", b"+log") if b"-log" in kept else kept + b"#")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as a clock set back would have it
    text = refused(said, lambda: simulate(study, out=out, workers=1))
    assert "restore it, or choose another --out" in text
    file.write_bytes(kept)
    simulate(study, out=out, workers=1)
    assert content(out) == content(out.with_name("whole"))


def test_a_file_plugin_changed_between_stop_and_resume_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TRENDING.format(more="", sign="-"))
    study = plugged(f"{file}:Trending")
    changed_and_restored(tmp_path / "run", study, file, r"mine\.py:Trending' changed \(mine\.py\)")


def test_a_neighbour_that_a_file_plugin_imports_counts_as_its_source(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        TRENDING.format(more="from my_words_for_it import SIGN", sign="SIGN * ")
    )
    neighbour = tmp_path / "my_words_for_it.py"
    neighbour.write_text("SIGN = -1\n")
    study = plugged(f"{tmp_path / 'mine.py'}:Trending")
    changed_and_restored(tmp_path / "run", study, neighbour, r"\(my_words_for_it\.py\)")


def test_a_module_plugin_changed_between_stop_and_resume_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "my_faulty_pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("SIGN = -1\n")
    (package / "model.py").write_text(
        TRENDING.format(more="from .inner import SIGN", sign="SIGN * ")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    study = plugged("my_faulty_pkg.model:Trending")
    changed_and_restored(
        tmp_path / "run",
        study,
        package / "inner.py",
        r"'my_faulty_pkg\.model:Trending' changed \(my_faulty_pkg/inner\.py\)",
    )


def test_an_installed_plugin_of_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    study = plugged("my-trending")
    begun(tmp_path / "run", study=study)
    install("1.1")
    refused(
        "'my-trending' was my-dist 1.0 and is my-dist 1.1 now; restore it, or choose another --out",
        lambda: simulate(study, out=tmp_path / "run", workers=1),
    )
    install("1.0")
    simulate(study, out=tmp_path / "run", workers=1)


def test_a_program_that_a_command_names_counts_as_its_source(tmp_path: Path) -> None:
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
    study = tiny(
        study={**TINY["study"], "steps": 12, "arms": ["random"]},
        recommenders=[{"name": f"cmd:python {script}"}],
    )
    begun(tmp_path / "run", study=study, then=14)
    flip(script)
    refused(r"the source of 'cmd:python", lambda: simulate(study, out=tmp_path / "run", workers=1))


def test_a_library_of_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopaudit.simulation import provenance

    begun(tmp_path / "run")
    now = provenance.library_versions()
    monkeypatch.setattr(provenance, "library_versions", lambda: {**now, "numpy": "9.9.9"})
    refused(
        r"numpy was \S+ and is 9\.9\.9 now; install that version again",
        lambda: simulate(tiny(), out=tmp_path / "run", workers=1),
    )
    # a patch of Python decides no byte
    patched = {**now, "python": f"{now['python'].rpartition('.')[0]}.99"}
    monkeypatch.setattr(provenance, "library_versions", lambda: patched)
    simulate(tiny(), out=tmp_path / "run", workers=1)


def ratings(path: Path, *, last: int) -> None:
    rows = [(u, (7 * u + 3 * i) % 30) for u in range(25) for i in range(8)]
    lines = "".join(f"{u},{i}\n" for u, i in [*rows[:-1], (24, last)])
    path.write_text(f"user,item\n{lines}")


def test_a_data_file_changed_between_stop_and_resume_is_named(tmp_path: Path) -> None:
    ratings(tmp_path / "log.csv", last=3)
    study = tiny(
        world={"kind": "dataset", "dataset": str(tmp_path / "log.csv"), "users": 15, "topics": 3}
    )
    simulate(study, out=tmp_path / "whole", workers=1)
    digest = read_manifest(tmp_path / "whole")["data"]["log.csv"]
    assert digest == journal.file_sha256(tmp_path / "log.csv")
    begun(tmp_path / "run", study=study)
    ratings(tmp_path / "log.csv", last=4)
    refused(
        r"the data file log\.csv changed; restore it, or choose another --out",
        lambda: simulate(study, out=tmp_path / "run", workers=1),
    )
    ratings(tmp_path / "log.csv", last=3)
    simulate(study, out=tmp_path / "run", workers=1)
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_data_changed_between_two_runs_of_one_process_are_read_again(tmp_path: Path) -> None:
    study = tiny(
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def first(history, k, weights='', answers=''):\n    return list(range(k))\n"
    )
    (tmp_path / "w.npz").write_bytes(b"weights")
    (tmp_path / "a.jsonl").write_bytes(b"{}\n")
    study = plugged("mine.py:first", args={"weights": "w.npz", "answers": "a.jsonl"})
    begun(tmp_path / "run", study=study)
    (tmp_path / "a.jsonl").write_bytes(b"{}\n{}\n")  # recorded meanwhile
    (tmp_path / "w.npz").write_bytes(b"weightz")
    refused("the file w.npz changed", lambda: simulate(study, out=tmp_path / "run", workers=1))
    (tmp_path / "w.npz").write_bytes(b"weights")
    (tmp_path / "a.jsonl").write_bytes(b"[]\n{}\n")
    refused("the file a.jsonl changed", lambda: simulate(study, out=tmp_path / "run", workers=1))
    (tmp_path / "a.jsonl").write_bytes(b"{}\n{}\n")
    simulate(study, out=tmp_path / "run", workers=1)


def test_a_plugin_edited_while_its_run_goes_on_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(TRENDING.format(more="", sign="-"))
    study = plugged(f"{file}:Trending")
    put = DiskStore.put_json

    def editing(self: DiskStore, name: str, value: Any) -> None:
        put(self, name, value)
        if name.endswith("done.json"):
            file.write_text(TRENDING.format(more="", sign="+"))

    with monkeypatch.context() as patch:
        patch.setattr(DiskStore, "put_json", editing)
        refused("mine.py:Trending' changed", lambda: simulate(study, out=out, workers=1))
    assert len(list(out.rglob("done.json"))) == 1  # nothing was lived with the other one
    file.write_text(TRENDING.format(more="", sign="-"))
    simulate(study, out=out, workers=1)
    simulate(study, out=tmp_path / "whole", workers=1)
    assert content(out) == content(tmp_path / "whole")


def test_a_plugin_changed_after_its_run_is_not_probed_in_its_place(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(TRENDING.format(more="", sign="-"))
    simulate(plugged(f"{file}:Trending"), out=out, workers=1)
    Run.open(out).recommender("mine.Trending", 0)
    file.write_text(TRENDING.format(more="", sign="+"))
    run = Run.open(out)  # what was lived can still be read
    assert run.events("mine.Trending", 0).collect().height > 0
    for probe in (lambda: run.create("mine.Trending"), lambda: run.recommender("mine.Trending", 0)):
        refused("changed .* restore it, or simulate again", probe)


# -- two processes, other places -----------------------------------------------------------------

STUDY_TOML = """
[study]
steps = 30
worlds = 3
arms = ["random"]
[world]
users = 60
items = 80
topics = 5
[[recommenders]]
name = "ease"
[audit]
sensitivity_worlds = 0
families = ["bubbles"]
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `loopaudit ...` in the folder of the test."""
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "loopaudit", *arguments],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_of_processes_on_one_directory_one_writes_and_the_others_are_told(
    started: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("simulate", "study.toml", "--out", "run", "--workers", "1", "--quiet")
    processes = [started(*command) for _ in range(3)]
    told = [process.communicate(timeout=120) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes.count(0) >= 1, told
    assert set(codes) <= {0, 2}, told
    for code, (_, said) in zip(codes, told, strict=True):
        if code == 2:
            (line,) = said.splitlines()
            assert "is being written by another process" in line or "finished run" in line
    alone = started("simulate", "study.toml", "--out", "alone", "--workers", "1", "--quiet")
    alone.communicate(timeout=120)
    run, expected = content(tmp_path / "run"), content(tmp_path / "alone")
    for either in (run, expected):
        del either["plan.json"]  # says when it was declared
    assert run == expected


@pytest.mark.slow
def test_audit_report_and_a_second_simulate_are_told_while_a_run_is_written(
    started: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    first = started("simulate", "study.toml", "--out", "run", "--workers", "1", "--quiet")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("run/events/*/*/*.parquet")):
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)
    for command, said in (
        (["audit", "run"], "run is being written by another process; wait for it to end"),
        (["simulate", "study.toml", "--out", "run"], "is being written by another process"),
        (["report", "run"], "run `loopaudit audit run` first"),
        (["compare", "run", "run"], "run `loopaudit audit run` first"),
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert cli.main(["audit", "run", "--quiet"]) in (0, 1, 4)


def test_a_report_is_not_written_while_another_process_writes(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    with Lock(root):
        assert cli.main(["audit", str(root), "--quiet"]) == 2
    assert "is being written by another process" in capsys.readouterr().err


def test_a_read_only_run_is_read_and_what_must_write_says_so(
    whole: Path,
    small_disk: Callable[[int], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = small_disk(20_000)
    finished = shutil.copytree(whole, disk.path / "finished")
    begun(disk.path / "unfinished")
    disk.read_only()
    assert Run.open(finished).events("ease", 0).collect().height > 0
    for command in (
        ["audit", str(finished)],
        ["simulate", str(finished / "study.toml"), "--out", str(disk.path / "new" / "one")],
        [
            *("simulate", str(disk.path / "unfinished/study.toml")),
            *("--out", str(disk.path / "unfinished")),
        ],
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "nothing can be written to" in line
        assert "Read-only file system" in line
        assert "a copy of it elsewhere" in line


def test_a_directory_below_a_file_or_behind_a_broken_link_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(STUDY_TOML)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out, said in (
        ("file", "is a file"),
        ("file/run", "Not a directory"),
        ("link", "is a link to"),
    ):
        command = ["simulate", str(tmp_path / "study.toml"), "--out", str(tmp_path / out)]
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("name", ["with spaces", "ünïcödé-日本", "a[b]*?{c}", 'it\'s "quoted"'])
def test_a_run_on_an_odd_path_is_stopped_moved_gone_on_with_and_audited(
    whole: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, after = tmp_path / "first place" / "run", tmp_path / name / "run"
    begun(before)
    after.parent.mkdir()
    before.rename(after)
    monkeypatch.chdir(after.parent)
    assert cli.main(["audit", "run"]) == 2
    said = capsys.readouterr().err
    assert "run `loopaudit simulate run/study.toml --out run` to go on" in said
    assert cli.main(["simulate", "run/study.toml", "--out", "run", "--workers", "1"]) == 0
    (after / "plan.json").unlink()
    assert content(after) == content(whole)
    moved = after.rename(tmp_path / name / "again")
    assert Run.open(moved).events("ease", 0).collect().height > 0
    assert cli.main(["audit", str(moved), "--quiet"]) in (0, 1, 4)


def test_the_command_that_goes_on_can_be_pasted(tmp_path: Path) -> None:
    out = tmp_path / "my runs" / "a"
    begun(out)
    said = refused("is unfinished", lambda: Run.open(out))
    assert f"--out '{out}'" in said


def test_clocks_do_not_matter(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun(out)
    for number, path in enumerate(sorted(out.rglob("*"))):
        os.utime(path, (number % 2 * 4e9, number % 3 * 2e9))  # 1970 to 2096
    simulate(tiny(), out=out, workers=1)
    assert content(out) == content(whole)
    assert Run.open(out).worlds == 1


def test_a_run_of_yesterday_is_found_when_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopaudit.simulation.directory import run_directory

    monkeypatch.chdir(tmp_path)
    begun(Path("runs/2099-01-01-study"))
    (tmp_path / "runs/2098-01-01-study").mkdir()
    (tmp_path / "runs/2098-01-01-study/manifest.json").write_text("{")  # somebody else's trouble
    assert run_directory(tiny()) == Path("runs/2099-01-01-study")


def test_a_large_run_is_verified_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(300_000_000)
    tracemalloc.start()
    digest = journal.file_sha256(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest is not None
    assert peak < 5_000_000


# -- anything, in any order ----------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 140), st.booleans()),
    st.tuples(st.just("damage"), st.integers(0, 10_000), st.sampled_from(sorted(DAMAGES))),
    st.tuples(st.just("plant"), st.integers(0, 10_000), st.just("")),
    st.tuples(st.just("swap"), st.integers(0, 10_000), st.integers(0, 10_000)),
    st.tuples(st.just("older"), st.integers(0, 10_000), st.just("")),
    st.tuples(st.just("link"), st.integers(0, 10_000), st.just("")),
)


def picked(out: Path, number: int) -> Path | None:
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"]
    return files[number % len(files)] if files else None


def happens(out: Path, step: tuple[Any, ...], older: dict[str, bytes]) -> None:
    """One thing that may happen to a run directory between two commands."""
    kind, number, how = step
    if kind == "run":
        older.update(content(out) if out.is_dir() else {})
        run_until(out, number, torn=how)
        return
    path = picked(out, number)
    if path is None:
        return
    name = path.relative_to(out).as_posix()
    if kind == "damage":
        DAMAGES[how](path)
    elif kind == "plant":
        (path.parent / "part-00009.parquet").write_bytes(b"PAR1")
    elif kind == "swap":
        other = picked(out, how)
        assert other is not None
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)
    elif kind == "older" and name in older:
        path.write_bytes(older[name])
    elif kind == "link":
        moved = out.parent / f"moved-{number}"
        shutil.move(path, moved)
        path.symlink_to(moved)


@pytest.mark.slow
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_whatever_happens_a_run_ends_in_refusal_or_in_the_same_bytes(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    out = folder / "run"
    older: dict[str, bytes] = {}
    said = ""
    try:
        for step in [*steps, ("run", 1_000_000, False)]:
            happens(out, step, older)
        run = Run.open(out)
    except (UserError, CannotWrite) as error:
        said = str(error)
    if said:
        assert "\n" not in said
        assert str(out) in said
    else:
        expected = content(whole)
        found = content(out)
        assert {name: found.get(name) for name in expected} == expected
        planted = found.keys() - expected.keys()
        assert all("/" not in name for name in planted), planted
        assert run.events("ease", 0).collect().height > 0
    shutil.rmtree(folder)
