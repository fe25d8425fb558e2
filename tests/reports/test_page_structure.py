"""The page as a document: well formed, accessible, self-contained, small, repeatable."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from loopaudit.reports.html import render

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
BANNED = re.compile(r"\b(de-?bias\w*|un-?biased|fair|compliant|safe)\b", re.IGNORECASE)


class Document(HTMLParser):
    """Elements with their attributes and text; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[int] = []
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.parents: list[list[int]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, "elements left open"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, []))
        self.parents.append(list(self.open))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, []))
        self.parents.append(list(self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open[-1]][0] == tag, f"</{tag}> closes <{self._last()}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.elements[index][2].append(data)
        if self.open and self._last() not in ("style", "script"):
            self.words.append(data)

    def _last(self) -> str:
        return self.elements[self.open[-1]][0]

    def all(self, tag: str) -> list[tuple[dict[str, str], str]]:
        return [(a, "".join(t).strip()) for name, a, t in self.elements if name == tag]

    def children(self, index: int) -> list[str]:
        return [e[0] for e, p in zip(self.elements, self.parents, strict=True) if p[-1:] == [index]]


@pytest.fixture(scope="module")
def page(make_result: Any, make_run: Any) -> str:
    result = make_result()
    return render(result, make_run(result.targets))


@pytest.fixture(scope="module")
def document(page: str) -> Document:
    return Document(page)


def test_page_is_well_formed_with_one_heading_of_the_first_level(document: Document) -> None:
    assert [text for _, text in document.all("h1")] == ["Audit of ease, multvae and sasrec"]
    assert document.all("html")[0][0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(document.all(landmark)) == 1
    assert document.all("a")[0][0]["href"] == "#main"  # the skip link comes first


def test_headings_never_skip_a_level(document: Document) -> None:
    levels = [int(tag[1]) for tag, _, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_every_table_header_says_what_it_heads_and_every_table_has_a_caption(
    document: Document,
) -> None:
    assert document.all("th")
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a, _ in document.all("th"))
    assert len(document.all("table")) == len(document.all("caption"))


def test_every_drawing_has_a_title_and_a_description_or_is_decoration(document: Document) -> None:
    seen = 0
    for index, (tag, attributes, _) in enumerate(document.elements):
        if tag != "svg" or attributes.get("aria-hidden") == "true":
            continue
        seen += 1
        assert attributes["role"] == "img"
        assert document.children(index)[:2] == ["title", "desc"]
        named = attributes["aria-labelledby"].split()
        ids = {a.get("id") for _, a, _ in document.elements}
        assert len(named) == 2
        assert set(named) <= ids
    assert seen > 30


def test_identifiers_are_unique_and_every_inner_link_leads_somewhere(document: Document) -> None:
    ids = Counter(a["id"] for _, a, _ in document.elements if "id" in a)
    assert [name for name, n in ids.items() if n > 1] == []
    for attributes, text in document.all("a"):
        assert attributes["href"].startswith("#")
        assert attributes["href"][1:] in ids
        assert text


def test_page_asks_nothing_of_any_other_place(page: str, document: Document) -> None:
    assert not re.findall(r"""(?:src|href|action|data)\s*=\s*["'](?!#|$)[^"']*""", page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    for tag in ("img", "link", "iframe", "object", "embed", "form"):
        assert not document.all(tag)
    policy = next(
        a["content"]
        for a, _ in document.all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_script_is_small_and_matches_its_hash(document: Document, page: str) -> None:
    import base64
    import hashlib

    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 1
    assert len(scripts[0].encode()) < 10_000
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"sha256-{digest}" in page


def test_no_event_handler_or_script_link_in_markup(document: Document) -> None:
    for _, attributes, _ in document.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert not attributes.get("href", "").lower().startswith("javascript")


def test_page_never_calls_a_system_by_words_it_cannot_know(document: Document) -> None:
    text = " ".join(document.words)
    assert BANNED.findall(text) == []


def test_same_result_gives_the_same_bytes(make_result: Any, make_run: Any) -> None:
    first, second = make_result(), make_result()
    assert render(first, make_run(first.targets)) == render(second, make_run(second.targets))


def test_five_recommenders_with_fourteen_findings_each_fit_the_size_budget(
    make_result: Any, make_run: Any
) -> None:
    from dataclasses import replace

    base = make_result(("ease", "multvae", "sasrec", "itemknn", "bprmf"))
    twice = tuple(
        replace(f, check=replace(f.check, id=f"{f.check.id}{n}"))
        for f in base.findings
        for n in "ab"
    )
    assert len(twice) == 70
    text = render(replace(base, findings=twice), make_run(base.targets, steps=200))
    assert len(text.encode()) < 1_500_000


def contrast(one: str, two: str) -> float:
    """WCAG 2 contrast ratio of two #rgb or #rrggbb colours."""

    def luminance(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_stand_out_from_what_is_behind_them(page: str, mode: str) -> None:
    roots = re.findall(r":root\s*{([^}]*)}", page)
    colours = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]+)", roots[["light", "dark"].index(mode)]))
    verdicts = ("violation", "inconclusive", "pass", "not-run")
    pairs = [(text, back) for text in ("ink", "quiet", "link", *verdicts[:3])
             for back in ("paper", "sheet", "tint")]  # fmt: skip
    pairs += [(v, f"{v}-bg") for v in verdicts] + [("ink", "inconclusive-bg")]
    pairs += [("link", "inconclusive-bg")]
    for text, back in pairs:
        assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
    for arm in ("target", "frozen", "random", "popularity", "none"):
        assert contrast(colours[f"arm-{arm}"], colours["sheet"]) >= 3, arm


def test_first_screen_says_what_was_audited_how_and_by_which_plan(
    result: Any, document: Document
) -> None:
    head = next(text for a, text in document.all("header"))
    for expected in (
        "asking it for recommendations",
        result.plan.hash,
        result.plan.hash[:12],
        "2026-11-23",
        "300 people",
        "10 independent worlds",
        "19 of 21",
        "Harm above its threshold was found",
    ):
        assert expected in head


def test_what_depends_on_the_user_model_comes_before_the_opinion(page: str) -> None:
    assert 0 < page.index("Depends on how people behave") < page.index("Harm above its threshold")


def test_without_flips_no_warning_about_user_models(make_result: Any) -> None:
    from dataclasses import replace

    result = make_result()
    calm = tuple(f for f in result.findings if not f.flips)
    assert "Depends on how people behave" not in render(replace(result, findings=calm))


def test_verdicts_are_words_not_only_colours(document: Document, result: Any) -> None:
    chips = [text for a, text in document.all("span") if "chip" in a.get("class", "").split()]
    for verdict in ("VIOLATION", "INCONCLUSIVE", "PASS", "NOT RUN"):
        assert verdict in chips


def test_every_finding_has_a_card_with_the_fields_of_the_contract(
    document: Document, result: Any
) -> None:
    cards = [t for a, t in document.all("details") if "card" in a.get("class", "").split()]
    assert len(cards) == len(result.findings)
    violated = next(t for t in cards if "under random exposure" in t and "VIOLATION" in t)
    for term in (
        "Effect",
        "95 % bounds",
        "Threshold τ",
        "LoopAudit default: convention",
        "10 worlds",
        "Smallest detectable effect",
        "raw < 0.001",
        "family 0.001",
        "gate 0.004",
        "By arm",
        "BubbleFormer(beta=1.6)",
        "Other user models",
        "Not tested",
        "What could be tried",
    ):
        assert term in violated
    gap = next(t for t in cards if "served worse" in t)
    assert "X (7 users)" in gap
    assert "Floor" in gap


def test_violations_come_first_and_what_was_not_run_last(document: Document) -> None:
    order = [
        a["data-verdict"]
        for a, _ in document.all("details")
        if "card" in a.get("class", "").split()
    ]
    ranks = ["VIOLATION", "INCONCLUSIVE", "PASS", "NOT RUN"]
    assert order == sorted(order, key=ranks.index)


def test_figures_over_time_show_all_arms_and_give_their_data(document: Document) -> None:
    figures = document.all("figure")
    assert len(figures) == 18  # six measures of three recommenders
    assert all("Data" in text for _, text in figures)
    assert "target \N{MINUS SIGN} random" in figures[0][1]


def test_deviations_are_listed_and_counted(make_result: Any) -> None:
    from dataclasses import replace

    result = make_result()
    many = tuple(f"Deviation number {i}." for i in range(9))
    page = render(replace(result, plan=replace(result.plan, deviations=many)))
    assert "9 deviations" in page
    assert all(text in page for text in many)


def test_page_can_be_made_from_the_stored_result_alone(result: Any) -> None:
    page = Document(render(result))
    assert not page.all("figure")
    assert page.all("h1")


def test_a_run_with_one_world_has_lines_and_no_bands(make_result: Any, make_run: Any) -> None:
    result = make_result(("ease",))
    page = Document(render(result, make_run(("ease",), worlds=1)))
    assert len(page.all("figure")) == 6


def test_an_audit_that_measured_nothing_is_not_a_pass(make_result: Any) -> None:
    from dataclasses import replace

    from loopaudit.audit.finding import Verdict

    result = make_result()
    none = tuple(f for f in result.findings if f.verdict is Verdict.NOT_RUN)
    page = render(replace(result, findings=none, coverage=(0, len(none)), selftest=None))
    assert "Nothing could be measured" in page
    assert "No self-test of the auditors stands beside these findings" in page


def test_realism_is_shown_beside_its_floor(make_result: Any) -> None:
    rows = [
        {"name": "popularity curve", "distance": 0.081, "floor": 0.02, "kind": "Kolmogorov-Smirnov",
         "real": 0.7, "simulated": None}
    ]  # fmt: skip
    page = render(make_result(realism={"rows": rows}))
    assert "popularity curve" in page
    assert "0.020" in page
