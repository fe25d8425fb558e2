"""The event log: compact or full, the same rows; lazy; read without being put together first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.audit.auditing import audit_run
from loopaudit.recommenders.border import Capabilities, Slates
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.platform.shown import bits
from loopaudit.simulation.record import events
from loopaudit.simulation.record.events import COLUMNS, expanded
from loopaudit.simulation.record.tables import LISTS, VISITS
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study_file import study_from

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("compact", "full")


def study(*recommenders, **tables):
    return study_from(
        {
            "study": {
                "steps": 23,
                "worlds": 2,
                "seed": 4,
                "log_scores": True,
                **tables.pop("study", {}),
            },
            "world": {"users": 40, "items": 60, "topics": 5, "history": 6.0},
            "recommenders": list(recommenders),
            "audit": {"sensitivity_worlds": 0, **tables.pop("audit", {})},
            **tables,
        },
        source="study.toml",
    )


TELLING = [
    {"share": 0.5, "label": "quiet"},
    {
        "share": 0.5,
        "label": "loud",
        "feedback": ["rating", "dwell", {"law": "not-interested", "rate": 0.4}],
    },
]


@pytest.mark.parametrize(
    "schedule",
    [{}, {"refresh_every": 3, "list_length": 15}, {"refresh_every": 25, "list_length": 12}],
    ids=["every step", "paged", "old lists"],
)
@pytest.mark.parametrize("users", [[], TELLING], ids=["quiet", "telling"])
def test_compact_and_full_logs_hold_the_same_rows(schedule, users):
    asked = {"name": "ease", "retrain_every": 7, **schedule}, {"name": "random", "label": "dice"}
    compact, full = (simulate(study(*asked, users=users, study={"log": k})) for k in KINDS)
    for arm in full.arms:
        a, b = (run.events(arm, 1).collect() for run in (compact, full))
        assert a.columns[: len(COLUMNS)] == list(COLUMNS)
        assert a.equals(b)
        assert a.equals(a.sort("step", "user", "position"))
        some, all_ = (run.visits(arm, 1).collect() for run in (compact, full))
        assert some.filter(pl.col("slots") > 0).equals(all_)
    told = compact.events("ease", 1).select("rejected", "dwell_seconds", "value").collect()
    assert (told["rejected"].sum() > 0) == (told["dwell_seconds"].count() > 0) == bool(users)


def test_scores_are_kept_where_they_are_asked_for():
    asked = {"name": "ease"}, {"name": "random", "label": "dice"}
    whole, plain = (
        simulate(study(*asked, study={"worlds": 1, "log_scores": kept})).events("ease", 0).collect()
        for kept in (True, False)
    )
    assert whole["score"].null_count() == 0
    assert plain["score"].null_count() == len(plain)
    assert plain.drop("score").equals(whole.drop("score"))


@pytest.mark.parametrize("every", [1, 6])
def test_what_friends_put_into_slates_is_told_apart_in_both_logs(every):
    asked = {"name": "ease", "retrain_every": 0, "refresh_every": every, "list_length": 12}
    society = {"share": 1.0, "friend_slots": 2}
    tables = {"society": society, "users": TELLING}
    compact, full = (
        simulate(study(asked, study={"log": k, "worlds": 1}, **tables)).events("ease", 0)
        for k in KINDS
    )
    rows = compact.collect()
    assert rows.equals(full.collect())
    friends = rows.filter(pl.col("shown_by") == "friends")
    assert len(friends) > 50
    assert friends["score"].null_count() == len(friends)
    assert (
        compact.filter(pl.col("shown_by") == "friends")
        .select("item")
        .collect()
        .equals(friends.select("item"))
    )
    met = set()  # who consumed or rejected what, by whomever it was shown
    gone = pl.col("clicked") | pl.col("rejected")
    told = rows.select("step", "user", "item", gone.fill_null(pl.col("clicked")).alias("gone"))
    for _, user, item, done in told.iter_rows():
        assert (user, item) not in met
        if done:
            met.add((user, item))


def test_every_audit_finds_the_same_in_a_compact_and_in_a_full_log():
    asked = {"name": "ease", "retrain_every": 7, "refresh_every": 2, "list_length": 20}
    results = []
    for kind in KINDS:
        run = simulate(study(asked, study={"log": kind, "worlds": 4}, audit={"shadows": 2}))
        findings = audit_run(run).to_json()["findings"]
        results.append(json.dumps(findings, sort_keys=True))
    assert results[0] == results[1]
    assert "bubbles.slate-narrowing" in results[0]


def test_the_log_propensity_of_random_slates_is_exact():
    run = simulate(study({"name": "random", "label": "dice"}, study={"worlds": 1}))
    rows = run.events("dice", 0).select("step", "user", "propensity", "log_propensity").collect()
    taken = run.history(0).popularity()  # noqa: F841
    past = np.bincount(run.history(0).user, minlength=40)
    distinct = {u: set() for u in range(40)}
    for u, i in zip(run.history(0).user, run.history(0).item, strict=True):
        distinct[int(u)].add(int(i))
    first = rows.filter(step=0)
    left = np.array([60 - len(distinct[u]) for u in first["user"]])
    assert past.sum() > 0
    assert np.allclose(first["propensity"].to_numpy(), 1 / left, rtol=1e-6)
    assert np.allclose(first["log_propensity"].to_numpy(), -np.log(left), rtol=1e-6)
    assert run.events("none", 0).select(pl.col("log_propensity").count()).collect().item() == 0


class Weighty:
    """Shows every second of the asked-for slots as chosen with a chance of one in a billion."""

    name = "weighty"
    capabilities = Capabilities()

    def recommend(self, requests):
        items = np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1))
        chance = np.where(items % 2 == 0, np.float32(1e-9), np.float32(0.5))
        return Slates(items, propensities=chance.astype(np.float32))


def test_propensities_stay_with_their_items():
    asked = study({"name": "weighty", "refresh_every": 3}, study={"arms": ["random"]})
    run = simulate(asked, factories={"weighty": Weighty})
    rows = run.events("weighty", 0).select("item", "log_propensity").collect()
    even = rows.filter(pl.col("item") % 2 == 0)["log_propensity"]
    odd = rows.filter(pl.col("item") % 2 == 1)["log_propensity"]
    assert even.to_numpy() == pytest.approx(np.log(1e-9), rel=1e-6)
    assert odd.to_numpy() == pytest.approx(np.log(0.5), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(flags=st.lists(st.lists(st.booleans(), min_size=1, max_size=64), min_size=1, max_size=1))
def test_a_mask_holds_the_flags_of_the_slots(flags):
    number = int(bits(np.array(flags))[0])
    assert [bool(number >> i & 1) for i in range(64)] == (flags[0] + [False] * 64)[:64]


def tables(visits, lists):
    given = ((visits, VISITS), (lists, LISTS))
    return tuple(
        pl.LazyFrame({name: said.get(name, [None]) for name in schema}, schema=schema)
        for said, schema in given
    )


VISIT = {
    "step": [3],
    "user": [5],
    "list_version": [2],
    "offset": [3],
    "places": [0b0111],
    "taken": [0b010],
}
LIST = {
    "user": [5],
    "list_version": [2],
    "items": [[10, 11, 12, 13]],
    "scores": [[1.0, None, 0.5, 0.25]],
    "shown_by": ["ease"],
}


def test_a_visit_reads_its_list_in_a_circle():
    rows = expanded(*tables(VISIT, LIST), list(COLUMNS)).collect()
    assert rows["item"].to_list() == [13, 10, 11]
    assert rows["score"].to_list() == [0.25, 1.0, None]
    assert rows["clicked"].to_list() == [False, True, False]
    assert rows["value"].to_list() == [None, 1.0, None]
    assert rows["log_propensity"].to_list() == [None] * 3
    assert rows["position"].to_list() == [0, 1, 2]


def test_a_visit_skips_the_places_it_says():
    skipping = {**VISIT, "offset": [1], "places": [0b1101], "ratings": [[None, 4.0, None]]}
    rows = expanded(*tables(skipping, LIST), list(COLUMNS)).collect()
    assert rows["item"].to_list() == [11, 13, 10]
    assert rows["value"].to_list() == [None, 4.0, None]


def test_only_what_is_asked_for_is_read():
    visits, lists = tables(VISIT, LIST)
    plan = expanded(visits, lists, ["step", "user", "clicked"]).explain()
    assert "JOIN" not in plan
    early = expanded(visits, lists, ["step", "item"]).filter(pl.col("step") < 2).explain()
    assert early.index("EXPLODE") < early.index('col("step") < 2')  # plans read upwards


def test_parts_of_the_log_can_be_asked_for(tmp_path):
    run = simulate(study({"name": "ease"}, study={"worlds": 1}), out=tmp_path / "run", workers=1)
    whole = run.events("ease", 0).collect()
    lazy = run.events("ease", 0)
    assert lazy.filter(pl.col("step") > 17).collect().equals(whole.filter(pl.col("step") > 17))
    assert lazy.select("item").collect().equals(whole.select("item"))
    assert lazy.head(7).collect().equals(whole.head(7))
    clicked = lazy.filter("clicked").select("user").collect(engine="streaming")
    assert clicked.equals(whole.filter("clicked").select("user"))
    assert lazy.select(pl.len()).collect().item() == len(whole)


def test_a_large_world_has_shorter_parts_of_the_same_log(tmp_path, monkeypatch):
    assert [events.part_steps(n) for n in (1, 200_000, 1_000_000, 10**8)] == [10, 10, 2, 1]
    assert [events.part_steps(40, every) for every in (0, 7, 50)] == [10, 7, 10]
    asked = study({"name": "ease", "refresh_every": 6, "list_length": 25}, study={"worlds": 1})
    whole = simulate(asked, out=tmp_path / "whole", workers=1).events("ease", 0).collect()
    monkeypatch.setattr(events, "VISITS_A_PART", 170)  # four steps of 40 people
    run = simulate(asked, out=tmp_path / "cut", workers=1)
    files = sorted(path.name for path in (tmp_path / "cut/events/ease/w000").iterdir())
    assert files[:3] == ["part-00000.parquet", "part-00004.parquet", "part-00008.parquet"]
    assert run.events("ease", 0).collect().equals(whole)
    late = run.events("ease", 0).filter(pl.col("step").is_between(9, 13)).collect()
    assert late.equals(whole.filter(pl.col("step").is_between(9, 13)))


def test_a_full_log_has_no_lists_and_says_so():
    run = simulate(study({"name": "ease"}, study={"worlds": 1, "log": "full"}))
    with pytest.raises(UserError, match=r"kept slates and no lists"):
        run.lists("ease", 0)


def test_the_memory_of_a_benchmark_is_not_that_of_whoever_started_it():
    held = np.ones(400 * 2**20, np.uint8)  # Linux lets a child's ru_maxrss begin here
    code = "from memory import peak_bytes; print(peak_bytes())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT / "benchmarks", check=True
    )
    assert 2**20 < int(said.stdout) < held.nbytes / 2


@pytest.mark.slow
def test_ten_million_rows_are_written_and_audited_in_bounded_memory():
    """In a process of its own, since a process's peak never falls."""
    said = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "log.py"), "--rows", "10000000", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "POLARS_MAX_THREADS": "2"},
    )
    found = json.loads(said.stdout)
    assert found["rows"] == 10_000_000
    assert found["bytes_per_row"] < 1.5  # 1.4 in docs/log.md
    peaks = {name: value for name, value in found.items() if name.startswith("peak_mb")}
    assert len(peaks) == 4
    assert max(peaks.values()) < 900, peaks  # 715 for a log ten times as long


def test_the_page_about_run_directories_reads_a_run_with_polars_alone(tmp_path):
    asked = {"name": "ease", "retrain_every": 7, "refresh_every": 6, "list_length": 25}
    run = simulate(study(asked, study={"worlds": 1}), out=tmp_path / "RUN", workers=1)
    page = (ROOT / "docs" / "run-directory.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    space: dict[str, pl.LazyFrame] = {}
    exec(code.replace("RUN/", f"{tmp_path}/RUN/"), space)
    order = ["step", "user", "position"]
    ours = run.events("ease", 0).select(*order, "item", "clicked").collect()
    theirs = space["slots"].collect().sort(order)
    later = run._store.scan([run._log("ease", 0)[0].events[1]]).collect()["places"]
    assert (later != 2**10 - 1).any(), "no page skipped anything"
    assert theirs.select(ours.columns).cast(ours.schema).equals(ours)
