"""Privacy: the attack ladder, the traps of membership inference, and a split that leaks."""

from dataclasses import replace

import numpy as np
import pytest

from loopaudit.audit.finding import Verdict
from loopaudit.audit.privacy.attacks import (
    balanced_accuracy,
    clustered_auc,
    lira,
    mean_tpr,
    placements,
)
from loopaudit.audit.privacy.membership import (
    LEAK,
    Membership,
    blind_baseline,
    coin_split,
    leak,
)
from loopaudit.audit.resampling import cluster_jackknife, roc_auc
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.classic.ease import EASE
from loopaudit.recommenders.classic.itemknn import ItemKNN
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.datasets.synthetic import market
from loopaudit.recommenders.guard import Guard

MEMORISER = "loopaudit.audit.planted:Memoriser"
AUC, TPR = "privacy.membership-auc", "privacy.membership-tpr"


@pytest.fixture(scope="module")
def crowd():
    return market(users=300, items=200, topics=8, history=20.0, seed=4)


# -- yardsticks --------------------------------------------------------------------------------


def test_placements_by_hand():
    scores, member = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])
    above, below = placements(scores, member)
    assert above.tolist() == [1.0, 0.25]  # beats both; ties with one, loses to one
    assert below.tolist() == [0.5, 0.75]
    assert above.mean() == below.mean() == roc_auc(scores, member)


def test_the_error_of_a_clustered_auc_is_the_jackknifes():
    luck = np.random.default_rng(2)
    user = np.repeat(np.arange(80), 6)
    member = luck.random(480) < 0.5
    scores = luck.normal(size=480) + luck.normal(size=80)[user] + 0.5 * member
    auc, error, n = clustered_auc(scores, member[None], user)
    effect, jackknifed, _ = cluster_jackknife(
        lambda w: roc_auc(scores, member, w), user, rng=np.random.default_rng(0)
    )
    assert (auc, n) == (pytest.approx(effect), 80)
    assert error == pytest.approx(jackknifed, rel=0.05)


def test_balanced_accuracy_is_not_the_auc():
    """A common "AUC" of the literature: half of TPR plus TNR at one threshold."""
    luck = np.random.default_rng(0)
    member = np.arange(4000) < 2000
    scores = luck.normal(size=4000) + 2.0 * member
    assert roc_auc(scores, member) == pytest.approx(0.92, abs=0.01)
    assert balanced_accuracy(scores > 1.0, member) == pytest.approx(0.84, abs=0.01)


def test_an_attack_on_noise_is_right_half_of_the_time_and_its_interval_says_so():
    luck = np.random.default_rng(5)
    user = np.repeat(np.arange(60), 8)
    z = []
    for _ in range(200):
        scores, member = luck.normal(size=(8, 480)), luck.random((8, 480)) < 0.5
        guess = lira(scores[:2], scores[2:], member[2:])
        auc, error, _ = clustered_auc(guess, member[:2], user)
        z.append((auc - 0.5) / error)
    assert abs(np.mean(z)) < 0.25
    assert np.std(z) == pytest.approx(1.0, abs=0.15)
    assert np.mean(np.array(z) > 1.67) < 0.10


def test_attacking_every_model_with_all_others_as_shadows_would_be_overconfident():
    """Why shadows are not attacked: each pair of models would count twice."""
    luck = np.random.default_rng(6)
    user = np.repeat(np.arange(60), 8)
    z = []
    for _ in range(200):
        scores, member = luck.normal(size=(8, 480)), luck.random((8, 480)) < 0.5
        turns = [
            lira(scores[[t]], np.delete(scores, t, 0), np.delete(member, t, 0))[0] for t in range(8)
        ]
        auc, error, _ = clustered_auc(np.array(turns), member, user)
        z.append((auc - 0.5) / error)
    assert np.std(z) > 1.25


