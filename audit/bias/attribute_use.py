"""Attribute use: does the recommender treat the same person differently under another label?

A gap between groups can come from what people want. This audit asks the causal question instead:
same person, same history, same luck, only the label differs. A recommender that ignores the
attribute answers with the same slate, so its effect is exactly zero, whatever the groups' tastes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...recommenders.randomness import child_seed, generator
from ...simulation.run import Run
from ...simulation.study import AuditSection
from ..evidence import Evidence
from ..finding import Check, Family, Measurement, Table
from .probe import ONE_WORLD, Groups, ask, groups, majority


def changed_share(a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.float64]:
    """(n,) share of recommended items that differ between two slates: 0 the same set, 1 disjoint.

    ``1 - |A and B| / max(|A|, |B|)``; 0 when both are empty. The order inside a slate is ignored.
    """
    shared = ((a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]).any(axis=2).sum(axis=1)
    size = np.maximum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1))
    return np.where(size > 0, 1.0 - shared / np.maximum(size, 1), 0.0)


def other_label(people: Groups, seed: int) -> NDArray[np.str_]:
    """(n,) the non-majority label each person is asked about: their own, or, for members of the
    largest group, one drawn by the sizes of the other groups."""
    rest = people.labels[~people.in_majority]
    drawn = generator(seed, "other label").choice(rest, size=len(people.labels))
    return np.where(people.in_majority, drawn, people.labels)


_UNREAD = (
    "the recommender declares that it reads no attributes, and answered every request the same "
    "under both labels"
)
_READ_ANYHOW = (
    "the recommender declares that it reads no attributes, yet its answers changed with the label"
)


@dataclass(frozen=True)
class _World:
    """One world's answers, a row per person."""

    changed: NDArray[np.float64]
    requery: NDArray[np.float64]
    reseeded: NDArray[np.float64]
    as_majority: NDArray[np.float64]
    as_other: NDArray[np.float64]
    label: NDArray[np.str_]
    suppressed: tuple[str, ...]

    @property
    def net_change(self) -> NDArray[np.float64]:
        return self.changed - self.requery

    @property
    def quality_loss(self) -> NDArray[np.float64]:
        """(n,) affinity lost by the non-majority label, as a share of the mean affinity."""
        loss: NDArray[np.float64] = (self.as_majority - self.as_other) / self.as_majority.mean()
        return loss


def _probe(
    run: Run, target: str, world: int, attribute: str, reference: str, seed: int
) -> _World | str:
    people = groups(run, world, attribute, reference, seed=seed)
    if isinstance(people, str):
        return people
    recommender = run.recommender(target, world)
    other = other_label(people, seed)
    largest = np.full(len(other), people.majority, dtype=other.dtype)
    luck = child_seed(seed, "attribute-use", world)

    def slates(labels: NDArray[np.str_], luck: int) -> NDArray[np.int32]:
        asked = ask(
            run, world, people.users, seed=luck, k=run.study.people.slate, **{attribute: labels}
        )
        return recommender.recommend(asked).items

    first, second = slates(largest, luck), slates(other, luck)
    own = np.where(people.in_majority[:, None], first, second)
    taste = np.asarray(run.users(world)["taste"].to_numpy(), dtype=np.float64)[people.users]
    features = run.features(world).astype(np.float64)

    def affinity(items: NDArray[np.int32]) -> NDArray[np.float64]:
        match = np.einsum("nkt,nt->nk", features[np.maximum(items, 0)], taste)
        total = np.where(items >= 0, match, 0.0).sum(axis=1)
        mean: NDArray[np.float64] = total / np.maximum((items >= 0).sum(axis=1), 1)
        return mean

    quality = affinity(first), affinity(second)
    if quality[0].mean() <= 0:
        return "nobody likes anything that is recommended"
    return _World(
        changed=changed_share(first, second),
        requery=changed_share(own, slates(people.labels, luck)),
        reseeded=changed_share(own, slates(people.labels, child_seed(luck, "again"))),
        as_majority=quality[0],
        as_other=quality[1],
        label=other,
        suppressed=people.suppressed,
    )


