"""Popularity lift: are people served more popular items than they choose, and who most of all?

After Abdollahpouri et al. 2019 ("The Unfairness of Popularity Bias in Recommendation"): the group
average popularity of what a group is recommended, against that of what its members chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.interactions import Interactions
from ...recommenders.randomness import child_seed, generator
from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from .probe import MAX_USERS, MIN_GROUP, ONE_WORLD, ask, groups, majority, pseudo_values

SHORT_HEAD = 0.2
"""Share of the catalog that is the short head: the most popular items."""

EDGE = 0.2
"""Share of people in the niche group, and in the blockbuster group."""

K = 10

KINDS = ("niche", "diverse", "blockbuster")


def popularity(log: Interactions) -> NDArray[np.float64]:
    """(items,) share of people who interacted with each item."""
    return np.asarray(log.to_csr().sum(axis=0)).ravel() / log.n_users


def short_head(log: Interactions) -> NDArray[np.bool_]:
    """(items,) the most interacted-with fifth of the catalog, ties by item index."""
    counts = log.popularity()
    order = np.lexsort((np.arange(len(counts)), -counts))
    head = np.zeros(len(counts), dtype=bool)
    head[order[: round(SHORT_HEAD * len(counts))]] = True
    return head


def kinds_of_people(log: Interactions, users: NDArray[np.integer]) -> NDArray[np.str_]:
    """(n,) "niche", "diverse" or "blockbuster": the bottom fifth, the middle and the top fifth of
    ``users`` by the share of short-head items in the profile, ties by index. Empty text for people
    without a profile."""
    mine = log.histories()
    size = mine.lengths[users]
    head = np.bincount(
        mine.row_index, short_head(log)[mine.values].astype(np.float64), minlength=log.n_users
    )[users]
    known = np.flatnonzero(size > 0)
    share = head[known] / size[known]
    ranked = known[np.lexsort((users[known], share))]
    edge = round(EDGE * len(ranked))
    kind = np.full(len(users), "", dtype="<U11")
    kind[ranked] = "diverse"
    kind[ranked[:edge]] = "niche"
    kind[ranked[len(ranked) - edge :]] = "blockbuster"
    return kind


@dataclass(frozen=True)
class Popularities:
    """Mean popularity of each person's profile and of what they are recommended; NaN if empty."""

    profile: NDArray[np.float64]
    served: NDArray[np.float64]

    @classmethod
    def of(
        cls, log: Interactions, users: NDArray[np.integer], items: NDArray[np.int32]
    ) -> Popularities:
        """Args: users: (n,) indices; items: (n, k) recommended, -1 for nothing."""
        phi = popularity(log)
        mine = log.histories()
        total = np.bincount(mine.row_index, phi[mine.values], minlength=log.n_users)[users]
        slots = (items >= 0).sum(axis=1)
        shown = np.where(items >= 0, phi[np.maximum(items, 0)], 0.0).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return cls(total / mine.lengths[users], shown / slots)

    def lift(self, weights: NDArray[np.float64]) -> float:
        """``(GAP_q - GAP_p) / GAP_p`` of the weighted people; NaN when nobody has both."""
        known = np.isfinite(self.profile) & np.isfinite(self.served)
        profile = float(weights[known] @ self.profile[known])
        served = float(weights[known] @ self.served[known])
        return served / profile - 1.0 if profile > 0 else float("nan")


@dataclass(frozen=True)
class _World:
    seen: Popularities
    kind: NDArray[np.str_]
    largest: NDArray[np.float64] | None
    rest: NDArray[np.float64] | None
    labels: dict[str, NDArray[np.bool_]]
    no_groups: str
    suppressed: tuple[str, ...]


def _probe(
    run: Run, target: str, world: int, attribute: str, reference: str, seed: int
) -> _World | str:
    log = run.history(world)
    users = np.arange(log.n_users, dtype=np.int32)
    if len(users) > MAX_USERS:
        users = np.sort(generator(seed, "people", world).permutation(users)[:MAX_USERS])
    kind = kinds_of_people(log, users)
    if min(int((kind == name).sum()) for name in KINDS) < MIN_GROUP:
        return (
            f"a niche or blockbuster group of {int((kind == 'niche').sum())} people is below "
            f"{MIN_GROUP}; a world needs at least {int(MIN_GROUP / EDGE)} people with a history"
        )
    request = ask(run, world, users, seed=child_seed(seed, "popularity-lift", world), k=K)
    items = run.recommender(target, world).recommend(request).items
    seen = Popularities.of(log, users, items)
    people = groups(run, world, attribute, reference, seed=seed)
    if isinstance(people, str):
        return _World(seen, kind, None, None, {}, people, ())
    labels = {name: np.isin(users, people.users[people.labels == name]) for name in people.names}
    largest = labels[people.majority]
    rest = np.isin(users, people.users) & ~largest
    return _World(
        seen, kind, largest.astype(float), rest.astype(float), labels, "", people.suppressed
    )


