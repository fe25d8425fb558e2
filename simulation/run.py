"""A finished simulation: whether it is whole, what it studied, its recommenders to be probed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..recommenders.catalog import Catalog
from ..recommenders.errors import UserError, unknown_name
from ..recommenders.randomness import child_seed
from .record.manifest import read_manifest, verify
from .record.run_tables import RunTables
from .record.run_tables import shard_name as shard_name
from .record.run_tables import world_name as world_name
from .record.store import DiskStore, Store, being_written
from .study import RecommenderSection, Study, label_of
from .variants import sensitivity_models, variant

if TYPE_CHECKING:
    from ..recommenders.border import Recommender
    from ..recommenders.guard import Guard

Factories = Mapping[str, Callable[[], "Recommender"]]
"""Recommenders that exist only in this process (a notebook's function), by label."""


class Run(RunTables):
    """A finished simulation; its tables are read as RunTables says.

    Attributes:
        study: what was asked for, every default written out.
        path: the run directory, or None when the run lives in memory.
        declared: the audit's plan, when it was declared in this process before the run was lived;
            a run directory holds its own.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        path: Path | None = None,
        factories: Factories | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__(study, store, prefix=prefix)
        self.path = path
        self.declared: object | None = None
        self._factories = dict(factories or {})

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Read a run directory; refuses an unfinished or a damaged one.

        Raises:
            UserError: the directory is no run, is unfinished, or a file is not what was written.
        """
        root = Path(path)
        held = read_manifest(root)
        if not held["finished"]:
            if being_written(root):
                raise UserError(f"{root} is being written by another process; wait for it to end")
            again = f"loopaudit simulate {quote(str(root / 'study.toml'))} --out {quote(str(root))}"
            raise UserError(f"{root} is unfinished; run `{again}` to go on where it stopped")
        try:
            study = Study.model_validate(held["study"])
        except ValidationError as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"{root} was written by another version of LoopAudit, and its study cannot be "
                f"read ({said[:200]}); simulate again with another --out"
            ) from None
        verify(root, held["files"])
        return cls(study, DiskStore(root), path=root)

    def __repr__(self) -> str:
        where = str(self.path) if self.path else "in memory"
        return (
            f"Run({', '.join(self.targets)}; {len(self.arms)} arms x {self.worlds} worlds x "
            f"{self.steps} steps, {where})"
        )

    @property
    def worlds(self) -> int:
        """Number of independent worlds: the units of inference."""
        return self.study.study.worlds

    @property
    def steps(self) -> int:
        """Steps of the loop."""
        return self.study.study.steps

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest, or {} in memory."""
        held: dict[str, Any] = (
            self._store.json("manifest.json") if self._store.exists("manifest.json") else {}
        )
        return held

    @property
    def targets(self) -> tuple[str, ...]:
        """Labels of the studied recommenders; those lived only for comparison are left out."""
        studied = (s for s in self.study.recommenders if s.role == "target")
        return tuple(label_of(section) for section in studied)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of every arm."""
        return tuple(self._arms)

    def spec(self, target: str) -> RecommenderSection:
        """The study's entry of one target."""
        for section in self.study.recommenders:
            if label_of(section) == target:
                return section
        raise unknown_name("recommender", target, self.targets)

    def arm(self, target: str, kind: str) -> str | None:
        """The arm that plays a part in a target's contrasts, or None when it was not run.

        Args:
            target: label of a recommender.
            kind: "target", "frozen", "shuffled", "random", "popularity", "none" or "oracle".
        """
        own = {"target": target, "frozen": f"{target}-frozen", "shuffled": f"{target}-shuffled"}
        name = own.get(kind, kind)
        found = self._arms.get(name)
        return name if found is not None and found.kind == kind else None

    def parameters(self, arm: str) -> int | None:
        """How many numbers the arm's recommender learns in the first world, where it can tell."""
        self._known(arm)
        name = f"{self._prefix}state/{arm}/{world_name(0)}/done.json"
        held = self._store.json(name) if self._store.exists(name) else {}
        return held.get("parameters")

    def faults(self, arm: str) -> dict[str, Any]:
        """What the arm's recommender did wrong, summed over worlds (see guard.Faults)."""
        from ..recommenders.guard import Faults

        self._known(arm)
        total = Faults()
        for world in range(self.worlds):
            name = f"{self._prefix}state/{arm}/{world_name(world)}/done.json"
            if self._store.exists(name):
                total.merge(Faults.from_dict(self._store.json(name)["faults"]))
        return total.to_dict()

    def people(self, arm: str) -> dict[str, Any]:
        """What went wrong when people were asked by chat and what it cost, summed over worlds.

        Returns:
            {"faults": see recommenders.faults.Faults, "usage": tokens and cost}; {} where nobody
            was asked.
        """
        from ..recommenders.faults import Faults

        self._known(arm)
        total, usage = Faults(), dict[str, float]()
        for world in range(self.worlds):
            name = f"{self._prefix}state/{arm}/{world_name(world)}/done.json"
            told = self._store.json(name).get("people") if self._store.exists(name) else None
            if told:
                total.merge(Faults.from_dict(told["faults"]))
                for what, amount in told["usage"].items():
                    usage[what] = usage.get(what, 0) + amount
        return {"faults": total.to_dict(), "usage": usage} if usage else {}

    @property
    def realism(self) -> list[dict[str, Any]]:
        """Simulated against held-out real behaviour (fit.RealismRow); [] for synthetic worlds."""
        held: list[dict[str, Any]] = (
            self._store.json("realism.json") if self._store.exists("realism.json") else []
        )
        return held

    def create(self, target: str) -> Guard:
        """A fresh, unfitted, guarded instance of a target."""
        self._refuse_changed(target)
        return self._guarded(self.spec(target), 0)

    def _guarded(self, spec: RecommenderSection, world: int) -> Guard:
        repeat = self.study.people.repeat
        return guarded(spec, self.catalog(world), factories=self._factories, repeat=repeat)

    def _refuse_changed(self, target: str) -> None:
        """What is probed must be what was lived with."""
        if self.path is None or target in self._factories:
            return
        from .record.provenance import changed_plugin

        if said := changed_plugin(self.manifest["recommenders"], self.spec(target)):
            raise UserError(f"{said}, or simulate again: {self.path} was lived with the other")

    def recommender(self, target: str, world: int) -> Guard:
        """The target as it entered the loop of a world: fitted on ``history(world)``."""
        spec = self.spec(target)
        if spec.name == "none":
            raise UserError("the organic arm has no recommender to probe")
        self._refuse_changed(target)
        guard = self._guarded(spec, world)
        name = f"state/{target}/{world_name(world)}/initial.npz"
        if self._store.exists(name):
            guard.load_state(self._store.arrays(name))
        else:
            guard.fit(
                self.history(world, target=target),
                self.catalog(world).public(),
                seed=fit_seed(child_seed(self.study.study.seed, "world", world)),
            )
        return guard

    @property
    def sensitivity(self) -> dict[str, Run]:
        """The same study under other user models, by model name."""
        return {
            model: Run(
                variant(self.study, model),
                self._store,
                path=self.path,
                factories=self._factories,
                prefix=f"sensitivity/{model}/",
            )
            for model in sensitivity_models(self.study)
        }


def fit_seed(world_seed: int) -> int:
    """The seed of the first fit in a world; the same for every arm."""
    return child_seed(world_seed, "fit")


def guarded(
    section: RecommenderSection,
    catalog: Catalog,
    *,
    factories: Factories | None = None,
    repeat: bool = False,
) -> Guard:
    """A fresh recommender behind its guard, for a catalog it may see the public part of.

    Args:
        section: what it is; catalog: of the world.
        factories: recommenders that only this process knows.
        repeat: whether it may show what a person consumed already.
    """
    from ..recommenders import registry
    from ..recommenders.guard import Guard, Limits

    label = label_of(section)
    if factories and label in factories:
        made = factories[label]()
    else:
        made = registry.create(section.name, section.args)
    return Guard(
        made,
        n_items=len(catalog),
        limits=Limits(seconds_per_call=section.seconds_per_call),
        filter_history=not repeat,
        catalog=catalog.public(),
        in_loop=True,
    )
