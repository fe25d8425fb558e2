"""The ``check`` command: does a recommender keep the contract that the built-in ones keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ..recommenders import registry
from ..recommenders.errors import UserError
from ..recommenders.testing import NOT_TRIED, RecommenderContract, names_of, verify
from ..simulation.study_file import toml_value


class Checked:
    """What each test of the contract said.

    Args:
        name: as the caller named it.
        results: from :func:`loopaudit.recommenders.testing.verify`.
    """

    def __init__(self, name: str, results: Mapping[str, str]) -> None:
        self.name, self.results = name, dict(results)

    @property
    def exit_code(self) -> int:
        """0 if no test failed, 1 if one did."""
        return int(any(said.startswith("failed") for said in self.results.values()))

    @property
    def said(self) -> str:
        """The last line, without the exit code."""
        n = Counter(said.partition(":")[0] for said in self.results.values())
        counted = ", ".join(f"{n[word]} {word}" for word in ("passed", "skipped", "failed"))
        return f"contract of {self.name}: {counted}"


class _Lines:
    """One line a test: what was promised, and what came of it; the same failure is told once."""

    def __init__(self, names: Iterable[str], say: Callable[[str], None]) -> None:
        self._promised = {name: name.removeprefix("test_").replace("_", " ") for name in names}
        self._width = max(map(len, self._promised.values()))
        self._say = say
        self._told: dict[str, str] = {}

    def __call__(self, name: str, result: str) -> None:
        first = self._told.setdefault(result, name)
        again = result.startswith("failed") and result != NOT_TRIED and first != name
        said = f"failed: as {self._promised[first]!r}" if again else result
        self._say(f"{self._promised[name]:<{self._width}}  {said}")


def check(
    spec: str,
    settings: list[str],
    *,
    ratings: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Checked:
    """Play the contract's tests on fresh recommenders.

    Args:
        spec: how it is named.
        settings: ``argument=value`` of its constructor.
        ratings: whether the log of the contract's little world holds ratings.
        say: told a line after each test.

    Raises:
        UserError: an unknown name, or a setting that is not of this form.
    """
    args: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and key.strip()):
            raise UserError(f"--set wants argument=value, got {setting!r}")
        args[key.strip()] = toml_value(text.strip())
    registry.create(spec, args)  # a mistake in the name shows once, not in every test
    contract = RecommenderContract()
    contract.ratings = ratings
    lines = _Lines(names_of(contract), say)
    return Checked(spec, verify(lambda: registry.create(spec, args), contract=contract, told=lines))
