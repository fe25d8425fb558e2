"""Any causal language model of Hugging Face as a recommender, as it is or tuned by LoRA.

The history is written out as text and the model continues it with a title: one that exists, by
constrained decoding, or whatever it says. Tuning adds low-rank matrices to its linear layers and
trains those alone (E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022)
to continue histories as people did, as BIGRec does (K. Bao et al., arXiv 2308.08434). People are
served one by one: a batch would round differently for each size.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ..catalog import Catalog
from ..errors import UserError
from ..faults import plain
from ..generative.networks import seeded
from ..generative.text.titles import names
from ..generative.training_loop import Learner, TrainsInEpochs
from ..interactions import Interactions
from ..plugins.vocabulary import UNKNOWN
from ..randomness import generator
from .decoding import Network, TitleTree, best_titles, drawn_titles
from .prompts import Prompt, prompt_from
from .titles import THRESHOLD, TitleMatcher

HISTORY = Prompt("", "Titles that one person chose, in this order:\n$history\nNext:")


class CausalLM(TrainsInEpochs):
    """Continues the text of a history with titles.

    Args:
        model: a folder with a causal model and its tokenizer, or a name on the Hub.
        download: whether a model that is in no folder may be fetched.
        decode: "constrained" to the titles of the catalog, or "free".
        beams: titles looked for at most (constrained), or drawn (free), for each person.
        temperature: of free titles; 0 says the most probable one again and again.
        longest_title: tokens after which a title is broken off.
        history_length: titles of the history that are told, the latest.
        prompt: a template of your own, with $history; a text file, or the text.
        match: least similarity of a near spelling of a free title, see titles.py.
        lora_rank: of the matrices that tuning adds to every linear layer; 0 leaves it as it is.
        learning_rate: of Adam; batch_size: continued histories a step.
        epochs: passes when fitting; update_epochs: passes over what is new when updating.
        examples: continued histories that an epoch holds at most, drawn from the log.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        losses: mean cross-entropy (nats a token) of each epoch since the last fit.

    Raises:
        UserError: an argument that does not fit, a library is missing, or no such model.
    """

    name = "hf"

    def __init__(
        self,
        *,
        model: str,
        download: bool = False,
        decode: Literal["constrained", "free"] = "constrained",
        beams: int = 40,
        temperature: float = 1.0,
        longest_title: int = 32,
        history_length: int = 10,
        prompt: str = "",
        match: float = THRESHOLD,
        lora_rank: int = 0,
        learning_rate: float = 1e-3,
        batch_size: int = 8,
        epochs: int = 1,
        update_epochs: int = 1,
        examples: int = 2000,
        seed: int = 0,
    ) -> None:
        if decode not in ("constrained", "free"):
            raise UserError(f"hf: decode must be 'constrained' or 'free', got {decode!r}")
        if min(beams, longest_title, history_length, batch_size, examples) < 1 or lora_rank < 0:
            raise UserError(
                "hf: beams, longest_title, history_length, batch_size and examples must be at "
                "least 1, and lora_rank at least 0"
            )
        for library in ("transformers", "peft") if lora_rank else ("transformers",):
            if find_spec(library) is None:
                raise UserError(f"hf needs {library}: pip install 'loopaudit[hf]'")
        if not download and not Path(model).is_dir():
            raise UserError(
                f"hf: there is no folder {model!r}; name one with a model and its tokenizer, or "
                "set download = true for a name on the Hub"
            )
        self.model, self.download, self.decode = model, download, decode
        self.beams, self.temperature, self.longest_title = beams, temperature, longest_title
        self.history_length, self.match = history_length, match
        self.prompt = prompt_from(prompt, HISTORY, known=("history",))
        self.lora_rank, self.learning_rate, self.batch_size = lora_rank, learning_rate, batch_size
        self.epochs, self.update_epochs, self.examples = epochs, update_epochs, examples
        self.seed = seed
        self.losses: list[float] = []
        self._learn_titles(())
        if decode == "free":
            TitleMatcher((), threshold=match)  # says now what it lacks

    @property
    def capabilities(self) -> Capabilities:
        """Tuned models learn on; free ones draw, and may name what does not exist."""
        free = self.decode == "free"
        return Capabilities(
            history="any",
            stochastic=free and self.temperature > 0,
            closed_catalog=not free,
            inputs=frozenset({"history", "text"}),
            update="incremental" if self.lora_rank else "none",
        )

    # -- the model -----------------------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> Any:
        """The model's own."""
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(self.model, local_files_only=not self.download)
        if found.eos_token_id is None:
            raise UserError(f"hf: the tokenizer of {self.model!r} has no token that ends a text")
        return found

    @cached_property
    def network(self) -> Network:  # type: ignore[override]  # made when first needed
        """The model, with LoRA's matrices where it is tuned."""
        from transformers import AutoModelForCausalLM

        found = AutoModelForCausalLM.from_pretrained(
            self.model, local_files_only=not self.download, dtype=torch.float32
        )
        if self.lora_rank:
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(
                r=self.lora_rank,
                lora_alpha=2 * self.lora_rank,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            )
            with warnings.catch_warnings():  # it asks transformers for what is deprecated there
                warnings.simplefilter("ignore", FutureWarning)
                found = get_peft_model(found, config)
        return found.eval()  # dropout would draw from the process-wide generator

    @cached_property
    def adapters(self) -> nn.ParameterDict:
        """LoRA's matrices, by name."""
        own = {n: p for n, p in self.network.named_parameters() if p.requires_grad}
        return nn.ParameterDict({name.replace(".", "/"): p for name, p in own.items()})

    @cached_property
    def adam(self) -> torch.optim.Optimizer:  # type: ignore[override]
        """Of LoRA's matrices."""
        return torch.optim.Adam(self.adapters.parameters(), lr=self.learning_rate)

    def _learners(self) -> dict[str, Learner]:
        return {"lora/": (self.adapters, self.adam)} if self.lora_rank else {}

    def _reset(self, seed: int) -> None:
        """LoRA's matrices as its authors begin: A uniform by Kaiming's rule, B zero."""
        luck = seeded(seed, "hf", "lora", self.seed)
        with torch.no_grad():
            for name, matrix in self.adapters.items():
                if "lora_A" in name:
                    nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=luck)
                else:
                    nn.init.zeros_(matrix)
        self.adam.state.clear()
        self.losses = []

    # -- what it knows of the catalog ------------------------------------------------------------

    def _learn_titles(self, titles: Sequence[str]) -> None:
        self.titles = tuple(plain(title) for title in titles)
        for made in ("tree", "matcher", "title_tokens"):
            self.__dict__.pop(made, None)

    @cached_property
    def title_tokens(self) -> list[list[int]]:
        """The tokens of each item's title, its end included; titles that are alike are numbered."""
        end = self.tokenizer.eos_token_id
        said = [f" {name}" if name else " ?" for name in names(self.titles)]
        found = self.tokenizer(said, add_special_tokens=False)["input_ids"]
        rows, known = [], dict[tuple[int, ...], int]()
        for item, tokens in enumerate(found):
            row = [*tokens[: self.longest_title], end]
            while tuple(row) in known:  # cut off, or spelt alike by this tokenizer
                row = [*row[:-1], *self._number(item), end]
            known[tuple(row)] = item
            rows.append(row)
        return rows

    def _number(self, item: int) -> list[int]:
        found: list[int] = self.tokenizer(f" #{item}", add_special_tokens=False)["input_ids"]
        return found or [self.tokenizer.eos_token_id]

    @cached_property
    def tree(self) -> TitleTree:
        """Of all titles."""
        return TitleTree(self.title_tokens)

    @cached_property
    def matcher(self) -> TitleMatcher:
        """Of the catalog's titles."""
        return TitleMatcher(self.titles, threshold=self.match)

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Learns the titles, and tunes from the model's own weights where ``lora_rank`` is set."""
        self._learn_titles(catalog.titles)
        if self.lora_rank:
            self._reset(seed)
            self._tune(log, 0, self.epochs, seed, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Tunes on, on what was chosen from row ``since`` on."""
        if self.lora_rank:
            self._tune(log, since, self.update_epochs, seed, None)

    def add_items(self, catalog: Catalog) -> None:
        """New titles can be told and said at once."""
        self._learn_titles(catalog.titles)

    def _tune(
        self, log: Interactions, since: int, epochs: int, seed: int, progress: Progress | None
    ) -> None:
        """``epochs`` passes over chosen continuations; the seed says which and in what order."""
        order = np.lexsort((np.arange(len(log)), log.user))  # rows by person, in time order
        place = np.arange(len(log)) - np.searchsorted(log.user[order], log.user[order])
        rows = np.flatnonzero((place > 0) & (order >= since))  # something stands before it
        if len(rows) == 0:
            return
        luck = generator(seed, "hf", "examples", self.seed, since)
        for epoch in self._epochs(epochs, luck, progress):
            chosen = rows[luck.permutation(len(rows))[: self.examples]]
            for tokens, exists, target in self._batches(log.item[order], place, chosen):
                said = self.network(input_ids=tokens, attention_mask=exists).logits[:, :-1]
                loss = nn.functional.cross_entropy(said.flatten(0, 1), target[:, 1:].flatten())
                epoch.step(self.adam, loss, weight=int((target[:, 1:] >= 0).sum()))

    def _batches(
        self, items: NDArray[np.int32], place: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tokens, which of them exist, and which are learned (-100 for those that are not)."""
        for at in range(0, len(rows), self.batch_size):
            told, said = [], []
            for row in rows[at : at + self.batch_size].tolist():
                before = items[max(row - place[row], row - self.history_length) : row]
                told.append(self._prompt_tokens(before))
                said.append(self.title_tokens[items[row]])
            longest = max(len(a) + len(b) for a, b in zip(told, said, strict=True))
            tokens = torch.zeros(len(told), longest, dtype=torch.int64)
            exists, target = torch.zeros_like(tokens), torch.full_like(tokens, -100)
            for n, (a, b) in enumerate(zip(told, said, strict=True)):
                tokens[n, : len(a) + len(b)] = torch.tensor([*a, *b])
                exists[n, : len(a) + len(b)] = 1
                target[n, len(a) : len(a) + len(b)] = torch.tensor(b)
            yield tokens, exists, target

    # -- serving -------------------------------------------------------------------------------

    def _prompt_tokens(self, history: Sequence[int] | NDArray[np.integer]) -> list[int]:
        latest = [self.titles[item] for item in history][-self.history_length :]
        messages = self.prompt.messages({"history": "\n".join(latest) or "(none yet)"})
        text = "\n".join(message.content for message in messages)
        found: list[int] = self.tokenizer(text)["input_ids"]
        return found

    def recommend(self, requests: Requests) -> Slates:
        """The most probable titles, or drawn ones as they came."""
        if not self.titles:
            raise UserError("hf: call fit first; it needs the catalog's titles")
        n, k = len(requests), requests.k
        items = np.full((n, k), NOTHING, np.int32)
        scores = np.full((n, k), np.nan, np.float32)
        said: list[tuple[str, ...]] = []
        if self.decode == "free":
            luck = requests.uniform("hf", self.beams * self.longest_title)
        for row in range(n):
            prompt = self._prompt_tokens(requests.history.row(row))
            if self.decode == "constrained":
                found = best_titles(self.network, prompt, self.tree, self.beams)[:k]
                items[row, : len(found)] = [item for item, _ in found]
                scores[row, : len(found)] = [log_p for _, log_p in found]
            else:
                titles = self._free(prompt, luck[row])[:k]
                matches = self.matcher.match_all(titles)
                items[row, : len(titles)] = [m.item if m.item >= 0 else UNKNOWN for m in matches]
                said.append(tuple(titles))
        if self.decode == "free":
            return Slates(items, raw_names=tuple(said))
        return Slates(items, scores)

    def _free(self, prompt: list[int], luck: NDArray[np.float64]) -> list[str]:
        """Different titles in the order they were drawn, each up to its end or its first line."""
        drawn = drawn_titles(
            self.network,
            prompt,
            luck.reshape(self.beams, self.longest_title),
            end=self.tokenizer.eos_token_id,
            temperature=self.temperature,
        )
        texts = self.tokenizer.batch_decode(drawn, skip_special_tokens=True)
        titles = [plain(text.strip().split("\n")[0]) for text in texts]
        return list(dict.fromkeys(title for title in titles if title))

    # -- remembering ---------------------------------------------------------------------------

    def state(self) -> State:
        """The titles, LoRA's matrices and Adam's moments; the model itself is its folder's."""
        return {
            "titles": np.frombuffer(json.dumps(self.titles).encode(), np.uint8),
            **self._learnt(),
        }

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self._learn_titles(json.loads(np.asarray(state["titles"], np.uint8).tobytes()))
        self._recall(state)
