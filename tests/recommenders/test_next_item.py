"""Models of the next item: losses in closed form, windows by hand, cycles learned, no peeking."""

import math
from dataclasses import replace
from functools import cache, partial
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.sequences.bert4rec import BERT4Rec
from loopaudit.recommenders.generative.sequences.gru4rec import GRU4Rec
from loopaudit.recommenders.generative.sequences.hstu import HSTU, buckets
from loopaudit.recommenders.generative.sequences.losses import (
    binary_cross_entropy,
    full_cross_entropy,
    sampled_softmax,
)
from loopaudit.recommenders.generative.sequences.sasrec import SASRec
from loopaudit.recommenders.generative.sequences.windows import (
    in_batches,
    latest,
    latest_moments,
    moments,
    windows,
)
from loopaudit.recommenders.interactions import Interactions, Ragged

SMALL = {"embedding_size": 16, "max_length": 8, "batch_size": 16, "learning_rate": 0.01}
MAKE = {
    "sasrec": partial(SASRec, **SMALL, epochs=8),
    "gru4rec": partial(GRU4Rec, **SMALL, hidden_size=16, epochs=8),
    "hstu": partial(HSTU, **SMALL, epochs=8),
    "bert4rec": partial(BERT4Rec, **SMALL, blocks=1, dropout=0.0, epochs=60),
}
CAUSAL = ["sasrec", "gru4rec", "hstu"]


@cache
def walked(name):
    """A model that was trained on cycles, and what it said of its epochs; not to be changed."""
    model, heard = MAKE[name](), []
    model.fit(cycles(), catalog(20), progress=lambda *told: heard.append(told))
    return model, heard


def copied(name):
    """Another with the memory of the trained one."""
    model = MAKE[name]()
    model.load_state(walked(name)[0].state())
    return model


every_model = pytest.mark.parametrize("name", MAKE)
every_causal_model = pytest.mark.parametrize("name", CAUSAL)


def catalog(n_items):
    ids = tuple(str(i) for i in range(n_items))
    nobody = np.full(n_items, -1, dtype=np.int32)
    return Catalog(ids, ids, np.zeros((n_items, 0), np.float32), (), nobody, nobody)


def log_of(rows, n_items):
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    step = np.arange(len(user), dtype=np.int64)
    return Interactions(user, ragged.values, step, len(rows), n_items)


def ask(rows, k=1):
    users = np.arange(len(rows), dtype=np.int32)
    return Requests(users, Ragged.from_lists(rows), k)


def cycles(n_users=60, n_items=20, length=15):
    """Everybody walks 0, 1, 2, ... around the catalog, from a different start."""
    return log_of([[(u + t) % n_items for t in range(length)] for u in range(n_users)], n_items)


# -- losses ------------------------------------------------------------------------------------


def problem(positions=7, n_items=11, size=4):
    luck = torch.Generator().manual_seed(5)
    x = torch.randn(positions, size, generator=luck, dtype=torch.float64)
    items = torch.randn(n_items, size, generator=luck, dtype=torch.float64)
    bias = torch.randn(n_items, generator=luck, dtype=torch.float64)
    targets = torch.randint(0, n_items, (positions,), generator=luck)
    return [part.requires_grad_() for part in (x, items, bias)], targets


