"""[audit]: which questions an audit asks of a run, and how strict it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section


class AuditSection(Section):
    """[audit]: which questions, how strict."""

    families: tuple[Literal["bubbles", "bias", "manipulation", "privacy", "generation"], ...] = (
        Field(
            default=("bubbles", "bias", "manipulation", "privacy"),
            description="families of questions; generation is for recommenders that write",
        )
    )
    auditors: tuple[str, ...] = Field(
        default=(), description="plug-in auditors by entry-point name or module:attr"
    )
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.05, description="one-sided level of every check"
    )
    tau: dict[str, float] = Field(
        default_factory=dict, description="materiality thresholds by check id"
    )
    group: str = Field(default="gender", description="the user attribute that bias audits compare")
    user_models: tuple[Literal["habitual", "curious", "impressionable"], ...] = Field(
        default=("curious", "impressionable"),
        description="loop findings are repeated under these user models",
    )
    sensitivity_worlds: Annotated[int, Field(ge=0)] = Field(
        default=5, description="worlds lived under each of these user models, 0 = none"
    )
    shadows: Annotated[int, Field(ge=2)] = Field(
        default=8, description="shadow models the privacy audit trains"
    )
    allow_inconclusive: bool = Field(
        default=False, description="exit 0 instead of 4 when undecided"
    )
