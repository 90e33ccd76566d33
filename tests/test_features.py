"""`features.extract`: one pass, in memory or on disk, and no half-finished or mistaken features."""

import collections
import contextlib
import dataclasses
import io
import json
import shutil

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from helpers import backbones, datasets, features


def build(seed=0, factor=1.0):
    """A backbone of two stages that is built in a moment."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((None, None, 3))
    first = layers.Conv2D(4, 3, activation="relu")(images)
    second = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, bias_initializer="ones")(first))
    model = keras.Model(images, [layers.GlobalMaxPooling2D()(first), layers.Rescaling(factor)(second)])
    return backbones.Backbone("tiny", model, {"early": 4, "late": 6}, "random", "random weights", f"{seed}", 8)


@pytest.fixture(scope="module")
def tiny():
    return build()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((23, 8, 8, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def expected(tiny, images):
    """What the network makes of the images one by one, layer by layer."""
    rows = [tiny.model(image[None], training=False) for image in images]
    early, late = (np.concatenate([keras.ops.convert_to_numpy(row[stage]) for row in rows]) for stage in (0, 1))
    return {"early": early, "late": late}


class Watched:
    """A model that counts the images that it is shown, and may fail before the n-th batch."""

    def __init__(self, model, fail_at=None):
        self.model, self.fail_at, self.shown = model, fail_at, []

    def predict_on_batch(self, batch):
        if len(self.shown) == self.fail_at:
            raise KeyboardInterrupt
        self.shown.append(np.array(batch))
        return self.model.predict_on_batch(batch)


def watched(backbone, fail_at=None):
    return dataclasses.replace(backbone, model=Watched(backbone.model, fail_at))


def assert_equal(found, expected, tolerance=1e-5):
    assert list(found) == list(expected)
    for stage in expected:
        np.testing.assert_allclose(found[stage], expected[stage], rtol=tolerance, atol=1e-6)


# --------------------------------------------------------------------------------------------------- in memory


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 9, 1), (20, 13, 3)])
def test_images_of_any_shape_reach_the_network_as_it_would_resize_them_itself(tiny, shape):
    images = np.random.default_rng(0).random((7, *shape), dtype=np.float32)
    prepare = backbones.Preparation(8, scale=(2, 3, 4), offset=(-1, 0, 1))
    inputs = keras.Input((None, None, None))
    resizing = keras.Model(inputs, tiny.model(prepare(inputs)))
    network = watched(dataclasses.replace(tiny, model=resizing))
    found = features.extract(network, images, batch_size=3, progress=False)
    early, late = (keras.ops.convert_to_numpy(values) for values in resizing(images))
    assert_equal(found, {"early": early, "late": late}, tolerance=1e-4)
    # one shape, so that sets of other shapes share what was compiled
    assert {batch.shape for batch in network.model.shown} == {(3, 8, 8, 3)}


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_features_do_not_depend_on_the_batches(tiny, images, expected, batch_size):
    found = features.extract(tiny, images, batch_size=batch_size, progress=False)
    assert_equal(found, expected)
    assert all(values.dtype == np.float32 for values in found.values())


def test_all_stages_come_from_one_pass_in_batches_of_one_shape(tiny, images):
    """One shape: the network is compiled once, and the last batch is filled up by the last image."""
    network = watched(tiny)
    features.extract(network, images, batch_size=10, progress=False)
    assert [batch.shape for batch in network.model.shown] == [(10, 8, 8, 3)] * 3
    shown = np.concatenate(network.model.shown)
    assert np.array_equal(shown[:23], images)
    assert np.array_equal(shown[23:], np.repeat(images[-1:], 7, axis=0))


def test_inception_v3_gives_an_image_the_same_features_alone_and_in_company(deep_network):
    backbone = deep_network("inception_v3")
    images = np.random.default_rng(0).random((3, 60, 90, 1), dtype=np.float32)
    together = features.extract(backbone, images, batch_size=3, progress=False)
    alone = features.extract(backbone, images[1:2], progress=False)
    assert {stage: values.shape for stage, values in together.items()} == {s: (3, d) for s, d in backbone.sizes.items()}
    for stage, values in together.items():
        np.testing.assert_allclose(alone[stage][0], values[1], atol=1e-5 * values.max())


def test_image_sets_and_memory_maps_are_images_too(tiny, images, expected, tmp_path):
    image_set = datasets.ImageSet(images, np.zeros(23, int), ("all",), "random", "drawn here", "CC0")
    np.save(tmp_path / "images.npy", images)
    for given_images in (image_set, np.load(tmp_path / "images.npy", mmap_mode="r"), images.astype(np.float64)):
        assert_equal(features.extract(tiny, given_images, progress=False), expected)


def test_only_the_stages_that_are_asked_for_are_kept(tiny, images, expected, tmp_path):
    for folder in (None, tmp_path / "late"):
        found = features.extract(tiny, images, stages=["late"], folder=folder, progress=False)
        assert_equal(found, {"late": expected["late"]}, 1e-3)
    with pytest.raises(ValueError, match="did you mean 'late'"):
        features.extract(tiny, images, stages=["lat"])
    with pytest.raises(ValueError, match=r"name one stage or more, as in stages=\['late'\]"):
        features.extract(tiny, images, stages="late")


def test_a_progress_bar_is_shown_where_it_is_wanted(tiny, images, capsys):
    features.extract(tiny, images, progress=False)
    assert capsys.readouterr().err == ""
    features.extract(tiny, images)
    assert "tiny" in capsys.readouterr().err


def test_features_that_would_fill_the_memory_are_refused_before_anything_is_computed(tiny, images, monkeypatch):
    network = watched(tiny)
    monkeypatch.setattr(features, "_free_memory", lambda: 2 * 4 * 23 * 10 - 1)
    with pytest.raises(MemoryError, match=r"more than half of the .* of free memory: give a folder"):
        features.extract(network, images)
    assert network.model.shown == []
    monkeypatch.setattr(features, "_free_memory", lambda: 2 * 4 * 23 * 10)
    features.extract(network, images, progress=False)


# ----------------------------------------------------------------------------------------------------- on disk


def test_on_disk_features_are_float16_memory_maps_of_the_same_numbers(tiny, images, expected, tmp_path):
    found = features.extract(tiny, images, folder=tmp_path, batch_size=7, progress=False)
    in_memory = features.extract(tiny, images, batch_size=7, progress=False)
    for stage, values in found.items():
        assert isinstance(values, np.memmap)
        assert values.dtype == np.float16
        assert not values.flags.writeable
        assert np.array_equal(values, in_memory[stage].astype(np.float16))
    assert_equal(found, expected, 2**-11 + 1e-5)


def test_what_is_complete_is_read_and_not_computed_again(tiny, images, tmp_path):
    first = features.extract(tiny, images, folder=tmp_path, progress=False)
    network = watched(tiny, fail_at=0)
    assert_equal(features.extract(network, images, folder=tmp_path, progress=False), first)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_an_interrupted_extraction_goes_on_where_it_stopped(tiny, images, expected, tmp_path_factory, data):
    size, size_after = (data.draw(st.integers(1, 12), label) for label in ("batch size", "batch size afterwards"))
    batches = -(-23 // size)
    stop = data.draw(st.integers(0, batches - 1), "batches before the interruption")
    folder = tmp_path_factory.mktemp("features")
    with pytest.raises(KeyboardInterrupt):
        features.extract(watched(tiny, stop), images, folder=folder, batch_size=size, progress=False)
    network = watched(tiny)
    found = features.extract(network, images, folder=folder, batch_size=size_after, progress=False)
    assert_equal(found, expected, 1e-3)
    assert np.array_equal(np.concatenate(network.model.shown)[: 23 - stop * size], images[stop * size :])


def test_rows_that_the_manifest_does_not_know_of_are_written_again(tiny, images, expected, tmp_path):
    """The state after a crash between the numbers and the manifest."""
    with pytest.raises(KeyboardInterrupt):
        features.extract(watched(tiny, 2), images, folder=tmp_path, batch_size=5, progress=False)
    with (tmp_path / "late.npy").open("ab") as stream:
        stream.write(b"\xff" * 31)
    assert_equal(features.extract(tiny, images, folder=tmp_path, batch_size=5, progress=False), expected, 1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "other"}, r"features of another network \(tiny, not other\)"),
        ({"size": 9}, r"features of images of another size \(8 pixels, not 9\)"),
        ({"digest": "abc"}, r"features by other weights of tiny \(0\.\.\., not abc\.\.\.\)"),
        ({"sizes": {"early": 4, "later": 6}}, "features of other stages"),
    ],
)
def test_features_of_another_network_are_refused_and_kept(tiny, images, tmp_path, change, sentence):
    before = features.extract(tiny, images, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match=f"{sentence}.*: give another folder, or delete this one"):
        features.extract(dataclasses.replace(tiny, **change), images, folder=tmp_path)
    assert_equal(features.extract(tiny, images, folder=tmp_path), before)


def test_features_of_other_images_are_refused(tiny, images, tmp_path):
    features.extract(tiny, images, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"another number of images \(23, not 22\)"):
        features.extract(tiny, images[:-1], folder=tmp_path)
    swapped = images[[1, 0, *range(2, 23)]]
    with pytest.raises(ValueError, match="features of other images"):
        features.extract(tiny, swapped, folder=tmp_path)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_a_feature_file_that_is_cut_short_is_completed(tiny, images, expected, tmp_path_factory, data):
    folder, size = tmp_path_factory.mktemp("features"), data.draw(st.integers(1, 12), "batch size")
    batches = -(-23 // size)
    done = data.draw(st.integers(1, batches), "batches done")
    with contextlib.suppress(KeyboardInterrupt):
        features.extract(watched(tiny, done), images, folder=folder, batch_size=size, progress=False)
    path, width = folder / data.draw(st.sampled_from(["early.npy", "late.npy"])), {"early.npy": 8, "late.npy": 12}
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1), "bytes left")
    path.write_bytes(whole[:cut])
    network = watched(tiny)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = features.extract(network, images, folder=folder, batch_size=size, progress=False)
    assert_equal(found, expected, 1e-3)
    rows = max(0, cut - 128) // width[path.name]
    kept = rows // size * size if rows < min(done * size, 23) else rows
    sentence = f"{path} is cut short after {rows} of {min(done * size, 23)} rows: extraction goes on from row {kept}."
    assert printed.getvalue() == f"The feature file {sentence}\n"
    assert np.array_equal(np.concatenate(network.model.shown)[: 23 - kept], images[kept:])


def test_a_feature_file_that_is_gone_is_named(tiny, images, tmp_path):
    features.extract(tiny, images, folder=tmp_path, progress=False)
    path = tmp_path / "late.npy"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(ValueError, match=r"late.npy is missing: put it back as it was, or give another folder"):
        features.extract(tiny, images, folder=tmp_path)
    path.write_bytes(whole)
    features.extract(tiny, images, folder=tmp_path, progress=False)


@given(st.integers(128, 128 + 23 * 12 - 1), st.integers(1, 255), st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_changed_byte_is_noticed_and_its_rows_are_named(tiny, images, tmp_path_factory, place, change, complete):
    folder = tmp_path_factory.mktemp("features")
    with contextlib.suppress(KeyboardInterrupt):
        stop = None if complete else 4
        features.extract(watched(tiny, stop), images, folder=folder, batch_size=5, progress=False)
    path = folder / "late.npy"
    content = bytearray(path.read_bytes())
    if place >= len(content):  # rows that are not done
        return
    content[place] ^= change
    path.write_bytes(content)
    first = (place - 128) // 12 // 5 * 5
    last = min(first + 5, 23) - 1
    said = (
        rf"late.npy is damaged \(rows {first} to {last} do not have the CRC-32 of the manifest\): put it back as it was"
    )
    with pytest.raises(ValueError, match=said):
        features.extract(tiny, images, folder=folder, progress=False)
    trusted = features.extract(tiny, images, folder=folder, progress=False, check=False)
    assert trusted["late"].shape == (23, 6)
    assert path.read_bytes()[: len(content)] == content


def test_a_feature_file_of_another_shape_is_named(tiny, images, tmp_path):
    features.extract(tiny, images, folder=tmp_path, progress=False)
    np.save(tmp_path / "early.npy", np.zeros((46, 4), np.float16))
    with pytest.raises(ValueError, match=r"early.npy is damaged \(its header is not that of 23 x 4 float16\)"):
        features.extract(tiny, images, folder=tmp_path)


def test_a_damaged_manifest_is_named(tiny, images, tmp_path):
    features.extract(tiny, images, folder=tmp_path, progress=False)
    path = tmp_path / "manifest.json"
    content = path.read_text()
    for damaged in (content[:-20], "[]", "{}", "5", '"manifest"'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"manifest.json is damaged .*: give another folder, or delete this one"):
            features.extract(tiny, images, folder=tmp_path)


def ends(*rows, **sums):
    return [{"rows": number, "crc32": {"early": 1, "late": 1} | sums} for number in rows]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"network": ["tiny"]},
        {"weights_digest": 5},
        {"images_digest": None},
        {"images": "23"},
        {"stages": ["early", "late"]},
        {"batches": 3},
        {"batches": {}},
        {"batches": [{"rows": 23, "crc32": ["early", "late"]}]},
        {"batches": [5, 10]},
        {"batches": [{"rows": 5}]},
        {"batches": ends(24)},
        {"batches": ends(0)},
        {"batches": ends(10, 5)},
        {"batches": ends(5.0)},
        {"batches": ends(5, late="1")},
        {"batches": ends(5, another=1)},
    ],
)
def test_a_manifest_whose_entries_are_of_another_kind_is_damaged(tiny, images, tmp_path, change):
    features.extract(tiny, images, folder=tmp_path, progress=False)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"manifest.json is damaged \(.*: give another folder, or delete this one"):
        features.extract(tiny, images, folder=tmp_path)


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_computed(tiny, images, tmp_path):
    network = watched(tiny)
    (tmp_path / "features").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"features is a file, but features take a folder: give one"):
        features.extract(network, images, folder=tmp_path / "features")
    assert network.model.shown == []
    assert (tmp_path / "features").read_text() == "mine"


def test_files_of_unknown_origin_are_not_written_over(tiny, images, tmp_path):
    (tmp_path / "late.npy").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds late.npy but no manifest"):
        features.extract(tiny, images, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["late.npy"]


def test_features_beyond_float16_are_refused_and_what_was_done_is_kept(images, tmp_path):
    network = build(factor=1e3)
    network.model.set_weights([np.abs(value) for value in network.model.get_weights()])  # brighter is more
    images = images * np.where(np.arange(23) < 12, 0, 1)[:, None, None, None].astype(np.float32)
    smallest = features.extract(network, images, progress=False)["late"][12:].max(axis=1).min()
    network = dataclasses.replace(build(factor=1e3 * 70_000 / smallest), digest="brighter")
    network.model.set_weights([np.abs(value) for value in network.model.get_weights()])
    with pytest.raises(
        ValueError, match=r"image 1\d at 'late' reach .* more than float16 can hold .*: extract in memory"
    ):
        features.extract(network, images, folder=tmp_path, batch_size=6, progress=False)
    assert json.loads((tmp_path / "manifest.json").read_text())["batches"][-1]["rows"] == 12


def test_a_network_that_yields_nan_is_reported(images):
    broken = build()
    broken.model.set_weights([np.full_like(value, np.nan) for value in broken.model.get_weights()])
    with pytest.raises(ValueError, match="tiny yields NaN or infinity at"):
        features.extract(broken, images, progress=False)


def test_a_disk_that_is_too_small_is_seen_before_anything_is_computed(tiny, images, tmp_path, monkeypatch):
    network = watched(tiny)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: collections.namedtuple("usage", "free")(2 * 23 * 10 - 1))
    with pytest.raises(OSError, match="give a folder on a larger disk"):
        features.extract(network, images, folder=tmp_path / "new")
    assert network.model.shown == []
    assert list((tmp_path / "new").iterdir()) == []


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda images: images * 255, "divide 8-bit images by 255"),
        (lambda images: images[0], "add the channel axis"),
        (lambda images: images[:0], "an axis is empty"),
        (lambda images: images[..., :2], "2 channels"),
        (lambda images: [images[0], images[1, :4]], "entries of several shapes"),
        (lambda images: 5, "images have four axes"),
        (lambda images: np.where(np.arange(23)[:, None, None, None] == 22, np.nan, images), "NaN or infinite"),
    ],
)
def test_bad_images_are_refused_before_anything_is_computed(tiny, images, tmp_path, change, sentence):
    network = watched(tiny)
    for folder in (None, tmp_path / "new"):
        with pytest.raises(ValueError, match=sentence):
            features.extract(network, change(images), folder=folder)
    assert network.model.shown == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("batch_size", [0, 2.5, True, "8"])
def test_a_batch_of_no_whole_number_of_images_is_refused(tiny, images, batch_size):
    with pytest.raises(ValueError, match=r"batch_size=.*, but it is a whole number of 1 or more"):
        features.extract(tiny, images, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"batch_size=.*, but it is a whole number of 1 or more"):
        features.forward(tiny.model, images, batch_size)


def test_a_set_of_images_goes_through_a_network_as_its_images_do():
    keras.utils.set_random_seed(0)
    model, digits = keras.Sequential([layers.Conv2D(2, 3), layers.Flatten()]), datasets.load("digits")[:9]
    np.testing.assert_array_equal(features.forward(model, digits), features.forward(model, digits.images))
