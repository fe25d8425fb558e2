"""A language model that recommends in the middle of a conversation, and answers in words as well.

He et al., "Large Language Models as Zero-Shot Conversational Recommenders", CIKM 2023. What was
said so far comes with the request (``Requests.dialogue``); what a person did not want is told as a
critique. Its reply stands in ``Slates.slate_text``, the titles it names are matched to the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..border import Requests
from .lists import clean
from .prompts import CONVERSATION, spoken_turns
from .recommender import LanguageRecommender, Reading, Scalar
from .structured import read_structured
from .titles import THRESHOLD
from .transport import ChatAnswer


class Said(BaseModel):
    """The form of an answer: what is said to the person, and titles."""

    model_config = ConfigDict(extra="ignore")

    titles: list[str]
    say: str = ""


class Conversation(LanguageRecommender):
    """Names titles as its next turn.

    Args:
        answer: "json" for words and titles apart, "lines" for a numbered list and nothing else.
        turns: latest turns of a conversation that are told; 0 for all.
        prompt, history_length, longest_list, attributes, match, chat: see
            :class:`LanguageRecommender`. The prompt may also hold $dialogue, and
            $verbatim_dialogue: the turns unquoted, each with its line's end, for prompts that were
            published so.
    """

    name = "conversation"
    default_prompt = CONVERSATION
    told = (*LanguageRecommender.told, "dialogue", "verbatim_dialogue")
    outputs = frozenset({"items", "dialogue"})
    inputs = frozenset({"history", "text", "dialogue"})

    def __init__(
        self,
        *,
        answer: Literal["json", "lines"] = "json",
        turns: int = 0,
        prompt: str = "",
        history_length: int = 20,
        longest_list: int = 20,
        attributes: Sequence[str] = (),
        match: float = THRESHOLD,
        **chat: Scalar,
    ) -> None:
        self.shape = Said if answer == "json" else None
        self.turns = turns
        super().__init__(
            prompt=prompt,
            history_length=history_length,
            longest_list=longest_list,
            attributes=attributes,
            match=match,
            **chat,
        )

    def tell(self, requests: Requests, row: int) -> dict[str, object]:
        """The placeholders, with what was said so far."""
        told = super().tell(requests, row)
        turns = () if requests.dialogue is None else requests.dialogue[row][-self.turns :]
        told["dialogue"] = spoken_turns(turns) or "(nobody has spoken yet)"
        told["verbatim_dialogue"] = spoken_turns(turns, quote=False) + ("\n" if turns else "")
        return told

    def reading(self, answer: ChatAnswer, requests: Requests, row: int) -> Reading:
        """Words and titles of a JSON object, or the titles of a list."""
        if self.shape is None:
            return self.read_lines(answer)
        if answer.fault:
            return Reading(fault=answer.fault, because=answer.why)
        read = read_structured(answer.text, Said)
        if read.value is None:
            return Reading(fault=read.fault, because=read.why)
        titles = tuple(clean(title) for title in read.value.titles if title.strip())
        if not titles:
            return Reading(said=read.value.say, fault="no_titles", because=answer.text)
        return Reading(titles, self.looked_up(titles), said=read.value.say)
