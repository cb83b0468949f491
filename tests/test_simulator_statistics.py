"""The simulator's statistics: beside the real traces, and with each of its parts switched off, where they must fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linkcast import baselines, metrics, simulation
from linkcast.simulation import LinkProfile, at_noise

DATA = Path(os.environ.get("LINKCAST_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))
ROWS = 1_000
INTERNET = replace(simulation.PROFILES["internet"], noise=(0.5, 1.5))  # about level 1, where it is meant to look real


def autocorrelation(values: np.ndarray, lag: int) -> float:
    centred = values - values.mean()
    return float(np.mean(centred[lag:] * centred[:-lag]) / np.mean(np.square(centred)))


def hurst(values: np.ndarray, sizes: tuple[int, ...] = (8, 16, 32, 64, 128)) -> float:
    """Slope of detrended fluctuation analysis (Peng et al. 1994): H of stationary noise, above 1 for what wanders."""
    profile = np.cumsum(values - values.mean())
    fluctuation = []
    for size in sizes:
        boxes = profile[: len(profile) // size * size].reshape(-1, size)
        time = np.arange(size) - (size - 1) / 2.0
        slope = boxes @ time / np.square(time).sum()
        rest = boxes - boxes.mean(axis=1, keepdims=True) - slope[:, None] * time
        fluctuation.append(np.sqrt(np.mean(np.square(rest))))
    return float(np.polyfit(np.log(sizes), np.log(fluctuation), 1)[0])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, ties broken by order."""
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_the_estimators_give_what_is_known():
    rng = np.random.default_rng(0)
    for exponent in (0.5, 0.7, 0.9):
        noise = simulation.noise.fractional_gaussian_noise(rng, np.full(50, exponent), 1_000)
        assert np.mean([hurst(row) for row in noise]) == pytest.approx(exponent, abs=0.06)  # bias of short boxes
    assert autocorrelation(np.tile([1.0, -1.0], 500), 1) == pytest.approx(-1.0)
    assert rank_correlation(np.arange(10.0), np.exp(np.arange(10.0))) == pytest.approx(1.0)


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    # of (rows, 4) telemetry
    "spread of the log-bandwidth": lambda rows: np.log(rows[:, 1] + 0.01).std(),
    "spread of its changes": lambda rows: np.diff(np.log(rows[:, 1] + 0.01)).std(),
    "share that stays within 10 %": lambda rows: np.mean(np.abs(np.diff(rows[:, 1])) <= 0.1 * rows[1:, 1]),
    "autocorrelation, lag 1": lambda rows: autocorrelation(rows[:, 1], 1),
    "autocorrelation, lag 5": lambda rows: autocorrelation(rows[:, 1], 5),
    "autocorrelation, lag 30": lambda rows: autocorrelation(rows[:, 1], 30),
    "Hurst": lambda rows: hurst(rows[:, 1]),
    "latency, 95th percentile over median": lambda rows: np.percentile(rows[:, 0], 95) / np.median(rows[:, 0]),
    "latency, autocorrelation, lag 1": lambda rows: autocorrelation(rows[:, 0], 1),
    "bandwidth with latency": lambda rows: rank_correlation(rows[:, 1], rows[:, 0]),
    "latency with loss": lambda rows: np.corrcoef(rows[:, 0], rows[:, 2])[0, 1] if rows[:, 2].any() else 0.0,
    "share of steps that lose 2 % or more": lambda rows: np.mean(rows[:, 2] >= 0.02),
}
BANDWIDTH_ONLY = tuple(STATISTICS)[:7]


