"""The edge bundle: the same answers without linkcast, and what a damaged folder does."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linkcast
from linkcast.edge import edge_deployment as edge
from linkcast.edge import export
from linkcast.training.bundle import METADATA, validate

TIMES = [
    "2026-03-02T00:00",
    "2026-03-04T08:29:59.999999",
    "2026-10-25T02:30:00+02:00",
    datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=1))),  # the hour that comes twice in Berlin
    datetime(2026, 3, 2, 20, 15, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    np.datetime64("2026-12-31T23:59:59"),
    1_772_474_400,
    1_772_474_400_000,
]
RUNTIMES = [
    "linkcast",
    *(
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(package) is None, reason=f"{name} is not installed (extra: test)"
            ),
        )
        for name, package in edge.INTERPRETERS.items()
    ),
]
INSTALLED = [name for name, package in edge.INTERPRETERS.items() if importlib.util.find_spec(package)]

# Only the standard library, NumPy and an interpreter with what it needs can be imported: no linkcast.
CLEAN = """
import importlib.abc, runpy, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        allowed = ("numpy", "ai_edge_litert", "tflite_runtime", "flatbuffers", "google", "backports", "ml_dtypes")
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith("_") or top in (*allowed, "tqdm", "edge_deployment"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
sys.path.insert(0, sys.argv[1])
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.export_edge(tmp_path_factory.mktemp("edge")).folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(exported, tmp_path / export.NAME))


