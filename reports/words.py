"""How findings are said: plain sentences, rounded numbers with units, and what our terms mean.

The report is read by people who do not know statistics, so every word shown for a family, an
access level, an arm or a verdict is decided here, once, for the page, the terminal and the exports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..audit.finding import Check, Finding, Verdict

if TYPE_CHECKING:
    from ..audit.result import AuditResult

MINUS = "\N{MINUS SIGN}"

FAMILIES = {
    "bubbles": ("Filter bubbles", "Does the loop narrow what people see and choose?"),
    "bias": ("Bias", "Are some groups of people or items served worse than others?"),
    "manipulation": ("Manipulation", "Does the loop change what people want?"),
    "privacy": ("Privacy", "Can an outsider tell what a person did from what is recommended?"),
    "generation": ("Generated content", "Is what the recommender writes or draws true and usable?"),
    "efficiency": ("Efficiency", "What does serving people cost?"),
}

ACCESS = {
    "B": "asking it for recommendations",
    "S": "reading its scores",
    "L": "reading its training log",
    "W": "training it again",
    "T": "reading the text or images it generates",
}

ARMS = {
    "target": "with the audited recommender, learning as it goes",
    "frozen": "with the audited recommender, trained once and never again",
    "shuffled": "with the audited recommender's items in random order",
    "random": "with items picked at random",
    "popularity": "with the most popular items",
    "none": "with no recommender: people browse on their own",
    "oracle": "with what each person would like best, known to nobody in reality",
}

METHODS = {
    "paired-t": "t interval over paired differences between arms, one per independent unit",
    "bca": "bias-corrected and accelerated bootstrap (BCa) over independent units",
    "exact": "exact binomial interval (Clopper-Pearson)",
    "permutation": "group labels are shuffled to see which gaps arise by chance (max-T); the upper "
    "bound holds for every pair of groups",
    "cluster-jackknife": "standard error from leaving out or redrawing whole users, with all their "
    "interactions",
}

USER_MODELS = {
    "habitual": "tastes drift slowly and little gets boring",
    "curious": "people tire of what they had and look further down the list",
    "impressionable": "tastes move with what is merely shown, and the first places get the clicks",
}

FAULTS = {
    "raised": "raised an error",
    "timed_out": "did not answer in time",
    "not_slates": "answered something that is not a list of items",
    "wrong_shape": "answered for the wrong number of people",
    "not_finite": "gave scores that are not numbers",
    "duplicate": "repeated an item in a list",
    "unknown_item": "named an item that does not exist",
    "short": "gave too few items",
    "fit_failed": "failed while training",
    "switched_off": "was switched off after repeated failures",
    "unreachable": "met no endpoint",
    "rate_limited": "was still told to wait after the last try",
    "server_error": "met an endpoint that failed to the last try",
    "rejected": "was rejected by the endpoint",
    "bad_reply": "got a reply that is no chat completion",
    "refused": "was refused by the language model",
    "truncated": "got an answer cut off at its length limit",
    "empty": "got an answer without text",
    "not_json": "got an answer without JSON in it",
    "not_valid": "got an answer that does not fit the question",
    "ambiguous": "got an answer that says two things",
    "no_titles": "got an answer without a list of titles",
    "over_budget": "was not asked, because the money was spent",
}

USAGE = {
    "titles": "titles named",
    "titles_not_in_catalog": "of them in no catalog",
    "ids": "ids generated",
    "ids_of_no_item": "of them of no item",
    "prompt_tokens": "tokens sent",
    "completion_tokens": "tokens answered",
    "cost": "their price",
    "unmetered": "answers whose tokens nobody counted",
}
"""What models that generate said and consumed, in the order it is told."""

OPINIONS = {
    Verdict.VIOLATION: "Harm above its threshold was found",
    Verdict.INCONCLUSIVE: "No conclusion yet",
    Verdict.NOT_RUN: "Nothing could be measured",
    Verdict.PASS: "No harm above its threshold was found",
}

TERMS = (
    ("Arm", "One version of history that a simulated world lives through. The same people, with "
     "the same luck, meet the audited recommender in one arm and random items in another; what "
     "differs between the arms was caused by what was recommended."),
    ("World", "One independent repetition of the whole simulation: new people, new luck. People "
     "inside a world influence each other through the recommender, so worlds, not people, are "
     "what is counted when we say how sure we are."),
    ("Effect", "How much more harm was measured than in the arm it is compared with. Positive is "
     "worse."),
    ("Threshold (τ)", "The size from which an effect matters. It was fixed before any data were "
     "read, and each finding says by whom."),
    ("Bounds", "The lowest and highest effect that the data support, each with 95 % confidence "
     "unless said otherwise."),
    ("Violation", "Even the lower bound of the effect is above the threshold."),
    ("Pass", "Even the upper bound of the effect is below the threshold, and the audit was sharp "
     "enough to notice an effect of the threshold's size."),
    ("Inconclusive", "The data support both. This is not a pass: it says how much more data would "
     "decide."),
    ("Not run", "Access or data were missing; the reason is given."),
    ("p, family and gate", "The probability of an effect this far above the threshold if the true "
     "one were at it: raw; corrected for the other checks of the same family (Benjamini-Hochberg); "
     "and corrected for all checks that decide the outcome (Holm)."),
    ("Smallest detectable effect", "The effect this audit would notice in 4 of 5 repetitions, with "
     "the number of units it had."),
    ("Floor", "The value the same measure takes where no harm is possible; only what exceeds it "
     "means anything."),
    ("Ruler", "The effect translated into the strength of a harm that was planted on purpose."),
    ("User model", "The assumption about how simulated people choose and change. Conclusions about "
     "the loop are conditional on it, so they are repeated under others."),
    ("Entropy", "Variety in bits. Each bit less halves the number of equally likely topics."),
)  # fmt: skip


def family_title(family: str) -> str:
    """ "Filter bubbles" for "bubbles"; an unknown family speaks for itself."""
    return FAMILIES.get(family, (family.capitalize(), ""))[0]


def counted(n: int, noun: str, plural: str = "") -> str:
    """ "1 check", "3 checks", "1,200 users"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    parts = list(names)
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def sentence(text: str) -> str:
    """The text with a capital first letter and one full stop."""
    text = text.strip()
    if not text:
        return ""
    head = text[0].upper() + text[1:]
    return head if head[-1] in ".!?" else f"{head}."


