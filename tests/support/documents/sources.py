"""Error codes and settings of the source, for comparison with the documents."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_RAISERS = (
    "ApiRequestRejected",
    "NothingChanged",
    "PermanentError",
    "ReadinessProblem",
    "TransientError",
)


def collect_error_codes(*places: str) -> set[str]:
    """Return the error codes raised below these paths: `code=` arguments and attributes."""
    return {
        code
        for place in places
        for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for code in _codes_of(node)
        if re.fullmatch(r"[a-z][a-z_]+", code)
    }


def _codes_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from _codes_of_call(node)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for name, value in zip(names, values, strict=False):
                if getattr(name, "id", "") == "code":
                    yield from _text(value)
    elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "code":
        yield from _text(node.value)


def _codes_of_call(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "code":
            yield from _text(keyword.value)
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name in _RAISERS and call.args:
        yield from _text(call.args[0])


def _text(value: ast.AST | None) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
