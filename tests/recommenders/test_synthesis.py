"""Synthetic people: who they are like, and that they are drawn as asked."""

import numpy as np
import pytest

from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.profiles import cfgan, multvae
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.synthesis import SOURCES, beside_real, synthetic_people


def catalog(n_items=40):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def two_tastes(n_users=80, each=10):
    """Even people take items of the first half, odd people of the second."""
    luck = np.random.default_rng(0)
    rows = [(luck.permutation(20)[:each] + (u % 2) * 20).tolist() for u in range(n_users)]
    ragged = Ragged.from_lists(rows)
    step = np.arange(len(ragged.values), dtype=np.int64)
    return Interactions(ragged.row_index.astype(np.int32), ragged.values, step, n_users, 40)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Generators that learn two tastes in a second."""
    for module, name, args in (
        (multvae, "MultVAE", {"hidden_size": 32, "latent_size": 8, "epochs": 20, "batch_size": 16}),
        (
            cfgan,
            "CFGAN",
            {
                "hidden_size": 32,
                "discriminator_size": 16,
                "epochs": 150,
                "batch_size": 16,
                "zero_weight": 0.05,
                "learning_rate": 3e-3,
            },
        ),
    ):
        whole = getattr(module, name)
        monkeypatch.setattr(module, name, lambda whole=whole, args=args, **k: whole(**args, **k))


@pytest.mark.parametrize("source", SOURCES)
def test_synthetic_people_have_one_taste_each_as_real_ones_do(source):
    made = synthetic_people(two_tastes(), catalog(), people=100, source=source, seed=1)
    assert made.n_users == 100
    histories = made.histories()
    share = np.array([(histories.row(r) < 20).mean() for r in range(100) if len(histories.row(r))])
    assert ((share < 0.25) | (share > 0.75)).mean() > 0.85
    assert 0.3 < (share > 0.5).mean() < 0.7  # no taste is lost
    pairs = made.user.astype(np.int64) * 40 + made.item
    assert len(np.unique(pairs)) == len(pairs)


@pytest.mark.parametrize("source", ["multvae", "resampled"])
def test_the_same_seed_draws_the_same_people_and_another_seed_others(source):
    one, same, other = (
        synthetic_people(two_tastes(), catalog(), people=30, source=source, seed=seed)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.item, same.item)
    assert np.array_equal(one.user, same.user)
    assert not np.array_equal(one.item, other.item)


def test_a_generator_gives_histories_that_nobody_had():
    log = two_tastes()
    made = synthetic_people(log, catalog(), people=50, source="multvae", seed=0).to_csr()
    overlap = (made @ log.to_csr().T).toarray()  # items shared with each real person
    assert (overlap.max(axis=1) < 10).mean() > 0.8
    lengths = np.asarray(made.sum(axis=1)).ravel()
    assert set(lengths) == {10.0}


def test_beside_real_people_synthetic_ones_are_users_of_their_own():
    log = two_tastes()
    both = beside_real(log, synthetic_people(log, catalog(), people=5, source="resampled"))
    assert both.n_users == 85
    assert np.array_equal(both.histories().take(np.arange(80)).values, log.histories().values)
    assert (both.user[both.step < 0] >= 80).all()
    assert (np.diff(both.step) >= 0).all()


def test_an_unknown_source_and_an_empty_log_are_refused():
    with pytest.raises(UserError, match="one of multvae, cfgan, resampled, got 'gan'"):
        synthetic_people(two_tastes(), catalog(), people=3, source="gan")
    nothing = two_tastes().take(np.zeros(0, np.int64))
    with pytest.raises(UserError, match="0 rows"):
        synthetic_people(nothing, catalog(), people=3)
