"""study.toml: what is written comes back, what is wrong is said in one line."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopaudit.recommenders.errors import UserError
from loopaudit.simulation import study_file
from loopaudit.simulation.study import RecommenderSection, Study, label_of
from loopaudit.simulation.study_file import (
    commented_toml,
    read_study,
    recommender_study,
    study_from,
    to_toml,
    with_overrides,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | text
arguments = st.dictionaries(text, scalars | st.lists(scalars, max_size=3).map(tuple), max_size=4)


@given(arguments, text, st.floats(0.01, 0.49))
def test_what_is_written_is_read_back_equal(args: dict, folder: str, alpha: float) -> None:
    raw = {
        "world": {"folder": folder},
        "recommenders": [{"name": "x", "args": args}, {"name": "ease"}],
        "audit": {"alpha": alpha, "tau": {"bubbles.narrowing": 0.25}},
    }
    study = Study.model_validate(raw)
    for written in (to_toml(study), commented_toml(study)):
        assert Study.model_validate(tomllib.loads(written)) == study


def test_the_commented_file_shows_every_key_with_its_default() -> None:
    study = Study(recommenders=(RecommenderSection(name="ease"),))
    written = commented_toml(study)
    assert max(map(len, written.splitlines())) <= 130
    titled: dict[str, str] = {}
    for part in re.split(r"\n(?=(?:# )?\[)", written):
        titled[part.split("\n")[0].lstrip("# []").rstrip("]")] = part
    for name in Study.model_fields:
        several = isinstance(getattr(study, name), tuple)
        table = study_file._model_at((name, 0) if several else (name,))
        for key, field in table.model_fields.items():
            assert re.search(rf"\n(# )?{key} = ", titled[name]), f"{name}.{key} is not shown"
            assert field.description or key in ("families",), f"{name}.{key} says nothing"


WRONG = [
    ("[world]\nusers = 0", "users must be at least 1, got 0 (study.toml, [world] users)"),
    ("[study]\nsteps = -3", "steps must be at least 2, got -3 (study.toml, [study] steps)"),
    (
        "[world]\nuser = 3",
        "unknown key 'user'. Did you mean users? (study.toml, [world] user)",
    ),
    ("[wrold]\nusers = 3", "unknown table 'wrold'. Did you mean world? (study.toml, [wrold])"),
    (
        '[world]\nusers = "many"',
        "users must be a whole number, got 'many' (study.toml, [world] users)",
    ),
    (
        '[study]\narms = ["randon"]',
        "arms: unknown value 'randon'. Did you mean random or none or frozen? "
        "(study.toml, [study] arms.0)",
    ),
    (
        '[[recommenders]]\nname = "ease"\n[[recommenders]]\nlabel = "b"',
        "name is missing (study.toml, [[recommenders]] number 2, name)",
    ),
    (
        '[[recommenders]]\nname = "ease"\nargs = { reg = { a = 1 } }',
        "reg must be a number, text, true or false, or a list of these, got {'a': 1} "
        "(study.toml, [[recommenders]] number 1, args.reg)",
    ),
    ("world = 3", "world must be a table, got 3 (study.toml, [world])"),
    ("[people]\ndrift = 3", "drift must be at most 1.0, got 3 (study.toml, [people] drift)"),
    (
        '[people]\nchoice = "cascde"',
        "choice: unknown law 'cascde'. Did you mean cascade or carousel? "
        "(study.toml, [people] choice)",
    ),
    (
        '[people]\nchoice = { law = "cascade", atention = 0.5 }',
        "unknown 'cascade' key 'atention'. Did you mean attention? "
        "(study.toml, [people] choice.atention)",
    ),
    (
        '[people]\nchoice = { position = "log" }',
        "choice: the table must name its law, got {'position': 'log'} "
        "(study.toml, [people] choice)",
    ),
    (
        "[people]\nchoice = 3",
        "choice must be a name or a table, got 3 (study.toml, [people] choice)",
    ),
    (
        '[people]\nchoice = { law = "logit", position = { form = "geometric", gama = 0.9 } }',
        "unknown 'geometric' key 'gama'. Did you mean gamma? "
        "(study.toml, [people] choice.position.gama)",
    ),
    (
        '[[users]]\nchange = ["boredom", { law = "set-point", rate = 2 }]',
        "rate must be at most 1.0, got 2 (study.toml, [[users]] number 1, change.1.rate)",
    ),
    (
        '[people]\nchange = ["boredom", "boredom"]',
        "the law 'boredom' is named twice; it remembers only once (study.toml, [people] change)",
    ),
    (
        "[people]\nrows = 2",
        "[people] rows = 2, and nobody looks at rows; set choice = 'carousel' in [people] or in "
        "one of [[users]] (study.toml)",
    ),
    (
        '[[users]]\npersons = "chat"\nchoice = "cascade"',
        "people with persons = 'chat' choose and rate as the endpoint answers; leave out choice "
        "and feedback, or set persons = 'scripted' (study.toml, [[users]] number 1)",
    ),
    (
        "[people]\nrows = 20",
        "[people] rows must be at most slate (10), got 20: a row without an item is no row "
        "(study.toml)",
    ),
]


@pytest.mark.parametrize(("toml", "said"), WRONG, ids=[said[:30] for _, said in WRONG])
def test_a_mistake_is_one_line_with_file_table_and_key(
    toml: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(toml)
    with pytest.raises(UserError) as caught:
        read_study(file)
    assert str(caught.value) == said


def test_two_mistakes_are_two_lines(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("[world]\nusers = 0\nitems = 0")
    with pytest.raises(UserError) as caught:
        read_study(file)
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["users", "items"]


def test_bad_toml_is_located_by_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text("[world]\nusers = = 3")
    with pytest.raises(UserError, match=r"not valid TOML: .*line 2, column 9"):
        read_study(file)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read"):
        read_study(file)


def test_overrides_win_and_are_blamed_for_their_own_mistakes() -> None:
    study = Study(recommenders=(RecommenderSection(name="ease"),))
    changed = with_overrides(
        study,
        ["world.users=5", "study.name=other", "recommenders.0.args.reg=2.5", "audit.tau.x=0.1"],
    )
    assert (changed.world.users, changed.study.name) == (5, "other")
    assert changed.recommenders[0].args == {"reg": 2.5}
    assert changed.audit.tau == {"x": 0.1}
    with pytest.raises(UserError, match=r"at least 1, got 0 \(--set world\.users\)"):
        with_overrides(study, ["world.users=0"])
    for wrong in ("users", "=3", "world..users=3", "recommenders.4.name=x", "study.name.x=3"):
        with pytest.raises(UserError, match="--set"):
            with_overrides(study, [wrong])


def test_a_recommender_by_itself_makes_a_study() -> None:
    study = recommender_study("my_pkg.sub:Mine", dataset="a.csv", columns=["user=who", "item=what"])
    assert study.world.kind == "dataset"
    assert study.world.columns == {"user": "who", "item": "what"}
    assert study.recommenders[0].name == "my_pkg.sub:Mine"
    with pytest.raises(UserError, match="ROLE=COLUMN"):
        recommender_study("ease", dataset="a.csv", columns=["user"])
    with pytest.raises(UserError, match="--data"):
        recommender_study("ease", folder="somewhere")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("src/mine.py:Trending", "mine.Trending"),
        ("my_package:Model", "my_package.Model"),
        ("popularity", "popularity-target"),
        ("http://127.0.0.1:8723/v1/recommend?top=1", "127.0.0.1-8723-v1-recommend"),
        ("cmd:env/bin/python child.py --fast", "env-bin-python-child.py-fast"),
    ],
)
def test_a_recommender_is_called_after_its_file_or_module(name: str, label: str) -> None:
    assert label_of(RecommenderSection(name=name)) == label


def test_a_toml_date_is_a_wrong_value_not_a_crash() -> None:
    raw = tomllib.loads("[study]\nsteps = 2026-01-01")
    with pytest.raises(UserError, match="whole number"):
        study_from(raw, source="study.toml")
