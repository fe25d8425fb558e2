"""A fit that was stopped goes on from an epoch's end, with the bytes of one that never stopped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from loopaudit.recommenders.generative.images.contrastive import Contrastive
from loopaudit.recommenders.generative.networks import luck_state, seeded, set_luck
from loopaudit.recommenders.generative.profiles.cfgan import CFGAN
from loopaudit.recommenders.generative.profiles.diffrec import DiffRec
from loopaudit.recommenders.generative.profiles.multvae import MultVAE
from loopaudit.recommenders.generative.profiles.recvae import RecVAE
from loopaudit.recommenders.generative.retrieval.generative_retrieval import GenerativeRetrieval
from loopaudit.recommenders.generative.sequences.sasrec import SASRec
from loopaudit.recommenders.generative.slates.gflownet import GFlowNet
from loopaudit.recommenders.generative.slates.list_cvae import ListCVAE
from loopaudit.recommenders.generative.text.textlm import TextLM
from loopaudit.recommenders.randomness import generator
from loopaudit.recommenders.testing import RecommenderContract
from loopaudit.recommenders.unfinished import UnfinishedFit, kept_under_way

SMALL = {"hidden_size": 16, "latent_size": 8}
SHORT = {"embedding_size": 16, "max_length": 12, "epochs": 4}
MODELS = {
    "multvae": lambda: MultVAE(**SMALL, epochs=4),
    "recvae": lambda: RecVAE(**SMALL, layers=2, epochs=6),
    "diffrec": lambda: DiffRec(hidden_size=16, epochs=4),
    "cfgan": lambda: CFGAN(hidden_size=16, discriminator_size=8, epochs=4),
    "sasrec, sampled": lambda: SASRec(**SHORT, warm_up=0.3, loss="sampled", negatives=8),
    "genret": lambda: GenerativeRetrieval(**SHORT, quantiser="rqvae", codes=8),
    "textlm": lambda: TextLM(**SHORT | {"max_length": 40}, merges=20),
    "list-cvae": lambda: ListCVAE(embedding_size=8, hidden_size=16, latent_size=4, epochs=4),
    "gflownet": lambda: GFlowNet(
        slate_size=4, embedding_size=8, hidden_size=16, response_epochs=3, epochs=4, steps=3
    ),
    "gflownet, no response": lambda: GFlowNet(
        slate_size=4, embedding_size=8, hidden_size=16, response_epochs=0, epochs=3, steps=3
    ),
    "contrastive": lambda: Contrastive(text_size=16, epochs=4),
}


class Stopped(BaseException):
    """What a kill is to a fit."""


def fitted(make, after=None, kept=None):
    """(a model, the epochs that were heard of, what was kept); stopped by the n-th time of keeping
    if it is to be."""
    world, heard, written = RecommenderContract(), [], []

    def write(state):
        written.append({name: np.array(array) for name, array in state.items()})
        if len(written) == after:
            raise Stopped

    fit = UnfinishedFit(lambda: None if kept is None else dict(kept), write)
    images = np.random.default_rng(0).integers(1, 255, (world.n_items, 12, 8, 3)).astype(np.uint8)
    model = make()
    try:
        with kept_under_way(model, fit):
            model.fit(
                world.log(),
                replace(world.catalog(), images=images),
                seed=3,
                progress=lambda done, total, loss: heard.append(done),
            )
    except Stopped:
        assert model.unfinished is None
    return model, heard, written


@pytest.fixture(autouse=True)
def kept_after_every_epoch(monkeypatch):
    monkeypatch.setattr("loopaudit.recommenders.unfinished._RARELY", 0.0)


@pytest.mark.parametrize("name", MODELS)
def test_it_ends_with_the_bytes_of_one_that_never_stopped(name):
    whole, all_epochs, kept = fitted(MODELS[name])
    for n in range(1, len(kept) + 1):
        _, first, written = fitted(MODELS[name], after=n)
        model, second, _ = fitted(MODELS[name], kept=written[-1])
        unheard = name == "gflownet" and n < 3  # of the response model, whose losses nobody hears
        done = 0 if unheard else len(first) + 1
        assert second == all_epochs[done:]
        expected, got = whole.state(), model.state()
        assert expected.keys() == got.keys()
        for key in expected:
            assert expected[key].tobytes() == got[key].tobytes(), (n, key)


def test_the_luck_of_numpy_and_of_torch_is_moved_back():
    of_torch, of_numpy = seeded(5, "test"), generator(5, "test")
    torch.rand(3, generator=of_torch)
    states = luck_state(of_torch), luck_state(of_numpy)
    drawn = torch.rand(4, generator=of_torch), of_numpy.random(4)
    set_luck(of_torch, states[0])
    set_luck(of_numpy, states[1])
    assert torch.equal(torch.rand(4, generator=of_torch), drawn[0])
    assert np.array_equal(of_numpy.random(4), drawn[1])


def test_keeping_costs_a_small_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("loopaudit.recommenders.unfinished._RARELY", 50.0)
    monkeypatch.setattr("loopaudit.recommenders.unfinished.monotonic", lambda: now[0])
    written = []

    def write(state):
        now[0] += 0.125
        written.append(int(state["epochs"][0]))

    fit = UnfinishedFit(lambda: None, write)
    fit.begin(np.zeros(1, np.uint8))
    for epoch in range(1, 40):
        now[0] += 1.0
        fit.note(epoch, 40, np.zeros(1, np.uint8), dict)
    assert written == [1, 8, 15, 22, 29, 36]
