"""study.toml: read it, override it, write it, and say in one line what is wrong with it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ..recommenders.errors import UserError, unknown_name
from .study import BehaviourSection, RecommenderSection, Study, label_of

Json = dict[str, Any]
"""A parsed TOML table, before validation."""


def read_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file.

    Args:
        path: the TOML file.
        overrides: ``a.b=c`` strings that win over the file; ``c`` is read as a TOML value and, if
            it is none, as text.

    Raises:
        UserError: no such file, bad TOML (with line and column), or a value that does not fit,
            named by file, table and key.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"no such study file: {path}. `loopaudit init {path}` writes one") from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path}: it is not UTF-8 text; name a study file") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name a study file") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    return study_from(raw, source=path.name, overrides=overrides)


def with_overrides(study: Study, overrides: Sequence[str], *, source: str = "study") -> Study:
    """The study with ``a.b=c`` strings applied and everything validated again."""
    if not overrides:
        return study
    return study_from(study.model_dump(mode="json"), source=source, overrides=overrides)


def study_from(raw: Json, *, source: str, overrides: Sequence[str] = ()) -> Study:
    """Validate a parsed study; ``source`` is the file name that messages carry."""
    raw = json.loads(json.dumps(raw, default=str))  # a copy; TOML dates become text
    for override in overrides:
        _override(raw, override)
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise UserError(_explain(error, raw, source, overrides)) from None


def recommender_study(
    name: str,
    *,
    dataset: str = "",
    folder: str = "",
    columns: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Study:
    """The default study of one recommender, in the synthetic market or in a dataset's world.

    Args:
        name: as in ``[[recommenders]] name``.
        dataset: "ml-100k", "ml-1m", or a CSV or Parquet file; empty for the synthetic market.
        folder: where the dataset's files are.
        columns: ``role=column`` strings, the column map of a file.
        overrides: ``a.b=c`` strings.
    """
    safe = label_of(RecommenderSection(name=name)) if name else ""
    raw: Json = {"study": {"name": safe.lstrip("._-") or "study"}, "recommenders": [{"name": name}]}
    if dataset:
        raw["world"] = {"kind": "dataset", "dataset": dataset, "folder": folder}
        raw["world"]["columns"] = column_map(columns)
    elif folder or columns:
        raise UserError("--folder and --column say where data are; name them with --data")
    return study_from(raw, source="the command line", overrides=overrides)


def column_map(columns: Sequence[str]) -> dict[str, str]:
    """``["user=customer", "item=sku"]`` as a dictionary."""
    pairs = [column.partition("=") for column in columns]
    for role, equals, name in pairs:
        if not (role and equals and name):
            raise UserError(f"--column wants ROLE=COLUMN (user=customer_id), got {role + equals!r}")
    return {role: name for role, _, name in pairs}


def to_toml(study: Study) -> str:
    """The study as TOML with every default written out; ``read_study`` gives it back."""
    return "\n".join(_tables(study, comments=False))


def commented_toml(study: Study) -> str:
    """The study as TOML for people: each key with what it means, its bounds and its default."""
    head = (
        "# A LoopAudit study: simulated people live with a recommender, then an audit asks what",
        "# it did to them. Run it:  loopaudit audit study.toml",
        "# Every key stands at its default; unknown keys are refused.",
        "",
    )
    return "\n".join([*head, *_tables(study, comments=True)])


# Writing -----------------------------------------------------------------------------------------


def _tables(study: Study, *, comments: bool) -> Iterable[str]:
    for name in type(study).model_fields:
        value = getattr(study, name)
        if value is None:  # a table that is off stands commented out, ready to be switched on
            if comments:
                yield from _switched_off(f"[{name}]", _model_at((name,)))
        elif isinstance(value, tuple):
            if not value and comments:
                yield from _switched_off(f"[[{name}]]", _model_at((name, 0)))
            for i, section in enumerate(value):
                yield from _table(f"[[{name}]]", section, comments=comments and i == 0)
        else:
            yield from _table(f"[{name}]", value, comments=comments)


def _table(title: str, section: BaseModel, *, comments: bool) -> Iterable[str]:
    if comments:
        told = (type(section).__doc__ or "").strip().splitlines()[0]
        yield f"# {told.split(': ', 1)[-1]}"
    yield title
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        line = f"{name} = {toml_text(value)}" if value is not None else ""
        if comments and value is None:  # TOML has no null: the key stays visible, commented out
            preset = getattr(_preset(section), name, None)
            line = f"# {name} = {'...' if preset is None else toml_text(preset)}"
        note = field_note(field) if comments else ""
        if note and len(line) < 33 and len(note) < 95:
            yield f"{line.ljust(34)}# {note}"
        elif line:
            yield from (f"# {part}" for part in wrap(note, 97, break_on_hyphens=False))
            yield line
    yield ""


def _switched_off(title: str, table: type[BaseModel]) -> Iterable[str]:
    needed: dict[str, Any] = {
        name: "..." for name, field in table.model_fields.items() if field.is_required()
    }
    lines = list(_table(title, table.model_construct(**needed), comments=True))
    yield f"{lines[0].rstrip('.')}; off unless its table stands here"
    yield from (line if line.startswith("#") or not line else f"# {line}" for line in lines[1:])


def _preset(section: BaseModel) -> object:
    """What a number left out of [people] amounts to."""
    from .people.equations import user_model

    return user_model(section) if isinstance(section, BehaviourSection) else section


def field_note(field: FieldInfo) -> str:
    """What a key means, its bounds and the words it allows, in one line."""
    parts = [field.description] if field.description else []
    for rule in field.metadata:
        for key, word in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            bound = getattr(rule, key, None)
            if bound is not None:
                parts.append(f"{word} {bound:g}")
    choices = _choices(field.annotation)
    if choices:
        parts.append(" | ".join(choices))
    return "; ".join(parts)


def _choices(annotation: object) -> tuple[str, ...]:
    """The words a Literal allows, also inside a tuple."""
    arguments: tuple[object, ...] = getattr(annotation, "__args__", ())
    if arguments and all(isinstance(a, str) for a in arguments):
        return tuple(str(a) for a in arguments)
    for argument in arguments:
        if found := _choices(argument):
            return found
    return ()


def toml_text(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, BaseModel):
        return toml_text({k: v for k, v in value.model_dump(mode="json").items() if v is not None})
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_text(str(k))} = {toml_text(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(toml_text(v) for v in value)}]"
    raise TypeError(f"a study holds no {type(value).__name__}")


# Overriding --------------------------------------------------------------------------------------


def _override(raw: Json, override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UserError(f"--set wants table.key=value, got {override!r}")
    here: Any = raw
    for i, part in enumerate(path[:-1]):
        if isinstance(here, list):
            here = here[_index(here, part, override)]
        else:
            if here.get(part) is None:  # absent, or a table that is off
                here[part] = {}
            here = here[part]
        if not isinstance(here, dict | list):
            raise UserError(f"--set {override}: {'.'.join(path[: i + 1])} is not a table")
    last: Any = path[-1]
    here[_index(here, last, override) if isinstance(here, list) else last] = toml_value(
        text.strip()
    )


def _index(rows: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(rows):
        raise UserError(f"--set {override}: {part!r} is not a row number from 0 to {len(rows) - 1}")
    return int(part)


def toml_value(text: str) -> Any:
    """What stands right of ``=`` on a command line: a TOML value, or else text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# Explaining --------------------------------------------------------------------------------------


