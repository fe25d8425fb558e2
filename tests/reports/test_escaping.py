"""What comes from data or from a plug-in is text, in the markup and in a real browser."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from loopaudit.audit.finding import Table
from loopaudit.reports.html import render
from loopaudit.reports.report import Report

EVIL = "<script>alert(1)</script>"
TITLE = "<script>document.title='stolen'</script>"
ERROR = "<img src=x onerror=\"document.title='stolen'\"> & '\"--></style></title></svg>"


ONE_EPOCH = ("learning", "epoch", "worlds", "mean", "low", "high")
TRAINED = {"losses": {**{name: [1] for name in ONE_EPOCH}, "step": [-1]}, "name": EVIL}


def hostile(make_result: Any) -> Any:
    """A result in which every text that others write tries to run."""
    label = f"evil{TITLE}"
    result = make_result((label, "multvae"))
    items = Table(f"Items {TITLE}", ("item", TITLE), ((EVIL, 1.5), (ERROR, None)))
    findings = tuple(
        replace(
            f,
            because=ERROR,
            tables=(items,),
            ruler=TITLE,
            suppressed=(ERROR,),
            notes=(TITLE,),
            floor_label=ERROR,
            arm_values={TITLE: 1.0},
            sensitivity=((TITLE, "PASS", 0.1),),
            check=replace(
                f.check,
                question=f"{f.check.question} {TITLE}",
                statistic=f"{f.check.statistic} {ERROR}",
                unit_label=f"bits{ERROR}",
                not_tested=ERROR,
                mitigation=TITLE,
                formula=ERROR,
                source=TITLE,
                tau_source=ERROR,
                estimand=TITLE,
            ),
        )
        for f in result.findings
    )
    return replace(
        result,
        findings=findings,
        plan=replace(result.plan, deviations=(TITLE, ERROR)),
        faults={
            label: {
                "requests": 3,
                "counts": {ERROR: 3},
                "examples": [ERROR, TITLE, EVIL],
                "usage": {EVIL: 3.0},
            }
        },
        versions={TITLE: ERROR},
        manifest={"files": {TITLE: ERROR}, "recommenders": {TITLE: ERROR}},
        training={label: {**TRAINED, "note": ERROR, "args": {TITLE: ERROR}}, TITLE: {ERROR: EVIL}},
        realism={"rows": [{"name": TITLE, "kind": ERROR}]},
        said={
            label: {
                "totals": {"names": 3, "made_up": 2},
                "over_time": {"step": [0, 1], **{key: [0.1, 0.2] for key in ONE_EPOCH[3:]}},
                "frequent": {"made-up name": [[TITLE, 2, 1]], "row title": [[ERROR, 2, 1]]},
                "samples": {"explanation": [[0, 1, "W" * 200], [0, 2, EVIL]]},
            }
        },
    )


def test_nothing_of_others_stands_unescaped_in_the_page(make_result: Any, make_run: Any) -> None:
    result = hostile(make_result)
    page = render(result, make_run(result.targets))
    assert "<script>alert" not in page
    assert "<script>document" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_nothing_of_others_stands_unescaped_in_a_notebook_or_a_summary(make_result: Any) -> None:
    from loopaudit.reports.exports import junit_xml, summary_md

    result = hostile(make_result)
    for text in (Report(result)._repr_html_(), summary_md(result), junit_xml(result)):
        assert "<script>" not in text
        assert "<img" not in text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def dom(page: str, folder: Path) -> str:
    """The page after a real browser has read it and run what it would run."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@in_browser
@pytest.mark.slow
def test_an_item_titled_like_a_script_is_shown_and_not_run(
    make_result: Any, make_run: Any, tmp_path: Path
) -> None:
    result = hostile(make_result)
    shown = dom(render(result, make_run(result.targets)), tmp_path)
    assert "<title>stolen" not in shown
    assert "<title>Audit of evil&lt;script&gt;" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<img" not in shown


@in_browser
@pytest.mark.slow
def test_the_page_policy_stops_a_script_that_would_slip_through(
    make_result: Any, tmp_path: Path
) -> None:
    page = render(make_result())
    leaky = page.replace("</main>", f"{TITLE}</main>")
    assert "<title>stolen" not in dom(leaky, tmp_path)


@in_browser
@pytest.mark.slow
def test_own_script_runs_under_the_page_policy(make_result: Any, tmp_path: Path) -> None:
    shown = dom(render(make_result()), tmp_path)
    assert '<div id="filters"><label>' in shown


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(
    make_result: Any, make_run: Any, tmp_path: Path, width: int
) -> None:
    result = make_result(("a-recommender-with-a-very-long-name.AndAClass", "ease"))
    spoken = hostile(make_result).said
    result = replace(result, said=dict.fromkeys(result.targets, *spoken.values()))
    page = escape(render(result, make_run(result.targets)))
    frame = (
        f'<iframe id="f" style="width:{width}px;height:900px" srcdoc="{page}"></iframe><script>'
        'const f = document.getElementById("f"); f.onload = () => { document.title = '
        "f.contentDocument.documentElement.scrollWidth; };</script>"
    )
    shown = dom(f"<!DOCTYPE html><title></title>{frame}", tmp_path)
    assert int(shown.split("<title>")[1].split("<")[0]) <= width
