import base64

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

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
