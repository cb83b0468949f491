"""Training: data, networks, the allocation environment, and the bundle that comes out.

Needs the `train` extra (TensorFlow, tf-keras, gymnasium, jsonschema); importing this package alone loads none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkcast.extras import install

if TYPE_CHECKING:
    from linkcast.training.pipeline import TrainingResult, run

__all__ = ["TrainingResult", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'linkcast.training' has no attribute {name!r}")
    try:
        from linkcast.training import pipeline
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("linkcast"):
            raise
        raise ImportError(f"training needs {error.name}: {install('train')}") from error
    return getattr(pipeline, name)
