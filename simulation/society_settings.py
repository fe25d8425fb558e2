"""What study.toml says of staying: who arrives, comes, leaves and returns.

The equations stand in staying.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section

# Who comes, returns and leaves -------------------------------------------------------------------


class StayingSection(Section):
    """[staying]: who arrives, how often they come, who leaves."""

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
