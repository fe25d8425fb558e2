"""Writes the laws of people as a page.

    python -m loopaudit.simulation.people.laws_page docs/people.md

The page is made of what the code itself says: each law's docstring and the fields of its table. A
test fails when the page is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from ..section import Section
from ..study_file import field_note, toml_text
from .choice import GeometricPlace, LogPlace, TablePlace
from .equations import PRESETS, UserModel
from .laws import LAWS

EXAMPLE = """\
[world]
dim = 16                                  # tastes are unit vectors; leave it out for topic shares

[people]
slate = 12
rows = 3                                  # arranged as carousels

[[users]]
label = "browsers"
share = 0.6
model = "habitual"                        # constants; any of them can be set here
choice = "carousel"                       # a bare name: the law with its defaults
change = ["assimilation", { law = "boredom", timeout = 8 }]

[[users]]
label = "raters"
share = 0.4
model = "curious"
choice = { law = "several", most = 2, position = { form = "geometric", gamma = 0.9 } }
feedback = ["rating", "not-interested"]
change = [{ law = "conditioning", rate = 0.05 }]
"""

_PAGE = """\
# How people choose, tell and change

Simulated people are rows of arrays. What they do is made of small laws, each with an equation, a
source and a test against a closed form or exact probabilities; `study.toml` picks them by name and
mixes them within one population:

```toml
{example}```

Laws are applied in the order in which they are named, `change` after the drift and the satiation
that every preset has. The luck of a choice belongs to (person, step, item): whatever is shown to
them, and however the population is cut into blocks, a person who meets an item at a step meets it
with the same luck in every arm. What a law remembers is in every checkpoint. `loopaudit list laws`
prints this list; a wrong name or key is refused with the nearest one.

In the equations `U_i` is what an item is worth to a person (below), `outside` what choosing nothing
is worth, `a_i = sigmoid((U_i - outside) / temperature)` the chance that an item met alone is
preferred to nothing, `m` a match, `u` a taste, `v` an item's features.

## What every preset has

{constants}

Utility is `U_ui = scale * match_ui + quality_i - satiation * s_u . topics_i`; satiation follows
`s <- (1 - recovery) s + topics`; taste follows `u <- (1 - drift) u + drift * v` for what was
consumed and the same with `exposure_drift` for the mean of what was shown. Tastes are shares of
topics, or with `[world] dim` unit vectors.

{presets}

## How places weigh

Laws that know places take `position = "log"`, `"geometric"` or `"table"`. Where people browse by
themselves, seeing no ranking, no place weighs.

{places}

{laws}
<!-- Written by `python -m loopaudit.simulation.people.laws_page docs/people.md`; do not edit. -->
"""

_TITLES = {
    "choice": "How people choose: `choice`",
    "feedback": "What they tell beside taking: `feedback`",
    "change": "How they change: `change`",
    "says": "What they say: `says`",
}


def page() -> str:
    """The whole page in Markdown."""
    laws = []
    for kind, title in _TITLES.items():
        laws.append(f"## {title}\n")
        laws += [_law(f"### {name}", law) for name, law in LAWS[kind].items()]
    forms = (LogPlace, GeometricPlace, TablePlace)
    places = [_law(f"### {form.model_fields['form'].default}", form) for form in forms]
    return _PAGE.format(
        example=EXAMPLE,
        constants=_constants(),
        presets=_presets(),
        places="\n".join(places),
        laws="\n".join(laws),
    )


def _law(heading: str, law: type[Section]) -> str:
    text = _markdown(inspect.cleandoc(law.__doc__ or ""))
    rows = [
        f"| `{name}` | `{toml_text(field.default)}` | {_cell(field_note(field))} |"
        if not field.is_required()
        else f"| `{name}` | | {_cell(field_note(field))} |"
        for name, field in law.model_fields.items()
        if name not in ("law", "form")
    ]
    table = ["", "| key | default | |", "|---|---|---|", *rows] if rows else []
    return "\n".join([heading, "", text, *table, ""])


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _constants() -> str:
    """The attributes of a preset, from their docstring."""
    told = inspect.cleandoc(UserModel.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ *(\w+): (.*(?:\n {8,}.*)*)", told, flags=re.M)
    rows = [f"| `{key}` | {_markdown(' '.join(said.split()))} |" for key, said in found]
    return "\n".join(["| key | |", "|---|---|", *rows])


def _presets() -> str:
    names = list(UserModel.__dataclass_fields__)
    rows = [
        f"| `{name}` | " + " | ".join(f"{getattr(preset, n):g}" for n in names) + " |"
        for name, preset in PRESETS.items()
    ]
    return "\n".join([f"| preset | {' | '.join(names)} |", "|" + "---|" * (len(names) + 1), *rows])


def main(arguments: list[str]) -> int:
    """Writes the page to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(page(), encoding="utf-8")
    else:
        print(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
