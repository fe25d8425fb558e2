"""ALS minimises its objective, by hand and against what linear algebra says of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.classic.als import ALS
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.interactions import Interactions, Ragged


def catalog(n_items):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def log_of(x):
    user, item = np.nonzero(x)
    step = np.arange(len(user))
    return Interactions(user.astype(np.int32), item.astype(np.int32), step, *x.shape)


def random_log(seed, shape=(30, 20), density=0.3):
    return (np.random.default_rng(seed).random(shape) < density).astype(float)


def test_the_person_solved_has_no_gradient():
    x = random_log(0)
    model = ALS(embedding_size=4, alpha=3.0, reg=0.5)
    y = np.random.default_rng(1).normal(size=(20, 4))
    people = model.solved(Ragged.from_lists([np.flatnonzero(r) for r in x]).to_csr(20), y)
    weight = 1.0 + 3.0 * x
    gradient = (weight * (people @ y.T - x)) @ y + 0.5 * people
    assert np.abs(gradient).max() < 1e-9


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.0, 10.0), st.floats(0.1, 20.0))
def test_no_sweep_raises_the_objective_and_the_loss_told_is_the_objective(seed, alpha, reg):
    x = random_log(seed)
    model = ALS(embedding_size=5, alpha=alpha, reg=reg, iterations=6)
    model.fit(log_of(x), catalog(20), seed=seed)
    assert (np.diff(model.losses) <= 1e-9 * abs(model.losses[0])).all()
    csr = Ragged.from_lists([np.flatnonzero(r) for r in x]).to_csr(20)
    people = model.solved(csr, model.items)  # half a sweep further
    loss = ((1.0 + alpha * x) * (x - people @ model.items.T) ** 2).sum()
    loss += reg * ((people**2).sum() + (model.items**2).sum())
    assert loss / 30 <= model.losses[-1] + 1e-9
    model._sweep(log_of(x), 1, None)
    assert model.losses[-1] <= loss / 30 + 1e-9


def test_unweighted_and_hardly_regularised_it_is_the_best_approximation_of_its_rank():
    """Eckart & Young 1936: the truncated singular value decomposition."""
    x = random_log(3)
    model = ALS(embedding_size=3, alpha=0.0, reg=1e-9, iterations=400)
    model.fit(log_of(x), catalog(20))
    rows = [np.flatnonzero(r).tolist() for r in x]
    scores = model.score(Requests(np.arange(30, dtype=np.int32), Ragged.from_lists(rows), 5))
    u, s, v = np.linalg.svd(x, full_matrices=False)
    assert scores == pytest.approx((u[:, :3] * s[:3]) @ v[:3], abs=1e-3)


def test_an_update_goes_on_and_a_fit_starts_anew():
    x = random_log(4)
    model = ALS(embedding_size=4, iterations=5, update_iterations=2)
    model.fit(log_of(x), catalog(20), seed=1)
    first = model.losses.copy()
    model.update(log_of(x), since=0)
    assert model.losses[:5] == first
    assert len(model.losses) == 7
    assert model.losses[-1] <= first[-1]
    model.fit(log_of(x), catalog(20), seed=1)
    assert model.losses == first


def test_settings_that_make_no_problem_to_solve_are_refused():
    for wrong in ({"reg": 0.0}, {"alpha": -1.0}, {"embedding_size": 0}):
        with pytest.raises(UserError, match="reg above 0"):
            ALS(**wrong)
