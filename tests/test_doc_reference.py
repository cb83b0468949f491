"""The reference has every public name and none that is gone, and what the code says of answers and files."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import linkcast
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs" / "tools"))

import other_pages
import python_names

REFERENCE = ROOT / "docs" / "reference"
HEADER = (ROOT / "cpp" / "include" / "linkcast" / "linkcast.h").read_text(encoding="utf-8")
CPP_HEADER = (ROOT / "cpp" / "include" / "linkcast" / "linkcast.hpp").read_text(encoding="utf-8")
ANSWERS = (REFERENCE / "answers.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def headed(name: str) -> set[str]:
    """What the headings of a page have in code marks, without the package's name."""
    return {one.removeprefix("linkcast.") for one in re.findall(r"^###+ `(.+?)`", page(name), flags=re.MULTILINE)}


def public_names() -> set[str]:
    """What a user can reach: names of the package, and the members that their classes add."""
    names = set(linkcast.__all__)
    for name in linkcast.__all__:
        value = getattr(linkcast, name)
        if inspect.isclass(value) and not issubclass(value, BaseException):
            fields = set(getattr(value, "_fields", ())) | set(getattr(value, "__dataclass_fields__", ()))
            names |= {f"{name}.{one}" for one in vars(value) if not one.startswith("_") and one not in fields}
    return names


def test_every_public_name_of_python_has_an_entry() -> None:
    assert sorted(public_names() - headed("python")) == []


def test_the_python_page_has_no_name_that_is_gone() -> None:
    now = set(re.findall(r"^###+ `(.+?)`", python_names.page(), flags=re.MULTILINE))
    assert sorted(set(re.findall(r"^###+ `(.+?)`", page("python"), flags=re.MULTILINE)) ^ now) == []


def test_every_function_type_and_constant_of_c_has_an_entry() -> None:
    exported = set((ROOT / "cpp" / "tests" / "exports.txt").read_text(encoding="ascii").split())
    types = set(re.findall(r"^(?:typedef .*? |\} )(linkcast_\w+)(?:;|$)", HEADER, flags=re.MULTILINE))
    assert exported and types
    assert sorted((exported | types) - headed("c")) == []
    constants = set(re.findall(r"^  (LINKCAST_\w+)\b|^#define (LINKCAST_\w+)\b", HEADER, flags=re.MULTILINE))
    named = {one for pair in constants for one in pair if one} - {"LINKCAST_API", "LINKCAST_LINKCAST_H"}
    assert sorted(one for one in named if f"`{one}`" not in page("c")) == []


def test_the_pages_of_c_and_cpp_have_no_name_that_is_gone() -> None:
    assert [name for name in headed("c") if not re.search(rf"\b{name}\b", HEADER)] == []
    names = {name.split("::")[-1] for name in headed("cpp")}
    assert [name for name in names if not re.search(rf"\b{name}\b", CPP_HEADER)] == []


def test_every_class_and_method_of_cpp_has_an_entry() -> None:
    names = {name.split("::")[-1] for name in headed("cpp")}
    classes = set(re.findall(r"^class (\w+)", CPP_HEADER, flags=re.MULTILINE))
    public = re.sub(r"^ private:.*?^};", "", CPP_HEADER, flags=re.MULTILINE | re.DOTALL)
    methods = set(re.findall(r"^  (?!return|if|for|check)(?:[\w:<>*&]+ )+(\w+)\([^;]*\{", public, flags=re.MULTILINE))
    assert {"push", "forecast", "tick", "choose"} <= methods
    assert sorted((classes | methods) - names - {"operator"}) == []  # of the closers, which are nobody's business


def test_every_exported_name_of_go_has_an_entry_and_none_is_gone() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "bindings" / "go").glob("*.go"))
        if not path.name.endswith("_test.go")
    )
    found = re.findall(r"^func (?:\(\w+ \*?([A-Z]\w*)\) )?([A-Z]\w*)\(|^type ([A-Z]\w*)", source, flags=re.MULTILINE)
    names = {f"{owner}.{name}" if owner else name or kind for owner, name, kind in found}
    assert {"Open", "Engine.Forecast", "Answer"} <= names
    assert sorted(names - headed("go")) == []
    assert sorted(headed("go") - names - set(re.findall(r"^(?:var|const) (\w+)", source, flags=re.MULTILINE))) == []