def loss_and_gradients(loss, parts):
    return [loss.detach(), *torch.autograd.grad(loss, parts)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("positions", [7, 1300])  # within a block, and over three
def test_the_full_loss_and_its_gradient_are_those_of_cross_entropy(positions):
    (x, items, bias), targets = problem(positions)
    ours = full_cross_entropy(x, items, bias, targets)
    theirs = F.cross_entropy(x @ items.T + bias, targets)
    parts = [x, items, bias]
    assert_same(loss_and_gradients(ours, parts), loss_and_gradients(theirs, parts))


def test_the_full_loss_survives_scores_that_overflow():
    x, items = torch.tensor([[400.0]]), torch.tensor([[1.0], [-1.0], [0.5]])
    loss = full_cross_entropy(x, items, torch.zeros(3), torch.tensor([1]))
    assert loss.item() == pytest.approx(800.0)


def test_a_sample_of_every_item_once_gives_the_full_loss_and_gradient():
    (x, items, bias), targets = problem()
    ours = sampled_softmax(
        x, items, bias, targets, negatives=torch.randperm(11), log_expected=torch.zeros(11)
    )
    theirs = full_cross_entropy(x, items, bias, targets)
    parts = [x, items, bias]
    assert_same(loss_and_gradients(ours, parts), loss_and_gradients(theirs, parts))


def test_the_correction_makes_a_skewed_sample_expect_the_whole_catalog():
    (x, items, bias), targets = problem()
    luck = np.random.default_rng(0)
    share = luck.dirichlet(np.full(11, 2.0))
    drawn = torch.from_numpy(luck.choice(11, 40_000, p=share))
    log_expected = torch.from_numpy(np.log(40_000 * share))[drawn]
    ours = sampled_softmax(x, items, bias, targets, negatives=drawn, log_expected=log_expected)
    theirs = full_cross_entropy(x, items, bias, targets)
    assert ours.item() == pytest.approx(theirs.item(), rel=0.01)


def test_yes_or_no_questions_by_hand_and_draws_of_the_target_do_not_count():
    (x, items, bias), targets = problem()
    negatives = torch.tensor([[0, 1]] * 7)
    ours = binary_cross_entropy(x, items, bias, targets, negatives=negatives)
    z = (x @ items.T + bias).detach().numpy()
    expected = 0.0
    for row, target in enumerate(targets.tolist()):
        expected += np.log1p(np.exp(-z[row, target]))
        expected += sum(np.log1p(np.exp(z[row, j])) for j in (0, 1) if j != target)
    assert ours.item() == pytest.approx(expected / 7 / 3)


def test_calibration_is_the_exponent_of_gsasrec():
    """beta of k = 256 negatives among 3,417 items at t = .75: by hand, a = 256 / 3416."""
    luck = torch.Generator().manual_seed(1)
    items, x = torch.randn(3417, 2, generator=luck), torch.zeros(1, 2)
    bias, target = torch.zeros(3417), torch.tensor([3416])
    losses = [
        binary_cross_entropy(
            x, items, bias, target, negatives=torch.arange(256)[None, :], calibration=t
        ).item()
        for t in (0.0, 0.75, 1.0)
    ]
    share = 256 / 3416
    beta = np.array([1.0, share * (0.75 * (1 - 1 / share) + 1 / share), share])
    assert losses == pytest.approx((beta + 256) * np.log(2) / 257, rel=1e-5)


@pytest.mark.parametrize("loss", ["sampled", "sampled_uniform", "bce"])
def test_every_loss_learns_a_cycle(loss):
    model = SASRec(**SMALL, epochs=30, loss=loss, negatives=8, calibration=0.5)
    model.fit(cycles(), catalog(20))
    assert model.recommend(ask([[3, 4, 5], [17, 18, 19], [9]])).items[:, 0].tolist() == [6, 0, 10]


def test_an_unknown_loss_offers_the_known_and_no_negatives_are_refused():
    with pytest.raises(UserError, match="cross_entropy"):
        SASRec(loss="cross_entropi")
    with pytest.raises(UserError, match="negatives must be at least 1"):
        HSTU(negatives=0)
    with pytest.raises(UserError, match="calibration must be"):
        SASRec(loss="bce", calibration=2.0)
    with pytest.raises(UserError, match="warm_up must be"):
        GRU4Rec(warm_up=1.0)


# -- windows -----------------------------------------------------------------------------------


def test_windows_hold_every_interaction_once_with_what_came_before():
    rows = [[1, 2, 3, 4, 5, 6, 7], [8], [], [9, 10, 11]]
    for shift in ([0, 0, 0, 0], [1, 2, 0, 2], [2, 1, 1, 1]):
        histories = Ragged.from_lists(rows)
        cut = windows(histories, histories.lengths, np.array(shift), 3, start=12)
        tokens, targets = (part.numpy() for part in cut)
        real = targets >= 0
        assert sorted(targets[real].tolist()) == list(range(1, 12))
        before = dict(zip(targets[real].tolist(), tokens[real].tolist(), strict=True))
        assert before == {i: i - 1 for i in range(1, 12)} | {1: 12, 8: 12, 9: 12}
        assert (np.diff(real.astype(int), axis=1) <= 0).all()  # padded at the right only


def test_only_windows_with_something_new_are_kept_for_an_update():
    histories = Ragged.from_lists([[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11]])
    new, shift = np.array([1, 0, 0]), np.array([2, 0, 0])
    _, targets = windows(histories, new, shift, 3, start=12)
    assert targets.tolist() == [[5, 6, 7]]


@given(
    rows=st.lists(st.lists(st.integers(0, 8), max_size=9), min_size=1, max_size=6),
    length=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_what_is_served_is_the_start_and_the_latest_items(rows, length):
    tokens, newest = latest(Ragged.from_lists(rows), length, start=9)
    for row, got, last in zip(rows, tokens.tolist(), newest.tolist(), strict=True):
        assert got[: last + 1] == [9, *row][-length:]
        assert set(got[last + 1 :]) <= {9}


def test_batches_hold_every_window_once_and_little_padding():
    luck = np.random.default_rng(0)
    lengths = luck.integers(1, 101, 5000)
    batches = in_batches(lengths, 50, torch.Generator().manual_seed(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(5000))
    width = sum(lengths[rows].max() * len(rows) for rows in batches)
    assert lengths.sum() / width > 0.85  # 0.51 when lengths are mixed
    targets = np.array([lengths[rows].sum() for rows in batches])
    assert (abs(targets / targets.mean() - 1) < 0.06).all()  # every step learns from as many
    means = [lengths[rows].mean() for rows in batches]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3  # short ones do not come first


# -- every model -------------------------------------------------------------------------------


@every_model
def test_each_learns_what_comes_next_on_a_cycle(name):
    followed = [[(s + t) % 20 for t in range(1 + s % 12)] for s in range(60)]
    answers = walked(name)[0].recommend(ask(followed)).items[:, 0]
    assert np.mean(answers == [(row[-1] + 1) % 20 for row in followed]) >= 0.98


@every_model
def test_each_reports_falling_losses_and_keeps_them(name):
    model, heard = walked(name)
    assert [told[2] for told in heard] == model.losses
    assert len(model.losses) == model.epochs
    assert model.losses[-1] < model.losses[0] / 2
    other = copied(name)
    other.update(cycles(), since=800)
    assert other.losses[: model.epochs] == model.losses
    assert len(other.losses) == model.epochs + model.update_epochs


@every_model
def test_each_sees_the_order_of_a_history(name):
    scores = walked(name)[0].score(ask([[5, 3, 4], [3, 5, 4], [4, 3, 5]]))
    assert len({row.tobytes() for row in scores}) == 3


@every_model
def test_what_is_older_than_the_window_is_forgotten(name):
    window = [5, 6, 7, 8, 9, 10, 11, 12]
    scores = walked(name)[0].score(ask([[0, 1, *window], [3, *window], [*window[1:], 3]]))
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


@every_causal_model
def test_an_item_after_a_position_never_changes_what_is_said_there(name):
    network = walked(name)[0].network
    tokens = torch.tensor([[20, 3, 4, 5, 6, 7, 8, 9]])
    with torch.no_grad():
        whole = network(tokens, 0.0, None)
        for at in range(1, 8):
            other = tokens.clone()
            other[0, at:] = torch.arange(12, 20)[: 8 - at]
            changed = network(other, 0.0, None)
            assert torch.equal(changed[0, :at], whole[0, :at])
            assert (changed[0, at:] != whole[0, at:]).any(dim=1).all()


@every_causal_model
def test_what_is_said_at_a_position_depends_on_each_item_before_it(name):
    network = copied(name).network
    x = network.embedded(torch.tensor([[20, 3, 4, 5, 6]])).detach().requires_grad_()
    network.embedded = lambda tokens: x
    # one coordinate: the sum over all is constant behind a normalisation
    network(torch.zeros(1, 5, dtype=torch.long), 0.0, None)[0, 2, 0].backward()
    reached = x.grad[0].abs().sum(dim=1) > 0
    assert reached.tolist() == [True, True, True, False, False]


@every_model
def test_updates_go_on_from_a_saved_state_as_if_never_interrupted(name):
    log = cycles()
    model, other = copied(name), copied(name)
    for part in (700, 900):
        for one in (model, other):
            one.update(log.take(np.arange(part)), since=part - 200, seed=part)
        other, again = MAKE[name](), other
        other.load_state(again.state())
    assert all(np.array_equal(a, other.state()[key]) for key, a in model.state().items())
    assert model.losses == other.losses


@every_model
def test_an_update_teaches_a_new_habit(name):
    """People who walked forwards begin to walk backwards."""
    model = copied(name)
    before = model.score(ask([[9, 8, 7]]))[0, 6]
    back = [[(u - t) % 20 for t in range(15)] for u in range(60)]
    for _ in range(3):
        model.update(log_of(back, 20), since=0)
    assert model.score(ask([[9, 8, 7]]))[0, 6] > before + 1


@pytest.mark.parametrize("make", [SASRec, HSTU, BERT4Rec])
def test_heads_must_divide_the_embedding(make):
    with pytest.raises(UserError, match="multiple of heads"):
        make(embedding_size=10, heads=4)


# -- one by one --------------------------------------------------------------------------------


def test_the_transformers_forward_pass_by_hand():
    """One block, one head, written again without the fused kernel."""
    model = SASRec(embedding_size=4, heads=1, max_length=3)
    model._build(6, 3)
    net, block = model.network, model.network.blocks[0]
    tokens = torch.tensor([[6, 2, 5]])
    with torch.no_grad():
        x = net.items[tokens[0]] * 2.0 + net.positions
        q, k, v = block.query_key_value(block.norm_attend(x)).split(4, dim=1)
        match = (q @ k.T / 2.0).masked_fill(torch.ones(3, 3).triu(1) > 0, float("-inf"))
        x = x + block.mix_heads(match.softmax(dim=1) @ v)
        x = x + block.narrow(F.relu(block.widen(block.norm_feed(x))))
        torch.testing.assert_close(net(tokens, 0.0, None)[0], net.norm(x))


def test_bert4rec_sees_both_ways_and_guesses_through_a_gelu_layer():
    model = BERT4Rec(embedding_size=4, blocks=1, heads=1, max_length=4)
    model._build(6, 3)
    net, block = model.network, model.network.blocks[0]
    tokens = torch.tensor([[2, 7, 5, 8]])  # an item, the mask, an item, padding
    with torch.no_grad():
        x = net.items[tokens[0]] * 2.0 + net.positions
        q, k, v = block.query_key_value(block.norm_attend(x)).split(4, dim=1)
        match = (q @ k.T / 2.0)[:, :3]
        x = x + block.mix_heads(match.softmax(dim=1) @ v[:3])
        wide = block.widen(block.norm_feed(x))
        assert wide.shape == (4, 16)
        x = x + block.narrow(F.gelu(wide))
        expected = net.norm_guess(F.gelu(net.guess(net.norm(x))))
        torch.testing.assert_close(net(tokens, 0.0, None)[0], expected)


def test_hstu_is_the_papers_equations():
    model = HSTU(embedding_size=4, blocks=1, heads=1, max_length=5)
    model._build(6, 3)
    net, block = model.network, model.network.blocks[0]
    with torch.no_grad():
        block.by_distance.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0, 0.0]))
        x = net.items[torch.tensor([6, 2, 5])] * 2.0 + net.positions[:3]
        u, v, q, k = F.silu(block.gate_value_query_key(block.norm_in(x))).split(4, dim=1)
        seen = torch.zeros(3, 4)
        for i in range(3):
            for j in range(i + 1):
                seen[i] += F.silu(q[i] @ k[j] + block.by_distance[i - j]) / 5 * v[j]
        expected = net.norm(x + block.mix(block.norm_seen(seen) * u))
        torch.testing.assert_close(net(torch.tensor([[6, 2, 5]]), 0.0, None)[0], expected)


