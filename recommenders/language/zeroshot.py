"""A language model that is told a history and names titles, without examples or training.

Hou et al., "Large Language Models are Zero-Shot Rankers for Recommender Systems", ECIR 2024, and
He et al., "Large Language Models as Zero-Shot Conversational Recommenders", CIKM 2023. The model
names what it knows, not what the catalog holds: titles that match no item are counted, and the
person sees a shorter list.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from ..border import Requests
from .lists import clean
from .prompts import EXPLAINED, ZERO_SHOT
from .recommender import LanguageRecommender, Reading, Scalar
from .structured import read_structured
from .titles import THRESHOLD
from .transport import ChatAnswer


class Named(BaseModel):
    """One recommendation: a title, and why it is for this person."""

    model_config = ConfigDict(extra="ignore")

    title: str
    why: str = ""


class Recommendations(BaseModel):
    """The form of an answer with explanations."""

    model_config = ConfigDict(extra="ignore")

    recommendations: list[Named]


class ZeroShot(LanguageRecommender):
    """Names titles for a history.

    Args:
        explain: ask for a sentence with every title; answers are then JSON.
        prompt, history_length, longest_list, attributes, match, chat: see
            :class:`LanguageRecommender`. The prompt may hold $k, $history, $about (the attributes)
            and $critiques (what the person did not want).
    """

    name = "zeroshot"

    def __init__(
        self,
        *,
        explain: bool = False,
        prompt: str = "",
        history_length: int = 20,
        longest_list: int = 20,
        attributes: Sequence[str] = (),
        match: float = THRESHOLD,
        **chat: Scalar,
    ) -> None:
        self.default_prompt = EXPLAINED if explain else ZERO_SHOT
        self.shape = Recommendations if explain else None
        self.outputs = frozenset({"items", "explanations"} if explain else {"items"})
        super().__init__(
            prompt=prompt,
            history_length=history_length,
            longest_list=longest_list,
            attributes=attributes,
            match=match,
            **chat,
        )

    def reading(self, answer: ChatAnswer, requests: Requests, row: int) -> Reading:
        """Titles of a list of lines, or of a JSON object with explanations."""
        if self.shape is None:
            return self.read_lines(answer)
        if answer.fault:
            return Reading(fault=answer.fault, because=answer.why)
        read = read_structured(answer.text, Recommendations)
        if read.value is None:
            return Reading(fault=read.fault, because=read.why)
        named = [one for one in read.value.recommendations if one.title.strip()]
        if not named:
            return Reading(fault="no_titles", because=answer.text)
        titles = tuple(clean(one.title) for one in named)
        return Reading(titles, self.looked_up(titles), tuple(one.why for one in named))
