"""Models that compose whole slates: what they learn from, what they are asked for, what they draw.

The planted structure is a pair of items that is worth something together only, which a ranking of
single items cannot see; the balance of the GFlowNet is checked against every slate there is.
"""

from functools import lru_cache
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.slates.composed import Consumption, ShownSlates
from loopaudit.recommenders.generative.slates.gflownet import GFlowNet
from loopaudit.recommenders.generative.slates.list_cvae import ListCVAE
from loopaudit.recommenders.interactions import Interactions, Ragged


def catalog(n_items):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def log_of(rows, n_items, kind=None):
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    step = np.arange(len(user), dtype=np.int64)
    return Interactions(user, ragged.values, step, len(rows), n_items, kind=kind)


def two_tastes(n_users=80, n_items=40, each=10, seed=0):
    """Even people take items of the first half, odd people of the second."""
    luck = np.random.default_rng(seed)
    half = n_items // 2
    rows = [(luck.permutation(half)[:each] + (u % 2) * half).tolist() for u in range(n_users)]
    return log_of(rows, n_items)


def ask(rows, k=3, seed=0, **more):
    users = np.arange(len(rows), dtype=np.int32)
    return Requests(users, Ragged.from_lists(rows), k, seed=seed, **more)


def small():
    return [
        ListCVAE(
            slate_size=3,
            context=8,
            embedding_size=16,
            hidden_size=32,
            latent_size=4,
            epochs=25,
            batch_size=32,
            learning_rate=1e-2,
        ),
        GFlowNet(
            slate_size=3,
            context=8,
            embedding_size=16,
            hidden_size=32,
            response_epochs=15,
            epochs=8,
            steps=6,
            people=4,
            slates=6,
            batch_size=32,
            learning_rate=1e-2,
        ),
    ]


every = pytest.mark.parametrize("model", small(), ids=lambda m: m.name)


# -- slates to learn from ----------------------------------------------------------------------


def test_a_run_of_consumption_is_a_slate_that_answers_what_came_before():
    log = log_of([[5, 3, 1, 4, 2, 0], [7, 6]], 8)
    person, slates = Consumption(log, 8, slots=3, context=2).liked(torch.Generator().manual_seed(0))
    assert person.tolist() == [0, 0, 1]
    rows = [log.histories().row(int(who)).tolist() for who in person]
    for row, before, items, taken in zip(
        rows, slates.before, slates.items, slates.taken, strict=True
    ):
        held = items[taken].tolist()
        start = row.index(held[0])
        assert row[start : start + len(held)] == held
        assert set(items[~taken]) <= {8}
        assert [x for x in before if x < 8] == row[max(0, start - 2) : start]


def test_slates_of_an_update_end_with_what_is_new():
    log = log_of([list(range(12))], 12)
    slates = Consumption(log, 12, slots=3, context=2, since=10)
    for seed in range(20):
        _, drawn = slates.liked(torch.Generator().manual_seed(seed))
        assert drawn.items[:, -1].tolist() in ([10], [11])


def test_a_mixed_slate_says_of_each_item_whether_the_person_ever_took_it():
    log = two_tastes(n_users=400)
    person, _ = Consumption(log, 40, slots=4, context=3).liked(torch.Generator().manual_seed(1))
    slates = Consumption(log, 40, slots=4, context=3).mixed(torch.Generator().manual_seed(1))
    owned = log.to_csr().toarray() > 0
    real = slates.items < 40
    truth = owned[person[:, None], np.minimum(slates.items, 39)] & real
    assert (slates.taken == truth).all()
    share = (slates.taken.sum(axis=1) / real.sum(axis=1)).round(2)
    assert 0.4 < (share == 1.0).mean() < 0.75  # every other one is left whole
    assert 0.2 < slates.taken[share < 1.0].mean() < 0.8
    ordered = np.sort(np.where(real, slates.items, -np.arange(1, 5)), axis=1)
    assert (np.diff(ordered, axis=1) != 0).all()  # nothing stands twice


def test_what_people_rejected_comes_into_their_slates_untaken():
    kind = np.array([0] * 6 + [2] * 2, np.int8)
    log = log_of([[0, 1, 2, 3, 4, 5, 9, 8]], 10, kind)
    slates = Consumption(log, 10, slots=3, context=2)
    seen = [slates.mixed(torch.Generator().manual_seed(seed)) for seed in range(60)]
    items = np.concatenate([one.items.ravel() for one in seen])
    taken = np.concatenate([one.taken.ravel() for one in seen])
    assert {8, 9} <= set(items)
    assert not taken[items >= 8].any()