def test_hstu_adds_the_bias_of_the_time_that_passed():
    model = HSTU(embedding_size=4, blocks=1, heads=2, max_length=5)
    model._build(6, 3)
    net, block = model.network, model.network.blocks[0]
    met = [100, 100, 103, 110]  # of three tokens, and of what comes after them
    bucket = {0: 0, 3: 3, 7: 6, 10: 7}  # floor(ln(span) / 0.301), 0 for spans below 2
    with torch.no_grad():
        block.by_distance.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0, 0.0]))
        block.by_time.copy_(torch.linspace(-1, 1, 72))
        x = net.items[torch.tensor([6, 2, 5])] * 2.0 + net.positions[:3]
        u, v, q, k = F.silu(block.gate_value_query_key(block.norm_in(x))).split(4, dim=1)
        seen = torch.zeros(3, 2, 2)
        for i, j, head in product(range(3), range(3), range(2)):
            if j <= i:
                part = slice(2 * head, 2 * head + 2)
                bias = block.by_distance[i - j] + block.by_time[bucket[met[i + 1] - met[j]]]
                seen[i, head] += F.silu(q[i, part] @ k[j, part] + bias) / 5 * v[j, part]
        expected = net.norm(x + block.mix(block.norm_seen(seen.reshape(3, 4)) * u))
        given = net(torch.tensor([[6, 2, 5]]), 0.0, None, torch.tensor([met]))
        torch.testing.assert_close(given[0], expected)


