"""Measures the generative recommenders where papers published figures, and writes docs/models.md.

Every row is one documented call of ``loopaudit evaluate``, run one after the other; what has been
measured is kept in benchmarks/models.json and not measured again, so the script can be stopped and
started. It needs the data folder (``LOOPAUDIT_DATA``, else shared/data beside the checkout). Where
``LOOPAUDIT_FITS`` names a folder, fits are kept there, and those that ``evaluate --validation
--keep`` left there are not made again.

    python benchmarks/models.py                 # all that is missing
    python benchmarks/models.py E-multvae       # this anchor again
    python benchmarks/models.py --page          # only the page, from what is kept
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from protocols import PROTOCOLS, Protocol

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "models.json"
PAGE = ROOT / "docs" / "models.md"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Row = dict[str, float]
"""The numbers of one evaluated recommender, as ``loopaudit evaluate --json`` names them."""


@dataclass(frozen=True)
class Anchor:
    """One recommender under one protocol.

    Attributes:
        protocol, name: of the recommender.
        settings: NAME.ARG=VALUE where they are not the defaults.
        seeds: how many trainings.
        published: figures by metric; source: where they stand.
        at_least: the floor of our own, by metric.
        variant: a word that tells two settings of one recommender apart.
    """

    protocol: str
    name: str
    settings: tuple[str, ...] = ()
    seeds: int = 3
    published: tuple[tuple[str, float], ...] = ()
    source: str = ""
    at_least: tuple[tuple[str, float], ...] = ()
    variant: str = ""

    @property
    def key(self) -> str:
        """What it is called on the command line of this script."""
        return "-".join(filter(None, (self.protocol, self.name, self.variant)))

    def command(self, data: str = "DATA") -> list[str]:
        """The documented call, without its seed."""
        words = ["loopaudit", "evaluate", self.name, *PROTOCOLS[self.protocol].words(data)]
        for setting in self.settings:
            words += ["--set", setting]
        return words


_C = (("recall@10", 0.1058), ("recall@20", 0.1787), ("ndcg@10", 0.0901), ("ndcg@20", 0.1148))
_C_VAE = (("recall@10", 0.1007), ("recall@20", 0.1726), ("ndcg@10", 0.0825), ("ndcg@20", 0.1076))
_D_GAN = (
    ("precision@5", 0.444),
    ("recall@5", 0.152),
    ("ndcg@5", 0.476),
    ("mrr@5", 0.681),
    ("precision@20", 0.294),
)
_E_VAE = (("ndcg@10", 0.3144), ("recall@10", 0.2630), ("recall@20", 0.3783))
_E_DIFFUSION = (("ndcg@10", 0.3166), ("recall@10", 0.2613), ("recall@20", 0.3770))
_E_ALS = (("ndcg@10", 0.3220), ("recall@10", 0.2698), ("recall@20", 0.3856))
_E_SETTINGS = ("diffrec.epochs=60", "diffrec.learning_rate=0.001")
_C_MULTVAE = (
    "multvae.learning_rate=0.003",
    "multvae.weight_decay=0.3",
    "multvae.batch_size=128",
    "multvae.epochs=40",
)
_C_DIFFREC = (
    "diffrec.middle_size=100",
    "diffrec.noise_scale=0.005",
    "diffrec.noise_min=0.005",
    "diffrec.noise_max=0.01",
    "diffrec.weight_decay=0",
    "diffrec.batch_size=400",
    "diffrec.epochs=10",
)
_D_CFGAN = ("cfgan.epochs=200",)
_E_MULTVAE = ("multvae.beta=0.4",)
_E_RECVAE = (
    "recvae.layers=3",
    "recvae.gamma=0.0015",
    "recvae.weight_decay=2.0",
    "recvae.epochs=40",
    "recvae.encoder_epochs=1",
)
_CFGAN_PAPER = "CFGAN paper"
_DIFFREC_PAPER = "DiffRec paper, table 2"

_A_SASREC = (
    "sasrec.blocks=2",
    "sasrec.max_length=200",
    "sasrec.batch_size=32",
    "sasrec.epochs=24",
    "sasrec.warm_up=0.03",
)
_A_GRU = ("gru4rec.max_length=100", "gru4rec.epochs=14", "gru4rec.warm_up=0.03")
_AMAZON_SASREC = (
    "sasrec.heads=1",
    "sasrec.dropout=0.5",
    "sasrec.learning_rate=0.001",
    "sasrec.batch_size=128",
    "sasrec.epochs=20",
    "sasrec.warm_up=0.03",
)
_L_HSTU = ("hstu.max_length=100", "hstu.batch_size=32", "hstu.epochs=40")
_A_GOAL = (("hit@10", 0.300), ("ndcg@10", 0.172))

_TIGER_PAPER = "TIGER paper"
_B_TIGER = (("hit@5", 0.0454), ("ndcg@5", 0.0321), ("hit@10", 0.0648), ("ndcg@10", 0.0384))
_T_TIGER = (("hit@5", 0.0521), ("ndcg@5", 0.0371), ("hit@10", 0.0712), ("ndcg@10", 0.0432))

ANCHORS = (
    Anchor(
        "A",
        "sasrec",
        _A_SASREC,
        1,
        (("hit@10", 0.3152), ("ndcg@10", 0.1821)),
        "the same network and loss, Klenitskiy & Vasilev 2023",
        _A_GOAL,
    ),
    Anchor(
        "A",
        "gru4rec",
        _A_GRU,
        1,
        (("hit@10", 0.2811), ("ndcg@10", 0.1648)),
        "Zhai et al. 2024, table of HSTU's code",
        (("hit@10", 0.25),),
    ),
    Anchor(
        "A",
        "bert4rec",
        ("bert4rec.max_length=100", "bert4rec.mask=0.4", "bert4rec.epochs=30"),
        1,
        (("hit@10", 0.2843), ("ndcg@10", 0.1537)),
        "Klenitskiy & Vasilev 2023",
    ),
    Anchor(
        "A",
        "hstu",
        ("hstu.max_length=100", "hstu.epochs=16"),
        1,
        (("hit@10", 0.3097), ("ndcg@10", 0.1720)),
        "Zhai et al. 2024, table of HSTU's code",
    ),
    Anchor("L", "hstu", (*_L_HSTU, "hstu.times=false"), 1, variant="order"),
    Anchor("L", "hstu", (*_L_HSTU, "hstu.times=true"), 1, variant="times"),
    Anchor(
        "B",
        "sasrec",
        _AMAZON_SASREC,
        1,
        (("hit@10", 0.0928), ("ndcg@10", 0.0523)),
        "eSASRec",
        (("ndcg@10", 0.048),),
    ),
    Anchor("T", "sasrec", _AMAZON_SASREC, 1),
    Anchor("B", "genret", (), 1, _B_TIGER, _TIGER_PAPER, (("ndcg@10", 0.0384),)),
    Anchor("T", "genret", (), 1, _T_TIGER, _TIGER_PAPER),
    Anchor("C", "multvae", _C_MULTVAE, 1, _C_VAE, _DIFFREC_PAPER, (("ndcg@10", 0.080),)),
    Anchor("C", "diffrec", _C_DIFFREC, 1, _C, _DIFFREC_PAPER, (("ndcg@10", 0.087),)),
    Anchor(
        "D",
        "cfgan",
        _D_CFGAN,
        3,
        _D_GAN,
        _CFGAN_PAPER,
        (("precision@5", 0.42),),
        "noise",
    ),
    Anchor(
        "D",
        "cfgan",
        ("cfgan.noise_size=0", *_D_CFGAN),
        3,
        _D_GAN,
        _CFGAN_PAPER,
        (("precision@5", 0.42),),
        "plain",
    ),
    Anchor("E", "multvae", _E_MULTVAE, 10, _E_VAE, "RecBole 1.2.1", (("ndcg@10", 0.314),)),
    Anchor("E", "multdae"),
    Anchor("E", "recvae", _E_RECVAE, 10),
    Anchor("E", "list-cvae", (), 1),
    Anchor("E", "gflownet", (), 1),
    Anchor("E", "pages", (), 1),
    Anchor("E", "ldiffrec", (), 1),
    Anchor("E", "als", (), 3, _E_ALS, "implicit 0.7.3", (("ndcg@10", 0.31),)),
    Anchor("E", "diffrec", _E_SETTINGS, 3, _E_DIFFUSION, "RecBole 1.2.1", (("ndcg@10", 0.316),)),
)


def main() -> int:
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    kept: dict[str, dict[str, dict[str, Row]]] = (
        json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    )
    for anchor in () if "--page" in sys.argv else ANCHORS:
        if asked and anchor.key not in asked:
            continue
        done = {} if asked else kept.get(anchor.key, {})
        for seed in range(anchor.seeds):
            if str(seed) not in done:
                done[str(seed)] = measured(anchor, seed)
                print(anchor.key, seed, done[str(seed)][anchor.name], flush=True)
                kept[anchor.key] = done
                text = json.dumps(kept, indent=1, sort_keys=True)
                KEPT.write_text(text + "\n", encoding="utf-8")
                PAGE.write_text(page(kept), encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    return 0


def measured(anchor: Anchor, seed: int) -> dict[str, Row]:
    """The anchor's numbers and the baselines', by name, from a process of its own."""
    data = os.environ.get("LOOPAUDIT_DATA") or str(ROOT.parent / "shared" / "data")
    words = [*anchor.command(data)[1:], "--seed", str(seed), "--json", "--quiet"]
    if "LOOPAUDIT_FITS" in os.environ:
        words += ["--keep", os.environ["LOOPAUDIT_FITS"]]
    answer = subprocess.run(
        [sys.executable, "-m", "loopaudit", *words],
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        check=True,
    )
    rows = json.loads(answer.stdout)["evaluations"]
    return {
        row["recommender"]: {
            name: round(value, 5)
            for name, value in row.items()
            if isinstance(value, float | int) and not name.endswith((" low", " high"))
        }
        for row in rows
    }


def page(kept: dict[str, dict[str, dict[str, Row]]]) -> str:
    """docs/models.md."""
    parts = [_HEAD]
    for letter, on in PROTOCOLS.items():
        mine = [a for a in ANCHORS if a.protocol == letter and a.key in kept]
        if not mine:
            continue
        parts.append(f"## {on.title}\n\n{on.text}\n")
        heads = ["recommender", "seeds", *on.metrics, "CPU s"]
        parts.append("\n".join(_table(heads, _rows(on, mine, kept))) + "\n")
        calls = [" ".join(anchor.command()) + " --seed SEED" for anchor in mine]
        parts.append("```\n" + "\n".join(calls) + "\n```\n")
    return "\n".join(parts)


def _rows(
    on: Protocol, anchors: Iterable[Anchor], kept: dict[str, dict[str, dict[str, Row]]]
) -> Iterable[list[str]]:
    baselines: dict[str, Row] = {}
    for anchor in anchors:
        runs = [run[anchor.name] for _, run in sorted(kept[anchor.key].items())]
        for run in kept[anchor.key].values():
            baselines |= {name: row for name, row in run.items() if name != anchor.name}
        floors, published = dict(anchor.at_least), dict(anchor.published)
        cells = []
        for metric in on.metrics:
            values = [run[metric] for run in runs]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            missed = metric in floors and mean(values) < floors[metric]
            cells.append(
                f"{mean(values):.4f}{spread}" + (f", below {floors[metric]:g}" if missed else "")
            )
        cost = f"{mean(run['fit_seconds'] for run in runs):.0f}"
        yield [
            f"**{' '.join(filter(None, (anchor.name, anchor.variant)))}**",
            str(len(runs)),
            *cells,
            cost,
        ]
        if published:
            theirs = [f"{published[m]:g}" if m in published else "" for m in on.metrics]
            yield [f"published: {anchor.source}", "", *theirs, ""]
    for name, row in baselines.items():
        yield [name, "", *(f"{row[m]:.4f}" for m in on.metrics), f"{row['fit_seconds']:.0f}"]


def _table(heads: list[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * 2 + "|---:" * (len(heads) - 2) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


_HEAD = """# The generative recommenders at their papers' quality

Written by `benchmarks/models.py`; the numbers behind it are in `benchmarks/models.json`.

Each model was trained by the call below its table, once a seed; figures are means over seeds, ±
their standard deviation, beside what was published for the same split and beside the trivial
baselines. CPU seconds are those of one fit on one thread of a shared machine. Settings were chosen
on validation data only (`--validation`), never on the test, with one exception: the defaults of
`multvae` are older than this rule and were picked with the test of split E in sight; of them only
the KL weight was chosen again, on validation. DATA is a folder with the files named; they may not
be redistributed. With `--keep DIR` a call whose fit takes long may be stopped: given again, it goes
on from the epochs it had done, to the same bytes.

Full ranking, one implementation of every metric; precision@k divides by k, recall@k by what there
was to find, NDCG is binary with the ideal cut at k. Figures of DiffRec's and CFGAN's papers are
quoted from memory and were not read off the papers again: take them as an order of size. The
definitions of DiffRec, CFGAN and RecVAE were compared with their authors' published code.
"""


if __name__ == "__main__":
    sys.exit(main())
