"""Membership: can an outsider tell from recommendations which interactions were trained on?

Published attacks often succeed because non-members are served by another code path (a popularity
list) than members; that measures cold-start routing, not privacy. Here members and non-members
are exchangeable: a coin decided which of a person's interactions were trained on, everybody is
asked through the same code path with the same fixed history, and an attack without access to the
model must stay at chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.border import Requests
from ...recommenders.guard import Guard
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import child_seed, generator
from ...simulation.study import AuditSection
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from ..permutation import SMALLEST_GROUP
from ..resampling import cluster_bootstrap
from .attacks import balanced_accuracy, clustered_auc, lira, mean_tpr

MAX_USERS = 1000
"""People attacked; larger populations are sampled (all of them stay in training)."""

MAX_CANDIDATES = 20
"""Interactions of one person that a coin decides about; at most half of what they did."""

TARGETS = 2
"""Models that are attacked; the shadows come on top."""

MIN_PAIRS = 200
LIST_LENGTH = 200
"""Length of the list asked for when a recommender shows no scores."""

RESAMPLES = 200

UNMOVED = (
    "training it on other interactions changed none of its answers: either it does not learn from "
    "the log it is handed (and what it was trained on elsewhere is unknown here), or its answers "
    "show nothing of it"
)

PAID = (
    "its answers cost money, and it says that it does not learn from the log it is handed: models "
    "trained on other interactions would all answer alike (what it was trained on elsewhere is "
    "unknown here)"
)

LEAK = 3.3
"""Standard errors at which an attack without the model is taken for a leaking split (about one
false alarm in a thousand)."""


@dataclass(frozen=True)
class Split:
    """Who could have been trained on what.

    Attributes:
        log: everything.
        fixed: (rows,) in every training set, and the only history ever sent in a request.
        user, item: (candidates,) the interactions that coins decide about.
        rows: (candidates,) their rows in the log.
        member: (models, candidates) the coins.
    """

    log: Interactions
    fixed: NDArray[np.bool_]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rows: NDArray[np.int64]
    member: NDArray[np.bool_]

    def training(self, model: int) -> Interactions:
        """What one model is trained on."""
        keep = self.fixed.copy()
        keep[self.rows[self.member[model]]] = True
        return self.log.take(keep)


def coin_split(log: Interactions, *, models: int, seed: int) -> Split:
    """Deals each person's interactions into a fixed history and candidates.

    At most half of a person's interactions (20 at most) become candidates, chosen at random;
    each model trains on each candidate with probability one half, independently.
    """
    rng = generator(seed, "split")
    counts = np.bincount(log.user, minlength=log.n_users)
    able = np.flatnonzero(counts >= 4)
    if len(able) > MAX_USERS:
        able = np.sort(rng.permutation(able)[:MAX_USERS])
    quota = np.zeros(log.n_users, dtype=np.int64)
    quota[able] = np.minimum(counts[able] // 2, MAX_CANDIDATES)
    order = np.lexsort((rng.random(len(log)), log.user))
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    rank = np.empty(len(log), dtype=np.int64)
    rank[order] = np.arange(len(log)) - starts[log.user[order]]
    rows = np.flatnonzero(rank < quota[log.user])
    # an item somebody met twice would stay in their history whatever the coin says
    pair = log.user.astype(np.int64) * log.n_items + log.item
    _, first, times = np.unique(pair, return_index=True, return_counts=True)
    single = np.zeros(len(log), dtype=bool)
    single[first[times == 1]] = True
    rows = rows[single[rows]]
    fixed = np.ones(len(log), dtype=bool)
    fixed[rows] = False
    return Split(
        log, fixed, log.user[rows], log.item[rows], rows, rng.random((models, len(rows))) < 0.5
    )


def blind_baseline(split: Split) -> tuple[tuple[str, float, float], ...]:
    """(name, ROC-AUC, standard error) of attacks that never see a model.

    Item popularity and profile size are counted on the fixed history only, so in an honest split
    they cannot know the coins.
    """
    fixed = split.log.take(split.fixed)
    guesses = {
        "popularity of the item": fixed.popularity()[split.item],
        "length of the history": np.bincount(fixed.user, minlength=fixed.n_users)[split.user],
    }
    found = []
    for name, guess in guesses.items():
        auc, error, _ = clustered_auc(guess.astype(np.float64), split.member, split.user)
        found.append((name, auc, error))
    return tuple(found)


def leak(baseline: tuple[tuple[str, float, float], ...]) -> str:
    """Why a split cannot be used, or empty text."""
    for name, auc, error in baseline:
        if abs(auc - 0.5) > LEAK * max(error, 1e-9):
            return (
                f"the split leaks: without any access to the model, {name} alone tells members "
                f"from non-members with ROC-AUC {auc:.3f} (standard error {error:.3f}, must be .5)"
            )
    return ""


def candidate_scores(
    guard: Guard, split: Split, *, seed: int, attributes: Mapping[str, NDArray[np.generic]]
) -> tuple[NDArray[np.float64], str]:
    """((candidates,) attack score, how it was read) of one trained model.

    Scores where the recommender shows them, standardised within each person's answer; otherwise
    the place in a long list. Requests carry the fixed history only.

    Args:
        attributes: named (users,) columns of everybody in the log.
    """
    users, row = np.unique(split.user, return_inverse=True)
    told = split.log.take(split.fixed)
    history = told.histories().take(users)
    n_items = split.log.n_items
    request = Requests(
        users=users.astype(np.int32),
        history=history,
        k=min(LIST_LENGTH, n_items),
        seed=seed,
        attributes={name: column[users] for name, column in attributes.items()},
        ago=told.ago(users),
    )
    scores = guard.score(request)
    if scores is not None:
        known = np.where(np.isfinite(scores), scores, np.nan).astype(np.float64)
        known[history.row_index, history.values] = np.nan
        n = np.maximum(np.isfinite(known).sum(axis=1, keepdims=True), 1)  # a hostile row has none
        centre = np.nansum(known, axis=1, keepdims=True) / n
        spread = np.sqrt(np.nansum((known - centre) ** 2, axis=1, keepdims=True) / n)
        standard = np.nan_to_num((known - centre) / np.maximum(spread, 1e-12), nan=0.0)
        return standard[row, split.item], "scores"
    items = guard.recommend(request).items
    place = np.full((len(users), n_items), items.shape[1], dtype=np.float64)
    r, c = np.nonzero(items >= 0)
    place[r, items[r, c]] = c
    return -np.log2(1.0 + place[row, split.item]), f"places in lists of {items.shape[1]}"


class Membership:
    """Interaction-level membership inference with shadow models."""

    name = "membership"
    family: Family = "privacy"
    question = "Can an outsider tell which interactions the recommender was trained on?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Two gates on the strongest declared attack, one description of the simplest."""
        protocol = (
            "each person's interactions are dealt into a fixed history and candidates; each "
            "candidate is trained on if a coin says so; everybody is asked through the same code "
            f"path with the fixed history; {TARGETS} models are attacked with the help of "
            f"{settings.shadows} shadow models trained in the same way"
        )
        strong = "LiRA with shared variance and shrunk shifts"
        source = (
            "Carlini et al. 2022, Membership Inference Attacks From First Principles (LiRA); "
            "clustered ROC: Obuchowski 1997; exchangeable non-members instead of popularity-served "
            "ones: see Zhang et al. 2021 for the protocol this avoids"
        )
        not_tested = (
            "Stronger attackers (more shadows, several queries, gradients); membership of a whole "
            "person; inference of attributes; extraction of text; leaks through explanations. "
            "The audit covers the training method on these data, not one deployed model."
        )
        mitigation = (
            "Stronger regularisation, larger batches and fewer epochs; training with differential "
            "privacy; do not show raw scores; round or perturb them."
        )
        return (
            Check(
                id="privacy.membership-auc",
                family=self.family,
                question="On average, can an attacker tell members from non-members?",
                estimand=f"ROC-AUC minus .5 of {strong}; {protocol}",
                statistic="members told from non-members, above chance",
                unit_label="ROC-AUC minus .5",
                unit="user",
                tau=0.05,
                tau_source="LoopAudit default: convention (warn when the AUC exceeds .55)",
                method="cluster-jackknife",
                alpha=settings.alpha,
                access="BW",
                formula=(
                    "P(attack score of a member > of a non-member), ties half; attack score = log "
                    "N(s; mean_in) - log N(s; mean_out)"
                ),
                source=source,
                not_tested=not_tested,
                mitigation=mitigation,
            ),
            Check(
                id="privacy.membership-tpr",
                family=self.family,
                question="Are some interactions exposed almost for sure?",
                estimand=f"TPR at 1 % false-positive rate minus .01 of {strong}; {protocol}",
                statistic="members found at 1 % false alarms, above chance",
                unit_label="share of members",
                unit="user",
                tau=0.02,
                tau_source="LoopAudit default: convention (three times what chance finds)",
                method="cluster-jackknife",
                alpha=settings.alpha,
                access="BW",
                formula=(
                    "share of members above the lowest threshold that accuses at most 1 % of "
                    "non-members, mean of the attacked models, minus .01; ties stay together"
                ),
                source=source,
                not_tested=not_tested,
                mitigation=mitigation,
            ),
            Check(
                id="privacy.membership-score",
                family=self.family,
                question="Can an attacker without shadow models tell members from non-members?",
                estimand=f"ROC-AUC minus .5 of the raw score (or place in the list); {protocol}",
                statistic="members told from non-members by the raw score, above chance",
                unit_label="ROC-AUC minus .5",
                unit="user",
                tau=0.05,
                tau_source="LoopAudit default: convention (warn when the AUC exceeds .55)",
                method="cluster-jackknife",
                alpha=settings.alpha,
                role="descriptive",
                access="BW",
                formula=(
                    "P(score of a member > of a non-member), ties half; scores standardised "
                    "within each answer"
                ),
                source=source,
                not_tested=not_tested,
                mitigation=mitigation,
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """Trains ``shadows + 2`` models on world 0's interactions and attacks two of them."""
        run, seed = evidence.run, child_seed(evidence.seed, "membership")
        if "W" not in evidence.access:
            return {}
        ids = [check.id for check in self.checks(evidence.settings)]
        says = run.create(evidence.target).capabilities
        if says.metered and says.update == "none":
            return dict.fromkeys(ids, Measurement(missing=PAID))
        models = TARGETS + evidence.settings.shadows
        split = coin_split(run.history(0, target=evidence.target), models=models, seed=seed)
        attacked = len(np.unique(split.user))
        if attacked < SMALLEST_GROUP or len(split.user) < MIN_PAIRS:
            reason = (
                f"{len(split.user)} candidate interactions of {attacked} people; an attack needs "
                f"{MIN_PAIRS} of {SMALLEST_GROUP}"
            )
            return dict.fromkeys(ids, Measurement(missing=reason))
        baseline = blind_baseline(split)
        if reason := leak(baseline):
            return dict.fromkeys(ids, Measurement(missing=reason))
        people = run.users(0)
        attributes: dict[str, NDArray[np.generic]] = {
            name: people[name].to_numpy().astype(str) for name in run.attributes(0)
        }
        scores = np.empty(split.member.shape)
        how = ""
        for model in range(models):
            evidence.say(f"model {model + 1} of {models}")
            guard = run.create(evidence.target)
            guard.fit(
                split.training(model),
                run.catalog(0).public(),
                seed=child_seed(seed, "fit", model),
            )
            if guard.faults.counts.get("fit_failed"):
                failed = Measurement(missing="the recommender could not be trained on the split")
                return dict.fromkeys(ids, failed)
            scores[model], how = candidate_scores(
                guard, split, seed=child_seed(seed, "ask", model), attributes=attributes
            )
            if 2 * guard.faults.unanswered > guard.faults.requests > 0:
                silent = (
                    f"the recommender left {guard.faults.unanswered:,} of "
                    f"{guard.faults.requests:,} requests of the attack unanswered"
                )
                return dict.fromkeys(ids, Measurement(missing=silent))
        if (scores == scores[0]).all():
            return dict.fromkeys(ids, Measurement(missing=UNMOVED))
        return attack(split, scores, how, baseline, generator(seed, "bootstrap"))


def attack(
    split: Split,
    scores: NDArray[np.float64],
    how: str,
    baseline: tuple[tuple[str, float, float], ...],
    rng: np.random.Generator,
) -> dict[str, Measurement]:
    """The measurements of both attacks on (models, candidates) scores."""
    attacked, helping = slice(None, TARGETS), slice(TARGETS, None)
    ratio = lira(scores[attacked], scores[helping], split.member[helping])
    member = split.member[attacked]
    # (attack scores, membership); the raw score needs no shadows, so every model may be attacked
    attacks = {"raw score": (scores, split.member), "LiRA": (ratio, member)}
    auc = {name: clustered_auc(*pair, split.user) for name, pair in attacks.items()}
    tpr, tpr_error, n = cluster_bootstrap(
        lambda weights: mean_tpr(ratio, member, 0.01, weights),
        split.user,
        rng=rng,
        resamples=RESAMPLES,
    )
    deep = int((~member).sum(axis=1).min()) >= 1000  # one in a thousand needs a thousand
    rows: list[tuple[str | float | int | None, ...]] = [
        (
            name,
            auc[name][0],
            auc[name][1],
            mean_tpr(score, truth, 0.01),
            mean_tpr(score, truth, 0.001) if deep else None,
            balanced_accuracy(score > np.median(score, axis=1, keepdims=True), truth),
        )
        for name, (score, truth) in attacks.items()
    ]
    rows += [(f"blind: {name}", value, error, None, None, None) for name, value, error in baseline]
    table = Table(
        "Attacks, from no access to shadow models",
        (
            "attack",
            "ROC-AUC",
            "standard error",
            "TPR at 1 % FPR",
            "TPR at 0.1 % FPR",
            "balanced accuracy at the median",
        ),
        tuple(rows),
    )
    floor = max(baseline, key=lambda row: abs(row[1] - 0.5))
    notes = (
        f"attack scores read from {how}; {len(split.user)} candidate interactions of {n} people, "
        f"{TARGETS} models attacked with {len(scores) - TARGETS} shadows",
    )

    def about(name: str) -> Measurement:
        value, error, people = auc[name]
        return Measurement(
            estimate=(value - 0.5, error, people),
            arm_values={"ROC-AUC": value},
            floor=floor[1] - 0.5,
            floor_label=f"the same without the model: {floor[0]}",
            tables=(table,),
            notes=notes,
        )

    return {
        "privacy.membership-auc": about("LiRA"),
        "privacy.membership-tpr": Measurement(
            estimate=(tpr - 0.01, tpr_error, n),
            arm_values={"TPR at 1 % FPR": tpr},
            notes=notes,
        ),
        "privacy.membership-score": about("raw score"),
    }
