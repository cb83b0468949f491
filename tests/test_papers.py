"""The bill of materials and what is said of the runtime's known faults: valid, and true of the code."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

import linkcast
from conftest import ROOT

pytest.importorskip("cyclonedx", reason="the CycloneDX tool checks the documents")
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VEX = ROOT / "packaging" / "vex.cdx.json"


def problems(text: str) -> Any:
    """What the CycloneDX tool has against a document; None: nothing."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


def sbom_file() -> Path:
    """Where the installed package has it: linkcast-<version>.dist-info/sboms."""
    found = [file for file in distribution("linkcast").files or [] if file.match("*.dist-info/sboms/linkcast.cdx.json")]
    assert len(found) == 1
    return Path(str(found[0].locate()))


@pytest.fixture(scope="module")
def sbom() -> Any:
    return json.loads(sbom_file().read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def vex() -> Any:
    return json.loads(VEX.read_text(encoding="utf-8"))


def properties(entry: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in entry.get("properties", [])}


def test_the_cyclonedx_tool_finds_nothing_wrong_and_would_find_something() -> None:
    assert problems(sbom_file().read_text(encoding="utf-8")) is None
    text = VEX.read_text(encoding="utf-8")
    assert problems(text) is None
    assert problems(text.replace('"not_affected"', '"not affected"', 1)) is not None


def test_the_bill_names_what_is_installed_with_its_hash(sbom: Any) -> None:
    assert sbom["metadata"]["component"]["version"] == linkcast.__version__
    (runtime,) = sbom["components"]
    assert runtime["version"] == "2.17.1"
    content = (Path(linkcast.Engine().folder) / "libtensorflowlite_c.so").read_bytes()
    assert runtime["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
    inside = {part["name"]: part["version"] for part in runtime["components"]}
    assert {"XNNPACK", "Eigen", "ruy", "FlatBuffers", "cpuinfo"} <= inside.keys()
    for name, trace in (("XNNPACK", b"XNNPACK"), ("ruy", b"external/ruy/"), ("fft2d", b"fft2d"), ("Eigen", b"Eigen")):
        assert name in inside and trace in content  # what is said to be evidence


def operators() -> dict[str, bool]:
    """Every operator of the gate's table, and whether it is let through."""
    (table,) = (ROOT / "cpp" / "src").rglob("operators.cpp")
    rows = re.findall(r'\{\.code = \w+, \.name = "(\w+)"(, \.versions = \d+)?', table.read_text(encoding="utf-8"))
    return {name: bool(versions) for name, versions in rows}


def test_each_statement_is_about_the_runtime_and_says_why(vex: Any) -> None:
    ids = [entry["id"] for entry in vex["vulnerabilities"]]
    assert len(ids) == len(set(ids)) > 100
    for entry in vex["vulnerabilities"]:
        assert entry["affects"] == [{"ref": "libtensorflowlite_c"}]
        assert len(entry["analysis"]["detail"]) >= 20
        assert entry["analysis"]["state"] in ("not_affected", "resolved")
        assert (entry["analysis"]["state"] == "not_affected") == ("justification" in entry["analysis"])


def test_the_check_that_a_statement_names_stands_in_the_code(vex: Any) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cpp" / "src").rglob("*.cpp"))
    for entry in vex["vulnerabilities"]:
        check = properties(entry).get("linkcast:check")
        assert check is None or check in code, f"{entry['id']}: nothing in cpp/src says {check!r}"
        guarded = entry["analysis"].get("justification") == "protected_at_runtime"
        assert check is not None or not guarded


def test_what_is_called_refused_is_refused_and_what_is_let_through_has_a_check(vex: Any) -> None:
    known = operators()
    assert sum(known.values()) > 90
    for entry in vex["vulnerabilities"]:
        named = properties(entry).get("linkcast:operators", "").split()
        for name in named:
            if name.startswith("STABLEHLO"):  # beyond the table, which refuses what it does not know
                assert name not in known
            elif "is not among the operators" in properties(entry).get("linkcast:check", ""):
                assert not known[name], f"{entry['id']}: {name} is let through"
            elif entry["analysis"].get("justification") != "code_not_present":
                assert known[name] and "linkcast:check" in properties(entry), f"{entry['id']}: {name}"
