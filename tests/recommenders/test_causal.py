"""Causal models of Hugging Face: tiny ones with random weights, made here; nothing is fetched."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.testing import RecommenderContract

pytest.importorskip("transformers", reason="causal models need loopaudit[hf]")
pytest.importorskip("rapidfuzz", reason="near spellings of titles need loopaudit[hf]")

from loopaudit.recommenders.language.causal import CausalLM
from loopaudit.recommenders.language.decoding import (
    TitleTree,
    best_titles,
    drawn_titles,
)

WORDS = [f"Item {i}" for i in range(80)] + ["Titles that one person chose, in this order:", "Next:"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 130,000 random weights, and a byte-pair tokenizer trained on a few lines."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("tiny")
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator([*WORDS, *(f" {word}\n" for word in WORDS)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")
    fast.save_pretrained(path)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        LlamaForCausalLM(config).save_pretrained(path)
    return path


class Contract(RecommenderContract):
    score_tolerance = 0.0
    args: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> CausalLM:
        return CausalLM(model=str(self.folder), **self.args)


class TestConstrained(Contract):
    args: ClassVar[dict[str, Any]] = {"beams": 30}


@pytest.mark.slow
class TestTuned(Contract):
    args: ClassVar[dict[str, Any]] = {
        "beams": 30,
        "lora_rank": 2,
        "examples": 64,
        "learning_rate": 0.02,
    }

    def make(self) -> CausalLM:
        pytest.importorskip("peft", reason="tuning needs loopaudit[hf]")
        return super().make()


def fitted(folder: Path, titles: tuple[str, ...], **args: Any) -> CausalLM:
    recommender = CausalLM(model=str(folder), **args)
    nobody = np.empty(0, np.int32)
    log = Interactions(nobody, nobody, nobody.astype(np.int64), 1, len(titles))
    recommender.fit(log, catalog_of(titles))
    return recommender


def catalog_of(titles: tuple[str, ...]) -> Catalog:
    nobody = np.full(len(titles), -1, np.int32)
    topics = np.zeros((len(titles), 1), np.float32)
    ids = tuple(f"i{n}" for n in range(len(titles)))
    return Catalog(ids, titles, topics, ("?",), nobody, nobody)


def asked(rows: list[list[int]], k: int = 5, seed: int = 0) -> Requests:
    return Requests(np.arange(len(rows), dtype=np.int32), Ragged.from_lists(rows), k, seed=seed)


def log_p(recommender: CausalLM, prompt: list[int], tokens: list[int]) -> float:
    """By one pass over the whole text, without a tree, a beam or a cache."""
    with torch.no_grad():
        logits = recommender.network(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
    given = torch.log_softmax(logits.double(), dim=-1)
    at = range(len(prompt) - 1, len(prompt) + len(tokens) - 1)
    return float(sum(given[place, token] for place, token in zip(at, tokens, strict=True)))


def test_constrained_decoding_finds_the_titles_that_are_most_probable_by_brute_force(
    folder: Path,
) -> None:
    titles = (*(f"Item {i}" for i in range(40)), "Heat", "Heat (1995)", "Heat", "映画", "")
    recommender = fitted(folder, titles, beams=len(titles))
    prompt = recommender._prompt_tokens([3, 7])
    every = [log_p(recommender, prompt, tokens) for tokens in recommender.title_tokens]
    slates = recommender.recommend(asked([[3, 7]], k=10))
    assert slates.items[0].tolist() == np.argsort(-np.array(every), kind="stable")[:10].tolist()
    expected = np.sort(every)[::-1][:10]
    assert slates.scores is not None
    np.testing.assert_allclose(slates.scores[0], expected, rtol=1e-4)


def test_few_beams_say_only_titles_that_exist_and_none_twice(folder: Path) -> None:
    recommender = fitted(folder, tuple(f"Item {i}" for i in range(80)), beams=7)
    slates = recommender.recommend(asked([[1], [2, 3], []], k=20))
    for row in slates.items:
        shown = row[row >= 0].tolist()
        assert 0 < len(shown) <= 7
        assert len(set(shown)) == len(shown)


def test_no_title_hides_another_that_begins_alike(folder: Path) -> None:
    tree = TitleTree([[5, 6, 0], [5, 6, 7, 0], [5, 0]])
    with torch.no_grad():
        network = fitted(folder, ("a",)).network
    found = best_titles(network, [1, 2], tree, 3)
    assert sorted(item for item, _ in found) == [0, 1, 2]


def test_free_titles_that_exist_are_matched_and_the_others_are_kept_and_counted(
    folder: Path,
) -> None:
    titles = tuple(f"Item {i}" for i in range(80))
    recommender = fitted(folder, titles, decode="free", beams=20, longest_title=6)
    assert recommender.capabilities.stochastic
    assert not recommender.capabilities.closed_catalog
    guard = Guard(recommender, n_items=80)
    slates = guard.recommend(asked([[1, 2], [3]], k=5))
    assert slates.raw_names is not None
    for names in slates.raw_names:
        assert names
        assert len(set(names)) == len(names)
    assert guard.faults.counts["unknown_item"] == 2  # random weights say no title
    again = recommender.recommend(asked([[1, 2], [3]], k=5))
    other = recommender.recommend(asked([[1, 2], [3]], k=5, seed=1))
    assert again.raw_names is not None
    assert other.raw_names is not None
    assert again.raw_names == recommender.recommend(asked([[1, 2], [3]], k=5)).raw_names
    assert again.raw_names != other.raw_names


def test_drawn_tokens_follow_the_models_probabilities(folder: Path) -> None:
    """One token, 20,000 draws at evenly spread luck: shares equal probabilities to the grid."""
    recommender = fitted(folder, ("a",))
    prompt = recommender._prompt_tokens([0])
    luck = (np.arange(20_000)[:, None] + 0.5) / 20_000
    drawn = drawn_titles(recommender.network, prompt, luck, end=0, temperature=1.0)
    first = np.array([tokens[0] if tokens else 0 for tokens in drawn])
    shares = np.bincount(first, minlength=len(recommender.tokenizer)) / len(first)
    with torch.no_grad():
        logits = recommender.network(input_ids=torch.tensor([prompt])).logits[0, -1]
    expected = torch.softmax(logits.double(), dim=-1).numpy()
    assert np.abs(shares - expected).max() <= 1.0 / 20_000


def test_tuning_learns_what_follows_what_and_goes_on_where_it_stood(folder: Path) -> None:
    pytest.importorskip("peft", reason="tuning needs loopaudit[hf]")
    n = 12
    titles = tuple(f"Item {i}" for i in range(n))
    rows = [[(start + step) % n for step in range(4)] for start in range(n)]
    user = np.repeat(np.arange(n, dtype=np.int32), 4)
    item = np.array(list(itertools.chain(*rows)), np.int32)
    log = Interactions(user, item, np.arange(len(item)), n, n)
    told = [[i] for i in range(n)]

    def hits(recommender: CausalLM) -> int:
        top = recommender.recommend(asked(told, k=1)).items[:, 0]
        return int((top == (np.arange(n) + 1) % n).sum())

    args: dict[str, Any] = {"lora_rank": 8, "learning_rate": 0.005, "beams": n, "batch_size": 12}
    args |= {"history_length": 1, "prompt": "$history\nNext:"}
    recommender = CausalLM(model=str(folder), epochs=25, **args)
    heard: list[tuple[int, int, float | None]] = []
    recommender.fit(log, catalog_of(titles), progress=lambda *told: heard.append(told))
    assert hits(fitted(folder, titles, beams=n)) <= 4  # by chance 1
    assert hits(recommender) == n
    assert [loss for _, _, loss in heard] == recommender.losses
    assert recommender.losses[-1] < recommender.losses[0] / 3
    other = CausalLM(model=str(folder), **args)
    other.load_state(recommender.state())
    for one in (recommender, other):
        one.update(log, since=len(log) // 2, seed=1)
    assert all(np.array_equal(a, other.state()[n]) for n, a in recommender.state().items())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "no/such/model"}, "there is no folder 'no/such/model'.*download = true"),
        ({"decode": "loose"}, "decode must be 'constrained' or 'free', got 'loose'"),
        ({"beams": 0}, "beams, longest_title, .* must be at least 1"),
        ({"prompt": "$histroy"}, r"unknown placeholder of the prompt '\$histroy'"),
    ],
)
def test_mistakes_are_named(folder: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        registry.create("hf", {"model": str(folder), **wrong})
