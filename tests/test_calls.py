"""How objects are shown, copied, sent to other processes and logged, and what is refused before it can do harm."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import linkcast
import sent
from conftest import run
from linkcast import _native
from linkcast.traces import trace_from_arrays

WINDOW = np.tile(np.array([28.0, 12.5, 0.001, 0.998], np.float32), (10, 1))
BOUND = [value for value in vars(_native).values() if isinstance(value, type) and value.__module__ == _native.__name__]
CLASSES = [value for value in BOUND if not issubclass(value, Exception)]


@pytest.fixture(scope="module")
def path(engine: linkcast.Engine) -> str:
    return engine.model("internet_lstm").path


@pytest.fixture
def scaled() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random((3, 10, 4), np.float32)


def test_every_bound_class_is_looked_at() -> None:
    names = {bound.__name__ for bound in CLASSES}
    assert {"Model", "Engine", "Stream", "Controller", "ForecasterPool", "Scaler", "RouteChooser", "Expert"} <= names


@pytest.mark.parametrize("bound", [*CLASSES, linkcast.Engine], ids=lambda bound: bound.__name__)
def test_an_object_whose_init_has_not_run_is_refused(bound: type) -> None:
    empty = bound.__new__(bound)
    tried = 0
    for name, member in vars(bound).items():
        if name.startswith("__") and name not in ("__len__", "__float__", "__getstate__"):
            continue
        get = member.fget if isinstance(member, property) else getattr(bound, name)
        if isinstance(member, staticmethod) or not callable(get) or name in ("load", "_repr_html_"):
            continue
        if bound is linkcast.Engine:
            continue
        with pytest.raises(TypeError):
            get(empty)
        tried += 1
    assert tried > 0 or bound is linkcast.Engine
    if bound in (linkcast.Engine, _native.Engine):
        for use in (lambda: empty.names, lambda: empty.forecast("internet", WINDOW), lambda: pickle.dumps(empty)):
            with pytest.raises(TypeError):
                use()


def test_a_stream_of_an_engine_that_is_not_open_is_refused() -> None:
    with pytest.raises(TypeError, match="__init__ has not"):
        _native.Engine.stream(_native.Engine.__new__(_native.Engine), "internet")


def _refusals(engine: linkcast.Engine) -> list[tuple[Callable[[], object], type, str]]:
    """Calls that fit no function's arguments, what is raised and the text, to the letter."""
    open_engine: Any = linkcast.Engine  # the stub would let none of these through
    scaler: Any = linkcast.Scaler
    call: Any = engine
    stream: Any = engine.stream("internet")
    chooser: Any = linkcast.RouteChooser
    model: Any = engine.model("internet_lstm")
    return [
        # another type, of every kind of argument that there is
        (
            lambda: open_engine(helper_spin_us="a"),
            TypeError,
            "helper_spin_us: expected a whole number, got 'a' (str)",
        ),
        (
            lambda: open_engine(threads=1.5),
            TypeError,
            "threads: expected a whole number, got 1.5",
        ),
        (lambda: call.stream(7), TypeError, "name: expected a str, got 7"),
        (
            lambda: call.stream("internet", level="high"),
            TypeError,
            "level: expected a number, got 'high' (str)",
        ),
        (
            lambda: call.stream("internet", mixture="no"),
            TypeError,
            "mixture: expected True or False, got 'no' (str)",
        ),
        (
            lambda: stream.push(WINDOW[0], deadline_ms="3"),
            TypeError,
            "deadline_ms: expected a number or None, got '3' (str)",
        ),
        (lambda: stream.restore("words"), TypeError, "snapshot: expected bytes, got 'words' (str)"),
        (lambda: stream.restore([0] * 100), TypeError, "snapshot: expected bytes, got a list"),
        (
            lambda: call.forecaster_pool(cpus=[1.5]),
            TypeError,
            "cpus: expected a list, each element a whole number, got [1.5] (list)",
        ),
        (
            lambda: call.forecaster_pool(cpus=3),
            TypeError,
            "cpus: expected a list, each element a whole number, got 3",
        ),
        (
            lambda: scaler([0], [1], relative_to="last"),
            TypeError,
            "relative_to: expected a list, each element a str or None, got 'last' (str)",
        ),
        (lambda: call.forecast_many([WINDOW]), TypeError, "windows: expected a dict, got a list"),
        (
            lambda: call.forecast_many({3: WINDOW}),
            TypeError,
            "windows: expected a dict whose keys are names, got the key 3",
        ),
        (lambda: model.run({3: WINDOW}), TypeError, "inputs: expected a dict whose keys are names, got the key 3"),
        (lambda: type(stream).push(3, WINDOW), TypeError, "self: expected a Stream, got 3"),
        (lambda: open_engine.stream(3, "internet"), TypeError, "self: expected an Engine, got 3"),
        # the right type, and more than it holds
        (
            lambda: open_engine(helper_spin_us=-1),
            ValueError,
            "helper_spin_us: expected a whole number, 0 or more, got -1",
        ),
        (
            lambda: call.stream("internet", rows=2**70),
            ValueError,
            f"rows: expected a whole number that is not so large, got {2**70}",
        ),
        # the wrong arguments
        (lambda: call.controller("internet"), TypeError, "controller(): expected the argument capacity_mbps, got none"),
        (
            lambda: stream.push(WINDOW[0], deadline=3),
            TypeError,
            "push(): expected arguments among samples, present, deadline_ms, got deadline",
        ),
        (
            lambda: chooser(2, 0.1),
            TypeError,
            "RouteChooser(): expected at most 1 argument without a name (paths), got 2; "
            "by name: margin, stay_s, gone_s",
        ),
        # what Python does not write out
        (
            lambda: stream.horizon(10**6000),
            ValueError,
            "steps: expected a whole number that is not so large, got an int",
        ),
        (
            lambda: stream.reset(0, row=0),
            TypeError,
            "reset(): expected row once, got it by position and by name",
        ),
    ]


