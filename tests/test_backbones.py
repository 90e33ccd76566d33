"""`backbones.load`: the right stages, the right pixels, and weights whose origin is known."""

import dataclasses
import functools
import hashlib
import inspect
import io
import re
import sys
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from helpers import backbones, weights

APPLICATIONS = {
    "inception_v3": (keras.applications.InceptionV3, keras.applications.inception_v3),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet),
    "inception_resnet_v2": (keras.applications.InceptionResNetV2, keras.applications.inception_resnet_v2),
    "xception": (keras.applications.Xception, keras.applications.xception),
}
WITH_PENULTIMATE = [name for name in APPLICATIONS if name != "inception_v3"]


@pytest.fixture(scope="module")
def keras_own():
    """Return, for a name, the network of keras.applications with random weights, and what Keras would have fetched."""

    @functools.cache
    def build(name):
        constructor = APPLICATIONS[name][0]
        size, fetched = backbones._NETWORKS[name].least, []
        with pytest.MonkeyPatch.context() as patch:
            own = sys.modules[inspect.unwrap(constructor).__module__]
            patch.setattr(own.file_utils, "get_file", lambda *args, **options: fetched.append((*args, options)))
            patch.setattr(keras.Model, "load_weights", lambda *_: None)
            network = constructor(include_top=False, weights="imagenet", pooling="avg", input_shape=(size, size, 3))
        ((file, address, options),) = fetched
        return network, (file, address, options["file_hash"])

    return build


