"""Metrics by hand and by a second library, splits by their promises, evaluation end to end."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from loopaudit.recommenders.border import Capabilities, Requests, Slates
from loopaudit.recommenders.classic.ease import EASE
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.evaluation import (
    BASELINES,
    SPLITS,
    evaluate,
    evaluate_beside_baselines,
    exposure_gini,
    load_split,
    ranking_metrics,
    split,
    split_last_out,
    split_random,
    split_strong,
    split_time,
    split_validation,
    to_frame,
)
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.ranking import top_k


def small_log(n_users=30, n_items=40, per_user=12, seed=0):
    luck = np.random.default_rng(seed)
    rows = [luck.permutation(n_items)[:per_user] for _ in range(n_users)]
    item = np.concatenate(rows).astype(np.int32)
    user = np.repeat(np.arange(n_users), per_user).astype(np.int32)
    order = luck.permutation(len(user))
    return Interactions(
        user[order], item[order], np.arange(len(user), dtype=np.int64), n_users, n_items
    )


# -- metrics -----------------------------------------------------------------------------------


def test_metrics_equal_values_computed_by_hand():
    items = np.array([[4, 0, 2, 1], [3, 1, -1, -1]], dtype=np.int32)
    wanted = Ragged.from_lists([[0, 1, 3], [2]])
    m = ranking_metrics(items, wanted, 5, ks=(2, 4))
    # person 0: hits at ranks 2 and 4 of three wanted; person 1: none
    assert m["recall@2"] == pytest.approx([1 / 3, 0])
    assert m["recall_min@2"] == pytest.approx([1 / 2, 0])
    assert m["recall@4"] == pytest.approx([2 / 3, 0])
    assert m["recall_min@4"] == pytest.approx([2 / 3, 0])
    assert m["ndcg@2"] == pytest.approx([(1 / np.log2(3)) / (1 + 1 / np.log2(3)), 0])
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert m["ndcg@4"] == pytest.approx([(1 / np.log2(3) + 1 / np.log2(5)) / ideal, 0])
    assert m["mrr@4"] == pytest.approx([1 / 2, 0])
    assert m["hit@2"].tolist() == [1, 0]


def test_a_list_shorter_than_k_is_measured_as_if_padded():
    items = np.array([[1]], dtype=np.int32)
    m = ranking_metrics(items, Ragged.from_lists([[1, 2]]), 3, ks=(4,))
    assert m["recall@4"] == 0.5
    assert m["ndcg@4"] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_gini_and_its_extremes_by_hand():
    assert exposure_gini(np.array([[0, 1], [2, 3]], dtype=np.int32), 4) == pytest.approx(0)
    assert exposure_gini(np.array([[2], [2]], dtype=np.int32), 4) == pytest.approx(3 / 4)
    # counts 0, 0, 1, 3: sum((2i - 5) x) / (4 * 4) = (1 * 1 + 3 * 3) / 16
    lists = np.array([[3, 2], [3, -1], [3, -1]], dtype=np.int32)
    assert exposure_gini(lists, 4) == pytest.approx(10 / 16)
    assert np.isnan(exposure_gini(np.array([[-1]], dtype=np.int32), 4))


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_ir_measures_agrees(seed, k):
    luck = np.random.default_rng(seed)
    n_items = 15
    items = np.array([luck.permutation(n_items)[:12] for _ in range(4)], dtype=np.int32)
    wanted = [luck.permutation(n_items)[: luck.integers(1, 10)].tolist() for _ in range(4)]
    ours = ranking_metrics(items, Ragged.from_lists(wanted), n_items, ks=(k,))
    qrels = [Qrel(str(u), str(i), 1) for u, row in enumerate(wanted) for i in row]
    run = [
        ScoredDoc(str(u), str(i), float(-rank))
        for u, row in enumerate(items)
        for rank, i in enumerate(row)
    ]
    names = {nDCG @ k: f"ndcg@{k}", R @ k: f"recall@{k}", RR @ k: f"mrr@{k}"}
    for value in ir_measures.iter_calc(list(names), qrels, run):
        mine = ours[names[value.measure]][int(value.query_id)]
        assert mine == pytest.approx(value.value, abs=1e-9)


def test_metrics_of_people_who_want_nothing_are_refused():
    with pytest.raises(UserError, match="undefined"):
        ranking_metrics(np.zeros((1, 1), np.int32), Ragged.empty(1), 3, ks=(1,))


# -- top-k -------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(0, 12))
def test_top_k_equals_a_stable_full_sort(seed, k):
    luck = np.random.default_rng(seed)
    scores = luck.integers(-2, 3, (5, 9)).astype(np.float32) * np.float32(0.1)
    scores[luck.random((5, 9)) < 0.2] = -np.inf
    best = top_k(scores, k)
    for row in range(5):
        order = np.argsort(-scores[row], kind="stable")
        expected = [i for i in order if np.isfinite(scores[row, i])][:k]
        assert best[row].tolist() == expected + [-1] * (k - len(expected))


def test_minus_zero_ties_with_zero_and_nan_is_never_shown():
    scores = np.array([[-0.0, 0.0, np.nan, -1.0]], dtype=np.float32)
    assert top_k(scores, 4).tolist() == [[0, 1, 3, -1]]


# -- splits ------------------------------------------------------------------------------------


def pairs(log):
    return set(zip(log.user.tolist(), log.item.tolist(), strict=True))


@pytest.mark.parametrize("name", list(SPLITS))
def test_splits_share_out_every_interaction_once(name):
    log = small_log()
    parts = split(log, name, seed=3)
    logs = [parts.train, parts.valid, parts.test] + ([parts.fold_in] if parts.fold_in else [])
    assert sum(len(part) for part in logs) == len(log)
    assert set().union(*(pairs(part) for part in logs)) == pairs(log)
    assert len(parts.test) > 0


@pytest.mark.parametrize("name", list(SPLITS))
def test_the_same_seed_splits_the_same_way(name):
    one, two = (split(small_log(), name, seed=4) for _ in range(2))
    assert one.id == two.id
    assert np.array_equal(one.test.item, two.test.item)


def test_a_random_split_takes_the_share_of_each_person():
    parts = split_random(small_log(per_user=10), test=0.2, valid=0.1, seed=1)
    assert np.bincount(parts.test.user).tolist() == [2] * 30
    assert np.bincount(parts.valid.user).tolist() == [1] * 30
    other = split_random(small_log(per_user=10), test=0.2, valid=0.1, seed=2)
    assert pairs(parts.test) != pairs(other.test)


def test_leave_last_out_takes_the_last_two_by_time_then_by_order_in_the_log():
    user = np.array([0, 0, 1, 0, 0, 1], dtype=np.int32)
    item = np.array([5, 6, 0, 7, 8, 1], dtype=np.int32)
    log = Interactions(user, item, np.array([3, 1, 1, 2, 3, 2]), 2, 9)
    parts = split_last_out(log)
    assert pairs(parts.test) == {(0, 8)}
    assert pairs(parts.valid) == {(0, 5)}
    assert pairs(parts.train) == {(0, 6), (0, 7), (1, 0), (1, 1)}


def test_a_split_in_time_lets_nobody_see_the_future():
    parts = split_time(small_log(), test=0.2, valid=0.1)
    assert parts.train.step.max() < parts.valid.step.min()
    assert parts.valid.step.max() < parts.test.step.min()


def test_strong_generalisation_keeps_people_out_of_train():
    parts = split_strong(small_log(), people=0.3, test=0.25, seed=0)
    held_out = set(parts.test.user)
    assert len(held_out) == 9
    assert held_out == set(parts.fold_in.user)
    assert not held_out & set(parts.train.user)
    assert np.bincount(parts.test.user)[list(held_out)].tolist() == [3] * 9


def test_a_split_named_wrongly_offers_the_nearest():
    with pytest.raises(UserError, match="leave-last-out"):
        split(small_log(), "leave-one-out")


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.6, 0.5), (1.0, 0.0), (-0.1, 0.0)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(UserError, match="shares"):
        split_random(small_log(), test=shares[0], valid=shares[1])


def test_a_split_file_is_read_without_pickle_and_keeps_its_order(tmp_path):
    path = tmp_path / "mine.npz"
    train, valid, test = np.array([[0, 2], [0, 1]]), np.array([[0, 0]]), np.array([[1, 2]])
    np.savez(path, train=train, valid=valid, test=test, n_users=2, n_items=3)
    parts = load_split(path)
    assert parts.id == "file mine"
    assert parts.known("train+valid").histories().row(0).tolist() == [2, 1, 0]
    np.savez(path, train=train, n_users=2, n_items=3)
    with pytest.raises(UserError, match="lacks the array 'test'"):
        load_split(path)
    with pytest.raises(UserError, match="no split file"):
        load_split(tmp_path / "absent.npz")


# -- evaluation --------------------------------------------------------------------------------


class Fixed:
    """Everybody gets items 0, 1, 2, ... whatever they did."""

    name = "fixed"
    capabilities = Capabilities(history="none")

    def recommend(self, requests):
        row = np.arange(requests.k, dtype=np.int32)
        return Slates(np.tile(row, (len(requests), 1)))


def hand_made_split(tmp_path):
    path = tmp_path / "hand.npz"
    np.savez(
        path,
        train=np.array([[0, 0], [1, 5], [2, 3]]),
        valid=np.array([[0, 1]]),
        test=np.array([[0, 3], [0, 2], [1, 0], [1, 5]]),
        n_users=4,
        n_items=6,
    )
    return load_split(path)


def test_an_evaluation_by_hand(tmp_path):
    result = evaluate(Fixed(), hand_made_split(tmp_path), ks=(1, 2))
    # person 0 may not get 0 (train) and 1 (valid), so 2, 3: both wanted;
    # person 1 may not get 5, which therefore does not count as wanted: 0, 1, one wanted
    assert result.users.tolist() == [0, 1]
    assert result.n_dropped == 1  # person 2 has nothing to foresee; person 3 did nothing at all
    assert result.per_user["recall@1"].tolist() == [0.5, 1]
    assert result.per_user["recall@2"].tolist() == [1, 1]
    assert result["recall_min@1"] == 1
    assert result["coverage@2"] == 4 / 6
    assert result.faults["counts"] == {}
    assert (result.history, result.filtered) == ("train", "train+valid")


def test_the_mask_may_leave_validation_items_in(tmp_path):
    result = evaluate(Fixed(), hand_made_split(tmp_path), ks=(1, 2), mask="train")
    assert result.per_user["recall@2"].tolist() == [0.5, 1]  # person 0 gets 1, 2


def test_people_are_served_from_the_history_asked_for(tmp_path):
    lengths = []

    class Watch(Fixed):
        def recommend(self, requests):
            lengths.append(requests.history.lengths.tolist())
            return super().recommend(requests)

    for history in ("train", "train+valid"):
        evaluate(Watch(), hand_made_split(tmp_path), ks=(2,), history=history)
    assert lengths == [[1, 1], [2, 1]]


def test_scores_and_lists_are_evaluated_alike():
    class WithoutScores(EASE):
        capabilities = Capabilities(history="any", update="refit")

    on = split_random(small_log(seed=5), test=0.3, seed=0)
    by_score = evaluate(EASE(reg=5.0), on, ks=(3, 10))
    by_list = evaluate(WithoutScores(reg=5.0), on, ks=(3, 10))
    for metric in by_score.per_user:
        assert np.array_equal(by_score.per_user[metric], by_list.per_user[metric])


def test_baselines_stand_beside_every_model_once():
    results = evaluate_beside_baselines(["ease", "itemknn"], split(small_log(), "time"), ks=(5,))
    assert [r.name for r in results] == ["ease", "itemknn", *(b for b in BASELINES if b != "ease")]
    frame = to_frame(results)
    assert frame["split"].unique().to_list() == ["time test=0.1 valid=0.1"]
    assert (frame["ndcg@5 low"] <= frame["ndcg@5"]).all()


def test_arguments_reach_the_recommender_named():
    on = split(small_log(), "random")
    one = evaluate("ease", on, args={"reg": 1.0})
    two = evaluate("ease", on, args={"reg": 1e6})
    assert not np.array_equal(one.per_user["ndcg@10"], two.per_user["ndcg@10"])


def test_strong_generalisation_serves_people_never_trained_on():
    result = evaluate("ease", split_strong(small_log(), seed=1))
    assert len(result.users) == 6
    assert result.n_dropped == 0

    class OnlyTrained(Fixed):
        capabilities = Capabilities(history="trained_users_only")

    with pytest.raises(UserError, match="holds people out"):
        evaluate(OnlyTrained(), split_strong(small_log(), seed=1))


def test_a_recommender_that_cannot_be_fitted_is_named():
    class Broken(Fixed):
        def fit(self, log, catalog, *, seed=0, progress=None):
            raise RuntimeError("no memory left")

    with pytest.raises(UserError, match=r"fixed could not be fitted.*no memory left"):
        evaluate(Broken(), split(small_log(), "random"))


def test_wrong_wishes_are_refused_in_one_line():
    on = split(small_log(), "random")
    for wish, message in (
        ({"ks": ()}, "ks must"),
        ({"ks": (0,)}, "ks must"),
        ({"history": "test"}, "unknown history"),
        ({"args": {"a": 1}}, "made already"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(Popularity(), on, **wish)
    nothing = split_random(small_log(per_user=1), test=0.1)
    with pytest.raises(UserError, match="nothing to foresee"):
        evaluate(Popularity(), nothing)
    with pytest.raises(UserError, match=r"unknown metric.*ndcg@10"):
        evaluate(Popularity(), on)["ndgc@10"]


def test_an_interval_holds_the_mean_and_shrinks_with_people():
    on = split(small_log(n_users=60), "random")
    result = evaluate("popularity", on, ks=(10,))
    low, high = result.interval("recall@10")
    assert low < result["recall@10"] < high


# -- what tests found --------------------------------------------------------------------------


def test_asking_a_matrix_model_does_not_reorder_the_histories_asked_with():
    history = Ragged.from_lists([[3, 1, 2], [2, 0]])
    requests = Requests(np.array([0, 1], dtype=np.int32), history, 2)
    model = EASE()
    model.load_state({"weights": np.eye(4, dtype=np.float32)})
    model.recommend(requests)
    assert history.values.tolist() == [3, 1, 2, 2, 0]


# -- fixed splits in text, and the split that settings are chosen on --------------------------


def test_a_split_in_text_files_is_read_and_its_sizes_follow_from_it(tmp_path):
    (tmp_path / "Some.train").write_text("0 2 3.0\n1 0 5.0\n0 1 4.0\n")
    with pytest.raises(UserError, match=r"no Some\.test beside"):
        load_split(tmp_path / "Some.train")
    (tmp_path / "Some.test").write_text("1 4 1.0\n")
    parts = load_split(tmp_path / "Some.train")
    assert (parts.train.n_users, parts.train.n_items, len(parts.valid)) == (2, 5, 0)
    assert parts.train.histories().row(0).tolist() == [2, 1]
    assert parts.test.item.tolist() == [4]
    (tmp_path / "Some.test").write_text("user item\n")
    with pytest.raises(UserError, match="not a text of user and item numbers"):
        load_split(tmp_path / "Some.train")


def test_a_split_file_without_sizes_is_as_large_as_its_largest_index(tmp_path):
    pairs = np.array([[0, 2], [3, 1]])
    np.savez(tmp_path / "bare.npz", train=pairs, valid=pairs[:0], test=np.array([[1, 6]]))
    parts = load_split(tmp_path / "bare.npz")
    assert (parts.train.n_users, parts.train.n_items) == (4, 7)


def test_settings_are_chosen_where_the_test_is_not_in_sight(tmp_path):
    given = hand_made_split(tmp_path)
    on = split_validation(given)
    assert (on.train, on.test, len(on.valid)) == (given.train, given.valid, 0)
    log = small_log()
    cut = split_random(log, test=0.2, valid=0.0)
    inner = split_validation(cut)
    rows = {*zip(inner.train.user, inner.train.item, inner.train.step, strict=True)}
    held = {*zip(inner.test.user, inner.test.item, inner.test.step, strict=True)}
    whole = {*zip(cut.train.user, cut.train.item, cut.train.step, strict=True)}
    assert rows | held == whole
    assert not rows & held
    assert held


def test_the_last_tenth_of_train_can_stand_in_for_a_test_of_what_comes_next():
    log = small_log(per_user=20)
    given = split_random(log, test=0.0001, valid=0.0)
    on = split_validation(given, last=True)
    assert len(on.valid) == 0
    for user in range(log.n_users):
        mine = np.sort(log.step[log.user == user])
        assert np.array_equal(np.sort(on.test.step[on.test.user == user]), mine[-2:])
        assert np.array_equal(np.sort(on.train.step[on.train.user == user]), mine[:-2])


def test_precision_counts_hits_by_places(tmp_path):
    result = evaluate(Fixed(), hand_made_split(tmp_path), ks=(2,))
    assert result.per_user["precision@2"].tolist() == [1.0, 0.5]
