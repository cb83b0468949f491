"""Windows whose steps are left out in part by a Masking layer: the native kernels against Keras."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import linkcast

pytest.importorskip("tensorflow", reason="TensorFlow is needed to build the models")
import make_models
import masked_models
from built_models import built, tflite_answers, windows, with_float_weights
from test_delegate import isas

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-6
NORMALISED_TOLERANCE = 5e-6  # as in test_delegate


def gappy(name: str, count: int) -> Floats:
    """Random windows with gaps. The first is whole, the second has no step; the third lacks its last steps alone, the
    fourth its first ones."""
    given = windows(built(name), count)
    value = masked_models.MASK_VALUES.get(name, 0.0)
    missing = np.random.default_rng(4).random(given.shape[:2]) < 0.4
    missing[0], missing[1], missing[2], missing[3] = False, True, False, False
    missing[2, -3:] = missing[3, :4] = True
    given[missing] = value
    given[4, 5, 1:] = value  # one feature that differs is enough; of one feature, this step is out
    return given


@functools.cache
def keras_model(name: str) -> Any:
    return make_models.MODELS[name](built(name).with_name("again.tflite"))


@pytest.mark.parametrize("name", sorted(masked_models.MASKED))
def test_gaps_are_left_out_as_keras_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = gappy(name, 42)
    reference = with_float_weights(built(name)) if name.endswith("dynamic_range") else built(name)
    expected = tflite_answers(reference, given)
    if reference == built(name):  # TensorFlow Lite itself does as Keras does
        np.testing.assert_allclose(np.asarray(keras_model(name)(given)), expected, rtol=0, atol=1e-5)
    whole = tflite_answers(reference, windows(built(name), 42))
    assert np.abs(expected - whole)[1:].max() > 1e-3  # the gaps are seen
    allowed = NORMALISED_TOLERANCE if name == "masking_gru_while" else TOLERANCE
    for isa in isas():
        monkeypatch.setenv("LINKCAST_ISA", isa)
        model = linkcast.Model(built(name), backend="native")
        for batch in (1, 7, 42):
            answers = np.concatenate([model.predict(given[row : row + batch]) for row in range(0, 42, batch)])
            np.testing.assert_allclose(answers, expected, rtol=0, atol=allowed, err_msg=f"{isa}, batch {batch}")


def test_a_window_without_a_gap_between_others_is_the_same_bit_for_bit() -> None:
    # Windows with gaps are computed alone: what stands beside them does not matter.
    model = linkcast.Model(built("masking"), backend="native")
    given = gappy("masking", 20)
    together = model.predict(given)
    np.testing.assert_array_equal(model.predict(given[::-1])[::-1], together)
    single = np.concatenate([model.predict(window) for window in given])
    np.testing.assert_allclose(single, together, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("masked_backwards_sequence", "read newest step first under a mask, and given with the steps that it leaves"),
        ("masked_other_steps", "leaves out other steps by its mask"),
    ],
)
def test_where_a_mask_is_another_one_the_runtime_runs_it_and_says_why(name: str, said: str) -> None:
    model = linkcast.Model(built(name))
    assert (model.backend, said in model.backend_reason) == ("tflite", True), model.backend_reason
    given = gappy(name, 12)
    np.testing.assert_allclose(model.predict(given), np.asarray(keras_model(name)(given)), rtol=0, atol=1e-5)
