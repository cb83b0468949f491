"""Markdown of linkcast.h and linkcast.hpp, from what Doxygen reads in them. Needs the program doxygen."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

ROOT = Path(__file__).resolve().parent.parent.parent
HEADERS = ROOT / "cpp" / "include" / "linkcast"
CONFIG = """
QUIET = YES
WARNINGS = NO
WARN_IF_DOC_ERROR = NO
WARN_IF_INCOMPLETE_DOC = NO
INPUT = "{header}"
OUTPUT_DIRECTORY = "{folder}"
GENERATE_HTML = NO
GENERATE_LATEX = NO
GENERATE_XML = YES
XML_PROGRAMLISTING = NO
INPUT_FILTER = "'{python}' '{filter}'"
OPTIMIZE_OUTPUT_FOR_C = {is_c}
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
PREDEFINED = LINKCAST_API=
EXTRACT_ALL = YES
MARKDOWN_SUPPORT = NO
"""


NAMES = "compounddef[@kind='namespace']/sectiondef/memberdef"


class Entry(NamedTuple):
    """One declaration, where it stands."""

    line: int
    kind: str
    name: str
    element: Element


def read(header: str) -> dict[str, Element]:
    """Doxygen's XML of a header, by file name without .xml."""
    with tempfile.TemporaryDirectory() as folder:
        config = CONFIG.format(
            header=HEADERS / header,
            folder=folder,
            python=sys.executable,
            filter=Path(__file__).with_name("doxygen_filter.py"),
            is_c="YES" if header.endswith(".h") else "NO",
        )
        subprocess.run(["doxygen", "-"], input=config, text=True, check=True, cwd=folder)
        return {path.stem: ElementTree.parse(path).getroot() for path in sorted(Path(folder, "xml").glob("*.xml"))}


def escaped(text: str) -> str:
    """Text in which Markdown sees no marks of its own."""
    return re.sub(r"([*<|\[\]])", r"\\\1", text)


def inline(element: Element) -> str:
    """The text of a paragraph; code keeps its marks, lists of parameters are left out."""
    parts = [escaped(element.text or "")]
    for child in element:
        if child.tag == "computeroutput":
            parts.append(f"`{''.join(child.itertext())}`")
        elif child.tag == "verbatim":
            parts.append(f"`{' '.join(''.join(child.itertext()).split())}`")
        elif child.tag not in ("parameterlist", "simplesect"):
            parts.append(inline(child))
        parts.append(escaped(child.tail or ""))
    return " ".join("".join(parts).split())


def described(element: Element) -> list[str]:
    """Paragraphs and lists of a declaration's comment."""
    blocks = []
    for para in element.findall("detaileddescription/para"):
        text = inline(para)
        if text:
            blocks.append(text)
        rows = [
            f"- `{'`, `'.join(name.text or '' for name in item.iter('parametername'))}`: "
            + " ".join(inline(part) for part in item.findall("parameterdescription/para"))
            for item in para.iter("parameteritem")
        ]
        if rows:
            blocks.append("\n".join(rows))
        blocks += [
            f"Returns {' '.join(inline(part) for part in section.findall('para'))}"
            for section in para.iter("simplesect")
            if section.get("kind") == "return"
        ]
    return blocks


def line_of(element: Element) -> int:
    location = element.find("location")
    return int(location.get("line", "0")) if location is not None else 0


def type_of(element: Element) -> str:
    type_element = element.find("type")
    return "".join(type_element.itertext()).strip() if type_element is not None else ""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def c_entries(xml: dict[str, Element]) -> list[Entry]:
    """Everything that linkcast.h declares, in its order."""
    entries = []
    for member in xml["linkcast_8h"].iter("memberdef"):
        kind, name = member.get("kind", ""), member.findtext("name") or ""
        if kind == "typedef" and re.match(r"(enum|struct) ", type_of(member)):
            struct = f"struct{name.replace('_', '__')}"
            if struct in xml or type_of(member).startswith("enum"):
                continue
        entries.append(Entry(line_of(member), kind, name, member))
    for root in xml.values():
        for compound in root.findall("compounddef[@kind='struct']"):
            entries.append(Entry(line_of(compound), "struct", compound.findtext("compoundname") or "", compound))
    return sorted(entries, key=lambda entry: entry.line)


