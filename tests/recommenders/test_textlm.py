"""A language model of titles: what it says is in its vocabulary, its sums are right, its reading
ahead is the network's, and what it explains can be checked."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.generative.text.explaining import TRIED, evidence, without_each
from loopaudit.recommenders.generative.text.reading import Network, Reading
from loopaudit.recommenders.generative.text.speaking import ROWS
from loopaudit.recommenders.generative.text.textlm import UNKNOWN, TextLM
from loopaudit.recommenders.generative.text.titles import END, levels_of, names, pieces_of, spelt
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged

WORDS = ("star", "trek", "wars", "the", "a", "return", "#2", "(1996)", "é", "of")
TITLES = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), min_size=1, max_size=25
)


def catalog(titles):
    n = len(titles)
    ids = tuple(str(i) for i in range(n))
    nobody = np.full(n, -1, np.int32)
    return Catalog(ids, tuple(titles), np.zeros((n, 0), np.float32), (), nobody, nobody)


def log_of(rows, n_items):
    ragged = Ragged.from_lists(rows)
    user = ragged.row_index.astype(np.int32)
    return Interactions(user, ragged.values, np.arange(len(user)), len(rows), n_items)


def ask(rows, k=5, seed=0):
    return Requests(np.arange(len(rows), dtype=np.int32), Ragged.from_lists(rows), k, seed=seed)


ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
SERIES = [f"{name} {n}" for name in ("Alien", "Star Trek") for n in range(1, 9)]
SERIES += [f"The Godfather {n}" for n in ROMAN]
"""24 titles of three series; people watch one of them from any part on, in order."""


def watched(n_users=60):
    return log_of([[8 * (u % 3) + (u // 3 + t) % 8 for t in range(6)] for u in range(n_users)], 24)


def small(**more):
    sizes = {"embedding_size": 16, "blocks": 1, "max_length": 24, "epochs": 60, "merges": 5}
    return TextLM(**{**sizes, "learning_rate": 1e-2, "batch_size": 16, "dropout": 0.0, **more})


@pytest.fixture(scope="module")
def fan():
    model = small(explain="evidence")
    model.fit(watched(), catalog(SERIES))
    return model


@pytest.fixture(scope="module")
def free(fan):
    model = small(constrained=False, beams=12)
    model.load_state(fan.state())
    return model


# -- titles ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(TITLES, st.integers(0, 30))
def test_every_item_has_a_name_of_its_own_that_its_pieces_spell(titles, merges):
    found = names(titles)
    assert len(set(found)) == len(titles)
    pieces = pieces_of(titles, np.arange(1.0, len(titles) + 1), merges)
    ends = pieces.ends
    for item, name in enumerate(found):
        codes = pieces.codes.row(item)
        assert pieces.said(codes) == name
        assert name.startswith(spelt(titles[item]))
        assert ends[codes].tolist() == [False] * (len(codes) - 1) + [True]
    assert pieces.items() == {name: item for item, name in enumerate(found)}


@settings(deadline=None, max_examples=60)
@given(TITLES, st.integers(0, 30))
def test_the_tree_leads_to_every_item_once_and_to_nothing_else(titles, merges):
    codes = pieces_of(titles, np.ones(len(titles)), merges).codes
    beginnings, reached = [()], {}
    for level in levels_of(codes):
        said = [(*beginnings[o], int(t)) for o, t in zip(level.owner, level.token, strict=True)]
        assert len(set(said)) == len(said)
        assert sorted(set(level.owner)) == list(range(len(level.first)))
        reached |= {int(i): s for i, s in zip(level.item, said, strict=True) if i >= 0}
        beginnings = [said[child] for child in level.inner]
    assert not beginnings
    assert sorted(reached) == list(range(len(titles)))
    for item, said in reached.items():
        assert tuple(codes.row(item)[: len(said)]) == said


def test_the_most_frequent_pair_is_merged_first():
    pieces = pieces_of(["a b", "a b c", "d"], np.array([3.0, 1.0, 1.0]), 1)
    assert "a b" in pieces.texts
    assert len(pieces.codes.row(0)) == 2  # "a b", end
    twice = pieces_of(["a b", "a b c", "d"], np.array([3.0, 1.0, 1.0]), 2)
    assert f"a b {END}" in twice.texts
    assert len(twice.codes.row(0)) == 1


# -- reading -----------------------------------------------------------------------------------


def test_continuing_a_reading_is_reading_it_all_again():
    luck = torch.Generator().manual_seed(0)
    network = Network(30, 20, 16, 2, 2, luck)
    tokens = torch.randint(0, 30, (4, 9), generator=luck)
    last = torch.tensor([8, 3, 0, 5])
    said = torch.randint(0, 30, (4, 3, 5), generator=luck)  # five ways of three pieces
    with torch.no_grad():
        reading = Reading(network, tokens, last)
        parent = torch.zeros(4, 5, dtype=torch.int64)
        for step in range(3):
            reading.step(said[:, step], parent)
            parent = torch.arange(5).expand(4, 5)
        for row in range(4):
            for way in range(5):
                whole = torch.cat([tokens[row, : last[row] + 1], said[row, :, way]])[None]
                expected = network(whole, 0.0, None)[0, -1]
                assert torch.allclose(reading.x[row, way], expected, atol=1e-5)


def test_a_way_goes_on_from_the_one_that_it_came_from():
    luck = torch.Generator().manual_seed(1)
    network = Network(9, 12, 8, 1, 2, luck)
    tokens, last = torch.tensor([[1, 2, 3]]), torch.tensor([2])
    with torch.no_grad():
        reading = Reading(network, tokens, last)
        reading.step(torch.tensor([[4, 5]]), torch.tensor([[0, 0]]))
        reading.step(torch.tensor([[6, 7, 8]]), torch.tensor([[1, 0, 1]]))
        for way, path in enumerate(([5, 6], [4, 7], [5, 8])):
            expected = network(torch.tensor([[1, 2, 3, *path]]), 0.0, None)[0, -1]
            assert torch.allclose(reading.x[0, way], expected, atol=1e-5)


# -- what it says ------------------------------------------------------------------------------


def test_scores_are_the_chances_of_the_catalog_title_by_title(fan):
    """By hand: walk each title, share the network's softmax out among what titles go on with."""
    history = Ragged.from_lists([[0, 1, 2]])
    scores = fan.score(ask([[0, 1, 2]]))[0]
    assert np.exp(scores.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-5)
    text = fan.pieces.of(history).values.tolist()
    rows = [fan.pieces.codes.row(item).tolist() for item in range(24)]
    for item in (0, 3, 9, 23):
        total, said = 0.0, []
        for piece in rows[item]:
            allowed = sorted({r[len(said)] for r in rows if r[: len(said)] == said})
            tokens = torch.tensor([[len(fan.pieces), *text, *said]])
            with torch.no_grad():
                logits = fan.network.logits(fan.network(tokens, 0.0, None)[0, -1])
            total += float(torch.log_softmax(logits[allowed], 0)[allowed.index(piece)])
            said.append(piece)
        assert scores[item] == pytest.approx(total, abs=1e-4)