def test_every_command_and_option_has_an_entry() -> None:
    typer_main = pytest.importorskip("typer.main")
    from linkcast.cli import app

    text = page("command-line")
    for name, command in typer_main.get_command(app).commands.items():
        found = re.search(rf"^## `linkcast {name}`\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
        assert found, name
        options = {option for one in command.params for option in one.opts if option.startswith("--")}
        assert [option for option in options if option not in found.group(1)] == [], name
    commands = set(typer_main.get_command(app).commands)
    assert set(re.findall(r"^## `linkcast (\S+)`", text, flags=re.MULTILINE)) == commands


@pytest.mark.parametrize(
    ("path", "made"), [("reference/metadata.md", other_pages.metadata), ("models.md", other_pages.models)]
)
def test_pages_of_files_are_as_they_would_be_written(path: str, made) -> None:
    assert (ROOT / "docs" / path).read_text(encoding="utf-8").split("\n\n", 1)[1] == made()


def rows(title: str) -> dict[str, list[str]]:
    """The table under a heading of the answers' page: its rows by each name in the first cell."""
    section = ANSWERS.split(f"\n## {title}\n")[1].split("\n## ")[0]
    cells = [
        re.split(r" *(?<!\\)\| *", line.strip("|")) for line in re.findall(r"^\|.*\|$", section, flags=re.MULTILINE)
    ]
    action = [cell.strip() for cell in cells[0]].index("what to do")
    found = {}
    for row in cells[2:]:
        assert row[action].strip(), f"{title}: {row[0]} does not say what to do"
        for name in re.findall(r"`(.+?)`", row[0]):
            found[name] = row
    return found


def enumerators(prefix: str) -> set[str]:
    return set(re.findall(rf"\b{prefix}(\w+) = ", HEADER))


def test_every_source_and_cause_has_a_row() -> None:
    assert set(rows("Sources: who gave an answer")) == {one.lower() for one in enumerators("LINKCAST_SOURCE_")}
    assert set(rows("Causes: why it was not the model")) == {one.lower() for one in enumerators("LINKCAST_CAUSE_")}


def test_every_status_and_limit_has_a_row() -> None:
    statuses = re.findall(r"^  (LINKCAST_(?:OK|NOT_READY|ERROR_\w+)) =", HEADER, flags=re.MULTILINE)
    assert set(rows("Statuses of C")) == set(statuses)
    limits = {one.lower() for one in re.findall(r"#define LINKCAST_LIMIT_(\w+)", HEADER)}
    assert set(rows("Limits of a decision")) == limits
    assert all(hasattr(linkcast.Decision, limit) for limit in limits)


def test_every_reason_block_and_state_of_a_live_loop_has_a_row() -> None:
    from linkcast.live import record

    assert set(rows("Reasons of a live loop")) >= set(record.REASONS)
    assert set(rows("What blocks a live loop")) == set(record.BLOCKED)
    assert set(rows("Health of a live loop")) == set(record.HEALTH)


def said_while_reading() -> list[list[str]]:
    """The constant parts of each sentence that reading a file adds to its notices or warnings."""
    sentences = []
    for path in sorted((ROOT / "engine" / "linkcast" / "traces").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"):
                continue
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in ("notices", "warnings", "said", "asked"):
                texts = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                parts = [text for text in texts if isinstance(text, str) and len(text) > 8]
                if parts:
                    sentences.append(parts)
    return sentences


def test_every_notice_and_warning_about_a_file_has_a_row() -> None:
    phrases = {**rows("Notices about a file"), **rows("Warnings about a file")}
    sentences = said_while_reading()
    assert len(sentences) > 15
    without = [parts for parts in sentences if not any(phrase in part for phrase in phrases for part in parts)]
    assert without == []


def test_no_notice_or_warning_is_documented_that_is_never_said() -> None:
    sources = sorted((ROOT / "engine" / "linkcast" / "traces").glob("*.py"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    phrases = {**rows("Notices about a file"), **rows("Warnings about a file")}
    assert [phrase for phrase in phrases if phrase not in code] == []


def test_the_picture_of_a_forecast_counts_the_experts_of_the_code() -> None:
    source = (ROOT / "cpp" / "src" / "engine" / "mixture.cpp").read_text(encoding="utf-8")
    listed = re.search(r"kNames\{(.*?)\}", source, flags=re.DOTALL)
    assert listed
    names = re.findall(r'"(.+?)"', listed.group(1))
    regressions = [name for name in names if name.startswith("regression")]
    rules = [name for name in names if name not in ("model", "damped_model") and name not in regressions]
    picture = (ROOT / "docs" / "pictures" / "how-a-forecast.svg").read_text(encoding="utf-8")
    assert f"model, {len(rules)} rules, {len(regressions)} regressions, damped" in picture


def test_the_navigation_of_the_site_is_the_index() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    from conf import sections

    found = sections((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    pages = [str((ROOT / "docs" / one).resolve().relative_to(ROOT)) for _, names in found for one in names]
    here = {str(one.relative_to(ROOT)) for one in (ROOT / "docs").rglob("*.md")} - {"docs/README.md"}
    assert here <= set(pages)
    assert len({title for title, _ in found}) == len(found)


def test_no_tool_of_the_docs_is_long() -> None:
    for path in [*Path(ROOT / "docs" / "tools").glob("*.py"), ROOT / "docs" / "conf.py"]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 450, path.name
