"""Finds recommenders and auditors by name: built in, installed, in a file, behind a URL.

A spec is tried in this order: built-in name, entry point, ``module:attr``, ``path/file.py:attr``,
``http(s)://...``, ``cmd:...``. Listing reads metadata only; nothing is imported before it is used.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

from .border import Recommender
from .errors import UserError, unknown_name
from .faults import described
from .inspection import static_error
from .plugins.adapters import ADAPTERS, Adapter, adapter_of

if TYPE_CHECKING:
    from .plugins.library import LibraryRecommender

Group = Literal["recommenders", "auditors"]
BuiltIn = Mapping[str, tuple[str, str]]
"""Name to (``module:attr``, one-line summary)."""

T = TypeVar("T")

_HERE = __package__
RECOMMENDERS: BuiltIn = {
    "random": (f"{_HERE}.classic.random:Random", "uniformly random items"),
    "popularity": (f"{_HERE}.classic.popularity:Popularity", "the most consumed items"),
    "itemknn": (f"{_HERE}.classic.itemknn:ItemKNN", "items similar to the history"),
    "ease": (f"{_HERE}.classic.ease:EASE", "a linear item-item autoencoder in closed form"),
    "als": (f"{_HERE}.classic.als:ALS", "matrix factorisation by alternating least squares"),
    "bprmf": (f"{_HERE}.classic.bprmf:BPRMF", "matrix factorisation for ranking"),
    "markov": (f"{_HERE}.classic.markov:Markov", "what followed the last item"),
    "multvae": (
        f"{_HERE}.generative.profiles.multvae:MultVAE",
        "a variational autoencoder of histories",
    ),
    "multdae": (
        f"{_HERE}.generative.profiles.multdae:MultDAE",
        "a denoising autoencoder of histories",
    ),
    "recvae": (f"{_HERE}.generative.profiles.recvae:RecVAE", "Mult-VAE with a composite prior"),
    "cfgan": (f"{_HERE}.generative.profiles.cfgan:CFGAN", "an adversarial generator of purchases"),
    "list-cvae": (
        f"{_HERE}.generative.slates.list_cvae:ListCVAE",
        "draws whole slates by wished answer",
    ),
    "gflownet": (
        f"{_HERE}.generative.slates.gflownet:GFlowNet",
        "draws slates as their rewards say",
    ),
    "pages": (f"{_HERE}.generative.slates.pages:Pages", "pages of rows, each about a topic"),
    "contrastive": (
        f"{_HERE}.generative.images.contrastive:Contrastive",
        "items that look and sound like the history",
    ),
    "diffrec": (f"{_HERE}.generative.profiles.diffrec:DiffRec", "a diffusion model of histories"),
    "ldiffrec": (
        f"{_HERE}.generative.profiles.ldiffrec:LDiffRec",
        "a diffusion model of histories' codes",
    ),
    "tfidf": (f"{_HERE}.classic.tfidf:TfIdf", "items whose words are those of the history"),
    "rerank": (f"{_HERE}.language.rerank:Reranked", "a language model picks what another found"),
    "conversation": (
        f"{_HERE}.language.conversation:Conversation",
        "a language model that recommends as it talks",
    ),
    "hf": (f"{_HERE}.language.causal:CausalLM", "a causal language model of Hugging Face"),
    "zeroshot": (f"{_HERE}.language.zeroshot:ZeroShot", "a language model told the history"),
    "sasrec": (
        f"{_HERE}.generative.sequences.sasrec:SASRec",
        "a causal transformer over item sequences",
    ),
    "textlm": (f"{_HERE}.generative.text.textlm:TextLM", "a small language model that says titles"),
    "genret": (
        f"{_HERE}.generative.retrieval.generative_retrieval:GenerativeRetrieval",
        "a transformer that spells semantic ids (TIGER)",
    ),
    "gru4rec": (
        f"{_HERE}.generative.sequences.gru4rec:GRU4Rec",
        "a recurrent network over item sequences",
    ),
    "bert4rec": (
        f"{_HERE}.generative.sequences.bert4rec:BERT4Rec",
        "a transformer that fills gaps",
    ),
    "hstu": (
        f"{_HERE}.generative.sequences.hstu:HSTU",
        "attention by SiLU with gates (Meta's HSTU)",
    ),
}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Entry:
    """One thing that can be named.

    Attributes:
        name: what the user writes.
        origin: "built-in", "NAME VERSION" of a distribution, "module", "file", "http", "command".
        target: what is loaded: ``module:attr``, a path, a URL, a command.
        summary: one line.
        error: why it cannot be used, as far as metadata and source tell; None if it looks sound.
    """

    name: str
    origin: str
    target: str
    summary: str = ""
    error: str | None = None


def entries(group: Group = "recommenders", *, built_in: BuiltIn | None = None) -> list[Entry]:
    """Everything that has a name, the broken included; nothing is imported.

    Args:
        group: what to list.
        built_in: the built-in ones, where a higher floor owns them (auditors).
    """
    own = _built_in(group, built_in)
    listed = [Entry(name, "built-in", target, text) for name, (target, text) in own.items()]
    installed = _installed(group)
    for entry in installed:
        error = static_error(entry.target)
        rivals = [e.origin for e in installed if e.name == entry.name]
        if entry.name in own:
            error = f"hidden by the built-in {entry.name!r}; write {entry.target}"
        elif len(rivals) > 1:
            error = f"the name {entry.name!r} is taken twice: by {' and by '.join(rivals)}"
        listed.append(Entry(entry.name, entry.origin, entry.target, entry.summary, error))
    return listed


def resolve(spec: str, *, group: Group = "recommenders", built_in: BuiltIn | None = None) -> Entry:
    """What a spec names, without importing it.

    Raises:
        UserError: nothing or more than one thing has this name.
    """
    spec = spec.strip()
    own = _built_in(group, built_in)
    kind = group.removesuffix("s")
    if spec in own:
        return Entry(spec, "built-in", *own[spec])
    if spec.startswith(("http://", "https://", "cmd:")):
        if group != "recommenders":
            raise UserError(f"{spec!r}: only recommenders can be reached by URL or command")
        return Entry(spec, "command" if spec.startswith("cmd:") else "http", spec)
    path, colon, attribute = spec.rpartition(":")
    if colon and path.endswith(".py"):
        return Entry(spec, "file", f"{Path(path).resolve()}:{attribute}")
    if _MODULE.fullmatch(spec):
        return Entry(spec, "module", spec)
    found = [entry for entry in _installed(group) if entry.name == spec]
    if len(found) > 1:
        raise UserError(
            f"{kind} {spec!r} is provided by two distributions: "
            f"{' and '.join(entry.origin for entry in found)}; uninstall one, or write "
            f"{' or '.join(entry.target for entry in found)}"
        )
    if found:
        return found[0]
    if spec.endswith(".py"):
        raise UserError(f"{spec!r} names a file: add what to take from it, as in {spec}:MyClass")
    if not _NAME.fullmatch(spec):
        raise UserError(
            f"{spec!r} does not name a {kind}: write a name, module:attr, path/file.py:attr"
            + (", a URL or cmd:..." if group == "recommenders" else "")
        )
    raise unknown_name(kind, spec, [*own, *(entry.name for entry in _installed(group))])


def create(spec: str, args: Mapping[str, object] | None = None) -> Recommender:
    """A fresh recommender.

    Args:
        spec: how it is named, see the module's first lines.
        args: keyword arguments of its constructor (or of the function it wraps).

    Raises:
        UserError: unknown name, broken plug-in, unknown or missing argument.
    """
    entry = resolve(spec)
    args = dict(args or {})
    if entry.origin == "http":
        from .plugins.http import HttpRecommender

        return _call(HttpRecommender, [entry.target], args, entry)
    if entry.origin == "command":
        from .plugins.process import ProcessRecommender

        return _call(ProcessRecommender, [entry.target.removeprefix("cmd:")], args, entry)
    return _recommender(load(entry), args, entry)


def name_objects(
    things: Sequence[object],
) -> tuple[list[dict[str, object]], dict[str, Callable[[], Recommender]]]:
    """Study entries for recommenders given as names or as Python objects.

    Args:
        things: names, sections of a study, classes, instances, functions ``f(history, k)``.

    Returns:
        ``[[recommenders]]`` tables, and by label a factory for each that only this process knows.

    Raises:
        UserError: something that is not a recommender.
    """
    tables: list[dict[str, object]] = []
    factories: dict[str, Callable[[], Recommender]] = {}
    for thing in things:
        if isinstance(thing, str):
            tables.append({"name": thing})
            continue
        if hasattr(thing, "model_dump"):
            tables.append(thing.model_dump(mode="json"))
            continue
        owner = thing if hasattr(thing, "__qualname__") else type(thing)
        module, qualified = owner.__module__, owner.__qualname__
        importable = module != "__main__" and "<" not in qualified
        base = re.sub(r"[^A-Za-z0-9_]+", "-", qualified.split(".")[-1]).strip("-") or "recommender"
        label, number = base, 1
        while label in factories or label in ("random", "popularity", "none", "oracle"):
            number += 1
            label = f"{base}-{number}"
        entry = Entry(label, "this process", f"{module}:{qualified}")
        _recommender(thing, {}, entry)  # a mistake shows now, not in the middle of a run
        factories[label] = partial(_recommender, thing, {}, entry)
        tables.append({"name": entry.target if importable else label, "label": label})
    return tables, factories


def _taken(function: Callable[..., object]) -> set[str]:
    """Names of a function's parameters after ``history, k``; none where compiled code does not
    tell."""
    try:
        return set(list(inspect.signature(function).parameters)[2:])
    except (TypeError, ValueError):
        return set()


def _recommender(thing: object, args: dict[str, object], entry: Entry) -> Recommender:
    """A fresh recommender from a class, an instance or a function, or a library's model."""
    adapter = adapter_of(thing)
    if adapter is not None:
        wrapped = _adapter(adapter, entry)
        with wrapped.making():
            if inspect.isroutine(thing):
                return wrapped(_call(thing, [], args, entry))
            return wrapped(_instance(thing, args, entry))
    if not inspect.isclass(thing) and not hasattr(thing, "recommend") and callable(thing):
        from .plugins.function import OPTIONAL, FunctionRecommender

        reserved = [name for name in OPTIONAL if name in args]
        if reserved:
            raise UserError(f"{entry.name}: {reserved[0]!r} is given by the harness, not by args")
        # what the harness hands over need not be among the args
        _check_args(thing, [[], 1], {**dict.fromkeys(_taken(thing) & {*OPTIONAL}), **args}, entry)
        return FunctionRecommender(thing, args)
    made = _instance(thing, args, entry)
    if not callable(getattr(made, "recommend", None)):
        raise UserError(
            f"{_whose(entry)} is not a recommender: {type(made).__name__} has no method recommend"
        )
    return made  # type: ignore[return-value]


