"""Markdown of linkcast's public Python names: `linkcast.__all__`, the types that these give, and what pages import."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import linkcast
from linkcast import _native

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "engine" / "linkcast"
GIVEN = (
    "InvokeError",
    "ForecasterPool",
    "Expert",
    "Stats",
    "Spec",
    "Operator",
)  # types that public calls give or raise
SPECIAL = {"__len__": "len(...)", "__getitem__": "...[row]", "__float__": "float(...)"}


def imported_by_pages() -> dict[str, list[str]]:
    """Names by module that the code of pages takes from modules below linkcast."""
    found: dict[str, set[str]] = {}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if page.parent.name == "reference":
            continue
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("linkcast."):
                    found.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    return {module: sorted(names) for module, names in sorted(found.items())}


SHORT = {"npt.": "", "np.": "", "_Float32": "NDArray[float32]", "_Float64": "NDArray[float64]"}
SHORT["_Pushed"] = "Answer | None | Answers"  # of one row; of more


def readable(annotation: str) -> str:
    """A type without the abbreviations of the stub."""
    for name, full in SHORT.items():
        annotation = annotation.replace(name, full)
    return annotation


def stub() -> dict[str, ast.ClassDef | ast.FunctionDef]:
    """The declarations of _native.pyi by name, which have the types."""
    tree = ast.parse((PACKAGE / "_native.pyi").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


STUB = stub()


def native_defaults(documentation: str) -> dict[str, str]:
    """Default by parameter, as pybind11 writes them into a docstring's first line."""
    head = documentation.split("\n", 1)[0]
    return dict(re.findall(r"(\w+): [^=()]*? = ('[^']*'|[\w.+-]+)", head))


def stub_signature(node: ast.FunctionDef, documentation: str) -> str:
    """A declaration of the stub with the defaults that the extension has."""
    defaults = native_defaults(documentation)
    arguments = ast.unparse(node.args)
    for name, value in defaults.items():
        arguments = re.sub(rf"(\b{name}: [^=]*?)=\.\.\.", rf"\1={value}", arguments)
    arguments = re.sub(r"^self(, )?", "", arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return readable(re.sub(r"(\w)=(?=[\w'.\-])", r"\1 = ", f"({arguments}){returns}"))


def prose(documentation: str | None) -> list[str]:
    """A docstring in Google's form as Markdown."""
    if not documentation:
        return []
    text = inspect.cleandoc(documentation)
    if re.match(r"\w+\(.*\) -> ", text):  # pybind11 puts the signature first
        text = text.split("\n", 1)[1].strip() if "\n" in text else ""
    blocks = []
    for part in re.split(r"\n(?=(?:Args|Returns|Raises|Yields):\n)|\n\n", text):
        head = re.match(r"(Args|Returns|Raises|Yields):\n", part)
        if head:
            body = textwrap.dedent(part[head.end() :]).strip()
            items = re.split(r"\n(?=\S)", body)
            if head.group(1) in ("Returns", "Yields"):
                blocks.append(f"Returns: {escaped(' '.join(body.split()))}")
            else:
                lines = [re.sub(r"^([\w., *]+): ", lambda one: f"`{one.group(1)}`: ", flat(item)) for item in items]
                title = "Arguments" if head.group(1) == "Args" else head.group(1)
                blocks.append(f"{title}:\n\n" + "\n".join(f"- {line}" for line in lines))
        elif part.strip().startswith(">>>") or "::" in part:
            blocks.append(f"<!-- listing: of a docstring -->\n```python\n{part}\n```")
        elif part.strip():
            blocks.append(escaped(" ".join(part.split())))
    return blocks


def flat(text: str) -> str:
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Outside of code marks, what Markdown would take for its own."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[\]])", r"\\\1", part) for part in parts)


def members(owner: type, name: str) -> Iterator[tuple[str, str, str | None]]:
    """(heading, signature, documentation) of a class's own public members, in the order of the source."""
    declared = STUB.get(name) if owner.__module__ == "linkcast._native" or hasattr(_native, name) else None
    nodes: dict[str, ast.FunctionDef] = {}
    if isinstance(declared, ast.ClassDef):
        nodes = {node.name: node for node in declared.body if isinstance(node, ast.FunctionDef)}
    own = [key for key in vars(owner) if not key.startswith("_") or key in SPECIAL]
    order = list(dict.fromkeys([*nodes, *own]))
    for key in order:
        if key.startswith("_") and key not in SPECIAL:
            continue
        value = inspect.getattr_static(owner, key, None)
        documentation = inspect.getdoc(getattr(owner, key, None))
        label = SPECIAL.get(key, key)
        node = nodes.get(key)
        if isinstance(value, property) or type(value).__name__ == "cached_property":
            yield label, property_type(value, node), documentation
        elif callable(getattr(owner, key, None)):
            if key in vars(owner) and inspect.isfunction(inspect.unwrap(getattr(owner, key))):
                yield label, python_signature(getattr(owner, key)), documentation
            elif node is not None:
                yield label, stub_signature(node, getattr(owner, key).__doc__ or ""), documentation
            elif inspect.ismethod(getattr(owner, key)):
                yield label, python_signature(getattr(owner, key)), documentation