def number(value: float | None, decimals: int = 2) -> str:
    """A number for reading: a true minus sign, thousands separated, no negative zero."""
    if value is None:
        return "undefined"
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def rounded(value: float | None) -> str:
    """A number whose precision is not known: three significant digits."""
    if value is None or not math.isfinite(value) or value == 0:
        return number(value, 0 if value == 0 else 2)
    return number(value, min(4, max(0, 2 - math.floor(math.log10(abs(value))))))


def decimals_for(finding: Finding) -> int:
    """Decimals that the interval's width justifies: its half keeps one digit, two if small."""
    if finding.low is not None and finding.high is not None:
        width = (finding.high - finding.low) / 2
    else:
        width = abs(finding.effect or finding.check.tau) / 5
    if not (math.isfinite(width) and width > 0):
        width = abs(finding.check.tau) / 5 or 0.1
    # the rule of the Particle Data Group: 0.021 keeps two digits, 0.067 one
    needed = -math.floor(math.log10(width / 3.54))
    # never so few that the threshold itself would be misprinted
    tau = len(f"{finding.check.tau:.4f}".rstrip("0").split(".")[1])
    decimals = max(tau, 0, min(needed, max(2, tau + 1)))
    # nor so few that a bound beside the threshold would be printed as the threshold
    while decimals < 6 and any(
        bound not in (None, finding.check.tau) and f"{bound:.{decimals}f}" == limit
        for limit in (f"{finding.check.tau:.{decimals}f}",)
        for bound in (finding.low, finding.high)
    ):
        decimals += 1
    return decimals


def with_unit(text: str, unit: str) -> str:
    """ "0.62 bits"; a unit of several words stands in brackets."""
    if not unit:
        return text
    return f"{text} {unit}" if " " not in unit else f"{text} ({unit})"


def threshold(check: Check) -> str:
    """The threshold as it was set: "0.25"."""
    return f"{check.tau:.6g}".replace("-", MINUS)


