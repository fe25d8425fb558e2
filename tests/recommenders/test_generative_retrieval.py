"""Generative retrieval: ids are what they should be, and spelling them is exact and constrained."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.networks import seeded
from loopaudit.recommenders.generative.retrieval.generative_retrieval import (
    GenerativeRetrieval,
    spelled,
)
from loopaudit.recommenders.generative.retrieval.id_network import IdNetwork
from loopaudit.recommenders.generative.retrieval.item_vectors import TextSpace, main_directions
from loopaudit.recommenders.generative.retrieval.rqvae import RQVAE
from loopaudit.recommenders.generative.retrieval.semantic_ids import (
    code_use,
    kmeans,
    nearest,
    quantise,
    residual_kmeans,
    told_apart,
)
from loopaudit.recommenders.generative.retrieval.trie import NOWHERE, Trie
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.plugins.vocabulary import UNKNOWN
from loopaudit.recommenders.randomness import generator

LUCK = 0


def catalog(titles, topics=None):
    n = len(titles)
    topics = np.zeros((n, 0), np.float32) if topics is None else topics
    names = tuple(f"topic {t}" for t in range(topics.shape[1]))
    nobody = np.full(n, -1, dtype=np.int32)
    return Catalog(tuple(f"i{i}" for i in range(n)), tuple(titles), topics, names, nobody, nobody)


def groups(n_items, n_groups):
    """Items in turn of one of some topics."""
    topics = np.eye(n_groups, dtype=np.float32)[np.arange(n_items) % n_groups]
    return catalog([f"thing {i}" for i in range(n_items)], topics)


def log_of(rows, n_items):
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    step = np.arange(len(user), dtype=np.int64)
    return Interactions(user, ragged.values, step, len(rows), n_items)


def cycles(n_users=60, n_items=20, length=15):
    """Everybody walks 0, 1, 2, ... around the catalog, from a different start."""
    return log_of([[(u + t) % n_items for t in range(length)] for u in range(n_users)], n_items)


def ask(rows, k=3):
    users = np.arange(len(rows), dtype=np.int32)
    return Requests(users, Ragged.from_lists(rows), k)


def small(**args):
    given = {"embedding_size": 16, "max_length": 10, "epochs": 15, "batch_size": 16, "dropout": 0.1}
    return GenerativeRetrieval(**{**given, **args})


# -- ids ---------------------------------------------------------------------------------------


def separated(n_each=5):
    """Four far corners, three near offsets around each: (60, 2) points, offsets at random order."""
    corners = np.array([[0, 0], [100, 0], [0, 100], [100, 100]], np.float32)
    offsets = np.array([[0, 3], [-3, -1.5], [3, -1.5]], np.float32)  # their mean is 0
    points = (corners[:, None, :] + offsets[None, :, :]).reshape(-1, 2)
    return np.repeat(points, n_each, axis=0)


def test_residual_quantisation_finds_separated_clusters_level_by_level():
    """Level one finds the corners, so the squared error is the offsets' length; level two them."""
    points = separated()
    books = residual_kmeans(points, 2, 4, generator(LUCK, "test"))
    rest = points - books[0][nearest(points, books[0])]
    assert sorted(map(tuple, books[0].round(3).tolist())) == [
        (0.0, 0.0),
        (0.0, 100.0),
        (100.0, 0.0),
        (100.0, 100.0),
    ]
    assert (rest**2).sum(axis=1).mean() == pytest.approx((9 + 11.25 + 11.25) / 3)
    codes = quantise(points, books)
    back = books[0][codes[:, 0]] + books[1][codes[:, 1]]
    assert back == pytest.approx(points, abs=1e-4)


def test_every_level_leaves_less_over():
    points = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    books = residual_kmeans(points, 4, 16, generator(LUCK, "test"))
    codes = quantise(points, books)
    sums = np.cumsum([book[code] for book, code in zip(books, codes.T, strict=True)], axis=0)
    errors = [((points - part) ** 2).sum(axis=1).mean() for part in sums]
    assert all(later < 0.95 * earlier for earlier, later in pairwise(errors))