@given(span=st.integers(0, 2**31 - 1))
def test_buckets_of_time_are_logarithmic(span):
    met = torch.tensor([[0, span]])
    assert int(buckets(met)) == min(71, math.floor(math.log(max(1, span)) / 0.301))


def gaps(long):
    """People who take 0 and 1 in turn, the same again at once (1 second) and the other after a
    pause: only times tell which comes next."""
    luck = np.random.default_rng(3)
    item, step = np.zeros((60, 30), np.int32), np.zeros((60, 30), np.int64)
    item[:, 0] = luck.integers(0, 2, 60)
    pause = luck.random((60, 30)) < 0.5
    for at in range(1, 30):
        item[:, at] = np.where(pause[:, at], 1 - item[:, at - 1], item[:, at - 1])
        step[:, at] = step[:, at - 1] + np.where(pause[:, at], long, 1)
    user = np.repeat(np.arange(60, dtype=np.int32), 30)
    return Interactions(user, item.ravel(), step.ravel(), 60, 4, timed=True)


def test_hstu_learns_what_only_times_tell():
    log = gaps(1000)
    history = Ragged.from_lists([[0, 1]] * 2)
    asked = Requests(np.full(2, -1, np.int32), history, 1)
    ago = Ragged.from_lists([[1001, 1], [2000, 1000]])  # asked at once; after a pause
    chances = {}
    for times in (True, False):
        model = HSTU(**{**SMALL, "dropout": 0.0}, epochs=30, times=times)
        model.fit(log, catalog(4))
        chances[times] = np.exp(model.score(replace(asked, ago=ago)))
    assert chances[True][0, 1] > 0.8
    assert chances[True][1, 0] > 0.8
    assert np.array_equal(chances[False][0], chances[False][1])


