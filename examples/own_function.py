# %% [markdown]
# # Audit a function
#
# `f(history, k)` returns items, best first. It may ask for more by name: `seed`, `user`,
# `attributes`. Luck comes from `seed` alone, so that the same person gets the same list again.
# Filtering what people already had, filling up and counting nonsense are the harness's job.

# %%
import random

import loopaudit as la


def wanderer(history, k, seed, reach=12):
    """Items numbered near the last one, in an order of its own for each person and step."""
    last = history[-1] if history else 0
    near = [(last + step) % 80 for step in range(-reach, reach + 1)]
    random.Random(seed).shuffle(near)
    return near


# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
run = la.simulate(world, wanderer, arms=["random", "frozen"], steps=12, worlds=3)
print(la.audit(run))