def test_no_code_is_dead_while_there_are_points_for_all():
    points = np.concatenate([np.zeros((90, 2)), np.arange(20).reshape(10, 2)]).astype(np.float32)
    code = nearest(points, kmeans(points, 10, generator(LUCK, "test")))
    assert len(set(code.tolist())) == 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_ids_are_unique_and_keep_their_codes(rows):
    codes = np.array(rows, np.int64)
    ids = told_apart(codes)
    assert len({tuple(row) for row in ids.tolist()}) == len(rows)
    assert np.array_equal(ids[:, :-1], codes)
    half = len(rows) // 2
    first = told_apart(codes[:half])
    both = np.concatenate([first, told_apart(codes[half:], first)])
    assert np.array_equal(both, ids)  # items that come later continue the numbers


def test_a_collapsed_codebook_shows():
    collapsed = told_apart(np.zeros((12, 3), np.int64))
    use = code_use(collapsed)
    assert use.used == (1, 1, 1)
    assert use.perplexity == (1.0, 1.0, 1.0)
    assert (use.colliding, use.largest) == (1.0, 12)
    even = code_use(told_apart(np.array(list(product(range(4), range(2))), np.int64)))
    assert even.perplexity == pytest.approx((4.0, 2.0))
    assert (even.colliding, even.largest) == (0.0, 1)


def blobs(n_blobs=8, n_each=20, dim=12):
    luck = np.random.default_rng(1)
    middle = luck.standard_normal((n_blobs, dim)) * 2
    points = np.repeat(middle, n_each, axis=0) + 0.05 * luck.standard_normal(
        (n_blobs * n_each, dim)
    )
    return points.astype(np.float32)


def learnt(points, epochs, levels=1, codes=8):
    model = RQVAE(points.shape[1], 16, 4, seeded(LUCK, "test"))
    luck = seeded(LUCK, "test", "fit")
    model.learn(points, levels, codes, seed_of_codes=generator(LUCK, "t"), luck=luck, epochs=epochs)
    return model


