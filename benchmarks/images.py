"""Measures what posters tell of films, and writes docs/images.md.

MovieLens 1M as sequences with posters. In each of three draws a fifth of the films with a poster is
kept from the training of `contrastive`: nobody met them, and their posters were not seen. Asked is
whether a poster finds its film's words, and whether people's held-back films are found.

    python benchmarks/images.py            # five minutes on one core
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from numpy.typing import NDArray

from loopaudit.recommenders.border import Requests
from loopaudit.recommenders.classic.popularity import Popularity
from loopaudit.recommenders.datasets.dataset import Dataset
from loopaudit.recommenders.datasets.sequences import load_sequences
from loopaudit.recommenders.generative.images.contrastive import Contrastive
from loopaudit.recommenders.randomness import generator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "images.md"
DRAWS, SHARE, PEOPLE = 3, 0.2, 2000


def found_at(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], own: NDArray[np.int64]
) -> float:
    """Share of queries whose own row of the gallery is among the 10 nearest."""
    match = queries @ gallery.T
    better = (match > match[np.arange(len(own)), own][:, None]).sum(axis=1)
    return float((better < 10).mean())


def measured(data: Dataset, draw: int) -> dict[str, float]:
    """Everything of one draw, by name."""
    catalog, log = data.catalog, data.log
    if catalog.images is None:
        raise SystemExit("the data folder holds no posters")
    luck = generator(draw, "cold posters")
    poster = catalog.images.any(axis=(1, 2, 3))
    cold = poster & (luck.random(len(catalog)) < SHARE)
    blind = catalog.images.copy()
    blind[cold] = 0
    model = Contrastive()
    model.fit(log, replace(catalog, images=blind), seed=draw)

    said = model.encoded(replace(catalog, images=None))
    seen = model.image_vectors(catalog.images)
    gallery, place = said[poster], np.cumsum(poster) - 1
    row: dict[str, float] = {"chance": 10.0 / poster.sum()}
    for name, which in (("trained", poster & ~cold), ("new", cold)):
        own = np.flatnonzero(which)
        row[f"poster finds words, {name}"] = found_at(seen[own], gallery, place[own])

    warm = log.take(~cold[log.item])
    wanted, histories = log.take(cold[log.item]).histories(), warm.histories()
    people = np.flatnonzero((wanted.lengths > 0) & (histories.lengths > 0))
    people = np.sort(luck.permutation(people)[:PEOPLE]).astype(np.int32)
    asked = Requests(people, histories.take(people), 20, seed=draw)
    there = wanted.take(people)

    def recall(scores: NDArray[np.floating]) -> float:
        """Share of the cold films people chose that are among 20 of the cold ones."""
        open_scores = np.where(cold, scores, -np.inf)
        best = np.argsort(-open_scores, axis=1, kind="stable")[:, :20]
        return float(there.contains(best, len(catalog)).sum() / there.lengths.sum())

    for by in ("image", "text", "both"):
        model.by = by  # type: ignore[assignment]
        model.vectors = model.encoded(catalog)
        row[f"cold films by {by}"] = recall(model.score(asked))
    popularity = Popularity()
    popularity.fit(warm, catalog)
    row["cold films by popularity"] = recall(popularity.score(asked))
    row["cold films at random"] = recall(luck.random((len(people), len(catalog))))
    return row


def main() -> int:
    torch.set_num_threads(1)
    folder = os.environ.get("LOOPAUDIT_DATA") or str(ROOT.parent / "shared" / "data")
    data = load_sequences("ml-1m-sequences", folder=folder)
    rows = []
    for draw in range(DRAWS):
        rows.append(measured(data, draw))
        print(draw, rows[-1], flush=True)
    PAGE.write_text(page(rows), encoding="utf-8")
    return 0


def page(rows: list[dict[str, float]]) -> str:
    """docs/images.md."""

    def cell(name: str) -> str:
        values = [row[name] for row in rows]
        return f"{mean(values):.4f} ± {stdev(values):.4f}"

    chance = mean(row["chance"] for row in rows)
    lines = ["| poster to words, recall@10 | | times chance |", "|---|---:|---:|"]
    for name in ("trained", "new"):
        key = f"poster finds words, {name}"
        times = mean(row[key] for row in rows) / chance
        lines.append(f"| posters: {name} | {cell(key)} | {times:.1f} |")
    lines += [f"| chance | {chance:.4f} | 1 |", ""]
    lines += ["| people's cold films, recall@20 among the cold ones | |", "|---|---:|"]
    for name in ("by both", "by text", "by image", "by popularity", "at random"):
        lines.append(f"| {name} | {cell(f'cold films {name}')} |")
    return _PAGE.format(tables="\n".join(lines), draws=len(rows))


_PAGE = """# What posters tell

Written by `benchmarks/images.py`. A catalog may hold images (`Catalog.images`);
`ml-1m-sequences` reads posters where the data folder holds them. `contrastive` brings images and
words (title and genres, TF-IDF and singular vectors) into one space.

MovieLens 1M, 3,256 posters of 40 by 60 pixels, {draws} draws. In each a fifth of the films is
kept out: nobody met them, and their posters were not seen in training. Means over draws, ± their
standard deviation.

{tables}

A poster of a film that was seen in training finds its words by memory; only the row of new
posters says what an image tells. Popularity knows nothing of films that nobody met: it lists them
in the order of the catalog. The encoders are small (four convolutions, no pre-training), so these
figures say what the plumbing does, not what an image model could.
"""


if __name__ == "__main__":
    sys.exit(main())
