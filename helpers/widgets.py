"""Live parts of a chapter: a training curve, and sliders with a still picture for pages without a kernel."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Mapping

import ipywidgets
import keras
import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display

from .plots import PALETTE

__all__ = ["Explorer", "LiveCurve"]


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
            colour = PALETTE[names.index(name or label) % len(PALETTE)]
            style = "--" if ending == "validation" else "-"
            ax.plot(range(1, len(losses) + 1), losses, style, color=colour, label=label)
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
    """Sliders that redraw a figure; on a page without a kernel, a still picture of some of its states.

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
        # the widget for a live kernel, and beside it a picture, which a page without one shows instead
        return {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget.model_id,
            },
            "image/png": base64.b64encode(_png(self._still)).decode(),
            "text/plain": f"sliders for {', '.join(self.sliders)}",
        }


def _png(draw: Callable) -> bytes:
    """Run `draw` and return the figure that it made as a PNG."""
    draw()
    figure, stream = plt.gcf(), io.BytesIO()
    figure.savefig(stream, format="png")
    plt.close(figure)
    return stream.getvalue()
