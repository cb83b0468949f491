"""A Keras model again, of the legacy Keras' layers and at batch 1: from its own description, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from linkcast.training.start import keras, tf, tf_keras

UNTOUCHED = ("_initializer", "_regularizer", "_constraint")  # of a layer: nothing that an answer depends on


def is_legacy(model: Any) -> bool:
    return isinstance(model, tf_keras.Model)


def twin(model: Any) -> Any:
    """The same network of the legacy Keras' layers, with the model's weights, batch 1 and no state that lasts.

    Args:
        model: of either Keras, Sequential or functional, with one input and one output.
    Raises:
        ValueError, TypeError: it has a layer, or an option of one, that the legacy Keras has not.
    """
    description = model.get_config()
    if not isinstance(description, Mapping) or "layers" not in description:
        raise ValueError(f"expected a Sequential or functional model, got a {type(model).__name__}")
    if is_legacy(model):
        legacy = type(model).from_config(_at_batch_one(description))
        legacy.set_weights(model.get_weights())
        return legacy
    return _rebuilt(model)


def _at_batch_one(description: Any) -> Any:
    """A description of the legacy Keras with every batch 1, no state that lasts and no loop written out."""
    if isinstance(description, (list, tuple)):
        return type(description)(_at_batch_one(entry) for entry in description)
    if not isinstance(description, Mapping):
        return description
    changed = {key: _at_batch_one(value) for key, value in description.items()}
    if changed.get("batch_input_shape"):
        changed["batch_input_shape"] = (1, *changed["batch_input_shape"][1:])
    for option in ("stateful", "unroll"):
        if changed.get(option) is True:
            changed[option] = False
    changed.pop("build_config", None)
    return changed


def _rebuilt(model: Any) -> Any:
    """A Keras 3 model of the legacy Keras' layers, called as the original's are, with its weights."""
    start = tf_keras.Input(batch_shape=(1, *model.inputs[0].shape[1:]), dtype=model.inputs[0].dtype)
    if isinstance(model, keras.Sequential):
        tensor = start
        for layer in model.layers:
            legacy = _layer(layer)
            tensor = legacy(tensor)
            legacy.set_weights(layer.get_weights())
        return tf_keras.Model(start, tensor)
    return tf_keras.Model(start, _wired(model, start))


def _wired(model: Any, start: Any) -> Any:
    """The output of a functional model, node after node from its description."""
    known: dict[tuple[str, int, int], Any] = {}
    twins: dict[str, Any] = {}
    entries = model.get_config()["layers"]
    waiting = [(entry["name"], index, node) for entry in entries for index, node in enumerate(entry["inbound_nodes"])]
    for entry in entries:
        if entry["class_name"] == "InputLayer":
            known[entry["name"], 0, 0] = start
    while waiting:
        later = []
        for name, index, node in waiting:
            if any(tuple(source) not in known for source in _sources(node)):
                later.append((name, index, node))
                continue
            layer = model.get_layer(name)
            fresh = name not in twins
            if fresh:
                twins[name] = _layer(layer)
            told = {key: value for key, value in node["kwargs"].items() if key not in ("training", "mask")}
            output = twins[name](*_filled(node["args"], known), **_filled(told, known))
            if fresh:
                twins[name].set_weights(layer.get_weights())
            for place, tensor in enumerate(tf.nest.flatten(output)):
                known[name, index, place] = tensor
        if len(later) == len(waiting):
            raise ValueError(f"expected layers that lead from the input on, got {later[0][0]}")
        waiting = later
    output = model.outputs[0]._keras_history
    return known[output.operation.name, output.node_index, output.tensor_index]


def _sources(node: Any) -> Iterator[list[Any]]:
    """What a node's arguments stand for: name, node and tensor of the layers before it."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"]
            return
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for entry in node:
        yield from _sources(entry)


def _filled(arguments: Any, known: Mapping[tuple[str, int, int], Any]) -> Any:
    if isinstance(arguments, Mapping):
        if arguments.get("class_name") == "__keras_tensor__":
            return known[tuple(arguments["config"]["keras_history"])]
        return {key: _filled(value, known) for key, value in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return [_filled(entry, known) for entry in arguments]
    return arguments


def _layer(layer: Any) -> Any:
    """The legacy Keras' layer of the same name and options, without weights yet."""
    if isinstance(layer, keras.Model):
        return _rebuilt(layer)
    return _described(type(layer).__name__, layer.get_config())


def _described(kind: str, options: Mapping[str, Any]) -> Any:
    maker = getattr(tf_keras.layers, kind, None)
    if maker is None:
        raise ValueError(f"expected layers that both versions of Keras have, got {kind}")
    chosen = {key: value for key, value in options.items() if not key.endswith(UNTOUCHED)}
    for key, value in chosen.items():
        if key == "dtype" and isinstance(value, Mapping):
            chosen[key] = value["config"]["name"]
        elif isinstance(value, Mapping) and "class_name" in value:
            chosen[key] = _described(value["class_name"], value["config"])
    for option in ("stateful", "unroll"):
        if option in chosen:
            chosen[option] = False
    while True:
        try:
            return maker(**chosen)
        except TypeError as error:  # an option that only Keras 3 has, and that is not in use, can go
            unknown = [key for key, value in chosen.items() if not value and repr(key) in repr(error.args)]
            if not unknown:
                raise
            for key in unknown:
                del chosen[key]