def test_lira_finds_what_shadows_show():
    luck = np.random.default_rng(7)
    member = luck.random((10, 2000)) < 0.5
    scores = 3.0 * luck.normal(size=2000) + luck.normal(size=(10, 2000)) + 2.0 * member
    raw, _, _ = clustered_auc(scores, member, np.arange(2000))
    guess = lira(scores[:2], scores[2:], member[2:])
    strong, _, _ = clustered_auc(guess, member[:2], np.arange(2000))
    assert raw == pytest.approx(0.67, abs=0.03)  # items differ more than membership does
    assert strong > 0.88  # the best possible is .92
    assert mean_tpr(guess, member[:2], 0.01) > 0.15


def test_models_that_answer_all_the_same_give_nothing_away():
    flat = np.zeros((4, 100))
    member = np.random.default_rng(0).random((4, 100)) < 0.5
    assert (lira(flat[:2], flat[2:], member[2:]) == 0).all()


# -- the split ---------------------------------------------------------------------------------


def test_coins_decide_about_at_most_half_and_history_is_the_same_for_all_models(crowd):
    split = coin_split(crowd.log, models=6, seed=1)
    per_user = np.bincount(split.user, minlength=300)
    assert (per_user <= np.bincount(crowd.log.user, minlength=300) // 2).all()
    assert per_user.max() <= 20
    assert split.member.mean() == pytest.approx(0.5, abs=0.03)
    for model in range(2):
        held = split.training(model).to_csr()
        member = np.asarray(held[split.user, split.item]).ravel() > 0
        assert (member == split.member[model]).all()


def test_the_blind_baseline_stays_at_chance_in_an_honest_split(crowd):
    baseline = blind_baseline(coin_split(crowd.log, models=6, seed=1))
    assert leak(baseline) == ""
    for _, auc, error in baseline:
        assert abs(auc - 0.5) < LEAK * error


def test_a_split_by_popularity_is_caught_leaking(crowd):
    """Members that are popular items: an attack without the model succeeds."""
    split = coin_split(crowd.log, models=6, seed=1)
    popular = crowd.log.popularity()[split.item] > np.median(crowd.log.popularity()[split.item])
    member = np.random.default_rng(0).random(split.member.shape) < np.where(popular, 0.7, 0.3)
    said = leak(blind_baseline(replace(split, member=member)))
    assert said.startswith("the split leaks")
    assert "popularity of the item" in said


def test_a_leaking_split_is_not_run(live, ask, monkeypatch):
    from loopaudit.audit.privacy import membership

    honest = membership.coin_split

    def leaking(log, **options):
        split = honest(log, **options)
        length = np.bincount(log.user, minlength=log.n_users)[split.user]
        return replace(split, member=split.member & (length > np.median(length)))

    monkeypatch.setattr(membership, "coin_split", leaking)
    for finding in ask(Membership(), live("random", worlds=1)).values():
        assert finding.verdict is Verdict.NOT_RUN
        assert finding.because.startswith("the split leaks")


# -- the auditor -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ladder(live, ask):
    """ROC-AUC and TPR at 1 % FPR of recommenders that remember more and more."""

    def climbed(name, args):
        found = ask(Membership(), live(name, args, worlds=1, users=120))
        return found[AUC], found[TPR]

    return {
        "random": climbed("random", {}),
        "half": climbed(MEMORISER, {"q": 0.4}),
        "ease": climbed("ease", {"reg": 20.0}),
        "all": climbed(MEMORISER, {"q": 1.0}),
    }


def test_the_ladder_is_in_order(ladder):
    areas = [ladder[name][0].arm_values["ROC-AUC"] for name in ("random", "half", "ease", "all")]
    assert areas[0] == pytest.approx(0.5, abs=0.03)
    assert areas[0] < areas[1] < areas[2] <= areas[3] == 1.0
    assert areas[1] == pytest.approx(0.7, abs=0.04)  # (1 + q) / 2
    assert areas[2] > 0.9


def test_what_is_remembered_is_found_at_few_false_alarms(ladder):
    rates = [ladder[name][1].arm_values["TPR at 1 % FPR"] for name in ("random", "half", "all")]
    assert rates == pytest.approx([0.01, 0.4, 1.0], abs=0.06)


def test_verdicts_on_the_ladder(ladder):
    assert [f.verdict for f in ladder["random"]] == [Verdict.PASS, Verdict.PASS]
    for name in ("half", "ease", "all"):
        assert [f.verdict for f in ladder[name]] == [Verdict.VIOLATION, Verdict.VIOLATION]


def test_blind_attacks_stand_beside_the_real_ones(ladder):
    table = ladder["ease"][0].tables[0]
    assert [row[0] for row in table.rows] == [
        "raw score",
        "LiRA",
        "blind: popularity of the item",
        "blind: length of the history",
    ]
    assert all(abs(float(row[1]) - 0.5) < 0.05 for row in table.rows[2:])


def test_too_few_interactions_are_not_run(live, ask):
    found = ask(Membership(), live("random", worlds=1, users=20, history=4.0))
    assert found[AUC].verdict is Verdict.NOT_RUN
    assert "200" in found[AUC].because


# -- the published artefact ---------------------------------------------------------------------


@pytest.mark.parametrize("model", [ItemKNN(), EASE(reg=20.0)], ids=["itemknn", "ease"])
def test_non_members_served_by_a_popularity_list_make_any_model_look_leaky(crowd, model):
    """People in training against people outside it: the distance between what they chose and
    what they are shown. Published attacks serve the outsiders a popularity list; served through
    the same fold-in, they cannot be told apart."""
    log, users = crowd.log, np.arange(300, dtype=np.int32)
    inside = users < 150
    train = log.take(inside[log.user])
    guard, popular = (Guard(made, n_items=200) for made in (model, Popularity()))
    for each in (guard, popular):
        each.fit(train, crowd.catalog)
    asked = Requests(users, log.histories(), 20)
    vectors = np.linalg.svd(train.to_csr().toarray(), full_matrices=False)[2][:20].T
    history = log.to_csr().toarray()
    chosen = (history @ vectors) / history.sum(axis=1, keepdims=True)
    rank = np.arange(20, 0, -1) / 210.0

    def attack(items):
        shown = np.einsum("k,nkd->nd", rank, vectors[items])
        return roc_auc(-np.linalg.norm(chosen - shown, axis=1), inside)

    folded = guard.recommend(asked).items
    routed = np.where(inside[:, None], folded, popular.recommend(asked).items)
    assert attack(routed) > 0.75
    assert attack(folded) < 0.65


def test_nothing_passes_about_a_recommender_that_learns_nothing_here(live, ask, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def first(history, k):\n    return range(k)\n")
    found = ask(Membership(), live(f"{mine}:first", worlds=1, audit={"shadows": 2}))
    assert {f.verdict for f in found.values()} == {Verdict.NOT_RUN}
    assert "does not learn from the log" in found[AUC].because


def test_an_attack_on_a_recommender_that_does_not_answer_is_no_pass(live, ask, tmp_path):
    mine = tmp_path / "mute.py"
    mine.write_text("def mute(history, k):\n    raise RuntimeError('no')\n")
    found = ask(Membership(), live(f"{mine}:mute", worlds=1, audit={"shadows": 2}))
    assert {f.verdict for f in found.values()} == {Verdict.NOT_RUN}
    assert "requests of the attack unanswered" in found[AUC].because


def test_a_paid_recommender_that_does_not_learn_is_not_asked_at_a_price(live, ask, tmp_path):
    mine = tmp_path / "paid.py"
    mine.write_text(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from loopaudit.recommenders.border import Capabilities, Slates\n"
        f"BILL = Path({str(tmp_path / 'bill')!r})\n"
        "class Paid:\n"
        "    name, capabilities = 'paid', Capabilities(metered=True)\n"
        "    def fit(self, log, catalog, *, seed=0, progress=None):\n"
        "        pass\n"
        "    def recommend(self, requests):\n"
        "        BILL.write_text(f'{BILL.read_text() if BILL.exists() else str()}x')\n"
        "        return Slates(np.tile(np.arange(requests.k), (len(requests), 1)))\n"
    )
    run = live(f"{mine}:Paid", worlds=1, audit={"shadows": 2})
    paid = (tmp_path / "bill").read_text()
    found = ask(Membership(), run)
    assert {f.verdict for f in found.values()} == {Verdict.NOT_RUN}
    assert "its answers cost money" in found[AUC].because
    assert (tmp_path / "bill").read_text() == paid
