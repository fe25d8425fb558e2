"""A language model that picks from what another recommender retrieved: only what exists is shown.

Any recommender of this house retrieves candidates; the model sees their numbered titles beside the
history and answers with numbers. Hou et al., "Large Language Models are Zero-Shot Rankers for
Recommender Systems", ECIR 2024. What is not among the candidates cannot be recommended, so the
retriever's own concentration bounds the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .. import registry
from ..border import Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import UserError
from ..guard import Guard
from ..interactions import Interactions
from .prompts import RERANKED, RERANKED_EXPLAINED, numbered
from .recommender import LanguageRecommender, Reading, Scalar
from .structured import read_structured
from .transport import ChatAnswer

_OWN = "retriever/"


class Pick(BaseModel):
    """One pick: a candidate's number, and why it is for this person."""

    model_config = ConfigDict(extra="ignore")

    number: int
    why: str = ""


class Picks(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(extra="ignore")

    picks: list[int]


class ExplainedPicks(BaseModel):
    """The form of an answer with explanations."""

    model_config = ConfigDict(extra="ignore")

    picks: list[Pick]


class Reranked(LanguageRecommender):
    """Picks from another recommender's candidates.

    Args:
        retriever: name of the recommender that retrieves, as anywhere: "ease", "tfidf", a file.
        candidates: how many it retrieves.
        explain: ask for a sentence with every pick.
        prompt, history_length, longest_list, attributes, chat: see :class:`LanguageRecommender`.
            The prompt may also hold $candidates, the numbered titles.
    """

    name = "rerank"
    told = (*LanguageRecommender.told, "candidates")

    def __init__(
        self,
        *,
        retriever: str = "ease",
        candidates: int = 20,
        explain: bool = False,
        prompt: str = "",
        history_length: int = 20,
        longest_list: int = 20,
        attributes: Sequence[str] = (),
        **chat: Scalar,
    ) -> None:
        self.default_prompt = RERANKED_EXPLAINED if explain else RERANKED
        self.shape = ExplainedPicks if explain else Picks
        self.outputs = frozenset({"items", "explanations"} if explain else {"items"})
        super().__init__(
            prompt=prompt,
            history_length=history_length,
            longest_list=longest_list,
            attributes=attributes,
            match=1.0,
            **chat,
        )
        if candidates < 1:
            raise UserError(f"rerank: candidates must be at least 1, got {candidates}")
        self.retriever, self.n_candidates = retriever, candidates
        self._retrieves = Guard(registry.create(retriever), n_items=1)
        self._candidates: NDArray[np.int32] = np.empty((0, 0), np.int32)

    @property
    def capabilities(self) -> Capabilities:
        """Only what exists can be picked; the retriever learns anew at every update."""
        learns = self._retrieves.capabilities.update != "none"
        own = super().capabilities
        return replace(own, closed_catalog=True, update="refit" if learns else "none")

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Fits the retriever and learns the catalog's titles."""
        super().fit(log, catalog, seed=seed, progress=progress)
        self._retrieves = Guard(registry.create(self.retriever), n_items=len(catalog))
        self._retrieves.fit(log, catalog, seed=seed, progress=progress)
        self._demand_sound()

    def add_items(self, catalog: Catalog) -> None:
        """Learns the new titles; the retriever takes the items in now or at its next fit."""
        super().add_items(catalog)
        self._retrieves.add_items(catalog)

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """Only these items are retrieved from now on."""
        self._retrieves.withdraw(available)

    def state(self) -> State:
        """The titles and the retriever's memory."""
        held = self._retrieves.state()
        if held is None:
            raise UserError(f"rerank: the retriever {self.retriever!r} cannot be saved")
        known = {f"{_OWN}{name}": value for name, value in held.items()}
        return {**super().state(), "known": self._retrieves.grown(), **known}

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        super().load_state(state)
        self._retrieves = Guard(registry.create(self.retriever), n_items=len(self.titles))
        self._retrieves.known = int(np.asarray(state["known"])[0])
        self._retrieves.load_state(
            {name.removeprefix(_OWN): v for name, v in state.items() if name.startswith(_OWN)}
        )
        self._demand_sound()

    def recommend(self, requests: Requests) -> Slates:
        """Retrieves for all rows of the batch, then asks."""
        asked = replace(requests, k=self.n_candidates)
        self._candidates = self._retrieves.recommend(asked).items
        return super().recommend(requests)

    def tell(self, requests: Requests, row: int) -> dict[str, object]:
        """The placeholders, with the candidates."""
        told = super().tell(requests, row)
        found = self._of_row(row)
        told["candidates"] = numbered(self.titles[item] for item in found)
        told["k"] = min(requests.k, self.longest_list, len(found))
        return told

    def reading(self, answer: ChatAnswer, requests: Requests, row: int) -> Reading:
        """The candidates of the numbers; a number that was not given makes the answer not valid."""
        if answer.fault:
            return Reading(fault=answer.fault, because=answer.why)
        assert self.shape is not None
        read = read_structured(answer.text, self.shape)
        if read.value is None:
            return Reading(fault=read.fault, because=read.why)
        if isinstance(read.value, ExplainedPicks):
            picks = [one.number for one in read.value.picks]
            why = tuple(one.why for one in read.value.picks)
        else:
            picks, why = read.value.picks, ()  # type: ignore[attr-defined]
        found = self._of_row(row)
        for number in picks:
            if not 1 <= number <= len(found):
                because = f"picks: {number} is none of the {len(found)} candidates"
                return Reading(fault="not_valid", because=because)
        if not picks:
            return Reading(fault="no_titles", because=answer.text)
        items = tuple(found[number - 1] for number in picks)
        return Reading(tuple(self.titles[item] for item in items), items, why)

    def _of_row(self, row: int) -> list[int]:
        return [item for item in self._candidates[row].tolist() if item >= 0]

    def _demand_sound(self) -> None:
        """A retriever that failed is no retriever."""
        if self._retrieves.faults.off:
            said = "; ".join(self._retrieves.faults.examples)
            raise UserError(f"rerank: the retriever {self.retriever!r} failed: {said}")
