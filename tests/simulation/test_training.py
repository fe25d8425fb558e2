"""The losses of every learning are in the run, the same whether it was stopped or not."""

import polars as pl

from loopaudit.simulation.platform.training import SCHEMA, TrainingRecord
from loopaudit.simulation.record.store import MemoryStore
from loopaudit.simulation.run import Run
from loopaudit.simulation.running.live import live_world
from loopaudit.simulation.study_file import study_from


def study(*recommenders, **more):
    return study_from(
        {
            "study": {"steps": 24, "worlds": 1, "seed": 6, "arms": ["random", "frozen"], **more},
            "world": {"users": 30, "items": 40, "topics": 4, "history": 6.0},
            "recommenders": list(recommenders),
            "audit": {"sensitivity_worlds": 0},
        },
        source="study.toml",
    )


VAE = {
    "name": "multvae",
    "retrain_every": 8,
    "args": {"hidden_size": 16, "latent_size": 4, "epochs": 3, "update_epochs": 2},
}
BPR = {"name": "bprmf", "retrain_every": 12, "args": {"embedding_size": 4, "epochs": 3}}


def lived(asked):
    store = MemoryStore()
    live_world(asked, 0, store, {}, lambda steps, what: None)
    return Run(asked, store)


def test_a_run_holds_the_epochs_of_the_fit_and_of_every_update():
    run = lived(study(VAE, BPR))
    told = run.training("multvae", 0)
    assert told.schema == pl.Schema(SCHEMA)
    assert told["epoch"].to_list() == [1, 2, 3, 1, 2, 1, 2, 1, 2]
    assert told["learning"].to_list() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    steps = run.series("multvae", 0).filter(pl.col("retrained") > 0)["step"].to_list()
    assert told.filter(pl.col("epoch") == 1)["step"].to_list() == [-1, *steps]
    anew = run.training("bprmf", 0)  # it is fitted again: as many epochs each time
    assert anew["epoch"].to_list() == [1, 2, 3] * 3
    assert run.training("multvae-frozen", 0).equals(told.filter(pl.col("learning") == 0))
    assert run.training("random", 0).is_empty()
    hidden, latent, items = 16, 4, 40
    weights = items * hidden + hidden * 2 * latent + latent * hidden + hidden * items
    biases = hidden + 2 * latent + hidden + items
    assert run.parameters("multvae") == weights + biases
    assert run.parameters("random") is None


def test_losses_in_the_run_are_those_that_the_recommender_as_it_entered_the_loop_keeps():
    run = lived(study(VAE))
    first = run.training("multvae", 0).filter(pl.col("learning") == 0)["loss"].to_list()
    assert run.recommender("multvae", 0).recommender.losses == first


def test_a_run_that_went_on_tells_the_same_losses():
    asked = study(VAE, BPR, steps=34, arms=["random"])
    store, done = MemoryStore(), {"multvae": 0, "bprmf": 0}

    class Stop(Exception):
        pass

    def tick(n, what):
        done[what] = done.get(what, 0) + n
        if what in ("multvae", "bprmf") and done[what] == 33:
            raise Stop

    for _ in range(3):
        try:
            live_world(asked, 0, store, {}, tick)
        except Stop:
            continue
    again, whole = Run(asked, store), lived(asked)
    assert len(done) >= 2
    assert min(done["multvae"], done["bprmf"]) > 34  # both were stopped and lived steps twice
    for name in ("multvae", "bprmf"):
        assert again.training(name, 0).equals(whole.training(name, 0))


def test_a_recommender_that_learnt_nothing_new_adds_no_epochs():
    class Kept:
        losses = (2.0, 1.0)

    record = TrainingRecord()
    for step in (-1, 3):
        record.heard(step, Kept())
    assert record.rows == [(0, -1, 1, 2.0), (0, -1, 2, 1.0)]
    assert record.n_learnings == 2
