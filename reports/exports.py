"""The same result for machines and for other people's tools: JSON, Markdown, JUnit, SARIF."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..audit.finding import Finding, Verdict
from . import words
from .page import by_weight, effect_text, missing_alike
from .tables import fault_lines

if TYPE_CHECKING:
    from ..audit.result import AuditResult

SUMMARY_LINES = 60
"""A summary fits a pull-request comment."""

_SYMBOLS = {
    Verdict.VIOLATION: "✖",
    Verdict.INCONCLUSIVE: "?",
    Verdict.PASS: "✓",
    Verdict.NOT_RUN: "○",
}


def audit_json(result: AuditResult) -> str:
    """The whole result as JSON; the same result gives the same text."""
    return json.dumps(result.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, links or HTML."""
    line = " ".join(_printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]!|~])", r"\\\1", line)


def summary_md(result: AuditResult) -> str:
    """At most 60 lines of Markdown: the opinion, what depends on the user model, the findings."""
    lines = [
        f"## LoopAudit: {markdown(words.OPINIONS[result.verdict()])}",
        "",
        f"{markdown(words.what_was_audited(result))}. {markdown(words.opinion(result.findings))}",
        f"{result.coverage[0]} of {result.coverage[1]} applicable checks ran; "
        f"plan `{result.plan.hash[:12]}`; {result.created[:10]}.",
        "",
    ]
    flips = [f for f in by_weight(result.findings) if f.flips]
    if flips:
        lines[2:2] = [
            *(
                f"**Depends on how people behave:** {markdown(f.recommender)}, "
                f"{markdown(f.check.statistic)}: {markdown(words.flip_words(f))}."
                for f in flips[:5]
            ),
            "",
        ]
    if result.plan.deviations:
        first = result.plan.deviations[:5]
        lines += [f"- deviation from the plan: {markdown(text)}" for text in first]
        if more := len(result.plan.deviations) - len(first):
            lines.append(f"- and {words.counted(more, 'more deviation')}, in the report")
        lines.append("")
    if faults := fault_lines(result.faults):
        lines += [*(f"- faults: {markdown(line)}" for line in faults[:5]), ""]
    tail = [
        "",
        "Bounds are one-sided, at 95 % unless the report says otherwise; positive is worse. "
        "`report.html` holds the methods, the self-test and what was not tested.",
    ]
    findings, alike = missing_alike(by_weight(result.findings))
    for (recommender, why), missing in list(alike.items())[:5]:
        said = f"{recommender}: {len(missing)} checks could not be run: {why}."
        tail[:0] = ["", markdown(said)]
    if findings:
        lines += [
            "| verdict | recommender | what | effect (bounds) | threshold |",
            "|---|---|---|---|---|",
        ]
    room = SUMMARY_LINES - len(lines) - len(tail)
    shown = findings if len(findings) <= room else findings[: room - 2]
    lines += [_summary_row(f) for f in shown]
    if len(shown) < len(findings):
        lines += ["", f"{len(findings) - len(shown)} more findings stand in the report."]
    return "\n".join([*lines, *tail]) + "\n"


def _summary_row(f: Finding) -> str:
    cells = (
        f"{_SYMBOLS[f.verdict]} {f.verdict}",
        markdown(f.recommender),
        markdown(words.named(f)),
        markdown(effect_text(f) if f.effect is not None else f"not measured: {f.because}"[:160]),
        markdown(f"{words.threshold(f.check)} {f.check.unit_label}"),
    )
    return f"| {' | '.join(cells)} |"


def junit_xml(result: AuditResult, *, allow_inconclusive: bool = False) -> str:
    """Findings as test cases: a violation fails, an open question is an error, NOT RUN is skipped.

    Descriptive findings never fail: they stand as passed cases that print what they found.

    Args:
        result: what the audit found.
        allow_inconclusive: report open questions as skipped instead of as errors.
    """
    root = ElementTree.Element("testsuites", name="LoopAudit")
    families = dict.fromkeys((f.recommender, f.check.family) for f in result.findings)
    for recommender, family in families:
        mine = [
            f for f in result.findings if (f.recommender, f.check.family) == (recommender, family)
        ]
        suite = ElementTree.SubElement(root, "testsuite")
        for f in mine:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=_xml(f.check.id),
                classname=_xml(f"{recommender}.{family}"),
                time="0",
            )
            _outcome(case, f, allow_inconclusive)
        gates = words.gates(mine)
        if gates and all(f.verdict is Verdict.NOT_RUN for f in gates) and not allow_inconclusive:
            # no answer at all is an open question, or refusing access would be a way to pass
            for f, case in zip(mine, suite, strict=True):
                skipped = case.find("skipped")
                if f in gates and skipped is not None:
                    skipped.tag = "error"
                    skipped.set("type", "NOT RUN")
        counts = {
            name: len(suite.findall(f"testcase/{tag}"))
            for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
        }
        suite.attrib.update(
            {
                "name": _xml(f"{recommender}: {words.family_title(family)}"),
                "tests": str(len(mine)),
                **{name: str(n) for name, n in counts.items()},
                "timestamp": _xml(result.created[:19]),
                "time": "0",
            }
        )
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode")
        + "\n"
    )


def _outcome(case: ElementTree.Element, f: Finding, allow_inconclusive: bool) -> None:
    said = _xml(words.claim(f))
    gate = f.check.role == "gate"
    if f.verdict is Verdict.NOT_RUN and not (gate and f.unmeasured):
        ElementTree.SubElement(case, "skipped", message=said)
    elif gate and f.verdict is Verdict.VIOLATION:
        body = ElementTree.SubElement(case, "failure", type="VIOLATION", message=said)
        body.text = _xml(f"{f.check.question}\n{f.because}\n{f.check.mitigation}")
    elif gate and f.standing is Verdict.INCONCLUSIVE:
        tag = "skipped" if allow_inconclusive else "error"
        body = ElementTree.SubElement(case, tag, message=said)
        if tag == "error":
            body.set("type", "INCONCLUSIVE")
        turned = f" It is open: {words.flip_words(f)}." if f.flips else ""
        body.text = _xml(f.because + turned)
    out = ElementTree.SubElement(case, "system-out")
    out.text = _xml(f"{f.verdict}: {words.claim(f)}")


def sarif(result: AuditResult) -> str:
    """Violations and open questions as SARIF 2.1.0, for code-scanning views.

    A finding's fingerprint is its key, so that a tool recognises it in the next audit.
    """
    checks = {f.check.id: f.check for f in result.findings}
    levels = {Verdict.VIOLATION: "error", Verdict.INCONCLUSIVE: "warning"}
    results = [
        {
            "ruleId": f.check.id,
            "level": levels[f.standing] if f.check.role == "gate" else "note",
            "message": {"text": f"{f.recommender}: {words.claim(f)}"},
            "partialFingerprints": {"loopaudit/v1": f.key},
            "locations": [
                {"logicalLocations": [{"fullyQualifiedName": f.key, "kind": "resource"}]}
            ],
        }
        for f in by_weight(result.findings)
        if (f.standing if f.check.role == "gate" else f.verdict) in levels
    ]
    driver = {
        "name": "LoopAudit",
        "version": result.versions.get("loopaudit", "0"),
        "rules": [
            {
                "id": check.id,
                "shortDescription": {"text": check.question},
                "fullDescription": {"text": check.estimand},
                "help": {"text": check.mitigation or check.not_tested or check.question},
            }
            for check in checks.values()
        ],
    }
    document = {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _printable(text: str) -> str:
    """The text without control characters, which neither XML nor Markdown can carry."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _xml(text: str) -> str:
    return _printable(str(text))
