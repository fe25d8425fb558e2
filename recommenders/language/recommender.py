"""What all recommenders behind a chat endpoint share: ask, read, match, count.

A request becomes a conversation, its answer a list of titles, each title an item of the catalog or
UNKNOWN. Refused, broken and empty answers are rows with an error of their kind; what a title is
worth and what asking cost stands beside every row, so nothing that went wrong goes unseen.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ValidationError

from ..border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import CannotAnswer, UserError, unknown_name
from ..faults import KINDS, plain
from ..interactions import Interactions
from ..plugins.vocabulary import UNKNOWN
from .chat import ChatClient, ChatRequest, ready
from .lists import read_list
from .prompts import Prompt, numbered, prompt_from, quoted
from .settings import ChatSettings
from .titles import THRESHOLD, TitleMatcher
from .transport import ChatAnswer

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes:
        titles: as generated, best first.
        items: index of each title; UNKNOWN where the catalog has none.
        why: a sentence for each title, or empty.
        said: what was said to the person beside the titles, or None.
        fault: "" or one of ``faults.KINDS``; titles may be there all the same.
        because: one line about the fault.
    """

    titles: tuple[str, ...] = ()
    items: tuple[int, ...] = ()
    why: tuple[str, ...] = ()
    said: str | None = None
    fault: str = ""
    because: str = ""