@pytest.fixture
def backbone(deep_network):
    return deep_network("inception_v3")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders of the user's and of Keras', empty, and no network."""
    user, cache = tmp_path / "user", tmp_path / "keras" / "models"
    user.mkdir()
    cache.mkdir(parents=True)
    monkeypatch.setenv("COURSE_WEIGHTS", str(user))
    monkeypatch.setenv("KERAS_HOME", str(cache.parent))

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("name resolution failed")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return user, cache


def small_network(include_top, weights, input_tensor, input_shape):
    """Stand in for a network of keras.applications, with the same arguments."""
    hidden = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3, use_bias=False)(input_tensor))
    return keras.Model(keras.utils.get_source_inputs(input_tensor), layers.MaxPooling2D()(hidden))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small network in the table, and the bytes of its published weights, of which every number is 0.5."""
    entry = backbones._Network(
        small_network,
        title="Small",
        file="small_notop.h5",
        md5="",
        folder="small",
        size=8,
        least=8,
        stages=lambda network: {"pool": layers.Flatten()(network.output)},
        scale=(1.0, 1.0, 1.0),
        offset=(0.0, 0.0, 0.0),
    )
    images = keras.Input((8, 8, 3))
    network = small_network(False, None, images, (8, 8, 3))
    network.set_weights([np.full_like(value, 0.5) for value in network.get_weights()])
    network.save(tmp_path / "published.h5")
    content = (tmp_path / "published.h5").read_bytes()
    entry = dataclasses.replace(entry, md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(backbones._NETWORKS, "small", entry)
    return content


def first_weight(found):
    return float(found.model.get_weights()[0].flat[0])


# -------------------------------------------------------------------------------------------------- the stages


def test_the_stages_of_inception_v3_at_299_pixels_have_the_papers_sizes():
    sizes = backbones.load(weights="random", size=299).sizes
    assert sizes == {"pool 1": 341_056, "pool 2": 83_232, "pool 3": 49_152, "pool 4": 2_048}


def test_the_second_stage_is_not_the_second_pooling_layer_of_the_stem(backbone):
    pools = [layer for layer in backbone.model.layers if isinstance(layer, layers.MaxPooling2D)]
    channels = [layer.output.shape[-1] for layer in pools]
    assert channels == [64, 192, 288, 768]
    inputs = [layer for layer in backbone.model.layers if isinstance(layer, layers.Flatten)]
    assert [layer.input.shape[-1] for layer in inputs] == [64, 288, 768]


def test_a_second_network_of_one_process_has_the_same_stages(backbone):
    assert backbones.load(weights="random", size=75).sizes == backbone.sizes


@pytest.mark.parametrize(
    ("name", "expected", "millions"),
    [
        ("resnet50", {"stage 2": 256, "stage 3": 512, "stage 4": 1024, "penultimate": 2048}, 23.59),
        ("inception_resnet_v2", {"blocks A": 320, "blocks B": 1088, "blocks C": 2080, "penultimate": 1536}, 54.34),
        ("xception", {"entry flow": 728, "middle flow": 728, "block 13": 1024, "penultimate": 2048}, 20.87),
    ],
)
def test_networks_have_the_papers_widths_and_with_three_classes_so_many_parameters(
    deep_network, name, expected, millions
):
    backbone = deep_network(name)
    assert backbone.sizes == expected
    head = 3 * (backbone.sizes["penultimate"] + 1)
    assert round((backbone.model.count_params() + head) / 1e6, 2) == millions


def maps_of_keras(name, network):
    """Return the maps whose means are the stages before the last: here by order and type, not by what follows."""
    sums = [layer.output for layer in network.layers if type(layer).__name__ in ("Add", "CustomScaleLayer")]
    if name == "resnet50":  # blocks of 3, 4, 6 and 3 sums, each with its ReLU
        relus = [layer.output for layer in network.layers if layer.name.endswith("_out")]
        return [relus[2], relus[6], relus[12]]
    if name == "xception":  # three sums of the entry flow, eight of the middle flow, one of the exit flow
        return [sums[2], sums[10], sums[11]]
    after = [layer.output for layer in network.layers if layer.name.startswith("block") and layer.name.endswith("_ac")]
    return [after[9], after[29], sums[39]]  # 10, 20 and 10 blocks


@pytest.mark.parametrize("name", WITH_PENULTIMATE)
def test_the_penultimate_features_are_those_of_keras_own_network_on_its_own_preprocessing(
    deep_network, keras_own, name
):
    backbone, network, module = deep_network(name), keras_own(name)[0], APPLICATIONS[name][1]
    images = np.random.default_rng(0).random((2, backbone.size, backbone.size, 3), dtype=np.float32)
    network.set_weights(backbone.model.get_weights())
    reference = keras.Model(network.input, [*maps_of_keras(name, network), network.output])
    *maps, penultimate = reference.predict_on_batch(module.preprocess_input(images * 255))
    expected = [*(value.mean(axis=(1, 2)) for value in maps), penultimate]
    for found, value in zip(backbone.model.predict_on_batch(images), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-5 * np.abs(value).max())
    assert np.ptp(penultimate, axis=0).max() > 0


@pytest.fixture(scope="module")
def half():
    """ResNet-18 of half width, with random weights and statistics of BatchNormalization that are not 0 and 1."""
    backbone = backbones.load("resnet18_half", "random", size=32)
    random = np.random.default_rng(0)
    values = [random.uniform(0.5, 1.5, v.shape) if v.ndim == 1 else v for v in backbone.model.get_weights()]
    backbone.model.set_weights(values)
    return backbone


def test_resnet18_half_computes_what_the_papers_table_says(half):
    images = np.random.default_rng(1).random((2, 32, 32, 3), dtype=np.float32)

    def convolved(tensor, name, strides=1):
        (kernel,) = half.model.get_layer(f"{name}_conv").weights
        gamma, beta, mean, variance = half.model.get_layer(f"{name}_bn").weights
        return (keras.ops.conv(tensor, kernel, strides, padding="same") - mean) / np.sqrt(
            variance + 1e-3
        ) * gamma + beta

    tensor = keras.ops.relu(convolved(2 * images - 1, "conv1_a", 2))
    tensor = keras.ops.relu(convolved(tensor, "conv1_b", 2))
    for found, stage in zip(half.model.predict_on_batch(images), (2, 3, 4, 5), strict=True):
        for block in (f"conv{stage}_block1", f"conv{stage}_block2"):
            shrinks = block in ("conv3_block1", "conv4_block1", "conv5_block1")
            shortcut = convolved(tensor, f"{block}_0", 2) if shrinks else tensor
            inner = keras.ops.relu(convolved(tensor, f"{block}_1", 2 if shrinks else 1))
            tensor = keras.ops.relu(shortcut + convolved(inner, f"{block}_2"))
        means = keras.ops.convert_to_numpy(keras.ops.mean(tensor, axis=(1, 2)))
        np.testing.assert_allclose(found, means, rtol=1e-3, atol=1e-5 * np.abs(means).max())
    assert half.sizes == {"stage 2": 32, "stage 3": 64, "stage 4": 128, "penultimate": 256}


def test_resnet18_half_has_a_quarter_of_the_paper_networks_convolutions(half):
    kernels = [layer.kernel.shape for layer in half.model.layers if isinstance(layer, layers.Conv2D)]
    blocks = sum(int(np.prod(shape)) for shape in kernels[2:])
    full = 4 * 9 * 64 * 64 + sum(9 * c * c // 2 + 3 * 9 * c * c + c * c // 2 for c in (128, 256, 512))
    assert 4 * blocks == full


def test_weights_that_nobody_makes_are_refused_and_not_looked_for(half, places, capsys):
    with pytest.raises(ValueError, match=r"no ImageNet weights of ResNet-18 of half width: use weights='auto'"):
        backbones.load("resnet18_half", "imagenet", size=32)
    assert "imagenet" not in backbones.available("resnet18_half")
    assert all(name and md5 for name, md5 in backbones.published_files().items())


def test_a_second_network_of_one_process_has_the_same_stages_whatever_keras_counts(deep_network):
    first = deep_network("xception")
    second = backbones.load("xception", "random", size=first.size)
    assert second.sizes == first.sizes
    assert second.digest == first.digest
    sums = [layer.name for layer in second.model.layers if isinstance(layer, layers.Add)]
    assert sums != [layer.name for layer in first.model.layers if isinstance(layer, layers.Add)]  # counted on


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_published_file_is_the_one_that_the_installed_keras_fetches(keras_own, name):
    fetched, entry = keras_own(name)[1], backbones._NETWORKS[name]
    assert fetched == (entry.file, f"{backbones._ADDRESS}/{entry.folder}/{entry.file}", entry.md5)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_network_has_the_sizes_that_the_installed_keras_gives_it(monkeypatch, name):
    source = inspect.getsource(sys.modules[inspect.unwrap(APPLICATIONS[name][0]).__module__])
    default, least = (int(re.search(rf"{word}_size=(\d+),", source)[1]) for word in ("default", "min"))
    built = []
    monkeypatch.setattr(backbones, "_build", lambda network, entry, size: built.append(size) or (None, {}))
    monkeypatch.setattr(backbones, "_fill", lambda *_: ("random", "", []))
    monkeypatch.setattr(backbones.stored, "digest", lambda _: "")
    backbones.load(name)
    backbones.load(name, size=least)
    assert built == [default, least]
    with pytest.raises(ValueError, match=f"size={least - 1}, but it is a whole number of {least} or more"):
        backbones.load(name, size=least - 1)


def test_the_stages_of_inception_v3_are_those_of_keras_own_network_on_its_own_preprocessing(backbone, keras_own):
    images = np.random.default_rng(0).random((2, 75, 75, 3), dtype=np.float32)
    network = keras_own("inception_v3")[0]
    network.set_weights(backbone.model.get_weights())
    pools = [layer.output for layer in network.layers if isinstance(layer, layers.MaxPooling2D)]
    reference = keras.Model(network.input, [pools[0], pools[2], pools[3], network.output])
    expected = reference.predict_on_batch(keras.applications.inception_v3.preprocess_input(images * 255))
    expected = [*(value.reshape(2, -1) for value in expected[:3]), expected[3]]
    for found, value in zip(backbone.model.predict_on_batch(images), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-5 * value.max())


def test_a_clone_of_the_network_draws_weights_of_its_own(backbone):
    layer = next(layer for layer in backbone.model.layers if isinstance(layer, layers.Conv2D))
    clone = type(layer).from_config(layer.get_config())
    clone.build((None, 10, 10, 3))
    assert np.ptp(clone.get_weights()[0]) > 0


# ------------------------------------------------------------------------------------------------- the pixels


def prepare(images, size=20, **options):
    layer = backbones.Preparation(size, (1, 1, 1), (0, 0, 0), **options)
    return keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(images, "float32")))