def _explain(error: ValidationError, raw: Json, source: str, overrides: Sequence[str]) -> str:
    """One line a mistake, each naming file, table and key."""
    from_options = {o.partition("=")[0].strip() for o in overrides}
    lines: dict[tuple[str | int, ...], str] = {}
    for one in error.errors(include_url=False):
        place = _place(one["loc"], raw, absent=one["type"] in ("missing", "extra_forbidden"))
        dotted = ".".join(str(p) for p in place)
        spot = f", {_spot(place)}" if place else ""  # a rule about the study as a whole
        where = f"--set {dotted}" if dotted in from_options else f"{source}{spot}"
        said = f"{_complaint(one, place)} ({where})" if place else f"{_message(one)} ({source})"
        lines.setdefault(place, said)  # a union complains once for each of its members
    return "\n".join(lines.values())


def _place(loc: tuple[str | int, ...], raw: Json, *, absent: bool) -> tuple[str | int, ...]:
    """``loc`` without pydantic's names for union members: only keys that lead somewhere.

    With ``absent`` the last part names a key that should, or should not, be there.
    """
    place: list[str | int] = []
    here: Any = raw
    for at, part in enumerate(loc):
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int)
        )
        if inside:
            place.append(part)
            here = here[part]
        elif absent and at == len(loc) - 1:
            place.append(part)
    return tuple(place)