class LanguageRecommender(ABC):
    """Asks a chat endpoint what to recommend; a subclass says how and reads the answer.

    Args:
        prompt: a template of your own: a text file, or the text; "" for the recommender's own.
        history_length: titles of the history that are told, the latest; 0 for all.
        longest_list: most titles asked for at once.
        attributes: what else is told of a person, by name: ``["age"]``. None by default.
        match: least similarity of a near spelling of a title, see :class:`.titles.TitleMatcher`.
        chat: keys of :class:`.settings.ChatSettings` (model, mode, record, base, key_env, ...).

    Raises:
        UserError: an unknown key, or an endpoint that cannot be asked.
    """

    name = "language"
    default_prompt = Prompt("", "")
    told: tuple[str, ...] = ("k", "history", "about", "critiques")
    outputs = frozenset({"items"})
    inputs = frozenset({"history", "text"})
    shape: type[BaseModel] | None = None
    """Of an answer in JSON; None for a list of lines."""
    further_arguments = ChatSettings

    def __init__(
        self,
        *,
        prompt: str = "",
        history_length: int = 20,
        longest_list: int = 20,
        attributes: Sequence[str] = (),
        match: float = THRESHOLD,
        **chat: Scalar,
    ) -> None:
        if history_length < 0 or longest_list < 1:
            raise UserError(
                f"{self.name}: history_length must be at least 0 and longest_list at least 1, "
                f"got {history_length} and {longest_list}"
            )
        self.settings = settings_from(chat, whose=self.name)
        ready(self.settings)
        self.prompt = prompt_from(prompt, self.default_prompt, known=self.told)
        self.history_length, self.longest_list = history_length, longest_list
        self.attributes = (attributes,) if isinstance(attributes, str) else tuple(attributes)
        self.match = match
        self.titles: tuple[str, ...] = ()
        self._matcher: TitleMatcher | None = TitleMatcher(
            (), threshold=match
        )  # looks for its extra
        self._client: ChatClient | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What a person has had matters, titles may not exist, answers cost."""
        asked = self.settings
        return Capabilities(
            history="any",
            stochastic=asked.temperature is None or asked.temperature > 0,
            seedable=asked.mode != "live",
            closed_catalog=False,
            outputs=self.outputs,
            inputs=self.inputs | ({"attributes"} if self.attributes else frozenset()),
            max_batch=4 * asked.concurrency,
            metered=True,
        )

    @property
    def paced(self) -> bool:
        """Whether limits of an endpoint must hold for everything asked in a study."""
        return self.settings.mode != "replay"

    # -- what it knows -----------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Learns the catalog's titles; the language model learns nothing."""
        self.learn_titles(catalog.titles)

    def add_items(self, catalog: Catalog) -> None:
        """Learns the titles of the items that entered."""
        self.learn_titles(catalog.titles)

    def learn_titles(self, titles: Sequence[str]) -> None:
        """From now on these can be told and recognised."""
        self.titles, self._matcher = tuple(titles), None

    def state(self) -> State:
        """The titles, as the bytes of a JSON text."""
        return {"titles": np.frombuffer(json.dumps(self.titles).encode(), np.uint8)}

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self.learn_titles(json.loads(np.asarray(state["titles"], np.uint8).tobytes()))

    @property
    def matcher(self) -> TitleMatcher:
        """Of the catalog's titles; made when it is first needed."""
        if self._matcher is None:
            self._matcher = TitleMatcher(self.titles, threshold=self.match)
        return self._matcher

    # -- serving -----------------------------------------------------------------------------------

    def recommend(self, requests: Requests) -> Slates:
        """One conversation a row, all rows of the batch at a time.

        Raises:
            CannotAnswer: nothing but the user can repair it: a wrong key, a record that lacks the
                question, an attribute that people do not have.
        """
        if not self.titles:
            raise UserError(f"{self.name}: call fit first; it needs the catalog's titles")
        if self._client is None:
            self._client = ChatClient(self.settings)
        asked = self.questions(requests)
        try:
            answers = self._client.ask(asked, shape=self.shape)
        except UserError as error:
            raise CannotAnswer(f"{self.name}: {error}") from None
        finally:
            self._client.close()  # nobody else will; the next batch connects again
        read = [self.reading(answer, requests, row) for row, answer in enumerate(answers)]
        return self._slates(requests, answers, read)

    def questions(self, requests: Requests) -> list[ChatRequest]:
        """What is asked for each row; its seed belongs to (seed, step, user), the same in every
        arm, and there is none where the endpoint draws nothing."""
        seeds: list[int | None] = [None] * len(requests)
        if self.capabilities.stochastic:
            luck = requests.uniform("language", 1)[:, 0]
            seeds = (luck * 2**31).astype(np.int64).tolist()
        return [
            ChatRequest(self.prompt.messages(self.tell(requests, row)), seed)
            for row, seed in enumerate(seeds)
        ]

    def tell(self, requests: Requests, row: int) -> dict[str, object]:
        """The placeholders of the prompt for one row."""
        history = [self.titles[i] for i in requests.history.row(row)[-self.history_length :]]
        told: dict[str, object] = {
            "k": min(requests.k, self.longest_list),
            "history": numbered(
                history[-self.history_length :] if self.history_length else history
            ),
            "about": self._about(requests, row),
            "critiques": "",
        }
        if requests.unwanted is not None and len(unwanted := requests.unwanted.row(row)):
            latest = [self.titles[i] for i in unwanted][-(self.history_length or 20) :]
            told["critiques"] = f"They said that they do not want:\n{numbered(latest)}\n"
        return told

    def _about(self, requests: Requests, row: int) -> str:
        for name in self.attributes:
            if name not in requests.attributes:
                has = ", ".join(sorted(requests.attributes)) or "none"
                raise CannotAnswer(
                    f"{self.name}: people have no attribute {name!r}; they have {has}"
                )
        said = [
            f"{quoted(name, 40)}: {quoted(str(requests.attributes[name][row]), 40)}"
            for name in self.attributes
        ]
        return f"The person: {', '.join(said)}.\n" if said else ""

    @abstractmethod
    def reading(self, answer: ChatAnswer, requests: Requests, row: int) -> Reading:
        """What an answer says; a subclass reads its own form."""

    def read_lines(self, answer: ChatAnswer) -> Reading:
        """Titles of a list of lines; whole lines of an answer that broke off are kept."""
        broke_off = answer.fault == "truncated"
        if answer.fault and not broke_off:
            return Reading(fault=answer.fault, because=answer.why)
        titles = tuple(read_list(answer.text, broke_off=broke_off))
        if broke_off:
            return Reading(titles, self.looked_up(titles), (), None, "truncated", answer.why)
        if not titles:
            return Reading(fault="no_titles", because=answer.text)
        return Reading(titles, self.looked_up(titles))

    def looked_up(self, titles: Sequence[str]) -> tuple[int, ...]:
        """The item of each title, UNKNOWN where there is none."""
        found = self.matcher.match_all(titles)
        return tuple(UNKNOWN if match.item < 0 else match.item for match in found)

    def _slates(
        self, requests: Requests, answers: Sequence[ChatAnswer], read: Sequence[Reading]
    ) -> Slates:
        n, k = len(requests), requests.k
        items = np.full((n, k), NOTHING, np.int32)
        for row, one in enumerate(read):
            items[row, : len(one.items)] = one.items[:k]
        said = [one.said for one in read]
        why = tuple((*one.why, *[None] * k)[:k] for one in read)
        errors = [_error(one) for one in read]
        return Slates(
            items,
            text=why if any(one.why for one in read) else None,
            slate_text=tuple(said) if any(said) else None,
            raw_names=tuple(one.titles[:k] for one in read),
            errors=tuple(errors) if any(errors) else None,
            latency_seconds=np.array([answer.seconds for answer in answers]),
            usage=tuple(map(self._usage, answers, read)),
        )

    def _usage(self, answer: ChatAnswer, read: Reading) -> dict[str, float]:
        """The same for an answer given now and one from the record."""
        asked = self.settings
        sent, answered = answer.prompt_tokens or 0, answer.completion_tokens or 0
        return {
            "prompt_tokens": float(sent),
            "completion_tokens": float(answered),
            "unmetered": float(answer.prompt_tokens is None or answer.completion_tokens is None),
            "cost": (sent * asked.input_price + answered * asked.output_price) / 1e6,
            "titles": float(len(read.titles)),
            "titles_not_in_catalog": float(sum(item == UNKNOWN for item in read.items)),
        }


def _error(read: Reading) -> str | None:
    """A row's error as the guard counts it: its kind, and what was wrong."""
    return f"{read.fault}: {read.because or KINDS[read.fault]}" if read.fault else None


def settings_from(given: dict[str, Scalar], *, whose: str) -> ChatSettings:
    """Chat settings from a recommender's arguments, complete enough to ask or to replay.

    Raises:
        UserError: an unknown key, a value that does not fit, or something that is missing.
    """
    for name in given:
        if name not in ChatSettings.model_fields:
            raise UserError(f"{whose}: {unknown_name('argument', name, ChatSettings.model_fields)}")
    try:
        settings = ChatSettings.model_validate(given)
    except ValidationError as error:
        one = error.errors(include_url=False)[0]
        raise UserError(
            f"{whose}: {one['loc'][0]}: {one['msg']}, got {plain(repr(one['input']))}"
        ) from None
    if lacks := settings.lacks():
        raise UserError(f"{whose}: {lacks} (in the recommender's args)")
    return settings
