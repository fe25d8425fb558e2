"""The judge: three verdicts and their borders, families of checks, and what the reader is told."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopaudit.audit.estimates import Estimate
from loopaudit.audit.finding import Check, Finding, Measurement, Verdict
from loopaudit.audit.inference import judge, judge_all, verdict_of

V, P, OPEN, N = Verdict.VIOLATION, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_RUN
FORBIDDEN = re.compile(r"debias|unbias|\bfair|complian|\bsafe", re.IGNORECASE)


def check(**changes: object) -> Check:
    base = Check(
        id="bubbles.narrowing",
        family="bubbles",
        question="Do slates narrow?",
        estimand="target minus random, per world",
        statistic="narrowing of slates",
        unit_label="bits",
        unit="world",
        tau=0.25,
        tau_source="convention",
    )
    return replace(base, **changes)


def of_effects(*effects: float, **changes: object) -> Finding:
    return judge(check(**changes), Measurement(effects=np.array(effects)), "ease")


def around(mean: float, spread: float, n: int = 10) -> tuple[float, ...]:
    """n effects with exactly this mean and standard deviation."""
    x = np.random.default_rng(n).normal(size=n)
    x = (x - x.mean()) / x.std(ddof=1)
    return tuple(mean + spread * x)


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (0.50, 0.10, V),
        (0.26, 0.01, V),
        (0.00, 0.10, P),
        (-0.40, 0.10, P),
        (0.24, 0.01, P),
        (0.25, 0.01, OPEN),
        (0.28, 0.10, OPEN),
        (0.20, 0.30, OPEN),
        (-0.40, 0.50, OPEN),  # the upper bound is below tau, but a harm of tau would go unseen
    ],
)
def test_three_verdicts(mean: float, spread: float, verdict: Verdict) -> None:
    found = of_effects(*around(mean, spread))
    assert found.verdict is found.verdict_alone is verdict
    assert (found.units_to_decide is None) == (verdict is not OPEN or mean == 0.25)
    assert found.mde is not None
    if verdict is P:
        assert found.mde <= found.check.tau


def test_a_pass_that_could_not_have_seen_a_harm_is_no_pass() -> None:
    blind = Estimate(-0.4, -0.6, 0.1, 0.99, 10, mde=0.3)
    assert verdict_of(blind, 0.25) is OPEN
    assert verdict_of(replace(blind, mde=0.25), 0.25) is P
    assert verdict_of(replace(blind, mde=None), 0.25) is OPEN
    assert verdict_of(replace(blind, mde=None, certain=True), 0.25) is P


def test_bounds_on_the_threshold_decide_nothing() -> None:
    at = Estimate(0.5, 0.25, 0.75, 0.05, 10, mde=0.1)
    assert verdict_of(at, 0.25) is OPEN
    assert verdict_of(replace(at, low=0.1, high=0.25), 0.25) is OPEN


def test_a_harm_as_large_as_the_threshold_is_called_a_violation_in_five_percent() -> None:
    rng = np.random.default_rng(60)
    verdicts = [of_effects(*rng.normal(0.25, 0.1, 10)).verdict for _ in range(1500)]
    assert np.mean([v is V for v in verdicts]) == pytest.approx(0.05, abs=0.015)
    assert np.mean([v is P for v in verdicts]) <= 0.065


samples = st.lists(st.floats(-1, 1), min_size=4, max_size=12).filter(lambda x: np.ptp(x) > 0.05)


@given(samples, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
@settings(max_examples=60, deadline=None)
def test_a_stricter_threshold_never_clears(x: list[float], tau: float, more: float) -> None:
    order = [V, OPEN, P]
    strict, lenient = of_effects(*x, tau=tau), of_effects(*x, tau=tau + more)
    assert order.index(strict.verdict) <= order.index(lenient.verdict)
    assert strict.p_value <= lenient.p_value


@given(samples, st.floats(0.1, 50))
@settings(max_examples=40, deadline=None)
def test_the_unit_of_measurement_does_not_change_the_verdict(x: list[float], scale: float) -> None:
    one = of_effects(*x)
    other = of_effects(*(scale * np.array(x)), tau=0.25 * scale)
    margin = min(abs(one.low - 0.25), abs(one.high - 0.25), abs(one.mde - 0.25))
    assert other.verdict is one.verdict or margin < 1e-9


# -- what cannot be measured -------------------------------------------------------------------


def test_missing_and_undefined_are_not_run_with_the_reason() -> None:
    absent = judge(check(), Measurement(missing="there was no random arm"), "ease")
    assert (absent.verdict, absent.because) == (N, "there was no random arm")
    assert absent.effect is absent.p_value is None
    empty = judge(check(), Measurement(undefined="nobody clicked"), "ease")
    assert empty.because == "undefined because nobody clicked"


def test_worlds_without_a_value_are_left_out_and_counted() -> None:
    found = of_effects(*around(0.5, 0.05, 8), np.nan, np.inf)
    assert found.n_units == 8
    assert "2 of 10 worlds" in found.notes[0]
    nothing = of_effects(np.nan, np.nan)
    assert nothing.verdict is N
    assert "no value in any of 2 worlds" in nothing.because


def test_one_world_is_inconclusive() -> None:
    found = of_effects(3.0)
    assert found.verdict is OPEN
    assert found.effect == 3.0
    assert found.low is found.mde is None
    assert found.units_to_decide == 10


def test_identical_worlds_are_judged_by_a_sign_test() -> None:
    assert of_effects(*[0.0] * 10).verdict is P
    assert of_effects(*[1.0] * 10).verdict is V
    assert of_effects(*[1.0] * 4).verdict is OPEN


@pytest.mark.parametrize(
    ("method", "measurement", "said"),
    [
        ("paired-t", Measurement(), "handed over nothing"),
        ("paired-t", Measurement(counts=(1, 2)), "handed over counts"),
        ("exact", Measurement(counts=(0, 0)), "there was no trial"),
        ("exact", Measurement(counts=(3, 2)), "cannot be judged"),
        ("cluster-jackknife", Measurement(estimate=(float("nan"), 1.0, 9)), "not a number"),
        (
            "permutation",
            Measurement(groups=(np.ones(30), np.repeat(["a", "b"], 15), None)),
            "fewer than two groups hold at least 20 users",
        ),
        ("paired-t", Measurement(effects=np.array(["x"])), "cannot be judged"),
    ],
)
def test_what_an_auditor_hands_over_wrongly_is_not_run(
    method: str, measurement: Measurement, said: str
) -> None:
    found = judge(check(method=method), measurement, "ease")
    assert found.verdict is N
    assert said in found.because


def test_an_estimate_without_standard_error_is_inconclusive() -> None:
    found = judge(
        check(method="cluster-jackknife", unit="user"), Measurement(estimate=(0.4, 0.1, 1)), "ease"
    )
    assert found.verdict is OPEN
    assert "1 user gave no standard error" in found.because


# -- each method -------------------------------------------------------------------------------


def test_counts_above_chance() -> None:
    exact = check(method="exact", unit="prompt", tau=0.02)
    found = judge(exact, Measurement(counts=(30, 300), chance=0.01), "ease")
    assert found.verdict is V
    assert found.effect == pytest.approx(0.09)
    assert judge(exact, Measurement(counts=(0, 300)), "ease").verdict is P
    assert judge(exact, Measurement(counts=(0, 50)), "ease").verdict is OPEN


def test_groups_bring_their_floor_and_hide_the_small_ones() -> None:
    rng = np.random.default_rng(61)
    labels = np.repeat(["a", "b", "c"], [100, 100, 5])
    values = rng.normal(size=205) * 0.1 + (labels == "a")
    question = check(method="permutation", unit="user")
    found = judge(question, Measurement(groups=(values, labels, None)), "ease")
    assert found.verdict is V
    assert found.suppressed == ("c",)
    assert found.floor_label == "mean under shuffled group labels"
    assert 0 < found.floor < 0.2
    again = judge(question, Measurement(groups=(values, labels, None)), "ease")
    assert again == found  # the same seed, the same permutations


def test_an_estimate_over_users() -> None:
    question = check(method="cluster-jackknife", unit="user", tau=0.05)
    assert judge(question, Measurement(estimate=(0.1, 0.02, 300)), "ease").verdict is V
    assert judge(question, Measurement(estimate=(0.0, 0.01, 300)), "ease").verdict is P
    assert judge(question, Measurement(estimate=(0.1, 0.0, 300)), "ease").verdict is V


def test_bca_needs_units_and_says_so() -> None:
    few = judge(check(method="bca"), Measurement(effects=np.array(around(0.5, 0.1))), "ease")
    assert any("fewer than 20" in note for note in few.notes)
    many = judge(check(method="bca"), Measurement(effects=np.array(around(0.5, 0.1, 40))), "ease")
    assert many.verdict is V
    assert not many.notes


def test_a_skewed_sample_gets_a_second_opinion() -> None:
    skewed = np.random.default_rng(1).exponential(1, 12)
    tau = 1.02 * of_effects(*skewed).high  # a pass by a hair, if the shape were normal
    found = of_effects(*skewed, tau=tau)
    assert found.verdict is P
    assert any("bootstrap-t" in note and "INCONCLUSIVE" in note for note in found.notes)
    assert not of_effects(*around(0.5, 0.1)).notes


# -- many checks together ----------------------------------------------------------------------


def together(*means: float, family: str = "bubbles", name: str = "ease") -> tuple[Finding, ...]:
    asked = [check(id=f"{family}.{i}", family=family) for i in range(len(means))]
    seen = [Measurement(effects=np.array(around(mean, 0.1))) for mean in means]
    return judge_all(zip(asked, seen, [name] * len(means), strict=True))


def test_a_violation_that_does_not_survive_its_family_is_withdrawn_and_says_so() -> None:
    alone = together(0.315)[0]
    assert alone.verdict is V
    assert alone.p_family == alone.p_value
    first, *others = together(0.315, 0.15, 0.15, 0.15, 0.15)
    assert first.verdict_alone is V
    assert first.verdict is OPEN
    assert first.p_family == pytest.approx(5 * first.p_value)
    assert "family" in first.because
    assert first.units_to_decide > first.n_units
    assert all(other.verdict is P for other in others)


def test_violations_that_survive_stay_and_show_the_gate_set_beside() -> None:
    found = together(0.5, 0.5, 0.0)
    assert [f.verdict for f in found] == [V, V, P]
    assert found[0].p_gate == pytest.approx(3 * found[0].p_value)
    assert found[0].p_family == pytest.approx(1.5 * found[0].p_value)


def test_another_recommender_or_family_does_not_change_a_verdict() -> None:
    one = (check(id="bubbles.0"), Measurement(effects=np.array(around(0.315, 0.1))), "ease")
    clean = Measurement(effects=np.array(around(0.0, 0.1)))
    many = judge_all(
        [
            one,
            *[(check(id="bubbles.0"), clean, f"other-{i}") for i in range(9)],
            *[(check(id=f"bias.{i}", family="bias"), clean, "ease") for i in range(9)],
        ]
    )
    assert many[0].verdict is V
    assert many[0].p_family == many[0].p_value
    assert many[0].p_gate > 0.05  # one exit code answers for all gates, so this is shown


def test_descriptive_checks_and_checks_not_run_have_no_gate() -> None:
    effects = Measurement(effects=np.array(around(0.5, 0.1)))
    found = judge_all(
        [
            (check(id="bubbles.a", role="descriptive"), effects, "ease"),
            (check(id="bubbles.b"), Measurement(missing="no access"), "ease"),
            (check(id="bubbles.c"), effects, "ease"),
        ]
    )
    assert found[0].p_gate is None
    assert found[0].p_family is not None
    assert found[1].p_gate is found[1].p_family is None
    assert found[2].p_gate == found[2].p_value


def test_false_alarms_inside_a_family_stay_rare() -> None:
    rng = np.random.default_rng(62)
    alarms = 0
    for _ in range(150):
        found = judge_all(
            [
                (check(id=f"bubbles.{i}"), Measurement(effects=rng.normal(0.25, 0.1, 10)), "ease")
                for i in range(6)
            ]
        )
        alarms += any(f.verdict is V for f in found)
    assert alarms / 150 <= 0.10


def test_sentences_are_plain_and_keep_to_the_words() -> None:
    cases = [around(0.5, 0.1), around(0.0, 0.1), around(0.2, 0.3), around(-0.4, 0.5), (1.0,)]
    said = [of_effects(*case).because for case in [*cases, [0.0] * 10, [np.nan]]]
    said += [f.because for f in together(0.315, 0.15, 0.15, 0.15, 0.15)]
    for sentence in said:
        assert not FORBIDDEN.search(sentence)
        assert "nan" not in sentence
        assert "None" not in sentence
    assert said[0] == (
        "Narrowing of slates is 0.5 bits, and with 95 % confidence at least 0.442: above the "
        "threshold of 0.25."
    )
    assert "worlds would decide" in said[2]
    assert "only a harm of 0.426 or more would have been seen" in said[3]
