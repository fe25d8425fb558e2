"""People are served and counted in blocks, so that a world can be shared out among shards."""

import numpy as np
import pytest

from loopaudit.simulation.measures import MEANS, means
from loopaudit.simulation.running.side_by_side import SideBySide
from loopaudit.simulation.study_file import study_from


def lived(block, steps=5, **people):
    study = study_from(
        {
            "study": {"steps": steps, "worlds": 1, "block": block},
            "world": {"users": 130, "items": 70, "topics": 5},
            "people": people,
            "recommenders": [{"name": "ease", "retrain_every": 2}],
            "audit": {"sensitivity_worlds": 0},
        },
        source="test",
    )
    model = SideBySide(study)
    while model.running:
        model.step()
    return model.worlds


@pytest.mark.parametrize("people", [{}, {"choice": "cascade"}])
def test_any_size_of_block_gives_the_same_people(people):
    whole, small = lived(65_536, **people), lived(16, **people)
    for arm, world in whole.items():
        other = small[arm]
        assert len(other.measures.blocks) == 9
        assert world.columns.taste == pytest.approx(other.columns.taste, abs=1e-6)
        assert (world.measures.exposure == other.measures.exposure).all()
        assert world.measures.current == pytest.approx(other.measures.current, nan_ok=True)


def test_means_do_not_depend_on_the_order_in_which_blocks_are_added():
    rng = np.random.default_rng(3)
    sums = np.stack(
        [10 ** rng.uniform(-9, 9, (40, len(MEANS))), rng.integers(0, 9, (40, len(MEANS)))], axis=-1
    )
    first = means(sums)
    for _ in range(20):
        assert means(rng.permutation(sums)) == first
