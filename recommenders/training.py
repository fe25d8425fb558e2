"""What a model tells of its training: its loss epoch by epoch, and how much there is to learn.

A recommender that trains in epochs keeps ``losses``, the mean loss of each epoch since its last
fit, updates included; whoever watches compares it before and after. Nothing is asked of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .guard import Guard


def losses_of(recommender: object) -> tuple[float, ...]:
    """The loss of each epoch since the last fit; () where it keeps none, or keeps something else.

    Args:
        recommender: guarded or not; it may be anybody's, so nothing that it holds is trusted.
    """
    try:
        return tuple(float(loss) for loss in _inside(recommender).losses)
    except Exception:  # none, a property that raises, things that are no numbers
        return ()


def new_losses(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """The epochs that were added between two readings of :func:`losses_of`.

    A model that learns on adds to what was there; one that was fitted anew starts over, and all
    that it tells now is new.
    """
    kept = len(before)
    return tuple(now[kept:] if list(now[:kept]) == list(before) else now)


def n_parameters_of(recommender: object) -> int | None:
    """How many numbers it learns; None where that cannot be seen.

    It says so itself (``n_parameters``), or the parameters of the networks that it holds are
    counted, each once.
    """
    try:
        model = _inside(recommender)
        said = getattr(model, "n_parameters", None)
        if said is not None:
            return int(said)
        networks = [v for v in vars(model).values() if callable(getattr(v, "parameters", None))]
        each = {id(p): int(p.numel()) for network in networks for p in network.parameters()}
    except Exception:
        return None
    return sum(each.values()) if each else None


def _inside(recommender: object) -> Any:
    return recommender.recommender if isinstance(recommender, Guard) else recommender