@pytest.mark.parametrize("shape", [(61, 47), (9, 13), (20, 20), (20, 50)])
def test_images_are_resized_as_pillow_resizes_them(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(prepare(image[None, ..., None])[0, ..., 1], expected, atol=1e-4)


def test_a_grey_image_is_a_colour_image_of_equal_channels():
    grey = np.random.default_rng(0).random((2, 30, 25, 1))
    np.testing.assert_allclose(prepare(grey), prepare(np.repeat(grey, 3, axis=-1)), atol=1e-6)


def test_values_are_scaled_channel_by_channel_and_reversed_for_networks_that_want_blue_first():
    image = np.full((1, 5, 5, 3), (0.1, 0.5, 0.9), np.float32)
    layer = backbones.Preparation(5, (255, 1, 10), (-1, 0, 2), blue_first=True)
    found = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(image)))
    np.testing.assert_allclose(found[0, 0, 0], [11, 0.5, 24.5], rtol=1e-6)


def test_a_saved_backbone_comes_back_with_its_preparation(small, places, tmp_path):
    model = backbones.load("small", "random", size=8).model
    model.save(tmp_path / "small.keras")
    images = np.random.default_rng(0).random((2, 11, 9, 1), dtype=np.float32)
    again = keras.models.load_model(tmp_path / "small.keras")
    assert np.array_equal(again.predict_on_batch(images), model.predict_on_batch(images))


