"""What `help()` shows is what the stubs say."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import libqueue
from libqueue import _native


def documented() -> dict[str, str]:
    """Names of classes, methods and functions in the stub, with their docstrings."""
    stub = ast.parse(Path(str(_native.__file__)).with_name("_native.pyi").read_text())
    found: dict[str, str] = {}
    for node in stub.body:
        members = [node, *node.body] if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if not isinstance(member, ast.ClassDef | ast.FunctionDef):
                continue
            name = member.name if member is node else f"{getattr(node, 'name', '')}.{member.name}"
            if text := ast.get_docstring(member):
                found[name] = text
    return found


def test_every_public_thing_has_the_stubs_documentation() -> None:
    found = documented()
    assert len(found) > 80
    wrong = []
    for name, text in found.items():
        thing: object = _native
        for part in name.split("."):
            thing = inspect.getattr_static(thing, part)
        if inspect.getdoc(thing) != text:
            wrong.append(name)
    assert wrong == []


def test_the_packages_names_are_all_there() -> None:
    assert sorted(libqueue.__all__) == sorted(set(libqueue.__all__))
    assert all(hasattr(libqueue, name) for name in libqueue.__all__)
