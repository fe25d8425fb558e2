"""What an auditor may look at: a run, one target in it, and what that target can be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .finding import Check

if TYPE_CHECKING:
    from ..simulation.run import Run
    from ..simulation.study import AuditSection

ACCESS = {
    "B": "recommendations",
    "S": "scores of the whole catalog",
    "L": "the interaction log",
    "W": "training it again",
    "T": "generated text",
}
"""What each access letter stands for."""


@dataclass(frozen=True)
class Evidence:
    """Handed to every auditor.

    Attributes:
        run: the finished simulation.
        target: label of the recommender in question.
        settings: how strict, and which groups to compare.
        access: letters of what the target offers, see :data:`ACCESS`.
        seed: the only source of randomness an auditor may use; the same for every target.
        progress: told in a few words what a slow auditor is doing; see :meth:`say`.
    """

    run: Run
    target: str
    settings: AuditSection
    access: frozenset[str]
    seed: int = 0
    progress: Callable[[str], None] | None = None

    def say(self, what: str) -> None:
        """Tell whoever waits: "shadow model 3 of 8"."""
        if self.progress is not None:
            self.progress(what)

    def arm(self, kind: str) -> str | None:
        """Name of the arm that plays a part for this target, or None when it was not run.

        Args:
            kind: "target", "frozen", "shuffled", "random", "popularity", "none" or "oracle".
        """
        return self.run.arm(self.target, kind)

    def missing(self, check: Check) -> str | None:
        """Why a check cannot be made here, or None when it can."""
        absent = [kind for kind in check.needs_arms if self.arm(kind) is None]
        if absent:
            arms = " and ".join(repr(kind) for kind in absent)
            return f"it needs the arm {arms}, which was not run (study.toml, [study] arms)"
        lacking = [letter for letter in check.access if letter not in self.access]
        if lacking:
            wants = " and ".join(ACCESS.get(letter, letter) for letter in lacking)
            return f"it needs {wants}, which {self.target!r} does not offer"
        return None


def access_of(run: Run, target: str) -> frozenset[str]:
    """What a target lets itself be asked: its declared capabilities, as access letters.

    Recommendations and the log of a simulation are always there.
    """
    letters = {"B", "L"}
    if run.spec(target).name == "none":
        return frozenset(letters)
    guard = run.create(target)
    if guard.can_score:
        letters.add("S")
    if callable(getattr(guard.recommender, "fit", None)):
        letters.add("W")
    if guard.capabilities.outputs & {"text", "explanations", "dialogue"}:
        letters.add("T")
    return frozenset(letters)
