"""What the chapters train can be kept: each network comes back from a file, in safe mode, with the same features."""

import ast
import dataclasses
from collections import defaultdict
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from helpers.features import forward
from helpers.runtime import Runtime
from helpers.widgets import LiveCurve

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
RUN = Runtime("quick", 0, keras.backend.backend(), "CPU, 2 cores")
IMAGES = np.random.default_rng(0).random((32, 28, 28, 1)).astype("float32")
CLIPS = np.random.default_rng(0).random((8, 10, 32, 32, 1)).astype("float32")


class Silent:
    """Stands in for the live curve."""

    seconds = 0.0

    def of(self, name):
        return keras.callbacks.Callback()


def definitions(chapter: str) -> SimpleNamespace:
    """Return the functions, classes and CONSTANTS of a chapter that need no data; a few images stand in for it."""
    part = SimpleNamespace(images=IMAGES, shape=IMAGES.shape[1:])
    space = {
        "run": RUN,
        "train": part,
        "test": part,
        "live": Silent(),
        "frame": CLIPS.shape[2:],
        "past": (CLIPS, CLIPS),
    }
    space |= {"trained": {}, "seconds": defaultdict(list), "patches": IMAGES[:, :8, :8].reshape(len(IMAGES), -1)}
    for cell in nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", 4).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            if is_definition(node):
                define(node, space)
    return SimpleNamespace(**{name: value for name, value in space.items() if name.isidentifier()})


def define(node: ast.stmt, space: dict) -> None:
    try:
        exec(compile(ast.Module([node], []), "chapter", "exec"), space)
    except NameError:
        if not isinstance(node, ast.Assign):  # a constant may be made of data
            raise


def is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return all(name.id.isupper() for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name))
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def sparse(chapter):
    for name, kind, penalty in (
        ("KL", chapter.SIGMOID, chapter.KLSparsity(chapter.RHO, chapter.BETA)),
        ("L1", chapter.RELU, chapter.L1Sparsity(chapter.LAMBDA)),
    ):
        chapter.train_patches(name, 0, kind, penalty, chapter.UNIT_NORM, epochs=1, batch_size=2)
        yield chapter.trained[name, 0], chapter.patches
        yield chapter.bank(chapter.trained[name, 0].layers[0]), IMAGES


def denoising(chapter):
    encoder, decoder = chapter.halves(seed=0)
    yield keras.Sequential([chapter.Corruption("masking", 0.5), encoder, decoder]), IMAGES
    for form in chapter.STEPS:
        yield chapter.build_deep(form, 4, seed=0)[0], IMAGES


def variational(chapter):
    vae = chapter.VAE(IMAGES.shape[1:], 4, 1, seed=0)
    vae.compile("adam")
    vae.fit(IMAGES, epochs=1, verbose=0)
    yield vae.encoder, IMAGES
    gan = chapter.GAN(seed=0)
    gan.compile("adam")
    gan.fit(IMAGES, epochs=1, verbose=0)
    yield chapter.strongest(gan.judge), IMAGES
    yield gan.generator, np.ones((3, chapter.DIMENSIONS))


def predicting(chapter):
    yield keras.Sequential([chapter.build_encoder(CLIPS.shape[1:], 0), *chapter.build_decoder(CLIPS.shape[2:])]), CLIPS
    yield chapter.at_waist(chapter.build_encoder(CLIPS.shape[1:], 0)), CLIPS
    yield chapter.at_waist(chapter.build_image_encoder(0)), CLIPS[:, 0]


def contrasting(chapter):
    model = chapter.SimSiam(0, keras.ops.stop_gradient)
    model.compile("adam")
    model.fit([IMAGES, IMAGES[::-1]], epochs=1, verbose=0)
    yield model.encoder, IMAGES


CHAPTERS = {
    "sparse-autoencoders": sparse,
    "denoising-stacked-residual": denoising,
    "variational-autoencoders": variational,
    "predicting-frames-and-patches": predicting,
    "contrasting-pairs": contrasting,
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_network_of_a_chapter_is_saved_and_reloaded_in_safe_mode(name, tmp_path):
    chapter = definitions(name)
    own = {kind.__name__: kind for kind in vars(chapter).values() if isinstance(kind, type)}
    for number, (model, inputs) in enumerate(CHAPTERS[name](chapter)):
        features, path = forward(model, inputs), tmp_path / f"{number}.keras"
        model.save(path)
        again = keras.models.load_model(path, custom_objects=own, compile=False, safe_mode=True)
        assert np.ptp(features) > 0
        np.testing.assert_array_equal(forward(again, inputs), features)


UNSUPERVISED = {"margin", "triplet", "NT-Xent", "textbook", "reversed", "video", "batch 8", "temperature 1.0", "shift"}
UNSUPERVISED |= {"turn, zoom", "noise", "pull", "SimSiam", "no stop-gradient"}


@pytest.fixture
def small_trainings(monkeypatch):
    """Let networks take their few steps without being compiled first, and draw no curves of them."""
    monkeypatch.setattr(keras.Model, "compile", partialmethod(keras.Model.compile, run_eagerly=True))
    monkeypatch.setattr(LiveCurve, "_draw", lambda curve: None)


def encoders_of_pairs(shuffle_labels: bool) -> dict:
    """Run the trainings of *contrasting-pairs* that are not tagged `supervised`, each for a few steps."""
    space = {}
    for cell in nbformat.read(NOTEBOOKS / "contrasting-pairs.ipynb", 4).cells:
        if cell.cell_type != "code" or "supervised" in cell.metadata.get("tags", []):
            continue
        try:
            exec(compile(cell.source, f"contrasting-pairs, {cell.id}", "exec"), space)
        except (NameError, KeyError):  # a cell that scores, or shows the supervised network beside the others
            continue
        if cell.id == "setup":
            del space["Scorecard"]  # nothing is scored here
        if cell.id == "configuration":
            space |= {"SEEDS": (0,), "EPOCHS": 4, "STEPS": 1, "BATCH": 8}
        if cell.id == "data":
            train = space["train"][:240]
            garbage = np.random.default_rng(1).integers(0, 10, len(train))
            space["train"] = dataclasses.replace(train, labels=garbage if shuffle_labels else train.labels)
        plt.close("all")
    return space["encoders"]


@pytest.mark.usefixtures("small_trainings")
def test_labels_replaced_by_garbage_change_no_encoder_that_learns_without_them():
    true, garbage = (encoders_of_pairs(shuffle_labels) for shuffle_labels in (False, True))
    assert true.keys() == garbage.keys()
    assert {name for name, seed in true} >= UNSUPERVISED
    for key, encoder in true.items():
        for one, other in zip(encoder.get_weights(), garbage[key].get_weights(), strict=True):
            assert np.array_equal(one, other), key
