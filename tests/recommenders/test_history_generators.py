"""Models that rebuild whole histories do what their papers' equations say."""

from itertools import permutations

import numpy as np
import pytest
import torch

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.profiles.cfgan import CFGAN
from loopaudit.recommenders.generative.profiles.diffrec import DiffRec, Schedule
from loopaudit.recommenders.generative.profiles.ldiffrec import LDiffRec
from loopaudit.recommenders.generative.profiles.multdae import MultDAE
from loopaudit.recommenders.generative.profiles.multvae import MultVAE
from loopaudit.recommenders.generative.profiles.recvae import RecVAE
from loopaudit.recommenders.interactions import Interactions, Ragged


def catalog(n_items):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def two_tastes(n_users=80, n_items=40, each=10, seed=0):
    """Even people take items of the first half, odd people of the second."""
    luck = np.random.default_rng(seed)
    half = n_items // 2
    rows = [(luck.permutation(half)[:each] + (u % 2) * half).tolist() for u in range(n_users)]
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    step = np.arange(len(user), dtype=np.int64)
    return Interactions(user, ragged.values, step, len(rows), n_items)


def ask(rows, k=3, seed=0, step=0):
    users = np.arange(len(rows), dtype=np.int32)
    return Requests(users, Ragged.from_lists(rows), k, seed=seed, step=step)


def small():
    return [
        MultVAE(hidden_size=32, latent_size=8, epochs=30, batch_size=16),
        MultDAE(latent_size=16, epochs=30, batch_size=16),
        RecVAE(hidden_size=32, latent_size=8, layers=2, epochs=60, batch_size=16),
        DiffRec(hidden_size=32, middle_size=16, epochs=40, batch_size=16, learning_rate=5e-3),
        LDiffRec(hidden_size=16, latent_size=8, epochs=40, batch_size=16),
    ]


@pytest.mark.parametrize("model", small(), ids=lambda m: m.name)
def test_two_tastes_are_found_from_a_history_never_seen(model):
    model.fit(two_tastes(), catalog(40))
    slates = model.recommend(ask([[0, 1, 2, 3], [20, 21, 22, 23]], k=10))
    assert (slates.items[0] < 20).mean() >= 0.9
    assert (slates.items[1] >= 20).mean() >= 0.9


@pytest.mark.parametrize("model", small(), ids=lambda m: m.name)
def test_the_loss_falls_is_kept_and_survives_saving(model):
    before = torch.get_rng_state()
    heard = []
    model.fit(two_tastes(), catalog(40), progress=lambda *step: heard.append(step))
    assert torch.equal(before, torch.get_rng_state())
    assert [loss for _, _, loss in heard] == model.losses
    assert len(model.losses) == model.epochs
    assert np.mean(model.losses[-5:]) < np.mean(model.losses[:5])
    model.update(two_tastes(seed=1), since=0)
    assert len(model.losses) == model.epochs + model.update_epochs
    assert model.state()["losses"].tolist() == model.losses


@pytest.mark.parametrize("model", small(), ids=lambda m: m.name)
def test_an_empty_log_can_be_fitted_and_learned_from_later(model):
    model.fit(two_tastes().take(np.zeros(0, dtype=np.int64)), catalog(40))
    assert np.isfinite(model.score(ask([[], [3]]))).all()
    model.update(two_tastes(), since=0)
    assert np.isfinite(model.score(ask([[], [3]]))).all()


@pytest.mark.parametrize("make", [MultVAE, MultDAE, RecVAE, DiffRec, LDiffRec])
def test_updates_go_on_from_a_saved_state_as_if_never_interrupted(make):
    log = two_tastes()
    model, other = make(epochs=2), make(epochs=2)
    model.fit(log.take(np.arange(400)), catalog(40))
    other.load_state(model.state())
    for part in (600, 800):
        for one in (model, other):
            one.update(log.take(np.arange(part)), since=part - 200, seed=part)
    assert all(np.array_equal(a, other.state()[name]) for name, a in model.state().items())