def test_an_rqvae_gives_no_code_to_two_clusters():
    points = blobs()
    model = learnt(points, epochs=300, codes=16)
    codes = quantise(model.latents(points), model.books)[:, 0]
    owners = {(code, item // 20) for item, code in enumerate(codes.tolist())}
    assert len(owners) == len(set(codes.tolist()))
    assert model.losses[-1] < 0.3 * model.losses[0]


def test_dead_codes_of_an_rqvae_come_back_to_life():
    """All codes stand in one place; those that hardly anything is rounded to move elsewhere."""
    points = blobs()
    model = learnt(points, epochs=0)
    z = torch.from_numpy(model.latents(points))
    books = z[:1].repeat(8, 1)[None].clone()
    size, total = torch.full((1, 8), 20.0), books * 20.0
    used = []
    for step in range(600):
        model._round(z, books, size, total, seeded(LUCK, "test", step))
        used.append(len(set(quantise(z.numpy(), books.numpy())[:, 0].tolist())))
    assert used[0] <= 2
    assert used[-1] == 8


# -- what items are about ----------------------------------------------------------------------


def test_words_that_two_items_share_make_them_alike():
    shop = catalog(["Red nail polish", "Blue nail polish", "Beard oil", "Beard oil gift", "Xyzzy"])
    space = TextSpace.of(shop, 8, generator(LUCK, "test"))
    words = list(space.weights.words)
    assert "xyzzy" not in words  # said of one item only, it makes nothing alike
    assert space.weights.rarity[words.index("polish")] == pytest.approx(np.log(6 / 3) + 1)
    v = space.vectors(shop)
    assert v[0] == pytest.approx(v[1], abs=1e-5)
    assert v[0] @ v[2] == pytest.approx(0.0, abs=1e-5)
    assert not v[4].any()
    later = replace(shop, titles=(*shop.titles[:4], "Nail polish"))
    assert space.vectors(later, since=4)[0] == pytest.approx(v[0], abs=1e-5)


def test_main_directions_are_those_of_the_full_decomposition():
    import scipy.sparse as sp

    matrix = sp.random(300, 200, density=0.1, random_state=0, format="csr")
    matrix = (matrix + 3 * sp.csr_matrix(np.outer(np.ones(300), np.arange(200) < 20))).tocsr()
    found = main_directions(matrix, 4, generator(LUCK, "test"))
    right = np.linalg.svd(matrix.toarray())[2][:1]
    assert found.shape == (200, 4)
    assert found.T @ found == pytest.approx(np.eye(4), abs=1e-5)
    assert abs(right @ found[:, :1]).item() == pytest.approx(1.0, abs=1e-4)


def test_without_a_word_or_topic_ids_come_from_who_took_what():
    bare = catalog([str(i) for i in range(40)])
    luck = np.random.default_rng(0)
    rows = [(luck.permutation(20)[:10] + (u % 2) * 20).tolist() for u in range(60)]
    model = small(epochs=0, levels=2)
    model.fit(log_of(rows, 40), bare)
    assert model.tokenizer.used == "collaborative"
    first = model.ids[:, 0]
    assert not set(first[:20].tolist()) & set(first[20:].tolist())


def test_item_vectors_of_the_catalog_can_be_named():
    seen = replace(groups(20, 4), vectors={"image": np.eye(20, dtype=np.float32)})
    model = small(vectors="image", epochs=1)
    model.fit(cycles(), seen)
    assert model.tokenizer.books.shape[2] == 20
    with pytest.raises(UserError, match=r"unknown item vectors 'imgae'.*image"):
        small(vectors="imgae").fit(cycles(), seen)


# -- the tree ----------------------------------------------------------------------------------

IDS = st.sets(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30).map(
    lambda rows: np.array(sorted(rows, key=hash), np.int64)
)


@given(IDS)
def test_the_tree_holds_the_ids_and_no_other(ids):
    tree = Trie(ids)
    every = np.array(list(product(range(5), repeat=3)), np.int64)
    item_of = {tuple(row): item for item, row in enumerate(ids.tolist())}
    expected = [item_of.get(tuple(row), NOWHERE) for row in every.tolist()]
    assert tree.find(every).tolist() == expected
    nodes = np.zeros(1, np.int64)
    for depth in range(3):
        nodes = tree.children(depth, nodes).ravel()
        nodes = nodes[nodes != NOWHERE]
        assert sorted(nodes.tolist()) == list(range(len(tree.depths[depth])))


def test_two_items_cannot_have_one_id():
    with pytest.raises(ValueError, match="same id"):
        Trie(np.array([[1, 2], [1, 2]]))


# -- spelling ids ------------------------------------------------------------------------------


def network(ids, constrained, size=8):
    luck = seeded(LUCK, "test")
    net = IdNetwork(
        Trie(ids),
        [4, 4, 4],
        length=4,
        size=size,
        blocks=1,
        heads=1,
        constrained=constrained,
        luck=luck,
    )
    with torch.no_grad():
        for parameter in net.parameters():  # far from uniform
            parameter.copy_(torch.randn(parameter.shape, generator=luck))
    return net, torch.randn(5, size, generator=luck)


def by_hand(net, ids, h, word):
    """log P(word | h): the equation, code by code, in plain loops."""
    known = [{tuple(row[: d + 1]) for row in ids.tolist()} for d in range(3)]
    place = [sorted(prefixes) for prefixes in known]
    total = 0.0
    for d, code in enumerate(word):
        state = net.states[d](h)
        z = {}
        for c in range(4):
            prefix = (*word[:d], c)
            if prefix in known[d]:
                node = place[d].index(prefix)
                v = net.codes[d][c] + net.prefixes[d][node]
                z[c] = float(state @ v + net.bias[d][node])
            elif not net.constrained:
                z[c] = float(state @ net.codes[d][c])
        if code not in z:
            return -np.inf
        total += z[code] - np.logaddexp.reduce(list(z.values()))
    return total


SOME = np.array([[0, 0, 0], [0, 0, 1], [0, 2, 0], [1, 1, 3], [3, 1, 0], [3, 1, 1], [3, 1, 2]])


@pytest.mark.parametrize("constrained", [True, False])
def test_scores_are_the_probabilities_of_whole_ids(constrained):
    net, h = network(SOME, constrained)
    with torch.no_grad():
        found = net.log_probabilities(h).numpy()
        every = list(product(range(4), repeat=3))
        p = {word: [by_hand(net, SOME, row, word) for row in h] for word in every}
    for item, word in enumerate(map(tuple, SOME.tolist())):
        assert found[:, item] == pytest.approx(p[word], abs=1e-4, rel=1e-4)
    assert np.exp(np.array(list(p.values()))).sum(axis=0) == pytest.approx(1.0)
    if constrained:
        assert np.exp(found).sum(axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("constrained", [True, False])
def test_a_family_far_below_the_others_has_finite_probabilities(constrained):
    """Logits 300 lower: beside the greatest of the row, exp of all siblings is 0."""
    net, h = network(SOME, constrained)
    with torch.no_grad():
        net.bias[2][-3:] -= 300.0  # the children of (3, 1)
        found = net.log_probabilities(h).numpy()
        for item in (4, 5, 6):
            expected = [by_hand(net, SOME, row, tuple(SOME[item].tolist())) for row in h]
            # unconstrained, the other codes' mass is a difference, here of 1 part in 10^13
            room = 1e-3 if constrained else 0.5
            assert found[:, item] == pytest.approx(expected, abs=room, rel=1e-4)
    assert np.exp(found.astype(np.float64)).sum(axis=1).max() < 1.0 + 1e-4


@pytest.mark.parametrize("constrained", [True, False])
def test_wide_beams_are_exact(constrained):
    net, h = network(SOME, constrained)
    with torch.no_grad():
        ids, log_p = net.beams(h, 64)
        every = list(product(range(4), repeat=3))
        p = np.array([[by_hand(net, SOME, row, word) for word in every] for row in h])
    for row in range(len(h)):
        best = np.argsort(-p[row], kind="stable")[: np.isfinite(p[row]).sum()]
        assert [tuple(one) for one in ids[row][: len(best)].tolist()] == [every[i] for i in best]
        assert log_p[row][: len(best)] == pytest.approx(p[row][best], abs=1e-4)
        assert (log_p[row][len(best) :] == -np.inf).all()


def test_narrow_beams_can_miss_the_best_id_as_beam_search_does():
    """The best first code has two even halves; the second best is certain of the rest."""
    ids = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]])
    net, h = network(ids, True)
    with torch.no_grad():
        for parameter in (*net.codes, *net.prefixes, *net.bias):
            parameter.zero_()
        net.bias[0].copy_(torch.log(torch.tensor([0.6, 0.4])))
        narrow, wide = net.beams(h, 1), net.beams(h, 3)
    assert narrow[0][0, 0].tolist() == [0, 0, 0]
    assert np.exp(narrow[1][0, 0]) == pytest.approx(0.3)
    assert wide[0][0, 0].tolist() == [1, 0, 0]
    assert np.exp(wide[1][0]) == pytest.approx([0.4, 0.3, 0.3])


