"""Figures of the report: small SVGs by matplotlib that take their colours from the page.

Each figure carries a title and a description, its text stays text, its identifiers are its own,
and the same numbers give the same bytes. Colours are drawn as placeholders and replaced by CSS
variables, so that dark mode and print restyle a figure without drawing it again.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from .trajectories import ARM_ORDER, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..simulation.studies.study import Curves
    from .training import LossCurve

# placeholder -> CSS variable of static/report.css
_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--quiet)",
    "#030303": "var(--rule)",
    "#040404": "var(--arm-target)",
    "#050505": "var(--arm-frozen)",
    "#090909": "var(--arm-shuffled)",
    "#060606": "var(--arm-random)",
    "#070707": "var(--arm-popularity)",
    "#080808": "var(--arm-none)",
    "#0a0a0a": "var(--arm-oracle)",
}
_INK, _QUIET, _RULE = "#010101", "#020202", "#030303"
_ARM_COLOUR = dict(zip(ARM_ORDER, list(_COLOURS)[3:], strict=True))

DASHES: dict[str, tuple[float, ...]] = {
    "target": (),
    "frozen": (5, 2),
    "shuffled": (3, 1.2),
    "random": (1.2, 1.6),
    "popularity": (6, 1.6, 1.2, 1.6),
    "none": (9, 3),
    "oracle": (2, 1, 6, 1),
}
"""Dash pattern of each arm in points: lines differ without colour."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": _RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _RULE,
    "grid.linewidth": 0.5,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.labelcolor": _QUIET,
    "axes.unicode_minus": True,
    "text.color": _QUIET,
    "text.parse_math": False,
    "path.simplify": False,
}

_MAX_POINTS = 60
_MAX_EPOCHS = 240


