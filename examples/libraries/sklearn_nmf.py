# %% [markdown]
# # Audit an estimator of scikit-learn
#
# A row is a person, a column an item. A factorisation scores an item by what it puts into a history
# when it puts it together again; a regression, classifier or neighbour search works too
# (docs/bring-your-own.md says how each is read).

# %%
from sklearn.decomposition import NMF

import loopaudit as la

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
model = NMF(n_components=6, init="nndsvda", max_iter=300, tol=1e-3)
run = la.simulate(world, model, arms=["random"], steps=6, worlds=2)
print(la.audit(run))
