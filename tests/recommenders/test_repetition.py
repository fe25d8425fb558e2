"""What is luck of training is told apart from what is not: by hand, and on a real fit."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.evaluation import evaluate, split_random
from loopaudit.recommenders.repetition import Repetition, difference, repeat


@pytest.fixture(scope="module")
def on():
    return split_random(market(users=80, items=60, topics=4, seed=1).log)


def told(name, on, values, first=0):
    """A repetition in which NDCG@10 is the same for all people."""
    one = evaluate("popularity", on, ks=(10,))
    runs = [replace(one, per_user={"ndcg@10": np.full(len(one.users), value)}) for value in values]
    return Repetition(name, tuple(range(first, first + len(values))), tuple(runs))


def test_means_deviations_and_the_paired_interval_by_hand(on):
    a, b = told("a", on, [0.30, 0.32, 0.34]), told("b", on, [0.29, 0.30, 0.31])
    assert a["ndcg@10"] == pytest.approx(0.32)
    assert a.sd("ndcg@10") == pytest.approx(0.02)
    d = difference(a, b, "ndcg@10")
    # differences .01 .02 .03: mean .02, sd .01; t(2, .975) = 4.3027
    assert (d.mean, d.n) == (pytest.approx(0.02), 3)
    half = 4.302653 * 0.01 / 3**0.5
    assert (d.low, d.high) == (pytest.approx(0.02 - half), pytest.approx(0.02 + half))


def test_one_seed_gives_no_deviation_and_an_endless_interval(on):
    a, b = told("a", on, [0.3]), told("b", on, [0.2])
    assert np.isnan(a.sd("ndcg@10"))
    d = difference(a, b, "ndcg@10")
    assert (d.low, d.high) == (-np.inf, np.inf)


def test_other_seeds_cannot_be_paired(on):
    with pytest.raises(UserError, match="cannot be paired"):
        difference(told("a", on, [0.3, 0.2]), told("b", on, [0.2, 0.1], first=5), "ndcg@10")


def test_each_seed_is_the_evaluation_with_that_seed_and_progress_never_goes_back(on):
    heard = []
    args = {"multdae": {"latent_size": 8, "epochs": 2}}
    dae, ease = repeat(
        ["multdae", "ease"], on, [4, 5], args=args, progress=lambda *told: heard.append(told)
    )
    alone = evaluate("multdae", on, args=args["multdae"], seed=5)
    assert dae.values("ndcg@10")[1] == alone["ndcg@10"]
    assert dae.sd("ndcg@10") > 0.0
    assert ease.sd("ndcg@10") == 0.0
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert heard[0] == (0.125, heard[0][1])
    assert heard[0][1].startswith("multdae, seed 4, loss ")
