"""The study behind ``loopaudit demo``: three recommenders, every arm, ten worlds, small enough."""

from __future__ import annotations

from .study import AuditSection, RecommenderSection, Study, StudySection, WorldSection


def demo_study() -> Study:
    """A study that two cores finish in three minutes; every size stands here."""
    return Study(
        study=StudySection(name="demo", steps=40, worlds=10),
        world=WorldSection(users=250, items=350, topics=10),
        recommenders=(
            RecommenderSection(name="ease", args={"reg": 50.0}),
            RecommenderSection(
                name="multvae", args={"hidden_size": 200, "latent_size": 64, "epochs": 40}
            ),
            RecommenderSection(
                name="sasrec",
                args={
                    "embedding_size": 32,
                    "max_length": 30,
                    "batch_size": 32,
                    "epochs": 12,
                    "learning_rate": 0.005,
                    "dropout": 0.3,
                },
            ),
        ),
        audit=AuditSection(sensitivity_worlds=5, shadows=8),
    )