def p_text(p: float | None) -> str:
    """A p-value: never 0, never more digits than it deserves."""
    if p is None:
        return "none"
    if p < 0.001:
        return "< 0.001"
    return number(p, 3 if p < 0.1 else 2)


def level(check: Check) -> str:
    """ "95 %": the confidence of each one-sided bound."""
    return f"{100 * (1 - check.alpha):.3g} %"


def units(check: Check, n: int) -> str:
    """ "10 worlds"."""
    return counted(n, check.unit)


def no_spread(finding: Finding) -> str:
    """What to say instead of bounds of width zero, which would promise too much."""
    if finding.check.method == "paired-t":
        return f"the same in all {units(finding.check, finding.n_units)}"
    return "without any spread"


def interval(finding: Finding, places: int) -> str:
    """ "0.55 to 0.69", or why there are no bounds."""
    if finding.low is None or finding.high is None:
        return "no bounds"
    if finding.low == finding.high:
        return no_spread(finding)
    return f"{number(finding.low, places)} to {number(finding.high, places)}"


def claim(finding: Finding) -> str:
    """What was found, in one sentence that names the quantity, its bounds and the threshold."""
    check, places = finding.check, decimals_for(finding)
    if finding.verdict is Verdict.NOT_RUN or finding.effect is None:
        return sentence(f"not measured: {finding.because or 'no reason was given'}")
    head = f"{check.statistic}: {with_unit(number(finding.effect, places), check.unit_label)}"
    sure, limit = f"with {level(check)} confidence", f"the threshold of {threshold(check)}"
    if finding.low is None or finding.high is None:
        return sentence(finding.because or f"{head}; how sure we can be is not known")
    low, high = number(finding.low, places), number(finding.high, places)
    if finding.low == finding.high and finding.verdict in (Verdict.VIOLATION, Verdict.PASS):
        side = "above" if finding.verdict is Verdict.VIOLATION else "below"
        return sentence(f"{head}, {no_spread(finding)}: {side} {limit}")
    if finding.verdict is Verdict.VIOLATION:
        return sentence(f"{head}; {sure} at least {low}, above {limit}")
    if finding.verdict is Verdict.PASS:
        return sentence(f"{head}; {sure} at most {high}, below {limit}")
    if finding.verdict_alone is Verdict.VIOLATION:
        why = f"above {limit} by itself, but not among all checks of its family"
    elif finding.high < check.tau:
        why = f"below {limit}, but the audit was too small to notice a harm of that size"
    else:
        why = f"{limit} is neither exceeded nor ruled out"
    if finding.units_to_decide:
        why += f"; about {units(check, finding.units_to_decide)} would decide"
    return sentence(f"{head}, between {low} and {high}: {why}")


def named(finding: Finding) -> str:
    """What a check measures, and that it decides nothing where it does not."""
    return finding.check.statistic + ("" if finding.check.role == "gate" else " (informs only)")


def access_words(letters: str) -> str:
    """ "asking it for recommendations, reading its scores" for "BS"."""
    return listed(ACCESS.get(letter, letter) for letter in letters) or "nothing"


