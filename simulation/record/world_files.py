"""The files of a world that no arm changes, and what people of an arm are like in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...recommenders.datasets.synthetic import Market
from ...recommenders.randomness import child_seed
from ..people.columns import Columns
from ..people.equations import segment_of
from ..run import world_name
from ..society.staying import beginning
from ..study import Study
from ..world import origin
from .store import Store


def write_world(study: Study, index: int, store: Store) -> None:
    """The world's people, items and past, once."""
    folder = f"worlds/{world_name(index)}"
    if store.exists(f"{folder}/topics.json"):
        return
    start = beginning(
        origin(study.world, study.study.seed, index),
        study.staying,
        seed=child_seed(study.study.seed, "world", index),
    )
    write_truth(study, index, start, store)
    store.put_frame(f"{folder}/catalog.parquet", start.catalog.public().to_frame())
    people: dict[str, object] = {
        "user": np.arange(len(start.taste), dtype=np.int32),
        "id": list(start.users.ids),
    }
    for name, column in start.users.attributes.items():
        people[name] = column.tolist()
    store.put_frame(f"{folder}/users.parquet", pl.DataFrame(people))
    log = start.log
    history = pl.DataFrame({"user": log.user, "item": log.item, "step": log.step})
    store.put_frame(f"{folder}/history.parquet", history)
    store.put_json(f"{folder}/topics.json", list(start.catalog.topic_names))  # last: means done


def write_truth(study: Study, index: int, start: Market, store: Store) -> None:
    """What is so of the world's people and items, and no recommender may see."""
    folder = f"truth/worlds/{world_name(index)}"
    seed = child_seed(study.study.seed, "world", index)
    n = len(start.taste)
    people: dict[str, object] = {
        "user": np.arange(n, dtype=np.int32),
        "segment": segment_of(study.users, n, seed=seed),
        "activity": start.activity,
        "taste": matrix("taste", start.taste),
    }
    store.put_frame(f"{folder}/people.parquet", pl.DataFrame(people))
    items: dict[str, object] = {"item": np.arange(len(start.catalog), dtype=np.int32)}
    for name in ("quality", "veracity", "harmful"):
        if (column := getattr(start.catalog, name)) is not None:
            items[name] = column
    items["awareness"] = start.awareness
    if start.features is not None:
        items["features"] = matrix("features", start.features)
    store.put_frame(f"{folder}/items.parquet", pl.DataFrame(items))


def matrix(name: str, values: NDArray[Any]) -> pl.Series:
    """A column of vectors, one a row."""
    whole = pl.Series(name, np.ascontiguousarray(values).ravel())
    return whole.reshape((len(values), values.shape[1]))


def end_state(columns: Columns) -> pl.DataFrame:
    """What people are like after the last step, beyond their tastes: one row a person."""
    state: dict[str, NDArray[Any]] = {
        "present": columns.present,
        "satiation": columns.satiation,
        **columns.traits,
    }
    n = len(columns.taste)
    frame = pl.DataFrame({"user": np.arange(n, dtype=np.int32)})
    return frame.with_columns(
        pl.Series(name, value) if value.ndim == 1 else matrix(name, value.reshape(n, -1))
        for name, value in state.items()
        if len(value) == n
    )
