"""Every law of people by its name (choice, feedback, change, speech), and what study.toml may say.

A new law is a class with a ``law`` literal in the module of its theme and a place in a union here;
study.toml, ``loopaudit init``, ``loopaudit list`` and docs/people.md then know it.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from ..section import Section, named
from .agreement import Agreement
from .browsing import Carousel, Cascade, PositionBased, Satisficing
from .choice import Logit
from .critiques import Critiques
from .drift import Assimilation, Repulsion, Slerp
from .feedback import Dwell, NotInterested, Rating
from .psychology import Conditioning, HedonicAdaptation, MereExposure, SetPoint
from .selecting import Bundle, Ranked, Several
from .wellbeing import Amplification, Boredom, Satisfaction

_Choices = Logit | Cascade | PositionBased | Carousel | Satisficing | Ranked | Several | Bundle
_Feedbacks = Rating | Dwell | NotInterested
_Changes = (
    Assimilation
    | Slerp
    | Repulsion
    | MereExposure
    | Conditioning
    | HedonicAdaptation
    | SetPoint
    | Boredom
    | Satisfaction
    | Amplification
    | Agreement
)

ChoiceLaw = Annotated[_Choices, Field(discriminator="law"), BeforeValidator(named("law"))]
"""Any law of choice, told apart by ``law``; a bare name stands for its defaults."""

FeedbackLaw = Annotated[_Feedbacks, Field(discriminator="law"), BeforeValidator(named("law"))]
"""Any law of feedback."""

SpeechLaw = Annotated[Critiques, BeforeValidator(named("law"))]
"""Any law of speech."""

ChangeLaw = Annotated[_Changes, Field(discriminator="law"), BeforeValidator(named("law"))]
"""Any law of change."""


def _by_name(union: object) -> dict[str, type[Section]]:
    return {law.model_fields["law"].default: law for law in get_args(union)}


LAWS: dict[str, dict[str, type[Section]]] = {
    "choice": _by_name(_Choices),
    "feedback": _by_name(_Feedbacks),
    "change": _by_name(_Changes),
    "says": {Critiques.model_fields["law"].default: Critiques},
}
"""The classes by what they do and by name."""


def names(kind: str) -> str:
    """The names of a kind of law, as descriptions list them: "logit | cascade | ..."."""
    return " | ".join(LAWS[kind])


def summary(law: type[Section]) -> str:
    """What a law says in one line."""
    return (law.__doc__ or "").strip().splitlines()[0].rstrip(".").replace("``", "")