def _spot(place: tuple[str | int, ...]) -> str:
    if len(place) >= 2 and isinstance(place[1], int):
        rest = ".".join(str(p) for p in place[2:])
        return f"[[{place[0]}]] number {place[1] + 1}" + (f", {rest}" if rest else "")
    rest = ".".join(str(p) for p in place[1:])
    return f"[{place[0]}]" + (f" {rest}" if rest else "")


def _complaint(one: Any, place: tuple[str | int, ...]) -> str:
    key, got, about = str(place[-1]), one["input"], one.get("ctx", {})
    if isinstance(place[-1], int) and len(place) > 1:
        key = str(place[-2])
    if "args" in place[2:-1]:
        return f"{key} must be a number, text, true or false, or a list of these, got {got!r}"
    match one["type"]:
        case "extra_forbidden":
            kind = "table" if len(place) == 1 else "key"
            table = _model_at(one["loc"][:-1])
            if name := _name_of(table):
                kind = f"{name!r} {kind}"
            return str(unknown_name(kind, key, table.model_fields)).rstrip(".")
        case "union_tag_invalid":
            kind = str(about["discriminator"]).strip("'")
            known = str(about["expected_tags"]).replace("'", "").split(", ")
            return f"{key}: {unknown_name(kind, str(about['tag']), known)}".rstrip(".")
        case "union_tag_not_found":
            tag = str(about["discriminator"]).strip("'")
            return f"{key}: the table must name its {tag}, got {got!r}"
        case "model_attributes_type":
            return f"{key} must be a name or a table, got {got!r}"
        case "literal_error":
            known = str(about["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            return f"{key}: {unknown_name('value', str(got), known)}".rstrip(".")
        case "greater_than_equal":
            return f"{key} must be at least {about['ge']}, got {got}"
        case "greater_than":
            return f"{key} must be above {about['gt']}, got {got}"
        case "less_than_equal":
            return f"{key} must be at most {about['le']}, got {got}"
        case "less_than":
            return f"{key} must be below {about['lt']}, got {got}"
        case "missing":
            return f"{key} is missing"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{key} must be a whole number, got {got!r}"
        case "float_type" | "float_parsing":
            return f"{key} must be a number, got {got!r}"
        case "bool_type" | "bool_parsing":
            return f"{key} must be true or false, got {got!r}"
        case "string_too_long":
            return f"{key} must have at most {about['max_length']} characters, got {len(got)}"
        case "string_type":
            return f"{key} must be text in quotes, got {got!r}"
        case "string_pattern_mismatch":
            return f"{key} must be letters, digits, dots, dashes or underscores, got {got!r}"
        case "model_type" | "dict_type":
            return f"{key} must be a table, got {got!r}"
        case "tuple_type":
            return f"{key} must be a list, got {got!r}"
        case "value_error":
            return _message(one)
        case _:
            return f"{key}: {_message(one)}, got {got!r}"


def _message(one: Any) -> str:
    return str(one["msg"]).removeprefix("Value error, ")


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel]:
    """The class of the table that a place of pydantic's leads to, unions told apart by name."""
    here: Any = Study
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(part)].annotation
            if type(None) in get_args(here):  # a table that may be left out
                here = get_args(here)[0]
            continue
        if get_origin(here) is Annotated:
            here = get_args(here)[0]
        members = get_args(here)
        here = next((m for m in members if _name_of(m) == part), members[0])
    return here if isinstance(here, type) and issubclass(here, BaseModel) else Study


def _name_of(table: object) -> str:
    """What tells a table apart from others that may stand in its place; "" for most."""
    fields = getattr(table, "model_fields", {})
    tag = next((fields[name] for name in ("law", "form") if name in fields), None)
    return str(tag.default) if tag is not None else ""
