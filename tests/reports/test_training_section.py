"""The report's section on training: a curve and a row a recommender, honest about gaps."""

from typing import Any

from loopaudit.reports.html import render
from loopaudit.reports.training import curve_of, training_section


def losses(first: int, updates: int, each: int, *, worlds: int = 3) -> dict[str, Any]:
    """A fit and some updates, as audit.training tells them."""
    rows = [(0, -1, e + 1, 9.0 / (e + 1)) for e in range(first)]
    rows += [(u + 1, 10 * u, e + 1, 2.0 - 0.1 * e) for u in range(updates) for e in range(each)]
    learning, step, epoch, mean = (list(column) for column in zip(*rows, strict=True))
    return {
        "learning": learning,
        "step": step,
        "epoch": epoch,
        "worlds": [worlds] * len(rows),
        "mean": mean,
        "low": [m - 0.1 for m in mean],
        "high": [m + 0.1 for m in mean],
    }


def told(**held: Any) -> dict[str, Any]:
    names = ("learning", "step", "epoch", "worlds", "mean", "low", "high")
    empty: dict[str, list[Any]] = {name: [] for name in names}
    return {"name": "x", "args": {}, "updates_per_world": 3, "losses": empty, "note": ""} | held


def test_every_recommender_has_a_row_and_those_that_told_losses_a_curve(make_result: Any) -> None:
    vae = told(losses=losses(10, 3, 2), parameters=1_234_567, note="The loss was still falling.")
    result = make_result(
        ("ease", "multvae", "sasrec"),
        training={"ease": told(parameters=None), "multvae": vae, "sasrec": told(name="sasrec")},
    )
    section = training_section(result)
    assert section is not None
    assert section.table[0] == ("ease", "not told", "none told", "", "", "3", "")
    assert section.table[1] == ("multvae", "1,234,567", "10", "9.00", "0.900", "3", "1.90")
    assert [panel.title for panel in section.panels] == ["multvae"]
    assert section.notes == [("multvae", "The loss was still falling.")]
    page = render(result)
    assert 'id="training"' in page
    assert "The loss was still falling." in page
    assert page.count('aria-labelledby="loss1-title loss1-desc"') == 1
    assert page == render(result)


def test_without_any_loss_there_is_no_section(make_result: Any) -> None:
    for training in ({}, {"ease": told()}, {"ease": {"name": "ease", "retrained": 3}}):
        result = make_result(("ease",), training=training)
        assert training_section(result) is None
        assert 'id="training"' not in render(result)


def test_a_loss_that_is_no_number_leaves_a_gap_and_is_called_undefined(make_result: Any) -> None:
    broken = losses(6, 0, 0)
    for name in ("mean", "low", "high"):
        broken[name][3:] = [None] * 3
    section = training_section(
        make_result(("cfgan",), training={"cfgan": told(losses=broken, note="It broke.")})
    )
    assert section is not None
    assert section.table[0][4] == "undefined"
    assert section.panels[0].rows[-1] == ("6", "first fit", "undefined", "undefined to undefined")


def test_updates_begin_where_the_learning_changes() -> None:
    curve = curve_of(told(losses=losses(4, 2, 3)))
    assert curve is not None
    assert curve.first == 4
    assert curve.begins.tolist() == [4, 7]


def test_names_of_others_are_escaped_in_the_section(make_result: Any) -> None:
    name = "<script>alert(1)</script>"
    result = make_result((name,), training={name: told(losses=losses(4, 1, 2), note="<b>no</b>")})
    assert "<script>alert(1)" not in render(result)
    assert "<b>no</b>" not in render(result)
