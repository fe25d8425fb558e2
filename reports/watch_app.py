"""The page that ``loopaudit watch`` serves: a running world in Mesa's SolaraViz.

Started by ``reports/watch.py``, which names the study file in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import solara
from mesa.visualization import SolaraViz
from mesa.visualization.utils import update_counter

from ..simulation.running.side_by_side import SideBySide
from ..simulation.study_file import read_study
from .watch import STUDY_VARIABLE
from .watch_figures import PICTURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _component(draw: Callable[[SideBySide], Figure]) -> Any:
    @solara.component
    def Picture(model: SideBySide) -> None:
        update_counter.get()  # drawn again after every step
        solara.FigureMatplotlib(draw(model), format="svg")

    return Picture


study = read_study(os.environ[STUDY_VARIABLE])
model = SideBySide(study)
page = SolaraViz(
    model,
    components=[(_component(draw), 0) for draw in PICTURES],
    model_params={
        "study": study,
        "world": {
            "type": "SliderInt",
            "value": 0,
            "label": "World",
            "min": 0,
            "max": max(study.study.worlds - 1, 1),
            "step": 1,
        },
    },
    name=f"LoopAudit · {study.study.name}",
    play_interval=100,
)