@pytest.mark.parametrize("model", small()[:3], ids=lambda m: m.name)
def test_scores_of_a_sparse_history_are_those_of_the_dense_one_and_know_no_batch(model):
    model.fit(two_tastes(), catalog(40))
    rows = [[0, 1, 2, 3], [], [39], list(range(40))] * 50
    scores = model.score(ask(rows))
    with torch.no_grad():
        dense = torch.from_numpy(ask(rows).history.to_csr(40).toarray())
        whole = model.network
        if isinstance(model, MultDAE):
            expected = whole(dense, 0.0, None)
        else:
            encode = whole.encoder if isinstance(model, RecVAE) else whole.encode
            expected = whole.decode(encode(dense, 0.0, None)[0])
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-4, atol=1e-5)
    alone = np.concatenate([model.score(ask([row])) for row in rows[:4]])
    assert alone.tobytes() == scores[-4:].tobytes()
    assert model.score(ask([])).shape == (0, 40)


# -- Mult-VAE as a generator -------------------------------------------------------------------


def sampler(**args):
    model = MultVAE(
        hidden_size=16, latent_size=4, epochs=10, batch_size=16, sample=True, beta=1.0, **args
    )
    model.fit(two_tastes(n_items=6, each=2), catalog(6))
    return model


def test_a_sampled_slate_holds_nothing_of_the_history_or_withdrawn():
    model = sampler()
    model.withdraw(np.array([True, True, True, True, True, False]))
    slates = model.recommend(ask([[0, 1], [0, 1, 2, 3, 4], [0, 1, 2, 3]], k=3))
    assert sorted(slates.items[0].tolist()) == [2, 3, 4]
    assert slates.items[1].tolist() == [-1, -1, -1]
    assert slates.items[2].tolist() == [4, -1, -1]
    assert slates.propensities[2].tolist() == [1.0, 0.0, 0.0]
    assert slates.propensities[:, 2].tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_propensities_are_the_frequencies_of_sampled_slates():
    """Of 20,000 people with one history: each ordered pair as often as its propensities say."""
    n = 20_000
    slates = sampler(propensity_draws=64).recommend(ask([[0]] * n, k=2))
    pairs = [tuple(pair) for pair in permutations(range(1, 6), 2)]
    said = slates.propensities.astype(np.float64).prod(axis=1)
    total = 0.0
    for pair in pairs:
        rows = (slates.items == pair).all(axis=1)
        frequency = rows.mean()
        total += said[rows].mean()
        assert frequency == pytest.approx(said[rows].mean(), abs=4 * (frequency / n) ** 0.5 + 4e-3)
    assert total == pytest.approx(1.0, abs=0.02)


def test_sampled_slates_are_the_same_in_any_batch():
    model = sampler(propensity_draws=3)
    requests = ask([[u % 3] for u in range(300)], k=3)
    whole = model.recommend(requests)
    part = model.recommend(requests.take(np.array([299, 7])))
    assert np.array_equal(part.items, whole.items[[299, 7]])
    assert np.array_equal(part.propensities, whole.propensities[[299, 7]])


# -- RecVAE ------------------------------------------------------------------------------------


def test_encoder_and_decoder_are_trained_in_turns():
    model = RecVAE(hidden_size=8, latent_size=4, layers=2, encoder_epochs=2)
    model.fit(two_tastes(), catalog(40))
    states = []

    def remember(done, total, loss):
        parts = {"encoder": [], "decoder": []}
        for name, parameter in model.network.named_parameters():
            parts[name.split(".")[0]].append(parameter.detach().numpy().copy().ravel())
        states.append({part: np.concatenate(arrays) for part, arrays in parts.items()})

    model.epochs = 6
    model.fit(two_tastes(), catalog(40), progress=remember)
    for part, turns in (("encoder", [1, 3, 4]), ("decoder", [2, 5])):
        moved = [
            epoch
            for epoch in range(1, 6)
            if not np.array_equal(states[epoch][part], states[epoch - 1][part])
        ]
        assert moved == turns


