"""A Keras model as a .tflite file of batch 1, whichever Keras saved it and whatever batch it has.

Only the legacy Keras writes an LSTM as TensorFlow Lite's one fused operator, and only at a fixed batch; Keras 3 writes
a loop, and an unknown batch needs operators that TensorFlow Lite has not. So a model is built again at batch 1 with the
legacy Keras, layer by layer, from its own description and weights. Where that can't be done (a layer of one's own, one
that only Keras 3 has) it is converted as it is, at batch 1. What comes out is compared with the model itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcast import _native
from linkcast.training.keras_file import saved_by
from linkcast.training.rebuild import is_legacy, twin
from linkcast.training.start import keras, quiet, tf, tf_keras

SAMPLES = 32  # random windows that both are asked
TOLERANCE = 1e-4  # of the largest answer: float32 sums in another order stay far below


@dataclass(frozen=True)
class Conversion:
    """A converted model, and how it compares with the one it was made of."""

    content: bytes  # the .tflite file
    rebuilt: bool  # with the legacy Keras; or converted as it is
    notes: tuple[str, ...]  # what is not as it was
    samples: int
    difference: float  # the largest, of the model's own answers
    largest: float  # answer, in absolute value


def convert_file(path: str | os.PathLike[str]) -> Conversion:
    """Converts a Keras file, and compares both on random inputs of standard normal numbers.

    Args:
        path: .keras or .h5, saved by Keras 3 or by the legacy Keras.
    Raises:
        ValueError: the file is no Keras model, or one that TensorFlow Lite or linkcast has no form for; in a sentence.
        OSError: it cannot be read.
    """
    file = Path(path)
    model = load(file)
    shape = _shape_of(model, file)
    notes = []
    if None in model.inputs[0].shape[:1]:
        notes.append("the batch was unknown, and is 1 now")
    if any(getattr(layer, "stateful", False) for layer in _layers(model)):
        notes.append("it was stateful; here every window starts from zero state")
    inputs = np.random.default_rng(0).standard_normal((SAMPLES, *shape)).astype(np.float32)
    expected = _answers(model, inputs)
    reasons = []
    for rebuild in (True, False):
        try:
            content = _converted(twin(model) if rebuild else model, shape)
            found = _run(content, inputs)
        except Exception as error:  # whatever Keras, the converter or the engine has against it: the last way may do
            reasons.append(_sentence(error))
            continue
        difference, largest = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        if difference <= TOLERANCE * max(largest, 1.0):
            return Conversion(content, rebuild, tuple(notes), SAMPLES, difference, largest)
        reasons.append(f"its answers would differ by {difference:.3g} from Keras' own")
    raise ValueError(f"{file.name}: has no form that linkcast runs: {reasons[-1]}")


def load(path: Path) -> Any:
    """The Keras model in a file, loaded by the Keras that saved it.

    Raises:
        ValueError: it is none.
        OSError: it cannot be read.
    """
    library = keras if saved_by(path) >= 3 else tf_keras
    try:
        with quiet():
            return library.models.load_model(path, compile=False)
    except Exception as error:  # each layer has its own ways to fail
        raise ValueError(f"{path.name}: Keras can't load it: {_sentence(error)}") from error


def _shape_of(model: Any, file: Path) -> tuple[int, ...]:
    """The input's shape behind the batch."""
    if not getattr(model, "inputs", None):
        raise ValueError(f"{file.name}: expected a model that knows its input, got one without keras.Input")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"{file.name}: expected one input and one output, got {len(model.inputs)} and {len(model.outputs)}"
        )
    whole = tuple(model.inputs[0].shape)
    if None in whole[1:]:
        raise ValueError(
            f"{file.name}: expected an input whose shape is known but for the batch, got {whole}; a window has a fixed "
            "number of steps: keras.Input(batch_shape=(1, STEPS, FEATURES))"
        )
    return tuple(int(size) for size in whole[1:])


def _layers(model: Any) -> Iterator[Any]:
    """Every layer, those inside of others too."""
    for layer in getattr(model, "layers", []):
        yield layer
        yield from _layers(layer)


def _answers(model: Any, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keras' own, each from zero state: (n, ...)."""
    if model.inputs[0].shape[0] is None:
        return np.asarray(model(inputs, training=False), np.float32)
    rows = []
    for row in range(len(inputs)):
        for layer in _layers(model):
            reset = getattr(layer, "reset_states" if is_legacy(model) else "reset_state", None)
            if reset is not None and getattr(layer, "stateful", False):
                reset()
        rows.append(np.asarray(model(inputs[row : row + 1], training=False), np.float32))
    return np.concatenate(rows)


def _converted(model: Any, shape: tuple[int, ...]) -> bytes:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec((1, *shape), tf.float32)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    with quiet():
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()
    return content


@contextmanager
def as_model(content: bytes) -> Iterator[_native.Model]:
    """The converted model as the engine runs it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        yield _native.Model(path)


def _run(content: bytes, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with as_model(content) as model:
        return model.predict(inputs)


def _sentence(error: Exception) -> str:
    """What an error says, up to the end of its first sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, _native.LoadError):
        text = text.partition(".tflite: ")[2] or text
    end = text.find(". ")
    return text[:end] if 0 < end < 300 else text[:300]
