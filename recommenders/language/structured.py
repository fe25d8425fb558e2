"""Reads a structured answer from what a language model wrote around it, and never guesses.

Models wrap JSON in code fences, greet before it and explain after it. Every JSON object in the
text is tried against what was asked for; if objects with different contents fit, the answer is
ambiguous, because picking one would let a quoted item title answer in the model's place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from ..faults import plain

Shape = TypeVar("Shape", bound=BaseModel)

_MAX_TEXT = 100_000
_MAX_OBJECTS = 100
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)


@dataclass(frozen=True)
class Structured(Generic[Shape]):
    """A validated answer, or the kind of fault and why.

    Attributes:
        value: what was asked for; None when there is a fault.
        fault: "" or one of ``faults.KINDS``.
        why: one line for people; hostile until escaped.
    """

    value: Shape | None
    fault: str = ""
    why: str = ""


def read_structured(text: str, shape: type[Shape]) -> Structured[Shape]:
    """The one object of the wanted shape in a text.

    Args:
        text: what the model wrote: plain JSON, fenced, or in the middle of prose.
        shape: a pydantic model.

    Returns:
        The value, or the fault "empty", "not_json", "not_valid" or "ambiguous".

    >>> class Pick(BaseModel):
    ...     take: list[int]
    >>> read_structured('Sure! ```json\\n{"take": [1]}\\n``` Enjoy.', Pick).value
    Pick(take=[1])
    >>> read_structured('{"take": [1]} or rather {"take": [2]}', Pick).fault
    'ambiguous'
    """
    text = spoken(text)
    if not text.strip():
        return Structured(None, "empty")
    first_error = ""
    found: Shape | None = None
    for candidate in _objects(text):
        try:
            value = shape.model_validate(candidate)
        except ValidationError as error:
            first_error = first_error or _complaint(error)
            continue
        if found is not None and value != found:
            return Structured(None, "ambiguous", plain(text))
        found = value
    if found is not None:
        return Structured(found)
    if first_error:
        return Structured(None, "not_valid", first_error)
    return Structured(None, "not_json", plain(text))


def spoken(text: str) -> str:
    """What a model said, without what it thought aloud before."""
    return _THOUGHT.sub("", text[:_MAX_TEXT])


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Every outermost JSON object in a text, from left to right."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at, tried = text.find("{"), 0
    while at >= 0 and tried < _MAX_OBJECTS:
        tried += 1
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:
            return  # nested beyond all reason
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                return  # broke off: what stands inside half an object answers nothing
            end = at + 1
        except ValueError:  # no JSON number
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _complaint(error: ValidationError) -> str:
    one = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in one["loc"])
    return plain(f"{place}: {one['msg']}" if place else one["msg"])
