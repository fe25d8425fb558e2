# %% [markdown]
# # Audit a model of implicit
#
# An instance stands for its settings: a copy is trained on what the people of each world did, and
# again as they go on. Needs `pip install 'loopaudit[implicit]'`.

# %%
from implicit.als import AlternatingLeastSquares

import loopaudit as la

model = AlternatingLeastSquares(factors=16, regularization=1.0, num_threads=1)

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
run = la.simulate(world, model, arms=["random", "frozen"], steps=12, worlds=3)
print(la.audit(run))

# %% [markdown]
# The same from the command line, where settings stand behind `args`:
#
#     loopaudit audit implicit.als:AlternatingLeastSquares --set recommenders.0.args.factors=16