# -- both --------------------------------------------------------------------------------------


@every
def test_two_tastes_are_found_from_a_history_never_seen(model):
    model.fit(two_tastes(), catalog(40))
    slates = model.recommend(ask([[0, 1, 2, 3], [20, 21, 22, 23]] * 50, k=6))
    assert (slates.items[::2] < 20).mean() >= 0.85
    assert (slates.items[1::2] >= 20).mean() >= 0.85


@every
def test_the_loss_falls_is_kept_and_survives_saving(model):
    before = torch.get_rng_state()
    heard = []
    model.fit(two_tastes(), catalog(40), progress=lambda *step: heard.append(step))
    assert torch.equal(before, torch.get_rng_state())
    assert [loss for _, _, loss in heard] == model.losses
    assert len(model.losses) == model.epochs
    assert np.mean(model.losses[-3:]) < np.mean(model.losses[:3])
    model.update(two_tastes(seed=1), since=0)
    assert len(model.losses) == model.epochs + model.update_epochs
    assert model.state()["losses"].tolist() == model.losses


@every
def test_updates_go_on_from_a_saved_state_as_if_never_interrupted(model):
    log = two_tastes()
    other = small()[0 if isinstance(model, ListCVAE) else 1]
    model.fit(log.take(np.arange(400)), catalog(40))
    other.load_state(model.state())
    for part in (600, 800):
        for one in (model, other):
            one.update(log.take(np.arange(part)), since=part - 200, seed=part)
    assert all(np.array_equal(a, other.state()[name]) for name, a in model.state().items())


@every
def test_a_slate_holds_nothing_old_rejected_or_withdrawn(model):
    model.fit(two_tastes(n_items=8, each=4), catalog(8))
    model.withdraw(np.arange(8) != 7)
    histories = [[0, 1], [0, 1, 2, 3, 4, 5], []]
    rejected = Ragged.from_lists([[2], [6], [3]])
    slates = model.recommend(ask(histories, k=7, unwanted=rejected))
    assert sorted(slates.items[0].tolist()) == [-1, -1, -1, 3, 4, 5, 6]
    assert slates.items[1].tolist() == [-1] * 7
    assert sorted(slates.items[2].tolist()) == [-1, 0, 1, 2, 4, 5, 6]
    model.withdraw(np.ones(8, bool))
    assert 7 in model.recommend(ask(histories, k=7)).items


@every
def test_an_empty_log_can_be_fitted_and_learned_from_later(model):
    model.fit(two_tastes().take(np.zeros(0, dtype=np.int64)), catalog(40))
    assert (model.recommend(ask([[], [3]])).items >= 0).all()
    model.update(two_tastes(), since=0)
    assert np.isfinite(model.score(ask([[], [3]]))).all()


# -- List-CVAE ---------------------------------------------------------------------------------


def planted_pair(n=6000, n_items=12, slots=3, seed=0):
    """Slates drawn at random; one with items 0 and 1 in it is taken whole, others hardly."""
    luck = np.random.default_rng(seed)
    items = np.argsort(luck.random((n, n_items)), axis=1)[:, :slots]
    pair = (items == 0).any(axis=1) & (items == 1).any(axis=1)
    taken = luck.random((n, slots)) < np.where(pair, 1.0, 0.15)[:, None]
    return ShownSlates(np.full((n, 1), n_items), items, taken)


def share_with_the_pair(response):
    model = ListCVAE(
        slate_size=3,
        context=1,
        response=response,
        embedding_size=16,
        hidden_size=64,
        latent_size=8,
        epochs=10,
        learning_rate=1e-2,
    )
    model.fit_slates(planted_pair(), 12)
    items = model.recommend(ask([[]] * 500)).items
    assert (np.diff(np.sort(items, axis=1), axis=1) > 0).all()
    return ((items == 0).any(axis=1) & (items == 1).any(axis=1)).mean()


def test_the_pair_that_is_taken_together_is_drawn_for_a_high_answer_and_not_for_a_low_one():
    at_random = 3 * 2 / (12 * 11)
    assert share_with_the_pair(1.0) > 0.8
    assert share_with_the_pair(0.0) < 2 * at_random


def test_slates_of_another_size_are_refused():
    with pytest.raises(UserError, match="slate_size = 5 slots, got 3"):
        ListCVAE(slate_size=5).fit_slates(planted_pair(n=4), 12)


