"""The child of mutate_models.try_files: opens the files of a list, one after the other, and says how each went.

One line of JSON for each file. A file that takes too long ends this process by SIGPROF or SIGALRM; one that makes it
crash ends it in its own way. What loads is run and compared with TensorFlow Lite's own kernels, without any delegate,
on the same file: those are reached through the C interface of the library that linkcast itself uses.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import linkcast

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-4
"""Of float weights, in units of max(1, largest input, answer): as linkcast's own proof."""
QUANTISED_TOLERANCE = 5e-2
"""TensorFlow Lite rounds activations in front of int8 weights, and XNNPACK rounds them in another way."""


MOST_STEPS = 8
"""Of a quantised output, that XNNPACK's rounding in front of it may lie apart."""
TYPES = {1: np.float32, 3: np.uint8, 7: np.int16, 9: np.int8}
"""The runtime's numbers of the types that may stand at a model's edge."""


class Quantisation(ctypes.Structure):
    _fields_ = [("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]


class Reference:
    """One .tflite file on TensorFlow Lite's own kernels."""

    def __init__(self, library: str) -> None:
        self.c: Any = ctypes.CDLL(library)
        for name in ("ModelCreate", "InterpreterCreate", "InterpreterGetInputTensor", "TensorData"):
            getattr(self.c, f"TfLite{name}").restype = ctypes.c_void_p
        self.c.TfLiteInterpreterGetOutputTensor.restype = ctypes.c_void_p
        self.c.TfLiteTensorByteSize.restype = ctypes.c_size_t
        self.c.TfLiteTensorQuantizationParams.restype = Quantisation

    def stored(self, tensor: ctypes.c_void_p, window: Floats) -> npt.NDArray[Any]:
        """`window` as the input stores it: the nearest whole numbers, halves away from zero, held within the type."""
        kind = TYPES[self.c.TfLiteTensorType(tensor)]
        if kind is np.float32:
            return window
        given = self.c.TfLiteTensorQuantizationParams(tensor)
        with np.errstate(all="ignore"):
            steps = window / np.float32(given.scale)
        nearest = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
        return np.clip(nearest + given.zero_point, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)

    def answer(self, content: bytes, windows: list[Floats]) -> tuple[Floats, Floats]:
        """What the file answers, all outputs one behind the other, and the step between answers (0: float32)."""
        c = self.c
        model = ctypes.c_void_p(c.TfLiteModelCreate(content, ctypes.c_size_t(len(content))))
        interpreter = ctypes.c_void_p(c.TfLiteInterpreterCreate(model, None))
        assert c.TfLiteInterpreterAllocateTensors(interpreter) == 0
        assert c.TfLiteInterpreterGetInputTensorCount(interpreter) == len(windows)
        for n, window in enumerate(windows):
            into = ctypes.c_void_p(c.TfLiteInterpreterGetInputTensor(interpreter, n))
            stored = self.stored(into, window)
            assert c.TfLiteTensorByteSize(into) == stored.nbytes
            ctypes.memmove(c.TfLiteTensorData(into), stored.ctypes.data, stored.nbytes)
        c.TfLiteInterpreterResetVariableTensors(interpreter)
        assert c.TfLiteInterpreterInvoke(interpreter) == 0
        answers, steps = [], []
        for n in range(c.TfLiteInterpreterGetOutputTensorCount(interpreter)):
            out = ctypes.c_void_p(c.TfLiteInterpreterGetOutputTensor(interpreter, n))
            size = c.TfLiteTensorByteSize(out)
            kind = TYPES[c.TfLiteTensorType(out)]
            answer = np.frombuffer(ctypes.string_at(c.TfLiteTensorData(out), size), kind).copy()
            step = 0.0
            if kind is not np.float32:
                given = c.TfLiteTensorQuantizationParams(out)
                step = given.scale
                answer = np.float32(step) * (answer.astype(np.int32) - given.zero_point).astype(np.float32)
            answers.append(answer)
            steps.append(np.full(len(answer), step, np.float32))
        c.TfLiteInterpreterDelete(interpreter)
        c.TfLiteModelDelete(model)
        return np.concatenate(answers), np.concatenate(steps)


def run(model: linkcast.Model, windows: list[Floats]) -> Floats:
    for tensor, window in zip(model.inputs.values(), windows, strict=True):
        tensor[...] = window
    model.invoke()
    return np.concatenate([output.ravel() for output in model.outputs.values()])


def open_one(path: str, backends: tuple[str, ...]) -> dict[str, str]:
    answers: dict[str, Floats] = {}
    windows: list[Floats] = []
    library = ""
    refusal = ""
    for backend in backends:
        try:
            model = linkcast.Model(path, backend=backend)
            library = model.details()["tflite_library"]
            random = np.random.default_rng(7)
            windows = [random.normal(size=tensor.shape).astype(np.float32) for tensor in model.inputs.values()]
            answers[f"{backend} ({model.backend})"] = run(model, windows)
        except linkcast.LoadError as error:
            refusal = str(error)
            if not refusal.startswith(path):
                return {"kind": "differs", "text": f"the error does not name the file: {refusal}"}
            continue
        except RuntimeError as error:  # an invoke that the runtime refuses
            refusal = str(error)
            continue
        except MemoryError:
            return {"kind": "memory", "text": f"MemoryError on {backend}"}
    if not answers:
        return {"kind": "refused", "text": refusal}
    content = Path(path).read_bytes()
    expected, step = Reference(library).answer(content, windows)
    largest = max(1.0, *(float(np.abs(window).max(initial=0)) for window in windows))
    tolerance = QUANTISED_TOLERANCE if has_int8_weights(path) else TOLERANCE
    with np.errstate(all="ignore"):
        for name, answer in answers.items():
            unit = np.maximum(largest, np.abs(expected))
            both_overflow = ~np.isfinite(expected) & ~np.isfinite(answer)
            if (
                answer.shape != expected.shape
                or not (
                    both_overflow | (np.abs(answer - expected) <= np.maximum(tolerance * unit, MOST_STEPS * step))
                ).all()
            ):
                return {"kind": "differs", "text": f"{name}: {answer[:4]}, TensorFlow Lite's own: {expected[:4]}"}
    return {"kind": "same", "text": ", ".join(answers)}


def has_int8_weights(path: str) -> bool:
    """By the name of the undamaged file, which the damaged one's begins with."""
    return any(word in Path(path).name for word in ("dynamic_range", "int8", "uint8", "int16"))


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with open("/proc/self/statm", encoding="ascii") as sizes:
        base = int(sizes.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (base + task["memory"], base + task["memory"]))
    for path in task["files"]:
        signal.setitimer(signal.ITIMER_PROF, task["seconds"])  # of the processor: other processes don't count
        signal.setitimer(signal.ITIMER_REAL, 6 * task["seconds"])  # what waits for ever
        print(json.dumps(open_one(path, ("auto", "tflite"))), flush=True)
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)


if __name__ == "__main__":
    main()
