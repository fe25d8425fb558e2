"""The plot of ``evaluate --seeds`` shows the spread, not the distance to the baselines."""

from dataclasses import dataclass

import numpy as np

from loopaudit.reports.seeds import _marks, _window


@dataclass
class Trained:
    """As much of a Repetition as a plot reads."""

    name: str
    reached: tuple[float, ...]

    def values(self, metric):
        return np.array(self.reached)

    def __getitem__(self, metric):
        return float(np.mean(self.reached))


def test_the_window_holds_every_seed_and_room_in_proportion_to_their_spread():
    low, high = _window([Trained("a", (0.30, 0.34)), Trained("b", (0.38,))], "ndcg@10")
    assert (low, high) == (0.30 - 0.02, 0.38 + 0.02)
    low, high = _window([Trained("a", (0.30,)), Trained("b", (0.30,))], "ndcg@10")
    assert low < 0.30 < high


def test_baselines_far_away_are_left_out_and_close_ones_share_a_label():
    some = [Trained("markov", (0.31,)), Trained("popularity", (0.305,)), Trained("ease", (0.39,))]
    marks = _marks([*some, Trained("random", (0.01,))], "ndcg@10", 0.28, 0.40)
    assert marks == [(0.305, "popularity, markov"), (0.39, "ease")]
