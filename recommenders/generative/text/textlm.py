"""TextLM: a small language model that recommends by saying titles, one piece after another.

People's histories are written out as text, title after title, and a causal transformer (as in
sasrec.py) is trained from scratch to foresee the next piece: the decoder-only language model of
A. Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018, at a
five-hundredth of its size. It has read nothing but this catalog and these histories, and knows
nothing of the world; it is here because it fails as large ones do. Left to itself it makes titles
up; constrained to the tree of titles that exist it cannot (N. De Cao, G. Izacard, S. Riedel & F.
Petroni, "Autoregressive Entity Retrieval", ICLR 2021), and then its probabilities over the catalog
are exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import logsumexp

from ...border import NOTHING, Capabilities, Progress, Requests, Slates, State
from ...catalog import Catalog
from ...errors import UserError, unknown_name
from ...interactions import Interactions, Ragged
from ...ranking import recommend_best, top_k_exact
from ..attention import check_heads
from ..networks import seeded
from ..sequences.windows import windows
from ..training_loop import TrainsInEpochs, falling
from .explaining import EXPLAINED, evidence, own_words
from .reading import Network
from .speaking import ROWS, Speaker
from .titles import Pieces, levels_of, pieces_of

UNKNOWN = np.iinfo(np.int32).max
"""The index of a title that does not exist: outside every catalog, so that it is counted."""

EXPLAIN = ("none", "evidence", "free")


class TextLM(TrainsInEpochs):
    """Says titles given the text of the history, with or without the catalog before its eyes.

    Args:
        constrained: only titles that exist are said. Scores are then exact log probabilities of
            the whole catalog: at each piece, what the model holds likely is shared out among what
            some title goes on with. Otherwise titles are generated freely; those that exist in no
            catalog have the index UNKNOWN and stand in ``Slates.raw_names``, and the guard counts
            them.
        sample: draws slates instead of listing the most probable: constrained, without
            replacement and with exact propensities (Plackett-Luce); free, by stochastic beam
            search (W. Kool, H. van Hoof & M. Welling, ICML 2019).
        temperature: of what is drawn, and of free generation; below 1 is bolder.
        beams: titles generated at most for each person, where generation is free.
        explain: "none"; "evidence" names the title of the history without which the recommended
            one would have been least likely, found by leaving out each of the latest ones (grounded
            by construction); "free" lets the model finish the sentence by itself, from nothing but
            the recommended title: what it says need not be in the history, nor exist.
        verb: of the sentence "Because you watched ...".
        merges: pairs of pieces merged in the vocabulary, see titles.py.
        embedding_size, blocks, heads, dropout: of the network.
        max_length: pieces that it looks at.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        batch_size: windows of ``max_length`` pieces a step.
        epochs: passes over the text when fitting.
        update_epochs: passes over the windows with something new when updating, from a quarter of
            the learning rate.
        seed: mixed into the seed of ``fit`` and ``update``, for A/A tests.

    Attributes:
        losses: mean cross-entropy (nats a piece) of each epoch since the last fit, updates
            included.
    """

    name = "textlm"
    network: Network
    capabilities = Capabilities(
        history="any",
        scores="log_prob",
        outputs=frozenset({"items", "text"}),
        inputs=frozenset({"history", "text"}),
        update="incremental",
    )

    def __init__(
        self,
        *,
        constrained: bool = True,
        sample: bool = False,
        temperature: float = 1.0,
        beams: int = 40,
        explain: str = "none",
        verb: str = "watched",
        merges: int = 1000,
        embedding_size: int = 64,
        blocks: int = 2,
        heads: int = 2,
        max_length: int = 100,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        batch_size: int = 64,
        epochs: int = 25,
        update_epochs: int = 1,
        seed: int = 0,
    ) -> None:
        if explain not in EXPLAIN:
            raise unknown_name("explain", explain, EXPLAIN)
        check_heads(embedding_size, heads)
        if temperature <= 0.0 or beams < 1:
            raise UserError(
                f"temperature must be above 0 and beams at least 1, got {temperature} and {beams}"
            )
        self.constrained = constrained
        self.sample = sample
        self.temperature = temperature
        self.beams = beams
        self.explain = explain
        self.verb = verb
        self.merges = merges
        self.embedding_size = embedding_size
        self.n_blocks = blocks
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        told = {"explanations"} if explain != "none" else set()
        self.capabilities = replace(
            self.capabilities,
            scores="log_prob" if constrained else "none",
            closed_catalog=constrained,
            stochastic=sample,
            outputs=self.capabilities.outputs | told,
            max_batch=8 * ROWS if constrained else 2 * ROWS,  # seconds a call, not minutes
        )
        self._gone = np.zeros(0, np.int64)  # items that may not be shown
        self._build(pieces_of([""], np.ones(1), 0), 0)

    def _build(self, pieces: Pieces, seed: int) -> None:
        self.network = Network(
            len(pieces),
            self.max_length,
            self.embedding_size,
            self.n_blocks,
            self.heads,
            seeded(seed, "textlm", "weights", self.seed),
        )
        self.speaker = Speaker(pieces, levels_of(pieces.codes), self.network, self.max_length)
        if self.max_length <= self.speaker.longest:
            raise UserError(
                f"max_length = {self.max_length} must be above the {self.speaker.longest} pieces "
                "of the longest title; set it higher, or merges"
            )
        self.adam = torch.optim.Adam(self.network.parameters(), fused=True)
        self.losses = []

    @property
    def pieces(self) -> Pieces:
        """The vocabulary, and how each title is written in it."""
        return self.speaker.pieces

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Makes the vocabulary and trains from scratch; ``progress`` hears the mean cross-entropy
        (nats a piece) of each epoch."""
        self._build(pieces_of(catalog.titles, log.popularity() + 1.0, self.merges), seed)
        luck = seeded(seed, "textlm", "fit", self.seed)
        text = self.pieces.of(log.histories())
        self._train(text, text.lengths, self.epochs, self.learning_rate, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains on, over the windows that hold something from row ``since`` on."""
        luck = seeded(seed, "textlm", "update", self.seed, len(log))
        n_pieces = self.pieces.codes.lengths[log.item[since:]]
        new = np.bincount(log.user[since:], n_pieces, minlength=log.n_users).astype(np.int64)
        text = self.pieces.of(log.histories())
        self._train(text, new, self.update_epochs, self.learning_rate / 4, luck, None)

    def _train(
        self,
        text: Ragged,
        new: NDArray[np.int64],
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        length, start = self.max_length, len(self.pieces)
        for epoch in self._epochs(epochs, luck, progress, rate=falling(learning_rate)):
            shift = torch.randint(0, length, (len(text),), generator=luck).numpy()
            tokens, targets = windows(text, new, shift, length, start=start)
            for rows in epoch.shuffled(len(tokens), self.batch_size, luck):
                real = targets[rows] >= 0  # (batch, length)
                x = self.network(tokens[rows], self.dropout, luck)[real]  # (real, size)
                loss = F.cross_entropy(self.network.logits(x), targets[rows][real])
                epoch.step(self.adam, loss, weight=len(x))

    # -- recommending --------------------------------------------------------------------------

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) exact log probabilities that a title of the catalog is said next."""
        out = np.empty((len(requests), self.speaker.n_items), np.float32)
        for rows in _by_rows(len(requests)):
            out[rows] = self.speaker.log_p(self.pieces.of(requests.history.take(rows)))
        return out

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """From now on draws from these items only, so that its propensities stay right."""
        self._gone = np.flatnonzero(~available)

    def recommend(self, requests: Requests) -> Slates:
        """The titles that it says, with a sentence about each where it explains."""
        if not self.constrained:
            slates = self._free(requests)
        elif self.sample:
            slates = self._drawn(requests)
        else:
            slates = recommend_best(self._unseen, requests, self.speaker.n_items)
        if self.explain == "none":
            return slates
        return replace(slates, text=self._because(requests.history, slates.items))

    def _unseen(self, requests: Requests) -> NDArray[np.float32]:
        scores = self.score(requests)
        if self.explain != "none":  # only the first slots are explained: none is wasted
            scores[requests.history.row_index, requests.history.values] = -np.inf
        return scores

    def _drawn(self, requests: Requests) -> Slates:
        """Slates drawn without replacement from the catalog, less the history and what is gone.

        Gumbel noise on log p draws them; the propensity of a slot, given those before it, is
        p(item) / (1 - sum of p over earlier slots), with p renormalised over what may be shown.
        """
        log_p = self.score(requests).astype(np.float64) / self.temperature  # (n, items)
        log_p[requests.history.row_index, requests.history.values] = -np.inf
        log_p[:, self._gone[self._gone < self.speaker.n_items]] = -np.inf
        whole = logsumexp(log_p, axis=1, keepdims=True)
        log_p = np.where(
            np.isneginf(whole), -np.inf, log_p - np.where(np.isneginf(whole), 0, whole)
        )
        luck = requests.uniform(f"textlm/{self.seed}", np.arange(self.speaker.n_items))
        items = top_k_exact(log_p - np.log(-np.log(luck)), requests.k)  # (n, k)
        chosen = np.take_along_axis(log_p, np.maximum(items, 0).astype(np.int64), axis=1)
        chance = np.where(items >= 0, np.exp(chosen), 0.0)
        taken = np.cumsum(chance, axis=1) - chance  # (n, k) by earlier slots
        chance = np.minimum(chance / np.maximum(1.0 - taken, 1e-12), 1.0)
        return Slates(items, propensities=chance.astype(np.float32))

    def _free(self, requests: Requests) -> Slates:
        """Titles generated without the catalog; each is looked up by its exact name afterwards."""
        n, k = len(requests), min(requests.k, self.beams)
        known = self.pieces.items()
        items = np.full((n, k), NOTHING, np.int32)
        scores = np.full((n, k), np.nan, np.float32)
        raw: list[tuple[str, ...]] = []
        for rows in _by_rows(n):
            part = requests.take(rows)
            luck = (part, f"textlm/free/{self.seed}") if self.sample else None
            said = self.speaker.titles(
                self.pieces.of(part.history), self.beams, temperature=self.temperature, luck=luck
            )
            for row, titles in zip(rows, said, strict=True):
                raw.append(tuple(titles)[:k])
                scores[row, : len(raw[-1])] = list(titles.values())[:k]
                items[row, : len(raw[-1])] = [known.get(title, UNKNOWN) for title in raw[-1]]
        made_up = (items == UNKNOWN).sum(axis=1).tolist()
        usage = tuple(
            {"titles": float(len(titles)), "titles_not_in_catalog": float(n_made_up)}
            for titles, n_made_up in zip(raw, made_up, strict=True)
        )
        return Slates(items, scores, raw_names=tuple(raw), usage=usage)

    # -- explaining ----------------------------------------------------------------------------

    def _because(
        self, history: Ragged, items: NDArray[np.int32]
    ) -> tuple[tuple[str | None, ...], ...]:
        """A sentence for each of the first slots, or None."""
        first = items[:, :EXPLAINED]
        if self.explain == "evidence":
            titles = evidence(self.speaker, history, first)
        else:
            titles = own_words(self.speaker, first)
        more = (None,) * (items.shape[1] - first.shape[1])
        return tuple(
            tuple(None if x is None else f"Because you {self.verb} {x}." for x in row) + more
            for row in titles
        )

    def log_likelihood(self, histories: Ragged) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """How well it foresees the text of whole histories: a probe for memorisation.

        A history that was in training and is foreseen far better than comparable ones that were
        not is one that it has by heart. The text is cut into windows of ``max_length`` pieces from
        its beginning, and each piece is foreseen from those before it in its window, without
        dropout, catalog or temperature.

        Args:
            histories: n rows of items, oldest first.

        Returns:
            (n,) sum of log p(piece | pieces before it) over the text, in nats, and (n,) how many
            pieces it has; exp(-sum / pieces) is the perplexity.
        """
        return self.speaker.log_likelihood(histories)

    # -- memory --------------------------------------------------------------------------------

    def state(self) -> State:
        """Vocabulary, weights, Adam's moments, so that updates continue exactly, and losses."""
        return {
            "texts": np.array(self.pieces.texts),
            "codes": self.pieces.codes.values,
            "offsets": self.pieces.codes.offsets,
            **self._learnt(),
        }

    def load_state(self, state: State) -> None:
        """Continues from :meth:`state`."""
        codes = Ragged(state["codes"].astype(np.int32), state["offsets"].astype(np.int64))
        self._build(Pieces(tuple(state["texts"].tolist()), codes), 0)
        self._recall(state)


def _by_rows(n: int) -> list[NDArray[np.int64]]:
    """Indices of n people, ROWS at a time."""
    return [np.arange(at, min(at + ROWS, n)) for at in range(0, n, ROWS)]
