"""Whatever is damaged in a run directory is named; nothing of it is read or built on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopaudit import cli
from loopaudit.recommenders.errors import CannotWrite, UserError
from loopaudit.simulation.record import journal
from loopaudit.simulation.record.store import DiskStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate

# -- damaged files ------------------------------------------------------------------------------


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
    faults: Any, whole: Path, tmp_path: Path, pattern: str, damage: str
) -> None:
    finished = shutil.copytree(whole, tmp_path / "finished")
    unfinished = tmp_path / "unfinished"
    faults.begun(unfinished)
    for root, use in (
        (finished, lambda: Run.open(finished)),
        (unfinished, lambda: simulate(faults.tiny(), out=unfinished, workers=1)),
    ):
        victim = sorted(root.glob(pattern))[-1]
        DAMAGES[damage](victim)
        said = faults.refused("is damaged", use)
        assert victim.relative_to(root).as_posix() in said
        assert "restore it from a copy" in said


def test_a_checkpoint_that_was_cut_off_is_named(faults: Any, tmp_path: Path) -> None:
    faults.begun(tmp_path / "run")
    (checkpoint,) = (tmp_path / "run").rglob("checkpoint.npz")
    cut(checkpoint)
    faults.refused(
        r"checkpoint\.npz is not the file", lambda: simulate(faults.tiny(), out=tmp_path / "run")
    )


def test_a_file_put_back_from_a_copy_heals_the_run(
    faults: Any, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    faults.begun(out)
    victim = sorted(out.glob("events/*/*/*.parquet"))[0]
    kept = victim.read_bytes()
    flip(victim)
    faults.refused("is damaged", lambda: simulate(faults.tiny(), out=out, workers=1))
    victim.write_bytes(kept)
    simulate(faults.tiny(), out=out, workers=1)
    assert faults.content(out) == faults.content(whole)


@pytest.mark.parametrize("damage", ["a flipped bit", "emptied", "missing"])
def test_a_damaged_journal_is_noticed(faults: Any, tmp_path: Path, damage: str) -> None:
    faults.begun(tmp_path / "run")
    (path,) = (tmp_path / "run" / journal.FOLDER).iterdir()
    DAMAGES[damage](path)
    faults.refused(
        "damaged|did not write", lambda: simulate(faults.tiny(), out=tmp_path / "run", workers=1)
    )


def test_a_file_damaged_while_the_run_goes_on_is_noticed_at_its_end(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    put = DiskStore.put_json

    def damaging(self: DiskStore, name: str, value: Any) -> None:
        put(self, name, value)
        if name == "state/random/w000/done.json":
            flip(sorted(out.glob("events/*/w000/*.parquet"))[0])

    monkeypatch.setattr(DiskStore, "put_json", damaging)
    faults.refused("is damaged: events/", lambda: simulate(faults.tiny(), out=out, workers=1))
    faults.refused("is unfinished", lambda: Run.open(out))


@pytest.mark.parametrize(
    "name", ["events/ease/w000/part-00077.parquet", "worlds/w009/users.parquet", "state/x"]
)
def test_a_file_that_the_run_did_not_write_is_named(
    faults: Any, whole: Path, tmp_path: Path, name: str
) -> None:
    finished, unfinished = shutil.copytree(whole, tmp_path / "finished"), tmp_path / "unfinished"
    faults.begun(unfinished)
    for root in (finished, unfinished):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    faults.refused(f"holds {name}, which the run did not write; move", lambda: Run.open(finished))
    faults.refused(f"holds {name}", lambda: simulate(faults.tiny(), out=unfinished, workers=1))


def test_notes_beside_the_runs_folders_and_hidden_files_do_no_harm(
    whole: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    (root / "notes.txt").write_text("mine")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "events/ease/w000/._part-00000.parquet").write_bytes(b"x")  # what macOS leaves
    before, after = Run.open(whole), Run.open(root)
    assert after.events("ease", 0).collect().equals(before.events("ease", 0).collect())


def test_parts_on_another_disk_behind_a_link_are_read(
    faults: Any, whole: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    shutil.move(root / "events", tmp_path / "elsewhere")
    (root / "events").symlink_to(tmp_path / "elsewhere")
    assert Run.open(root).events("ease", 0).collect().height > 0
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "elsewhere")
    assert Run.open(root).worlds == 1
    flip(tmp_path / "elsewhere/ease/w000/part-00000.parquet")
    faults.refused("damaged: events/ease/w000/part-00000", lambda: Run.open(root))


def test_a_write_never_follows_a_link_out_of_the_directory(faults: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious.json"
    precious.write_text("{}")
    out = tmp_path / "run"
    assert faults.run_until(out, 2)  # the manifest stands, the study is not written yet
    (out / "study.toml").symlink_to(precious)
    simulate(faults.tiny(), out=out, workers=1)
    assert precious.read_text() == "{}"
    assert not (out / "study.toml").is_symlink()


# -- the manifest and the study -----------------------------------------------------------------


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
    faults: Any,
    whole: Path,
    tmp_path: Path,
    what: str,
    state: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "run"
    if state == "finished":
        shutil.copytree(whole, root)
    else:
        faults.begun(root)
    edit, said = EDITS[what]
    edit(root / "manifest.json")
    faults.refused(said, lambda: Run.open(root))
    faults.refused(said, lambda: simulate(faults.tiny(), out=root, workers=1))
    for command in (
        ["audit", str(root)],
        ["simulate", str(root / "study.toml"), "--out", str(root)],
    ):
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(root) in line


AUDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (lambda run: cut(run / "audit.json"), "audit.json cannot be read"),
    "an object": (lambda run: (run / "audit.json").write_text("{}"), "audit the run again"),
    "a list": (lambda run: (run / "audit.json").write_text("[]"), "no audit result; audit again"),
    "another run's": (
        lambda run: shutil.copy(run.parent / "other/audit.json", run / "audit.json"),
        "is about another run than the one beside it; audit again",
    ),
}


def test_a_report_is_of_this_run_or_refused(
    faults: Any, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(
        faults.tiny(study={**faults.study, "seed": 4}, audit={"families": ["bubbles"]}),
        out=tmp_path / "other",
        workers=1,
    )
    run = shutil.copytree(whole, tmp_path / "run")
    for root in (run, tmp_path / "other"):
        bubbles = ["--set", "audit.families=['bubbles']"]
        assert cli.main(["audit", str(root), "--quiet", *bubbles]) in (0, 1, 4)
    capsys.readouterr()
    kept = (run / "audit.json").read_bytes()
    assert cli.main(["report", str(run), "--quiet"]) in (0, 1, 4)
    for damage, said in AUDITS.values():
        (run / "audit.json").write_bytes(kept)
        damage(run)
        assert cli.main(["report", str(run), "--quiet"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert str(run) in line


def test_a_manifest_that_is_gone_leaves_no_run(faults: Any, whole: Path, tmp_path: Path) -> None:
    root = shutil.copytree(whole, tmp_path / "run")
    (root / "manifest.json").unlink()
    faults.refused(r"it has no manifest\.json", lambda: Run.open(root))
    faults.refused(
        "is not empty and is no run directory", lambda: simulate(faults.tiny(), out=root)
    )


def test_an_edited_study_file_is_refused_and_a_missing_one_written_again(
    faults: Any, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    faults.begun(out)
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
    simulate(faults.tiny(), out=out, workers=1)
    assert faults.content(out) == faults.content(whole)


# -- anything, in any order ---------------------------------------------------------------------


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


def happens(faults: Any, out: Path, step: tuple[Any, ...], older: dict[str, bytes]) -> None:
    """One thing that may happen to a run directory between two commands."""
    kind, number, how = step
    if kind == "run":
        older.update(faults.content(out) if out.is_dir() else {})
        faults.run_until(out, number, torn=how)
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
    faults: Any, whole: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    out = folder / "run"
    older: dict[str, bytes] = {}
    said = ""
    try:
        for step in [*steps, ("run", 1_000_000, False)]:
            happens(faults, out, step, older)
        run = Run.open(out)
    except (UserError, CannotWrite) as error:
        said = str(error)
    if said:
        assert "\n" not in said
        assert str(out) in said
    else:
        expected = faults.content(whole)
        found = faults.content(out)
        assert {name: found.get(name) for name in expected} == expected
        planted = found.keys() - expected.keys()
        assert all("/" not in name for name in planted), planted
        assert run.events("ease", 0).collect().height > 0
    shutil.rmtree(folder)


def test_a_folder_in_place_of_the_file_that_was_written_last_is_named(
    faults: Any, tmp_path: Path
) -> None:
    """The last line of a journal may be undone; a folder there is no undone file."""
    out = tmp_path / "run"
    assert faults.run_until(out, 32)
    last = out / "worlds" / "w000" / "topics.json"
    last.unlink()
    last.mkdir()
    faults.refused("is a folder", lambda: simulate(faults.tiny(), out=out, workers=1))
