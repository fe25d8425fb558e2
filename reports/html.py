"""The report page: one file that works from disk, without network and without JavaScript."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from . import page, tables, words
from .cards import general_cards, method_cards
from .figures import DASHES, trajectory_svg
from .kinds import kinds_of_people
from .speech import HEADS as SPEECH_HEADS
from .speech import speech_section
from .training import HEADS, training_section
from .trajectories import ARM_ORDER, Band, Trajectory, trajectories

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..audit.result import AuditResult
    from ..simulation.run import Run

_HERE = Path(__file__).parent
_TABLE_ROWS = 12


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # everything that is not made here is text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        slug=page.slug, sentence=words.sentence, anchor=page.anchor, cells=tables.table_cells
    )
    environment.globals.update(words=words)
    return environment


def render(result: AuditResult, run: Run | None = None) -> str:
    """The whole report as one HTML document.

    Args:
        result: what the audit found.
        run: the simulation behind it; without it the page has no figures over time.

    Returns:
        the page; the same result and run give the same text.
    """
    style = (_HERE / "static" / "report.css").read_text(encoding="utf-8")
    script = (_HERE / "static" / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    families, axis = page.strip(result)
    text: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            title=words.what_was_audited(result),
            style=Markup(style),
            script=Markup(script),
            policy=(
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
                f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
            ),
            verdict=result.verdict(),
            overall=words.opinion(result.findings),
            flips=[f for f in page.by_weight(result.findings) if f.flips],
            families=families,
            strip_zero=axis.at(0.0),
            strip_tau=axis.at(1.0),
            access=page.access_groups(result),
            facts=_facts(result, run),
            cards=page.cards(result),
            tally=words.tally_text(result.findings),
            over_time=_over_time(result, run),
            legend=_legend(run, result.targets),
            training=training_section(result),
            training_heads=HEADS,
            speech=speech_section(result),
            speech_heads=SPEECH_HEADS,
            matrix=tables.matrix(result, run) if len(result.targets) > 1 else [],
            selftest=tables.selftest_rows(result),
            faults=tables.fault_rows(result),
            realism=bool(realism := tables.realism_rows(result)),
            realism_table=[tuple(row.values()) for row in realism],
            experiments=tables.experiment_rows(result),
            experiment_heads=tables.EXPERIMENT_HEADS,
            methods=method_cards(result),
            general=general_cards(result),
            reproduce=_reproduce(result, run),
            limits=_limits(result),
        )
    )
    return text


def _facts(result: AuditResult, run: Run | None) -> dict[str, Any]:
    study = result.study.get("study", {})
    people = result.study.get("people", {})
    arms = study.get("arms", ())
    return {
        "name": study.get("name", ""),
        "worlds": study.get("worlds", run.worlds if run else 0),
        "steps": study.get("steps", run.steps if run else 0),
        "arms": [(arm, words.ARMS[arm]) for arm in ("target", *arms) if arm in words.ARMS],
        "data": words.data_words(result.study),
        "people": kinds_of_people(result.study),
        "slate": people.get("slate", ""),
        "date": result.created[:10],
        "time": result.created,
    }


def _legend(run: Run | None, targets: tuple[str, ...]) -> list[dict[str, str]]:
    if run is None or not targets:
        return []
    # CSS pixels are about 1.3 points at the size the figures are shown
    return [
        {
            "kind": kind,
            "dash": " ".join(f"{1.3 * length:.1f}" for length in DASHES[kind]) or "none",
            "words": words.ARMS[kind],
        }
        for kind in ARM_ORDER
        if any(run.arm(target, kind) for target in targets)
    ]


def _over_time(result: AuditResult, run: Run | None) -> list[dict[str, Any]]:
    if run is None:
        return []
    sections = []
    for index, target in enumerate(result.targets):
        panels = []
        for part in trajectories(run, target):
            title = f"{part.measure.title}, {target}"
            panels.append(
                {
                    "title": part.measure.title,
                    "explained": part.measure.explained,
                    "svg": trajectory_svg(
                        part,
                        name=f"t{index}-{part.measure.key.replace('_', '-')}",
                        title=title,
                        description=_description(part),
                    ),
                    "table": _table(part),
                }
            )
        if panels:
            sections.append({"target": target, "panels": panels})
    return sections


def _description(part: Trajectory) -> str:
    def ends(kind: str) -> str:
        mean = part.arms[kind].mean
        return f"{kind} from {words.rounded(float(mean[0]))} to {words.rounded(float(mean[-1]))}"

    drawn = "; ".join(ends(kind) for kind in ARM_ORDER if kind in part.arms)
    text = f"Mean over {words.counted(part.worlds, 'world')}, step {part.steps[0]} to "
    text += f"{part.steps[-1]} ({part.measure.unit}): {drawn}."
    if part.contrast is not None:
        last = {k: float(getattr(part.contrast, k)[-1]) for k in ("mean", "low", "high")}
        text += (
            f" At the last step the target differs from {part.against} by "
            f"{words.rounded(last['mean'])} (95 % interval {words.rounded(last['low'])} to "
            f"{words.rounded(last['high'])}, paired by world)."
        )
    return text


def _table(part: Trajectory) -> dict[str, Any]:
    """The figure's numbers at about a dozen steps: level by arm, then the paired difference."""
    n = len(part.steps)
    rows = sorted({round(i * (n - 1) / (_TABLE_ROWS - 1)) for i in range(_TABLE_ROWS)})
    kinds = [kind for kind in ARM_ORDER if kind in part.arms]
    columns = [part.arms[kind] for kind in kinds]
    heads = list(kinds)
    if part.contrast is not None:
        columns.append(part.contrast)
        heads.append(f"target {words.MINUS} {part.against}")
    return {
        "columns": heads,
        "rows": [(str(part.steps[i]), [_cell(column, i) for column in columns]) for i in rows],
    }


