"""On which data, split how, the figures of docs/models.md can be compared with published ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Data and split on which figures can be compared.

    Attributes:
        title, text: for the page.
        data: a file below the data folder, or a named data set, split leave-last-out.
        ks: list lengths.
        metrics: columns of its table.
        history: what people are served from.
    """

    title: str
    text: str
    data: str
    ks: tuple[int, ...]
    metrics: tuple[str, ...]
    history: str = "train"

    def words(self, folder: str) -> list[str]:
        """The part of the call that says what is measured on."""
        words = ["--data", f"{folder}/{self.data}"]
        if "/" not in self.data:
            words = ["--data", self.data, "--folder", folder, "--split", "leave-last-out"]
        if self.history != "train":
            words += ["--history", self.history]
        for k in self.ks if self.ks != (10, 20) else ():
            words += ["--k", str(k)]
        return words


_SEQUENCE = ("hit@10", "ndcg@10", "hit@20", "ndcg@20", "coverage@10")

PROTOCOLS = {
    "A": Protocol(
        "A: MovieLens 1M, the last item of each",
        "6,040 people, 3,416 items, 999,601 choices in order (SASRec's 5-core set); the last item "
        "of each person is the test, the one before it validation. Fitted on train, served from "
        "train and validation, which are not listed again; with one item to find, hit@k is "
        "recall@k.\n\n"
        "`bert4rec` stays below what was published. It is the paper's network but for where it "
        "normalises and for dropout of attention weights. Before its GELU layers of four times "
        "the width and the layer in front of the item table were as in the paper, 36 epochs with "
        "a mask of .3 gave .2483 after 646 CPU seconds: no difference beyond luck. On validation "
        "12 epochs of the earlier network gave .219, 30 of this one .255; Petrov & Macdonald 2022 "
        "report that it needs far longer training than other models, which was not tried here.",
        "derived/ml1m_loo.npz",
        (10, 20),
        _SEQUENCE,
        "train+valid",
    ),
    "L": Protocol(
        "L: MovieLens 100K, the last item of each",
        "943 people, 1,682 items, 100,000 ratings, each a positive, with the second it was given; "
        "split and served as in A. Who reads times is told how long before each person comes back "
        "for the film to foresee they rated what they had rated: a recommender in use knows what "
        "time it is. On A times are unknown, for of MovieLens 1M we have the order alone.\n\n"
        "The bias by time of `hstu`, trained once with and once without, shows no gain that 943 "
        "people could tell from luck: hit@10 on validation .2322 with, .2291 without (paired "
        "difference .003, standard error .010), on the test -.013 (.011). Where it is told how "
        "long ago the older items were met, but not when the person came back, validation gives "
        ".2344. Trained with times and asked without any, it falls to .1994: whoever trains with "
        "times should have them in use.",
        "ml-100k",
        (10, 20),
        _SEQUENCE,
        "train+valid",
    ),
    "B": Protocol(
        "B: Amazon Beauty 2014, the last item of each",
        "22,363 people, 12,101 items, 198,502 choices in order (5-core); split and served as in A. "
        "Nobody chooses an item twice.",
        "amazon-beauty",
        (5, 10),
        ("hit@5", "ndcg@5", "hit@10", "ndcg@10", "coverage@10"),
        "train+valid",
    ),
    "T": Protocol(
        "T: Amazon Toys & Games 2014, the last item of each",
        "19,412 people, 11,924 items, 167,597 choices in order (5-core); split and served as in A.",
        "amazon-toys",
        (5, 10),
        ("hit@5", "ndcg@5", "hit@10", "ndcg@10", "coverage@10"),
        "train+valid",
    ),
    "C": Protocol(
        "C: MovieLens 1M, DiffRec's split",
        "5,949 people, 2,810 items, ratings of 4 and more; in each person's order of time, 70 % "
        "train, 20 % validation, 10 % test, as the files are named. Served from train only; train "
        "and validation are not listed again.\n\n"
        "In time the part named test comes before the part named validation: what follows the "
        "last film of train as films follow each other within a part is the first film of test, "
        "not of validation, and the first film of validation follows the last of test (issues 4 "
        "and 15 of DiffRec's repository noticed the sizes). So the test is each person's very next "
        "films, and whoever uses order has an advantage that models of unordered histories cannot "
        "have: `markov` falls from NDCG@10 .151 to .066 when the films of train are shuffled "
        "within each person, the others stay. Compare rows of one kind here.\n\n"
        "For the same reason settings here were chosen on each person's last tenth of train "
        "(`--validation-last`), fitted on the rest: it resembles the test, and no test or "
        "validation film is in it. EASE (300) has NDCG@10 .0773 there. `diffrec`: one hidden layer "
        "of 600 under the defaults .0684 (a layer of 1,000 and little noise: .0665); the middle "
        "layer of 200, noise and rate of the authors' code .0711 over 40 steps, and over 5 with a "
        "rate that falls .0722; a middle of 100 trained for fewer steps at a higher rate, the row "
        "here, .0731. Averaged weights (.0728), all steps alike (.0728), weight decay (.0727), "
        "dropout .3 (.0722) and .7 (.0697), a net of 1,000 and 200 (.0724), histories of length 1 "
        "(.0701), fewer jumps back (.0723): within luck of that, or worse. The test was looked at "
        "once before, at the middle of 200: .0863. `multvae`: .0669 after 20 epochs at rate .002, "
        "the row here .0710, the defaults with beta .4 .0654.",
        "derived/ml1m_diffrec_split.npz",
        (10, 20),
        ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "coverage@10"),
    ),
    "D": Protocol(
        "D: MovieLens 100K, CFGAN's split",
        "943 people, 1,682 items, every rating a positive; 80 % train, 20 % test at random. There "
        "is no validation part: settings were chosen on a fifth of train, drawn at random, where "
        "EASE (300) has precision@5 .2456. The network and its loss are those of the authors' "
        "published code; so are the settings but for steps of 64 rows at ten times the rate, which "
        "falls: .2352 after 78 CPU seconds, where the authors' rate and batches have .2335 after "
        "124 and .2403 after 180. This library's first CFGAN (tanh, a sigmoid output, a mean pull "
        "to zero, decoupled decay) had .408 on the test without noise, .400 with it.",
        "ml-100k-cfgan-split/ML100K.train",
        (5, 20),
        ("precision@5", "recall@5", "ndcg@5", "mrr@5", "precision@20", "coverage@5", "gini@5"),
    ),
    "E": Protocol(
        "E: MovieLens 100K, at random",
        "943 people, 1,682 items; of each person 80 % train, 10 % validation, 10 % test at random. "
        "Served from train only. The published figures are other libraries' on the same split.\n\n"
        "Mult-VAE and RecVAE were set beside each other with ten seeds each: RecVAE is lower by "
        "NDCG@10 .0031 (.0003 to .0059, a t interval paired by seed); its paper has it above on "
        "larger data. On validation (two seeds): Mult-VAE .2621, with beta .4 .2685, the row "
        "here; RecVAE .2624, gamma .004 .2582, the decoder trained as often as the encoder .2650, "
        "the row here, that and twice the rate .2622, that and gamma .001 over 50 epochs .2591. "
        "With its defaults Mult-VAE has .3218 on the test (docs/seeds.md), level with RecVAE.",
        "derived/ml100k_rnd.npz",
        (10, 20),
        ("ndcg@10", "recall@10", "recall@20", "coverage@10"),
    ),
}
