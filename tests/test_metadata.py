"""The shipped metadata: the schemas, the hashes, and golden vectors that TensorFlow reproduces."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from telemetry import TRANSFORMS

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).resolve().parent.parent
FILES = ("feature_list", "scalers", "service_mappings", "service_group_stats", "manifest")
MODELS = [
    *("datacenter_lstm", "internet_lstm", "datacenter_ddqn", "internet_ddqn"),
    *("streaming_model", "gaming_model", "social_media_model", "shopping_model", "software_model"),
    *("streaming_fallback", "gaming_fallback", "social_media_fallback", "shopping_fallback", "software_fallback"),
]


def _read(name):
    return json.loads((ROOT / "metadata" / f"{name}.json").read_text(encoding="utf-8"))


def _validator(name):
    schema = json.loads((ROOT / "metadata" / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


MANIFEST = _read("manifest")


@pytest.mark.parametrize("name", FILES)
def test_shipped_file_follows_its_schema(name):
    _validator(name).validate(_read(name))


# One wrong value a file: the path to it, the value, and the key that the complaint has to name.
WRONG = {
    "feature_list": [
        (("models", "internet_lstm", "window"), "ten"),
        (("models", "internet_lstm", "features"), []),
        (("models", "internet_lstm", "horizon"), 1),
    ],
    "scalers": [
        (("models", "internet_lstm", "target"), {"min": 0.0}),
        (("models", "internet_lstm", "target", "relative_to"), "first"),
        (("models", "internet_lstm", "features", "latency_ms", "relative_to"), "last"),
        (("models", "internet_lstm", "features", "latency_ms", "log_offset"), 0),
        (("models", "internet_lstm", "features", "latency_ms", "log"), 1.0),
        (("schema_version",), 2),
    ],
    "service_mappings": [(("groups", "streaming", "group_id"), "1001"), (("groups", "Streaming"), {})],
    "service_group_stats": [
        (("groups", "streaming", "max_bandwidth_mbps"), 0),
        (("groups", "streaming", "hour_of_week", "latency_ms"), [1.0] * 167),
        (("groups", "streaming", "hour_of_week", "packet_loss"), [1.5] * 168),
    ],
    "manifest": [
        (("models", "internet_lstm", "sha256"), "0" * 63),
        (("models", "internet_lstm", "file"), "../internet_lstm.tflite"),
        (("models", "internet_lstm", "role"), "predictor"),
        (("models", "internet_lstm", "skill", "model", "within_2_percent"), 97.2),
        (("models", "internet_lstm", "skill", "baselines", "ewma"), {"mae": 1.0}),
        (("models", "internet_lstm", "skill", "interval"), {"mae": [1.0, 2.0, 3.0], "skill": [0.0, 0.1]}),
        (("models", "internet_lstm", "skill", "verdict"), ""),
        (("models", "internet_lstm", "skill", "comment"), "good"),
    ],
}


@pytest.mark.parametrize(("name", "path", "value"), [(name, *wrong) for name, rows in WRONG.items() for wrong in rows])
def test_schema_refuses_a_wrong_value(name, path, value):
    content = copy.deepcopy(_read(name))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError) as error:
        _validator(name).validate(content)
    assert path[-1] in [*error.value.absolute_path, *str(error.value.message).split("'")]


def test_the_schema_takes_logarithms_and_references():
    content = _read("scalers")
    content["models"]["internet_lstm"] = TRANSFORMS
    _validator("scalers").validate(content)


@pytest.mark.parametrize("name", FILES)
def test_schema_refuses_a_missing_key(name):
    for key in _read(name):
        content = _read(name)
        del content[key]
        with pytest.raises(jsonschema.ValidationError, match=key):
            _validator(name).validate(content)


def test_manifest_lists_every_model_in_the_promised_order():
    assert list(MANIFEST["models"]) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_manifest_hash_and_size_are_the_file_s(model):
    entry = MANIFEST["models"][model]
    content = (ROOT / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"]
    assert entry["file"] == f"models/{model}.tflite"


@pytest.mark.parametrize("model", MODELS)
def test_files_agree_about_a_model(model):
    features, scalers = _read("feature_list")["models"][model], _read("scalers")["models"][model]
    entry = MANIFEST["models"][model]
    window = [features["window"]] if "window" in features else []
    assert entry["input_shape"] == [1, *window, len(features["features"])]
    assert [feature["name"] for feature in features["features"]] == list(scalers["features"])
    assert all(limits["max"] > limits["min"] for limits in scalers["features"].values())
    assert ("target" in features) == ("target" in scalers) == (entry["role"] != "allocator")
    assert np.shape(entry["golden"]["inputs"]) == (8, *entry["input_shape"][1:])
    assert np.shape(entry["golden"]["outputs"]) == (8, *entry["output_shape"][1:])


@pytest.mark.parametrize("model", MODELS)
def test_manifest_shows_the_naive_baselines_beside_the_model(model):
    skill = MANIFEST["models"][model]["skill"]
    role = MANIFEST["models"][model]["role"]
    expected = {
        "forecaster": {"persistence", "moving_average", "ewma", "harmonic_mean"},
        "allocator": {"random", "round up"},
        "fallback": {"mean", "hour_of_week"},
    }[role]
    assert expected <= set(skill["baselines"])
    assert skill["best_baseline"] in skill["baselines"]
    assert skill["verdict"]


def test_groups_point_at_models_of_theirs():
    for key, group in _read("service_mappings")["groups"].items():
        assert MANIFEST["models"][group["model"]]["serves"] == key
        assert MANIFEST["models"][group["fallback"]]["role"] == "fallback"
        assert group["default_service_id"] in group["services"].values()
    assert [group["group_id"] for group in _read("service_mappings")["groups"].values()] == list(range(1001, 1006))


def test_streaming_s_default_service_is_102():
    assert _read("service_mappings")["groups"]["streaming"]["default_service_id"] == 102


def test_group_statistics_fit_together():
    for stats in _read("service_group_stats")["groups"].values():
        share = 100.0 * stats["mean_bandwidth_mbps"] / stats["max_bandwidth_mbps"]
        assert stats["typical_usage_percentage"] == pytest.approx(share, rel=1e-4)
        assert np.mean(stats["hour_of_week"]["bandwidth_mbps"]) == pytest.approx(stats["mean_bandwidth_mbps"], rel=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_tensorflow_reproduces_the_golden_outputs(model):
    pytest.importorskip("tensorflow")
    from linkcast.training import networks

    entry = MANIFEST["models"][model]
    outputs = networks.TFLite((ROOT / entry["file"]).read_bytes()).predict(
        np.array(entry["golden"]["inputs"], np.float32)
    )
    # Another CPU sums in another order: a few units in the last place of float32 over some hundred terms.
    np.testing.assert_allclose(outputs, entry["golden"]["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [name for name in MODELS if name.endswith(("_lstm", "_model"))])
def test_forecasters_hold_three_fused_lstms(model):
    pytest.importorskip("tensorflow")
    from linkcast.training import networks

    operators = networks.operators((ROOT / "models" / f"{model}.tflite").read_bytes())
    assert operators.count(networks.FUSED_LSTM) == 3
    assert "WHILE" not in operators
