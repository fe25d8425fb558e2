"""Synthetic people: histories drawn from a generative recommender, to learn from or to give away.

Whether they help new people and new items was measured: docs/cold-start.md. They are drawn from
models of real histories and are not private: a generator can repeat what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from .border import Requests
from .catalog import Catalog
from .errors import UserError
from .interactions import Interactions, Ragged
from .randomness import generator, stream, uniform
from .ranking import blocks, top_k_exact

_Weights = Callable[[Ragged, NDArray[np.int64]], NDArray[np.float64]]
"""Real histories and the numbers of the synthetic people they are models of, to (n, items) log
weights by which items are drawn."""

Source = Literal["multvae", "cfgan", "resampled"]

SOURCES: tuple[Source, ...] = ("multvae", "cfgan", "resampled")
"""What synthetic people can be drawn from; "resampled" is the control that generates nothing."""

KEPT = 0.8
"""Share of a real history that a resampled one keeps."""


def synthetic_people(
    log: Interactions,
    catalog: Catalog,
    *,
    people: int,
    source: Source = "multvae",
    args: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Interactions:
    """Histories of people who do not exist.

    Each begins with a real person drawn at random, and is as long as another one's history.
    "multvae": a taste z ~ q(z | real history), then items without replacement from p(item | z),
    by Gumbel noise on log p (W. Kool, H. van Hoof & M. Welling, ICML 2019). "cfgan": the same from
    the odds of the vector that the generator makes of the real history and fresh noise.
    "resampled": the real history with a fifth of its items left out, a control without a model.

    Args:
        log: what real people did; at least one interaction.
        catalog: the items.
        people: how many to draw.
        source: one of :data:`SOURCES`.
        args: arguments of the generator, where they are not its defaults.
        seed: same seed, same people.

    Returns:
        A log of users 0 to ``people`` - 1 over the same items, all at one step before the log's.

    Raises:
        UserError: an empty log, an unknown source or fewer than one person.
    """
    if source not in SOURCES:
        raise UserError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    if people < 1 or len(log) == 0:
        raise UserError(
            f"people must be at least 1 and the log not empty, got {people} and {len(log)} rows"
        )
    real = log.histories()
    rows = np.flatnonzero(real.lengths)
    luck = generator(seed, "synthesis", source)
    models = real.take(luck.choice(rows, people))
    if source == "resampled":
        keep = luck.random(len(models.values)) < KEPT
        user, item = models.row_index[keep], models.values[keep]
    else:
        lengths = real.lengths[luck.choice(rows, people)]
        learn = _multvae if source == "multvae" else _cfgan
        weights = learn(log, catalog, args or {}, seed)
        key = stream(seed, f"synthesis/{source}/items")
        drawn = []
        for part in blocks(people, len(catalog)):
            noise = uniform(key, part[:, None], np.arange(len(catalog))[None, :])
            worth = weights(models.take(part), part) - np.log(-np.log(noise))  # (n, items)
            drawn.append(top_k_exact(worth, int(lengths.max())))
        items = np.concatenate(drawn)  # (people, longest)
        user, place = np.nonzero((np.arange(items.shape[1]) < lengths[:, None]) & (items >= 0))
        item = items[user, place]
    step = np.full(len(user), int(log.step.min()) - 1, np.int64)
    return Interactions(user.astype(np.int32), item.astype(np.int32), step, people, len(catalog))


def beside_real(log: Interactions, synthetic: Interactions) -> Interactions:
    """The log with synthetic people in it, as users beyond the real ones."""
    n_users = log.n_users + synthetic.n_users
    made = Interactions(
        synthetic.user + np.int32(log.n_users),
        synthetic.item,
        synthetic.step,
        n_users,
        log.n_items,
    )
    return made.then(Interactions(log.user, log.item, log.step, n_users, log.n_items))


def _multvae(
    log: Interactions, catalog: Catalog, args: Mapping[str, object], seed: int
) -> _Weights:
    """log p(item | z) with z drawn for each synthetic person."""
    from .generative.profiles.multvae import MultVAE

    model = MultVAE(**args)  # type: ignore[arg-type]
    model.fit(log, catalog, seed=seed)
    size = model.latent_size

    def weights(models: Ragged, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        mu, log_var = model.posterior(models)  # (n, latent) each
        luck = uniform(stream(seed, "synthesis/taste"), numbers[:, None], np.arange(size)[None, :])
        return model.log_chances(mu + np.exp(0.5 * log_var) * ndtri(luck))

    return weights


def _cfgan(log: Interactions, catalog: Catalog, args: Mapping[str, object], seed: int) -> _Weights:
    """log odds of the vector that the generator makes of a real history and fresh noise."""
    from .generative.profiles.cfgan import CFGAN

    model = CFGAN(based="user", **args)  # type: ignore[arg-type]
    model.fit(log, catalog, seed=seed)

    def weights(models: Ragged, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        asked = Requests(numbers.astype(np.int32), models, 1, seed=seed)
        chance = np.clip(model.score(asked).astype(np.float64), 1e-6, 1.0 - 1e-6)
        return np.asarray(np.log(chance / (1.0 - chance)))

    return weights
