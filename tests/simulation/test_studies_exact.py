"""Published results, run again: the framework, the exact ones, and the command line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopaudit import cli
from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.people.choice import sigmoid
from loopaudit.simulation.people.drift import assimilate
from loopaudit.simulation.people.wellbeing import liking
from loopaudit.simulation.studies import dean2022, jiang2019, kalimeris2021, polya, satisfaction
from loopaudit.simulation.studies.study import (
    STUDIES,
    Curves,
    Row,
    StudyResult,
    claim,
    run,
    study_module,
)

EXACT = ("jiang2019", "dean2022", "polya", "satisfaction", "kalimeris2021")

# The framework -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "within", "wanted"),
    [
        (Row("a", 1.02, 1.0, 0.03, "x"), True, "1 ± 0.03"),
        (Row("a", 1.04, 1.0, 0.03, "x"), False, "1 ± 0.03"),
        (Row("a", -204.0, -200.0, 0.03, "x", "share"), True, "-200 ± 3 %"),
        (Row("a", -207.0, -200.0, 0.03, "x", "share"), False, "-200 ± 3 %"),
        (Row("a", 0.11, 0.0, 0.1, "x", "above"), True, "above 0 by 0.1"),
        (Row("a", 0.1, 0.0, 0.1, "x", "above"), False, "above 0 by 0.1"),
        (Row("a", 0.9, 1.0, 0.0, "x", "below"), True, "below 1"),
        (Row("a", 1.0, 1.0, 0.0, "x", "below"), False, "below 1"),
        (Row("a", math.nan, 1.0, 9.0, "x"), False, "1 ± 9"),
        (claim("a", True, "x"), True, "1 exactly"),
        (claim("a", False, "x"), False, "1 exactly"),
    ],
)
def test_a_row_is_within_its_tolerance_or_says_how_far_off(
    row: Row, within: bool, wanted: str
) -> None:
    assert row.within is within
    assert row.wanted == wanted
    assert (row.verdict == "within") is within


def test_one_figure_outside_fails_the_study() -> None:
    good, bad = claim("a", True, "x"), claim("b", False, "x")
    assert StudyResult("t", "p", (good, good)).exit_code == 0
    assert StudyResult("t", "p", (good, bad)).exit_code == 1


def test_a_missing_figure_is_null_in_json_and_never_a_pass() -> None:
    found = StudyResult("t", "p", (Row("a", math.nan, 1.0, 9.0, "x"),)).to_json()
    assert found["rows"][0]["ours"] is None
    assert found["exit_code"] == 1
    json.dumps(found, allow_nan=False)


def test_a_line_of_another_length_than_its_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="2 positions"):
        Curves("t", "d", "x", "y", (0.0, 1.0), {"a": (1.0,)})


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_what_it_reproduces_and_explains_every_parameter(name: str) -> None:
    module = study_module(name)
    assert module.TITLE
    assert "(" in module.PAPER
    for params in (module.Params(), module.Params.quick()):
        for field in params.__dataclass_fields__.values():
            assert field.metadata["means"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"user": 3}, "Did you mean users"),
        ({"users": 3.5}, "users must be a whole number"),
        ({"users": True}, "users must be a whole number"),
        ({"eta": "much"}, "eta must be a number"),
        ({"users": 1}, "users must be at least 10, got 1"),
        ({"listening": 2}, "listening must be at most 0.95, got 2"),
    ],
)
def test_a_wrong_parameter_is_named(params: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run("dean2022", **params)


def test_an_unknown_study_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean dean2022"):
        run("dean2021")


# Each study --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_a_quick_study_is_within_tolerance(name: str) -> None:
    heard: list[tuple[int, int]] = []
    found = run(name, quick=True, progress=lambda done, total, what: heard.append((done, total)))
    assert [row for row in found.rows if not row.within] == []
    assert (found.name, found.quick, found.seed) == (name, True, 7)
    assert heard
    assert all(0 <= done <= total for done, total in heard)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_a_study_of_full_size_is_within_tolerance(name: str) -> None:
    found = run(name)
    assert [row for row in found.rows if not row.within] == []
    assert found.seconds < 600


SMALL = {
    "jiang2019": {"users": 5, "steps": 40, "trials": 100},
    "dean2022": {"users": 20, "steps": 40},
    "polya": {"urns": 20, "steps": 100},
    "satisfaction": {"users": 50, "steps": 5},
    "kalimeris2021": {"items": 50, "rounds": 5},
}


UNPUBLISHED = {"jiang2019": 5, "dean2022": 2, "polya": 1, "satisfaction": 0, "kalimeris2021": 0}
"""Rows that these sizes leave out."""


@pytest.mark.parametrize("name", EXACT)
def test_the_same_seed_gives_the_same_figures_and_another_seed_others(name: str) -> None:
    first, again, other = (run(name, quick=True, seed=seed, **SMALL[name]) for seed in (3, 3, 4))
    assert first.rows == again.rows
    assert first.figures == again.figures
    assert first.rows != other.rows


def test_other_sizes_leave_out_what_was_published_for_the_usual_ones() -> None:
    sources = {row.source for row in run("dean2022", quick=True, dim=4, steps=200).rows}
    assert "reference computation of the model" not in sources


@pytest.mark.parametrize("name", EXACT)
def test_the_documented_table_holds_every_row_of_the_study(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(table) - 1 == len(run(name, quick=True, **SMALL[name]).rows) + UNPUBLISHED[name]
    assert all(line.endswith("| within |") for line in table[1:])


# Closed forms ------------------------------------------------------------------------------------


def test_the_mean_field_of_degenerate_loops_gives_the_reference_figures() -> None:
    exact = jiang2019.mean_field(np.array([0.25, 0.5, 1.0]), 400, 0.01)
    assert exact == pytest.approx([0.669, 1.283, 2.295], abs=5e-4)


@given(st.floats(-3, 3), st.integers(0, 500))
def test_the_mean_field_solves_its_differential_equation(start: float, n: int) -> None:
    def at(k: int) -> float:
        return float(jiang2019.mean_field(np.array(start), k, 0.01))

    slope = (at(n + 1) - at(n)) / 1.0
    middle = (at(n + 1) + at(n)) / 2
    assert slope == pytest.approx(0.005 * math.tanh(middle / 2), rel=1e-3, abs=1e-12)


@given(
    st.floats(0.01, 0.5),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: abs(v[0]) > 0.05),
)
def test_one_item_for_ever_divides_the_tangent_at_every_step(
    eta: float, start: list[float]
) -> None:
    item = np.array([1.0, 0.0, 0.0])
    taste = np.array([start]) / np.linalg.norm(start)
    first = dean2022.tangent(taste, item)
    for _ in range(20):
        taste = assimilate(taste, item[None, None], eta)
    assert dean2022.tangent(taste, item) == pytest.approx(first / (1 + eta) ** 20, rel=1e-6)
    assert np.sign(taste[0, 0]) == np.sign(start[0])


def test_chance_alignment_is_that_of_a_uniform_direction() -> None:
    assert dean2022.chance_alignment(2) == pytest.approx(2 / math.pi)
    assert dean2022.chance_alignment(3) == pytest.approx(0.5)  # Archimedes: cos is uniform
    assert dean2022.chance_alignment(8) == pytest.approx(0.29102, abs=1e-5)


def test_people_who_only_listen_to_themselves_keep_their_opinion() -> None:
    first = np.array([-1.0, 0.2, 0.9])
    everybody = np.full((3, 3), 1 / 3)
    assert dean2022.fixed_point(np.eye(3), first, 0.5) == pytest.approx(first)
    mean = first.mean()  # each keeps half of their own and takes half of the mean, which stays
    assert dean2022.fixed_point(everybody, first, 0.5) == pytest.approx((first + mean) / 2)
    lived = dean2022.settle(everybody, first, 0.5, 60)
    assert np.abs(lived - dean2022.fixed_point(everybody, first, 0.5)).max() < 1e-12


def test_an_urn_adds_one_choice_a_market_by_its_share() -> None:
    counts = np.array([[1.0, 3.0], [1.0, 3.0], [9.0, 1.0]])
    polya.grow(counts, 1.0, np.array([0.24, 0.26, 0.95]))
    assert counts.tolist() == [[2.0, 3.0], [1.0, 4.0], [9.0, 2.0]]
    polya.grow(counts, 0.0, np.array([0.4, 0.6, 0.4]))
    assert counts.tolist() == [[3.0, 3.0], [1.0, 5.0], [10.0, 2.0]]


@pytest.mark.parametrize(("tau", "published"), satisfaction.PUBLISHED.items())
def test_steady_engagement_is_the_published_closed_form(
    tau: float, published: tuple[float, ...]
) -> None:
    params = satisfaction.Params()
    exact = [satisfaction.steady_engagement(params, c, tau) for c in satisfaction.POLICIES]
    assert exact == pytest.approx(published, abs=0.006)


def test_clickbait_stops_paying_exactly_at_the_turning_point() -> None:
    params = satisfaction.Params()
    turn = satisfaction.turning_point(params)
    assert 0.01 < turn < 0.1
    at = [satisfaction.steady_engagement(params, c, turn) for c in (1.0, 0.0)]
    assert at[0] == pytest.approx(at[1], rel=1e-12)


@given(st.floats(-30, 30), st.floats(0, 1))
def test_true_liking_is_a_probability_that_moves_away_from_indifference(
    s: float, gamma: float
) -> None:
    p = float(sigmoid(np.array(s)))
    pi = float(liking(np.array(s), gamma))
    assert -1e-12 <= pi <= 1 + 1e-3  # 2.33 is rounded: the peak is 1.0005 times the room
    assert (pi - p) * s >= -1e-15


def test_drawn_items_follow_their_chances() -> None:
    chance = np.array([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    drawn = kalimeris2021.draw(chance, 20_000, np.random.default_rng(1))
    shares = np.array([np.bincount(row, minlength=3) / 20_000 for row in drawn])
    assert shares == pytest.approx(chance, abs=0.02)
    assert shares[0, 1] == shares[1, 0] == shares[1, 2] == 0


# The command line --------------------------------------------------------------------------------


def test_study_without_a_name_lists_them_with_their_papers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["study"]) == 0
    told = capsys.readouterr().out
    for name in STUDIES:
        assert name in told
        assert study_module(name).PAPER in told


def test_a_study_prints_ours_beside_published_and_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", "satisfaction", "--quick", "--set", "users=800"]) == 0
    told = capsys.readouterr().out
    for word in ("ours", "published", "19.27", "within", "(exit 0)"):
        assert word in told
    folder = tmp_path / "runs" / "study-satisfaction"
    held = json.loads((folder / "study.json").read_text())
    assert held["params"]["users"] == 800
    assert all(row["within"] for row in held["rows"])
    page = (folder / "study.html").read_text()
    assert page.count('<svg class="figure"') == page.count('<desc id="f') == 1
    assert "loopaudit study satisfaction --quick --seed 7 --set users=800" in page
    assert "http:" not in page.replace("http://www.w3.org/", "")
    assert "https:" not in page
    assert "<script" not in page


def test_a_figure_outside_its_tolerance_is_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # people who learn nothing cannot be amplified
    options = ["--quick", "--set", "eta=0", "--set", "rounds=5", "--out", str(tmp_path / "a")]
    assert cli.main(["study", "kalimeris2021", *options, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == told["study"]["exit_code"] == 1
    assert any(row["verdict"].startswith("outside") for row in told["study"]["rows"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["jang2019"], "Did you mean jiang2019"),
        (["dean2022", "--set", "user=3"], "Did you mean users"),
        (["dean2022", "--set", "users"], "--set wants parameter=value"),
        (["dean2022", "--set", "seed=3"], "--quick and --seed are options"),
        (["dean2022", "--seed", "-1"], "seed must be at least 0"),
        (["dean2022", "--out", "full"], "holds something else than a study"),
        (["dean2022", "--out", "file"], "is a file"),
    ],
)
def test_a_mistake_leaves_nothing_behind(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_study_says_is_text_in_its_page() -> None:
    from loopaudit.reports.studies import StudyReport

    evil = "<script>alert(1)</script>"
    curves = Curves(evil, evil, evil, evil, (0.0, 1.0), {evil: (0.0, 1.0), "b": (1.0, math.nan)})
    rows = (Row(evil, 1.0, 1.0, 0.0, evil),)
    page = StudyReport(
        StudyResult(evil, evil, rows, (curves,), {"users": evil}, (evil,), name="polya")
    )
    with pytest.raises(KeyError):  # a parameter nobody explains
        page.to_html()
    shown = StudyReport(
        StudyResult(evil, evil, rows, (curves,), {"urns": evil}, (evil,), name="polya")
    ).to_html()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
