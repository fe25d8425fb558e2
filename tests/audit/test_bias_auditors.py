"""Bias: gaps describe, flipped labels accuse; hand-computed values, plants and traps."""

import numpy as np
import pytest
from scipy import stats

from loopaudit.audit.bias.attribute_use import AttributeUse, changed_share, other_label
from loopaudit.audit.bias.popularity_lift import (
    Popularities,
    PopularityLift,
    kinds_of_people,
    popularity,
    short_head,
)
from loopaudit.audit.bias.probe import Groups, groups, majority, pseudo_values
from loopaudit.audit.bias.quality_gap import (
    QualityGap,
    adjusted_gap,
    gap,
    group_table,
    profile_strata,
)
from loopaudit.audit.finding import Verdict
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.classic.random import Random
from loopaudit.recommenders.datasets import load
from loopaudit.recommenders.evaluation import evaluate, load_split
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions

DEGRADER = "loopaudit.audit.planted:GenderDegrader"


# -- attribute use -----------------------------------------------------------------------------


def test_share_of_changed_items_ignores_order_and_padding():
    a = np.array([[1, 2, 3, 4], [1, 2, -1, -1], [-1, -1, -1, -1], [1, 2, 3, 4]], np.int32)
    b = np.array([[4, 3, 2, 1], [1, 5, -1, -1], [-1, -1, -1, -1], [5, 6, 7, 8]], np.int32)
    assert changed_share(a, b).tolist() == [0.0, 0.5, 0.0, 1.0]


def test_everybody_is_asked_about_under_one_label_that_is_not_the_majoritys():
    people = Groups(
        np.arange(6, dtype=np.int32), np.array(["M", "M", "M", "F", "X", "F"]), ("M", "F", "X"), ()
    )
    other = other_label(people, seed=0)
    assert other[3:].tolist() == ["F", "X", "F"]
    assert set(other[:3]) <= {"F", "X"}


def test_a_label_that_changes_slates_is_found_and_so_is_who_loses(live, ask):
    found = ask(AttributeUse(), live(DEGRADER, {"eps": 0.3}))
    use, quality = found["bias.attribute-use"], found["bias.attribute-quality"]
    assert use.verdict is Verdict.VIOLATION
    assert use.effect == pytest.approx(0.3, abs=0.04)  # the dose itself
    assert quality.verdict is Verdict.VIOLATION
    assert use.arm_values["identical request again"] == 0.0


@pytest.mark.parametrize("name", ["itemknn", "random", "popularity"])
def test_a_recommender_that_ignores_the_label_has_exactly_no_effect(live, ask, name):
    """Also among groups that differ by nature, and for a recommender that draws its slates."""
    found = ask(AttributeUse(), live(name, unequal_base_rates=True))
    for finding in found.values():
        assert finding.effect == 0.0
        assert finding.verdict is Verdict.PASS
        assert "exactly 0" in finding.because  # no bound of width zero at some confidence
        assert any("reads no attributes, and answered" in note for note in finding.notes)


def test_the_quality_of_slates_is_read_by_vectors_where_tastes_are_vectors(live, ask):
    finding = ask(AttributeUse(), live(DEGRADER, {"eps": 0.3}, dim=5))["bias.attribute-quality"]
    assert finding.verdict is Verdict.VIOLATION


def test_one_world_is_judged_by_its_people_and_says_so(live, ask):
    finding = ask(AttributeUse(), live(DEGRADER, {"eps": 0.3}, worlds=1))["bias.attribute-use"]
    assert finding.n_units == 90
    assert any("unit of this interval is the person" in note for note in finding.notes)


def test_an_attribute_nobody_has_is_not_run_with_the_reason(live, ask):
    run = live("popularity", worlds=2, audit={"group": "shoe size"})
    for auditor in (AttributeUse(), QualityGap()):
        for finding in ask(auditor, run).values():
            assert finding.verdict is Verdict.NOT_RUN
    assert "shoe size" in ask(AttributeUse(), run)["bias.attribute-use"].because


def test_the_reference_group_is_the_same_in_every_world(live):
    run = live("random", worlds=6, users=60)
    pooled = majority(run, "gender")
    assert pooled == "M"
    for world in range(run.worlds):
        people = groups(run, world, "gender", pooled, seed=0)
        assert isinstance(people, str) or people.names[0] == "M"


