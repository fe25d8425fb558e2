"""Adversaries: fake people whose pasts push an item, seen by nobody but the recommender.

Fake profiles enter the training log; they are never active, never measured, never asked. What they
do reaches people only through what is learnt: an arm that does not learn is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mesa
import numpy as np
from numpy.typing import NDArray

from ...recommenders.errors import UserError, unknown_name
from ...recommenders.randomness import child_seed, stream, uniform
from .attacks import Attack, fake_profiles, in_segment
from .newcomers import fresh_ids, like
from .sight import LONGEST, Ranks, Sight, ranks_of

if TYPE_CHECKING:
    from ..platform.shown import Shown
    from ..process import Arrays
    from ..world import World
    from .settings import AdversarySection

MEASURES = {
    "exposure": "share of slates that hold the target",
    "clicks": "share of what was taken that is the target",
    "hr10": "share of people who have not met it whose 10 best hold it (HR@10)",
    "hr50": "the same for the 50 best (HR@50)",
    "percentile": "share of the other items ranked below it, mean over these people",
    "percentile_shift": "that less the same just before the attack",
    "segment_hr10": "HR@10 among the quarter of people whose past is most about the segment",
    "segment_hr50": "HR@50 among these",
}
"""What is measured of an attack, as <name>_<measure>; ranks only every probe_every steps."""


class Adversary(mesa.Agent):
    """One attack on one item.

    Attributes:
        target: index of the item that is pushed, -1 before it exists.
        topic: index of the segment's topic.
    """

    def __init__(self, world: World, section: AdversarySection) -> None:
        super().__init__(world)
        self.world, self.section = world, section
        self.key = f"adversary/{section.name}"
        self.seed = child_seed(world.columns.seed, "adversary", section.name)
        self.topic = self._segment()
        self.target = -1 if section.new_item else self._target()
        if self.topic < 0 and self.target >= 0:
            self.topic = int(world.columns.topics[self.target].argmax())
        self.before_attack = float("nan")
        self.current = dict.fromkeys(MEASURES, float("nan"))

    def _segment(self) -> int:
        names, asked = self.world.columns.catalog.topic_names, self.section.segment
        if not asked:
            return -1
        if asked not in names:
            said = unknown_name("topic", asked, names)
            raise UserError(f"{said} ([[adversaries]] segment)")
        return names.index(asked)

    def _target(self) -> int:
        """The item named, or one drawn from the less consumed half (of the segment)."""
        now, asked = self.world.columns, self.section.target
        if asked:
            if asked not in now.catalog.ids:
                said = unknown_name("item", asked, now.catalog.ids)
                raise UserError(f"{said} ([[adversaries]] target)")
            return now.catalog.ids.index(asked)
        fits = np.arange(len(now.catalog))
        if self.topic >= 0:
            fits = fits[now.topics.argmax(axis=1) == self.topic]
        if len(fits) == 0:
            fits = np.arange(len(now.catalog))
        order = fits[np.argsort(now.past.popularity()[fits], kind="stable")]
        luck = float(uniform(stream(self.seed, "target"), 0))
        return int(order[int(luck * ((len(order) + 1) // 2))])

    # -- a step ------------------------------------------------------------------------------

    def before(self, world: World) -> None:
        """At the step of the attack: measure, put in the item and the profiles."""
        now, section = world.columns, self.section
        if now.t != section.step:
            return
        if section.new_item:
            self._put_in()
        else:
            self.look_before()
        if section.profiles == 0:
            return
        fakes = fake_profiles(
            Attack(section.kind, self.target, self.topic, section.selected, section.filler),
            section.profiles,
            popularity=np.where(now.available, self._counts(), -1),
            topics=now.topics,
            seed=self.seed,
            step=now.t,
        )
        world.platform.inject(fakes)

    def after(self, world: World, shown: Shown) -> None:
        """What is seen of the target in this step, and every few steps how it ranks."""
        if self.target < 0:
            return
        looks = self.section.looks_at(world.columns.t)
        found = ranks_of(world, self.target, seed=self.seed) if looks else None
        self.tell(Sight.of(shown, self.target, found))

    def look_before(self) -> None:
        """How the target ranks just before the attack."""
        self.tell_before(ranks_of(self.world, self.target, seed=self.seed))

    def tell_before(self, found: Ranks | None) -> None:
        """Keep what was seen just before the attack."""
        self.before_attack = float("nan") if found is None else _mean_of(found)

    def tell(self, sight: Sight) -> None:
        """The measures of a step from what was seen in it."""
        self.current = dict.fromkeys(MEASURES, float("nan"))
        if sight.slates:
            self.current["exposure"] = sight.holding / sight.slates
        if sight.taken:
            self.current["clicks"] = sight.target_taken / sight.taken
        found = sight.ranks
        if found is None or len(found.users) == 0:
            return
        mine = in_segment(self._about())[found.users]
        for k in (10, LONGEST):
            self.current[f"hr{k}"] = float((found.place <= k).mean())
            self.current[f"segment_hr{k}"] = (
                float((found.place[mine] <= k).mean()) if mine.any() else float("nan")
            )
        self.current["percentile"] = _mean_of(found)
        self.current["percentile_shift"] = self.current["percentile"] - self.before_attack

    def _about(self) -> NDArray[np.float64]:
        """(users,) share of each past that is about the segment's topic, NaN without a past."""
        now = self.world.columns
        n = len(now.taste)
        weight = now.topics[now.past.item, self.topic].astype(np.float64)
        total = np.bincount(now.past.user, weight, minlength=n)
        length = np.bincount(now.past.user, minlength=n)
        about = np.full(n, np.nan)
        return np.asarray(np.divide(total, length, out=about, where=length > 0))

    def _put_in(self) -> None:
        """The target enters: like the most consumed item of its segment, or of all."""
        now = self.world.columns
        fits = now.available
        if self.topic >= 0 and (mine := fits & (now.topics.argmax(axis=1) == self.topic)).any():
            fits = mine
        model = np.array([int(np.where(fits, self._counts(), -1).argmax())])
        self.target = len(now.catalog)
        if self.topic < 0:
            self.topic = int(now.topics[model[0]].argmax())
        ids = fresh_ids(now.catalog, 1, word="pushed")
        self.world.add_items(
            like(
                now,
                model,
                ids=ids,
                titles=(f"Item {self.target} ({now.catalog.topic_names[self.topic]})",),
                topics=now.topics[model],
                features=now.features[model],
                quality=np.array([self.section.appeal]),
                awareness=now.awareness.min(keepdims=True),
                provider=np.array([-1]),
            )
        )

    def _counts(self) -> NDArray[np.int64]:
        """(items,) consumptions so far, as the platform knows them."""
        return self.world.platform.log().popularity()

    # -- what is seen of it ------------------------------------------------------------------

    def series(self) -> Mapping[str, float]:
        """See :data:`MEASURES`."""
        return {f"{self.section.name}_{name}": value for name, value in self.current.items()}

    def state(self) -> Arrays:
        """Which item, and where it stood before."""
        return {
            "target": np.array(self.target),
            "topic": np.array(self.topic),
            "before_attack": np.array(self.before_attack),
        }

    def load_state(self, state: Arrays) -> None:
        """Continues from :meth:`state`."""
        self.target, self.topic = int(state["target"]), int(state["topic"])
        self.before_attack = float(state["before_attack"])


def _mean_of(found: Ranks) -> float:
    """The mean percentile, NaN unless everybody's is known."""
    known = len(found.users) > 0 and bool(np.isfinite(found.percentile).all())
    return float(found.percentile.mean()) if known else float("nan")
