# %% [markdown]
# # Audit a scorer, or a whole pipeline, of LensKit
#
# A scorer is put into LensKit's own top-N pipeline. A pipeline of yours, with a ranker or
# re-ranker of its own, is asked for its lists. Needs `pip install 'loopaudit[lenskit]'`.

# %%
from lenskit.knn import EASEScorer
from lenskit.pipeline import topn_pipeline

import loopaudit as la

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
both = [EASEScorer(regularization=20), topn_pipeline(EASEScorer(regularization=20))]
run = la.simulate(world, both, arms=["random"], steps=6, worlds=2)
print(la.audit(run))
