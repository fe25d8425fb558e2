"""What a checkpoint holds: everything of one arm of one world, as named arrays without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from ...recommenders.border import State
from ...recommenders.faults import Faults
from ..supply.newcomers import to_arrays
from ..world import World
from .store import Arrays


def arrays_of(world: World, series: Mapping[str, list[float]]) -> Arrays | None:
    """Everything a checkpoint holds; None where the recommender cannot be saved.

    Args:
        series: the measures of the steps lived so far, by name.
    """
    platform, measures = world.platform, world.measures
    guard = platform.recommender
    model: State | None = {} if guard is None else guard.state()
    if model is None:
        return None
    held: Arrays = {
        "t": np.array(world.columns.t),
        "taste": world.columns.taste,
        "satiation": world.columns.satiation,
        "present": world.columns.present,
        **{f"clicks/{name}": rows for name, rows in platform.clicks.state().items()},
        "learnt_rows": np.array(platform.learnt_rows),
        "version": np.array([platform.version, platform.trained_until]),
        "updates": np.array(platform.schedule.updates),
        **{f"rejections/{name}": rows for name, rows in platform.rejections.state().items()},
        **{
            f"items/{name}": rows
            for name, rows in to_arrays(world.columns, platform.n_first).items()
        },
        **{f"lists/{name}": value for name, value in platform.lists.state().items()},
        **{f"trait/{name}": column for name, column in world.columns.traits.items()},
        **{
            f"process/{process.key}/{name}": value
            for process in world.processes
            for name, value in process.state().items()
        },
        **{f"measure/{name}": value for name, value in measures.state().items()},
        **{f"training/{name}": rows for name, rows in platform.training.state().items()},
        **{f"series/{name}": np.array(values) for name, values in series.items()},
        **{f"model/{name}": np.asarray(value) for name, value in model.items()},
    }
    if guard is not None:
        held["known"] = guard.grown()
        tally = json.dumps(guard.faults.to_dict()).encode()
        held["faults"] = np.frombuffer(tally, dtype=np.uint8)
    return held


def restore(world: World, held: Arrays) -> dict[str, list[float]]:
    """Bring a world whose parts are made to where :func:`arrays_of` left it; returns the series."""
    platform, measures = world.platform, world.measures
    world.columns.t = int(held["t"])
    world.restore_items(under(held, "items/"))
    world.columns.taste[:] = held["taste"]
    world.columns.satiation[:] = held["satiation"]
    world.columns.present[:] = held["present"]
    for name in list(world.columns.traits):
        world.columns.traits[name][...] = held[f"trait/{name}"]
    for process in world.processes:
        process.load_state(under(held, f"process/{process.key}/"))
    platform.restore(under(held, "clicks/"))
    platform.learnt_rows = int(held["learnt_rows"])
    platform.version, platform.trained_until = held["version"].tolist()
    platform.schedule.updates = int(held["updates"])
    platform.lists.load_state(under(held, "lists/"))
    platform.rejections.load_state(under(held, "rejections/"))
    measures.load_state(under(held, "measure/"))
    guard = platform.recommender
    if guard is not None:
        platform.regrow(held["known"])
        guard.load_state(under(held, "model/"))
        guard.faults = Faults.from_dict(json.loads(held["faults"].tobytes()))
        platform.training.load_state(under(held, "training/"), guard)
    return {name: value.tolist() for name, value in under(held, "series/").items()}


def under(held: Arrays, prefix: str) -> Arrays:
    """The arrays whose name begins so, without the prefix."""
    return {name[len(prefix) :]: v for name, v in held.items() if name.startswith(prefix)}