@settings(deadline=None, max_examples=30)
@given(IDS, st.integers(1, 12))
def test_constrained_beams_never_name_what_is_no_item(ids, width):
    net, h = network(ids, True)
    with torch.no_grad():
        said, log_p = net.beams(h, width)
    found = Trie(ids).find(said)
    assert (found[log_p > -np.inf] != NOWHERE).all()
    assert ((log_p > -np.inf).sum(axis=1) == min(width, len(ids))).all()
    for row in found:
        named = row[row != NOWHERE][: min(width, len(ids))]
        assert len(set(named.tolist())) == len(named)


# -- the recommender ---------------------------------------------------------------------------


def test_a_planted_order_is_learnt():
    model = small(epochs=30)
    model.fit(cycles(), groups(20, 4))
    slates = model.recommend(ask([[3, 4, 5], [18, 19], [0]], k=1))
    assert slates.items[:, 0].tolist() == [6, 0, 1]
    assert model.losses[-1] < 0.3 * model.losses[0]


def test_it_ranks_by_beams_as_by_scores():
    model = small(epochs=3)
    model.fit(cycles(), groups(20, 4))
    requests = ask([[3, 4, 5], []], k=20)
    slates, scores = model.recommend(requests), model.score(requests)
    for row in range(2):
        assert slates.items[row].tolist() == np.argsort(-scores[row], kind="stable").tolist()


