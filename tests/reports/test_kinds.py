"""Who lives in the audited world is said as it is, one kind or several."""

from loopaudit.reports.kinds import kinds_of_people
from loopaudit.simulation.study_file import study_from


def told(raw):
    return kinds_of_people(study_from(raw, source="test").model_dump(mode="json"))


def test_one_kind_of_people_is_called_by_its_preset():
    assert told({}) == [
        ("People are", "habitual", "tastes drift slowly and little gets boring"),
    ]


def test_each_of_several_kinds_is_named_with_its_share_and_its_laws():
    kinds = [
        {"label": "browsers", "share": 0.6, "choice": "cascade", "change": ["boredom"]},
        {"model": "curious", "share": 0.4, "feedback": ["rating", "dwell"]},
    ]
    first, second = told({"users": kinds})
    assert first == (
        "60 % are",
        "browsers",
        "habitual, tastes drift slowly and little gets boring; they choose by the law cascade; "
        "they change by boredom",
    )
    assert second[:2] == ("40 % are", "curious")
    assert second[2].endswith("they tell rating and dwell")


def test_a_study_that_was_not_recorded_is_no_error():
    assert kinds_of_people({})[0][1] == "habitual"
