"""Checkpoints: as often as asked or as costs little, and whole: optimiser, lists, tallies."""

import numpy as np
import pytest

from loopaudit.simulation.record import checkpoints
from loopaudit.simulation.record.checkpoints import CheckpointClock
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.running.live import ArmRun, live_world
from loopaudit.simulation.study_file import study_from


def study(recommender, **more):
    return study_from(
        {
            "study": {"steps": 34, "worlds": 1, "seed": 6, "arms": ["random"], **more},
            "world": {"users": 30, "items": 40, "topics": 4, "history": 6.0},
            "recommenders": [recommender],
            "audit": {"sensitivity_worlds": 0},
        },
        source="study.toml",
    )


HITS = {"name": "popularity", "label": "hits", "retrain_every": 7}


class Stop(Exception):
    """Ctrl-C, a kill, a power cut."""


def stopped_after(asked, steps, name):
    """A store in which the named arm of a study broke off after so many steps."""
    store, done = MemoryStore(), [0]

    def tick(n, what):
        done[0] += n if what == name else 0
        if done[0] >= steps:
            raise Stop

    with pytest.raises(Stop):
        live_world(asked, 0, store, {}, tick)
    return store


def quiet(steps, what):
    """Nobody is told."""


@pytest.mark.parametrize(("every", "held"), [(0, 30), (20, 20), (25, 30), (40, None)])
def test_checkpoints_are_kept_at_the_parts_after_so_many_steps(every, held):
    store = stopped_after(
        study({"name": "popularity", "label": "hits"}, checkpoint_every=every), 33, "hits"
    )
    name = "state/hits/w000/checkpoint.npz"
    assert store.exists(name) == (held is not None)
    if held is not None:
        assert int(store.arrays(name)["t"]) == held


def test_what_a_run_ends_with_does_not_depend_on_its_checkpoints():
    runs = []
    for every in (0, 20, 40):
        asked = study(
            {"name": "popularity", "label": "hits", "retrain_every": 7}, checkpoint_every=every
        )
        store = stopped_after(asked, 33, "hits")
        live_world(asked, 0, store, {}, quiet)
        runs.append(Run(asked, store).events("hits", 0).collect())
    assert runs[0].equals(runs[1])
    assert runs[0].equals(runs[2])


def test_dear_checkpoints_take_a_tenth_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    clock, written = CheckpointClock(0), 0
    for t in range(10, 10_000, 10):
        now[0] += 5.0  # ten steps
        if clock.due(t):
            written += 1
            with clock.saving(t):
                now[0] += 20.0
    assert 20.0 * written / now[0] == pytest.approx(checkpoints.SHARE, abs=0.01)


def test_cheap_checkpoints_are_always_written(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    clock = CheckpointClock(0)
    for t in range(10, 1_000, 10):
        now[0] += 0.01
        assert clock.due(t)
        with clock.saving(t):
            now[0] += 0.5


SMALL = {
    "genret": {"embedding_size": 8, "max_length": 10, "epochs": 2},
    "sasrec": {"size": 8, "max_length": 10, "epochs": 2},
    "hstu": {"embedding_size": 8, "max_length": 10, "epochs": 2},
    "multvae": {"hidden_size": 16, "latent_size": 4, "epochs": 2},
}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_stop_between_two_updates_of_a_network_changes_no_weight(name):
    """Adam's moments are in the checkpoint: the next update goes on from them."""
    args = {key: v for key, v in SMALL[name].items() if key in _arguments(name)}
    asked = study({"name": name, "retrain_every": 8, "args": args, "refresh_every": 3})
    whole = MemoryStore()
    live_world(asked, 0, whole, {}, quiet)
    resumed = stopped_after(asked, 33, name)
    held = resumed.arrays(f"state/{name}/w000/checkpoint.npz")
    moments = [key for key in held if "exp_avg" in key]
    assert moments
    assert any(np.abs(held[key]).max() > 0 for key in moments)
    live_world(asked, 0, resumed, {}, quiet)
    a, b = Run(asked, whole), Run(asked, resumed)
    assert a.events(name, 0).collect().equals(b.events(name, 0).collect())
    assert a.outcomes(name, 0).equals(b.outcomes(name, 0))
    assert a.end(name, 0).equals(b.end(name, 0))


def test_a_stop_in_the_middle_of_the_first_fit_changes_nothing(monkeypatch):
    monkeypatch.setattr(checkpoints, "LONG_FIT_SECONDS", 0.0)
    monkeypatch.setattr("loopaudit.recommenders.unfinished._RARELY", 0.0)
    asked = study({"name": "multvae", "args": SMALL["multvae"] | {"epochs": 6}})
    whole, resumed = MemoryStore(), MemoryStore()
    live_world(asked, 0, whole, {}, quiet)
    under_way = "state/multvae/w000/unfinished.npz"
    with monkeypatch.context() as patch:
        kept, put = [], resumed.put_arrays

        def put_and_stop(name, arrays):
            put(name, arrays)
            kept.append(name)
            if kept.count(under_way) == 3:
                raise KeyboardInterrupt

        patch.setattr(resumed, "put_arrays", put_and_stop)
        with pytest.raises(KeyboardInterrupt):
            live_world(asked, 0, resumed, {}, quiet)
    assert resumed.arrays(under_way)["epochs"].tolist() == [3]
    live_world(asked, 0, resumed, {}, quiet)
    assert resumed.listing("") == whole.listing("")
    assert under_way not in resumed.listing("")
    initial = (store.arrays("state/multvae/w000/initial.npz") for store in (whole, resumed))
    first, second = initial
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    a, b = Run(asked, whole), Run(asked, resumed)
    assert a.events("multvae", 0).collect().equals(b.events("multvae", 0).collect())


def test_the_model_of_a_library_goes_on_from_a_checkpoint_too():
    svd = {"name": "sklearn.decomposition:TruncatedSVD", "label": "svd", "retrain_every": 8}
    asked = study({**svd, "args": {"n_components": 4}})
    whole = MemoryStore()
    live_world(asked, 0, whole, {}, quiet)
    resumed = stopped_after(asked, 33, "svd")
    assert int(resumed.arrays("state/svd/w000/checkpoint.npz")["t"]) == 30
    live_world(asked, 0, resumed, {}, quiet)
    a, b = Run(asked, whole), Run(asked, resumed)
    assert a.events("svd", 0).collect().equals(b.events("svd", 0).collect())
    assert a.end("svd", 0).equals(b.end("svd", 0))


def _arguments(name):
    import inspect

    from loopaudit.recommenders import registry

    return inspect.signature(type(registry.create(name, {}))).parameters


def test_every_array_of_a_checkpoint_comes_back():
    """Saved, restored and saved again, a checkpoint is the same, array by array."""
    asked = study({"name": "ease", "retrain_every": 7, "refresh_every": 4, "list_length": 20})
    store = stopped_after(asked, 33, "ease")
    name = "state/ease/w000/checkpoint.npz"
    before = store.arrays(name)
    arm = next(a for a in Run(asked, store)._arms.values() if a.name == "ease")
    again = ArmRun(asked, 0, arm, store, "", {}, {}, quiet)
    again.save(again.start())
    after = store.arrays(name)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert np.array_equal(value, after[key], equal_nan=value.dtype.kind == "f"), key
