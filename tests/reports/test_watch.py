"""The live view: arms of one world side by side, its pictures, the page and its mistakes."""

import socket
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy as np
import pytest

from loopaudit.recommenders.errors import UserError
from loopaudit.reports.watch import STUDY_VARIABLE, serve
from loopaudit.reports.watch_figures import PICTURES, plane, sampled
from loopaudit.simulation.runner import simulate
from loopaudit.simulation.running.side_by_side import SideBySide
from loopaudit.simulation.study_file import study_from, to_toml


def study(steps=6):
    return study_from(
        {
            "study": {"steps": steps, "worlds": 2},
            "world": {"users": 40, "items": 50, "topics": 4},
            "recommenders": [{"name": "ease", "retrain_every": 2}],
            "audit": {"sensitivity_worlds": 0},
        },
        source="test",
    )


def test_what_is_watched_is_what_a_simulation_lives():
    model = SideBySide(study(), world=1)
    while model.running:
        model.step()
    run = simulate(study())
    assert set(model.worlds) == set(run.arms)
    for name, world in model.worlds.items():
        assert world.measures.outcomes().equals(run.outcomes(name, 1))


def test_every_picture_is_drawn_before_the_first_step_and_after_some():
    model = SideBySide(study())
    for _ in range(3):
        for draw in PICTURES:
            figure = draw(model)
            figure.canvas.draw()
            assert figure.axes
        model.step()


def test_the_map_shows_the_plane_in_which_items_differ_most():
    world = SideBySide(study()).worlds["random"]
    view = plane(world)
    assert view.T @ view == pytest.approx(np.eye(2), abs=1e-9)
    centred = world.columns.features - world.columns.features.mean(axis=0)
    spread = np.linalg.svd(centred, compute_uv=False)
    assert ((centred @ view) ** 2).sum() == pytest.approx((spread[:2] ** 2).sum(), rel=1e-5)


def test_the_people_drawn_are_the_same_in_every_arm_and_at_most_150():
    assert len(sampled(1000)) == 150
    assert (sampled(1000) == sampled(1000)).all()
    assert len(sampled(7)) == 7


def test_a_world_that_the_study_does_not_have_is_refused():
    with pytest.raises(UserError, match="world must be from 0 to 1, got 2"):
        SideBySide(study(), world=2)


@pytest.mark.skipif(find_spec("solara") is not None, reason="the extra viz is installed")
def test_without_the_extra_the_message_says_what_to_install(tmp_path):
    (tmp_path / "study.toml").write_text(to_toml(study()))
    command = [sys.executable, "-m", "loopaudit", "watch", "study.toml", "--no-open"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'loopaudit[viz]'" in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_the_page_holds_every_picture_and_draws_them_again_after_a_step(tmp_path, monkeypatch):
    pytest.importorskip("solara", reason="the live view needs the extra viz")
    import ipywidgets
    import reacton
    from mesa.visualization.utils import force_update

    (tmp_path / "study.toml").write_text(to_toml(study()))
    monkeypatch.setenv(STUDY_VARIABLE, str(tmp_path / "study.toml"))
    app = import_module("loopaudit.reports.watch_app")
    _, shown = reacton.render(app.page, handle_error=False)

    def pictures():
        return [found.widget.value for found in shown.find(ipywidgets.Image)]

    before = pictures()
    assert len(before) == len(PICTURES)
    app.model.step()
    force_update()
    assert all(a != b for a, b in zip(before, pictures(), strict=True))
    shown.close()


def test_a_port_in_use_is_named(tmp_path):
    pytest.importorskip("solara", reason="the live view needs the extra viz")
    (tmp_path / "study.toml").write_text(to_toml(study()))
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            serve(tmp_path / "study.toml", port=port)


@pytest.mark.slow
def test_a_browser_gets_the_page(tmp_path):
    pytest.importorskip("solara", reason="the live view needs the extra viz")
    (tmp_path / "study.toml").write_text(to_toml(study()))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-m", "loopaudit", "watch", str(tmp_path / "study.toml")]
    server = subprocess.Popen(
        [*command, "--no-open", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        status = 0
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urlopen(f"http://localhost:{port}/") as answer:
                    status = answer.status
                break
            except HTTPError as error:
                status = error.code
                break
            except URLError:
                assert server.poll() is None  # it is still starting
        assert status == 200
    finally:
        server.terminate()
        said, _ = server.communicate(timeout=20)
    assert "Please upgrade" not in said