def test_it_learns_which_series_a_person_watches_and_which_part_comes_next(fan):
    items = fan.recommend(ask([[0, 1, 2], [8, 9, 10, 11], [16, 17]], k=3)).items
    assert items[:, 0].tolist() == [3, 12, 18]


def test_free_titles_that_exist_are_found_and_others_stand_as_unknown_with_their_names(free):
    slates = free.recommend(ask([[0, 1, 2], [8, 9]], k=12))
    known = {name: item for item, name in enumerate(names(SERIES))}
    assert free.capabilities.closed_catalog is False
    for row, said in enumerate(slates.raw_names):
        assert len(set(said)) == len(said)
        assert [known.get(name, UNKNOWN) for name in said] == slates.items[
            row, : len(said)
        ].tolist()
    made_up = (slates.items == UNKNOWN).sum(axis=1)
    assert made_up.sum() > 0  # twelve of 24 titles in parts it never met together
    assert [row["titles_not_in_catalog"] for row in slates.usage] == made_up.tolist()
    assert slates.items[0, 0] == 3
    assert (np.diff(slates.scores[0][: len(slates.raw_names[0])]) <= 1e-6).all()


def test_the_guard_counts_titles_that_are_made_up_and_shows_none(free):
    guard = Guard(free, n_items=24)
    shown = guard.recommend(ask([[0, 1, 2], [8, 9]], k=5)).items
    assert ((shown >= -1) & (shown < 24)).all()
    assert guard.faults.counts["unknown_item"] > 0


