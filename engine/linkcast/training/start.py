"""The one door to TensorFlow: what has to be set before it is imported, and its start-up lines out of the terminal.

`from linkcast.training.start import tf, tf_keras` imports it; importing this module does not.

Only the legacy Keras (tf-keras) converts an LSTM to TensorFlow Lite's fused UNIDIRECTIONAL_SEQUENCE_LSTM, so the
variable that selects it is set before TensorFlow is imported.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from linkcast.extras import install

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

__all__ = ["check_installed", "keras", "layers", "quiet", "tf", "tf_keras"]

NEEDED = ("tensorflow", "tf_keras", "gymnasium", "jsonschema")

# Written by C++ to file descriptor 2 before a log level is read: about the machine, never about the work.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|I\d{4} \d\d:\d\d|\d{4}-\d\d-\d\d [\d:.]+: I "  # glog's information, new and old
    rb"|[EW]\d{4} \d\d:.*(cuda|cu[A-Z]+|gpu|GPU|oneDNN|TensorRT|computation placer|MLIR V1 optimization)"
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [EW] .*(cuda|cu[A-Z]+|gpu|GPU|oneDNN|TensorRT|TF-TRT)"
    rb"|To enable the following instructions: "
    rb"|INFO: (Created TensorFlow Lite|Initialized TensorFlow Lite|Applying \d+ TensorFlow Lite)"
    rb"|W\d{4} \d\d:.*tf_tfl_flatbuffer_helpers"
)


def check_installed(*packages: str) -> None:
    """Finds what training needs, or these packages of it, and imports none of it.

    Raises:
        ImportError: the train extra is not installed.
    """
    for name in packages or NEEDED:
        if find_spec(name) is None:
            raise ImportError(f"training needs {name}: {install('train')}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps TensorFlow's start-up lines, which its C++ writes to file descriptor 2, out of the terminal.

    What else is written there meanwhile comes out at the end, unchanged and in its order; all of it where the block
    fails: an import that dies has said why.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # there is no standard error to keep anything from
        yield
        return
    with tempfile.TemporaryFile() as said:
        _flush()
        os.dup2(said.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            _flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            said.seek(0)
            lines = said.read().splitlines(keepends=True)
            _write(b"".join(line for line in lines if failed or not _CHATTER.match(line)))


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _write(text: bytes) -> None:
    while text:
        text = text[os.write(2, text) :]


def __getattr__(name: str) -> Any:
    if name not in ("keras", "layers", "tf", "tf_keras"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its rounding differs with the machine
    warnings.filterwarnings("ignore", message="(?s).*tf.lite.Interpreter is deprecated", category=UserWarning)
    with quiet():
        import keras
        import tensorflow
        import tf_keras
    globals().update(keras=keras, layers=tf_keras.layers, tf=tensorflow, tf_keras=tf_keras)
    return globals()[name]
