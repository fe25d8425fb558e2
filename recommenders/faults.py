"""What went wrong with a recommender or an endpoint, counted: limits, and the tally of faults."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KINDS = {
    "raised": "the recommender raised an error or reported one",
    "timed_out": "no answer within the time limit",
    "not_slates": "the answer was not Slates",
    "wrong_shape": "the answer had the wrong shape or type",
    "not_finite": "scores were not numbers",
    "duplicate": "an item stood twice in a list",
    "unknown_item": "an item does not exist",
    "short": "fewer items than asked for, although more were left",
    "fit_failed": "training failed",
    "switched_off": "not asked any more, after too many failures in a row",
    "unreachable": "no connection to the endpoint",
    "rate_limited": "the endpoint still asked to wait after the last try",
    "server_error": "the endpoint still failed after the last try",
    "rejected": "the endpoint rejected the request",
    "bad_reply": "the endpoint's reply was no chat completion",
    "refused": "the language model refused to answer",
    "truncated": "the answer broke off at its length limit",
    "empty": "the answer held no text",
    "not_json": "no JSON object in the answer",
    "not_valid": "the answer's JSON is not what was asked for",
    "ambiguous": "the answer held several different objects that fit",
    "no_titles": "the answer held no list of titles",
    "over_budget": "not asked, because the money was spent",
}
"""Every kind of fault and what it means."""

_MAX_EXAMPLES = 5
_MAX_LENGTH = 200
_MOST = 20  # names of what is consumed


@dataclass(frozen=True)
class Limits:
    """How long a recommender may take and how often it may fail.

    Attributes:
        seconds_per_call: for one call of ``recommend``, ``score`` or ``state``; 0 for no limit.
        seconds_per_fit: for one call of ``fit`` or ``update``; 0 for no limit.
        strikes: consecutive crashed or hung calls after which it is switched off.
    """

    seconds_per_call: float = 60.0
    seconds_per_fit: float = 3600.0
    strikes: int = 3


@dataclass
class Faults:
    """A tally of faults; requests with two kinds of fault count once under each.

    Attributes:
        requests: how many were asked in all.
        counts: requests affected (calls, for "fit_failed") by kind; see :data:`KINDS`.
        examples: at most 5 texts of at most 200 characters; hostile until escaped.
        unanswered: requests whose people were shown nothing: the call failed, or no item of the
            answer could be shown although some were left.
        usage: what answering consumed, summed (tokens, cost), where the recommender says so.
        strikes: crashed or hung calls in a row, up to now.
        off: whether the recommender has been switched off.
    """

    requests: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    unanswered: int = 0
    usage: dict[str, float] = field(default_factory=dict)
    strikes: int = 0
    off: bool = False

    def add(self, kind: str, rows: int = 1, example: str = "") -> None:
        """Count a fault that touched so many requests."""
        if rows <= 0:
            return
        self.counts[kind] = self.counts.get(kind, 0) + int(rows)
        text = plain(f"{kind}: {example}" if example else f"{kind}: {KINDS[kind]}")
        alike = sum(old.startswith(f"{kind}:") for old in self.examples)
        if len(self.examples) < _MAX_EXAMPLES and alike < 2 and text not in self.examples:
            self.examples.append(text)

    def spend(self, usage: Mapping[str, float]) -> None:
        """Add what one answer consumed."""
        for name, amount in usage.items():
            if not math.isfinite(amount) or (name not in self.usage and len(self.usage) >= _MOST):
                continue
            self.usage[name] = self.usage.get(name, 0.0) + amount

    def merge(self, other: Faults) -> None:
        """Add another tally to this one (worlds of the same arm)."""
        self.requests += other.requests
        self.unanswered += other.unanswered
        self.spend(other.usage)
        for kind, rows in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + rows
        new = [text for text in other.examples if text not in self.examples]
        self.examples = (self.examples + new)[:_MAX_EXAMPLES]
        self.strikes = max(self.strikes, other.strikes)
        self.off = self.off or other.off

    def to_dict(self) -> dict[str, object]:
        """As JSON-ready values, kinds sorted; usage only where something was."""
        used = {"usage": dict(sorted(self.usage.items()))} if self.usage else {}
        return {
            **used,
            "requests": self.requests,
            "counts": dict(sorted(self.counts.items())),
            "examples": list(self.examples),
            "unanswered": self.unanswered,
            "strikes": self.strikes,
            "off": self.off,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Faults:
        """The inverse of :meth:`to_dict`."""
        return cls(
            requests=int(data["requests"]),  # type: ignore[call-overload]
            counts={str(k): int(v) for k, v in data["counts"].items()},  # type: ignore[attr-defined]
            examples=[str(text) for text in data["examples"]],  # type: ignore[attr-defined]
            unanswered=int(data.get("unanswered", 0)),  # type: ignore[call-overload]
            usage={str(k): float(v) for k, v in data.get("usage", {}).items()},  # type: ignore[attr-defined]
            strikes=int(data.get("strikes", 0)),  # type: ignore[call-overload]
            off=bool(data.get("off", False)),
        )


def example_of(kind: str, examples: Iterable[str]) -> str:
    """What was said at a fault of this kind; of one that was switched off, at what went before."""
    kinds = ("fit_failed", "timed_out", "raised") if kind == "switched_off" else (kind,)
    for wanted in kinds:
        for example in examples:
            if example.startswith(f"{wanted}: "):
                said = example.partition(": ")[2]
                return "" if said == KINDS.get(kind) else said
    return ""


def plain(text: object) -> str:
    """One printable line of at most 200 characters, from anything."""
    try:
        whole = text if isinstance(text, str) else str(text)
    except Exception:
        whole = f"<{type(text).__name__} that cannot be shown>"
    line = " ".join(whole[: 4 * _MAX_LENGTH].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"


def described(error: BaseException) -> str:
    """``ValueError: message`` on one line, whatever the error's own text does."""
    text = plain(error)
    return plain(f"{type(error).__name__}: {text}" if text else type(error).__name__)
