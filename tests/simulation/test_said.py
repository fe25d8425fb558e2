"""What recommenders say is kept beside what they list: whole, bounded, and the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopaudit import cli
from loopaudit.recommenders.border import Requests, Slates
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Ragged
from loopaudit.simulation.platform.slates import dealt, joined, rearranged
from loopaudit.simulation.record import said
from loopaudit.simulation.record.manifest import read_manifest
from loopaudit.simulation.run import Run
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.study import Study

TALKER = '''
import numpy as np
from loopaudit.recommenders.border import Capabilities, Slates


class Talker:
    """Lists items by person and step; every fifth name is made up, and everything is explained."""

    name = "talker"
    capabilities = Capabilities(
        stochastic=True, closed_catalog=False, outputs=frozenset({"items", "explanations"})
    )

    def __init__(self, text="because {user} had nothing like {item}", structure="list"):
        self.text, self.structure = text.replace("[half]", chr(0xD800)), structure

    def fit(self, log, catalog, *, seed=0, progress=None):
        self.n_items = len(catalog)

    def recommend(self, requests):
        first = 7 * requests.users[:, None] + 3 * requests.step
        place = np.arange(requests.k)
        items = ((first + place) % self.n_items).astype(np.int32)
        items[:, 4::5] = 10**6
        names = [tuple(f"Item {i} of nothing" for i in row) for row in (first + place).tolist()]
        why = tuple(
            tuple(self.text.format(user=u, item=i, row=p // 3) for p, i in enumerate(row))
            for u, row in zip(requests.users.tolist(), items.tolist())
        )
        said = tuple(f"Hello {u}" for u in requests.users.tolist())
        return Slates(
            items, text=why, slate_text=said, raw_names=tuple(names), structure=self.structure
        )

    def state(self):
        return {"n": np.array(self.n_items)}

    def load_state(self, state):
        self.n_items = int(state["n"])
'''


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("talker") / "talker.py"
    path.write_text(TALKER)
    return f"{path}:Talker"


def study(talker: str, args: dict[str, Any] | None = None, **tables: Any) -> Study:
    base: dict[str, Any] = {
        "study": {"steps": 24, "worlds": 1, "seed": 3, "arms": []},
        "world": {"users": 24, "items": 60, "topics": 4, "history": 6.0},
        "people": {"slate": 10, "repeat": True},
        "recommenders": [{"name": talker, "label": "talker", "args": args or {}}],
        "audit": {"sensitivity_worlds": 0},
    }
    for name, table in tables.items():
        base[name] = {**base[name], **table} if isinstance(table, dict) else table
    return Study.model_validate(base)


@pytest.mark.parametrize("log", ["compact", "full"])
def test_every_word_of_a_step_is_in_the_run_beside_its_lists(talker: str, log: str) -> None:
    run = simulate(study(talker, study={"log": log}))
    rows = run.said("talker", 0).collect()
    shown = run.events("talker", 0).collect()
    assert rows["kind"].unique().sort().to_list() == ["explanation", "made-up name", "reply"]
    assert (
        rows.select("step", "user").unique().height == shown.select("step", "user").unique().height
    )
    one = rows.filter(pl.col("step") == 5, pl.col("user") == rows["user"][0])
    user = int(one["user"][0])
    replies = one.filter(pl.col("kind") == said.REPLY)
    assert replies.select("place", "text").rows() == [(said.WHOLE, f"Hello {user}")]
    made_up = one.filter(pl.col("kind") == said.MADE_UP)["text"].to_list()
    assert made_up == [f"Item {7 * user + 15 + p} of nothing" for p in (4, 9)]
    why = one.filter(pl.col("kind") == said.EXPLANATION)
    listed = shown.filter(pl.col("step") == 5, pl.col("user") == user)
    assert why["place"].to_list() == listed["position"].to_list()
    assert why["text"].to_list() == [
        f"because {user} had nothing like {item}" for item in listed["item"]
    ]


def test_the_counts_are_of_everybody_and_the_texts_of_some(talker: str) -> None:
    few = simulate(study(talker, study={"said_to": 3}))
    many = simulate(study(talker))
    counts = few.said_counts("talker", 0)
    assert counts.equals(many.said_counts("talker", 0))
    active = few.visits("talker", 0).collect().group_by("step").len().sort("step")["len"]
    assert counts["lists"].to_list() == active.to_list() == counts["replies"].to_list()
    assert counts["names"].to_list() == (10 * active).to_list()
    assert counts["made_up"].to_list() == (2 * active).to_list()
    assert counts["lists_with_made_up"].to_list() == active.to_list()
    kept = few.said("talker", 0).collect()
    assert kept["user"].n_unique() == 3
    whole = many.said("talker", 0).collect()
    assert kept.equals(whole.filter(pl.col("user").is_in(kept["user"].unique().to_list())))


def test_nothing_is_kept_when_nothing_is_asked_for_or_nothing_was_said(
    talker: str, tmp_path: Path
) -> None:
    off = study(talker, study={"said_to": 0, "steps": 4, "arms": ["random"]})
    on = study(talker, study={"said_to": 9, "steps": 4, "arms": ["random"]})
    for one, folder in ((off, "off"), (on, "on")):
        simulate(one, out=tmp_path / folder)
    assert not (tmp_path / "off" / "said").exists()
    assert sorted(p.name for p in (tmp_path / "on" / "said").iterdir()) == ["talker"]
    assert Run.open(tmp_path / "on").said("random", 0).collect().is_empty()
    assert Run.open(tmp_path / "on").said_counts("random", 0).is_empty()
    silent, told = (read_manifest(tmp_path / folder)["files"] for folder in ("off", "on"))
    more = {name for name in told if name not in silent}
    assert more == {f"said/talker/w000/{what}-00000.parquet" for what in ("part", "counts")}
    changed = {name for name in silent if silent[name] != told[name]}
    assert changed == {"study.toml"}  # which names the switch


def test_a_run_that_stopped_says_the_same_as_one_that_did_not(
    talker: str, tmp_path: Path, faults: Any
) -> None:
    asked = study(talker, study={"arms": ["frozen", "shuffled"]})
    simulate(asked, out=tmp_path / "whole", workers=1)
    last = faults.lasting(tmp_path / "counted", study=asked)
    for moment in range(20, last, last // 4):
        out = tmp_path / f"broken-{moment}"
        assert faults.run_until(out, moment, study=asked, torn=moment % 2 == 0)
        simulate(asked, out=out, workers=1)
        assert faults.content(out) == faults.content(tmp_path / "whole")


def test_shards_say_what_the_whole_world_says(talker: str) -> None:
    whole = simulate(study(talker, study={"block": 16}))
    parts = simulate(study(talker, study={"block": 16, "shards": 2, "said_to": 100}))
    one, two = (
        run.said("talker", 0).collect().sort("step", "user", maintain_order=True)
        for run in (whole, parts)
    )
    assert one.equals(two)
    assert whole.said_counts("talker", 0).equals(parts.said_counts("talker", 0))


def test_a_title_is_said_once_where_its_row_begins(talker: str) -> None:
    args = {"text": "row {row}", "structure": "page"}
    run = simulate(study(talker, args, study={"steps": 2}))
    rows = run.said("talker", 0).filter(pl.col("kind") == said.ROW_TITLE).collect()
    first = rows.filter(pl.col("step") == 0, pl.col("user") == rows["user"][0])
    # of ten slots two are made up (the fifth and the tenth), so the second row has two items left
    assert first.select("place", "text").rows() == [(0, "row 0"), (3, "row 1"), (5, "row 2")]


def test_shuffling_moves_explanations_with_their_items(talker: str) -> None:
    run = simulate(study(talker, study={"steps": 3, "arms": ["shuffled"]}))
    why = run.said("talker-shuffled", 0).filter(pl.col("kind") == said.EXPLANATION)
    shown = run.events("talker-shuffled", 0).rename({"position": "place"})
    both = why.join(shown, on=["step", "user", "place"]).collect()
    assert len(both) == why.collect().height > 0
    assert (both["text"].str.ends_with(pl.Series(both["item"].cast(pl.String)))).all()


@given(st.text(alphabet=st.characters(categories=None), max_size=40) | st.just("x" * 100_000))
def test_any_text_can_be_written(text: str) -> None:
    kept = said.cut(text)
    assert len(kept) <= said.LONGEST
    assert pl.Series([kept])[0] == kept
    if len(text) <= said.LONGEST and text.isprintable():
        assert kept == text


def test_hostile_texts_are_kept_as_they_are_and_no_longer_than_they_may_be(talker: str) -> None:
    text = "<script>alert(1)</script>\u202e\x00[half]" + "y" * 100_000
    run = simulate(study(talker, {"text": text}, study={"steps": 2}))
    kept = run.said("talker", 0).filter(pl.col("kind") == said.EXPLANATION).collect()["text"]
    assert kept.n_unique() == 1
    assert kept[0].startswith("<script>alert(1)</script>\u202e\x00?yyy")
    assert len(kept[0]) == said.LONGEST


def test_names_are_counted_over_the_places_asked_for_not_those_the_guard_adds() -> None:
    class Names:
        from loopaudit.recommenders.border import Capabilities as _C

        name, capabilities = "names", _C(closed_catalog=False)

        def recommend(self, requests: Requests) -> Slates:
            items = np.full((len(requests), requests.k), 99, np.int32)
            items[:, 1] = 1
            return Slates(items, raw_names=(tuple(map(str, range(requests.k))),) * len(requests))

    asked = Requests(np.arange(2, dtype=np.int32), Ragged.from_lists([[0, 2, 3], []]), 3)
    slates = Guard(Names(), n_items=5).recommend(asked)
    assert slates.named is not None
    assert slates.named.names.tolist() == [3, 3]
    assert slates.named.made_up.tolist() == [2, 2]
    assert slates.named.texts == (("0", "2"), ("0", "2"))


def test_a_closed_catalog_that_keeps_to_it_has_no_names_to_count() -> None:
    class Lists:
        def recommend(self, requests: Requests) -> Slates:
            return Slates(np.tile(np.arange(requests.k, dtype=np.int32), (len(requests), 1)))

    asked = Requests(np.arange(2, dtype=np.int32), Ragged.empty(2), 3)
    assert Guard(Lists(), n_items=5).recommend(asked).named is None


def test_slates_dealt_to_people_and_joined_keep_their_words() -> None:
    one = Slates(np.array([[1, 2]], np.int32), text=(("a", None),), slate_text=("hello",))
    two = Slates(np.array([[3, 4], [5, 6]], np.int32), scores=np.ones((2, 2), np.float32))
    whole = dealt(4, 2, [(np.array([2]), one), (np.array([3, 0]), two)])
    assert whole.items.tolist() == [[5, 6], [-1, -1], [1, 2], [3, 4]]
    assert whole.text == ((None, None), (None, None), ("a", None), (None, None))
    assert whole.slate_text == (None, None, "hello", None)
    assert joined([two, two]).text is None
    assert rearranged(one, np.array([1, 0])).text == ((None, "a"),)


OPEN = """
[audit]
families = ["bubbles"]
sensitivity_worlds = 0
[study]
steps = 2
worlds = 1
arms = []
[world]
users = 30
items = 50
topics = 4
[people]
slate = 6
rows = 2
choice = "carousel"
[[recommenders]]
name = "textlm"
[recommenders.args]
constrained = false
explain = "free"
beams = 12
epochs = 1
embedding_size = 8
blocks = 1
merges = 20
[[recommenders]]
name = "genret"
args = { constrained = false, epochs = 1, embedding_size = 8, levels = 2, codes = 8, beams = 8 }
[[recommenders]]
name = "pages"
args = { hidden_size = 16, latent_size = 4, epochs = 2 }
"""


def test_models_that_generate_leave_their_words_in_a_run_directory(tmp_path: Path) -> None:
    """`loopaudit simulate` and `audit` of a language model, of ids spelt freely, and of pages."""
    (tmp_path / "open.toml").write_text(OPEN)
    study_file, out = str(tmp_path / "open.toml"), str(tmp_path / "run")
    assert cli.main(["simulate", study_file, "--out", out, "--workers", "1", "--quiet"]) == 0
    assert cli.main(["audit", out, "--quiet"]) in (1, 4)
    assert "What the recommenders said" in (tmp_path / "run" / "report.html").read_text()
    run = Run.open(out)
    kinds = {
        arm: set(run.said(arm, 0).collect()["kind"].unique())
        for arm in ("textlm", "genret", "pages")
    }
    assert kinds["textlm"] >= {said.MADE_UP}
    assert kinds["genret"] == {said.MADE_UP}
    assert kinds["pages"] == {said.ROW_TITLE}
    assert run.said("genret", 0).collect()["text"].str.contains(r"^<a\d+><b\d+><c\d+>$").all()
    for arm in ("textlm", "genret"):
        counts = run.said_counts(arm, 0)
        assert 0 < counts["made_up"].sum() <= counts["names"].sum()
        told = run.faults(arm)["usage"]  # of all that was said, which is more than was asked for
        assert counts["names"].sum() <= told.get("titles", told.get("ids"))
    assert run.said_counts("pages", 0)["names"].sum() == 0
