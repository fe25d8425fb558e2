"""Drawings: where marks stand, and SVGs that are text, accessible, repeatable."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from loopaudit.reports.figures import trajectory_svg
from loopaudit.reports.forest import Axis, card_forest, shared_axis, strip_forest
from loopaudit.reports.trajectories import Trajectory, band, late_means, trajectories


def test_band_is_the_t_interval_over_worlds() -> None:
    values = np.random.default_rng(3).normal(size=(10, 4))
    made = band(values)
    for step in range(4):
        low, high = stats.t.interval(
            0.95, 9, loc=values[:, step].mean(), scale=stats.sem(values[:, step])
        )
        assert made.low[step] == pytest.approx(low)
        assert made.high[step] == pytest.approx(high)


def test_worlds_without_a_value_are_left_out_and_no_world_is_undefined() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    made = band(values)
    assert made.mean[:2].tolist() == [2.0, 2.0]
    assert np.isnan(made.mean[2])
    assert np.isfinite(made.low[0])
    assert np.isnan(made.low[1])


def test_contrast_is_paired_by_world(run: Any) -> None:
    part = trajectories(run, "ease")[0]
    target = np.stack([run.series("ease", w)["slate_entropy"].to_numpy() for w in range(10)])
    random = np.stack([run.series("random", w)["slate_entropy"].to_numpy() for w in range(10)])
    assert part.against == "random"
    assert part.contrast is not None
    np.testing.assert_allclose(part.contrast.mean, (target - random).mean(axis=0))
    assert part.retrained.tolist() == [9, 19, 29, 39]


def test_without_comparison_arms_only_the_target_is_drawn(run: Any) -> None:
    run.arms_kept = ("target",)
    part = trajectories(run, "ease")[0]
    assert part.contrast is None
    assert list(part.arms) == ["target"]
    assert "difference from" not in draw(part)


def draw(part: Trajectory, name: str = "f") -> str:
    return str(trajectory_svg(part, name=name, title="A & B", description="<d>"))


def test_svg_is_well_formed_named_and_keeps_its_text(run: Any) -> None:
    text = draw(trajectories(run, "ease")[0])
    root = ElementTree.fromstring(text)
    assert root[0].tag == "title"
    assert root[0].text == "A & B"
    assert root[1].text == "<d>"
    assert ">step<" in text
    assert len(text) < 20_000


def test_svg_takes_every_colour_from_the_page(run: Any) -> None:
    text = draw(trajectories(run, "ease")[0])
    assert not re.search(r"#[0-9a-f]{6}", text)
    assert "var(--arm-target)" in text
    assert "<style" not in text


def test_the_same_figure_gives_the_same_bytes_and_another_name_other_identifiers(run: Any) -> None:
    part = trajectories(run, "ease")[0]
    assert draw(part) == draw(part)
    ids = {name: set(re.findall(r'id="([^"]+)"', draw(part, name))) for name in ("a", "b")}
    assert ids["a"].isdisjoint(ids["b"])


def test_long_runs_are_thinned_not_truncated(make_run: Any) -> None:
    part = trajectories(make_run(("ease",), steps=2000, worlds=3), "ease")[0]
    assert len(draw(part)) < 25_000


def test_late_means_look_at_the_last_quarter(run: Any) -> None:
    means = late_means(run, "ease", "click_rate")
    assert means.shape == (10,)
    assert means[0] == pytest.approx(run.series("ease", 0)["click_rate"][30:].mean())


def test_marks_stand_where_the_axis_says() -> None:
    axis = Axis(0.0, 2.0, start=0.0)
    assert axis.at(0.0) == 0.0
    assert axis.at(2.0) == 98.0
    assert axis.at(5.0) == 98.0
    assert (axis.beyond(5.0), axis.beyond(1.0), axis.beyond(-1.0)) == (1, 0, -1)


def test_rows_of_the_strip_share_one_threshold_line(result: Any) -> None:
    axis = shared_axis(result.findings)
    drawn = [strip_forest(f, axis) for f in result.findings if f.effect is not None]
    assert len({d.tau for d in drawn if d}) == 1


def test_an_effect_far_beyond_the_axis_is_said_in_multiples(result: Any) -> None:
    far = next(f for f in result.findings if f.key == "ease/privacy.membership")
    drawn = strip_forest(far, shared_axis(result.findings))
    assert drawn is not None
    assert (drawn.marks[0].off, drawn.marks[0].times) == (1, "6.8 τ")


def test_a_threshold_of_zero_gets_its_own_axis(result: Any) -> None:
    found = result.findings[0]
    zero = replace(found, check=replace(found.check, tau=0.0))
    drawn = strip_forest(zero, shared_axis([zero]))
    assert drawn is not None
    assert drawn.zero == drawn.tau


def test_a_card_shows_other_user_models_and_the_floor(result: Any) -> None:
    loop = card_forest(result.findings[0])
    assert loop is not None
    assert [m.label for m in loop.marks] == ["this audit", "curious", "impressionable"]
    shot = card_forest(next(f for f in result.findings if f.floor is not None))
    assert shot is not None
    assert [m.kind for m in shot.marks] == ["main", "floor"]


def test_nothing_measured_draws_nothing(result: Any) -> None:
    empty = next(f for f in result.findings if f.effect is None)
    assert card_forest(empty) is None
    assert strip_forest(empty, Axis(0, 1)) is None
