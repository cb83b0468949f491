"""The latency certificate: what the native program writes, its verdicts, the comparison of two, the page.

Nothing here asks for a time: what is checked is that figures, verdicts and exit statuses belong together.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import subprocess
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

import linkcast
import linkcast.bench
from linkcast.bench import Certificate, measure, read_certificate
from linkcast.bench.compare import change, compare, interval_rank, remarks
from linkcast.bench.page import page
from linkcast.bench.program import program
from linkcast.bench.results import Key

SCHEMA = json.loads((Path(linkcast.bench.__file__).parent / "schema.json").read_text(encoding="utf-8"))
SHORT = ["--seconds", "2", "--rounds", "2", "--only", "ddqn,push,batch100", "--rates", "500,50"]


@pytest.fixture(scope="module")
def measured() -> Certificate:
    """A short run on this machine."""
    return measure(linkcast.Engine.load().folder, *SHORT)


@pytest.fixture
def data(measured):
    """The run's JSON, to be changed."""
    return copy.deepcopy(measured.data)


@pytest.fixture
def bench(run):
    """bench("--from", file) -> (exit status, standard output, standard error)."""
    return partial(run, "bench", columns=140)


def constant(data, us: float, reference_us: float, spread: float = 0.0):
    """The certificate with ten rounds of these medians in every cell, up to `spread` above them."""
    for cell in data["cells"]:
        base = us if cell["contender"] == "linkcast" else reference_us
        cell["rounds"] = {"p50_us": [base * (1 + spread * i / 9) for i in range(10)], "p99_us": [None] * 10}
    return data


def write(folder: Path, name: str, data) -> Path:
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


# What the native program writes.


def test_the_certificate_keeps_its_schema(measured):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(measured.data, SCHEMA)


def test_the_schema_refuses_an_unknown_key(data):
    data["cells"][0]["guess"] = 1
    with pytest.raises(jsonschema.ValidationError, match="guess"):
        jsonschema.validate(data, SCHEMA)


def test_every_workload_is_measured_in_every_way(measured):
    skipped = {(one["workload"], one["rate_hz"], one["hogs"]) for one in measured.data["skipped"]}
    for contender in (measured.cells, measured.references):
        for workload in ("ddqn", "push", "batch100"):
            assert Key(workload, None, False) in contender
            for rate in (500, 50):
                assert Key(workload, rate, False) in contender or (workload, rate, False) in skipped
    assert Key("ddqn", None, True) in measured.cells
    assert Key("empty", 500, False) in measured.cells and Key("empty", 500, True) in measured.cells
    assert "lstm" not in measured.workloads()


def test_rounds_stand_behind_each_cell(measured):
    for cell in measured.data["cells"]:
        assert len(cell["rounds"]["p50_us"]) == 2
    assert {len(cold["first_call_us"]) for cold in measured.data["cold"]} == {2}


