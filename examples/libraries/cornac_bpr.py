# %% [markdown]
# # Audit a model of Cornac
#
# Cornac's general models serve people they were trained on: audits that would ask about somebody
# else train anew, or say that they could not run. Its next-item models serve any history.
# Needs `pip install 'loopaudit[cornac]'`.

# %%
from cornac.models import BPR

import loopaudit as la

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
run = la.simulate(world, BPR(k=8, max_iter=50), arms=["random"], steps=6, worlds=2)
print(la.audit(run))
