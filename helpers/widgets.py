"""Live parts of a chapter: a training curve, and sliders with a twin that moves on pages without a kernel."""

from __future__ import annotations

import base64
import io
import itertools
import math
import time
from collections.abc import Callable, Mapping

import ipywidgets
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display
from PIL import Image

from .plots import PALETTE, marker

__all__ = ["STATES", "Explorer", "LiveCurve"]

STATES = "application/vnd.features-without-labels.states+json"  # of the twin: only the book's pages know this type
_MOST_STATES = 125


class LiveCurve(keras.callbacks.Callback):
    """Draw the loss while a model trains, and keep the seconds that training took.

    Parameters
    ----------
    title : str
        What is being trained.
    epochs : int
        The length of the horizontal axis.
    log : bool
        Whether the loss is drawn on a logarithmic axis.

    Attributes
    ----------
    seconds : float
        Of the last call of ``fit``.
    curves : dict of str to list of float
        The loss per epoch, and the validation loss where there is one.

    Examples
    --------
    One curve for several models draws them into one picture::

        live = LiveCurve("autoencoder", epochs=10)
        model.fit(images, images, epochs=10, callbacks=[live.of("bottleneck 32")], verbose=0)
    """

    def __init__(self, title: str, epochs: int, log: bool = False):
        super().__init__()
        self.title, self.epochs, self.log = title, epochs, log
        self.seconds, self.curves, self._name = 0.0, {}, ""
        self._handle, self._drawn, self._waiting = None, time.perf_counter(), False

    def of(self, name: str) -> LiveCurve:
        """Draw the next call of ``fit`` as the curve `name`."""
        self._name = name
        return self

    def on_train_begin(self, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        for key, ending in (("loss", "training"), ("val_loss", "validation")):
            if key in (logs or {}):
                label = f"{self._name}, {ending}" if self._name else ending
                losses = self.curves.setdefault(label, [])
                del losses[epoch:]
                losses.append(float(logs[key]))
        # a picture costs as much as a small epoch: one in three seconds is live enough
        if time.perf_counter() - self._drawn > 3:
            self._draw()

    def on_train_end(self, logs=None):
        self.seconds = time.perf_counter() - self._began
        shell = get_ipython()
        if shell is None:
            self._draw()
        elif not self._waiting:  # the last picture of a cell that trains several models is drawn once, at its end
            self._waiting = True
            shell.events.register("post_execute", self._draw_at_the_end)

    def _draw_at_the_end(self):
        get_ipython().events.unregister("post_execute", self._draw_at_the_end)
        self._waiting = False
        self._draw()

    def _draw(self):
        figure, ax = plt.subplots(figsize=(8, 2.8))
        names = list(dict.fromkeys(label.rsplit(", ", 1)[0] for label in self.curves))
        for label, losses in self.curves.items():
            name, _, ending = label.rpartition(", ")
            number = names.index(name or label)
            style = {"color": PALETTE[number % len(PALETTE)], "linestyle": "--" if ending == "validation" else "-"}
            marks = {"marker": marker(number), "markevery": max(1, self.epochs // 10), "markersize": 5}
            ax.plot(range(1, len(losses) + 1), losses, label=label, **style, **marks)
        ax.set(xlabel="epoch", ylabel="loss", title=self.title, xlim=(0.8, self.epochs + 0.2))
        ax.set_yscale("log" if self.log else "linear")
        ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)
        self._drawn = time.perf_counter()


class Explorer:
    """Sliders that redraw a figure; on a page without a kernel, a still picture and a twin that steps through states.

    The twin's states are drawn when the explorer is shown: every combination of 11 values of one or two sliders, of 5
    values of three, of 3 values of four; with more sliders there is no twin. They leave the notebook as one sheet of
    pictures, beside the still picture; where the book is built, the sheet and a slider for each name are laid under it.

    Parameters
    ----------
    draw : callable
        Called with the sliders' values by name; draws a new figure with pyplot.
    sliders : mapping of str to (low, high, step)
        The first value of each is the middle of its range.
    still : callable
        Called without arguments; draws the still picture with pyplot.
    """

    def __init__(self, draw: Callable, sliders: Mapping[str, tuple[float, float, float]], still: Callable):
        self._draw, self._still = draw, still
        self.sliders = {
            name: ipywidgets.FloatSlider((low + high) / 2, min=low, max=high, step=step, description=name)
            for name, (low, high, step) in sliders.items()
        }
        self._picture = ipywidgets.Image(format="png")
        self.widget = ipywidgets.VBox([*self.sliders.values(), self._picture])
        for slider in self.sliders.values():
            slider.observe(self._redraw, "value")
        self._redraw()

    def _redraw(self, change=None):
        values = {name: slider.value for name, slider in self.sliders.items()}
        self._picture.value = _png(lambda: self._draw(**values))

    def _repr_mimebundle_(self, include=None, exclude=None):
        # the widget for a live kernel, and beside it a picture and the states, which a page without one shows instead
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        bundle = {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(_png(self._still)).decode(),
            "text/plain": f"sliders for {', '.join(self.sliders)}",
        }
        count = next((count for count in (11, 5, 3) if count ** len(self.sliders) <= _MOST_STATES), None)
        return bundle | {STATES: self._states(count)} if count else bundle

    def _states(self, count: int) -> dict:
        """Draw the states for `count` values of each slider into one sheet, row by row; the last moves fastest."""
        values = {name: np.linspace(s.min, s.max, count).round(3).tolist() for name, s in self.sliders.items()}
        pictures = [
            Image.open(io.BytesIO(_png(lambda state=state: self._draw(**dict(zip(values, state, strict=True))))))
            for state in itertools.product(*values.values())
        ]
        width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
        columns = math.ceil(math.sqrt(len(pictures) * height / width))
        rows = math.ceil(len(pictures) / columns)
        sheet = Image.new("RGB", (columns * width, rows * height), "white")
        for place, picture in enumerate(pictures):
            sheet.paste(picture.convert("RGB"), (place % columns * width, place // columns * height))
        stream = io.BytesIO()
        sheet.save(stream, "WEBP", quality=70)
        shape = {"columns": columns, "rows": rows, "width": width, "height": height}
        return {"sliders": values, **shape, "sheet": base64.b64encode(stream.getvalue()).decode()}


def _png(draw: Callable) -> bytes:
    """Run `draw` and return the figure that it made as a PNG."""
    draw()
    figure, stream = plt.gcf(), io.BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return stream.getvalue()