@pytest.fixture(scope="module")
def reference() -> linkcast.BandwidthPredictor:
    return linkcast.BandwidthPredictor()


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that are about the folder alone do not run it."""
    monkeypatch.setattr(export, "verify", lambda folder: ("not run",))


def change(folder: Path, stem: str, how: Callable[[Any], None]) -> None:
    path = folder / "metadata" / f"{stem}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    how(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_folder_holds_what_is_documented(exported: Path) -> None:
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    groups = ["streaming", "gaming", "social_media", "shopping", "software"]
    models = {f"tflite_models/{group}_{role}.tflite" for group in groups for role in ("model", "fallback")}
    metadata = {f"metadata/{stem}.json" for stem in (*METADATA, "expected_predictions")}
    assert files == {"README.md", "edge_deployment.py", *models, *metadata}


def test_the_metadata_follows_the_schemas_and_the_folder_is_a_bundle_too(exported: Path) -> None:
    for stem in METADATA:
        validate(stem, json.loads((exported / "metadata" / f"{stem}.json").read_text(encoding="utf-8")))
    assert len(linkcast.Engine(exported).names) == 10  # hashes and golden rows are checked by this


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_answers_are_those_of_linkcast(exported: Path, reference: linkcast.BandwidthPredictor, runtime: str) -> None:
    predictor = edge.BandwidthPredictor(exported, runtime=runtime)
    assert predictor.runtime.startswith(runtime)
    for time in TIMES:
        for name in predictor.groups:
            for device in (None, *predictor.device_groups(name)):
                for usage in (None, 0, 12.5, 100):
                    got = predictor.predict(time, name, usage, device, as_numbers=True)
                    expected = reference.predict(time, name, usage, device, as_numbers=True)
                    assert list(got) == list(expected)
                    for key, value in expected.items():
                        if key == "predicted_bandwidth_mbps":
                            assert got[key] == pytest.approx(value, rel=0, abs=1e-4)  # float32, sums in another order
                        elif key == "bandwidth_allocation":  # percent of at least 9 Mbit/s
                            assert got[key] == pytest.approx(value, rel=0, abs=1e-3)
                        else:
                            assert got[key] == value


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_series_is_what_each_time_gives(exported: Path, runtime: str) -> None:
    predictor = edge.BandwidthPredictor(exported, runtime=runtime)
    series = predictor.generate_time_series_predictions("2026-03-28T22:00", "2026-03-29T06:00", 0.5)
    assert [entry["timestamp"] for entry in series][:3] == [
        "2026-03-28T22:00:00",
        "2026-03-28T22:30:00",
        "2026-03-28T23:00:00",
    ]
    assert len(series) == 17
    for entry in reversed(series):  # no state is left from the time before
        assert entry["predictions"] == predictor.predict_all_groups(entry["timestamp"])


def test_text_has_the_documented_form_and_is_saved_as_it_is(
    exported: Path, reference: linkcast.BandwidthPredictor, tmp_path: Path
) -> None:
    predictor = edge.BandwidthPredictor(exported)
    got = predictor.predict("2026-03-02T18:00", "social-media", usage_percentage=40, device_group="Mobile")
    assert got == reference.predict("2026-03-02T18:00", "social-media", 40, "Mobile")
    assert list(got) == [
        "service_group",
        "group_id",
        "service_id",
        "bandwidth_allocation",
        "predicted_bandwidth_mbps",
    ]
    assert (got["group_id"], got["service_id"]) == (1003, 302)
    predictor.save_predictions_to_json([got], tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8")) == [got]


@pytest.mark.skipif(not INSTALLED, reason="neither ai-edge-litert nor tflite-runtime is installed (extra: test)")
def test_the_readmes_example_runs_without_linkcast(exported: Path, tmp_path: Path) -> None:
    readme = (exported / "README.md").read_text(encoding="utf-8")
    (example,), (expected,) = export._blocks(readme, "python"), export._blocks(readme, "text")
    code = CLEAN + example + "\nprint(predictor.runtime, 'linkcast' in sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(exported)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert printed == expected.splitlines()
    assert last.endswith(" False") and not last.startswith("linkcast")
    assert len(json.loads((tmp_path / "week.json").read_text(encoding="utf-8"))) == 168


def test_the_program_prints_predictions_and_one_line_for_an_error(exported: Path) -> None:
    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", str(exported / "edge_deployment.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = program("--at", "2026-03-02T18:00", "gaming")
    assert json.loads(done.stdout)["group_id"] == 1002
    assert "368 answers as linkcast's" in program("--check").stdout
    done = program("Fishing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "edge_deployment: service_group: expected one of Streaming, Gaming, Social Media, Shopping, Software, "
        "got 'Fishing'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2026-03-02", "Fishing"), "service_group: expected one of Streaming, Gaming"),
        (("2026-03-02", None), "service_group: expected one of"),
        (("2026-03-02", "Gaming", 101), "usage_percentage: expected a number from 0 to 100, got 101"),
        (("2026-03-02", "Gaming", float("nan")), "usage_percentage"),
        (("2026-03-02", "Gaming", None, "fridge"), "device_group: expected one of .* for Gaming, got 'fridge'"),
        (("2026-03-02", "Gaming", None, 5), "device_group: expected one of .* for Gaming, got 5"),
        (("yesterday", "Gaming"), "timestamp: expected an ISO 8601 time"),
        ((float("inf"), "Gaming"), "timestamp: expected POSIX seconds"),
        ((np.datetime64(2**62, "s"), "Gaming"), "timestamp: expected a time within 290,000 years of 1970"),
        ((True, "Gaming"), "timestamp: expected a datetime"),
    ],
)
def test_bad_arguments_are_the_value_errors_of_linkcast(
    exported: Path, reference: linkcast.BandwidthPredictor, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as told:
        edge.BandwidthPredictor(exported).predict(*arguments)
    with pytest.raises(ValueError) as expected:
        reference.predict(*arguments)
    assert str(told.value) == str(expected.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "empty"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_damaged_model_is_answered_by_the_fallback_which_is_said(
    folder: Path, exported: Path, runtime: str, damage: str
) -> None:
    path = folder / "tflite_models" / "streaming_model.tflite"
    content = path.read_bytes()
    damaged = {"cut": content[:-1], "changed": content[:90_000] + b"\x00\xff" + content[90_002:], "empty": b""}
    path.unlink() if damage == "missing" else path.write_bytes(damaged[damage])
    with pytest.warns(RuntimeWarning, match=r"Streaming: the fallback answers: .*streaming_model\.tflite: "):
        predictor = edge.BandwidthPredictor(folder, runtime=runtime)
    assert list(predictor.problems) == ["streaming_model"]
    got = predictor.predict("2026-03-02T18:00", "Streaming", as_numbers=True)
    assert got["source"] == "fallback"
    calendar = edge._calendar(np.array([np.datetime64("2026-03-02T18:00", "s").astype(np.int64)]))
    expected = linkcast.Engine.load().forecast_raw("streaming_fallback", calendar)[0]
    assert got["predicted_bandwidth_mbps"] == pytest.approx(float(expected), rel=0, abs=1e-4)
    whole = edge.BandwidthPredictor(exported, runtime=runtime)
    assert predictor.predict("2026-03-02T18:00", "Gaming", as_numbers=True) == whole.predict(
        "2026-03-02T18:00", "Gaming", as_numbers=True
    )
    with pytest.raises(edge.BundleError, match="streaming_model"):
        predictor.check()


@pytest.mark.parametrize("most", [20.0, 1e4])  # a forecast of some 1e9 Mbit/s, and one that is not finite
def test_an_implausible_forecast_is_answered_by_the_fallback(folder: Path, most: float) -> None:
    change(folder, "scalers", lambda content: content["models"]["gaming_model"]["target"].update(max=most))
    change(folder, "manifest", lambda content: content["models"]["gaming_model"].pop("golden"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = edge.BandwidthPredictor(folder).predict("2026-03-02T18:00", "Gaming", as_numbers=True)
    assert got["source"] == "fallback"


def test_a_group_that_nothing_answers_for_is_an_error_that_names_both_files(folder: Path) -> None:
    for role in ("model", "fallback"):
        (folder / "tflite_models" / f"gaming_{role}.tflite").unlink()
    with pytest.raises(
        edge.BundleError, match=r"Gaming: nothing can answer: .*gaming_model\.tflite: no such file; .*gaming_fallback"
    ):
        edge.BandwidthPredictor(folder)


@pytest.mark.parametrize("stem", ["service_mappings", "service_group_stats", "feature_list", "scalers", "manifest"])
def test_a_missing_or_damaged_metadata_file_is_named(folder: Path, stem: str) -> None:
    path = folder / "metadata" / f"{stem}.json"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff\xfe", b"[" * 100_000, b"3"):
        path.write_bytes(damaged)
        with pytest.raises(edge.BundleError, match=rf"{stem}\.json: "):
            edge.BandwidthPredictor(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{stem}\.json: no such file"):
        edge.BandwidthPredictor(folder)


@pytest.mark.parametrize(
    ("stem", "keys", "value", "message"),
    [
        (
            "service_mappings",
            ("groups", "gaming", "model"),
            "../../etc/passwd",
            "/groups/gaming/model: expected a text",
        ),
        ("service_mappings", ("groups", "gaming", "default_service_id"), 9, "expected the id of one of the services"),
        ("service_group_stats", ("groups", "gaming", "max_bandwidth_mbps"), 0, "expected a number above 0, got 0"),
        ("service_group_stats", ("groups", "gaming", "hour_of_week", "packet_loss"), [2] * 168, "from 0 to 1, got 2"),
        ("service_group_stats", ("groups", "gaming", "hour_of_week", "packet_loss"), [0] * 9, "expected 168 numbers"),
        ("feature_list", ("models", "gaming_model", "window"), 0, "/window: expected a whole number of 1 to 10000"),
        ("feature_list", ("models", "gaming_model", "step_s"), None, "/step_s: expected a whole number"),
        ("scalers", ("models", "gaming_model", "target", "max"), -9, "/target: expected max above min"),
        ("scalers", ("models", "gaming_model", "target", "relative_to"), "first", '/relative_to: expected "last"'),
        ("scalers", ("models", "gaming_model", "target", "min"), float("nan"), "/min: expected a number, got NaN"),
        ("scalers", ("models", "gaming_model", "target", "max"), 10**400, "/max: expected a number, got 1000"),
        ("manifest", ("models", "gaming_model", "sha256"), "abc", "/sha256: expected a text"),
        (
            "manifest",
            ("models", "gaming_model", "golden", "outputs"),
            [[1]],
            "expected inputs of .10, 8. and an output",
        ),
    ],
)
def test_a_wrong_value_in_the_metadata_is_named_by_file_and_key(
    folder: Path, stem: str, keys: tuple[str, ...], value: Any, message: str
) -> None:
    def put(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    change(folder, stem, put)
    with pytest.raises(edge.BundleError, match=rf"{stem}\.json: .*{message}"):
        edge.BandwidthPredictor(folder)


@pytest.mark.parametrize("has_fallback", [True, False])
def test_a_group_is_added_by_files_alone(folder: Path, has_fallback: bool) -> None:
    """A copy of a group by another name, with twice its maximum: the answer is that group's, the share half of it."""
    for role in ("model", "fallback"):
        source = folder / "tflite_models" / f"gaming_{role}.tflite"
        shutil.copyfile(source, source.with_name(f"news_{role}.tflite"))

    def in_models(content: Any) -> None:
        for role in ("model", "fallback"):
            content["models"][f"news_{role}"] = content["models"][f"gaming_{role}"]

    def in_stats(content: Any) -> None:
        gaming = content["groups"]["gaming"]
        content["groups"]["news"] = gaming | {"max_bandwidth_mbps": 2 * gaming["max_bandwidth_mbps"]}

    change(folder, "feature_list", in_models)
    change(folder, "scalers", in_models)
    change(folder, "service_mappings", lambda content: content["groups"].update(_news(has_fallback)))
    change(folder, "service_group_stats", in_stats)
    predictor = edge.BandwidthPredictor(folder)
    news = predictor.predict("2026-03-02T03:00", "news", as_numbers=True)
    gaming = predictor.predict("2026-03-02T03:00", "gaming", as_numbers=True)
    assert predictor.groups[-1] == "News" and (news["group_id"], news["service_id"]) == (1006, 601)
    assert news["predicted_bandwidth_mbps"] == gaming["predicted_bandwidth_mbps"]
    assert news["bandwidth_allocation"] == pytest.approx(float(gaming["bandwidth_allocation"]) / 2)

    sealed = edge.seal(folder)
    assert sealed == (["news_model", "news_fallback"] if has_fallback else ["news_model"])
    path = folder / "tflite_models" / "news_model.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    if has_fallback:
        with pytest.warns(RuntimeWarning, match="damaged"):
            edge.BandwidthPredictor(folder)
    else:
        with pytest.raises(edge.BundleError, match="damaged"):
            edge.BandwidthPredictor(folder)