def test_arguments_that_fit_no_function_are_told_apart_in_a_line(engine: linkcast.Engine) -> None:
    for call, kind, text in _refusals(engine):
        with pytest.raises(kind) as refused:
            call()
        assert str(refused.value) == text


def test_a_number_out_of_range_is_told_as_people_write_it(engine: linkcast.Engine) -> None:
    with pytest.raises(ValueError, match=r"^level: expected above 0 and below 1, got 2$"):
        engine.stream("internet", level=2)
    with pytest.raises(ValueError, match=r"^stand_in_weight: expected above 0 and at most 1, got -1e-09$"):
        engine.stream("internet", stand_in_weight=-1e-9)
    with pytest.raises(ValueError, match=r"^deadline_ms: expected above 0, got -0\.5$"):
        engine.stream("internet").push(WINDOW[0], deadline_ms=-0.5)
    with pytest.raises(ValueError, match=r"^load_seconds: expected a number above 0 and up to 1e6, got -1$"):
        linkcast.Engine(load_seconds=-1)


def test_a_name_that_is_no_utf8_is_refused_as_any_other(engine: linkcast.Engine) -> None:
    # pybind11 lets its UnicodeEncodeError go into the interpreter's C code, which ends the process.
    call: Any = engine
    lone_surrogate: Any = {"\udc80": 1}
    for refused in (lambda: call.stream("internet", **lone_surrogate), lambda: call.decide(**lone_surrogate)):
        with pytest.raises((TypeError, UnicodeEncodeError)):
            refused()


def test_every_bound_function_says_what_it_takes_in_place_of_c_types(engine: linkcast.Engine) -> None:
    nothing_like_it = object()
    asked = 0
    for bound in CLASSES:
        for name in vars(bound):
            function = getattr(bound, name)
            if not callable(function) or (name.startswith("_") and name != "__init__"):
                continue
            with pytest.raises(TypeError) as refused:
                function(*[nothing_like_it] * 40)
            assert "C++" not in str(refused.value), f"{bound.__name__}.{name}"
            assert "argument types" not in str(refused.value), f"{bound.__name__}.{name}"
            asked += 1
    assert asked > 60