class AttributeUse:
    """The paired counterfactual: the attribute flipped, everything else held."""

    name = "attribute-use"
    family: Family = "bias"
    question = "Would the same person get other, or worse, recommendations under another label?"

    def checks(self, settings: AuditSection) -> tuple[Check, ...]:
        """Two gates: how much changes, and who loses by it."""
        group = settings.group
        protocol = (
            f"the same person with the same history and the same luck asked as a member of the "
            f"largest group by {group} and as a member of another (people of the largest group "
            "get another label drawn by group size)"
        )
        return (
            Check(
                id="bias.attribute-use",
                family=self.family,
                question=f"Do recommendations change when only the label {group} changes?",
                estimand=(
                    f"per world: mean over people of the share of recommended items that differ "
                    f"between two slates, {protocol}; minus the same share when the identical "
                    "request is asked twice"
                ),
                statistic="recommended items changed by the label",
                unit_label="share of items",
                unit="world",
                tau=0.025,
                tau_source=(
                    "LoopAudit default: convention (one item in four slates of ten; no universal "
                    "cut-off exists in the literature)"
                ),
                alpha=settings.alpha,
                access="B",
                formula="1 - |A and B| / max(|A|, |B|), label flipped, minus identical re-query",
                source=(
                    "counterfactual fairness: Kusner et al. 2017; paired flips against a re-query "
                    "floor"
                ),
                not_tested=(
                    "Proxies of the label that stay in the history or in other attributes; the "
                    "order inside a slate; labels that only change the recommender's luck count "
                    "as use."
                ),
                mitigation=(
                    "Do not pass the attribute; if it is needed, test that the slate is the same "
                    "without it, or correct for it explicitly."
                ),
            ),
            Check(
                id="bias.attribute-quality",
                family=self.family,
                question=f"Does the same person get worse recommendations by their {group} label?",
                estimand=(
                    f"per world: mean over people of the true affinity of the slate, {protocol}: "
                    "largest group's label minus the other label, as a share of the mean affinity "
                    "under the largest group's label"
                ),
                statistic="affinity lost by the label",
                unit_label="share of affinity",
                unit="world",
                tau=0.02,
                tau_source=(
                    "LoopAudit default: convention (one fiftieth of what a slate is worth; no "
                    "universal cut-off exists in the literature)"
                ),
                alpha=settings.alpha,
                access="B",
                formula="mean(q(majority label) - q(other label)) / mean(q(majority label)), "
                "q = mean over slots of taste . topics(item)",
                source="counterfactual fairness: Kusner et al. 2017",
                not_tested=(
                    "Harm to the largest group (the sign is fixed before the data); quality as "
                    "people would judge it themselves; effects after several steps of the loop."
                ),
                mitigation=(
                    "Do not pass the attribute; add a constraint on counterfactual quality in "
                    "training; monitor by group."
                ),
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
        several = len(worlds) > 1
        notes: tuple[str, ...] = () if several else (ONE_WORLD,)
        if "attributes" not in run.create(evidence.target).capabilities.inputs:
            same = all((world.changed == world.requery).all() for world in worlds)
            notes += (_UNREAD if same else _READ_ANYHOW,)
        suppressed = tuple(sorted({name for world in worlds for name in world.suppressed}))
        net = [world.net_change for world in worlds]
        loss = [world.quality_loss for world in worlds]
        return {
            "bias.attribute-use": Measurement(
                effects=np.array([v.mean() for v in net]) if several else net[0],
                arm_values={
                    "label flipped": _mean([w.changed for w in worlds]),
                    "identical request again": _mean([w.requery for w in worlds]),
                },
                floor=_mean([w.reseeded for w in worlds]),
                floor_label="the same request with other luck (0 for deterministic recommenders)",
                suppressed=suppressed,
                notes=notes,
            ),
            "bias.attribute-quality": Measurement(
                effects=np.array([v.mean() for v in loss]) if several else loss[0],
                arm_values={
                    "largest group's label": _mean([w.as_majority for w in worlds]),
                    "other label": _mean([w.as_other for w in worlds]),
                },
                tables=(_by_label(worlds, attribute),),
                suppressed=suppressed,
                notes=notes,
            ),
        }


def _mean(values: list[NDArray[np.float64]]) -> float:
    return float(np.mean([v.mean() for v in values]))


def _by_label(worlds: list[_World], attribute: str) -> Table:
    label = np.concatenate([w.label for w in worlds])
    loss = np.concatenate([w.quality_loss for w in worlds])
    change = np.concatenate([w.net_change for w in worlds])
    rows = tuple(
        (
            str(name),
            int((label == name).sum()),
            float(change[label == name].mean()),
            float(loss[label == name].mean()),
        )
        for name in np.unique(label)
    )
    return Table(
        f"Against the largest group's label, by {attribute}",
        (attribute, "people asked", "items changed", "affinity lost"),
        rows,
    )
