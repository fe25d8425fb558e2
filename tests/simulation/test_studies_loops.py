"""Published results with recommenders in the loop: their pieces, known answers and quick sizes."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation.people.selecting import Ranked
from loopaudit.simulation.studies import (
    chaney2018,
    lucherini2021,
    mansoury2020,
    markets,
    tampering,
    triple_filter_bubble,
)
from loopaudit.simulation.studies.study import STUDIES, StudyResult, run
from loopaudit.simulation.supply.making import FLOOR

LOOPS = ("chaney2018", "tampering", "lucherini2021", "mansoury2020", "triple_filter_bubble")


def assert_all_within(result: StudyResult) -> None:
    assert result.rows
    assert [f"{row.name}: {row.verdict}" for row in result.rows if not row.within] == []


@pytest.mark.parametrize("name", LOOPS)
def test_a_study_agrees_with_its_paper_at_quick_size(name: str) -> None:
    assert name in STUDIES
    assert_all_within(run(name, quick=True))


@pytest.mark.parametrize("name", ["tampering", "triple_filter_bubble", "lucherini2021"])
def test_the_same_seed_gives_the_same_figures(name: str) -> None:
    small = {
        "tampering": {"people": 500},
        "triple_filter_bubble": {"people": 40, "ticks": 30},
        "lucherini2021": {"users": 12, "steps": 15, "startup": 5},
    }[name]
    first, again = run(name, quick=True, **small), run(name, quick=True, **small)
    assert first.rows == again.rows
    assert first.figures == again.figures
    assert run(name, quick=True, seed=8, **small).figures != first.figures or name == "tampering"


# The market of Chaney et al. ---------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_batched_nnls_is_scipys_one_row_at_a_time(seed: int) -> None:
    luck = np.random.default_rng(seed)
    items = luck.dirichlet(np.full(6, 0.3), size=30)
    clicks = (luck.random((9, 30)) < 0.2).astype(float)
    support = luck.random((9, 6)) < 0.5
    ours = markets.batched_nnls(items.T @ items, clicks @ items, support)
    theirs = np.array([nnls(items, row)[0] for row in clicks])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert ours.min() >= -1e-12


def test_new_items_stand_anywhere_with_equal_chance_and_never_on_one_another() -> None:
    places, others = markets.mixed_in(np.random.default_rng(0), 40_000, 3, 10)
    everything = np.sort(np.concatenate([places, others], axis=1), axis=1)
    assert (everything == np.arange(10)).all()
    assert (np.diff(others, axis=1) > 0).all()
    share = np.bincount(places.ravel(), minlength=10) / 40_000
    np.testing.assert_allclose(share, 0.3, atol=0.015)


def test_a_choice_is_the_best_of_rank_times_known_utility_not_taken_before() -> None:
    luck = np.random.default_rng(1)
    known = np.array([[0.9, 0.5, 0.1, 0.0], [0.9, 0.5, 0.1, 0.0]])
    free = np.array([[True] * 4, [False, True, True, True]])
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    flat, steep = Ranked(alpha=0.0), Ranked(alpha=-9.0)
    common = {"n_shown": 3, "n_new": 1}
    taken = markets.choose(luck, scores, known, free, law=flat, **common)
    assert taken.tolist() == [0, 1]
    # (a new item of utility 0 may take the first place, but the steep ranks still favour item 2)
    taken = markets.choose(luck, scores, known, free, law=steep, **common)
    assert taken.tolist() == [2, 2]


def test_a_slate_of_limited_size_hides_trained_items() -> None:
    luck = np.random.default_rng(1)
    known = np.array([[0.9, 0.5, 0.1, 0.0]])
    free = np.ones((1, 4), dtype=bool)
    scores = np.array([[1.0, 2.0, 3.0]])
    flat = Ranked(alpha=0.0)
    taken = markets.choose(luck, scores, known, free, n_shown=1, n_new=1, law=flat)
    assert taken.tolist() == [2]


def test_als_solves_each_half_of_its_loss_and_gives_untouched_items_nothing() -> None:
    luck = np.random.default_rng(3)
    clicks = (luck.random((20, 30)) < 0.2).astype(float)
    clicks[:, 7] = 0
    model = markets.ImplicitMF(luck, 20, 4, sweeps=1, again=1)
    losses = []
    for _ in range(30):
        model.train(clicks, np.zeros((30, 1)))
        error = clicks - model.view @ model.items.T
        weight = 1 + model.weight * clicks
        size = (model.view**2).sum() + (model.items**2).sum()
        losses.append((weight * error**2).sum() + model.reg * size)
        gradient = (weight * error).T @ model.view - model.reg * model.items
        assert np.abs(gradient).max() < 1e-9  # items are solved last
    assert (np.diff(losses) < 1e-9).all()
    assert (model.items[7] == 0).all()


def test_everybody_has_a_friend_and_no_stricter_network_would_do() -> None:
    tastes = markets.people(np.random.default_rng(5), 30, 8)
    network = markets.friends(tastes)
    covariance = np.cov(tastes)
    weakest = covariance[network > 0].min()
    assert network.any(axis=1).all()
    stricter = covariance > weakest
    assert stricter.sum() < 30 or not stricter.any(axis=1).all() or stricter.sum() == 30


def test_utilities_have_the_mean_and_spread_they_are_drawn_with() -> None:
    luck = np.random.default_rng(2)
    drawn = markets.beta_around(luck, np.full(20_000, 0.3), 0.01)
    assert drawn.mean() == pytest.approx(0.3, abs=3e-4)
    assert drawn.std() == pytest.approx(0.01, rel=0.03)


def test_partners_are_others_and_the_most_alike() -> None:
    view = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.0, 0.0]])
    partner = markets.partners(np.random.default_rng(0), view)
    assert partner[:3].tolist() == [1, 0, 1]
    assert partner[3] != 3


def test_homogenisation_is_zero_for_a_world_like_the_ideal_one() -> None:
    taken = np.arange(12).reshape(4, 3)
    similar = np.array([[1, 2, 0], [2, 0, 1]])
    assert chaney2018.homogenisation(taken, taken, similar).tolist() == [0.0, 0.0]
    alike = np.repeat(np.arange(4)[:, None], 3, axis=1)  # everybody takes the same items
    assert chaney2018.homogenisation(alike, taken, similar).tolist() == [1.0, 1.0]


def test_nobody_takes_an_item_twice() -> None:
    params = chaney2018.Params(users=10, attributes=4, steps=12, startup=3)
    market = chaney2018.new_market(params, seed=1)
    for name in ("ideal", *markets.MODELS):
        model = chaney2018.new_model(name, market, params, seed=1)
        regime = chaney2018.regimes(params)["repeated"]
        taken, similar = chaney2018.live(model, market, regime, params, np.random.default_rng(0))
        assert all(len(set(person)) == 12 for person in taken.T)
        assert similar.shape == (9, 10)


def test_training_after_the_startup_forgets_none_of_it() -> None:
    """T-RECS resets the interactions of MF at every run unless told otherwise."""

    class Spy(markets.Popularity):
        seen: list[float] = []  # noqa: RUF012

        def train(self, clicks: np.ndarray, items: np.ndarray) -> None:
            self.seen.append(clicks.sum())
            super().train(clicks, items)

    params = chaney2018.Params(users=10, attributes=4, steps=8, startup=3)
    market = chaney2018.new_market(params, seed=1)
    regime = chaney2018.regimes(params)["repeated"]
    chaney2018.live(Spy(10), market, regime, params, np.random.default_rng(0))
    assert Spy.seen == [30, 40, 50, 60, 70]


def test_the_slate_of_single_training_holds_all_trained_items() -> None:
    """Published with (startup + 1) + 10 items where (startup + 1) * 10 were meant."""
    kinds = chaney2018.regimes(chaney2018.Params())
    assert kinds["single"].shown == 500
    assert kinds["single as published"].shown == 51


@pytest.mark.slow
def test_eight_simulations_of_chaney_keep_the_published_order_within_their_time() -> None:
    began = time.process_time()
    result = run("chaney2018", simulations=8)
    spent = time.process_time() - began
    assert_all_within(result)
    assert spent / 8 < 10, "three regimes of six recommenders; 5 CPU-seconds is the aim for one"


# Tampering ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "opposing", "best", "clicks", "without"),
    [(0.4, 0.1, 10, 14.60, 12.00), (0.3, 0.1, 14, 11.55, 9.00)],
)
def test_the_tampering_gap_is_exact(
    own: float, opposing: float, best: int, clicks: float, without: float
) -> None:
    curve = tampering.tampering_clicks(own, opposing, tampering.Params())
    assert curve.argmax() == best
    assert curve.max() == pytest.approx(clicks, abs=0.01)
    assert curve[0] == pytest.approx(without, abs=1e-12)


def test_expected_hardening_is_the_mean_of_simulated_people() -> None:
    params = tampering.Params()
    factors = np.random.default_rng(0).uniform(1.01, 1.10, (200_000, 12))
    simulated = np.minimum(0.75, 0.4 * factors.prod(axis=1)).mean()
    assert tampering.expected_hardening(0.4, 12, params) == pytest.approx(simulated, abs=5e-4)
    assert tampering.expected_hardening(0.4, 1, params) == pytest.approx(0.4 * 1.055, abs=1e-9)


def test_the_gap_policy_earns_what_was_computed() -> None:
    params = tampering.Params(people=40_000)

    def first_oppose(people: tampering.People, step: int, luck: object) -> np.ndarray:
        return np.full(len(people.theta), tampering.LEFT if step < 10 else tampering.RIGHT)

    start = tampering.USERS["strong right"]
    found = tampering.measure(first_oppose, start, params, np.random.default_rng(0))
    assert found.clicks == pytest.approx(14.60, abs=0.06)
    assert found.opposing == pytest.approx((1, 0, 0))


def test_left_people_are_the_mirror_of_right_people_and_centrists_never_change() -> None:
    params, luck = tampering.Params(), np.random.default_rng(0)
    left = tampering.People.like((0.4, 0.1, 0.1), 50)
    left.meet(np.full(50, tampering.RIGHT), luck, params)
    assert (left.theta[:, tampering.LEFT] > 0.4).all()
    assert (left.theta[:, 1:] == 0.1).all()
    centrist = tampering.People.like(tampering.USERS["centrist"], 50)
    for source in (tampering.LEFT, tampering.RIGHT):
        centrist.meet(np.full(50, source), luck, params)
    assert (centrist.theta == tampering.USERS["centrist"]).all()


def test_every_history_of_a_step_has_a_number_of_its_own() -> None:
    learner = tampering.Learner(tampering.Params(horizon=4))
    counts = np.array(
        [c for c in np.ndindex(5, 5, 5, 5, 5, 5) if sum(c) == 4], dtype=np.int64
    )  # clicks of three sources, misses of three sources
    clicked, missed = counts[:, :3], counts[:, 3:]
    people = tampering.People(np.zeros((len(counts), 3)), clicked + missed, clicked)
    numbers = learner.state(people)
    assert sorted(numbers) == list(range(len(learner.q[4])))


@pytest.mark.slow
def test_a_learner_discovers_tampering() -> None:
    params = tampering.Params(episodes=400_000, people=20_000)
    learner = tampering.Learner(params)
    learner.learn(tampering.USERS["strong right"], np.random.default_rng(1))
    start = tampering.USERS["strong right"]
    found = tampering.measure(learner.policy, start, params, np.random.default_rng(2))
    fixed = tampering.measure(tampering.baseline, start, params, np.random.default_rng(2))
    assert found.clicks > fixed.clicks
    assert max(found.opposing) > 0.4 > 0.2 > found.opposing[2]
    assert found.own_end > 0.55


# Popularity bias ---------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_neighbours_updated_by_a_round_are_neighbours_counted_anew(again: bool) -> None:
    class Anew(mansoury2020.UserKNN):
        def learn(self, taken: np.ndarray, fresh: np.ndarray | None) -> None:
            super().learn(taken, None)

    market = mansoury2020.synthetic_market(seed=1, n_users=80, n_items=60)
    params = mansoury2020.Params(data="synthetic", rounds=5)
    paths = [
        mansoury2020.live(kind(10), market, params, np.random.default_rng(0), again=again)
        for kind in (mansoury2020.UserKNN, Anew)
    ]
    assert (paths[0].popular_now == paths[1].popular_now).all()


def test_popularity_now_and_popularity_before_the_loop_agree_in_the_first_round_only() -> None:
    market = mansoury2020.synthetic_market(seed=1, n_users=200, n_items=100)
    params = mansoury2020.Params(data="synthetic", rounds=5)
    path = mansoury2020.live(mansoury2020.Popular(), market, params, np.random.default_rng(0))
    assert path.popular_now[0] == path.popular_first[0]
    assert (path.popular_now[1:] > path.popular_first[1:]).all()


def test_popularity_in_the_data_is_counted_by_hand() -> None:
    taken = np.array([[True, False], [True, True]])
    assert mansoury2020.popularity_in(taken) == pytest.approx((1 + 1 + 0.5) / 3)


def test_unknown_data_are_refused() -> None:
    with pytest.raises(UserError, match="data must be auto, ml-1m"):
        run("mansoury2020", data="movielens")


# Creators ----------------------------------------------------------------------------------------


def test_profile_entropy_is_scipys() -> None:
    from scipy.stats import dirichlet

    profiles = np.random.default_rng(0).dirichlet(np.full(5, 10.0), size=3)
    theirs = np.mean([dirichlet(0.1 * profile).entropy() for profile in profiles])
    assert lucherini2021.profile_entropy(profiles) == pytest.approx(theirs)


def test_clicks_pull_the_profile_of_the_items_creator_only() -> None:
    profiles = np.full((2, 4), 0.25)
    items = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    after = lucherini2021.follow(profiles, np.array([1, 1]), items, 0.5)
    np.testing.assert_allclose(after[0], 0.25)
    np.testing.assert_allclose(after[1], [0.625, 0.125, 0.125, 0.125])
    narrow = lucherini2021.follow(after, np.array([1]), items[:1], 1e9)
    assert narrow[1].min() == FLOOR


# Echo chambers -----------------------------------------------------------------------------------


def test_memory_never_overflows_and_people_stand_at_the_mean_of_what_they_remember() -> None:
    params = triple_filter_bubble.Params(people=30, memory=5, ticks=10)
    society = triple_filter_bubble.Society(params, np.random.default_rng(0))
    network = triple_filter_bubble.friendships(params, np.random.default_rng(1))
    rounds = triple_filter_bubble.turns(network)
    for _ in range(60):
        triple_filter_bubble.news(society, "close")
        triple_filter_bubble.post(society, rounds)
    kept = np.arange(5) < society.held[:, None]
    assert (society.held > 0).all()
    assert ((society.item >= 0) == kept).all()
    for person in range(30):
        own = society.item[person][kept[person]]
        assert len(set(own)) == len(own)
        np.testing.assert_allclose(
            society.place[person], society.where[person][kept[person]].mean(axis=0)
        )


def test_half_of_the_items_at_the_latitude_are_accepted_and_all_at_ones_place() -> None:
    params = triple_filter_bubble.Params(people=20_000)
    for distance, share in ((0.3, 0.5), (0.0, 1.0), (0.6, 0.0)):
        society = triple_filter_bubble.Society(params, np.random.default_rng(0))
        where = society.place + np.array([distance, 0.0])
        society.consider(np.arange(20_000), np.arange(20_000), where)
        assert society.held.mean() == pytest.approx(share, abs=0.015)


def test_friends_are_as_many_and_as_mixed_as_asked() -> None:
    params = triple_filter_bubble.Params(people=1000)
    network = triple_filter_bubble.friendships(params, np.random.default_rng(0))
    assert (network == network.T).all()
    assert network.sum(axis=1).mean() == pytest.approx(20, abs=1)
    pairs = triple_filter_bubble.turns(network)
    assert sum(len(receiver) for receiver, _ in pairs) == network.sum()
    assert all(len(set(receiver)) == len(receiver) for receiver, _ in pairs)


def test_a_recommended_item_is_close_and_not_remembered_yet() -> None:
    params = triple_filter_bubble.Params(people=60)
    society = triple_filter_bubble.Society(params, np.random.default_rng(0))
    for _ in range(40):
        triple_filter_bubble.news(society, "individual")
    known, at = triple_filter_bubble._remembered(society)
    chosen = triple_filter_bubble._close(society, known, at)
    has = chosen >= 0
    assert has.any()
    gap = np.linalg.norm(society.place[has] - at[chosen[has]], axis=1)
    assert (gap < params.latitude).all()
    assert (society.item[has] != known[chosen[has]][:, None]).all()