def test_reprs_are_a_line_that_tells_what_it_is(engine: linkcast.Engine, path: str) -> None:
    assert repr(linkcast.Model(path, backend="tflite")) == f"Model({path!r}, (1, 10, 4) -> (1, 1), tflite)"
    stream = engine.stream("internet", rows=3)
    stream.push(None)
    assert repr(stream) == "Stream(internet_lstm, 3 rows, window 10, incremental, 1 ticks)"
    assert repr(engine.group("gaming")).startswith("ServiceGroup('Gaming', id 1002, up to ")
    assert repr(linkcast.BandwidthPredictor()) == (
        f"BandwidthPredictor({engine.folder!r}, profile 'internet', 5 service groups)"
    )
    assert repr(engine.controller("internet", capacity_mbps=100)) == "Controller(internet, 0 ticks)"
    assert repr(linkcast.RouteChooser(2)).startswith("RouteChooser(2 paths, ")
    for shown in (engine, engine.scaler("internet_lstm"), engine.forecaster_pool()):
        assert len(repr(shown)) < 200
        assert "object at 0x" not in repr(shown)


def test_notebooks_show_tables_of_escaped_text(engine: linkcast.Engine, path: str) -> None:
    objects = (engine, engine.model("internet_lstm"), engine.stream("internet"), engine.group("gaming"))
    decision = engine.controller("internet", capacity_mbps=100).tick(WINDOW[0], now_s=0)
    for shown in (*objects, decision, linkcast.BandwidthPredictor()):
        html = shown._repr_html_()
        assert html.startswith("<table><caption>")
        assert html.endswith("</table>")
        assert html.count("<tr>") == html.count("</tr>") > 2
    assert "&lt;bytes&gt;" in linkcast.Model(Path(path).read_bytes())._repr_html_()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda content: np.frombuffer(content, np.uint8)])
def test_a_model_out_of_memory_gives_what_its_file_gives(kind: Any, path: str, scaled: Any) -> None:
    model = linkcast.Model(kind(Path(path).read_bytes()))
    assert model.backend == "native"
    assert model.path == "<bytes>"
    np.testing.assert_array_equal(model.predict(scaled), linkcast.Model(path).predict(scaled))


def test_a_model_out_of_memory_is_verified_and_limited_as_a_file_is(path: str, tmp_path: Path) -> None:
    content = Path(path).read_bytes()
    damaged = bytearray(content)
    damaged[0:4] = b"\xff\xff\xff\x7f"
    cases = {
        "empty": b"",
        "cut": content[:-5000],
        "damaged": bytes(damaged),
        "words": b"hello, world",
        "zip": b"PK\3\4x",
    }
    for name, case in cases.items():
        file = tmp_path / name
        file.write_bytes(case)
        with pytest.raises(linkcast.LoadError) as of_file:
            linkcast.Model(file)
        with pytest.raises(linkcast.LoadError) as of_bytes:
            linkcast.Model(case)
        assert str(of_bytes.value) == str(of_file.value).replace(str(file), "<bytes>"), name
    for limit in ({"max_file_bytes": 1000}, {"max_tensor_bytes": 100}, {"load_seconds": 1e-9}):
        with pytest.raises(linkcast.LoadError, match="<bytes>: "):
            linkcast.Model(content, **limit)
    with pytest.raises(ValueError, match="bytes that stand together"):
        linkcast.Model(memoryview(content)[::2])


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_copies_answer_alike_and_are_objects_of_their_own(remake: Any, path: str, scaled: Any) -> None:
    for model in (
        linkcast.Model(path, "tflite", max_threads=2),
        linkcast.Model(path, precision="bfloat16"),
        linkcast.Model(Path(path).read_bytes()),
        linkcast.Engine(precision="bfloat16").model("internet_lstm"),
    ):
        other = remake(model)
        assert other is not model
        assert (other.path, other.backend, other.precision) == (model.path, model.backend, model.precision)
        np.testing.assert_array_equal(other.predict(scaled), model.predict(scaled))
    engine = linkcast.Engine(backend="tflite", threads=2)
    other = remake(engine)
    assert other.model("internet_lstm").backend == "tflite"
    assert other.forecast("internet", WINDOW).mbps == engine.forecast("internet", WINDOW).mbps
    predictor = linkcast.BandwidthPredictor(profile="datacenter")
    again = remake(predictor)
    assert again.engine is not predictor.engine
    assert again.predict("2026-03-02T18:00", "gaming") == predictor.predict("2026-03-02T18:00", "gaming")
    assert repr(again) == repr(predictor)