def make(
    spec: str,
    args: Mapping[str, object] | None = None,
    *,
    group: Group,
    built_in: BuiltIn | None = None,
) -> object:
    """A fresh instance of whatever the spec names: a class is called, an instance copied.

    Raises:
        UserError: unknown name, broken plug-in, unknown or missing argument.
    """
    entry = resolve(spec, group=group, built_in=built_in)
    return _instance(load(entry), dict(args or {}), entry)


def load(entry: Entry) -> object:
    """The class, instance or function an entry points at; this imports it.

    Raises:
        UserError: it cannot be imported; the message names the distribution.
    """
    place, _, attribute = entry.target.rpartition(":")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except UserError:
        raise
    except Exception as error:
        if entry.origin == "built-in":
            raise
        hint = ""
        if entry.origin == "module" and isinstance(error, ModuleNotFoundError):
            adapted = [a.install for a in ADAPTERS if a.package == place.partition(".")[0]]
            file = "for a file that is not installed write path/file.py:attr"
            hint = f" ({adapted[0] if adapted else file})"
        raise UserError(f"{_whose(entry)} could not be loaded: {_where(error)}{hint}") from error
    thing: object = module
    for part in attribute.split("."):
        if not hasattr(thing, part):
            public = [name for name in vars(thing) if not name.startswith("_")]
            problem = unknown_name("attribute", part, public)
            raise UserError(f"{_whose(entry)} could not be loaded: {problem}")
        thing = getattr(thing, part)
    return thing


