"""What study.toml says of supply: who makes items, machines that flood, adversaries who push.

The equations stand in making.py, creators.py, generators.py and attacks.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..section import Section


class SupplySection(Section):
    """[supply]: who makes new items, and what becomes of old ones."""

    release: Annotated[int, Field(ge=0)] = Field(
        default=1, description="items that a creator releases each time, 0 = nothing new is made"
    )
    every: Annotated[int, Field(ge=1)] = Field(default=5, description="steps between releases")
    creators: Annotated[int, Field(ge=1)] = Field(
        default=20, description="how many, where the catalog's items name no provider"
    )
    concentration: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="items are drawn from Dirichlet(concentration x profile)"
    )
    follow: Annotated[float, Field(ge=0)] = Field(
        default=0.0005, description="a click adds so much of the item to its creator's profile"
    )
    fresh_slots: Annotated[int, Field(ge=0)] = Field(
        default=0, description="slots of each slate that platforms fill with new items by chance"
    )
    fresh_steps: Annotated[int, Field(ge=1)] = Field(
        default=10, description="steps that an item counts as new for them"
    )
    allot: Literal["equal", "viability"] = Field(
        default="equal", description="who releases: all alike, or by discounted clicks"
    )
    weight: Annotated[float, Field(ge=0)] = Field(
        default=2.0, description="viability is softmax(weight x log(1 + discounted clicks))"
    )
    discount: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.96, description="what clicks count one step later"
    )
    leave_below: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="creators leave below this share of the mean viability, 0 = never"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=10, description="steps before a creator may leave"
    )
    take_along: bool = Field(default=False, description="who leaves takes all items along")
    enter: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="creators who enter in a step, on average"
    )
    lifetime: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="mean steps that an item stays available, 0 = for ever"
    )
    awareness_half_life: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="steps that halve the odds to find an item by oneself, 0 = never"
    )
    appeal_half_life: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="steps that halve the odds to take an item, 0 = never"
    )

    @model_validator(mode="after")
    def _lives_a_step(self) -> SupplySection:
        if 0 < self.lifetime < 1:
            raise ValueError(
                f"lifetime must be 0 (for ever) or at least 1 step, got {self.lifetime}"
            )
        return self


class GeneratorsSection(Section):
    """[generators]: machines that copy what sells and flood the catalog."""

    rate: Annotated[float, Field(ge=0)] = Field(
        default=5.0, description="items they make in a step, on average"
    )
    start: Annotated[int, Field(ge=0)] = Field(default=0, description="step of the first ones")
    share_cap: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="share of the available items they may hold at most"
    )
    copy_of: Annotated[int, Field(ge=1)] = Field(
        default=20, description="they copy one of so many items that were clicked most of late"
    )
    discount: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="what clicks count one step later"
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        default=0.3, description="how far a copy is from its model, 0 = the same features"
    )
    images: Literal["copied", "drawn"] = Field(
        default="copied",
        description="pictures, where the catalog has some: the model's own, or drawn near it",
    )
    appeal: float = Field(
        default=0.0, description="utility of a copy less that of its model, in logits"
    )
    awareness: float = Field(
        default=0.0, description="awareness of a copy less that of its model, in logits"
    )


class AdversarySection(Section):
    """[[adversaries]]: fake profiles that push an item into recommendations."""

    name: str = Field(
        default="attack",
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        description="names its measures: <name>_hr10 and so on",
    )
    kind: Literal["random", "average", "bandwagon", "segment"] = Field(
        default="bandwagon", description="what fake people consume beside the target"
    )
    step: Annotated[int, Field(ge=0)] = Field(default=5, description="when they come")
    profiles: Annotated[int, Field(ge=0)] = Field(default=50, description="fake people")
    filler: Annotated[int, Field(ge=0)] = Field(
        default=36, description="further items that each consumes"
    )
    selected: Annotated[int, Field(ge=1)] = Field(
        default=5, description="most consumed items that each holds (bandwagon, segment)"
    )
    target: str = Field(
        default="", description="id of the item; empty: drawn from the less consumed half"
    )
    segment: str = Field(
        default="", description="topic whose people are aimed at; empty: the target's own"
    )
    new_item: bool = Field(
        default=False, description="the target is a new item that the adversary puts in"
    )
    appeal: float = Field(default=0.0, description="quality of that item, in logits")
    probe_every: Annotated[int, Field(ge=1)] = Field(
        default=5, description="steps between measurements of the target's rank"
    )

    def looks_at(self, step: int) -> bool:
        """Whether the target's rank is measured in a step."""
        return (step - self.step) % self.probe_every == 0

    @model_validator(mode="after")
    def _one_target(self) -> AdversarySection:
        if self.new_item and self.target:
            raise ValueError(
                f"the target is a new item or {self.target!r}; leave out new_item or target"
            )
        return self
