"""Recorded answers of GPT-4 and GPT-3.5, replayed: our reader and matcher find what was counted.

The expected figures were counted once by another script, which is gone, on the same recordings:
titles by name (articles and years ignored), of 1,123 works. Lists, empty answers and the most
frequent titles must be equal; shares may differ where two readers of titles may (half a point), and
hits by two of 228 moments: that script also took "Mission: Impossible - Fallout" for its head.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from loopaudit.recommenders.language.testing import (
    FAULTS,
    misbehaving,
    replaying,
    scripted_endpoint,
)

pytest.importorskip("rapidfuzz", reason="near spellings of titles need loopaudit[llm]")

ROOT = Path(__file__).resolve().parents[2]

COUNTED = {  # full lists %, no list, not in catalog %, repeats %, distinct, most frequent, hit@20
    ("gpt-4", "general"): (100.0, 0, 46.3, 1.9, 1183, ("inception", 60), 0.237),
    ("gpt-4", "p2"): (99.1, 2, 52.4, 0.6, 1134, ("inception", 78), 0.066),
    ("gpt-4", "p3"): (100.0, 0, 46.0, 0.7, 1178, ("inception", 61), 0.219),
    ("gpt-4", "p4"): (99.6, 1, 45.7, 2.3, 1198, ("inception", 58), 0.232),
    ("gpt-3.5-turbo", "general"): (92.5, 15, 48.7, 1.4, 1175, ("matrix", 47), 0.193),
    ("gpt-3.5-turbo", "p2"): (78.5, 49, 49.4, 1.1, 969, ("matrix", 50), 0.061),
}
QUICK = [("gpt-4", "general"), ("gpt-3.5-turbo", "p2")]


@pytest.fixture(scope="module")
def inspired() -> ModuleType:
    path = ROOT / "benchmarks" / "inspired.py"
    spec = importlib.util.spec_from_file_location("inspired_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["inspired_benchmark"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data("inspired-crs/data/item_ids.json").parents[1]


def replayed(inspired: ModuleType, folder: Path, model: str, prompt: str) -> Any:
    catalog, index = inspired.read_catalog(folder)
    moments = inspired.read_moments(folder, model, prompt, index)
    script = replaying((model, one.prompt, one.answer) for one in moments)
    with scripted_endpoint(script) as endpoint:
        slates, guard = inspired.asked(endpoint.base, model, moments, catalog)
        sent = [body["messages"][0]["content"] for body in endpoint.requests]
    assert sent == [one.prompt for one in moments]  # to the letter what was published
    return inspired.measured(slates, guard, moments, catalog)


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        pytest.param(*key, marks=() if key in QUICK else pytest.mark.slow, id="-".join(key))
        for key in COUNTED
    ],
)
def test_what_real_models_answered_is_counted_as_before(
    inspired: ModuleType, folder: Path, model: str, prompt: str
) -> None:
    full, no_list, absent, repeats, distinct, top, hit = COUNTED[model, prompt]
    row = replayed(inspired, folder, model, prompt)
    assert round(100 * row.full, 1) == full
    assert row.no_list == no_list
    assert row.top == top
    assert 100 * row.absent == pytest.approx(absent, abs=0.55)
    assert 100 * row.repeats == pytest.approx(repeats, abs=0.15)
    assert row.distinct == pytest.approx(distinct, abs=3)
    assert row.hit == pytest.approx(hit, abs=2.1 / 228)
    assert row.hit_work <= row.hit <= row.hit_work + 3 / 228
    assert row.faults.get("no_titles", 0) + row.faults.get("truncated", 0) >= no_list


def test_an_endpoint_that_misbehaves_costs_only_its_own_rows(
    inspired: ModuleType, folder: Path
) -> None:
    catalog, index = inspired.read_catalog(folder)
    moments = inspired.read_moments(folder, "gpt-4", "general", index)
    script = replaying(("gpt-4", one.prompt, one.answer) for one in moments)
    with scripted_endpoint(script) as endpoint:
        sound, _ = inspired.asked(endpoint.base, "gpt-4", moments, catalog)
    quick = {name: fault for name, fault in FAULTS.items() if name not in ("asks to wait", "drips")}
    with scripted_endpoint(misbehaving(script, share=0.3, faults=quick)) as endpoint:
        slates, guard = inspired.asked(endpoint.base, "gpt-4", moments, catalog)
    counts = guard.faults.counts
    for kind in ("server_error", "bad_reply", "truncated", "refused", "empty", "no_titles"):
        assert counts[kind] > 0
    assert slates.errors is not None
    assert slates.raw_names is not None
    ours = ("server_error", "bad_reply", "truncated", "refused", "empty", "no_titles")
    spoilt = np.array([str(e).split(":")[0] in ours for e in slates.errors])
    assert spoilt.sum() == sum(counts[kind] for kind in ours)
    invented = np.array(
        [names[:1] == ("The Clockmaker of Ys (2031)",) for names in slates.raw_names]
    )
    assert invented.any()
    assert 0.2 < (spoilt | invented).mean() < 0.4
    untouched = ~(spoilt | invented)
    assert np.array_equal(slates.items[untouched], sound.items[untouched])
    assert (slates.items[invented] == -1).all()
