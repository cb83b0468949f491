"""What an ablation says of forecasters whose inputs are known to matter, or not to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from linkcast.features import CALENDAR, FEATURES, TELEMETRY, calendar_features
from linkcast.training.ablation import ablate
from linkcast.training.datasets import windows_of_rows


@pytest.fixture(scope="module")
def part():
    """Hourly windows of a link whose bandwidth follows the hour of the day, with noise that persists."""
    rng = np.random.default_rng(0)
    seconds = 3600 * np.arange(3000)
    series = rng.random((3000, 8))
    level = 5.0 + 2.0 * np.sin(2 * np.pi * (seconds % 86_400) / 86_400)
    noise = np.zeros(3000)
    for row in range(1, 3000):
        noise[row] = 0.9 * noise[row - 1] + rng.normal(0.0, 0.2)
    series[:, 1] = level + noise
    series[:, 4:] = calendar_features(seconds)
    return windows_of_rows(series, seconds, [slice(0, 3000)], 10)


def persistence(part):
    return part.windows[:, -1, 1]


def by_the_hour(part):
    """The next hour's usual level, from the last step's hour as the calendar tells it: sin(a + 15 degrees)."""
    sine, cosine = part.windows[:, -1, 4], part.windows[:, -1, 5]
    step = 2 * np.pi / 24
    return 5.0 + 2.0 * (sine * np.cos(step) + cosine * np.sin(step))


def both(part):
    """The usual level, and most of the last sample's deviation from its own."""
    return by_the_hour(part) + 0.9 * (persistence(part) - (5.0 + 2.0 * part.windows[:, -1, 4]))


def test_a_forecaster_that_reads_both_needs_both(part):
    result = ablate(both, part, FEATURES)
    mae = result["mae"]
    # By the construction of the series: the noise's innovation alone is left, of mean size 0.2 sqrt(2 / pi).
    assert mae["intact"] == pytest.approx(0.2 * np.sqrt(2 / np.pi), rel=0.05)
    assert min(mae["calendar"], mae["telemetry"], mae["course"]) > 2 * mae["intact"]
    assert "both matter" in result["verdict"]
    assert result["samples"] == len(part)


@pytest.mark.parametrize(
    ("forecast", "names", "matters"), [(persistence, "calendar", "telemetry"), (by_the_hour, "telemetry", "calendar")]
)
def test_what_a_forecaster_does_not_read_does_not_matter(part, forecast, names, matters):
    result = ablate(forecast, part, FEATURES)
    assert result["mae"][names] == result["mae"]["intact"]
    assert result["mae"][matters] > result["mae"]["intact"]
    assert f"Only the {matters} matters" in result["verdict"]


def test_the_level_without_the_course_is_the_windows_mean(part):
    result = ablate(persistence, part, FEATURES)
    expected = np.mean(np.abs(part.windows[:, :, 1].mean(axis=1) - part.targets))
    assert result["mae"]["course"] == pytest.approx(expected, rel=1e-12)


def test_columns_go_by_their_names(part):
    order = [*CALENDAR, *TELEMETRY]
    turned = replace(part, windows=part.windows[:, :, [FEATURES.index(name) for name in order]])
    result = ablate(lambda one: one.windows[:, -1, 5], turned, order)
    assert result["mae"] == ablate(persistence, part, FEATURES)["mae"]


def test_the_windows_themselves_stay_as_they_are(part):
    before = part.windows.copy()
    ablate(both, part, FEATURES)
    np.testing.assert_array_equal(part.windows, before)