def test_unconstrained_it_names_items_that_do_not_exist_and_the_guard_counts_them():
    """20 items have 20 of 5 x 5 x 5 ids: before training one in 6 is real, later most are."""
    model = small(epochs=0, constrained=False, levels=2)
    model.fit(cycles(), groups(20, 4))
    assert not model.capabilities.closed_catalog
    requests = ask([[3, 4, 5], [7]], k=15)
    assert np.exp(model.score(requests)).sum(axis=1) == pytest.approx(20 / 125, rel=0.2)
    slates = model.recommend(requests)
    made_up = slates.items == UNKNOWN
    assert made_up.any(axis=1).all()
    real = set(spelled(model.ids).tolist())
    for row in range(2):
        said = [name not in real for name in slates.raw_names[row]]
        assert said == made_up[row].tolist()
        assert slates.usage[row] == {"ids": 15.0, "ids_of_no_item": float(sum(said))}
    guard = Guard(model, n_items=20)
    shown = guard.recommend(requests)
    assert guard.faults.counts["unknown_item"] == 2
    assert shown.items.max() < 20
    assert len(shown.raw_names[0]) == 15 + 3  # what it said is kept, made-up ids too
    model = small(epochs=15, constrained=False, levels=2)
    model.fit(cycles(), groups(20, 4))
    real_mass = np.exp(model.score(requests)).sum(axis=1)
    assert ((real_mass > 0.9) & (real_mass < 1.0)).all()


@pytest.mark.parametrize("quantiser", ["kmeans", "rqvae"])
def test_an_item_that_entered_later_is_generated_for_those_who_like_its_kind(quantiser):
    luck = np.random.default_rng(0)
    titles = [f"{'lipstick red' if i < 20 else 'drill steel'} model {i}" for i in range(40)]
    rows = [(luck.permutation(20)[:10] + (u % 2) * 20).tolist() for u in range(60)]
    model = small(epochs=20, quantiser=quantiser)
    model.fit(log_of(rows, 40), catalog(titles))
    before = model.score(ask([[0, 1, 2], [20, 21, 22]]))
    model.add_items(catalog([*titles, "lipstick red new", "drill steel new"]))
    assert model.n_items == 42
    after = model.score(ask([[0, 1, 2], [20, 21, 22]]))
    assert np.exp(after).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert after[0, 40] > after[0, 41]
    assert after[1, 41] > after[1, 40]
    old = np.corrcoef(before[0], after[0, :40])[0, 1]
    assert old > 0.9  # what it knew of old items it still knows
    other = small(epochs=20, quantiser=quantiser)
    other.load_state(model.state())
    grown = log_of([*rows, [40, 41]], 42)
    for one in (model, other):
        one.update(grown, since=len(grown) - 2, seed=1)
    assert np.array_equal(model.score(ask([[40]])), other.score(ask([[40]])))


def test_training_leaves_the_luck_of_others_alone():
    before = torch.get_rng_state()
    heard = []
    model = small(epochs=2)
    model.fit(cycles(), groups(20, 4), progress=lambda *step: heard.append(step))
    assert torch.equal(before, torch.get_rng_state())
    assert [loss for _, _, loss in heard] == model.losses


def test_an_empty_log_can_be_fitted_and_learned_from_later():
    model = small(epochs=1)
    model.fit(cycles().take(np.zeros(0, dtype=np.int64)), catalog([str(i) for i in range(20)]))
    assert np.isfinite(model.score(ask([[], [3]]))).all()
    model.update(cycles(), since=0)
    assert np.isfinite(model.score(ask([[], [3]]))).all()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"levels": 0}, "levels must be at least 1, got 0"),
        ({"codes": 1}, "codes must be at least 2, got 1"),
        ({"beams": 0}, "beams must be at least 1, got 0"),
        ({"quantiser": "kmean"}, "unknown quantiser 'kmean'. Did you mean kmeans"),
        ({"heads": 3}, "embedding_size must be a multiple of heads"),
    ],
)
def test_wrong_settings_are_refused(args, message):
    with pytest.raises(UserError, match=message):
        small(**args)