def test_free_beams_are_the_most_probable_texts(free):
    """Log probabilities of beams are those of the whole text, read again."""
    history = Ragged.from_lists([[0, 1, 2]])
    (said,) = free.speaker.titles(free.pieces.of(history), 12)
    items = [item for title in said if (item := free.pieces.items().get(title)) is not None]
    again = free.speaker.log_p_of(history, np.array([items], np.int32))[0]
    told = [said[names(SERIES)[item]] for item in items]
    assert told == pytest.approx(again.tolist(), abs=0.02)  # other spellings of a title add to it


@settings(deadline=None, max_examples=8)
@given(st.lists(st.lists(st.integers(0, 23), max_size=9), min_size=1, max_size=4), st.booleans())
def test_constrained_it_never_names_what_is_not_an_item(fan, rows, sample):
    model = small(sample=sample)
    model.load_state(fan.state())
    items = model.recommend(ask(rows, k=30, seed=len(rows))).items
    assert ((items >= -1) & (items < 24)).all()


def test_drawn_slates_come_as_often_as_their_propensities_say(fan):
    model = small(sample=True, temperature=2.0)
    model.load_state(fan.state())
    n = 4000
    slates = model.recommend(ask([[0, 1, 2]] * n, k=2))
    first, chance = slates.items[:, 0], slates.propensities[:, 0]
    for item in np.unique(first):
        p = float(chance[first == item][0])
        assert (chance[first == item] == np.float32(p)).all()
        assert (first == item).mean() == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5 + 1e-3)
    second = slates.propensities[:, 1]
    assert (second <= 1.0).all()
    assert not np.isin(slates.items, [0, 1, 2]).any()


def test_drawn_free_titles_follow_the_luck_of_the_person(free):
    model = small(constrained=False, sample=True, beams=6)
    model.load_state(free.state())
    one, two = (model.recommend(ask([[0, 1], [0, 1]], k=6, seed=seed)) for seed in (1, 2))
    assert one.raw_names != two.raw_names
    assert one.raw_names[0] != one.raw_names[1]  # two people, one history
    assert model.recommend(ask([[0, 1], [0, 1]], k=6, seed=1)).raw_names == one.raw_names


def test_stochastic_beams_hold_a_text_as_often_as_it_is_probable(free):
    """The first of a draw without replacement is a plain draw (Kool et al. 2019)."""
    model = small(constrained=False, sample=True, beams=3)
    model.load_state(free.state())
    n = 1500
    slates = model.recommend(ask([[8, 9, 10]] * n, k=1))
    said = [row[0] for row in slates.raw_names]
    (sure,) = free.speaker.titles(free.pieces.of(Ragged.from_lists([[8, 9, 10]])), 12)
    for title, log_p in list(sure.items())[:3]:
        p = float(np.exp(log_p))
        assert said.count(title) / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5 + 1e-3)


# -- memory and reasons ------------------------------------------------------------------------


def test_the_likelihood_of_a_history_is_the_sum_over_its_pieces(fan):
    histories = Ragged.from_lists([[0, 1, 2], [], [8] * 30])
    total, n_pieces = fan.log_likelihood(histories)
    assert n_pieces.tolist() == fan.pieces.of(histories).lengths.tolist()
    assert total[1] == 0.0
    text = fan.pieces.of(histories).row(0)
    tokens = torch.tensor([[len(fan.pieces), *text[:-1].tolist()]])
    with torch.no_grad():
        log_p = torch.log_softmax(fan.network.logits(fan.network(tokens, 0.0, None))[0], 1)
    by_hand = sum(float(log_p[at, piece]) for at, piece in enumerate(text))
    assert total[0] == pytest.approx(by_hand, abs=1e-4)