def test_a_pickled_engine_finds_its_folder_from_anywhere(tmp_path: Path, bundle: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(bundle.parent)
    engine = linkcast.Engine(bundle.name)
    model = engine.model("internet_lstm")
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickle.dumps(engine)).names == engine.names
    assert Path(pickle.loads(pickle.dumps(model)).path) == bundle / "models" / Path(model.path).name


def test_pickled_answers_are_the_same(engine: linkcast.Engine) -> None:
    answers = engine.forecast("internet", np.stack([WINDOW, 2 * WINDOW * [1, 1, 1, 0.5]]))
    again = pickle.loads(pickle.dumps(answers))
    np.testing.assert_array_equal(again.mbps, answers.mbps)
    assert (again.sources, again.causes, again.latency_us) == (answers.sources, answers.causes, answers.latency_us)
    assert repr(copy.deepcopy(answers[1])) == repr(answers[1])


def test_other_processes_forecast_with_an_engine_that_they_were_sent(engine: linkcast.Engine) -> None:
    expected = engine.forecast("internet", WINDOW).mbps
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        process, answers = pool.submit(sent.forecast, engine, WINDOW).result()
    assert process != os.getpid()
    np.testing.assert_array_equal(answers.mbps, expected)


def test_joblib_sends_an_engine_to_its_workers(engine: linkcast.Engine) -> None:
    joblib = pytest.importorskip("joblib")
    jobs = [joblib.delayed(sent.forecast)(engine, WINDOW) for _ in range(2)]
    done = joblib.Parallel(n_jobs=2)(jobs)
    assert os.getpid() not in [process for process, _ in done]
    expected = engine.forecast("internet", WINDOW).mbps
    assert all(np.array_equal(answers.mbps, expected) for _, answers in done)


def test_logging_says_what_runs_each_model_and_why(caplog: Any, path: str) -> None:
    caplog.set_level(logging.INFO, "linkcast")
    linkcast.Engine()
    assert any("14 models in" in record.message for record in caplog.records)
    native = [record for record in caplog.records if record.message.startswith("internet_lstm: runs on native")]
    assert [record.levelname for record in native] == ["INFO"]
    caplog.clear()
    linkcast.Model(path, backend="tflite")
    told = [(record.levelname, record.message) for record in caplog.records]
    assert told == [("INFO", f"{path}: runs on tflite: asked for")]


def test_logging_says_when_the_model_stops_answering_and_when_it_is_back(caplog: Any) -> None:
    engine = linkcast.Engine()
    caplog.set_level(logging.INFO, "linkcast")
    for deadline_ms in (None, 1e-6, 1e-6, None, None):
        engine.forecast("internet", WINDOW, deadline_ms)
    told = [(record.levelname, record.message) for record in caplog.records]
    assert told == [
        ("WARNING", "internet_lstm: answered by last, not by the model: deadline"),
        ("INFO", "internet_lstm: the model answers again"),
    ]


def test_logging_is_silent_until_it_is_configured(tmp_path: Path) -> None:
    code = "import linkcast; p = linkcast.BandwidthPredictor(); p.load(); linkcast.Engine(backend='tflite')"
    assert run(sys.executable, "-W", "error", "-c", f"{code}; import sys; sys.stderr = sys.stdout", cwd=tmp_path) == ""


