"""The words of items as TF-IDF vectors: one definition for all that read titles and descriptions.

G. Salton & C. Buckley, "Term-weighting approaches in automatic text retrieval", Information
Processing and Management 24(5), 1988; inverse document frequency as in scikit-learn, whose
TfidfVectorizer counts and weighs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .catalog import Catalog

_WORD = re.compile(r"\w+")


def words_of(catalog: Catalog, *, since: int = 0, topic_weight: int = 0) -> list[list[str]]:
    """The words of each item's title and description, in their order, from item ``since`` on.

    Args:
        catalog: the items.
        since: the first item.
        topic_weight: how often each of an item's topics counts as a word.
    """
    texts = catalog.titles if catalog.text is None else catalog.text
    has = catalog.topics > 0
    found = []
    for item in range(since, len(catalog)):
        title, text = catalog.titles[item], texts[item]
        said = title if text == title else f"{title} {text}"
        words = _WORD.findall(unicodedata.normalize("NFKC", said).casefold())
        topics = [f"topic {catalog.topic_names[t]}" for t in np.flatnonzero(has[item])]
        found.append(words + topics * topic_weight)
    return found


@dataclass(frozen=True)
class WordWeights:
    """How much each word of a catalog says, good for later items too.

    Word w of item i weighs (1 + ln n_wi) (ln((1 + items) / (1 + items with w)) + 1), and the
    weights of an item have length 1.

    Attributes:
        words: (words,) the vocabulary, sorted.
        rarity: (words,) float64 the second factor.
    """

    words: NDArray[np.str_]
    rarity: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]], *, at_least: int = 1) -> WordWeights:
        """From the words of each item; those in fewer than ``at_least`` items are left out."""
        counted = _vectorizer(min_df=at_least)
        try:
            counted.fit(rows)
        except ValueError:  # scikit-learn knows no empty vocabulary
            return cls(np.zeros(0, np.str_), np.zeros(0))
        return cls(counted.get_feature_names_out().astype(np.str_), counted.idf_)

    def vectors(self, rows: Sequence[Sequence[str]]) -> sp.csr_matrix:
        """(items, words) the weights of each item's words; words not in the vocabulary are none."""
        if len(self.words) == 0:
            return sp.csr_matrix((len(rows), 0))
        known = _vectorizer(vocabulary=self.words.tolist())
        known.idf_ = self.rarity
        return sp.csr_matrix(known.transform(rows))


def _vectorizer(**more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes half a second

    return TfidfVectorizer(analyzer=list, sublinear_tf=True, **more)