def test_without_times_hstu_is_what_it_was_of_positions_alone():
    log = gaps(1000)
    asked = Requests(np.arange(60, dtype=np.int32), log.histories(), 1)
    untimed = HSTU(**SMALL, epochs=2)
    untimed.fit(replace(log, timed=False), catalog(4))
    alone = HSTU(**SMALL, epochs=2, times=False)
    alone.fit(log, catalog(4))
    assert np.array_equal(untimed.score(asked), alone.score(asked))


def test_moments_of_windows_are_those_of_their_tokens_and_of_what_follows():
    histories = Ragged.from_lists([[1, 2, 3, 4, 5], [6]])
    times = np.array([10, 20, 30, 40, 50, 60])
    new, shift = histories.lengths, np.array([1, 0])
    assert moments(histories, times, new, shift, 3).tolist() == [
        [10, 10, 20, 0],
        [20, 30, 40, 50],
        [60, 60, 0, 0],
    ]
    ago = Ragged.from_lists([[5, 4, 1], [7], []])
    assert latest_moments(ago, 3).tolist() == [[-5, -4, -1, 0], [-7, -7, 0, 0], [0, 0, 0, 0]]


def test_the_recurrent_state_follows_the_gates():
    model = GRU4Rec(embedding_size=4, hidden_size=3, max_length=5)
    model._build(6, 3)
    net, cells = model.network, model.network.cells[0]
    with torch.no_grad():
        state = torch.zeros(3)
        for token in (6, 2, 5):
            into = cells.weight_ih_l0 @ (net.items[token] * 2.0)
            back = cells.weight_hh_l0 @ state
            reset, keep = torch.sigmoid(into[:3] + back[:3]), torch.sigmoid(into[3:6] + back[3:6])
            state = (1 - keep) * torch.tanh(into[6:] + reset * back[6:]) + keep * state
        expected = net.point(state)
        torch.testing.assert_close(net(torch.tensor([[6, 2, 5]]), 0.0, None)[0, 2], expected)


def test_gaps_hide_what_is_to_be_guessed_and_padding_is_never_seen():
    model = BERT4Rec(max_length=6, mask=0.5)
    model._build(12, 0)
    histories = Ragged.from_lists([[1, 2, 3, 4, 5, 6, 7]] * 200)
    shift = np.arange(200) % 5
    tokens, targets = windows(histories, histories.lengths, shift, 5, start=12)
    inputs, wanted = model._examples(tokens, targets, torch.Generator().manual_seed(0))
    gap = wanted >= 0
    assert (inputs[gap] == 13).all()
    assert (inputs[~gap] != 13).all()
    assert gap.any(dim=1).all()
    filled = torch.where(gap, wanted, inputs)[:, 1:].numpy()
    assert np.array_equal(np.where(targets >= 0, targets, 14), filled)
    assert 0.4 < gap.sum() / (targets >= 0).sum() < 0.6
    with torch.no_grad():
        row = torch.tensor([[12, 3, 13, 14, 14, 14]])
        padded, short = model.network(row, 0.0, None), model.network(row[:, :3], 0.0, None)
    torch.testing.assert_close(padded[:, :3], short)


def test_a_gap_is_filled_from_both_sides():
    model = BERT4Rec(**SMALL, epochs=1)
    model._build(20, 0)
    with torch.no_grad():
        one = model.network(torch.tensor([[20, 3, 21, 5]]), 0.0, None)
        other = model.network(torch.tensor([[20, 3, 21, 7]]), 0.0, None)
    assert not torch.equal(one[0, 2], other[0, 2])