def test_a_reload_is_logged(caplog: Any) -> None:
    predictor = linkcast.BandwidthPredictor()
    caplog.set_level(logging.INFO, "linkcast")
    predictor.load()
    assert any(record.message.startswith("reloaded: ") for record in caplog.records)


class AlarmError(Exception):
    """What the handler of the alarm raises, as Python's own of Ctrl-C raises KeyboardInterrupt."""


@pytest.fixture
def alarm() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("backend", "windows"), [("native", 400_000), ("tflite", 40_000)])
@pytest.mark.parametrize("many", [False, True])
def test_a_signal_ends_a_long_forecast(backend: str, windows: int, many: bool, alarm: None) -> None:
    engine = linkcast.Engine(backend=backend)
    engine.forecast("internet", WINDOW)
    batch = np.broadcast_to(WINDOW, (windows, 10, 4)).copy()
    signal.setitimer(signal.ITIMER_REAL, 0.1)  # in the middle of the call, which takes seconds
    with pytest.raises(AlarmError):
        engine.forecast_many({"internet": batch}) if many else engine.forecast("internet", batch)
    assert engine.stats("internet_lstm")["calls"] == 1  # the call that was ended does not count
    assert engine.forecast("internet", WINDOW).source == "model"


def test_sizes_beyond_all_use_are_refused_with_the_bound(engine: linkcast.Engine, path: str, scaled: Any) -> None:
    model = linkcast.Model(path)
    before = model.predict(scaled)
    for call, text in (
        (lambda: linkcast.RouteChooser(2**62), "paths: expected 1 to 65536, got 4611686018427387904"),
        (lambda: engine.forecaster_pool(threads=300), "threads: expected 1 to 64, got 300"),
        (lambda: engine.forecaster_pool(batch=2**62), "batch: expected at most 16777216, got 4611686018427387904"),
        (lambda: engine.stream("internet", rows=2**62), "rows: expected 1 to 65536, got 4611686018427387904"),
        (lambda: model.batch_input(2**32 + 1), "batch: expected 1 to 16777216, got 4294967297"),
        (lambda: model.batch_input(2**58), "batch: expected 1 to 16777216, got 288230376151711744"),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == text
    np.testing.assert_array_equal(model.predict(scaled), before)


def test_words_and_booleans_are_no_numbers(engine: linkcast.Engine) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(WINDOW, columns=["latency_ms", "bandwidth_mbps", "packet_loss", "reliability"])
    words = frame.assign(bandwidth_mbps=pandas.array(["12.5"] * 10, dtype="string"))
    for window in (
        words,
        frame.assign(bandwidth_mbps=["12.5"] * 10),
        frame.assign(reliability=True),
        frame.assign(reliability=pandas.array([True] * 10, dtype="boolean")),
        WINDOW.astype(str),
        WINDOW > 0,
    ):
        with pytest.raises(ValueError, match="expected plain numbers, got"):
            engine.forecast("internet", window)
    for call in (
        lambda: engine.plausible("internet", ["12.5"]),
        lambda: linkcast.RouteChooser(2).choose([True, False]),
        lambda: linkcast.Scaler(["0"], ["1"]),
        lambda: engine.scaler("internet_lstm").transform(WINDOW > 0),
        lambda: trace_from_arrays(WINDOW.astype(str)),
        lambda: linkcast.BandwidthPredictor().evaluate(WINDOW[None], ["12.5"]),
    ):
        with pytest.raises(ValueError, match="expected plain numbers, got"):
            call()
    stream = engine.stream("internet")
    with pytest.raises(ValueError, match=r"present: expected \(1,\) booleans, got values of type <U5"):
        stream.push(WINDOW[0], present=["False"])
    assert stream.ticks == 0


def test_a_range_of_a_thousand_years_is_refused() -> None:
    with pytest.raises(ValueError, match="range: expected at most 200,000 times, got 8,765,833"):
        linkcast.BandwidthPredictor().generate_time_series_predictions("1900-01-01", "2900-01-01")
