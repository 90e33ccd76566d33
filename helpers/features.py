"""From images to features: one forward pass, in batches."""

from __future__ import annotations

import keras
import numpy as np

__all__ = ["forward"]


def forward(model, inputs, batch_size: int = 256) -> np.ndarray:
    """Return what a model makes of its inputs, in inference mode, as a NumPy array.

    Unlike ``model.predict`` it compiles nothing, which for a small network and one pass is faster.

    Parameters
    ----------
    model : keras.Model
        An encoder, or a decoder, or any layer.
    inputs : array_like of float, shape (n, ...)
    batch_size : int
        Inputs per step; it bounds the memory that the network's layers need.

    Returns
    -------
    ndarray of float32, shape (n, ...)

    Raises
    ------
    ValueError
        If there are no inputs.
    """
    if len(inputs) == 0:
        raise ValueError("There are no inputs: give at least one row.")
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    # each batch leaves the device, and its graph with it, before the next one enters
    outputs = [
        keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(batch, "float32"), training=False))
        for batch in batches
    ]
    return np.concatenate(outputs).astype(np.float32, copy=False)
