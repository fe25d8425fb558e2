"""Each built-in model does what its paper says: by hand, or on planted structure."""

import numpy as np
import pytest
import torch

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.classic.bprmf import BPRMF
from loopaudit.recommenders.classic.ease import EASE
from loopaudit.recommenders.classic.itemknn import ItemKNN
from loopaudit.recommenders.classic.markov import Markov
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.classic.random import Random
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.profiles.multvae import MultVAE
from loopaudit.recommenders.generative.sequences.sasrec import SASRec
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.training import losses_of


def catalog(n_items):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def log_of(rows, n_items):
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    step = np.arange(len(user), dtype=np.int64)
    return Interactions(user, ragged.values, step, len(rows), n_items)


def ask(rows, k=3, seed=0, users=None, step=0):
    users = np.arange(len(rows)) if users is None else users
    return Requests(np.asarray(users, np.int32), Ragged.from_lists(rows), k, seed=seed, step=step)


def two_tastes(n_users=80, n_items=40, each=10, seed=0):
    """Even people take items of the first half, odd people of the second."""
    luck = np.random.default_rng(seed)
    half = n_items // 2
    rows = [(luck.permutation(half)[:each] + (u % 2) * half).tolist() for u in range(n_users)]
    return log_of(rows, n_items)


def cycles(n_users=60, n_items=20, length=15):
    """Everybody walks 0, 1, 2, ... around the catalog, from a different start."""
    return log_of([[(u + t) % n_items for t in range(length)] for u in range(n_users)], n_items)


def trained():
    """Models that learn by gradient, small."""
    return [
        BPRMF(embedding_size=8, epochs=30, learning_rate=0.02, batch_size=128),
        MultVAE(hidden_size=32, latent_size=8, epochs=30, batch_size=16),
        SASRec(embedding_size=16, max_length=10, epochs=15, batch_size=16),
    ]


# -- random ------------------------------------------------------------------------------------


def fitted_random(n_items, **args):
    model = Random(**args)
    model.fit(log_of([[0]], n_items), catalog(n_items))
    return model


def test_random_shows_every_unseen_item_equally_often():
    n = 20_000
    history = [[0, 3]] * n
    slates = fitted_random(8).recommend(ask(history, k=2))
    for slot in range(2):
        counts = np.bincount(slates.items[:, slot], minlength=8)
        assert counts[[0, 3]].tolist() == [0, 0]
        expected = n / 6
        chi_square = ((counts[[1, 2, 4, 5, 6, 7]] - expected) ** 2 / expected).sum()
        assert chi_square < 20.5  # 99.9 % point with 5 degrees of freedom
    assert slates.propensities == pytest.approx(1 / 6)


def test_random_runs_out_of_items_and_says_so():
    slates = fitted_random(4).recommend(ask([[0, 1, 1], [0, 1, 2, 3]], k=3))
    assert sorted(slates.items[0].tolist()) == [-1, 2, 3]
    assert slates.propensities[0].tolist() == [0.5, 0.5, 0]
    assert slates.items[1].tolist() == [-1, -1, -1]


def test_random_may_repeat_when_told_to():
    slates = fitted_random(4, repeat=True).recommend(ask([[0, 1, 2]], k=4))
    assert sorted(slates.items[0].tolist()) == [0, 1, 2, 3]
    assert slates.propensities == pytest.approx(0.25)


def test_random_luck_follows_seed_step_person_and_argument():
    base = fitted_random(50).recommend(ask([[]] * 5, k=10)).items
    for other in (
        fitted_random(50).recommend(ask([[]] * 5, k=10, seed=1)),
        fitted_random(50).recommend(ask([[]] * 5, k=10, step=1)),
        fitted_random(50).recommend(ask([[]] * 5, k=10, users=np.arange(5, 10))),
        fitted_random(50, seed=1).recommend(ask([[]] * 5, k=10)),
    ):
        assert (other.items != base).any(axis=1).all()


