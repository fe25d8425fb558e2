# %% [markdown]
# # Audit an algorithm of Surprise
#
# Surprise predicts ratings. A simulated loop tells recommenders what people took, so the adapter
# trains on 1 for what was taken and 0 for as many items, drawn at random, that were not; with
# `loopaudit evaluate` and a dataset that holds ratings, it trains on those.
# Needs `pip install 'loopaudit[surprise]'`.

# %%
from surprise import SVD

import loopaudit as la

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
run = la.simulate(world, SVD(n_factors=8, n_epochs=20), arms=["random"], steps=6, worlds=2)
print(la.audit(run))
