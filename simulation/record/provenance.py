"""What a run is made with: libraries, plug-ins and data, by digest, so that a change is noticed.

A run that goes on with another plug-in, another library or other data would be two runs in one
log. Their digests stand in the manifest; a resume compares them and says what changed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ...recommenders import registry
from ...recommenders.datasets import data_files
from ...recommenders.errors import UserError
from ..run import Factories
from ..study import RecommenderSection, Study, label_of
from .journal import file_sha256

Provenance = dict[str, Any]

_LIBRARIES = ("loopaudit", "mesa", "numba", "numpy", "polars", "scipy", "torch", "fairlearn")
_OWN_ROOMS = ("recommenders", "simulation")  # whose code decides a run's bytes
_CODE = (".py", ".so", ".pyd")


def provenance(study: Study, factories: Factories) -> Provenance:
    """Everything a run's bytes depend on beside the study.

    Returns:
        "versions" of libraries, "machine" (rounding differs between kinds), "code" (a digest of
        LoopAudit's own source), "recommenders" with the digests of each plug-in's source (None
        where it cannot be seen: a URL), "data", and "inputs" that arguments name (weights,
        recorded answers).
    """
    return {
        "versions": library_versions(),
        "machine": _machine(),
        "code": _own_code(),
        "recommenders": [_recommender(section, factories) for section in study.recommenders],
        "data": _data(study),
        "inputs": _files_named(study),
    }


def changes(then: Provenance, study: Study, factories: Factories, *, libraries: bool = True) -> str:
    """What is not as it was when a run was begun, in words with the cure; "" if nothing.

    Args:
        then: the manifest of the run.
        study, factories: what the run goes on with.
        libraries: also look at libraries, the machine and LoopAudit's own code.
    """
    before = {one["label"]: one for one in then["recommenders"]}
    for section in study.recommenders:
        now = _recommender(section, factories)
        if said := _difference(before.get(now["label"], {}), now):
            return said
    data = _data(study)
    for name in sorted(data.keys() | then["data"].keys()):
        if data.get(name) != then["data"].get(name):
            return f"the data file {name} changed; restore it"
    for name, stamp in then["inputs"].items():
        if not _still(Path(name), stamp):
            what = "folder" if Path(name).is_dir() else "file"
            return f"the {what} {name} changed; restore it"
    if not libraries:
        return ""
    if then["machine"] != _machine():
        return f"the machine was {then['machine']} and is {_machine()} now; go on there"
    versions = library_versions()
    for name in sorted(versions):
        old, new = str(then["versions"].get(name)), versions[name]
        if old != new and (name != "python" or _minor(old) != _minor(new)):
            return f"{name} was {old} and is {new} now; install that version again"
    if then["code"] != _own_code():
        return "LoopAudit's own code changed; install that version again"
    return ""


def changed_plugin(held: list[dict[str, Any]], section: RecommenderSection) -> str:
    """How a recommender differs from the one in a manifest, in words; "" if it does not."""
    now = _recommender(section, {})
    return _difference(next((one for one in held if one["label"] == now["label"]), now), now)


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide a run's bytes, and of Python.

    Read once a process: what it has imported stays as it is, whatever is installed meanwhile.
    """
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    if then == now:
        return ""
    name, origin = now["name"], then.get("origin")
    if origin != now["origin"]:
        return f"the recommender {name!r} was {origin} and is {now['origin']} now; restore it"
    old, new = then.get("source"), now["source"]
    if isinstance(old, dict) and isinstance(new, dict):
        wrong = [f for f in sorted(old.keys() | new.keys()) if old.get(f) != new.get(f)]
        if wrong and wrong[0] not in new:
            where = "restore it, go where the run was begun"
            return f"{wrong[0]}, which belongs to {name!r}, is not there; {where}"
        return f"the source of {name!r} changed ({wrong[0]}); restore it" if wrong else ""
    return f"the source of {name!r} changed; restore it"


def _recommender(section: RecommenderSection, factories: Factories) -> dict[str, Any]:
    """One recommender's entry; file names in it are relative, so that a run can be moved."""
    label = label_of(section)
    source: dict[str, str] | None = {}
    if label in factories and not (":" in section.name and _package(_module_of(section.name))):
        origin, source = "this process", _source_of(factories[label])
    elif section.name == "none":
        origin = "built-in"
    else:
        entry = registry.resolve(section.name)
        origin = entry.origin
        place = _module_of(entry.target)
        if origin == "file":
            source = _digests(_file_and_neighbours(Path(place)), Path(place).parent)
        elif origin == "command":
            source = _digests(_named_files(entry.target.removeprefix("cmd:")), Path.cwd())
        elif origin == "http":
            source = None
        elif origin != "built-in":
            source = _package(place)
    return {
        "label": label,
        "name": section.name,
        "args": section.model_dump(mode="json")["args"],
        "origin": origin,
        "source": source,
    }


# -- sources -------------------------------------------------------------------------------------


def _digests(files: Iterator[Path], base: Path) -> dict[str, str]:
    return {os.path.relpath(file, base): _sha256(file) for file in files}


def _sha256(path: Path) -> str:
    """The digest of a file; computed again only when the file system says that it changed."""
    try:
        seen = path.stat()
    except OSError:
        return "absent"
    return _sha256_of(path, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


@lru_cache(maxsize=8192)
def _sha256_of(path: Path, *_: int) -> str:
    return file_sha256(path) or "absent"


def _module_of(name: str) -> str:
    return name.rpartition(":")[0]


def _file_and_neighbours(path: Path) -> Iterator[Path]:
    """A Python file and the modules beside it that it imports, and those they import."""
    folder, waiting, seen = path.parent, [path], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        yield file
        for name in _imported(file):
            waiting.append(folder / f"{name}.py")
            if (folder / name / "__init__.py").is_file():
                waiting += _modules(folder / name)


def _imported(file: Path) -> set[str]:
    """Top-level names that a Python file imports anywhere; none where it is not valid Python."""
    if file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def _package(module: str) -> dict[str, str]:
    """The code of the package a module belongs to, without importing it."""
    name = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return {}
    places = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    if not places:
        single = Path(spec.origin) if spec is not None and spec.origin else None
        return {} if single is None else _digests(iter((single,)), single.parent)
    found: dict[str, str] = {}
    for place in places:
        found |= _digests(_modules(place), place.parent)
        own = place.joinpath(*module.split(".")[1:])  # also where a folder has no __init__.py
        found |= _digests((f for f in (own.with_suffix(".py"),) if f.is_file()), place.parent)
    return found


def _modules(folder: Path) -> Iterator[Path]:
    """Code files of a package and of the packages in it."""
    for file in sorted(folder.iterdir()):
        if file.suffix in _CODE and file.is_file():
            yield file
        elif file.name.isidentifier() and (file / "__init__.py").is_file():
            yield from _modules(file)


def _named_files(command: str) -> Iterator[Path]:
    """Files that the words of a command name: scripts, weights, a program given by its path."""
    for number, word in enumerate(shlex.split(command)):
        file = Path(word)
        if (number or "/" in word) and file.is_file():
            yield file.resolve()


def _source_of(factory: object) -> dict[str, str] | None:
    """The source of a class or function that only this process knows; None if nobody can see it."""
    given = getattr(factory, "args", ())  # of a functools.partial
    thing = given[0] if given else factory
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        thing = type(thing)
    parts = [c for c in thing.__mro__ if c is not object] if inspect.isclass(thing) else [thing]
    try:
        text = "\n".join(inspect.getsource(part) for part in parts)
    except (OSError, TypeError):
        return None
    return {"source": hashlib.sha256(text.encode()).hexdigest()}


@lru_cache(maxsize=1)
def _own_code() -> str:
    """One digest of LoopAudit's own source, as far as it decides what a run writes."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for room in _OWN_ROOMS:
        for file in _modules(root / room):
            digest.update(f"{file.relative_to(root)} {_sha256(file)}\n".encode())
    return digest.hexdigest()


def _data(study: Study) -> dict[str, str]:
    if study.world.kind != "dataset":
        return {}
    section = study.world
    files = data_files(section.dataset, folder=section.folder)
    return {file.name: _sha256(file) for file in files}


def _files_named(study: Study) -> dict[str, str]:
    """Files that a study names anywhere (weights, recorded answers): "BYTES SHA256" by name."""
    found = {}
    texts = _texts(study.model_dump(exclude={"chat"}))
    if study.asks and (study.chat.mode == "replay" or study.chat.record.endswith(".jsonl")):
        texts.add(study.chat.record)
    for text in texts:
        path = Path(text)
        if path.suffix and path.is_file():
            found[text] = f"{path.stat().st_size} {_sha256(path)}"
    for text in _texts([r.args for r in study.recommenders]):
        if "/" in text and Path(text).is_dir():
            found[text] = _folder_stamp(Path(text))
    return dict(sorted(found.items()))


def _texts(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, Mapping) else value
    if not isinstance(inner, Iterable):
        return set()
    return set().union(*(_texts(one) for one in inner))


def _folder_stamp(folder: Path) -> str:
    """The number of files in a folder and one digest of them all: a model kept as a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    said = "".join(f"{p.relative_to(folder)} {_sha256(p)}\n" for p in files)
    return f"{len(files)} {hashlib.sha256(said.encode()).hexdigest()}"


def _still(path: Path, stamp: str) -> bool:
    """Whether a file is what it was; records of answers (.jsonl) may have grown meanwhile."""
    size, _, digest = stamp.partition(" ")
    if path.is_dir():
        return _folder_stamp(path) == stamp
    if path.suffix != ".jsonl":
        return _sha256(path) == digest
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(int(size))).hexdigest() == digest
    except OSError:
        return False


def refuse_changed(
    then: Provenance,
    study: Study,
    factories: Factories,
    *,
    root: Path,
    libraries: bool = True,
) -> None:
    """Stop where what a run is made with is not what it was begun with.

    Raises:
        UserError: what changed, and the cure.
    """
    if said := changes(then, study, factories, libraries=libraries):
        raise UserError(
            f"{root} was begun with something else than there is now: {said}, or choose "
            "another --out"
        )
