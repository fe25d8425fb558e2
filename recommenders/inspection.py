"""Looks at a plug-in without importing it, so that listing is quick and a broken one harmless."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
from pathlib import Path


def static_error(target: str) -> str | None:
    """Why ``module:attr`` could not be loaded, as far as its source tells; None if it looks sound.

    Nothing is executed: modules are located, parsed, and checked for the attribute and for
    top-level imports of packages that are not installed.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        return f"the entry point must read module:attr, it reads {target!r}"
    try:
        files = _files(module)
    except (ImportError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    tree = None
    for file in files:
        if file.suffix != ".py":
            return None  # compiled: nothing to read
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            return f"SyntaxError: {error.args[0]} ({file.name}{line})"
        for needed in _imports(tree):
            if not _installed(needed):
                return f"ModuleNotFoundError: {file.name} imports {needed!r}: it is not installed"
    if tree is None:  # a namespace package has no source of its own
        return f"module {module!r} has no {attribute!r}"
    names = _names(tree)
    if names is not None and attribute.split(".")[0] not in names:
        return f"AttributeError: module {module!r} has no {attribute!r}"
    return None


def _files(module: str) -> list[Path]:
    """The source files that importing a module runs: its packages' and its own.

    ``importlib.util.find_spec`` would import the packages above a module; this walks instead.
    """
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    files = []
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if depth > 1:
            where = spec.submodule_search_locations if spec is not None else None
            spec = importlib.machinery.PathFinder.find_spec(name, where or [])
        if spec is None:
            raise ModuleNotFoundError(f"no module named {name!r}")
        if spec.origin and spec.has_location:
            files.append(Path(spec.origin))
    return files


def _imports(tree: ast.Module) -> list[str]:
    """Top-level packages that the module imports unconditionally."""
    needed = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            needed += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            needed.append(node.module.split(".")[0])
    return needed


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module made by hand carries no spec, yet it is there
        return True


def _names(tree: ast.Module) -> set[str] | None:
    """Names the module defines at its top level, or None when the source cannot tell."""
    names: set[str] = set()
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            stack.extend(ast.iter_child_nodes(node))
    return None if names & {"*", "__getattr__"} else names