# -- installed distributions -------------------------------------------------------------------


def _built_in(group: Group, given: BuiltIn | None) -> BuiltIn:
    if given is not None:
        return given
    return RECOMMENDERS if group == "recommenders" else {}


def _installed(group: Group) -> list[Entry]:
    """Entry points of all distributions, by name; a distribution found twice counts once."""
    found = {}
    for point in importlib.metadata.entry_points(group=f"loopaudit.{group}"):
        distribution = point.dist
        origin, summary = "unknown distribution", ""
        if distribution is not None:
            origin = f"{distribution.name} {distribution.version}"
            summary = str(distribution.metadata.json.get("summary", ""))
        target = point.value.split("[")[0].strip()
        found[point.name, origin, target] = Entry(point.name, origin, target, summary)
    return sorted(found.values(), key=lambda entry: (entry.name, entry.origin))


def _whose(entry: Entry) -> str:
    if entry.origin == "built-in":
        return f"built-in {entry.name!r}"
    if entry.origin in ("module", "file", "http", "command", "this process"):
        return repr(entry.name)
    return f"{entry.name!r} from distribution {entry.origin} ({entry.target})"


# -- loading and constructing ------------------------------------------------------------------


def _file(path: Path) -> ModuleType:
    """A Python file as a module; loaded again only if it has changed."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    stamp = hashlib.blake2b(f"{path}/{path.stat().st_mtime_ns}".encode(), digest_size=6)
    name = f"loopaudit_file_{path.stem}_{stamp.hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(path.parent))  # so that the file finds its neighbours, after all else
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _where(error: BaseException) -> str:
    """The error on one line, with the place in the plug-in where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    place = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return described(error) + place


