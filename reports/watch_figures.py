"""The pictures of a running world: where tastes are, what is shown, how unequally, arm by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..recommenders.randomness import generator
from ..simulation.measures import SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..simulation.running.side_by_side import SideBySide
    from ..simulation.world import World

SAMPLE = 150
"""People drawn on the taste map."""

OVER_TIME = ("slate_entropy", "click_utility", "taste_shift", "exposure_gini")
"""Measures drawn over time, arms side by side."""

_COLOURS = ("#0b5fa5", "#c2570c", "#2f7d32", "#7b3fa0", "#7a5c00", "#5b6470", "#b0235f", "#00757a")


def _figure(rows: int, columns: int, height: float) -> tuple[Figure, NDArray[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())


def _style(index: int, name: str) -> dict[str, Any]:
    """How an arm is drawn: a frozen arm is dashed, so that what it covers is seen."""
    dashed = name.endswith("-frozen")
    return {"color": colour(index), "label": name, "linestyle": "--" if dashed else "-"}


def colour(index: int) -> str:
    """The colour of the index-th arm, the same in every picture."""
    return _COLOURS[index % len(_COLOURS)]


def plane(world: World) -> NDArray[np.float64]:
    """(dim, 2) the plane in which the items of a world differ most (principal components)."""
    features = world.columns.features.astype(np.float64)
    _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    return np.asarray(directions[:2].T)


def sampled(n_users: int) -> NDArray[np.int64]:
    """The people drawn, the same in every arm."""
    chosen = generator(0, "watch").choice(n_users, size=min(SAMPLE, n_users), replace=False)
    return np.sort(chosen)


def taste_map(model: SideBySide) -> Figure:
    """Where a sample of people's tastes are now, with a line from where they began, arm by arm."""
    worlds = model.worlds
    columns = min(len(worlds), max(3, -(-len(worlds) // 2)))
    rows = -(-len(worlds) // columns)  # two at most: the page's tile cuts off a third
    figure, axes = _figure(rows, columns, 2.3 * rows + 0.4)
    first = next(iter(worlds.values()))
    view, who = plane(first), sampled(len(first.columns.taste))
    start = first.columns.initial_taste[who] @ view
    kind = first.columns.initial_taste[who].argmax(axis=1)
    for index, (axis, (name, world)) in enumerate(zip(axes, worlds.items(), strict=False)):
        now = world.columns.taste[who] @ view
        path = np.stack([start, now], axis=1)  # (people, 2 ends, 2)
        axis.plot(*path.transpose(2, 1, 0), color="#9aa3ad", linewidth=0.5, zorder=1)
        axis.scatter(*now.T, c=kind, cmap="tab20", s=14, linewidths=0, zorder=2)
        axis.set_title(name, fontsize=9, color=colour(index), loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.margins(0.08)
    for axis in axes[len(worlds) :]:
        axis.set_axis_off()
    figure.suptitle(f"Tastes of {len(who)} people, step {model.t}", fontsize=10, x=0.01, ha="left")
    return figure


def exposure_by_topic(model: SideBySide) -> Figure:
    """Share of all showings so far that each topic had, arm by arm."""
    figure, (axis,) = _figure(1, 1, 3.4)
    if model.t == 0:
        return _waiting(figure, "What is shown, by topic")
    names = next(iter(model.worlds.values())).columns.catalog.topic_names
    place = np.arange(len(names))
    width = 0.8 / len(model.worlds)
    for index, (name, world) in enumerate(model.worlds.items()):
        now = world.columns
        mass = world.measures.exposure[: len(now.topics)] @ now.topics.astype(np.float64)
        share = mass / max(mass.sum(), 1.0)
        axis.bar(place + index * width, share, width, color=colour(index), label=name)
    axis.set_xticks(place + 0.4 - width / 2, names, rotation=45, ha="right", fontsize=7)
    axis.set_ylabel("share of showings", fontsize=8)
    axis.set_ylim(top=axis.get_ylim()[1] * 1.2)  # room for the legend
    axis.legend(fontsize=7, frameon=False, ncols=3, loc="upper left")
    axis.set_title("What is shown, by topic", fontsize=10, loc="left")
    return figure


def popularity_curve(model: SideBySide) -> Figure:
    """Showings of each item against its rank, both in logarithms, arm by arm."""
    figure, (axis,) = _figure(1, 1, 3.4)
    if model.t == 0:
        return _waiting(figure, "How unequally items are shown")
    for index, (name, world) in enumerate(model.worlds.items()):
        counts = np.sort(world.measures.exposure)[::-1]
        counts = counts[counts > 0]
        axis.plot(np.arange(1, len(counts) + 1), counts, **_style(index, name))
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("rank of the item", fontsize=8)
    axis.set_ylabel("showings so far", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    axis.set_title("How unequally items are shown", fontsize=10, loc="left")
    return figure


def over_time(model: SideBySide) -> Figure:
    """The world's measures step by step, arms side by side."""
    figure, axes = _figure(2, 2, 4.4)
    if model.t == 0:
        return _waiting(figure, "Over time")
    for axis, key in zip(axes, OVER_TIME, strict=True):
        for index, (name, world) in enumerate(model.worlds.items()):
            values = world.datacollector.model_vars[key]
            axis.plot(range(1, len(values) + 1), values, **_style(index, name))
        axis.set_title(SERIES[key].split(",")[0].split(" (")[0], fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[2].set_xlabel("step", fontsize=8)
    axes[3].set_xlabel("step", fontsize=8)
    axes[0].legend(fontsize=6, frameon=False)
    return figure


def _waiting(figure: Figure, title: str) -> Figure:
    """A picture of what has not happened yet says so, instead of axes around nothing."""
    for axis in figure.axes:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.text(0.5, 0.5, "from the first step on", fontsize=9, color="#5b6470", ha="center")
    return figure


PICTURES = (taste_map, over_time, exposure_by_topic, popularity_curve)
"""Every picture of the live view, in the order of the page."""