def test_the_encoder_is_held_near_what_it_was_before_its_whole_turn():
    model = RecVAE(hidden_size=8, latent_size=4, layers=2, encoder_epochs=2, epochs=6)
    held = []
    model.fit(two_tastes(), catalog(40), progress=lambda *_: held.append(model._before))
    assert [held[i] is held[i - 1] for i in range(1, 6)] == [True, True, False, True, True]


def test_the_composite_prior_is_the_mixture_of_its_three_densities():
    from scipy.stats import norm

    model = RecVAE(hidden_size=8, latent_size=2, layers=2)
    model._build(5, 0)
    model._epoch(0)
    x = torch.tensor([[1.0, 0, 1, 0, 0]])
    z = torch.tensor([[0.3, -1.2]])
    mu, log_var = (part.numpy() for part in model._before(x, 0.0, None))
    expected = np.log(
        0.15 * norm.pdf(z)
        + 0.75 * norm.pdf(z, mu, np.exp(log_var / 2))
        + 0.1 * norm.pdf(z, 0, np.exp(5))
    )
    assert model._log_prior(z, x).numpy() == pytest.approx(expected, rel=1e-4)


# -- DiffRec -----------------------------------------------------------------------------------


def test_the_schedule_is_the_papers_equation():
    made = Schedule(5, 0.1, 0.001, 0.01)
    assert 1 - made.signal == pytest.approx([0, 1e-4, 3.25e-4, 5.5e-4, 7.75e-4, 1e-3])
    ratio = made.signal[1:] / (1 - made.signal[1:])
    assert made.weight[1] == 1.0
    assert made.weight[3] == pytest.approx((ratio[1] - ratio[2]) / 2)


def test_a_step_back_is_bayes_rule_for_gaussians():
    """Mean of x_s given x_t and x_0, from the joint covariance of the forward process."""
    made = Schedule(4, 1.0, 0.1, 0.6)
    for t, s in ((4, 3), (3, 1), (4, 1), (2, 0)):
        now, then = made.signal[t], made.signal[s]
        step = now / then  # x_t = sqrt(step) x_s + noise
        covariance = np.sqrt(step) * (1 - then)  # of x_s and x_t given x_0
        gain = covariance / (1 - now)
        clean, noisy = made.towards(t, s)
        assert noisy == pytest.approx(gain)
        assert clean == pytest.approx(np.sqrt(then) - gain * np.sqrt(now))


@pytest.mark.parametrize(("n", "jumps"), [(4, [(4, 3), (3, 2), (2, 1), (1, 0)]), (1, [(4, 0)])])
def test_sampling_steps_are_what_recommending_costs(n, jumps):
    assert Schedule(4, 1.0, 0.1, 0.6).backwards(n) == jumps
    model = DiffRec(hidden_size=8, steps=4, sampling_steps=n, epochs=1)
    model.fit(two_tastes(), catalog(40))
    passes = []
    model.network.register_forward_hook(lambda *_: passes.append(1))
    model.score(ask([[0, 1]]))
    assert len(passes) == n


def test_steps_are_drawn_in_proportion_to_their_losses_once_all_are_known():
    model = DiffRec(hidden_size=8, steps=3)
    luck = torch.Generator().manual_seed(0)
    t, times = model._draw_steps(30_000, luck)
    assert times.unique().tolist() == [1.0]
    assert np.bincount(t.numpy())[1:] / 30_000 == pytest.approx(np.full(3, 1 / 3), abs=0.01)
    model._remember(np.repeat(np.arange(3), 10), np.repeat([1.0, 2.0, 5.0], 10))
    t, times = model._draw_steps(30_000, luck)
    share = np.bincount(t.numpy())[1:] / 30_000
    assert share == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.01)
    assert (1 / times).mean().item() == pytest.approx(1.0, abs=0.02)  # unbiased