def _adapter(adapter: Adapter, entry: Entry) -> type[LibraryRecommender]:
    try:
        return adapter.load()
    except ImportError as error:
        raise UserError(
            f"{_whose(entry)}: this release of {adapter.library} is not one that LoopAudit can "
            f"use ({described(error)}); {adapter.install}"
        ) from error


def _instance(thing: object, args: dict[str, object], entry: Entry) -> object:
    if inspect.isclass(thing):
        return _call(thing, [], args, entry)
    if args:
        raise UserError(f"{_whose(entry)} is an instance: it takes no args, got {sorted(args)}")
    try:
        return copy.deepcopy(thing)  # arms and worlds must not share one memory
    except Exception as error:
        raise UserError(
            f"{_whose(entry)} is an instance that cannot be copied for each arm and world; "
            f"name a class instead ({described(error)})"
        ) from error


def _call(thing: Callable[..., T], first: list[object], args: dict[str, object], entry: Entry) -> T:
    _check_args(thing, first, args, entry)
    try:
        return thing(*first, **args)
    except UserError:
        raise
    except Exception as error:
        if entry.origin == "built-in":
            raise
        raise UserError(f"{_whose(entry)} could not be created: {_where(error)}") from error


def _check_args(
    thing: Callable[..., object], first: Sequence[object], args: dict[str, object], entry: Entry
) -> None:
    """A clear line for arguments that do not exist, are missing, or are text for a number."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):  # compiled code without a signature
        return
    parameters = list(signature.parameters.values())[len(first) :]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    for name in args:
        if name not in known and not open_ended:
            if not known:
                raise UserError(f"{_whose(entry)} takes no args, got {name!r}")
            raise UserError(f"{_whose(entry)}: {unknown_name('argument', name, known)}")
    for name, parameter in known.items():
        given = args.get(name, parameter.default)
        if given is parameter.empty:
            raise UserError(f"{_whose(entry)} needs the argument {name!r}")
        number = isinstance(parameter.default, int | float)
        if number and isinstance(given, str):
            raise UserError(f"{_whose(entry)}: {name} must be a number, got {given!r}")
    try:
        signature.bind(*first, **args)
    except TypeError as error:
        raise UserError(f"{_whose(entry)}: {error}; it has the form {signature}") from error