def test_small_groups_are_suppressed_by_name(live):
    run = live("random", worlds=1, users=60)
    people = groups(run, 0, "age", majority(run, "age"), seed=0)
    assert people.suppressed == ("60+",)
    assert "60+" not in people.labels


# -- quality gap -------------------------------------------------------------------------------


def test_the_gap_and_its_error_are_welchs_when_the_overall_mean_is_known():
    luck = np.random.default_rng(0)
    values = luck.normal(1.0, 0.5, 400)
    largest = np.arange(400) < 240
    effect, error = gap(values, largest)
    a, b = values[largest], values[~largest]
    assert effect == pytest.approx((a.mean() - b.mean()) / values.mean())
    welch = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) / values.mean()
    assert error == pytest.approx(welch, rel=0.02)


def test_a_gap_to_nobody_is_undefined():
    assert np.isnan(gap(np.ones(3), np.ones(3, dtype=bool))).all()


def test_a_group_that_was_shown_nothing_leaves_the_loops_gap_undefined(live, ask, tmp_path):
    refuses = tmp_path / "refuses.py"
    refuses.write_text(
        "def f(history, k, attributes):\n"
        "    assert attributes['gender'] != 'F'\n"
        "    return [i for i in range(150) if i not in set(history)][:k]\n"
    )
    run = live(f"{refuses}:f", arms=["random"], worlds=2)
    found = ask(QualityGap(), run)["bias.loop-quality-gap"]
    assert found.verdict is Verdict.NOT_RUN
    assert "a whole group was shown nothing" in found.because


def test_the_gaps_error_is_the_jackknifes_over_people():
    luck = np.random.default_rng(1)
    values, largest = luck.exponential(1.0, 400), np.arange(400) < 240
    pseudo = pseudo_values(
        lambda w: float(
            (np.average(values, weights=w * largest) - np.average(values, weights=w * ~largest))
            / np.average(values, weights=w)
        ),
        400,
    )
    effect, error = gap(values, largest)
    assert pseudo.mean() == pytest.approx(effect, abs=error / 4)  # less the ratio's small bias
    assert stats.sem(pseudo) == pytest.approx(error, rel=0.05)


def test_a_gap_that_is_only_profile_size_vanishes_within_strata():
    """Simpson: the largest group has long profiles, long profiles are served better."""
    strata = np.repeat([0, 1], 100)
    largest = np.concatenate([np.arange(100) < 20, np.arange(100) < 80])
    values = np.where(strata == 1, 2.0, 1.0)
    assert gap(values, largest)[0] > 0.3
    assert adjusted_gap(values, largest, strata) == pytest.approx(0.0)