# -- counting models, by hand ------------------------------------------------------------------


def test_popularity_counts_and_updates_to_the_same_counts():
    log = log_of([[2, 1], [2, 3], [2, 1]], 5)
    model = Popularity()
    model.fit(log, catalog(5))
    assert model.recommend(ask([[]], k=5)).items.tolist() == [[2, 1, 3, 4, 0]]
    grown = Popularity()
    grown.fit(log.take(np.arange(3)), catalog(5))
    grown.update(log, since=3)
    assert grown.counts.tolist() == model.counts.tolist() == [0, 2, 3, 1, 0]
    grown.add_items(catalog(7))
    assert grown.counts.tolist() == [0, 2, 3, 1, 0, 0, 0]
    assert grown.score(ask([[]])).tolist() == [[0, 5, 6, 4, 1, 2, 3]]  # of equals, the newer first


def test_ease_equals_its_closed_form():
    log = two_tastes(n_users=20, n_items=10, each=4)
    model = EASE(reg=3.0)
    model.fit(log, catalog(10))
    x = log.to_csr().toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + 3.0 * np.eye(10))
    b = np.eye(10) - p / np.diag(p)[None, :]
    assert model.weights == pytest.approx(b, abs=1e-6)
    assert np.diag(model.weights).tolist() == [0] * 10
    assert model.score(ask([[1, 4]]))[0] == pytest.approx(b[1] + b[4], abs=1e-6)


def test_item_knn_by_cosine_by_hand():
    log = log_of([[0, 1], [0, 1], [0, 2], [1]], 4)
    model = ItemKNN(similarity="cosine", neighbours=1)
    model.fit(log, catalog(4))
    # cos(0, 1) = 2 / sqrt(3 * 3), cos(0, 2) = 1 / sqrt(3 * 1), cos(1, 2) = 0
    near = model.similar.toarray()
    assert near[1, 0] == pytest.approx(2 / 3)  # the one nearest neighbour of 0 is 1
    assert near[2, 0] == 0
    assert near[0, 2] == pytest.approx(1 / 3**0.5)
    assert near[:, 3].tolist() == [0] * 4
    assert model.score(ask([[0]]))[0] == pytest.approx([0, 2 / 3, 1 / 3**0.5, 0])


def test_item_knn_by_bm25_discounts_busy_people():
    # items 0 and 1 share one quiet person, 0 and 2 one who took everything
    log = log_of([[0, 1], [0, 2, 3, 4, 5], [1, 3], [2, 4]], 6)
    model = ItemKNN(similarity="bm25")
    model.fit(log, catalog(6))
    near = model.similar.toarray()
    assert near[1, 0] > near[2, 0] > 0


def test_an_unknown_similarity_offers_the_known():
    with pytest.raises(UserError, match="bm25"):
        ItemKNN(similarity="bm52")


def test_markov_by_hand():
    log = log_of([[0, 1, 2], [0, 1, 3]], 5)
    model = Markov()
    model.fit(log, catalog(5))
    dense = model.transitions.toarray()
    assert dense[0].tolist() == [0, 2, 0.5, 0.5, 0]
    assert dense[1].tolist() == [0, 0, 1, 1, 0]
    share = np.array([2, 2, 1, 1, 0]) / 6 * 1e-3
    expected = dense[1] + 0.7 * dense[0] + share  # history 0 then 1
    assert model.score(ask([[0, 1]]))[0] == pytest.approx(expected, abs=1e-6)


def test_markov_answers_an_empty_history_by_popularity():
    model = Markov()
    model.fit(log_of([[2, 1], [2], [2, 1, 0]], 4), catalog(4))
    assert model.recommend(ask([[]])).items.tolist() == [[2, 1, 0]]