def statistics(traces: list[np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: np.array([STATISTICS[name](rows) for rows in traces]) for name in names}


@pytest.fixture(scope="module")
def simulated() -> dict[str, np.ndarray]:
    traces = simulation.simulate_link(INTERNET, 150, ROWS, 1)
    return statistics(list(traces.features), tuple(STATISTICS))


def real_webrtc() -> list[np.ndarray]:
    file = DATA / "webrtc_video_1hz" / "dev.parquet"
    if not file.is_file():
        pytest.skip(f"no {file}")
    frame = pytest.importorskip("pandas").read_parquet(file)
    columns = ["latency_ms", "bandwidth_mbps", "packet_loss", "reliability"]
    groups = (group[columns].to_numpy(float) for _, group in frame.groupby(["provider", "trace"]))
    return [rows[:ROWS] for rows in groups if len(rows) >= 400]


def real_ship() -> list[np.ndarray]:
    """Uplink of the ship's 5G modems with continuous traffic; bandwidth alone is used."""
    file = DATA / "modem5g_1hz" / "dev.parquet"
    if not file.is_file():
        pytest.skip(f"no {file}")
    frame = pytest.importorskip("pandas").read_parquet(file)
    frame = frame[frame["modem"].str.endswith("WAVELAB")]
    pieces = []
    for _, group in frame.groupby(["session", "trace"]):
        uplink = group["ul_mbps"].to_numpy(float)
        for start in range(0, len(uplink) - ROWS, 4 * ROWS):
            rows = np.zeros((ROWS, 4))
            rows[:, 1] = uplink[start : start + ROWS]
            if rows[:, 1].min() > 0.1:  # without outages, which are no fluctuation
                pieces.append(rows)
    return pieces


def check_real_lies_within(simulated: dict[str, np.ndarray], real: dict[str, np.ndarray], least: float) -> None:
    """The median real trace lies inside the simulated links' central 95 %, and so do most traces.

    Nothing is fitted, so equality is not claimed: the claim is that most real traces would not stand out among the
    simulated ones. `least` is below 0.95 since 13 or 20 traces of two or three links are no random sample.
    """
    for name, values in real.items():
        low, high = np.percentile(simulated[name], [2.5, 97.5])
        inside = np.mean((values >= low) & (values <= high))
        assert low <= np.median(values) <= high, (name, np.median(values), low, high)
        assert inside >= least, (name, inside, low, high, np.sort(values))


def test_webrtc_traces_would_not_stand_out_among_the_simulated_links(simulated):
    check_real_lies_within(simulated, statistics(real_webrtc(), tuple(STATISTICS)), least=0.65)


def test_ship_uplink_would_not_stand_out_among_the_simulated_links(simulated):
    # Some of these modems report every other second's bytes in the next one: those alternate, which is not simulated.
    check_real_lies_within(simulated, statistics(real_ship(), BANDWIDTH_ONLY), least=0.4)


# Each part below has a check that holds for the profiles as they are, and that must fail when the part is off.

LINKS = 60


def check_self_similar(profile: LinkProfile) -> None:
    """Beside what else varies, the load's own fluctuation has the Hurst exponents that the profile names."""
    alone = replace(
        profile,
        drift=(0.0, 0.0),
        load_switch_sigma=0.0,
        burst_size=(0.0, 0.0),
        capacity_switch_sigma=0.0,
        capacity_fading=(0.0, 0.0),
        measurement_noise=(0.0, 0.0),
        utilisation=(0.1, 0.2),  # the capacity is no limit
        diurnal_amplitude=0.0,
    )
    traces = simulation.simulate_link(at_noise(alone, 0.5), LINKS, ROWS, 2).features
    measured = np.mean([hurst(np.log(rows[:, 1])) for rows in traces])
    # 60 traces of 1,000 rows: standard error 0.01; detrended fluctuation analysis on short boxes reads up to 0.05 high.
    assert 0.8 - 0.03 <= measured <= 0.95 + 0.05, measured


def check_queue(profile: LinkProfile) -> None:
    """The round-trip time of a full link is a queue's: far above that of links with room."""
    traces = simulation.simulate_link(replace(profile, utilisation=(0.6, 1.2)), LINKS, ROWS, 3)
    load = traces.offered_mbps / traces.capacity_mbps
    latency = traces.features[:, :, 0]
    ratio = np.median(latency[load > 1.0]) / np.median(latency[load < 0.8])
    assert ratio > 2.5, ratio  # a full buffer over the largest idle latency is at least 300 ms / 90 ms


def check_loss_comes_in_runs(profile: LinkProfile) -> None:
    """Where nothing overflows there still is loss, and a lossy step is likely to be followed by another one."""
    calm = replace(profile, utilisation=(0.1, 0.2), capacity_mbps=(100.0, 10_000.0))
    loss = simulation.simulate_link(at_noise(calm, 0.1), LINKS, 10 * ROWS, 4).features[:, :, 2]
    lossy = loss > 0.1 * profile.bad_loss
    share = lossy.mean()
    assert share > 1e-4
    assert lossy[:, 1:][lossy[:, :-1]].mean() > 20.0 * share  # independent losses would give 1.0 * share


@pytest.mark.parametrize("profile", simulation.PROFILES.values(), ids=simulation.PROFILES)
@pytest.mark.parametrize(
    ("check", "off"),
    [
        (check_self_similar, {"hurst": (0.5, 0.5)}),
        (check_queue, {"buffer_ms": 0.0, "micro_queue_ms": 0.0}),
        (check_loss_comes_in_runs, {"good_to_bad": 0.0}),
        (check_loss_comes_in_runs, {"bad_to_good": 1.0}),  # losses as frequent at first, but never two in a row
    ],
    ids=["self-similarity", "queue", "loss", "runs of loss"],
)
def test_a_check_holds_and_fails_when_its_part_is_switched_off(profile, check, off):
    check(profile)
    with pytest.raises(AssertionError):
        check(replace(profile, **off))


def test_real_traces_stand_out_when_the_queue_is_switched_off(simulated):
    without = simulation.simulate_link(replace(INTERNET, buffer_ms=0.0, micro_queue_ms=0.0), LINKS, ROWS, 1)
    names = ("latency, 95th percentile over median", "latency, autocorrelation, lag 1")
    with pytest.raises(AssertionError):
        check_real_lies_within(statistics(list(without.features), names), statistics(real_webrtc(), names), least=0.65)


# The noise level that stands beside every accuracy.


def naive_scores(profile: str, level: float) -> dict[str, dict[str, float]]:
    traces = simulation.simulate_link(at_noise(profile, level), 200, 40, 5).features
    windows = np.concatenate([traces[:, start : start + 10] for start in range(30)])
    targets = np.concatenate([traces[:, start + 10, 1] for start in range(30)])
    return {name: metrics.summary(forecast(windows), targets) for name, forecast in baselines.BASELINES.items()}


@pytest.mark.parametrize(("profile", "within", "mape"), [("datacenter", 0.98, 2.0), ("internet", 0.70, 10.0)])
def test_design_targets_can_be_reached_at_the_stated_noise_and_persistence_reaches_them_too(profile, within, mape):
    persistence = naive_scores(profile, simulation.TARGET_NOISE[profile])["persistence"]
    assert persistence["within_2_percent"] > within
    assert persistence["mape"] < mape


def test_nothing_reaches_the_internet_target_at_the_noise_of_real_links():
    assert max(scores["within_2_percent"] for scores in naive_scores("internet", 1.0).values()) < 0.15


def test_without_noise_a_link_follows_its_calendar_alone():
    profile = replace(at_noise("internet", 0.0), utilisation=(0.3, 0.5))
    traces = simulation.simulate_link(profile, 5, 200, 6)
    expected = simulation.links.link_calendar(profile, traces.seconds)
    ratio = traces.features[:, :, 1] / expected
    np.testing.assert_allclose(ratio / ratio[:, :1], 1.0, rtol=1e-9)


@pytest.mark.parametrize("level", [-0.1, float("inf"), float("nan")])
def test_a_noise_level_must_be_finite_and_not_negative(level):
    with pytest.raises(ValueError, match="noise level"):
        at_noise("internet", level)


@pytest.mark.parametrize("group", simulation.GROUPS)
def test_a_group_is_the_sum_of_its_applications_and_sites_differ_in_their_mix(group):
    profile = simulation.GROUPS[group]
    shares = [application.share for application in profile.applications]
    assert sum(shares) == pytest.approx(1.0)
    mixes = simulation.groups.site_mixes(np.random.default_rng(0), profile, 4_000)
    np.testing.assert_allclose(mixes.sum(axis=1), 1.0)
    np.testing.assert_allclose(mixes.mean(axis=0), shares, atol=0.02)
    # Dirichlet: variance p (1 - p) / (concentration + 1)
    expected = np.sqrt([share * (1.0 - share) / (simulation.groups.MIX_CONCENTRATION + 1.0) for share in shares])
    np.testing.assert_allclose(mixes.std(axis=0), expected, rtol=0.1)