def property_type(value: Any, node: ast.FunctionDef | None) -> str:
    if node is not None and node.returns is not None:
        return readable(": " + ast.unparse(node.returns))
    function = getattr(value, "fget", None) or getattr(value, "func", None)
    annotation = getattr(function, "__annotations__", {}).get("return")
    return readable(f": {annotation}") if annotation else ""


def python_signature(function: Any) -> str:
    found = inspect.signature(function)
    parameters = [one.replace(annotation=plain(one.annotation)) for one in found.parameters.values()]
    text = str(found.replace(parameters=parameters, return_annotation=plain(found.return_annotation)))
    text = re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)
    return re.sub(r"\(self(, )?", "(", text)


class _Plain(str):
    """An annotation that is printed without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def plain(annotation: Any) -> Any:
    text = getattr(annotation, "__forward_arg__", annotation)
    return _Plain(readable(text)) if isinstance(text, str) else annotation


def class_blocks(name: str, owner: Any, qualified: str) -> Iterator[str]:
    yield f"### `{qualified}`"
    node = STUB.get(name)
    if issubclass(owner, BaseException):
        yield f"```python\nclass {name}({owner.__bases__[0].__name__})\n```"
    elif (owner.__module__ != "linkcast._native" and "__init__" in vars(owner)) or hasattr(owner, "_fields"):
        yield f"```python\n{name}{python_signature(owner).split(' -> ')[0]}\n```"
    elif isinstance(node, ast.ClassDef):
        init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        if init is not None:
            yield f"```python\n{name}{stub_signature(init, owner.__init__.__doc__ or '').split(' -> ')[0]}\n```"
    yield from prose(owner.__doc__)
    if owner.__module__ == "linkcast._native" and isinstance(node, ast.ClassDef) and "pybind11" in str(type(owner)):
        yield from prose(owner.__init__.__doc__) if "self:" in (owner.__init__.__doc__ or "") else ()
    if issubclass(owner, BaseException):
        return
    for label, signature, documentation in members(owner, name):
        owned = f"{qualified.rsplit('.', maxsplit=1)[-1]}.{label}"
        yield f"#### `{owned}`" if label.isidentifier() else f"#### `{label}` of {name}"
        if label.isidentifier():
            yield f"```python\n{label}{signature}\n```"
        yield from prose(documentation)


def typed_dict(name: str) -> Iterator[str]:
    """A TypedDict that only the stub has, with the comments behind its keys."""
    lines = (PACKAGE / "_native.pyi").read_text(encoding="utf-8").splitlines()
    node = STUB[name]
    yield f"### `{name}`"
    yield "A dict:"
    rows = ["| key | type | |", "| --- | --- | --- |"]
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            line = lines[one.lineno - 1]
            comment = line.split("#", 1)[1].strip() if "#" in line else ""
            rows.append(
                f"| `{ast.unparse(one.target)}` | `{ast.unparse(one.annotation)}` | {comment} |".replace(
                    "| None", "or None"
                )
            )
    yield "\n".join(rows)


def blocks_of(name: str, value: Any, qualified: str) -> Iterator[str]:
    if inspect.isclass(value):
        yield from class_blocks(name, value, qualified)
    elif callable(value):
        yield f"### `{qualified}`"
        yield f"```python\n{name}{python_signature(value)}\n```"
        yield from prose(value.__doc__)
    else:
        yield f"### `{qualified}`"
        yield f"A constant of type {type(value).__name__}."


def page() -> str:
    """docs/reference/python.md."""
    blocks = [
        "# Python",
        "What `import linkcast` promises ([versions](../versioning.md)), written from the docstrings. A module is "
        "loaded when a name of it is "
        "first used. Arrays are NumPy's; what a call takes as `ArrayLike` may also be a list, or a frame whose "
        "columns have the features' names.",
        "## Names of `linkcast`",
    ]
    for name in sorted(linkcast.__all__, key=lambda one: (one.startswith("_"), one.lower())):
        if name == "__version__":
            blocks += ["### `linkcast.__version__`", "The version as a text."]
            continue
        blocks += blocks_of(name, getattr(linkcast, name), f"linkcast.{name}")
    blocks.append("## What they give and raise")
    for name in GIVEN:
        value = getattr(_native, name, None)
        blocks += typed_dict(name) if value is None else blocks_of(name, value, name)
    blocks += [
        "## Other modules that pages use",
        "Not promised from version to version as the above is.",
    ]
    for module, names in imported_by_pages().items():
        for name in names:
            value = getattr(importlib.import_module(module), name)
            if not inspect.ismodule(value):
                blocks += blocks_of(name, value, f"{module}.{name}")
    return "\n\n".join(blocks) + "\n"
