"""The declared dependencies are the ones that the package imports."""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

OPTIONAL = dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export")
"""Imported library -> the extra that has it."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(part: str = "dependencies") -> list[str]:
    """Names of the distributions in a part of pyproject.toml; Python 3.10 has no tomllib."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [block] = re.findall(rf"^{part} = (\[.*?\])$", text, re.MULTILINE | re.DOTALL)
    return [canonical(re.split(r"[\[<>=!~; ]", each)[0]) for each in ast.literal_eval(block)]


@cache
def imported() -> set[str]:
    """Top-level names that the package imports, inside functions too, without its own and the standard library's."""
    names = set()
    for path in (ROOT / "cyclegan_gc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"cyclegan_gc"}


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions that give each top-level name."""
    return packages_distributions()


def distributions_of(name: str) -> set[str]:
    return {canonical(each) for each in installed().get(name, [])}


@pytest.mark.parametrize("distribution", declared())
def test_each_declared_dependency_is_imported(distribution):
    assert any(distribution in distributions_of(name) for name in imported()), f"nothing imports {distribution}"


@pytest.mark.parametrize("name", sorted(imported()))
def test_each_imported_library_is_declared(name):
    optional = OPTIONAL.get(name)
    if optional and not distributions_of(name):
        pytest.skip(f"{name} of the extra [{optional}] is not installed")
    known = declared(optional or "dependencies")
    assert distributions_of(name) & set(known), f"{name} is imported, but pyproject.toml does not declare it"
