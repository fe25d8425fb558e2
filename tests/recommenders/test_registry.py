"""Every way to name a recommender, and every way to get the name wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopaudit.recommenders import registry
from loopaudit.recommenders.border import Requests, Slates
from loopaudit.recommenders.catalog import Catalog
from loopaudit.recommenders.errors import UserError
from loopaudit.recommenders.guard import Guard
from loopaudit.recommenders.inspection import static_error
from loopaudit.recommenders.interactions import Interactions, Ragged
from loopaudit.recommenders.plugins.function import FunctionRecommender
from loopaudit.recommenders.plugins.vocabulary import UNKNOWN, Vocabulary

PLUGIN = '''
import numpy as np
from loopaudit.recommenders.border import Slates
from neighbour import SHIFT

class Fixed:
    """Recommends the same items to everybody."""
    def __init__(self, *, start: int = 0, label="fixed"):
        self.start = start + SHIFT
    def recommend(self, requests):
        items = np.arange(self.start, self.start + requests.k, dtype=np.int32)
        return Slates(np.tile(items, (len(requests), 1)))

class Angry:
    def __init__(self):
        raise OSError("no licence file")

class Mute:
    pass

instance = Fixed(start=2)
number = 3

def newest(history: list[str], k, *, reverse=False):
    return sorted({"b", "c", "a"} - set(history), reverse=reverse)[:k]

def one_parameter(history):
    return []

def trains(history, k, learning_rate):
    return []
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("SHIFT = 0\n")
    path = tmp_path / "my plugin.py"
    path.write_text(PLUGIN)
    return path


def ask(*histories: list[int], k: int = 2, **attributes: Any) -> Requests:
    users = np.arange(len(histories), dtype=np.int32)
    return Requests(users, Ragged.from_lists(histories), k, seed=5, attributes=attributes)


def catalog() -> Catalog:
    nobody = np.full(3, -1, np.int32)
    ids = ("a", "b", "c")
    return Catalog(ids, ids, np.ones((3, 1), np.float32), ("t",), nobody, nobody)


def empty_log() -> Interactions:
    nothing = np.empty(0, np.int32)
    return Interactions(nothing, nothing, np.empty(0, np.int64), 1, 3)


def message(spec: str, args: dict[str, object] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        registry.create(spec, args)
    return str(caught.value)


def test_a_class_an_instance_and_a_function_in_a_file(plugin: Path) -> None:
    made = registry.create(f"{plugin}:Fixed", {"start": 4})
    assert made.recommend(ask([])).items.tolist() == [[4, 5]]
    copied = registry.create(f"{plugin}:instance")
    assert copied.recommend(ask([])).items.tolist() == [[2, 3]]
    assert copied is not registry.create(f"{plugin}:instance"), "arms share no memory"
    function = registry.create(f"{plugin}:newest", {"reverse": True})
    function.fit(empty_log(), catalog())  # type: ignore[attr-defined]
    assert function.name == "newest"
    assert function.recommend(ask([0], [2])).items.tolist() == [[2, 1], [1, 0]]


def test_a_changed_file_is_loaded_again(plugin: Path) -> None:
    import os

    registry.create(f"{plugin}:Fixed")
    plugin.write_text(PLUGIN.replace("start + SHIFT", "start + SHIFT + 1"))
    os.utime(plugin, ns=(1, 1))
    assert registry.create(f"{plugin}:Fixed").recommend(ask([])).items.tolist() == [[1, 2]]


def test_module_and_attribute_name_a_recommender() -> None:
    name = "loopaudit.recommenders.classic.random:Random"
    assert registry.create(name, {"seed": 3}).name == "random"
    assert registry.resolve(name).origin == "module"


LANGUAGE_MODELS = ("zeroshot", "rerank", "conversation", "hf")
"""These must be told which model they are."""


def test_every_builtin_is_listed_sound_and_can_be_created() -> None:
    listed = [e for e in registry.entries() if e.origin == "built-in"]
    assert [e.name for e in listed] == list(registry.RECOMMENDERS)
    for entry in listed:
        assert static_error(entry.target) is None
        assert entry.summary
        if entry.name in LANGUAGE_MODELS:
            with pytest.raises(UserError, match=f"{entry.name}'? needs|{entry.name}: .* needs"):
                registry.create(entry.name)
        else:
            assert registry.create(entry.name).name == entry.name


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, loopaudit.recommenders.registry as r; r.entries(); r.entries('auditors');"
        "print(sorted({'torch', 'mesa', 'fairlearn', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("eaze", ["unknown recommender 'eaze'", "Did you mean ease"]),
        ("zzzzz", ["unknown recommender", "Known: ", "multvae"]),
        ("", ["does not name a recommender"]),
        ("two words", ["does not name a recommender", "module:attr"]),
        ("mine.py", ["add what to take from it", "mine.py:MyClass"]),
        ("nowhere/mine.py:X", ["there is no file", "mine.py"]),
        ("nomodule_xyz:X", ["No module named 'nomodule_xyz'", "path/file.py:attr"]),
        ("collections:OrderedDic", ["could not be loaded", "OrderedDict"]),
        ("collections:OrderedDict", ["is not a recommender", "no method recommend"]),
    ],
)
def test_a_wrong_name_says_what_to_write(spec: str, words: list[str]) -> None:
    said = message(spec)
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("attribute", "args", "words"),
    [
        ("Fixed", {"strat": 1}, ["unknown argument 'strat'", "start"]),
        ("Fixed", {"start": "many"}, ["start must be a number", "'many'"]),
        ("Angry", {}, ["could not be created", "OSError: no licence file", "my plugin.py", "line"]),
        ("Angry", {"x": 1}, ["takes no args", "'x'"]),
        ("Mute", {}, ["is not a recommender: Mute has no method recommend"]),
        ("instance", {"start": 1}, ["is an instance", "start"]),
        ("number", {}, ["is not a recommender"]),
        ("newest", {"revers": True}, ["unknown argument 'revers'", "reverse"]),
        ("newest", {"seed": 1}, ["given by the harness"]),
        ("one_parameter", {}, ["too many positional arguments", "(history)"]),
        ("trains", {}, ["needs the argument 'learning_rate'"]),
        ("Fixd", {}, ["Did you mean Fixed"]),
    ],
)
def test_a_wrong_argument_or_object_says_what_is_wrong(
    plugin: Path, attribute: str, args: dict[str, object], words: list[str]
) -> None:
    said = message(f"{plugin}:{attribute}", args)
    for word in words:
        assert word in said


def test_wrong_arguments_of_a_builtin_name_the_nearest() -> None:
    assert "Did you mean reg" in message("ease", {"rge": 1})
    assert "must be a number" in message("ease", {"reg": "much"})


@pytest.mark.parametrize("text", ["import not_there_xyz\n", "def broken(:\n", "1 / 0\n"])
def test_a_file_that_cannot_be_imported_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    said = message(f"{path}:X")
    assert "could not be loaded" in said
    assert "bad.py" in said


def test_only_recommenders_have_urls_and_unknown_auditors_are_called_auditors() -> None:
    with pytest.raises(UserError, match="only recommenders"):
        registry.make("http://localhost/x", group="auditors")
    with pytest.raises(UserError, match=r"unknown auditor 'bubbl'.*bubble"):
        registry.make("bubbl", group="auditors", built_in={"bubble": ("x:Y", "")})


def test_make_creates_whatever_a_higher_floor_registers() -> None:
    own = {"counter": ("collections:Counter", "counts")}
    assert registry.make("counter", group="auditors", built_in=own) == {}
    listed = registry.entries("auditors", built_in=own)
    assert listed[0] == registry.Entry("counter", "built-in", "collections:Counter", "counts")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "some_plugin_xyz"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [m for m in sys.modules if m.startswith("some_plugin_xyz")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class Mine: ...", None),
        ("Mine = None", None),
        ("if True:\n    Mine = 1", None),
        ("try:\n    import not_there_xyz\nexcept ImportError: ...\nMine = 1", None),
        ("from json import *", None),
        ("def __getattr__(name): ...", None),
        ("from .sibling import Mine", None),
        ("class Yours: ...", "has no 'Mine'"),
        ("import not_there_xyz\nclass Mine: ...", "not_there_xyz"),
        ("from not_there_xyz.deep import a\nclass Mine: ...", "not_there_xyz"),
        ("class Mine(:", "SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_seen_without_importing_it(
    package: Path, source: str, found: str | None
) -> None:
    (package / "models.py").write_text("raise SystemExit('imported!')\n" + source)
    error = static_error("some_plugin_xyz.models:Mine")
    assert error is None if found is None else found in str(error)
    assert "some_plugin_xyz" not in sys.modules


def test_missing_modules_and_malformed_targets_are_seen(package: Path) -> None:
    assert "no module named 'some_plugin_xyz.gone'" in str(static_error("some_plugin_xyz.gone:X"))
    assert "not_there_xyz" in str(static_error("not_there_xyz:X"))
    assert "module:attr" in str(static_error("some_plugin_xyz"))
    assert static_error("math:floor") is None  # compiled code cannot be read


def test_a_function_gets_indices_or_ids_and_may_return_either() -> None:
    seen: list[Any] = []

    def plain(history, k):  # type: ignore[no-untyped-def]
        seen.append(history)
        return ["c", 0, np.int64(1), "nowhere", 2**70, -9]

    def ids(history: list[str], k: int) -> list[str]:
        seen.append(history)
        return ["a"]

    for function in (plain, ids):
        made = FunctionRecommender(function)
        made.fit(empty_log(), catalog())
        slates = made.recommend(ask([1, 2], k=6))
        if function is plain:
            assert slates.items.tolist() == [[2, 0, 1, UNKNOWN, UNKNOWN, UNKNOWN]]
    assert seen == [[1, 2], ["b", "c"]]
    g = Guard(FunctionRecommender(plain), n_items=3)
    g.fit(empty_log(), catalog())
    assert g.recommend(ask([], k=6)).items.tolist() == [[2, 0, 1, -1, -1, -1]]
    assert g.faults.counts == {"unknown_item": 1}


def test_what_the_harness_hands_to_a_function_is_no_missing_argument(tmp_path: Path) -> None:
    file = tmp_path / "asks.py"
    file.write_text("def f(history, k, attributes):\n    return range(k)\n")
    made = registry.create(f"{file}:f")
    assert made.capabilities.inputs == {"history", "attributes"}
    file.write_text("def f(user, seed, attributes, more):\n    return range(seed)\n")
    with pytest.raises(UserError, match="'more'"):
        registry.create(f"{file}:f")


def test_a_function_that_fails_for_one_person_fails_for_that_person_only() -> None:
    def picky(history, k):  # type: ignore[no-untyped-def]
        if history == [0]:
            raise KeyError("cannot")
        if history == [1]:
            return "abc"
        if history == [2]:
            return [1.5]
        return (i for i in range(10**9))

    g = Guard(FunctionRecommender(picky), n_items=3)
    slates = g.recommend(ask([0], [1], [2], []))
    assert slates.items.tolist() == [[-1, -1]] * 3 + [[0, 1]]
    assert g.faults.counts == {"raised": 3}
    assert slates.errors is not None
    assert slates.errors[3] is None


def test_a_function_gets_user_seed_and_attributes_when_it_asks() -> None:
    seen = []

    def f(history, k, *, user, seed, attributes):  # type: ignore[no-untyped-def]
        seen.append((user, seed, attributes))
        return []

    made = FunctionRecommender(f)
    assert made.capabilities.stochastic
    assert made.capabilities.inputs == {"history", "user_id", "attributes"}
    made.recommend(ask([], [], gender=np.array(["F", "M"])))
    made.recommend(ask([], [], gender=np.array(["F", "M"])).take(np.array([1])))
    assert [u for u, _, _ in seen] == [0, 1, 1]
    assert [a for _, _, a in seen] == [{"gender": "F"}, {"gender": "M"}, {"gender": "M"}]
    assert seen[1] == seen[2], "luck belongs to the person, not to the batch"
    assert seen[0][1] != seen[1][1]


def test_the_vocabulary_translates_both_ways_whatever_the_script() -> None:
    ids = ["a", "ñ", "中文", "<script>alert(1)</script>", "", " a"]
    words = Vocabulary(ids)
    assert words.ids(words.indices(ids)) == ids
    assert words.indices(["A"]) == [UNKNOWN]


def test_objects_are_given_labels_and_factories() -> None:
    class Mine:
        def recommend(self, requests: Requests) -> Slates:
            return Slates(np.zeros((len(requests), 1), np.int32))

    def popularity(history, k):  # type: ignore[no-untyped-def]
        return [0]

    tables, factories = registry.name_objects(["ease", Mine, Mine(), popularity, lambda h, k: [1]])
    assert [t.get("label") for t in tables] == [None, "Mine", "Mine-2", "popularity-2", "lambda"]
    assert tables[0] == {"name": "ease"}
    for label, factory in factories.items():
        assert callable(factory().recommend), label
    with pytest.raises(UserError, match="is not a recommender"):
        registry.name_objects([3])


# -- installed distributions, written by hand ---------------------------------------------------


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a distribution with entry points and one module on the path."""

    def put(name: str, points: dict[str, str], source: str = "") -> None:
        site = tmp_path / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: of {name}\n"
        )
        lines = [f"{point} = {target}" for point, target in points.items()]
        text = "\n".join(["[loopaudit.recommenders]", *lines, ""])
        info.joinpath("entry_points.txt").write_text(text)
        (site / f"{name}_module.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))

    return put


GOOD = """
import numpy as np
from loopaudit.recommenders.border import Slates
class Mine:
    name = "mine"
    def recommend(self, requests):
        return Slates(np.zeros((len(requests), 1), np.int32))
"""


def test_a_broken_plugin_is_listed_with_its_error_and_breaks_no_other(
    distribution: Callable[..., None],
) -> None:
    distribution("alpha", {"sound": "alpha_module:Mine"}, GOOD)
    distribution("beta", {"broken": "beta_module:Mine"}, "import not_there_xyz\n" + GOOD)
    distribution("gamma", {"raises": "gamma_module:Mine"}, GOOD + "\n1 / 0\n")
    distribution("delta", {"absent": "delta_module:Yours", "odd": "delta_module"}, GOOD)
    listed = {e.name: e for e in registry.entries() if e.origin != "built-in"}
    assert listed["sound"] == registry.Entry("sound", "alpha 1.0", "alpha_module:Mine", "of alpha")
    assert "not_there_xyz" in str(listed["broken"].error)
    assert "has no 'Yours'" in str(listed["absent"].error)
    assert "module:attr" in str(listed["odd"].error)
    assert registry.create("sound").name == "mine"
    assert registry.resolve("sound").origin == "alpha 1.0"
    for name, owner in [("broken", "beta"), ("raises", "gamma"), ("absent", "delta")]:
        said = message(name)
        assert f"{name!r} from distribution {owner} 1.0" in said
    said = message("raises")
    assert "ZeroDivisionError" in said
    assert "gamma_module.py" in said
    assert "Did you mean sound" in message("sond")


def test_a_plugin_with_a_builtin_name_does_not_hide_the_builtin(
    distribution: Callable[..., None],
) -> None:
    distribution("alpha", {"ease": "alpha_module:Mine"}, GOOD)
    assert registry.create("ease").name == "ease"
    (theirs,) = [e for e in registry.entries() if e.origin == "alpha 1.0"]
    assert "hidden by the built-in 'ease'; write alpha_module:Mine" in str(theirs.error)


def test_two_installed_distributions_with_one_name_are_both_named(
    distribution: Callable[..., None],
) -> None:
    distribution("alpha", {"mine": "alpha_module:Mine"}, GOOD)
    distribution("beta", {"mine": "beta_module:Mine"}, GOOD)
    said = message("mine")
    assert "alpha 1.0 and beta 1.0" in said
    assert "alpha_module:Mine or beta_module:Mine" in said