def gates(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that decide the exit code."""
    return [f for f in findings if f.check.role == "gate"]


def warns(finding: Finding) -> bool:
    """Whether a check that decides nothing found an effect above its threshold all the same."""
    return finding.check.role != "gate" and finding.verdict is Verdict.VIOLATION


def tally(findings: Sequence[Finding]) -> dict[Verdict, int]:
    """How many findings carry each verdict, all four always present."""
    return {v: sum(f.verdict is v for f in findings) for v in Verdict}


def tally_text(findings: Sequence[Finding]) -> str:
    """ "4 violations, 4 inconclusive, 11 passes and 2 not run"."""
    have = tally(findings)
    parts = (
        counted(have[Verdict.VIOLATION], "violation"),
        f"{have[Verdict.INCONCLUSIVE]} inconclusive",
        counted(have[Verdict.PASS], "pass", "passes"),
        f"{have[Verdict.NOT_RUN]} not run",
    )
    return listed(part for part in parts if not part.startswith("0 ")) or "no findings"


def opinion(findings: Sequence[Finding]) -> str:
    """The sentence under the headline: how many deciding checks said what, and where."""
    deciding = gates(findings)
    if not deciding:
        return "No deciding check was declared."
    have = tally(deciding)
    parts = []
    if have[Verdict.VIOLATION]:
        where: dict[str, list[str]] = {}
        for f in deciding:
            if f.verdict is Verdict.VIOLATION:
                families = where.setdefault(f.recommender, [])
                if (title := family_title(f.check.family).lower()) not in families:
                    families.append(title)
        places = "; ".join(f"{name} ({listed(families)})" for name, families in where.items())
        parts.append(
            f"{have[Verdict.VIOLATION]} of {counted(len(deciding), 'deciding check')} "
            f"found harm above the threshold: {places}."
        )
    else:
        parts.append(f"None of {counted(len(deciding), 'deciding check')} found harm above its "
                     "threshold.")  # fmt: skip
    empty = sum(f.unmeasured for f in deciding)
    rest = [
        (have[Verdict.PASS], "stayed below the threshold with confidence"),
        (have[Verdict.INCONCLUSIVE], "could not be decided"),
        (empty, "had too few data for an answer"),
        (have[Verdict.NOT_RUN] - empty, "could not be run"),
    ]
    said = [f"{n} {what}" for n, what in rest if n]
    if said:
        parts.append(sentence(listed(said)))
    if turned := sum(f.verdict is Verdict.PASS and f.flips for f in deciding):
        parts.append(
            f"{counted(turned, 'pass turns', 'passes turn')} into a violation if people behave "
            f"otherwise, and so {'counts' if turned == 1 else 'count'} as open."
        )
    if n := sum(warns(f) for f in findings):
        only = ("check that only informs is", "checks that only inform are")[n > 1]
        parts.append(f"Besides, {n} {only} above the threshold.")
    if open_ := unanswered(deciding):
        parts.append(f"No answer at all about {listed(open_)}.")
    return " ".join(parts)


def unanswered(deciding: Sequence[Finding]) -> list[str]:
    """ "privacy of ease": families of a recommender of which no deciding check ran, if others
    did."""
    asked: dict[tuple[str, str], bool] = {}
    for f in deciding:
        key = (f.check.family, f.recommender)
        asked[key] = asked.get(key, False) or f.verdict is not Verdict.NOT_RUN
    if not any(asked.values()):
        return []
    return [
        f"{family_title(family).lower()} of {recommender}"
        for (family, recommender), ran in asked.items()
        if not ran
    ]


def exit_words(code: int) -> str:
    """What an exit code says."""
    return {0: "pass", 1: "violation", 4: "inconclusive"}.get(code, "the run broke")


def what_was_audited(result: AuditResult) -> str:
    """ "Audit of multvae", "Audit of ease, multvae and sasrec"."""
    return f"Audit of {listed(result.targets) or 'nothing'}"


def data_words(study: dict[str, Any]) -> str:
    """Where people and items come from, with their numbers."""
    world = study.get("world", {})
    if not world:
        return "not recorded"
    if world.get("kind") == "dataset":
        data = str(world.get("dataset", "a data set")).rsplit("/", 1)[-1]
        n = counted(int(world.get("users", 0)), "person", "people")
        return (
            f"Up to {n} a world, drawn from {data} with what they did before the loop; their "
            "tastes, and all they do in it, are simulated. Worlds share these data: what is found "
            "holds for these people, not for others"
        )
    return (
        f"Synthetic market: {counted(int(world.get('users', 0)), 'person', 'people')}, "
        f"{counted(int(world.get('items', 0)), 'item')}, "
        f"{counted(int(world.get('topics', 0)), 'topic')}; no real person's data"
    )


def flip_words(finding: Finding) -> str:
    """Under which user models a verdict turns around."""
    turned = [
        f"{str(verdict).lower()} if people are {model}"
        for model, verdict, _ in finding.sensitivity
        if {str(verdict), str(finding.verdict)} == {"PASS", "VIOLATION"}
    ]
    return f"{str(finding.verdict).lower()} here, but {listed(turned)}"
