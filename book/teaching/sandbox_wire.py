"""What passes between the grader and the process that runs a student's code: JSON, and the bytes of arrays.

Both sides use this module, and the grader believes nothing that the other side says. There is no pickle and no code in
a message: a number comes as a number, an array as its type, shape and bytes, a function as a number that stands for it,
a Keras model as its configuration and its weights. A configuration may name only what `_class` below lets through,
and is read in Keras' safe mode.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import re
import select
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Broken", "Decoder", "Encoder", "Late", "Unsuitable", "receive", "send"]

LARGEST_MESSAGE = 256 * 2**20  # bytes
DEEPEST = 30
_KINDS = "biufcU"
_PLAIN_DTYPE = re.compile(rf"[<>|=]?[{_KINDS}]\d{{1,5}}")
_HEAD = struct.Struct(">II")


class Broken(Exception):
    """The other side has ended, or says what is no message."""


class Late(Exception):
    """The other side did not answer in time."""


class Unsuitable(Exception):
    """A value that cannot be handed over; the text is a sentence for the student."""


def send(descriptor: int, message: dict, blobs: Sequence[bytes] = (), until: float | None = None) -> None:
    """Write one message: its head, a JSON text, then the bytes of its arrays.

    Parameters
    ----------
    descriptor : int
        The pipe.
    message : dict
        What JSON allows.
    blobs : sequence of bytes
        What `Encoder.blobs` gathered.
    until : float, optional
        The moment of `time.monotonic` until which the other side has to read it.
    """
    text = json.dumps({"message": message, "blobs": [len(blob) for blob in blobs]}).encode()
    if len(text) + sum(map(len, blobs)) > LARGEST_MESSAGE:
        raise Unsuitable(f"The value is larger than {LARGEST_MESSAGE // 2**20} MB, which no question asks for.")
    for part in (_HEAD.pack(len(text), len(blobs)), text, *blobs):
        view = memoryview(part)
        while view:
            _wait(descriptor, select.POLLOUT, until)
            try:
                view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]
            except OSError as error:
                raise Broken("The process has ended.") from error


def receive(descriptor: int, until: float | None = None) -> tuple[dict, list[bytes]]:
    """Read one message; return what was said and the bytes of its arrays.

    Raises
    ------
    Broken
        If the other side has ended, or writes what is no message.
    Late
        If the message is not complete at `until`.
    """
    length, count = _HEAD.unpack(_read(descriptor, _HEAD.size, until))
    if length > LARGEST_MESSAGE:
        raise Broken("The process wrote a message that is too large.")
    try:
        content = json.loads(_read(descriptor, length, until))
        message, sizes = content["message"], content["blobs"]
        fine = isinstance(message, dict) and len(sizes) == count and all(type(size) is int for size in sizes)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Broken("The process wrote what is no message.") from error
    if not fine or any(size < 0 for size in sizes) or length + sum(sizes) > LARGEST_MESSAGE:
        raise Broken("The process wrote what is no message.")
    return message, [_read(descriptor, size, until) for size in sizes]


def _read(descriptor: int, size: int, until: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        _wait(descriptor, select.POLLIN, until)
        part = os.read(descriptor, min(size - len(parts), 2**20))
        if not part:
            raise Broken("The process has ended.")
        parts += part
    return bytes(parts)


def _wait(descriptor: int, event: int, until: float | None) -> None:
    """Wait until the pipe can be read or written."""
    if until is None:
        return
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0, until - time.monotonic()) * 1000):
        raise Late("The process did not answer in time.")


class Encoder:
    """Turn values into JSON and bytes.

    Parameters
    ----------
    keep : callable
        Takes a function and returns the whole number that stands for it on the other side.

    Attributes
    ----------
    blobs : list of bytes
        The bytes of the arrays met so far.
    """

    def __init__(self, keep: Callable[[Callable], int]):
        self.keep, self.blobs = keep, []

    def encode(self, value: Any, depth: int = 0) -> dict:
        """Return the JSON that stands for `value`.

        Raises
        ------
        Unsuitable
            If it is none of numbers, strings, arrays, lists, tuples, dicts, functions and Keras models.
        """
        if depth > DEEPEST:
            raise Unsuitable(f"The value is nested more than {DEEPEST} levels deep.")
        if value is None or value is ... or isinstance(value, bool):
            return {"is": {None: "none", ...: "ellipsis"}.get(value, "bool"), "value": value is True}
        if isinstance(value, (np.ndarray, np.generic)):  # before the numbers: np.float64 is a float, too
            return self._array(value)
        if isinstance(value, int):
            return {"is": "int", "value": hex(value)}
        if isinstance(value, float):
            return {"is": "float", "value": float.hex(value)}
        if isinstance(value, complex):
            return {"is": "complex", "value": [float.hex(value.real), float.hex(value.imag)]}
        if isinstance(value, str):
            return {"is": "str", "value": value}
        if isinstance(value, (list, tuple, range)):
            items = [self.encode(item, depth + 1) for item in value]
            return {"is": "tuple" if isinstance(value, tuple) else "list", "items": items}
        if isinstance(value, dict):
            pairs = [[self.encode(item, depth + 1) for item in pair] for pair in value.items()]
            return {"is": "dict", "pairs": pairs}
        return self._of_keras(value)

    def _array(self, value: np.ndarray | np.generic) -> dict:
        array = np.asarray(value)
        if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and its kin
            array = array.astype("float32")
        if array.dtype.char in "gG":  # long doubles differ between machines
            array = array.astype("float64" if array.dtype.char == "g" else "complex128")
        if array.dtype.kind not in _KINDS:
            raise Unsuitable(f"This is an array of the type {array.dtype}: give numbers, truth values or strings.")
        if array.nbytes > LARGEST_MESSAGE:
            raise Unsuitable(f"The array has {array.nbytes / 2**30:.1f} GB, which no question asks for.")
        self.blobs.append(array.tobytes())
        scalar = isinstance(value, np.generic)
        place = len(self.blobs) - 1
        return {"is": "array", "dtype": array.dtype.str, "shape": array.shape, "blob": place, "scalar": scalar}

    def _of_keras(self, value: Any) -> dict:
        """Encode a model, a tensor, or else a function; Keras is not imported for it: without it there are none."""
        keras = sys.modules.get("keras")
        if keras is not None and not inspect.isclass(value):
            if isinstance(value, keras.Model):
                weights = [self._array(np.asarray(weight)) for weight in value.get_weights()]
                config = keras.saving.serialize_keras_object(value)
                return {"is": "model", "config": json.loads(json.dumps(config)), "weights": weights}
            if isinstance(value, keras.Variable) or (keras.ops.is_tensor(value) and hasattr(value, "shape")):
                return self._array(keras.ops.convert_to_numpy(value))
        if callable(value):
            return {"is": "function", "handle": self.keep(value), "name": str(getattr(value, "__name__", "function"))}
        raise Unsuitable(
            f"This is of the type {type(value).__name__}: give a number, a string, an array, a list, a function "
            "or a Keras model, as the question asks."
        )


class Decoder:
    """Turn JSON and bytes back into values, whatever the other side may have written.

    Parameters
    ----------
    blobs : sequence of bytes
        Came with the message.
    function : callable
        Takes the number and the name of a function, and returns what to call.
    """

    def __init__(self, blobs: Sequence[bytes], function: Callable[[int, str], Callable]):
        self.blobs, self.function = blobs, function

    def decode(self, node: Any) -> Any:
        """Return the value that `node` stands for.

        Raises
        ------
        Broken
            If it stands for none.
        Unsuitable
            If it is a model that names what is not allowed, or cannot be built.
        """
        try:
            return self._decode(node, 0)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
            raise Broken(f"The process handed over what is no value ({type(error).__name__}).") from error

    def _decode(self, node: dict, depth: int) -> Any:
        if depth > DEEPEST + 1:
            raise Broken("The process handed over a value that is nested too deep.")
        match node["is"]:
            case "none":
                return None
            case "ellipsis":
                return ...
            case "bool":
                return node["value"] is True
            case "int":
                return int(str(node["value"]), 16)
            case "float":
                return float.fromhex(node["value"])
            case "complex":
                return complex(*map(float.fromhex, node["value"]))
            case "str":
                return str(node["value"])
            case "list" | "tuple" as kind:
                items = [self._decode(item, depth + 1) for item in node["items"]]
                return items if kind == "list" else tuple(items)
            case "dict":
                return {self._decode(key, depth + 1): self._decode(item, depth + 1) for key, item in node["pairs"]}
            case "array":
                return self._array(node)
            case "function":
                return self.function(int(node["handle"]), str(node["name"])[:100])
            case "model":
                return _model(node["config"], [self._array(weight) for weight in node["weights"]])
        raise Broken("The process handed over what is no value.")

    def _array(self, node: dict) -> np.ndarray | np.generic:
        name, shape, blob = str(node["dtype"]), [int(length) for length in node["shape"]], self.blobs[node["blob"]]
        if not _PLAIN_DTYPE.fullmatch(name) or any(length < 0 for length in shape):
            raise Broken("The process handed over an array of a forbidden type.")
        dtype = np.dtype(name)
        if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(blob):
            raise Broken("The process handed over an array whose bytes do not fit its shape.")
        array = np.frombuffer(bytearray(blob), dtype)
        if dtype.kind == "b":
            array = array.view("uint8") != 0  # else a truth value could be neither
        if dtype.kind == "U" and array.size and array.view(f"{dtype.str[0]}u4").max() > sys.maxunicode:
            raise Broken("The process handed over a string with characters that do not exist.")
        array = array.reshape(shape)
        return array[()] if node.get("scalar") else array


def _model(config: Any, weights: list[np.ndarray]) -> Any:
    """Build a Keras model from a configuration that nobody vouches for."""
    import keras

    safe = _checked(config)
    try:
        model = keras.saving.deserialize_keras_object(safe, safe_mode=True)
        if weights:
            model.set_weights(weights)
    except Exception as error:  # Keras raises many kinds
        raise Unsuitable(f"The model cannot be built again from its configuration ({type(error).__name__}).") from error
    if not isinstance(model, keras.Model):
        raise Unsuitable("This is no Keras model.")
    return model


def _checked(node: Any, depth: int = 0) -> Any:
    """Return a copy of a configuration in which every class was looked up here, and nothing says how to compile."""
    if depth > 100:
        raise Unsuitable("The model is nested too deep.")
    if isinstance(node, list):
        return [_checked(item, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    copied = {key: _checked(item, depth + 1) for key, item in node.items() if key != "compile_config"}
    if "class_name" not in node:
        return copied
    name, module = node["class_name"], node.get("module")
    if name in ("__keras_tensor__", "__ellipsis__", "__slice__"):
        return copied
    if name == "function":
        return _activation(node.get("config"))
    registered = _class(module, name)
    return copied | {"registered_name": registered}


def _activation(name: Any) -> str:
    """Let the name of one of Keras' activations pass; layers look it up among these alone."""
    import keras

    if not isinstance(name, str) or not inspect.isfunction(getattr(keras.activations, name, None)):
        raise Unsuitable(f"The model uses the function {str(name)[:80]!r}; take one of keras.activations, or a layer.")
    return name