def test_percentiles_rise_and_need_samples(measured):
    for cell in measured.data["cells"]:
        for times in (cell["call_us"], cell["tick_us"]):
            if times is None:
                assert cell["rate_hz"] is None
                continue
            known = [times[name] for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max") if times[name] is not None]
            assert known == sorted(known)
            for name, least in (("p90", 10), ("p99", 100), ("p99.9", 1000), ("p99.99", 10000)):
                assert (times[name] is None) == (cell["samples"] < least)
            percents, values = zip(*times["curve"], strict=True)
            assert percents[0] == 0 and percents[-1] == 100
            assert list(percents) == sorted(percents) and list(values) == sorted(values)
            assert values[-1] == times["max"]


def test_an_answer_is_not_there_before_its_call_is_over(measured):
    for cell in measured.data["cells"]:
        if cell["tick_us"] is not None:
            assert cell["tick_us"]["max"] >= cell["call_us"]["max"]


def test_native_calls_allocate_nothing(measured):
    for key in (Key("ddqn", None, False), Key("push", None, False), Key("batch100", None, False)):
        assert measured.cells[key]["allocations"] == 0


def test_hashes_are_those_of_the_files(measured):
    folder = Path(linkcast.Engine.load().folder)
    for name, model in measured.data["models"].items():
        assert model["sha256"] == hashlib.sha256((folder / model["file"]).read_bytes()).hexdigest(), name
    library = (folder / "libtensorflowlite_c.so").read_bytes()
    assert measured.data["program"]["tflite"]["sha256"] == hashlib.sha256(library).hexdigest()


def test_the_machine_is_the_one_that_the_kernel_describes(measured):
    machine = measured.data["machine"]
    assert machine["kernel"] == Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    assert (machine["governor"] is None) == (not governor.exists())
    assert machine["isa"] in machine["supported_isas"]


def test_verdicts_follow_from_the_cells(measured):
    for verdict in measured.verdicts:
        cells = [cell for key, cell in measured.cells.items() if key.workload == verdict["workload"] and not key.hogs]
        percentile = f"p{verdict['percentile']:g}"
        slowest = max(judged(cell["call_us"], percentile) for cell in cells)
        assert verdict["call"]["us"] == slowest
        ticks = [judged(cell["tick_us"], percentile) for cell in cells if cell["tick_us"]]
        assert (verdict["tick"]["us"] if verdict["tick"] else None) == (max(ticks) if ticks else None)
        if verdict["verdict"] == "pass":
            assert max([slowest, *ticks]) < verdict["budget_us"]
        else:
            assert max([slowest, *ticks]) >= verdict["budget_us"]


def judged(times, percentile: str) -> float:
    return times["max"] if times[percentile] is None else times[percentile]


def test_a_board_without_python_gets_a_table_and_the_same_json(tmp_path):
    file = tmp_path / "board.json"
    command = [program(), "--seconds", "1", "--rounds", "2", "--only", "ddqn", "--no-hogs", "--json", file]
    command += ["--second-core", "any"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    certificate = read_certificate(file)
    assert done.returncode == certificate.exit_status
    assert done.stderr == "" or "linkcast-bench" not in done.stderr
    assert "DDQN, one state" in done.stdout and "from the tick" in done.stdout
    assert f"{certificate.verdicts[0]['verdict']:4}  DDQN, one state" in done.stdout
    assert not any(key.hogs for key in certificate.cells)
    said = {name: model["second_core"] for name, model in certificate.data["models"].items()}
    assert re.match("(one|two) cores?: ", said["internet_lstm"])
    assert said["internet_ddqn"] == ""  # an allocator has nothing to share
    assert f"internet_lstm: {said['internet_lstm']}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "guess"], "expected some of lstm, ddqn"),
        (["--seconds", "none"], "expected a positive number"),
        (["--hog-cpus", "1"], "expected two CPUs"),
        (["--guess"], "unknown option"),
        (["--batch", "3"], "no model given"),
        (["--second-core", "none"], 'expected "any" or a CPU that this process may run on'),
        (["--helper-spin", "0"], "expected a positive number"),
        (["--quick", "a.tflite"], "has no meaning with models"),
    ],
)
def test_wrong_usage_is_refused(arguments, said):
    done = subprocess.run([str(program()), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_models_run_beside_tensorflow_lite():
    model = Path(linkcast.Engine.load().folder) / "models" / "internet_ddqn.tflite"
    command = [str(program()), "--iterations", "20", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "tflite" in done.stdout and "float32" in done.stdout and "multiply-adds" in done.stdout


def test_what_reduced_precision_gets_wrong_is_said_and_the_rest_is_timed():
    # 100 states in 0..1: Q-values of internet_ddqn lie 3e-2 apart in bfloat16 where the proof at load allows 2e-2.
    model = Path(linkcast.Engine.load().folder) / "models" / "internet_ddqn.tflite"
    command = [str(program()), "--iterations", "20", "--batch", "100", "--precision", "bfloat16,float32", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert names[:2] == ["us", "tflite"] and names[-1] == "float32"
    refused = re.findall(r"^bfloat16: (?:refused|0\.\d+ from TensorFlow Lite, tolerance 0\.02)", done.stdout, re.M)
    assert ("bfloat16" in names) == (not refused)


def test_two_cores_stand_beside_one():
    model = Path(linkcast.Engine.load().folder) / "models" / "internet_lstm.tflite"
    command = [str(program()), "--iterations", "20", "--second-core", "any", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"^float32: (one|two) cores?: ", done.stdout, re.M)
    assert [line[:17].strip() for line in done.stdout.splitlines()[-2:]] == ["float32", "float32 2 cores"]


# The comparison.


@pytest.mark.parametrize(
    ("m", "n", "confidence", "rank"),
    [  # critical values of U + 1: Mann and Whitney's tables, two-sided
        (10, 10, 0.95, 24),
        (8, 8, 0.95, 14),
        (5, 5, 0.95, 3),
        (4, 6, 0.95, 3),
        (10, 10, 0.99, 17),
        (3, 3, 0.95, 0),
        (1, 1, 0.95, 0),
    ],
)
def test_the_rank_is_that_of_the_tables(m, n, confidence, rank):
    assert interval_rank(m, n, confidence) == rank
    assert interval_rank(n, m, confidence) == rank


def test_the_coverage_is_that_of_scipys_exact_test():
    stats = pytest.importorskip("scipy.stats")
    for m, n in ((6, 6), (10, 10), (7, 12)):
        for confidence in (0.9, 0.95, 0.999):
            rank = interval_rank(m, n, confidence)
            # The interval from the k-th difference leaves out what U <= k - 1 rejects.
            p_value = [
                stats.mannwhitneyu(*sample_with_u(m, n, u), method="exact").pvalue for u in (max(0, rank - 1), rank)
            ]
            assert rank == 0 or p_value[0] <= 1 - confidence
            assert p_value[1] > 1 - confidence


def sample_with_u(m: int, n: int, u: int) -> tuple[list[float], list[float]]:
    """Two samples in which `u` of the m * n pairs have the first one above."""
    first = [-(m - i) for i in range(m)]  # all below the second's 0 .. n - 1
    for i in reversed(range(m)):
        above = min(n, u)
        u -= above
        first[i] = above - 0.5 + 0.01 * i if above else first[i]
    return first, list(range(n))


def test_a_constant_change_is_found_exactly():
    found = change([100.0] * 10, [110.0] * 10, 0.95)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_the_interval_is_made_of_ranked_differences():
    old, new = [1.0, 2.0, 4.0, 8.0, 16.0], [3.0, 6.0, 12.0, 24.0, 48.0]
    found = change(old, new, 0.95)  # ranks 3 and 23 of 25; log2 of the ratios: -4 .. 4, by hand, and log2(3)
    assert found.value == pytest.approx(3 - 1)
    assert found.low == pytest.approx(3 * 2.0**-3 - 1)
    assert found.high == pytest.approx(3 * 2.0**3 - 1)


def test_too_few_rounds_have_no_interval():
    found = change([1.0, 1.0], [9.0, 9.0], 0.95)
    assert (found.low, found.high, found.width) == (None, None, math.inf)
    assert found.value == pytest.approx(8)


def test_one_disturbed_round_changes_nothing():
    calm = [100.0 + i for i in range(10)]
    found = change(calm, [*calm[:9], 100000.0], 0.95)
    assert found.low < 0 < found.high < 0.1
    assert abs(found.value) < 0.02


def test_a_slower_machine_is_not_a_slower_call(data):
    old = Certificate(constant(copy.deepcopy(data), 100, 300, 0.02))
    new = Certificate(constant(copy.deepcopy(data), 130, 390, 0.02))
    for one in compare(old, new):
        assert one.median.low > 0
        if one.ratio is not None:
            assert one.verdict == "same"
            assert one.ratio.value == pytest.approx(0, abs=1e-9)
            assert not one.beyond(0)


def test_a_faster_tensorflow_lite_is_not_a_slower_call(data):
    old = Certificate(constant(copy.deepcopy(data), 100, 300, 0.02))
    new = Certificate(constant(copy.deepcopy(data), 100, 240, 0.02))
    compared = compare(old, new)
    assert any(one.ratio is not None and one.ratio.value > 0.2 for one in compared)
    assert all(one.verdict == "same" for one in compared)


def test_the_narrower_interval_decides(data):
    old, new = constant(copy.deepcopy(data), 100, 300), constant(copy.deepcopy(data), 112, 300)
    for certificate in (old, new):  # rounds in which only TensorFlow Lite is disturbed
        for cell in certificate["cells"]:
            if cell["contender"] == "tflite":
                cell["rounds"]["p50_us"] = [300, 480, 300, 300, 480, 300, 480, 300, 300, 300]
    for one in compare(Certificate(old), Certificate(new)):
        assert one.deciding is one.median
        assert one.beyond(10) and not one.beyond(15)


def test_another_tensorflow_lite_is_no_measure(data):
    old, new = constant(copy.deepcopy(data), 100, 300), constant(copy.deepcopy(data), 100, 200)
    new["program"]["tflite"]["sha256"] = "0" * 64
    compared = compare(Certificate(old), Certificate(new))
    assert all(one.ratio is None and one.verdict == "same" for one in compared)
    assert any("TensorFlow Lite" in remark for remark in remarks(Certificate(old), Certificate(new)))


def test_a_slowdown_is_flagged_where_it_is(data):
    old, new = constant(copy.deepcopy(data), 100, 300, 0.03), constant(copy.deepcopy(data), 100, 300, 0.03)
    for cell in new["cells"]:
        if cell["workload"] == "push" and cell["contender"] == "linkcast":
            cell["rounds"]["p50_us"] = [1.2 * us for us in cell["rounds"]["p50_us"]]
    slower = {one.key.workload for one in compare(Certificate(old), Certificate(new)) if one.beyond(10)}
    assert slower == {"push"}


def test_fail_above_decides_the_exit_status(bench, data, tmp_path):
    old = write(tmp_path, "old.json", constant(copy.deepcopy(data), 100, 300))
    new = write(tmp_path, "new.json", constant(copy.deepcopy(data), 120, 300))
    assert bench("--from", new, "--compare", old, "--fail-above", "15")[0] == 1
    assert bench("--from", new, "--compare", old, "--fail-above", "25")[0] == 0
    assert bench("--from", old, "--compare", new, "--fail-above", "0")[0] == 0
    status, out, _ = bench("--from", new, "--compare", old)
    assert status == 0
    assert "+20.0 % (+20.0 to +20.0)" in out and "slower" in out
    changes = json.loads(bench("--from", new, "--compare", old, "--json")[1])["changes"]
    assert {entry["verdict"] for entry in changes} == {"slower"}


def test_what_is_no_certificate_is_refused(bench, tmp_path):
    file = tmp_path / "other.json"
    file.write_text('{"a": 1}', encoding="utf-8")
    status, _, said = bench("--from", file)
    assert status == 1 and str(file) in said and "expected a latency certificate" in said
    assert bench("--from", tmp_path / "none.json")[0] == 1
    assert bench("--fail-above", "5")[0] == 2


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [(["pass", "pass", "pass"], 0), (["pass", "late", "pass"], 3), (["late", "fail", "pass"], 1)],
)
def test_the_exit_status_is_the_worst_verdict(bench, data, tmp_path, verdicts, status):
    entry = data["verdicts"][0]
    data["verdicts"] = [{**entry, "verdict": verdict} for verdict in verdicts]
    assert bench("--from", write(tmp_path, "board.json", data))[0] == status


# What people see.


def test_tables_hold_the_figures(bench, measured, tmp_path):
    file = write(tmp_path, "board.json", measured.data)
    _, out, _ = bench("--from", file)
    cell = measured.cells[Key("push", None, False)]
    row = next(line for line in out.split("stream, push")[1].splitlines() if line.startswith("back to back "))
    words = row.split()
    assert words[3] == str(cell["samples"])
    assert float(words[4]) == pytest.approx(cell["call_us"]["p50"], rel=0.01)
    for verdict in measured.verdicts:
        assert re.search(rf"{measured.title(verdict['workload'])}\s+{verdict['verdict']}", out)


def test_calls_that_were_measured_in_two_ways_stand_beside_each_other(bench, data, tmp_path):
    for cell in [cell for cell in data["cells"] if cell["workload"] == "push" and cell["contender"] == "linkcast"]:
        for workload, factor in (("push_prepared", 0.25), ("push_ordinary_pages", 1.5)):
            made = copy.deepcopy(cell) | {"workload": workload}
            made["call_us"]["p50"] = factor * cell["call_us"]["p50"]
            data["cells"].append(made)
    data["models"]["internet_lstm"]["second_core"] = "two cores: a window takes 15.9 us, and 19.2 us on one"
    jsonschema.validate(data, SCHEMA)
    out = bench("--from", write(tmp_path, "board.json", data))[1]
    for by, factor in (("without / with prepare", "0.25"), ("huge / ordinary pages", "1.50")):
        rows = [line for line in out.split(by)[1].split("[µs]")[0].splitlines() if line.startswith("stream, push, ")]
        assert [line.split()[2:4] for line in rows if "hogs" not in line] == [["500", "Hz"], ["50", "Hz"]]
        assert all(line.split()[-1] == factor for line in rows)
    assert "internet_lstm: two cores: a window takes 15.9 us" in out
    old = {key: value for key, value in data.items() if key != "variants"}  # a certificate of before
    assert "huge / ordinary" not in bench("--from", write(tmp_path, "old.json", old))[1]


def test_json_is_the_certificate(bench, measured, tmp_path):
    file = write(tmp_path, "board.json", measured.data)
    shown = json.loads(bench("--from", file, "--json")[1])
    assert shown["models"] == measured.data["models"]
    jsonschema.validate(shown, SCHEMA)


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone(measured):
    text = page(measured)
    read = Reader(text)
    assert read.open == []
    names = {tag for tag, _ in read.tags}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not any(name in ("src", "href") for _, attributes in read.tags for name in attributes)
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_has_every_verdict_first(measured):
    read = Reader(page(measured))
    cards = [attributes["class"] for tag, attributes in read.tags if tag == "article"]
    assert cards == [f"card {verdict['verdict']}" for verdict in measured.verdicts]
    assert [tag for tag, _ in read.tags].index("article") < [tag for tag, _ in read.tags].index("svg")
    assert measured.data["models"]["internet_lstm"]["sha256"] in "".join(read.text)


def test_curves_are_drawn_where_their_values_are(measured):
    read = Reader(page(measured))
    lines = [attributes["points"] for tag, attributes in read.tags if tag == "polyline"]
    paced = [key for key in measured.cells if key.rate_hz is not None and key.workload != "empty"]
    assert len(lines) == len(paced) + len({key.workload for key in paced})  # and an empty loop in each chart
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        across, down = zip(*points, strict=True)
        assert list(across) == sorted(across)
        assert list(down) == sorted(down, reverse=True)  # higher percentiles take longer: further up
        assert all(0 <= x <= 420 for x in across) and all(0 <= y <= 250 for y in down)


def test_bars_are_as_long_as_the_logarithm_of_their_value():
    from linkcast.bench.page import Bar, bar_chart

    chart = Reader(bar_chart("t", [Bar("a", 10, 10, "red"), Bar("b", 100, 100, "red"), Bar("c", 1000, 1000, "red")]))
    widths = [float(attributes["width"]) for tag, attributes in chart.tags if tag == "rect"]
    assert widths[1] - widths[0] == pytest.approx(widths[2] - widths[1], abs=0.2)
    assert "".join(chart.text).count("100 µs") == 2  # the value, and a mark of the axis


def test_text_from_a_certificate_is_escaped(data):
    data["machine"]["processor"] = "<b>fast</b>"
    assert "<b>fast" not in page(Certificate(data))


def test_an_html_file_is_written(bench, measured, tmp_path):
    html = tmp_path / "page.html"
    bench("--from", write(tmp_path, "board.json", measured.data), "--html", html)
    assert html.read_text(encoding="utf-8") == page(measured)


def test_the_first_calls_ratio_is_positive_and_finite(measured):
    for key in measured.cells:
        ratio = measured.ratio(key)
        assert ratio is None or (math.isfinite(ratio) and ratio > 0)
