"""Who knows whom: friendships given in a file, drawn from a model, or read from what people did.

A graph is a sparse matrix in rows: row i holds 1 for everybody whom person i hears. Friendships go
both ways unless a file says otherwise; nobody is their own friend. All draws are whole arrays, and
the same seed gives the same graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator

from ...recommenders.errors import UserError, unknown_name
from ...recommenders.interactions import Interactions
from ...recommenders.randomness import generator, stream, uniform
from ...recommenders.ranking import top_k
from ..section import Section, named

Ints = NDArray[np.int64]

_ATTEMPTS = 64  # tries to find a free end for a moved link, before it stays where it was
_ROWS = 512  # people compared with all others at once


def graph_of(heard_by: NDArray[np.integer], heard: NDArray[np.integer], n: int) -> sp.csr_matrix:
    """(n, n) with 1 where ``heard_by`` hears ``heard``; doubles count once, oneself never."""
    other = heard_by != heard
    ones = np.ones(int(other.sum()))
    matrix = sp.csr_matrix((ones, (heard_by[other], heard[other])), shape=(n, n))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def mutual(a: NDArray[np.integer], b: NDArray[np.integer], n: int) -> sp.csr_matrix:
    """(n, n) graph of friendships that go both ways, from one row a friendship."""
    return graph_of(np.concatenate([a, b]), np.concatenate([b, a]), n)


# Models ------------------------------------------------------------------------------------------


def small_world(n: int, friends: int, rewire: float, *, seed: int) -> sp.csr_matrix:
    """A ring where each person knows the ``friends / 2`` nearest on either side, links then moved.

    Each link keeps one end; its other end moves, with probability ``rewire``, to somebody drawn
    from all who are not linked there yet. Clustering is ``3 (k - 2) / (4 (k - 1))`` at rewire 0
    and about ``(1 - rewire)^3`` of it else; the mean number of friends stays k.

    Source: Watts & Strogatz (1998), Collective dynamics of small-world networks; Barrat & Weigt
    (2000) for the clustering.
    """
    hop = np.repeat(np.arange(1, friends // 2 + 1, dtype=np.int64), n)
    first = np.tile(np.arange(n, dtype=np.int64), friends // 2)
    end = (first + hop) % n
    moves = uniform(stream(seed, "rewire"), first, hop) < rewire
    code = _code(first, end, n)
    stay, placed = np.sort(code[~moves]), np.empty(0, np.int64)
    rest = np.flatnonzero(moves)
    for attempt in range(_ATTEMPTS):
        if len(rest) == 0:
            break
        luck = uniform(stream(seed, "new end"), attempt, first[rest], hop[rest])
        to = (luck * n).astype(np.int64)
        new = _code(first[rest], to, n)
        _, once = np.unique(new, return_index=True)
        free = np.zeros(len(rest), np.bool_)
        free[once] = True
        free &= (to != first[rest]) & ~_inside(stay, new) & ~_inside(placed, new)
        code[rest[free]] = new[free]
        placed = np.sort(np.concatenate([placed, new[free]]))
        rest = rest[~free]
    return mutual(code // n, code % n, n)


def block_chances(friends: float, groups: int, between: float, n: int) -> tuple[float, float]:
    """Chance that two people of one group, and of two groups, are friends.

    So chosen that people have ``friends`` friends in the mean, a share ``between`` of them outside
    their group: ``p_in = f g (1 - b) / n`` and ``p_out = f g b / ((g - 1) n)``.
    """
    mean = friends / n
    inside = mean * groups * (1 - between)
    outside = mean * groups * between / max(groups - 1, 1)
    return inside, outside


def communities(
    group: NDArray[np.integer], friends: float, between: float, *, groups: int, seed: int
) -> sp.csr_matrix:
    """Friendships within and between groups, each pair of people by its own chance.

    The number of friendships of two groups is binomial, which pairs they are is drawn without
    replacement: the same as a draw for every pair, at the cost of the friendships only.

    Args:
        group: (n,) number of each person's group; friends, between: see :func:`block_chances`.

    Source: Holland, Laskey & Leinhardt (1983), Stochastic blockmodels: first steps.
    """
    n = len(group)
    chances = np.minimum(block_chances(friends, groups, between, n), 1.0)
    members = [np.flatnonzero(group == g) for g in range(groups)]
    ends: list[tuple[Ints, Ints]] = []
    for a in range(groups):
        for b in range(a, groups):
            size = len(members[a]), len(members[b])
            pairs = size[0] * (size[0] - 1) // 2 if a == b else size[0] * size[1]
            if pairs == 0:
                continue
            luck = generator(seed, "friendships", a, b)
            n_drawn = int(luck.binomial(pairs, chances[int(a != b)]))
            drawn = luck.choice(pairs, n_drawn, replace=False, shuffle=False)
            row, column = _pair(drawn) if a == b else (drawn // size[1], drawn % size[1])
            ends.append((members[a][row], members[b][column]))
    none = np.empty(0, np.int64)
    return mutual(
        np.concatenate([none, *(e[0] for e in ends)]),
        np.concatenate([none, *(e[1] for e in ends)]),
        n,
    )


def alike(past: Interactions, friends: int) -> sp.csr_matrix:
    """Everybody with those whose past is nearest by cosine; who shares nothing is no friend.

    A friendship that one side finds counts for both, so people have ``friends`` or more.
    """
    matrix = past.to_csr().astype(np.float64)
    length = np.sqrt(np.asarray(matrix.sum(axis=1)).ravel())
    unit = sp.diags(1.0 / np.maximum(length, 1.0)) @ matrix
    across = unit.T.tocsr()
    found = []
    for first in range(0, past.n_users, _ROWS):
        near = (unit[first : first + _ROWS] @ across).toarray().astype(np.float32)
        near[np.arange(len(near)), first + np.arange(len(near))] = -np.inf
        near[near <= 0] = -np.inf
        found.append(top_k(near, friends))
    nearest = np.concatenate(found)
    row, column = np.nonzero(nearest >= 0)
    return mutual(row, nearest[row, column], past.n_users)


def _inside(ascending: Ints, values: Ints) -> NDArray[np.bool_]:
    """Which values stand among sorted ones."""
    if len(ascending) == 0:
        return np.zeros(len(values), np.bool_)
    spot = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[spot] == values)


def _code(a: Ints, b: Ints, n: int) -> Ints:
    """One number for a pair, whatever its order."""
    return np.minimum(a, b) * n + np.maximum(a, b)


def _pair(code: Ints) -> tuple[Ints, Ints]:
    """The pair (row, column < row) with this number: ``row (row - 1) / 2 + column``."""
    row = ((1 + np.sqrt(1 + 8 * code.astype(np.float64))) / 2).astype(np.int64)
    row -= row * (row - 1) // 2 > code  # the root is rounded
    row += (row + 1) * row // 2 <= code
    return row, code - row * (row - 1) // 2


# What study.toml says ----------------------------------------------------------------------------


class SmallWorld(Section):
    """A ring of neighbours, some of whose links lead elsewhere; see :func:`small_world`."""

    form: Literal["small-world"] = "small-world"
    friends: Annotated[int, Field(ge=2)] = Field(
        default=10, description="friends of a person before links are moved; even"
    )
    rewire: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="share of links that are moved"
    )

    @field_validator("friends")
    @classmethod
    def _both_sides(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"friends must be even (as many on either side), got {value}")
        return value

    def build(self, ids: tuple[str, ...], past: Interactions, *, seed: int) -> sp.csr_matrix:
        """The graph of these people."""
        _enough(self.friends, len(ids))
        return small_world(len(ids), self.friends, self.rewire, seed=seed)


class Communities(Section):
    """Groups whose members know each other more often than others; see :func:`communities`."""

    form: Literal["communities"] = "communities"
    groups: Annotated[int, Field(ge=1)] = Field(default=4, description="number of groups")
    friends: Annotated[float, Field(gt=0)] = Field(default=20.0, description="mean friends")
    between: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2, description="share of friendships between groups"
    )

    def build(self, ids: tuple[str, ...], past: Interactions, *, seed: int) -> sp.csr_matrix:
        """The graph of these people, who belong to a group by luck."""
        _enough(self.friends, len(ids))
        group = (uniform(stream(seed, "community"), np.arange(len(ids))) * self.groups).astype(int)
        return communities(group, self.friends, self.between, groups=self.groups, seed=seed)


class Alike(Section):
    """Everybody knows those whose past is most like their own; see :func:`alike`."""

    form: Literal["alike"] = "alike"
    friends: Annotated[int, Field(ge=1)] = Field(
        default=10, description="nearest people by cosine; a friendship counts for both"
    )

    def build(self, ids: tuple[str, ...], past: Interactions, *, seed: int) -> sp.csr_matrix:
        """The graph of these people."""
        _enough(self.friends, len(ids))
        return alike(past, self.friends)


class FromFile(Section):
    """Friendships read from a CSV or Parquet file with one row a friendship."""

    form: Literal["file"] = "file"
    path: str = Field(min_length=1, description="the file; two columns of user ids")
    one: str = Field(default="", description="name of the first id column; the file's first if ''")
    other: str = Field(default="", description="name of the second; the file's second if ''")
    directed: bool = Field(
        default=False, description="the first hears the second, and not the reverse"
    )

    def build(self, ids: tuple[str, ...], past: Interactions, *, seed: int) -> sp.csr_matrix:
        """The graph of these people; rows that name others are left out.

        Raises:
            UserError: no such file or column, or nobody of this world in it.
        """
        a, b = self._ends()
        index = {name: at for at, name in enumerate(ids)}
        ends = np.array([[index.get(x, -1) for x in side] for side in (a, b)], dtype=np.int64)
        known = (ends >= 0).all(axis=0)
        if not known.any():
            raise UserError(
                f"{self.path}: no row names two people of this world ({ids[0]!r}, for one); "
                "[society] graph wants the user ids of the data"
            )
        heard_by, heard = ends[:, known]
        one_way = graph_of(heard_by, heard, len(ids))
        return one_way if self.directed else mutual(heard_by, heard, len(ids))

    def _ends(self) -> tuple[list[str], list[str]]:
        import polars as pl

        path = Path(self.path)
        try:
            if path.suffix.lower() in (".parquet", ".pq"):
                frame = pl.read_parquet(path)
            else:
                frame = pl.read_csv(path, infer_schema=False)
        except FileNotFoundError:
            raise UserError(f"no such file: {path} ([society] graph.path)") from None
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
            said = str(error).strip().splitlines()[0]
            raise UserError(f"{path} cannot be read: {said} ([society] graph.path)") from None
        names = frame.columns
        if len(names) < 2:
            raise UserError(f"{path} has {len(names)} column; a friendship needs two ids")
        chosen = (self.one or names[0], self.other or names[1])
        for name in chosen:
            if name not in names:
                raise unknown_name(f"column of {path}", name, names)
        text = frame.select(pl.col(name).cast(pl.String) for name in dict.fromkeys(chosen))
        return text[chosen[0]].to_list(), text[chosen[1]].to_list()


def _enough(friends: float, n: int) -> None:
    if friends >= n:
        raise UserError(
            f"friends must be below the number of people ({n}), got {friends:g} ([society] graph)"
        )


GraphForm = Annotated[
    SmallWorld | Communities | Alike | FromFile,
    Field(discriminator="form"),
    BeforeValidator(named("form")),
]
"""Any way to say who knows whom, told apart by ``form``."""