def _news(has_fallback: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": "News", "group_id": 1006, "default_service_id": 601, "services": {"Reading": 601}}
    entry["model"] = "news_model"
    if has_fallback:
        entry["fallback"] = "news_fallback"
    return {"news": entry}


class _Stateful:
    """An interpreter whose reset does nothing; each invoke counts on."""

    def __init__(self, model_content: bytes, num_threads: int) -> None:
        self.count = 0.0

    def allocate_tensors(self) -> None: ...
    def reset_all_variables(self) -> None: ...
    def set_tensor(self, index: int, value: Any) -> None: ...
    def get_input_details(self) -> list[dict[str, int]]:
        return [{"index": 0}]

    get_output_details = get_input_details

    def invoke(self) -> None:
        self.count += 1e-6

    def get_tensor(self, index: int) -> Any:
        return np.array([[self.count]], np.float32)


def test_a_runtime_that_keeps_state_is_not_trusted(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = edge._interpreter_run(_Stateful)
    monkeypatch.setattr(edge, "_find_runtime", lambda wanted: ("stateful", opened))
    with pytest.raises(edge.BundleError, match="stateful keeps state from one window to the next"):
        edge.BandwidthPredictor(exported)


def test_without_a_runtime_the_error_names_all_three(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("linkcast", "ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(edge.NoRuntimeError, match="expected linkcast, ai-edge-litert, or tflite-runtime with numpy<2"):
        edge.BandwidthPredictor(exported)
    with pytest.raises(
        ValueError, match="runtime: expected auto, linkcast, ai-edge-litert, tflite-runtime, got 'onnx'"
    ):
        edge.BandwidthPredictor(exported, runtime="onnx")


@pytest.mark.parametrize("answer", [{}, {"arguments": 3}, {"arguments": {"time": 1}, "predicted_bandwidth_mbps": 1}])
def test_a_damaged_list_of_expected_predictions_is_named(folder: Path, answer: dict[str, Any]) -> None:
    change(
        folder, "expected_predictions", lambda content: content["predictions"].insert(0, answer | {"source": "model"})
    )
    with pytest.raises(edge.BundleError, match=r"expected_predictions\.json: /predictions/0"):
        edge.BandwidthPredictor(folder).check()


@pytest.mark.usefixtures("unverified")
def test_a_group_without_a_profile_is_answered_by_its_fallback_as_in_linkcast(
    edit: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = edit("service_group_stats", lambda content: content["groups"]["gaming"].pop("hour_of_week"))
    predictor = edge.BandwidthPredictor(export.export_edge(tmp_path / "out", models=bundle).folder)
    reference = linkcast.BandwidthPredictor(bundle)
    for usage, device in ((None, None), (30, None), (None, "console"), (80, "mobile")):
        got = predictor.predict("2026-03-02T20:30", "Gaming", usage, device, as_numbers=True)
        assert got["source"] == "fallback"
        assert got == reference.predict("2026-03-02T20:30", "Gaming", usage, device, as_numbers=True)