def test_a_history_that_was_in_training_is_likelier_than_its_shuffle(fan):
    seen, shuffled = [0, 1, 2, 3, 4, 5], [4, 0, 5, 2, 1, 3]
    total, n_pieces = fan.log_likelihood(Ragged.from_lists([seen, shuffled]))
    assert n_pieces[0] == n_pieces[1]
    assert total[0] > total[1] + 5.0


def test_each_history_stands_whole_and_without_each_of_its_latest():
    rows = without_each(Ragged.from_lists([[7, 8, 9], []]))
    assert len(rows) == 2 * (TRIED + 1)
    assert [rows.row(r).tolist() for r in range(5)] == [
        [7, 8, 9],
        [7, 8],
        [7, 9],
        [8, 9],
        [7, 8, 9],
    ]
    assert all(len(rows.row(r)) == 0 for r in range(TRIED + 1, 2 * TRIED + 2))


def test_evidence_is_the_title_whose_absence_costs_most(fan):
    history = [[16, 0, 1, 2]]  # part 4 of Alien follows from Alien, not from The Godfather
    items = np.array([[3, 17, -1]], np.int32)
    told = evidence(fan.speaker, Ragged.from_lists(history), items)[0]
    whole = fan.speaker.log_p_of(Ragged.from_lists(history), items[:, :2])[0]
    for slot in range(2):
        losses = {}
        for item in history[0]:
            rest = Ragged.from_lists([[i for i in history[0] if i != item]])
            losses[SERIES[item]] = whole[slot] - fan.speaker.log_p_of(rest, items[:, :2])[0, slot]
        best = max(losses, key=losses.get)
        assert told[slot] == (best if losses[best] > 0 else None)
    assert told[0].startswith("Alien")
    assert told[2] is None


def test_explanations_reach_people_through_the_guard_and_name_only_what_they_watched(fan):
    guard = Guard(fan, n_items=24)
    slates = guard.recommend(ask([[0, 1, 2], [8, 9], []], k=5))
    mine = [[SERIES[i] for i in row] for row in ([0, 1, 2], [8, 9], [])]
    said = [[text for text in row if text] for row in slates.text]
    assert said[0]
    assert not said[2]
    for row, titles in zip(said, mine, strict=True):
        assert all(text.removeprefix("Because you watched ")[:-1] in titles for text in row)
    assert not guard.faults.counts


def test_free_words_are_written_without_the_history(fan):
    model = small(explain="free", verb="read")
    model.load_state(fan.state())
    one, two = (model.recommend(ask([row], k=24)).text[0] for row in ([3], [4]))
    assert one[0].startswith("Because you read ")
    items = [model.recommend(ask([row], k=24)).items[0].tolist() for row in ([3], [4])]
    shared = next(i for i in items[0][:10] if i in items[1][:10])
    assert one[items[0].index(shared)] == two[items[1].index(shared)]


# -- errors ------------------------------------------------------------------------------------


def test_a_title_longer_than_the_network_looks_is_refused():
    with pytest.raises(UserError, match="max_length = 4 must be above the 9 pieces"):
        small(max_length=4, merges=0).fit(log_of([[0]], 1), catalog(["a b c d e f g h"]))


def test_an_unknown_kind_of_explanation_offers_the_known():
    with pytest.raises(UserError, match="evidence"):
        TextLM(explain="evidance")


def test_rows_are_padded_to_one_height(fan):
    assert ROWS == 32
    rows = [[i % 24, (i * 5) % 24] for i in range(40)]
    whole = fan.score(ask(rows))
    for row in (0, 31, 32, 39):
        assert fan.score(ask([rows[row]])).tobytes() == whole[row].tobytes()


def test_large_batches_are_asked_in_calls_of_seconds(free):
    asked = []
    recommend = free.recommend
    guard = Guard(free, n_items=24)
    try:
        free.recommend = lambda requests: asked.append(len(requests)) or recommend(requests)
        items = guard.recommend(ask([[0, 1]] * 150, k=3)).items
    finally:
        del free.recommend
    assert asked == [64, 64, 22]
    assert (items == items[0]).all()
