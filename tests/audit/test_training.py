"""What is said about a loss curve, on curves whose shape is known."""

import numpy as np
import polars as pl
import pytest

from loopaudit.audit.training import convergence, over_worlds
from loopaudit.simulation.platform.training import SCHEMA

EPOCHS = np.arange(50)


@pytest.mark.parametrize(
    ("curve", "code"),
    [
        (np.exp(-EPOCHS / 5), "settled"),
        (np.exp(-EPOCHS / 5) + 0.02 * (-1.0) ** EPOCHS, "settled"),  # turns taken in training
        (1.0 - EPOCHS / 100, "falling"),
        (np.abs(EPOCHS - 20) / 20.0, "rising"),
        (np.full(50, 3.0), "settled"),
        (np.where(EPOCHS > 40, np.nan, 1.0), "diverged"),
        (np.where(EPOCHS > 40, np.inf, 1.0), "diverged"),
        (np.exp(-EPOCHS[:3] / 5), "short"),
    ],
)
def test_the_end_of_a_curve_is_called_what_it_is(curve, code):
    found, note = convergence([curve])
    assert found == code
    assert bool(note) == (code != "settled")


def test_a_straight_fall_lies_a_fifth_of_its_range_below_the_fifth_before():
    _, note = convergence([np.linspace(1.0, 0.0, 51)])  # 10 of 50 steps of the range
    assert "the last 10 epochs lay below the 10 epochs before by 20 % of the range" in note


def test_one_world_that_broke_is_counted_among_all():
    good, bad = np.ones(10), np.full(10, np.nan)
    assert "1 of 3 worlds" in convergence([good, bad, good])[1]
    assert convergence([]) == ("none", "")


def test_losses_of_worlds_are_joined_epoch_by_epoch():
    def frame(*rows):
        return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")

    held = over_worlds(
        [
            frame((0, -1, 1, 4.0), (0, -1, 2, 2.0), (1, 9, 1, 1.0)),
            frame((0, -1, 1, 6.0), (0, -1, 2, float("nan")), (1, 11, 1, float("nan"))),
            frame((0, -1, 1, 5.0)),
        ]
    )
    assert held["learning"] == [0, 0, 1]
    assert held["step"] == [-1, -1, 9]
    assert held["worlds"] == [3, 2, 2]
    assert held["mean"] == [5.0, 2.0, 1.0]
    assert (held["low"][0], held["high"][0]) == (4.0, 6.0)