def _cell(column: Band, i: int) -> str:
    mean, low, high = (float(v[i]) for v in (column.mean, column.low, column.high))
    if mean != mean:
        return "undefined"
    if low != low:
        return words.number(mean, 3)
    return f"{words.number(mean, 3)} ({words.number(low, 3)} to {words.number(high, 3)})"


def _reproduce(result: AuditResult, run: Run | None) -> dict[str, Any]:
    from ..simulation.study import Study
    from ..simulation.study_file import to_toml

    study = Study.model_validate(result.study) if result.study else Study()
    name = study.study.name
    return {
        "commands": [
            f"loopaudit simulate study.toml --out runs/{name}",
            f"loopaudit audit runs/{name}",
        ],
        "study": to_toml(study),
        "seed": study.study.seed,
        "versions": sorted({**result.manifest.get("versions", {}), **result.versions}.items()),
        "recommenders": json.dumps(
            result.manifest.get("recommenders", {}), indent=1, sort_keys=True, default=str
        ),
        "training": json.dumps(
            {target: _without_curves(held) for target, held in result.training.items()},
            indent=1,
            sort_keys=True,
            default=str,
        ),
        "files": sorted(result.manifest.get("files", {}).items())[:200],
        "n_files": len(result.manifest.get("files", {})),
        "path": run.path.name if run is not None and run.path else "",
    }


def _without_curves(held: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if name != "losses"}


def _limits(result: AuditResult) -> list[str]:
    """What this page does not show, the general first, then what each check declared."""
    world = result.study.get("world", {})
    limits = [
        "People are simulated. A verdict about the loop holds for people who choose and change as "
        "the user model says; it is evidence about real people only as far as the model resembles "
        "them.",
        "A pass means that an effect above the stated threshold was ruled out for the measured "
        "quantity. It says nothing about quantities that were not measured.",
        "Thresholds are conventions unless a finding says otherwise; another threshold can give "
        "another verdict.",
        "Groups of fewer than 20 people are not shown.",
    ]
    if world.get("kind") != "dataset":
        limits.append(
            "The market is synthetic: its people, items and tastes were generated, not observed."
        )
    if not any(f.sensitivity for f in result.findings):
        limits.append("The findings were not repeated under other user models.")
    if result.selftest is None:
        limits.append("No self-test of the auditors stands beside these findings.")
    return limits