def c_signature(lines: list[str], line: int) -> str:
    """A declaration as it stands in the header."""
    text = "\n".join(lines[line - 1 :]).split(";")[0] + ";"
    return re.sub(r"\n +", "\n    ", text.replace("LINKCAST_API ", ""))


def fields(compound: Element) -> str:
    rows = [
        (
            f"`{member.findtext('name')}{member.findtext('argsstring') or ''}`",
            f"`{type_of(member)}`",
            " ".join(described(member)),
        )
        for member in compound.iter("memberdef")
    ]
    return table(("field", "type", ""), rows)


def c_blocks(entries: list[Entry], lines: list[str]) -> Iterator[str]:
    """The entries of one level; macros stand in a table at its end."""
    before = None
    for entry in entries:
        element = entry.element
        if entry.kind == "define":
            continue
        yield f"### `{entry.name}`"
        if entry.kind == "function":
            yield f"```c\n{c_signature(lines, entry.line)}\n```"
        elif entry.kind == "typedef":
            yield f"```c\n{element.findtext('definition')}{element.findtext('argsstring') or ''};\n```"
        words = described(element)
        if not words and entry.kind == "function" and before is not None:
            words = [f"As [`{before}`](#{before})."]  # two functions under one comment
        yield from words
        if entry.kind == "enum":
            yield table(
                ("value", "", ""),
                (
                    (
                        f"`{value.findtext('name')}`",
                        (value.findtext("initializer") or "").lstrip("= "),
                        " ".join(described(value)),
                    )
                    for value in element.findall("enumvalue")
                ),
            )
        elif entry.kind == "struct":
            yield fields(element)
        before = entry.name
    macros = [entry for entry in entries if entry.kind == "define" and entry.element.find("initializer") is not None]
    if macros:
        rows = [
            (
                f"`{entry.name}`",
                f"`{' '.join((entry.element.findtext('initializer') or '').replace(chr(92), ' ').split())}`",
                " ".join(described(entry.element)),
            )
            for entry in macros
        ]
        yield "### Macros"
        yield table(("macro", "is", ""), rows)


def opening(lines: list[str]) -> list[str]:
    """What the header says of itself, paragraph by paragraph."""
    comment = "\n".join(lines).split("*/")[0]
    paragraphs = re.sub(r"^ \* ?|^/\* ", "", comment, flags=re.MULTILINE).strip().split("\n\n")
    blocks = []
    for paragraph in paragraphs:
        if paragraph.startswith("    "):
            code = re.sub(r"^    ", "", paragraph, flags=re.MULTILINE)
            blocks.append(
                f"<!-- listing: the shape of a program; examples/c/hello.c is one that runs -->\n```c\n{code}\n```"
            )
        else:
            lead = re.match(r"([A-Z][a-z]+(?: [a-z]+)?)\. (?=[A-Z\"\"])", paragraph)
            text = " ".join(paragraph.split())
            blocks.append(f"**{lead.group(1)}.** {escaped(text[lead.end() :])}" if lead else escaped(text))
    return blocks


def c_page() -> str:
    """docs/reference/c.md."""
    lines = (HEADERS / "linkcast.h").read_text(encoding="utf-8").splitlines()
    entries = c_entries(read("linkcast.h"))
    levels = [
        (number, found.group(1))
        for number, line in enumerate(lines, 1)
        if (found := re.match(r"/\* ==== (.+) ==== \*/", line))
    ]
    blocks = ["# C: linkcast.h", *opening(lines)]
    versions = [entry for entry in entries if entry.line < levels[0][0]]
    starts = [number for number, _ in levels[1:]] + [len(lines) + 1]
    for (start, title), end in zip(levels, starts, strict=True):
        blocks.append(f"## {title}")
        here = [entry for entry in entries if start < entry.line < end]
        blocks += c_blocks(here + (versions if title == "Types" else []), lines)
    return "\n\n".join(blocks) + "\n"