# --------------------------------------------------------------------------------------------- random weights


def test_random_weights_repeat_with_the_seed_whatever_was_drawn_before(small, places):
    first = backbones.load("small", "random", size=8, seed=1)
    keras.utils.set_random_seed(9)
    again, other = (backbones.load("small", "random", size=8, seed=seed) for seed in (1, 2))
    assert first.digest == again.digest != other.digest


def test_random_kernels_are_glorots_and_the_rest_is_as_built(backbone):
    for variable, value in zip(backbone.model.weights, backbone.model.get_weights(), strict=True):
        if value.ndim == 1:
            assert np.all(value == (1 if "variance" in variable.path else 0))
            continue
        *field, inputs, outputs = value.shape
        limit = np.sqrt(6 / (np.prod(field) * (inputs + outputs)))
        assert np.abs(value).max() <= limit * (1 + 1e-6)
        # a uniform draw's variance is limit^2 / 3; its standard error over N draws is that times sqrt(0.8 / N)
        assert abs(value.var() / (limit**2 / 3) - 1) < 6 * np.sqrt(0.8 / value.size)


# ------------------------------------------------------------------------------------- means and variances


def test_measured_statistics_are_those_of_the_images():
    normalization = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((6, 6, 3)), normalization])
    images = np.random.default_rng(0).normal(2, 3, (64, 6, 6, 3)).astype(np.float32)
    batches = np.split(images, [16, 24])  # of 16, 8 and 40 images
    backbones.measure_statistics(model, batches)
    mean, variance = (
        keras.ops.convert_to_numpy(value) for value in (normalization.moving_mean, normalization.moving_variance)
    )
    assert np.allclose(mean, images.mean(axis=(0, 1, 2)), atol=1e-4)
    shares = [len(batch) / 64 for batch in batches]
    within = sum(share * batch.var(axis=(0, 1, 2)) for share, batch in zip(shares, batches, strict=True))
    assert np.allclose(variance, within, rtol=1e-4)
    assert normalization.momentum == 0.99


