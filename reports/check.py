"""The ``check`` command: does a recommender keep the contract that the built-in ones keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..recommenders import registry
from ..recommenders.errors import UserError
from ..recommenders.testing import RecommenderContract, verify
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

    @property
    def lines(self) -> list[str]:
        """One line a test: what was promised, and what came of it."""
        promised = {name: name.removeprefix("test_").replace("_", " ") for name in self.results}
        width = max(map(len, promised.values()))
        return [f"{promised[name]:<{width}}  {said}" for name, said in self.results.items()]


def check(spec: str, settings: list[str], *, ratings: bool = False) -> Checked:
    """Play the contract's tests on fresh recommenders.

    Args:
        spec: how it is named.
        settings: ``argument=value`` of its constructor.
        ratings: whether the log of the contract's little world holds ratings.

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
    return Checked(spec, verify(lambda: registry.create(spec, args), contract=contract))
