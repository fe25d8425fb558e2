"""What study.toml says of society and staying: who knows whom, what it does, who comes and goes.

The equations stand in graphs.py, friendships.py, opinions.py, sharing.py, social.py and staying.py,
and in docs/society.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..section import Section
from .graphs import GraphForm, SmallWorld
from .opinions import Attraction, Exposure, FriedkinJohnsen, Influence


class SocietySection(Section):
    """[society]: friends, opinions, what is shared and what is believed (docs/society.md)."""

    graph: GraphForm = Field(
        default=SmallWorld(),
        description="who knows whom: small-world | communities | alike | file",
    )
    opinions: Literal["uniform", "past"] = Field(
        default="uniform",
        description="where opinions start: anywhere in [-1, 1], or the mean stance of the past",
    )
    influence: Influence = Field(
        default=FriedkinJohnsen(),
        description="what friends do to opinions: friedkin-johnsen | hegselmann-krause | "
        "deffuant | none",
    )
    exposure: Exposure = Field(
        default=Attraction(),
        description="what consumed stances do to opinions: attraction | bounded | latitude | "
        "assimilation | none",
    )
    false_below: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="items of a lower veracity are false; 0 = none is"
    )
    gullibility: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="share of remaining doubt that one false item takes away"
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="chance to share a consumed item that matches not at all"
    )
    share_slope: float = Field(
        default=3.0, description="logits which that chance gains by a perfect match"
    )
    reach: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="chance that a friend sees what was shared"
    )
    friend_slots: Annotated[int, Field(ge=0, le=64)] = Field(
        default=1, description="last slots of a slate that hold what friends shared"
    )
    rewiring: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="chance in a step that a friendship too far apart is replaced"
    )
    tolerance: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.6, description="opinions farther apart than this may end a friendship"
    )

    @model_validator(mode="after")
    def _both_ways(self) -> SocietySection:
        if self.rewiring and getattr(self.graph, "directed", False):
            raise ValueError(
                "rewiring replaces friendships that go both ways; set rewiring = 0 or "
                "graph.directed = false"
            )
        return self


class StayingSection(Section):
    """[staying]: who arrives, how often they come, who leaves (docs/society.md)."""

    arrive: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of people who come later, without a past"
    )
    arrive_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, description="chance in a step that one of them arrives"
    )
    week: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(), description="factors of activity, step by step, over and over"
    )
    burst: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="correlation of being there in two steps; means stay"
    )
    budget: Annotated[int, Field(ge=0)] = Field(
        default=0, description="visits a person has in a period, 0 = no limit"
    )
    period: Annotated[int, Field(ge=0)] = Field(
        default=0, description="steps of such a period, 0 = the whole run"
    )
    pleased_by: Literal["match", "choice", "satisfaction"] = Field(
        default="match",
        description="what a visit is worth: mean match of what was taken, 1 if something was, or "
        "the state that change = 'satisfaction' keeps",
    )
    memory: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.8, description="what satisfaction keeps after a visit"
    )
    expected: float = Field(
        default=0.3, description="where satisfaction starts, and what it is compared with"
    )
    leave: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="chance to leave after a visit, satisfied as expected; 0 = nobody"
    )
    leave_slope: float = Field(
        default=5.0, description="logits which that chance loses by a satisfaction one higher"
    )
    come_back: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="chance in a step that somebody who left returns, 0 = never"
    )
    return_slope: float = Field(
        default=0.0, description="what the chance to be there gains by a satisfaction one higher"
    )