_PUBLIC = {
    "keras": ("Sequential", "DTypePolicy"),
    "keras.models": ("Sequential", "Functional"),
    "keras.src.models.functional": ("Functional",),
}
# in which modules of Keras those classes live that a public module may give
_HOMES = {
    "keras.layers": re.compile(
        r"keras\.src\.layers\.(activations|attention|convolutional|core|merging|normalization|pooling|regularization|"
        r"reshaping|rnn|preprocessing\.(image_preprocessing|normalization|rescaling))\b.*"
    ),
    "keras.initializers": re.compile(r"keras\.src\.initializers\..*"),
    "keras.regularizers": re.compile(r"keras\.src\.regularizers\..*"),
    "keras.constraints": re.compile(r"keras\.src\.constraints\..*"),
} | {
    f"keras.src.ops.{part}": re.compile(rf"keras\.src\.ops\.{part}")
    for part in ("core", "linalg", "math", "nn", "numpy")
}
_COURSE = ("helpers.layers", "helpers.augment", "helpers.backbones")


def _class(module: Any, name: Any) -> str | None:
    """Return the name under which a class is registered (None for Keras' own); refuse all but layers and their parts.

    Of Keras' layers those stay out that call a given function or read a file: `Lambda`, wrappers of other libraries'
    modules, and the tables of `StringLookup` and its kin.
    """
    import keras

    kind = str(name)[:80]
    if not isinstance(module, str) or not isinstance(name, str) or name.startswith("_"):
        raise Unsuitable(f"The model has a part of the kind {kind!r}, which cannot be graded: use Keras' own layers.")
    if name in _PUBLIC.get(module, ()):
        return None
    home = _HOMES.get(module, re.compile(re.escape(module)) if module in _COURSE else None)
    found = getattr(importlib.import_module(module), name, None) if home else None
    if not inspect.isclass(found) or name == "Lambda" or not home.fullmatch(found.__module__):
        raise Unsuitable(f"The model has a part of the kind {kind!r}, which cannot be graded: use Keras' own layers.")
    return keras.saving.get_registered_name(found) if module in _COURSE else None
