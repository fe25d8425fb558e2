"""Reads the titles out of a list that a language model wrote, and never guesses.

A title is a numbered or bulleted line. Titles in running text are not taken: where one ends
("Crazy, Stupid, Love") only the catalog could say, and then it would answer in the model's place.
"""

from __future__ import annotations

import re

from .structured import spoken

_NUMBERED = re.compile(r"^[ \t]*(?:\*\*)?\d{1,3}[.)](?:\*\*)?[ \t]+(\S.*)$", re.MULTILINE)
_BULLETED = re.compile(r"^[ \t]*[-*•·][ \t]+(\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r'^["“”«»]([^"“”«»]+)["“”«»]')
_BOLD = re.compile(r"^(\*\*|__|\*|_)(.+?)\1")
_YEAR = re.compile(r"^[\s*_]*(\((?:1[89]|20)\d\d\))")
_SAID_AFTER = re.compile(r"(?<=\))\s*(?:[-\u2013\u2014:]\s.*|by\s.*)$")
_LONGEST = 300


def read_list(text: str, *, broke_off: bool = False) -> list[str]:
    """The titles, in their order; [] where there is no list.

    Args:
        text: what the model wrote.
        broke_off: the text ends at a length limit, so its last line is not whole.

    >>> read_list('Sure!\\n1. **Heat** (1995) - a duel\\n2. "Fargo"\\n3. Alien (1979)\\nEnjoy.')
    ['Heat (1995)', 'Fargo', 'Alien (1979)']
    """
    text = spoken(text)
    if broke_off:
        text = text[: text.rfind("\n") + 1]
    lines = _NUMBERED.findall(text) or _BULLETED.findall(text)
    return [name for name in map(clean, lines) if name]


def clean(line: str) -> str:
    """A title without the marks, quotes and remarks that models put around it.

    >>> clean('*"The Matrix"* (1999): everything is code')
    'The Matrix (1999)'
    """
    line = line.strip()[:_LONGEST]
    year, marked = "", False
    for mark in (_BOLD, _QUOTED):
        if found := mark.match(line):
            behind = _YEAR.match(line[found.end() :])
            year = year or (behind[1] if behind else "")
            line, marked = found[found.lastindex or 0].strip(), True
    if not marked:
        line = _SAID_AFTER.sub("", line)
    line = line.strip(' \t*_"“”«»')
    return f"{line} {year}" if year and year not in line else line
