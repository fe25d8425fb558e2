"""A GFlowNet of slates: draws each slate as often as its reward says, instead of only the best.

S. Liu et al., "Generative Flow Network for Listwise Recommendation" (GFN4Rec), KDD 2023
(arXiv 2306.02239): a policy fills the slots from first to last, and is trained by trajectory
balance (N. Malkin et al., NeurIPS 2022, arXiv 2201.13259) until P(slate | history) is proportional
to R(slate | history). A slate is reached in one way only, its slots in order, so the backward
policy is 1 and the balance reads log Z(history) + sum over slots of log P(item | slots before)
= log R. The constant log Z is not learnt: it is the least-squares estimate from several slates of
the same person, as in D. W. Zhang et al., "Robust Scheduling with GFlowNets", ICLR 2023
(arXiv 2302.05446), so the loss is the variance of log R - log P within a person.

Without feedback on slates the reward comes from the log: the chance that what a person takes next
stands in the slate, by a response model that is trained first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor, nn

from ...border import NOTHING, Capabilities, Progress, Requests, Slates
from ...catalog import Catalog
from ...errors import UserError
from ...interactions import Interactions
from ...ranking import blocks
from ..networks import by_rows, dropout, embedding, linear, seeded
from ..training_loop import Learner, OfItems, falling
from .composed import Consumption, ShownSlates, slate_after_slate


def _possible(runs: ShownSlates) -> NDArray[np.bool_]:
    """(slates,) which of them the policy could draw: full, nothing twice, nothing old."""
    ordered = np.sort(runs.items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    old = np.zeros(len(runs), np.bool_)
    for slot in range(runs.items.shape[1]):
        old |= (runs.before == runs.items[:, slot : slot + 1]).any(axis=1)
    return np.asarray(runs.taken.all(axis=1) & ~twice & ~old)


LogReward = Callable[[Tensor, Tensor], Tensor]
"""Called as ``log_reward(before, slates)``: histories (n, context), padded with the number of
items, and slates (n, slots) to (n,) log rewards."""


class _Response(nn.Module):
    """log p(the next item | history), which rewards are made of."""

    def __init__(self, n_items: int, size: int, hidden: int, luck: torch.Generator) -> None:
        super().__init__()
        self.items = embedding(n_items + 1, size, luck, std=size**-0.5)  # the last row is "nothing"
        self.into = linear(size, hidden, luck)
        self.outof = linear(hidden, size, luck)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, before: Tensor, share: float, luck: torch.Generator | None) -> Tensor:
        real = (before < len(self.bias)).to(self.items.dtype)  # (batch, context)
        real = dropout(real, share, luck)
        past = (F.embedding(before, self.items) * real[:, :, None]).sum(dim=1)  # (batch, size)
        past = past / real.sum(dim=1, keepdim=True).clamp(min=1.0)
        taste = past + self.outof(torch.relu(self.into(past)))  # (batch, size)
        return F.log_softmax(taste @ self.items[:-1].T + self.bias, dim=1)  # (batch, items)


class _Policy(nn.Module):
    """Logits of the next item given its worth, the history and the slots so far."""

    def __init__(
        self, n_items: int, slots: int, size: int, hidden: int, luck: torch.Generator
    ) -> None:
        super().__init__()
        self.slots, self.size = slots, size
        self.items = embedding(n_items + 1, size, luck, std=size**-0.5)  # the last row is "nothing"
        self.into = linear(size + slots * size + slots, hidden, luck)
        self.outof = linear(hidden, size, luck)
        self.next_items = embedding(n_items, size, luck)
        self.bias = nn.Parameter(torch.zeros(slots, n_items))
        self.trust = nn.Parameter(torch.ones(slots))  # by slot, in what the response model says

    def forward(self, worth: Tensor, before: Tensor, slate: Tensor, n_filled: Tensor) -> Tensor:
        """(batch, items) logits.

        Args:
            worth: (batch, items) what an item adds to the log reward of the best slate.
            before: (batch, context); slate: (batch, slots) items, "nothing" from slot
                ``n_filled`` (batch,) on.
        """
        real = (before < worth.shape[1]).to(self.items.dtype)[:, :, None]  # (batch, context, 1)
        past = (F.embedding(before, self.items) * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)
        held = F.embedding(slate, self.items)  # (batch, slots, size)
        held = held * (slate < worth.shape[1])[:, :, None]
        slot = F.one_hot(n_filled, self.slots).to(held.dtype)  # (batch, slots)
        state = torch.cat([past, held.flatten(1), slot], dim=1)
        wanted = self.outof(torch.relu(self.into(state)))  # (batch, size)
        logits = wanted @ self.next_items.T + slot @ self.bias  # (batch, items)
        return logits + (slot @ self.trust)[:, None] * worth  # type: ignore[no-any-return]


class GFlowNet(OfItems):
    """Draws slates with probability proportional to their reward, slot by slot.

    The reward is ``R(slate | history) = (sum of p(item | history) over the slate) ** sharpness``
    with p the response model's chance that the item is taken next: sharpness 1 is nearly uniform
    over the countless slates of a large catalog, a high one keeps to the best. Propensities are
    those of each slot given the slots before it, exact. Any history folds in. Scores are log
    probabilities of the first slot.

    Args:
        slate_size: slots of a slate; who asks for more gets slate after slate.
        context: how many of the latest items of a history it looks at.
        sharpness: power of the reward.
        explore: share of slots in training slates that are filled uniformly at random.
        embedding_size, hidden_size: widths of both networks.
        dropout: share of the history dropped while the response model is trained.
        learning_rate: of Adam at the start; it falls linearly to 0 over the epochs.
        people: histories a step of the policy; slates: slates of each, over which log Z is
            estimated (one is what the person really took).
        steps: steps of the policy in an epoch.
        batch_size: slates a step of the response model.
        response_epochs, epochs: passes over the log for the response model, then epochs of the
            policy; update_epochs: of both when updating, from half the learning rate.
        seed: mixed into the seeds of ``fit``, ``update`` and the requests.

    Attributes:
        losses: mean squared imbalance of the policy in each epoch since the last fit.
    """

    name = "gflownet"
    capabilities = Capabilities(
        history="any",
        scores="log_prob",
        stochastic=True,
        outputs=frozenset({"items", "slate"}),
        update="incremental",
        unseen=True,
    )

    def __init__(
        self,
        *,
        slate_size: int = 10,
        context: int = 50,
        sharpness: float = 100.0,
        explore: float = 0.05,
        embedding_size: int = 64,
        hidden_size: int = 128,
        dropout: float = 0.3,
        learning_rate: float = 3e-3,
        people: int = 16,
        slates: int = 8,
        steps: int = 20,
        batch_size: int = 128,
        response_epochs: int = 20,
        epochs: int = 15,
        update_epochs: int = 2,
        seed: int = 0,
    ) -> None:
        if slate_size < 1 or context < 1 or people < 1 or slates < 2:
            raise UserError(
                "slate_size, context and people must be at least 1 and slates at least 2, got "
                f"{slate_size}, {context}, {people} and {slates}"
            )
        if sharpness < 0 or not 0.0 <= explore <= 1.0:
            raise UserError(
                "sharpness must be at least 0 and explore between 0 and 1, got "
                f"{sharpness} and {explore}"
            )
        self.slate_size = slate_size
        self.context = context
        self.sharpness = sharpness
        self.explore = explore
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.people = people
        self.slates = slates
        self.steps = steps
        self.batch_size = batch_size
        self.response_epochs = response_epochs
        self.epochs = epochs
        self.update_epochs = update_epochs
        self.seed = seed
        self._gone: NDArray[np.bool_] | None = None
        self._build(1, 0)

    def _build(self, n_items: int, seed: int) -> None:
        self.n_items = n_items
        luck = seeded(seed, self.name, "weights", self.seed)
        size, hidden = self.embedding_size, self.hidden_size
        self.response = _Response(n_items, size, hidden, luck)
        self.policy = _Policy(n_items, self.slate_size, size, hidden, luck)
        self.response_adam = torch.optim.Adam(self.response.parameters(), fused=True)
        self.policy_adam = torch.optim.Adam(self.policy.parameters(), fused=True)
        self.losses = []

    def _learners(self) -> dict[str, Learner]:
        return {
            "response:": (self.response, self.response_adam),
            "policy:": (self.policy, self.policy_adam),
        }

    # -- learning ------------------------------------------------------------------------------

    def fit(
        self,
        log: Interactions,
        catalog: Catalog,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains the response model, then the policy; ``progress`` hears the policy's loss."""
        self._build(len(catalog), seed)
        luck = seeded(seed, self.name, "fit", self.seed)
        past = Consumption(log, self.n_items, slots=self.slate_size, context=self.context)
        self._learn_response(past, self.response_epochs, self.learning_rate, luck)
        self._learn_from(past, self.epochs, self.learning_rate, luck, progress)

    def fit_reward(
        self,
        log_reward: LogReward,
        before: NDArray[np.integer],
        n_items: int,
        *,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Trains the policy from scratch for a reward of slates that is known.

        Args:
            log_reward: see :data:`LogReward`.
            before: (histories, context) that slates are drawn for, padded with ``n_items``.
            n_items: size of the catalog.
        """
        self._build(n_items, seed)
        luck = seeded(seed, self.name, "fit", self.seed)
        histories = torch.from_numpy(np.asarray(before, np.int64))

        def draw(n: int) -> tuple[Tensor, None]:
            return histories[torch.randint(0, len(histories), (n,), generator=luck)], None

        self._balance(log_reward, draw, self.epochs, self.learning_rate, luck, progress)

    def update(self, log: Interactions, *, since: int, seed: int = 0) -> None:
        """Trains both on: the response model over what is new, the policy for its new rewards."""
        luck = seeded(seed, self.name, "update", self.seed, len(log))
        shape = {"slots": self.slate_size, "context": self.context}
        past = Consumption(log, self.n_items, since=since, **shape)
        rate = self.learning_rate / 2
        self._learn_response(past, self.update_epochs, rate, luck)
        self._learn_from(past, self.update_epochs, rate, luck, None)

    def _learn_response(
        self, past: Consumption, epochs: int, learning_rate: float, luck: torch.Generator
    ) -> None:
        """Cross-entropy of what was taken next, over runs of consumption drawn anew each epoch."""
        for epoch in self._epochs(epochs, luck, rate=falling(learning_rate), heard=False):
            _, runs = past.liked(luck)
            for rows in epoch.shuffled(len(runs), self.batch_size, luck):
                batch = runs.take(rows)
                log_p = self.response(torch.from_numpy(batch.before), self.dropout, luck)
                items = torch.from_numpy(batch.items)  # (batch, slots)
                real = items < self.n_items
                taken = log_p.gather(1, torch.where(real, items, 0)) * real
                epoch.step(self.response_adam, -taken.sum() / real.sum())

    def _learn_from(
        self,
        past: Consumption,
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        """Balances the policy with the response model's rewards, over histories of the log."""

        def log_reward(before: Tensor, slates: Tensor) -> Tensor:
            chance = self._chance(before[:: self.slates]).repeat_interleave(self.slates, dim=0)
            return self.sharpness * chance.gather(1, slates).sum(dim=1).log()

        _, runs = past.liked(luck)
        whole = runs.take(np.flatnonzero(_possible(runs)))
        if len(whole) == 0 or self.n_items <= self.slate_size:
            return  # nobody consumed a slate's worth: the policy stays as it is

        def draw(n: int) -> tuple[Tensor, Tensor]:
            rows = torch.randint(0, len(whole), (n,), generator=luck).numpy()
            return torch.from_numpy(whole.before[rows]), torch.from_numpy(whole.items[rows])

        self._balance(log_reward, draw, epochs, learning_rate, luck, progress)

    def _chance(self, before: Tensor) -> Tensor:
        """(n, items) p(next item | history), as it stands."""
        with torch.no_grad():
            log_p: Tensor = self.response(before, 0.0, None)
        return log_p.exp()

    def _worth(self, before: Tensor) -> Tensor:
        """(n, items) what an item adds to the log reward of a slate as good as the best one.

        ``sharpness * p / sum of the best p that fill a slate``: the policy starts from there.
        """
        chance = self._chance(before)
        best = chance.topk(min(self.slate_size, self.n_items), dim=1).values  # (n, slots)
        return self.sharpness * chance / best.sum(dim=1, keepdim=True)

    def _balance(
        self,
        log_reward: LogReward,
        draw: Callable[[int], tuple[Tensor, Tensor | None]],
        epochs: int,
        learning_rate: float,
        luck: torch.Generator,
        progress: Progress | None,
    ) -> None:
        """Steps of trajectory balance: ``slates`` slates of each person drawn by the policy (and
        one they took, where it is known)."""
        for epoch in self._epochs(epochs, luck, progress, rate=falling(learning_rate)):
            for _ in epoch.batches(range(self.steps)):
                before, real = draw(self.people)
                before = before.repeat_interleave(self.slates, dim=0)  # (people * slates, context)
                slates = self._explored(before, luck)  # (people * slates, slots)
                if real is not None:
                    slates[:: self.slates] = real
                gap = log_reward(before, slates) - self._log_p(before, slates)
                gap = gap.view(self.people, self.slates)  # log Z is its mean where balanced
                loss = (gap - gap.mean(dim=1, keepdim=True)).square().mean()
                epoch.step(self.policy_adam, loss, clip=10.0)  # a rare slate weighs much

    def _shut(self, before: Tensor) -> Tensor:
        """(n, items) what stands in the histories; where too little is left, nothing."""
        table = torch.zeros(len(before), self.n_items + 1, dtype=torch.bool)
        table[torch.arange(len(before))[:, None], before] = True
        table = table[:, :-1]
        enough = (~table).sum(dim=1) >= self.slate_size
        return table & enough[:, None]

    def _explored(self, before: Tensor, luck: torch.Generator) -> Tensor:
        """(n, slots) slates drawn by the policy as it stands, some slots at random."""
        n = len(before)
        slates = torch.full((n, self.slate_size), self.n_items)
        shut, worth, rows = self._shut(before), self._worth(before), torch.arange(n)
        for slot in range(self.slate_size):
            with torch.no_grad():
                logits = self.policy(worth, before, slates, torch.full((n,), slot))
            random = torch.rand(n, generator=luck) < self.explore
            logits = torch.where(random[:, None], 0.0, logits).masked_fill(shut, float("-inf"))
            noise = torch.rand(logits.shape, generator=luck).clamp(1e-12, 1.0 - 1e-7)
            slates[:, slot] = (logits - torch.log(-torch.log(noise))).argmax(dim=1)
            shut[rows, slates[:, slot]] = True
        return slates

    def _log_p(self, before: Tensor, slates: Tensor) -> Tensor:
        """(n,) log P(slate | history), with what stands in the history left out."""
        shut, worth = self._shut(before), self._worth(before)
        whole = torch.zeros(len(before))
        for slot in range(self.slate_size):
            filled = torch.where(torch.arange(self.slate_size) < slot, slates, self.n_items)
            logits = self.policy(worth, before, filled, torch.full((len(before),), slot))
            item = slates[:, slot : slot + 1]  # (n, 1)
            log_p = logits.masked_fill(shut, float("-inf")).log_softmax(dim=1)  # (n, items)
            whole = whole + log_p.gather(1, item)[:, 0]
            shut = shut.scatter(1, item, True)
        return whole

    # -- answers -------------------------------------------------------------------------------

    def withdraw(self, available: NDArray[np.bool_]) -> None:
        """From now on these items only, so that its propensities stay right."""
        self._gone = None if available.all() else ~available

    def recommend(self, requests: Requests) -> Slates:
        """Slates drawn by the policy, with the propensity of each slot given those before it."""
        items = np.full((len(requests), requests.k), NOTHING, np.int32)
        chances = np.zeros((len(requests), requests.k), np.float32)
        for rows in blocks(len(requests), self.n_items):
            items[rows], chances[rows] = self._drawn(requests.take(rows))
        return Slates(items, propensities=chances)

    def _drawn(self, requests: Requests) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(n, k) items and chances, slate after slate."""
        before = requests.history.last(self.context, fill=self.n_items).astype(np.int64)
        worth = by_rows(self._worth, before, self.n_items)  # (n, items)
        chances = [np.empty((len(requests), 0))]

        def compose(asked: Requests, shut: NDArray[np.bool_], nth: int) -> NDArray[np.int32]:
            slate, chance = self._slate(asked, before, worth, shut.copy(), nth)
            chances.append(chance)
            return slate

        shut = requests.forbidden(self.n_items, self._gone)
        items = slate_after_slate(compose, requests, shut, self.slate_size)
        return items, np.concatenate(chances, axis=1)[:, : requests.k]

    def _slate(
        self,
        requests: Requests,
        before: NDArray[np.int64],
        worth: NDArray[np.float32],
        shut: NDArray[np.bool_],
        nth: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(n, slots) items and chances; ``shut`` (n, items) may not stand in it, and is filled."""
        n, slots = len(requests), self.slate_size
        luck = requests.uniform(f"{self.name}/{self.seed}/{nth}", slots)  # (n, slots)
        items, chances = np.full((n, slots), NOTHING, np.int32), np.zeros((n, slots))
        for slot in range(slots):
            logits = self._logits(before, worth, items, slot).astype(np.float64)
            logits[shut] = -np.inf
            open_rows = np.flatnonzero(~shut.all(axis=1))
            log_p = logits[open_rows] - logsumexp(logits[open_rows], axis=1, keepdims=True)
            cumulative = np.exp(log_p).cumsum(axis=1)
            point = luck[open_rows, slot] * cumulative[:, -1]
            drawn = (cumulative <= point[:, None]).sum(axis=1)
            items[open_rows, slot] = drawn
            chances[open_rows, slot] = np.exp(log_p[np.arange(len(open_rows)), drawn])
            shut[open_rows, drawn] = True
        return items, chances

    def _logits(
        self,
        before: NDArray[np.int64],
        worth: NDArray[np.float32],
        slate: NDArray[np.int32],
        slot: int,
    ) -> NDArray[np.float32]:
        """(n, items) of one slot; slots not filled yet hold -1."""
        filled = np.where(slate >= 0, slate, self.n_items)
        width = self.context + self.slate_size

        def logits(rows: Tensor) -> Tensor:
            codes, worth = rows[:, :width].long(), rows[:, width:]
            past, held = codes[:, : self.context], codes[:, self.context :]
            out: Tensor = self.policy(worth, past, held, torch.full((len(rows),), slot))
            return out

        inputs = np.hstack([before.astype(np.float32), filled.astype(np.float32), worth])
        return by_rows(logits, inputs, self.n_items)

    def log_prob(self, requests: Requests, slates: NDArray[np.integer]) -> NDArray[np.float64]:
        """(n,) exact log P(slate | history) of whole slates (n, slate_size) for these requests."""
        shut = requests.forbidden(self.n_items, self._gone)
        before = requests.history.last(self.context, fill=self.n_items).astype(np.int64)
        worth = by_rows(self._worth, before, self.n_items)
        rows, whole = np.arange(len(requests)), np.zeros(len(requests))
        held = np.full(slates.shape, NOTHING, np.int32)
        for slot in range(self.slate_size):
            logits = self._logits(before, worth, held, slot).astype(np.float64)
            logits[shut] = -np.inf
            item = slates[:, slot]
            whole += logits[rows, item] - logsumexp(logits, axis=1)
            shut[rows, item] = True
            held[:, slot] = item
        return whole

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """(n, items) log probabilities of the first slot, the history not left out."""
        before = requests.history.last(self.context, fill=self.n_items).astype(np.int64)
        worth = by_rows(self._worth, before, self.n_items)
        empty = np.full((len(requests), self.slate_size), NOTHING, np.int32)
        logits = self._logits(before, worth, empty, 0)
        return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True), np.float32)