def test_frozen_layers_are_measured_and_stay_frozen_and_nothing_else_changes():
    normalization = layers.BatchNormalization()
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 3), normalization])
    model = keras.Sequential([keras.Input((4, 4, 2)), inner])
    normalization.trainable = False
    before = model.get_weights()
    backbones.measure_statistics(model, [np.random.default_rng(0).random((8, 4, 4, 2), dtype=np.float32)])
    assert not normalization.trainable
    changed = [
        variable.path.split("/")[-1]
        for variable, old in zip(model.weights, before, strict=True)
        if not np.array_equal(keras.ops.convert_to_numpy(variable), old)
    ]
    assert sorted(changed) == ["moving_mean", "moving_variance"]


def test_layers_are_as_they_were_when_measuring_is_stopped():
    normalization = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((4, 4, 2)), normalization])
    normalization.trainable = False

    def batches():
        yield np.ones((8, 4, 4, 2), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backbones.measure_statistics(model, batches())
    assert not normalization.trainable
    assert normalization.momentum == 0.99


# ------------------------------------------------------------------------------------------ weights with names


def test_the_first_place_that_has_imagenet_weights_gives_them(small, places, tmp_path, capsys):
    user, cache = places
    (cache / "small_notop.h5").write_bytes(small)
    for given in (None, user, tmp_path):
        found = backbones.load("small", size=8, folder=given)
        assert (found.weights, first_weight(found)) == ("imagenet", 0.5)
    assert capsys.readouterr().out.count("ImageNet weights (small_notop.h5") == 3
    (cache / "small_notop.h5").unlink()
    (user / "small_notop.h5").write_bytes(small)
    assert backbones.load("small", "imagenet", size=8).weights == "imagenet"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_own_files_are_read(deep_network, keras_own, places, monkeypatch, name):
    """The published files are of Keras' old format: the weights in the order of the layers, whatever their names."""
    backbone, network = deep_network(name), keras_own(name)[0]
    network.set_weights(backbone.model.get_weights())
    entry = backbones._NETWORKS[name]
    path = places[0] / entry.file
    network.save(path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(backbones._NETWORKS, name, dataclasses.replace(entry, md5=md5))
    found = backbones.load(name, size=backbone.size, seed=5)
    path.unlink()  # up to 220 MB
    assert found.weights == "imagenet"
    assert found.digest == backbone.digest


def test_a_wrong_file_in_the_users_folder_is_named_and_left_alone(small, places):
    path = places[0] / "small_notop.h5"
    path.write_bytes(small[:-1])
    for wanted in ("auto", "imagenet"):
        with pytest.raises(ValueError, match=r"small_notop.h5 is not the file .* replace it, or remove it"):
            backbones.load("small", wanted, size=8)
    assert path.read_bytes() == small[:-1]


def test_a_wrong_file_in_keras_cache_is_reported_and_left_alone(small, places, capsys):
    path = places[1] / "small_notop.h5"
    path.write_bytes(b"half of it")
    assert backbones.load("small", size=8).weights == "random"
    assert "has a wrong MD5 and was left alone" in capsys.readouterr().out
    with pytest.raises(ValueError, match="delete it, so that it can be downloaded again"):
        backbones.load("small", "imagenet", size=8)
    assert path.read_bytes() == b"half of it"


def test_without_file_and_network_the_weights_are_random_and_the_line_says_why(small, places, capsys):
    found = backbones.load("small", size=8, seed=3)
    printed = capsys.readouterr().out
    assert (found.weights, found.source) == ("random", "random weights (seed 3)")
    assert printed.count("\n") == 1
    for part in ("random weights (seed 3)", "name resolution failed", "weights of our own: none here"):
        assert part in printed


def test_imagenet_weights_that_cannot_be_had_are_refused_with_what_to_do(small, places):
    with pytest.raises(ConnectionError, match=r"name resolution failed.*set COURSE_WEIGHTS .*small_notop.h5"):
        backbones.load("small", "imagenet", size=8)
    with pytest.raises(FileNotFoundError, match="not on this machine: connect to the network"):
        backbones.load("small", "imagenet", size=8, download=False)


class Response(io.BytesIO):
    headers = {"Content-Length": "1"}  # noqa: RUF012


def test_a_download_is_checked_before_it_enters_the_cache(small, places, monkeypatch):
    cached = places[1] / "small_notop.h5"
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Response(b"<html>sign in</html>"))
    with pytest.raises(ConnectionError, match="what arrived has a wrong MD5"):
        backbones.load("small", "imagenet", size=8)
    assert list(cached.parent.iterdir()) == []
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Response(small))
    assert first_weight(backbones.load("small", size=8)) == 0.5
    assert cached.read_bytes() == small


