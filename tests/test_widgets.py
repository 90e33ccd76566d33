import base64
import io
import itertools

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from helpers import widgets

mpl.use("agg")
PNG = b"\x89PNG"


def draw_nothing(**values):
    plt.subplots()


def small_model():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_a_live_curve_keeps_losses_and_seconds(capsys):
    live = widgets.LiveCurve("test", epochs=3)
    points = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    history = small_model().fit(
        points, points[:, :1], epochs=3, validation_split=0.2, verbose=0, callbacks=[live.of("a model")]
    )
    assert live.curves["a model, training"] == pytest.approx(history.history["loss"])
    assert live.curves["a model, validation"] == pytest.approx(history.history["val_loss"])
    assert live.seconds > 0


def test_training_again_replaces_the_curve(capsys):
    live = widgets.LiveCurve("test", epochs=2)
    points = np.ones((8, 3), "float32")
    for epochs in (2, 1):
        small_model().fit(points, points[:, :1], epochs=epochs, verbose=0, callbacks=[live])
    assert len(live.curves["training"]) == 1


def test_an_explorer_draws_the_sliders_values():
    seen = []

    def draw(**values):
        seen.append(values)
        draw_nothing()

    explorer = widgets.Explorer(draw, {"first": (-2, 2, 0.5), "second": (0, 1, 0.1)}, draw_nothing)
    assert seen == [{"first": 0.0, "second": 0.5}]
    explorer.sliders["first"].value = 1.5
    assert seen[-1] == {"first": 1.5, "second": 0.5}
    assert bytes(explorer.widget.children[-1].value).startswith(PNG)


def test_an_explorer_has_a_still_picture_beside_the_widget():
    explorer = widgets.Explorer(draw_nothing, {"first": (-1, 1, 0.1)}, draw_nothing)
    bundle = explorer._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.widget.model_id
    assert "first" in bundle["text/plain"]


def test_an_explorer_leaves_no_open_figure():
    plt.close("all")
    widgets.Explorer(draw_nothing, {"first": (-1, 1, 0.1)}, draw_nothing)._repr_mimebundle_()
    assert plt.get_fignums() == []


def draw_grey(**values):
    """A figure of one inch in a grey that tells the state: the sum of the values, which lies in [0, 1]."""
    plt.figure(figsize=(1, 1), facecolor=str(sum(values.values())))


def tiles(states):
    """Return the mean grey of each tile of the sheet, row by row."""
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(states["sheet"]))).convert("L")) / 255
    columns, rows = states["columns"], states["rows"]
    assert sheet.shape == (rows * states["height"], columns * states["width"])
    return sheet.reshape(rows, states["height"], columns, states["width"]).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize(("sliders", "count"), [(1, 11), (2, 11), (3, 5)])
def test_the_twin_holds_a_picture_of_every_combination_of_the_sliders(sliders, count):
    ranges = {f"slider {number}": (0, 1 / sliders, 0.01) for number in range(sliders)}
    states = widgets.Explorer(draw_grey, ranges, draw_nothing)._repr_mimebundle_()[widgets.STATES]
    assert list(states["sliders"]) == list(ranges)
    for values in states["sliders"].values():
        assert values == pytest.approx(np.linspace(0, 1 / sliders, count), abs=1e-3)
        assert (1 / sliders) / 2 == pytest.approx(values[count // 2], abs=1e-3)  # where the live slider begins
    sums = [sum(state) for state in itertools.product(*states["sliders"].values())]
    assert tiles(states)[: len(sums)] == pytest.approx(sums, abs=0.03)


def test_with_five_sliders_there_is_no_twin():
    ranges = {f"slider {number}": (0, 0.1, 0.01) for number in range(5)}
    assert widgets.STATES not in widgets.Explorer(draw_grey, ranges, draw_nothing)._repr_mimebundle_()
