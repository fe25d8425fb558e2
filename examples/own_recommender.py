# %% [markdown]
# # Audit a recommender of your own
#
# A recommender needs one method, `recommend`: a batch of requests in, a batch of slates out.
# `fit` is optional; with it the recommender learns, before the loop and again during it, from what
# people did with its own recommendations. Run this file as it stands, or cell by cell.

# %%
import numpy as np

import loopaudit as la
from loopaudit.recommenders.border import Capabilities, Slates


class Trending:
    """What was taken most in the last steps, the same for everybody."""

    name, capabilities = "trending", Capabilities(update="refit")

    def fit(self, log, catalog, *, seed=0, progress=None):
        recent = log.take(log.step > log.step.max() - 10)
        self.ranked = np.argsort(-recent.popularity(), kind="stable").astype(np.int32)

    def recommend(self, requests):
        return Slates(np.tile(self.ranked[: requests.k], (len(requests), 1)))


# %% [markdown]
# The same people, with the same luck, live under `Trending`, under random exposure, under a
# `Trending` that never learns again, and by themselves. Four worlds are few: expect answers that
# are INCONCLUSIVE, and say how many worlds would decide them.

# %%
world = la.World.synthetic(users=100, items=150, topics=6, seed=7)
run = la.simulate(world, Trending, arms=["random", "frozen", "none"], steps=12, worlds=4)
run.series("Trending", 0).select("step", "slate_entropy", "taste_shift", "retrained").tail(3)

# %%
report = la.audit(run)
print(report)

# %% [markdown]
# Each finding carries its effect, its bounds, its threshold, and what it did not test.

# %%
narrowing = report["bubbles.slate-narrowing"]
print(narrowing.check.question)
print(narrowing.verdict, narrowing.because)
report.save("own_recommender.html")