def test_strata_are_quarters_of_profile_size():
    user = np.repeat(np.arange(8, dtype=np.int32), np.arange(1, 9))
    log = Interactions(user, np.zeros_like(user), np.arange(len(user)), 8, 1)
    assert profile_strata(log, np.arange(8, dtype=np.int32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_group_means_are_fairlearns():
    table = group_table(
        np.array([0.2, 0.4, 0.9]), np.array([0.1, 0.1, 0.4]), np.array(["F", "F", "M"])
    )
    flat = [cell for row in table.rows for cell in row]
    assert [c for c in flat if isinstance(c, str)] == ["F", "M", "everybody"]
    assert [c for c in flat if not isinstance(c, str)] == pytest.approx(
        [2, 0.3, 0.1, 1, 0.9, 0.4, 3, 0.5, 0.2]
    )


def test_a_degraded_group_shows_as_a_gap(live, ask):
    found = ask(QualityGap(), live(DEGRADER, {"eps": 1.0}, arms=["random"], users=240, worlds=4))
    assert found["bias.quality-gap"].verdict is Verdict.VIOLATION
    assert found["bias.quality-disparity"].verdict is Verdict.VIOLATION
    assert found["bias.quality-gap"].tables[0].rows[-1][0] == "everybody"


def test_nothing_is_trained_again_without_access_to_training(live, measure):
    from loopaudit.audit.evidence import Evidence

    run = live("popularity", arms=["random"], worlds=2)
    seen = QualityGap().measure(Evidence(run, "subject", run.study.audit, frozenset("BL")))
    assert set(seen) == {"bias.loop-quality-gap"}


def test_the_gap_of_ease_on_movielens_is_the_one_measured_elsewhere(real_data):
    """Men .3550, women .3056, +.0494 [.0161, .0812] (closed form, bootstrap of 2,000)."""
    result = evaluate("ease", load_split(real_data("derived/ml100k_rnd.npz")), args={"reg": 300.0})
    data = load("ml-100k", folder=str(real_data("ml-100k")))
    gender = data.users.attributes["gender"][result.users]
    ndcg = result.per_user["ndcg@10"]
    effect, error = gap(ndcg, gender == "M")
    assert ndcg[gender == "M"].mean() == pytest.approx(0.3550, abs=1e-4)
    assert ndcg[gender == "F"].mean() == pytest.approx(0.3056, abs=1e-4)
    assert effect * ndcg.mean() == pytest.approx(0.0494, abs=1e-4)
    low, high = (effect + side * 1.96 * error for side in (-1, 1))
    assert [low * ndcg.mean(), high * ndcg.mean()] == pytest.approx([0.0161, 0.0812], abs=2e-3)


# -- popularity lift ---------------------------------------------------------------------------


def test_lift_by_hand():
    log = Interactions(
        np.array([0, 1, 2, 3, 0], np.int32), np.array([0, 0, 0, 1, 2], np.int32),
        np.arange(5), 4, 3,
    )  # fmt: skip
    assert popularity(log).tolist() == [0.75, 0.25, 0.25]
    seen = Popularities.of(log, np.arange(4), np.array([[1], [1], [1], [0]], np.int32))
    assert seen.profile.tolist() == [0.5, 0.75, 0.75, 0.25]
    assert seen.served.tolist() == [0.25, 0.25, 0.25, 0.75]
    assert seen.lift(np.array([0.0, 0, 0, 1])) == 2.0  # from .25 to .75
    assert seen.lift(np.ones(4)) == pytest.approx(1.5 / 2.25 - 1)


def test_lift_on_movielens_is_the_one_measured_elsewhere(real_data):
    """Abdollahpouri-style groups on all ratings of MovieLens 100K, top 10 unseen items."""
    data = load("ml-100k", folder=str(real_data("ml-100k")))
    log, users = data.log, np.arange(data.log.n_users, dtype=np.int32)
    head = short_head(log)
    assert round(float(head[log.item].mean()), 4) == 0.6462
    kind = kinds_of_people(log, users)
    assert [int((kind == k).sum()) for k in ("niche", "diverse", "blockbuster")] == [189, 565, 189]

    def lifts(recommender):
        guard = Guard(recommender, n_items=log.n_items)
        guard.fit(log, data.catalog)
        items = guard.recommend(Requests(users, log.histories(), 10)).items
        seen = Popularities.of(log, users, items)
        groups_of = [(kind == k).astype(float) for k in ("niche", "diverse", "blockbuster")]
        profile = [float(seen.profile[w > 0].mean()) for w in groups_of]
        return profile, [seen.lift(w) for w in groups_of]

    profile, popular = lifts(Popularity())
    assert profile == pytest.approx([0.1488, 0.2015, 0.2563], abs=5e-5)
    assert popular == pytest.approx([1.971, 1.214, 0.793], abs=5e-4)
    _, drawn = lifts(Random())
    assert drawn == pytest.approx([-0.671, -0.740, -0.766], abs=0.04)  # another library's luck


def test_niche_people_are_lifted_most_by_a_popularity_list(live, ask):
    finding = ask(PopularityLift(), live("popularity", users=120))["bias.popularity-lift"]
    lifts = finding.arm_values
    assert lifts["niche"] > lifts["diverse"] > lifts["blockbuster"] > 0
    assert finding.effect > finding.floor > 0  # most of it is arithmetic, and said to be


def test_small_worlds_have_no_niche_to_speak_of(live, ask):
    found = ask(PopularityLift(), live("popularity", users=60, worlds=2))
    assert found["bias.popularity-lift"].verdict is Verdict.NOT_RUN
    assert "at least 100 people" in found["bias.popularity-lift"].because