def test_only_the_latest_losses_of_a_step_are_remembered():
    model = DiffRec(hidden_size=8, steps=2)
    model._remember(np.zeros(25, dtype=np.int64), np.arange(25.0))
    assert sorted(model.met[0].tolist()) == list(range(15, 25))
    assert model.n_met.tolist() == [25, 0]


def test_diffusion_without_noise_added_is_deterministic_and_with_it_says_stochastic():
    assert not DiffRec().capabilities.stochastic
    noisy = DiffRec(hidden_size=8, epochs=1, noise_scale=1.0, noise_max=0.5, corrupt_steps=3)
    assert noisy.capabilities.stochastic
    noisy.fit(two_tastes(), catalog(40))
    one, two = (noisy.score(ask([[0, 1]], seed=seed)) for seed in (1, 2))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"time_size": 5}, "time_size must be an even number"),
        ({"noise_min": 0.5, "noise_max": 0.1}, "noise_min at most noise_max"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"sampling_steps": 9}, "sampling_steps must be at least 0 and at most steps = 5"),
    ],
)
def test_settings_that_make_no_diffusion_are_refused(args, said):
    with pytest.raises(UserError, match=said):
        DiffRec(**args)


# -- CFGAN -------------------------------------------------------------------------------------


def gan(**args):
    small = {"hidden_size": 32, "discriminator_size": 16, "batch_size": 16, "epochs": 30}
    return CFGAN(**({"zero_weight": 0.05, "learning_rate": 3e-3} | small | args))


@pytest.mark.parametrize("noise_size", [0, 4])
@pytest.mark.parametrize("based", ["item", "user"])
def test_the_adversarial_generator_finds_two_tastes(based, noise_size):
    log = two_tastes()
    model = gan(based=based, noise_size=noise_size)
    model.fit(log, catalog(40))
    scores = model.score(Requests(np.arange(80, dtype=np.int32), log.histories(), 10))
    scores[log.user, log.item] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5]
    assert ((best >= 20) == (np.arange(80) % 2 == 1)[:, None]).mean() > 0.9


def test_without_noise_the_generator_is_deterministic_and_with_it_it_generates():
    log = two_tastes()
    for noise_size, differ in ((0, False), (4, True)):
        model = gan(based="item", noise_size=noise_size, epochs=2)
        model.fit(log, catalog(40))
        one, two = (model.score(ask([[0, 1]], seed=seed)) for seed in (1, 2))
        assert np.array_equal(one, two) is not differ
        assert model.capabilities.stochastic is differ


def test_only_what_was_bought_or_masked_reaches_the_discriminator():
    c = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    x, luck = torch.full((2, 4), 0.5), torch.Generator().manual_seed(0)
    assert gan(mask_share=0.0)._seen(x, c, luck).tolist() == (0.5 * c).tolist()
    assert gan(mask_share=1.0)._seen(x, c, luck).tolist() == x.tolist()


def test_by_items_a_stranger_is_answered_like_the_mean_person():
    log = two_tastes()
    model = gan(based="item", noise_size=0, epochs=5)
    model.fit(log, catalog(40))
    everybody = model.score(Requests(np.arange(80, dtype=np.int32), log.histories(), 3))
    stranger = model.score(Requests(np.array([-1], np.int32), Ragged.empty(1), 3))
    assert stranger[0] == pytest.approx(everybody.mean(axis=0), abs=1e-6)
    assert (model.capabilities.history, gan(based="user").capabilities.history) == (
        "trained_users_only",
        "any",
    )


def test_an_adversarial_generator_of_nobody_answers_and_learns_later():
    for based in ("item", "user"):
        model = gan(based=based, epochs=2)
        model.fit(two_tastes().take(np.zeros(0, dtype=np.int64)), catalog(40))
        assert np.isfinite(model.score(ask([[], [3]]))).all()
        model.update(two_tastes(), since=0)
        assert len(model.losses) == 2


def test_a_base_that_is_neither_items_nor_users_is_refused():
    with pytest.raises(UserError, match='based must be "item" or "user"'):
        CFGAN(based="basket")