def trajectory_svg(trajectory: Trajectory, *, name: str, title: str, description: str) -> Markup:
    """Levels of every arm above, the paired contrast with the comparison arm below.

    Args:
        trajectory: what to draw.
        name: prefix of every identifier in the SVG; must be unique in the page.
        title: what the figure shows, for people who do not see it.
        description: what can be read from it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.1, 3.25 if trajectory.contrast else 2.3))
        ratios = [2.3, 1.0] if trajectory.contrast else [1.0]
        axes = figure.subplots(
            len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )[:, 0]
        _levels(axes[0], trajectory)
        if trajectory.contrast:
            _contrast(axes[1], trajectory)
        axes[-1].set_xlabel("step", labelpad=2)
        axes[-1].set_xlim(trajectory.steps[0], trajectory.steps[-1])
        axes[-1].xaxis.set_major_locator(_locator(8, whole=True))
        figure.subplots_adjust(left=0.115, right=0.985, top=0.94, bottom=0.125, hspace=0.32)
        return to_svg(figure, name=name, title=title, description=description)


def _levels(axes: Axes, trajectory: Trajectory) -> None:
    keep = _thinned(len(trajectory.steps))
    x = trajectory.steps[keep]
    for kind in reversed(ARM_ORDER):  # the target is drawn last, on top
        if kind not in trajectory.arms:
            continue
        band, colour = trajectory.arms[kind], _ARM_COLOUR[kind]
        if np.isfinite(band.low).any():
            _shade(axes, x, band.low[keep], band.high[keep], colour, 0.16)
        axes.plot(
            x,
            band.mean[keep],
            color=colour,
            linewidth=2.0 if kind == "target" else 1.3,
            dashes=DASHES[kind] or (None, None),
            dash_capstyle="butt",
        )
    axes.margins(y=0.08)
    axes.yaxis.set_major_locator(_locator(5))
    _above(axes, trajectory.measure.unit, by=0.02)
    # strokes on the time axis where the recommender learnt, as one path
    n = len(trajectory.retrained)
    axes.plot(
        np.repeat(trajectory.retrained.astype(np.float64), 3),
        np.tile([0.0, 0.045, np.nan], n),
        transform=axes.get_xaxis_transform(),
        color=_INK,
        linewidth=1.1,
    )


def _contrast(axes: Axes, trajectory: Trajectory) -> None:
    assert trajectory.contrast is not None
    keep = _thinned(len(trajectory.steps))
    x, band = trajectory.steps[keep], trajectory.contrast
    axes.axhline(0, color=_QUIET, linewidth=0.8)
    if np.isfinite(band.low).any():
        _shade(axes, x, band.low[keep], band.high[keep], _ARM_COLOUR["target"], 0.22)
    axes.plot(x, band.mean[keep], color=_ARM_COLOUR["target"], linewidth=1.6)
    axes.margins(y=0.15)
    axes.yaxis.set_major_locator(_locator(3))
    unit = trajectory.measure.unit
    in_units = "" if " to " in unit else f", {unit}"  # a difference may leave "0 to 1"
    _above(axes, f"difference from {trajectory.against}{in_units}", by=0.05)


def _above(axes: Axes, text: str, *, by: float) -> None:
    """What the vertical axis shows, said over it: beside it there is no room on a telephone."""
    axes.text(0.0, 1 + by, text, transform=axes.transAxes, va="bottom", fontsize=7.5, color=_QUIET)


def curves_svg(curves: Curves, *, name: str) -> Markup:
    """Lines over a common axis, told apart by dash as well as by colour.

    Args:
        curves: what to draw.
        name: prefix of every identifier in the SVG; must be unique in the page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    dashes = [*DASHES.values(), (3, 1), (8, 2, 1, 2, 1, 2), (2, 4)]
    colours = [*_ARM_COLOUR.values(), _INK, _QUIET, _ARM_COLOUR["target"]]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.1, 2.9))
        axes = figure.subplots()
        for index, (label, values) in enumerate(curves.lines.items()):
            axes.plot(
                curves.x,
                values,
                color=colours[index],
                dashes=dashes[index] or (None, None),
                linewidth=1.6,
                label=label,
            )
        if curves.log_y:
            axes.set_yscale("log")
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            axes.yaxis.set_major_locator(_locator(5))
        axes.margins(x=0.01, y=0.08)
        axes.set_xlabel(curves.x_label, labelpad=2)
        axes.set_ylabel(curves.y_label, labelpad=3)
        if len(curves.lines) > 1:
            figure.legend(
                loc="lower center", ncols=min(len(curves.lines), 3), frameon=False, fontsize=7.5,
                handlelength=3.2, columnspacing=1.2,
            )  # fmt: skip
        rows = -(-len(curves.lines) // 3) if len(curves.lines) > 1 else 0
        figure.subplots_adjust(left=0.16, right=0.95, top=0.97, bottom=0.15 + 0.065 * rows)
        return to_svg(figure, name=name, title=curves.title, description=curves.description)


def loss_svg(curve: LossCurve, *, name: str, title: str, description: str) -> Markup:
    """The loss of every epoch: the first fit bold, later ones thin, a stroke where each begins.

    Args:
        curve: what to draw.
        name: prefix of every identifier in the SVG; must be unique in the page.
        title, description: for people who do not see it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    epochs, first = np.arange(1, len(curve.mean) + 1), curve.first
    colour = _ARM_COLOUR["target"]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.1, 2.2))
        axes = figure.subplots()
        for part, width in ((slice(0, first), 2.0), (slice(max(0, first - 1), None), 1.1)):
            x, mean = epochs[part], curve.mean[part]
            keep = _thinned(len(x), _MAX_EPOCHS)
            if curve.worlds > 1:
                _shade(axes, x[keep], curve.low[part][keep], curve.high[part][keep], colour, 0.16)
            axes.plot(
                x[keep],
                mean[keep],
                color=colour,
                linewidth=width,
                marker="o" if len(x) == 1 and width > 2 else None,
            )
        axes.plot(
            np.repeat(epochs[curve.begins] - 0.5, 3),
            np.tile([0.0, 0.06, np.nan], len(curve.begins)),
            transform=axes.get_xaxis_transform(),
            color=_INK,
            linewidth=1.1,
        )
        axes.margins(x=0.02, y=0.08)
        axes.xaxis.set_major_locator(_locator(6, whole=True))
        axes.yaxis.set_major_locator(_locator(5))
        axes.set_xlabel("epoch", labelpad=2)
        axes.set_ylabel("loss", labelpad=3)
        figure.subplots_adjust(left=0.16, right=0.985, top=0.97, bottom=0.19)
        return to_svg(figure, name=name, title=title, description=description)


def _shade(axes: Axes, x: Any, low: Any, high: Any, colour: str, alpha: float) -> None:
    """A band as plain polygons, one for each stretch of steps where it is defined."""
    defined = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], defined.astype(np.int8), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        part = slice(start, stop)
        axes.fill(
            np.concatenate([x[part], x[part][::-1]]),
            np.concatenate([low[part], high[part][::-1]]),
            color=colour,
            alpha=alpha,
            linewidth=0,
        )


def _locator(n: int, *, whole: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=n, min_n_ticks=2, integer=whole)


def _thinned(n: int, most: int = _MAX_POINTS) -> Any:
    """Indices of at most ``most`` steps, first and last kept."""
    if n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))


def to_svg(figure: Figure, *, name: str, title: str, description: str) -> Markup:
    """The figure as one inline ``<svg>`` with title, description and page colours.

    Titles and descriptions may hold text from data; they are escaped here.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = StringIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    FigureCanvasSVG(figure).print_figure(
        out, format="svg", metadata={"Date": None, "Creator": None}
    )
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', svg)
    assert view is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)  # it would style the page
    body = re.sub(r" d=\"([^\"]*)\"", lambda m: f' d="{_compact(m[1])}"', body)
    body = re.sub(r"\bid=\"", f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r"(?:xlink:)?href=\"#", f'href="#{name}-', body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)  # the page's own
    body = re.sub(r' transform="rotate\(-?0 [^"]*"', "", body)
    body = re.sub(r'\b([xy])="(-?\d+\.\d)\d*"', r'\1="\2"', body)
    body = re.sub(r'<g id="[^"]*"/?>', lambda m: "" if m[0].endswith("/>") else "<g>", body)
    for placeholder, variable in _COLOURS.items():
        body = body.replace(placeholder, variable)
    body = re.sub(r"(?<=>)\s*\n\s*(?=<)", "", body)
    head = (
        f'<svg class="figure" viewBox="{view[1]}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(head + body)


def _compact(path: str) -> str:
    """A path with one decimal (a seventh of a pixel) and no spare characters."""
    short = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), path)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", short.replace("\n", " ")).strip()