def test_the_answer_wished_for_is_a_share():
    with pytest.raises(UserError, match="from 0 to 1, got 5"):
        ListCVAE(response=5)
    with pytest.raises(UserError, match='"list" or "bundle", got \'shelf\''):
        ListCVAE(structure="shelf")


def test_a_bundle_says_that_it_is_one():
    model = ListCVAE(slate_size=3, epochs=1, structure="bundle")
    model.fit(two_tastes(), catalog(40))
    assert model.recommend(ask([[1]])).structure == "bundle"


# -- GFlowNet ----------------------------------------------------------------------------------


@lru_cache
def balanced(seed=0):
    """A GFlowNet for slates of 3 out of 8 whose log reward has single and paired parts."""
    luck = np.random.default_rng(seed)
    worth = torch.from_numpy(luck.normal(0, 1, 8))
    together = np.triu(luck.normal(0, 1, (8, 8)), 1)
    pairs = torch.from_numpy(together + together.T)

    def log_reward(before, slates):
        both = pairs[slates[:, :, None], slates[:, None, :]].sum(dim=(1, 2)) / 2
        return worth[slates].sum(dim=1) + both

    model = GFlowNet(
        slate_size=3,
        context=1,
        embedding_size=16,
        hidden_size=64,
        people=4,
        slates=16,
        epochs=20,
        learning_rate=1e-2,
    )
    model.fit_reward(log_reward, np.array([[8]]), 8)
    slates = np.array(list(permutations(range(8), 3)))
    log_p = model.log_prob(ask([[]] * len(slates)), slates)
    return model, slates, log_p, log_reward(None, torch.from_numpy(slates)).numpy()


def test_every_slate_is_as_probable_as_its_reward_says():
    """All 336 slates of 3 out of 8, and the 56 sets that they are orders of."""
    _, slates, log_p, log_reward = balanced()
    assert np.exp(log_p).sum() == pytest.approx(1.0)
    assert spearmanr(log_p, log_reward)[0] > 0.97
    code = (1 << slates).sum(axis=1)
    sets = [(1 << np.array(one)).sum() for one in combinations(range(8), 3)]
    whole = [np.log(np.exp(log_p[code == one]).sum()) for one in sets]
    reward = [log_reward[code == one][0] for one in sets]
    assert len(sets) == 56
    assert spearmanr(whole, reward)[0] > 0.97
    assert np.polyfit(reward, whole, 1)[0] == pytest.approx(1.0, abs=0.1)  # the power is 1


def test_slates_are_drawn_as_often_as_their_propensities_say():
    n = 20_000
    model, slates, log_p, _ = balanced()
    drawn = model.recommend(ask([[]] * n))
    said = np.log(drawn.propensities.astype(np.float64)).sum(axis=1)
    place = {tuple(one): row for row, one in enumerate(slates.tolist())}
    rows = np.array([place[tuple(one)] for one in drawn.items.tolist()])
    assert said == pytest.approx(log_p[rows], abs=1e-3)
    expected = n * np.exp(log_p)
    common = expected >= 10
    got = np.bincount(rows, minlength=len(slates))[common]
    chi_square = ((got - expected[common]) ** 2 / expected[common]).sum()
    assert chi_square < common.sum() + 4 * (2 * common.sum()) ** 0.5


def test_from_a_log_slates_are_as_probable_as_the_next_item_is_likely_to_stand_in_them():
    model = GFlowNet(
        slate_size=2,
        context=4,
        sharpness=3.0,
        embedding_size=8,
        hidden_size=32,
        response_epochs=5,
        people=4,
        epochs=15,
        learning_rate=1e-2,
    )
    model.fit(two_tastes(n_items=10, each=5), catalog(10))
    slates = np.array(list(permutations([2, 3, 4, 5, 6, 7, 8, 9], 2)))
    log_p = model.log_prob(ask([[0, 1]] * len(slates)), slates)
    before = torch.tensor([[10, 10, 0, 1]])
    chance = model._chance(before).numpy()[0]
    log_reward = 3.0 * np.log(chance[slates].sum(axis=1))
    assert np.exp(log_p).sum() == pytest.approx(1.0)
    assert spearmanr(log_p, log_reward)[0] > 0.9


def test_settings_that_make_no_balance_are_refused():
    with pytest.raises(UserError, match="slates at least 2"):
        GFlowNet(slates=1)
    with pytest.raises(UserError, match="sharpness must be at least 0"):
        GFlowNet(sharpness=-1.0)