def cpp_members(compound: Element) -> Iterator[str]:
    name = (compound.findtext("compoundname") or "").split("::")[-1]
    members = [member for member in compound.iter("memberdef") if member.get("prot") == "public"]
    variables = [member for member in members if member.get("kind") == "variable"]
    if variables:
        yield fields_of(variables)
    for member in members:
        if member.get("kind") != "function":
            continue
        called = member.findtext("name") or ""
        yield f"#### `{name}::{called}`" if called != name else f"#### `{name}`: constructor"
        yield f"```cpp\n{cpp_signature(member)}\n```"
        yield from described(member)


def fields_of(variables: list[Element]) -> str:
    rows = [(f"`{one.findtext('name')}`", f"`{type_of(one)}`", " ".join(described(one))) for one in variables]
    return table(("field", "type", ""), rows)


def cpp_signature(member: Element) -> str:
    parts = ["static"] if member.get("static") == "yes" else []
    parts += ["explicit"] if member.get("explicit") == "yes" else []
    kind = re.sub(r"\b(explicit|inline|static) ?", "", type_of(member)).strip()
    parts += [kind] if kind else []
    arguments = re.sub(r"\s*=\s*", " = ", member.findtext("argsstring") or "")
    return tidy(" ".join([*parts, f"{member.findtext('name')}{arguments};"]))


def tidy(code: str) -> str:
    """Doxygen's blanks in types, taken out."""
    return re.sub(r" (?=>)|(?<=<) ", "", code).replace(" &", "& ").replace(" *", "* ").replace("typedef ", "")


def cpp_page() -> str:
    """docs/reference/cpp.md."""
    xml = read("linkcast.hpp")
    lines = (HEADERS / "linkcast.hpp").read_text(encoding="utf-8").splitlines()
    comment = [
        line.removeprefix("//").removeprefix(" ") for line in lines[: lines.index("#ifndef LINKCAST_LINKCAST_HPP")]
    ]
    text, code = "\n".join(comment).strip().split("\n\n", 1)
    blocks = ["# C++: linkcast.hpp", escaped(" ".join(text.split()))]
    code = re.sub(r"^    ", "", code, flags=re.MULTILINE).strip()
    blocks.append(f"<!-- listing: the shape of a program; examples/cpp has two that run -->\n```cpp\n{code}\n```")
    blocks.append("Structs and enums that begin with `linkcast_` are those of [linkcast.h](c.md).")
    blocks.append("## Classes")
    compounds = [
        compound
        for root in xml.values()
        for compound in root.findall("compounddef")
        if compound.get("kind") in ("class", "struct") and "linkcast::" in (compound.findtext("compoundname") or "")
    ]
    for compound in sorted(compounds, key=line_of):
        name = (compound.findtext("compoundname") or "").split("::")[-1]
        if name.endswith("Closer"):
            continue
        blocks.append(f"### `{name}`")
        blocks += described(compound)
        blocks += cpp_members(compound)
    blocks.append("## Functions and names")
    members = {member.get("id"): member for root in xml.values() for member in root.findall(NAMES)}
    for member in sorted(members.values(), key=line_of):
        blocks.append(f"### `{member.findtext('name')}`")
        signature = (
            cpp_signature(member)
            if member.get("kind") == "function"
            else tidy(f"{(member.findtext('definition') or '').replace('linkcast::api::', '')};")
        )
        blocks.append(f"```cpp\n{signature}\n```")
        blocks += described(member)
    return "\n\n".join(blocks) + "\n"
