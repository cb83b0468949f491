"""A file that Keras saved: which Keras did. Loads no TensorFlow."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path


def saved_by(path: Path) -> int:
    """The major version of the Keras that saved a file.

    Raises:
        ValueError: Keras has not, or only weights.
        OSError: it cannot be read.
    """
    import h5py

    with path.open("rb"):  # an error of the system's, not of h5py's
        pass

    expected = f"{path.name}: expected a model that Keras saved as .keras or .h5"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                raise ValueError(f"{expected}, got another zip archive")
            version = json.loads(archive.read("metadata.json"))["keras_version"]
    elif h5py.is_hdf5(path):
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise ValueError(f"{expected}, got a file of weights without the model: save it with model.save()")
            version = file.attrs.get("keras_version", "2")
    else:
        raise ValueError(f"{expected}, got another kind of file")
    text = version.decode() if isinstance(version, bytes) else str(version)
    return int(text.partition(".")[0])