# -- trained models ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", trained(), ids=lambda m: m.name)
def test_trained_models_find_two_tastes_from_a_history_they_never_saw(model):
    model.fit(two_tastes(), catalog(40))
    slates = model.recommend(ask([[0, 1, 2, 3], [20, 21, 22, 23]], k=10, users=[-1, -1]))
    assert (slates.items[0] < 20).mean() >= 0.9
    assert (slates.items[1] >= 20).mean() >= 0.9


@pytest.mark.parametrize("model", trained(), ids=lambda m: m.name)
def test_training_leaves_the_process_wide_luck_alone_and_reports_its_loss(model):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    heard = []
    model.fit(two_tastes(), catalog(40), progress=lambda *step: heard.append(step))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert [done for done, _, _ in heard] == list(range(1, model.epochs + 1))
    assert {total for _, total, _ in heard} == {model.epochs}
    assert heard[-1][2] < heard[0][2]
    assert losses_of(model) == tuple(loss for _, _, loss in heard)
    assert model.state()["losses"].tolist() == model.losses


@pytest.mark.parametrize("make", [BPRMF, MultVAE, SASRec])
def test_the_seed_argument_changes_the_luck_of_training(make):
    def scores(fit_seed, **args):
        model = make(epochs=1, **args)
        model.fit(two_tastes(), catalog(40), seed=fit_seed)
        return model.score(ask([[0, 1]]))

    assert np.array_equal(scores(0), scores(0))
    assert not np.array_equal(scores(0), scores(1))
    assert not np.array_equal(scores(0), scores(0, seed=1))


@pytest.mark.parametrize("model", trained(), ids=lambda m: m.name)
def test_a_log_without_interactions_can_be_fitted_and_learned_from_later(model):
    empty = two_tastes().take(np.zeros(0, dtype=np.int64))
    model.fit(empty, catalog(40))
    assert np.isfinite(model.score(ask([[], [3]]))).all()
    model.update(two_tastes(), since=0)
    assert np.isfinite(model.score(ask([[], [3]]))).all()


@pytest.mark.parametrize("model", trained(), ids=lambda m: m.name)
def test_scores_are_the_same_bits_in_any_batch(model):
    model.fit(two_tastes(), catalog(40))
    histories = [two_tastes().histories().row(u).tolist()[: u % 11] for u in range(80)]
    requests = ask(histories * 4)  # 320 people: three blocks of rows
    whole = model.score(requests)
    order = np.random.default_rng(0).permutation(320)
    assert model.score(requests.take(order)).tobytes() == whole[order].tobytes()
    for row in (0, 79, 200, 319):
        assert model.score(requests.take(np.array([row]))).tobytes() == whole[row].tobytes()


@pytest.mark.parametrize("make", [MultVAE, SASRec])
def test_probabilities_of_the_catalog_sum_to_one(make):
    model = make(epochs=1)
    model.fit(two_tastes(), catalog(40))
    assert np.exp(model.score(ask([[], [1, 2]]))).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("make", [MultVAE, SASRec])
def test_updates_continue_from_a_saved_state_as_if_never_interrupted(make):
    log = two_tastes()
    model, other = make(epochs=2), make(epochs=2)
    model.fit(log.take(np.arange(400)), catalog(40))
    other.load_state(model.state())
    for part in (600, 800):
        for one in (model, other):
            one.update(log.take(np.arange(part)), since=part - 200, seed=part)
    assert all(np.array_equal(a, other.state()[name]) for name, a in model.state().items())


def test_an_update_teaches_the_autoencoder_a_new_taste():
    model = MultVAE(hidden_size=32, latent_size=8, epochs=20, batch_size=16, update_epochs=10)
    model.fit(two_tastes(), catalog(60))
    rows = [[*range(u % 8, u % 8 + 8), *range(40, 55)] for u in range(80)]
    before = model.score(ask([[1, 2]]))[0, 40:55].mean()
    model.update(log_of(rows, 60), since=0)
    assert model.score(ask([[1, 2]]))[0, 40:55].mean() > before + 1
