"""Which adapter an object of another library gets, told by where its class was written.

``implicit.als:AlternatingLeastSquares`` on the command line, or an instance in a notebook: any
class of the package ``implicit``, or derived from one, goes to ``implicit.py`` beside this file.
An object that is of no library here, but fits and predicts as scikit-learn's do, goes to
``sklearn.py``. Nothing is imported to decide: an object's library is there already.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .library import LibraryRecommender


@dataclass(frozen=True)
class Adapter:
    """One library whose recommenders are wrapped.

    Attributes:
        library: what people call it.
        package: the package that its classes live in.
        distribution: what is installed.
        target: ``module:class`` of the adapter.
        example: how one of its recommenders is named.
        extra: of LoopAudit, with which it is installed; "" for none.
        cure: how it comes to be there without an extra.
    """

    library: str
    package: str
    distribution: str
    target: str
    example: str
    extra: str = ""
    cure: str = ""

    def load(self) -> type[LibraryRecommender]:
        """The adapter's class; this imports it, and with it the library."""
        module, _, name = self.target.partition(":")
        loaded: type[LibraryRecommender] = getattr(importlib.import_module(module), name)
        return loaded

    @property
    def install(self) -> str:
        """How the library comes to be there."""
        return f"pip install 'loopaudit[{self.extra}]'" if self.extra else self.cure

    @property
    def version(self) -> str | None:
        """Of the library, or None where it is not installed."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return None


_HERE = __package__
_BY_PACKAGE = (
    Adapter(
        "implicit",
        "implicit",
        "implicit",
        f"{_HERE}.implicit:ImplicitRecommender",
        "implicit.als:AlternatingLeastSquares",
        "implicit",
    ),
    Adapter(
        "LensKit",
        "lenskit",
        "lenskit",
        f"{_HERE}.lenskit:LensKitRecommender",
        "lenskit.knn:EASEScorer",
        "lenskit",
    ),
    Adapter(
        "Cornac",
        "cornac",
        "cornac",
        f"{_HERE}.cornac:CornacRecommender",
        "cornac.models:BPR",
        "cornac",
    ),
    Adapter(
        "Surprise",
        "surprise",
        "scikit-surprise",
        f"{_HERE}.surprise:SurpriseRecommender",
        "surprise:SVD",
        "surprise",
    ),
    Adapter(
        "Microsoft recommenders",
        "recommenders",
        "recommenders",
        f"{_HERE}.sar:SARRecommender",
        "recommenders.models.sar:SAR",
        cure="in its own environment: examples/sar_child",
    ),
)

SKLEARN = Adapter(
    "scikit-learn",
    "sklearn",
    "scikit-learn",
    f"{_HERE}.sklearn:SklearnRecommender",
    "sklearn.decomposition:NMF",
    cure="comes with LoopAudit",
)
ADAPTERS = (*_BY_PACKAGE, SKLEARN)
"""Every adapter, as ``loopaudit list libraries`` shows them."""

_WAYS = ("decision_function", "predict_proba", "predict", "kneighbors", "inverse_transform")


def adapter_of(thing: object) -> Adapter | None:
    """The adapter for a class, an instance or a factory function; None if it needs none.

    What declares ``capabilities`` speaks the border itself, whatever it is derived from.
    """
    if hasattr(thing, "capabilities"):
        return None
    if inspect.isclass(thing):
        written = [c.__module__ for c in thing.__mro__]
    elif inspect.isroutine(thing):  # implicit's models are made by functions
        written = [thing.__module__ or ""]
    else:
        written = [c.__module__ for c in type(thing).__mro__]
    packages = {module.partition(".")[0] for module in written}
    found = next((a for a in _BY_PACKAGE if a.package in packages), None)
    if found is None and not inspect.isroutine(thing) and _like_sklearn(thing):
        return SKLEARN
    return found


def _like_sklearn(thing: object) -> bool:
    """It fits and has a way to scores, and does not recommend by itself (see ``sklearn.py``)."""
    if hasattr(thing, "recommend") or not callable(getattr(thing, "fit", None)):
        return False
    return any(hasattr(thing, way) for way in _WAYS)
