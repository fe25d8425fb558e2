"""docs/people.md says what the code does, and its study runs."""

import tomllib
from pathlib import Path

import pytest

from loopaudit import cli
from loopaudit.simulation.people.laws import LAWS, summary
from loopaudit.simulation.people.laws_page import EXAMPLE, page
from loopaudit.simulation.study_file import study_from
from loopaudit.simulation.world import World

PAGE = Path(__file__).parents[2] / "docs" / "people.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m loopaudit.simulation.people.laws_page docs/people.md"
    )


@pytest.mark.parametrize(
    ("name", "law"), [one for laws in LAWS.values() for one in laws.items()], ids=str
)
def test_every_law_has_an_equation_a_source_and_keys_that_are_explained(name, law):
    told = law.__doc__
    assert law.model_fields["law"].default == name
    assert "``" in told
    assert "\n    Source: " in told
    assert len(summary(law)) <= 100
    assert all(field.description for key, field in law.model_fields.items() if key != "law")


def test_the_study_on_the_page_is_lived_by_two_kinds_of_people():
    raw = tomllib.loads(EXAMPLE)
    raw["world"] |= {"users": 80, "items": 90, "topics": 5}
    world = World(study_from(raw, source="page"))
    for _ in range(4):
        world.step()
    assert [segment.name for segment in world.segments] == ["browsers", "raters"]
    assert world.shown.feedback.rating is not None
    assert world.measures.current["click_rate"] > 0


def test_list_shows_every_law_with_what_it_is_for(capsys):
    assert cli.main(["list", "laws"]) == 0
    said = capsys.readouterr().out
    for laws in LAWS.values():
        for name, law in laws.items():
            assert name in said
            assert summary(law) in said


def test_the_study_on_the_page_is_audited_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(EXAMPLE + '[[recommenders]]\nname = "ease"\n', encoding="utf-8")
    sizes = ["study.steps=4", "study.worlds=2", "world.users=60", "world.items=80"]
    quick = [*sizes, "study.arms=['none']", "audit.sensitivity_worlds=0", "audit.shadows=2"]
    options = [part for one in quick for part in ("--set", one)]
    run = ["--out", "run", "--workers", "1", "--quiet"]
    assert cli.main(["audit", "study.toml", *run, *options]) in (0, 1, 4)
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "60 % are <strong>browsers</strong>" in page
    assert "they choose by the law carousel" in page
    again = Path("again.toml")
    again.write_text(Path("run/study.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert cli.main(["simulate", "again.toml", "--out", "same", "--workers", "1", "--quiet"]) == 0
    for part in sorted(Path("run/events").rglob("*.parquet")):
        same = Path("same") / part.relative_to("run")
        assert same.read_bytes() == part.read_bytes()
