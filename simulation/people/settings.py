"""What study.toml says of people: how they choose, tell and change, kinds of them, those who chat.

The laws and their equations stand in laws.py and the modules it names, and in docs/people.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ...recommenders.language.settings import ChatSettings
from ..section import Section
from .choice import Logit
from .laws import ChangeLaw, ChoiceLaw, FeedbackLaw, SpeechLaw, names


class BehaviourSection(Section):
    """How people choose, tell and change (see laws.py, equations.py and docs/people.md).

    ``model`` picks a preset; any number given here overrides the preset's own.
    """

    model: Literal["habitual", "curious", "impressionable"] = Field(
        default="habitual", description="the preset; numbers given below override it"
    )
    choice: ChoiceLaw = Field(
        default=Logit(), description=f"how people choose from a slate: {names('choice')}"
    )
    feedback: tuple[FeedbackLaw, ...] = Field(
        default=(), description=f"what people tell beside taking: {names('feedback')}"
    )
    change: tuple[ChangeLaw, ...] = Field(
        default=(),
        description=f"laws of change beyond drift and satiation, in order: {names('change')}",
    )
    says: SpeechLaw | None = Field(
        default=None,
        description=f"what people say to recommenders that read it: {names('says')}",
    )
    drift: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="how far taste moves toward what is consumed"
    )
    exposure_drift: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="how far taste moves toward what is merely shown"
    )
    satiation: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="utility lost on a topic just consumed"
    )
    recovery: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="share of satiation that fades at a step"
    )
    position_bias: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="utility lost per log position"
    )
    outside_utility: float | None = Field(default=None, description="utility of choosing nothing")
    temperature: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="noise of choice; higher is more random"
    )
    persistence: float | None = Field(
        default=None, description="utility gained on a topic chosen just before; below 0: lost"
    )
    fading: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share of that hold lost at each further choice"
    )

    @field_validator("feedback", "change")
    @classmethod
    def _laws_differ(cls, value: tuple[Section, ...]) -> tuple[Section, ...]:
        given = [getattr(law, "law", "") for law in value]
        twice = [law for law in given if given.count(law) > 1]
        if twice:
            raise ValueError(f"the law {twice[0]!r} is named twice; it remembers only once")
        return value


class PeopleSection(BehaviourSection):
    """[people]: how simulated people choose and change."""

    slate: Annotated[int, Field(ge=1, le=64)] = Field(
        default=10, description="items shown at a step"
    )
    rows: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="rows the slate is arranged in, for choice = 'carousel'"
    )
    repeat: bool = Field(
        default=False, description="what a person consumed may be shown to them again"
    )


class UsersSection(BehaviourSection):
    """[[users]]: one kind of people in a mixed population; replaces [people]'s behaviour."""

    label: str = Field(default="", description="how reports call them; default: the model's name")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the population; the shares sum to 1"
    )
    persons: Literal["", "scripted", "chat"] = Field(
        default="",
        description="one object a person instead of columns: scripted keeps the laws, chat asks "
        "the endpoint of [chat] what to choose",
    )

    @model_validator(mode="after")
    def _chat_asks_no_law(self) -> UsersSection:
        if self.persons == "chat" and (self.choice != Logit() or self.feedback):
            raise ValueError(
                "people with persons = 'chat' choose and rate as the endpoint answers; leave out "
                "choice and feedback, or set persons = 'scripted'"
            )
        return self


class ChatSection(ChatSettings):
    """[chat]: the endpoint that people with persons = 'chat' choose by."""

    take_at_most: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="items a person may take from one slate"
    )
    memory: Annotated[int, Field(ge=0, le=100)] = Field(
        default=5, description="past choices a person is reminded of"
    )
    attributes: tuple[str, ...] = Field(
        default=(), description="user attributes the model is told, e.g. ['age']"
    )
