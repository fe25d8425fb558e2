"""Every built-in recommender keeps the contract, and byte for byte: no tolerance."""

from dataclasses import replace

import numpy as np

from loopaudit.recommenders.classic.als import ALS
from loopaudit.recommenders.classic.bprmf import BPRMF
from loopaudit.recommenders.classic.ease import EASE
from loopaudit.recommenders.classic.itemknn import ItemKNN
from loopaudit.recommenders.classic.markov import Markov
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.classic.random import Random
from loopaudit.recommenders.classic.tfidf import TfIdf
from loopaudit.recommenders.generative.images.contrastive import Contrastive
from loopaudit.recommenders.generative.profiles.cfgan import CFGAN
from loopaudit.recommenders.generative.profiles.diffrec import DiffRec
from loopaudit.recommenders.generative.profiles.ldiffrec import LDiffRec
from loopaudit.recommenders.generative.profiles.multdae import MultDAE
from loopaudit.recommenders.generative.profiles.multvae import MultVAE
from loopaudit.recommenders.generative.profiles.recvae import RecVAE
from loopaudit.recommenders.generative.retrieval.generative_retrieval import GenerativeRetrieval
from loopaudit.recommenders.generative.sequences.bert4rec import BERT4Rec
from loopaudit.recommenders.generative.sequences.gru4rec import GRU4Rec
from loopaudit.recommenders.generative.sequences.hstu import HSTU
from loopaudit.recommenders.generative.sequences.sasrec import SASRec
from loopaudit.recommenders.generative.slates.gflownet import GFlowNet
from loopaudit.recommenders.generative.slates.list_cvae import ListCVAE
from loopaudit.recommenders.generative.slates.pages import Pages
from loopaudit.recommenders.generative.text.textlm import TextLM
from loopaudit.recommenders.testing import RecommenderContract


class Exact(RecommenderContract):
    score_tolerance = 0.0


class TestRandom(Exact):
    def make(self):
        return Random()


class TestPopularity(Exact):
    def make(self):
        return Popularity()


class TestItemKNN(Exact):
    def make(self):
        return ItemKNN(neighbours=20)


class TestItemKNNByCosine(Exact):
    def make(self):
        return ItemKNN(neighbours=20, similarity="cosine")


class TestEASE(Exact):
    def make(self):
        return EASE(reg=10.0)


class TestALS(Exact):
    def make(self):
        return ALS(embedding_size=8, iterations=4)


class TestBPRMF(Exact):
    def make(self):
        return BPRMF(embedding_size=16, epochs=5)


class TestTfIdf(Exact):
    def make(self):
        return TfIdf()


class TestMarkov(Exact):
    def make(self):
        return Markov()


class TestMultVAE(Exact):
    def make(self):
        return MultVAE(hidden_size=32, latent_size=8, epochs=3)


class TestMultVAEThatSamples(Exact):
    def make(self):
        return MultVAE(hidden_size=32, latent_size=8, epochs=3, sample=True, propensity_draws=4)


class TestMultDAE(Exact):
    def make(self):
        return MultDAE(latent_size=16, epochs=3)


class TestRecVAE(Exact):
    def make(self):
        return RecVAE(hidden_size=32, latent_size=8, layers=3, epochs=8)


class TestCFGAN(Exact):
    def make(self):
        return CFGAN(hidden_size=16, discriminator_size=8, epochs=3)


class TestCFGANByUserWithoutNoise(Exact):
    def make(self):
        return CFGAN(based="user", hidden_size=16, discriminator_size=8, epochs=3, noise_size=0)


class TestListCVAE(Exact):
    def make(self):
        return ListCVAE(embedding_size=8, hidden_size=16, latent_size=4, epochs=3)


class TestGFlowNet(Exact):
    def make(self):
        return GFlowNet(
            embedding_size=8,
            hidden_size=16,
            people=4,
            slates=4,
            steps=5,
            response_epochs=3,
            epochs=2,
        )


class TestPages(Exact):
    def make(self):
        return Pages(hidden_size=32, latent_size=8, epochs=3)


class TestDiffRec(Exact):
    def make(self):
        return DiffRec(hidden_size=32, epochs=3)


class TestDiffRecThatCorrupts(Exact):
    def make(self):
        return DiffRec(hidden_size=32, epochs=3, noise_max=0.5, noise_scale=1.0, corrupt_steps=5)


class TestContrastive(Exact):
    def make(self):
        return Contrastive(text_size=16, epochs=2)

    def catalog(self):
        """With images: a shade of grey by topic."""
        plain = super().catalog()
        shade = np.repeat(
            40 + 50 * np.arange(self.n_items) % 4 + np.arange(self.n_items), 8 * 8 * 3
        )
        images = shade.reshape(self.n_items, 8, 8, 3).astype(np.uint8)
        return replace(plain, images=images)


class TestLDiffRec(Exact):
    def make(self):
        return LDiffRec(hidden_size=16, latent_size=8, epochs=3)


class TestSASRec(Exact):
    def make(self):
        return SASRec(embedding_size=16, max_length=12, epochs=2)


SMALL = {"embedding_size": 16, "blocks": 1, "max_length": 24, "epochs": 2}


class TestTextLM(Exact):
    def make(self):
        return TextLM(**SMALL)


class TestTextLMThatDraws(Exact):
    def make(self):
        return TextLM(**SMALL, sample=True)


class TestTextLMWithoutACatalog(Exact):
    def make(self):
        return TextLM(**SMALL | {"epochs": 12}, constrained=False, beams=60)


class TestTextLMThatExplains(Exact):
    def make(self):
        return TextLM(**SMALL, explain="evidence")


class TestGenerativeRetrieval(Exact):
    def make(self):
        return GenerativeRetrieval(embedding_size=16, max_length=12, epochs=2, beams=80)


class TestGenerativeRetrievalFromAnRQVAE(Exact):
    def make(self):
        return GenerativeRetrieval(
            embedding_size=16, max_length=12, epochs=1, beams=80, quantiser="rqvae", levels=2
        )


class TestGenerativeRetrievalUnconstrained(Exact):
    def make(self):
        return GenerativeRetrieval(
            embedding_size=16, max_length=12, epochs=2, beams=80, constrained=False
        )


class TestSASRecByYesOrNo(Exact):
    def make(self):
        return SASRec(embedding_size=16, max_length=12, epochs=4, loss="bce", negatives=4)


class TestGRU4Rec(Exact):
    def make(self):
        return GRU4Rec(embedding_size=16, hidden_size=16, max_length=12, epochs=2)


class TestBERT4Rec(Exact):
    def make(self):
        return BERT4Rec(embedding_size=16, blocks=1, max_length=12, epochs=4)


class TestHSTU(Exact):
    def make(self):
        return HSTU(embedding_size=16, blocks=1, max_length=12, epochs=2, loss="sampled")