def test_weights_of_our_own_are_taken_after_imagenets_and_before_random_ones(small, places):
    user, cache = places
    made = backbones.load("small", "random", size=8, seed=7)
    weights.export(made.model, user / "small", dtype="float16", about={"objective": "formulas"})
    found = backbones.load("small", size=8)
    assert found.weights == "self_made"
    assert "without natural images (formulas)" in found.source
    np.testing.assert_allclose(first_weight(found), first_weight(made), rtol=1e-3)
    (cache / "small_notop.h5").write_bytes(small)
    assert backbones.load("small", size=8).weights == "imagenet"
    assert backbones.load("small", "self_made", size=8).weights == "self_made"


def test_damaged_weights_of_our_own_are_refused_not_replaced(small, places):
    made = backbones.load("small", "random", size=8)
    weights.export(made.model, places[0] / "small", about={})
    next((places[0] / "small").glob("*.npz")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"SHA-256 differs"):
        backbones.load("small", size=8)


def test_weights_of_our_own_that_are_not_there_are_refused(small, places):
    with pytest.raises(FileNotFoundError, match=r"no weights of our own for Small.*weights='random'"):
        backbones.load("small", "self_made", size=8)


def test_available_names_what_needs_no_download(small, places):
    user, cache = places
    assert backbones.available("small") == ("random",)
    (cache / "small_notop.h5").write_bytes(b"wrong")
    weights.export(backbones.load("small", "random", size=8).model, user / "small", about={})
    assert backbones.available("small") == ("self_made", "random")
    (user / "small_notop.h5").write_bytes(small)
    assert backbones.available("small") == ("imagenet", "self_made", "random")
    assert backbones.available("small", folder=cache) == ("random",)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"network": "inception"}, "did you mean 'inception_v3'"),
        ({"weights": "image-net"}, "did you mean 'imagenet'"),
        ({"size": 74}, "size=74, but it is a whole number of 75 or more"),
        ({"size": 299.0}, r"size=299\.0, but it is a whole number of 75 or more"),
        ({"seed": -1}, "seed=-1, but it is a whole number of 0 or more"),
        ({"seed": True}, "seed=True, but it is a whole number of 0 or more"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        backbones.load(**options)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        backbones.load(folder=tmp_path / "nowhere")


@pytest.mark.parametrize("weights", ["auto", "random"])
def test_a_variable_that_names_no_folder_is_refused_and_not_passed_over(small, places, monkeypatch, weights):
    monkeypatch.setenv("COURSE_WEIGHTS", str(places[0] / "mistyped"))
    said = r"COURSE_WEIGHTS names .*mistyped, but there is no such folder: correct the variable, or unset it\."
    with pytest.raises(FileNotFoundError, match=said):
        backbones.load("small", weights, size=8)
    with pytest.raises(FileNotFoundError, match=said):
        backbones.available("small")
    assert backbones.load("small", "random", size=8, folder=places[0]).weights == "random"
