"""What a model tells of its training is read without trusting it."""

import torch

from loopaudit.recommenders.classic.bprmf import BPRMF
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.training import losses_of, n_parameters_of, new_losses


class Odd:
    """A recommender of somebody else's."""

    def __init__(self, losses):
        self._losses = losses

    @property
    def losses(self):
        if self._losses is None:
            raise RuntimeError("no losses today")
        return self._losses


def test_losses_that_are_no_numbers_or_raise_are_none_at_all():
    for losses in (None, "abc", [1.0, "x"], 3.0, [[1.0]]):
        assert losses_of(Odd(losses)) == ()
    assert losses_of(object()) == ()
    assert losses_of(Odd([2, 1.5])) == (2.0, 1.5)
    assert losses_of(Guard(Odd([2, 1.5]), n_items=3)) == (2.0, 1.5)


def test_a_model_that_learns_on_adds_epochs_and_one_fitted_anew_starts_over():
    assert new_losses((), (3.0, 2.0)) == (3.0, 2.0)
    assert new_losses((3.0, 2.0), (3.0, 2.0, 1.0)) == (1.0,)
    assert new_losses((3.0, 2.0), (2.9, 1.9)) == (2.9, 1.9)


def test_parameters_are_counted_once_each_or_taken_from_what_it_says():
    class Net:
        def __init__(self):
            self.whole = torch.nn.Linear(3, 2)  # 6 weights, 2 biases
            self.part = self.whole
            self.name = "net"

    assert n_parameters_of(Guard(Net(), n_items=3)) == 8
    assert n_parameters_of(BPRMF(embedding_size=4)) == 0
    assert n_parameters_of(object()) is None
    assert n_parameters_of(Odd([1.0])) is None
