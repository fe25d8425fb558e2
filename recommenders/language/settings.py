"""Settings of a chat endpoint: where it is, how patiently it is asked, where answers are kept.

``mode = "replay"`` answers from the record alone, without network or key; ``"record"`` asks for
what the record lacks and keeps it; ``"live"`` asks for everything and keeps nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ChatSettings(BaseModel):
    """[chat]: an OpenAI-compatible chat endpoint, and the record of its answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default="", description="the model's name, as the endpoint knows it")
    mode: Literal["live", "record", "replay"] = Field(
        default="replay",
        description="only from the record; or ask for the rest; or ask, keep nothing",
    )
    record: str = Field(default="", description="JSON-lines file of requests and answers")
    base: str = Field(
        default="", description="https://host of the endpoint; /v1/chat/completions is added"
    )
    key_env: str = Field(
        default="", description="environment variable that holds the API key; empty for no key"
    )
    temperature: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of sampling; left out: the endpoint's own"
    )
    max_tokens: Annotated[int, Field(ge=0)] = Field(
        default=500, description="longest answer; 0: the endpoint's own limit"
    )
    send_seed: bool = Field(
        default=True, description="send `seed` too; false for endpoints that reject it"
    )
    response_format: Literal["none", "json_object", "json_schema"] = Field(
        default="none", description="asks the endpoint for JSON, beside the prompt"
    )
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        default=8, description="requests under way at a time"
    )
    per_minute: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="requests a minute; 0 for no limit"
    )
    seconds: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="time limit of one try, to the last byte"
    )
    tries: Annotated[int, Field(ge=1)] = Field(
        default=5, description="how often a request is tried"
    )
    backoff: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="seconds before the second try; doubles with every further one"
    )
    longest_wait: Annotated[float, Field(ge=0)] = Field(
        default=120.0, description="a Retry-After beyond these seconds ends the tries"
    )
    input_price: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="price of a million tokens sent, in your currency"
    )
    output_price: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="price of a million tokens answered"
    )
    budget: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="money that all answers of the record may cost (live: of this run of it), "
        "after which nothing more is asked; 0 for no limit",
    )

    def lacks(self) -> str:
        """What must still be set before a question can be answered; "" when nothing."""
        if self.mode != "live" and not self.record:
            return f"mode = {self.mode!r} needs record = '...', the file of answers"
        if self.mode != "replay" and not self.base:
            return f"mode = {self.mode!r} needs base = 'https://...', the endpoint"
        if self.budget and not (self.input_price or self.output_price):
            return "budget needs input_price and output_price, or nothing is ever spent"
        return "" if self.model else "model = '...' is missing: the name of the language model"