class PopularityLift:
    """Who is pushed towards blockbusters, beyond their own taste for them."""

    name = "popularity-lift"
    family: Family = "bias"
    question = "Are some people pushed to popular items more than others?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Two descriptions: by taste for popular items, and by the compared attribute."""
        formula = (
            "PL_g = (GAP_q - GAP_p) / GAP_p; GAP_p(g), GAP_q(g): mean over people of group g of "
            "the mean popularity of their profile, and of their ten recommended items; "
            "popularity = share of people who interacted with the item"
        )
        source = "Abdollahpouri et al. 2019; Kowald, Schedl and Lex 2020"
        not_tested = (
            "Whether the popular items are also the better ones; lifts that appear only after "
            "several steps of the loop. A list that ignores people lifts niche people most, by "
            "arithmetic alone: see the floor."
        )
        mitigation = (
            "Calibrate each slate to the popularity mix of the profile; weigh interactions "
            "inversely to popularity in training."
        )
        return (
            Check(
                id="bias.popularity-lift",
                family=self.family,
                question="Are people with niche tastes pushed to popular items more than others?",
                estimand=(
                    "per world: popularity lift of the fifth of people with the smallest share of "
                    "short-head items in their profile minus that of the fifth with the largest"
                ),
                statistic="popularity lift, niche minus blockbuster people",
                unit_label="lift",
                unit="world",
                tau=0.5,
                tau_source=(
                    "LoopAudit default: convention (half the popularity of one's own profile; no "
                    "universal cut-off exists in the literature)"
                ),
                alpha=settings.alpha,
                role="descriptive",
                access="B",
                formula=formula,
                source=source,
                not_tested=not_tested,
                mitigation=mitigation,
            ),
            Check(
                id="bias.popularity-lift-group",
                family=self.family,
                question=f"Is one {settings.group} pushed to popular items more than another?",
                estimand=(
                    f"per world: popularity lift of everyone outside the largest group by "
                    f"{settings.group} minus that of the largest group"
                ),
                statistic="popularity lift, smaller groups minus largest group",
                unit_label="lift",
                unit="world",
                tau=0.1,
                tau_source=(
                    "LoopAudit default: convention (a tenth of the popularity of one's own "
                    "profile; no universal cut-off exists in the literature)"
                ),
                alpha=settings.alpha,
                role="descriptive",
                access="B",
                formula=formula,
                source=source,
                not_tested=not_tested,
                mitigation=mitigation,
            ),
        )

    def measure(self, evidence: Evidence) -> dict[str, Measurement]:
        """Probes every world's recommender as it entered the loop."""
        run, attribute = evidence.run, evidence.settings.group
        worlds, reference = [], majority(run, attribute)
        for world in range(run.worlds):
            answer = _probe(run, evidence.target, world, attribute, reference, evidence.seed)
            if isinstance(answer, str):
                reason = Measurement(missing=answer)
                return {check.id: reason for check in self.checks(evidence.settings)}
            worlds.append(answer)
        by_kind = {
            name: [w.seen.lift((w.kind == name).astype(float)) for w in worlds] for name in KINDS
        }
        measured = {
            "bias.popularity-lift": Measurement(
                effects=_contrast(
                    worlds,
                    [(w.kind == "niche").astype(float) for w in worlds],
                    [(w.kind == "blockbuster").astype(float) for w in worlds],
                ),
                arm_values={name: float(np.mean(lift)) for name, lift in by_kind.items()},
                floor=float(np.mean([_arithmetic_floor(w) for w in worlds])),
                floor_label="one list for everybody, as popular as these lists are on average",
                tables=(_table("By taste for popular items", "people", by_kind),),
                notes=() if len(worlds) > 1 else (ONE_WORLD,),
            )
        }
        without = next((w.no_groups for w in worlds if w.largest is None), "")
        if without:
            measured["bias.popularity-lift-group"] = Measurement(missing=without)
            return measured
        rest = [w.rest for w in worlds if w.rest is not None]
        largest = [w.largest for w in worlds if w.largest is not None]
        names = sorted({name for w in worlds for name in w.labels})
        by_label = {
            name: [w.seen.lift(w.labels[name].astype(float)) for w in worlds if name in w.labels]
            for name in names
        }
        measured["bias.popularity-lift-group"] = Measurement(
            effects=_contrast(worlds, rest, largest),
            arm_values={name: float(np.mean(lift)) for name, lift in by_label.items()},
            tables=(_table(f"By {attribute}", attribute, by_label),),
            suppressed=tuple(sorted({name for w in worlds for name in w.suppressed})),
            notes=() if len(worlds) > 1 else (ONE_WORLD,),
        )
        return measured


def _contrast(
    worlds: list[_World], first: list[NDArray[np.float64]], second: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Lift of the first group minus the second: per world, or per person when there is one."""
    if len(worlds) > 1:
        return np.array(
            [w.seen.lift(a) - w.seen.lift(b) for w, a, b in zip(worlds, first, second, strict=True)]
        )
    (seen, a, b) = (worlds[0].seen, first[0], second[0])
    return pseudo_values(lambda keep: seen.lift(a * keep) - seen.lift(b * keep), len(a))


def _arithmetic_floor(world: _World) -> float:
    """The contrast if everybody were served the average popularity served here."""
    everyone = np.full_like(world.seen.served, float(np.nanmean(world.seen.served)))
    flat = Popularities(world.seen.profile, everyone)
    niche, blockbuster = ((world.kind == name).astype(float) for name in ("niche", "blockbuster"))
    return flat.lift(niche) - flat.lift(blockbuster)


def _table(title: str, column: str, lifts: dict[str, list[float]]) -> Table:
    rows = tuple(
        (name, float(np.mean(values)), float(np.min(values)), float(np.max(values)))
        for name, values in lifts.items()
    )
    return Table(
        f"Popularity lift: {title.lower()}", (column, "mean", "lowest world", "highest world"), rows
    )
