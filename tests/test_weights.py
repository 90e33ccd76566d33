"""`weights`: what is stored comes back, small and checked."""

import hashlib
import json
import pickle

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from keras import layers

from helpers import weights


def network(seed=0, filters=8, name="small", classes=5):
    """A small network with a kernel of each kind, and statistics that are not what they were built as."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(filters, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SeparableConv2D(filters, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes),
        ],
        name=name,
    )
    random = np.random.default_rng(seed)
    model.set_weights(
        [value if value.ndim > 1 else random.uniform(0.5, 2, value.shape) for value in model.get_weights()]
    )
    return model


@pytest.fixture
def stored(tmp_path):
    weights.export(network(), tmp_path / "stored", about={"seconds": 3.5, "objective": "test"})
    return tmp_path / "stored"


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


# --------------------------------------------------------------------------------------------- there and back


def test_restored_weights_give_nearly_the_same_outputs_from_a_quarter_of_the_numbers(stored):
    model, other = network(), network(seed=1)
    images = np.random.default_rng(0).random((20, 16, 16, 3))
    expected, before = model.predict_on_batch(images), other.predict_on_batch(images)
    assert weights.restore(other, stored) == {"seconds": 3.5, "objective": "test"}
    found = other.predict_on_batch(images)
    assert np.linalg.norm(before - expected) > 0.5 * np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


@given(
    arrays_of.arrays(
        np.float32,
        st.sampled_from([(7, 5), (3, 3, 2, 4), (3, 3, 6, 1), (2, 2, 2, 1, 3)]),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
@settings(deadline=None, max_examples=200)
def test_an_int8_weight_is_wrong_by_at_most_half_a_step_of_its_channel(kernel):
    whole, scale = weights._encode(kernel, "int8", "kernel")
    assert whole.dtype == np.int8
    assert scale.size == (6 if kernel.shape == (3, 3, 6, 1) else kernel.shape[-1])
    error = np.abs(whole.astype(np.float64) * scale - kernel)
    # rounding in float32 adds to the half step what float32 cannot tell apart
    assert np.all(error <= scale * (0.5 + 127 * np.finfo(np.float32).eps))


@given(
    arrays_of.arrays(
        np.float16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-65504, 65504, width=16)
    )
)
@settings(deadline=None, max_examples=30)
def test_float16_numbers_come_back_exactly(tmp_path_factory, kernel):
    def build():
        return keras.Sequential([layers.Input((kernel.shape[0],)), layers.Dense(kernel.shape[1], use_bias=False)])

    model, other = build(), build()
    model.set_weights([kernel])
    folder = tmp_path_factory.mktemp("half")
    weights.export(model, folder, dtype="float16", about={})
    weights.restore(other, folder)
    assert np.array_equal(other.get_weights()[0], kernel.astype(np.float32))


@pytest.mark.parametrize("dtype", weights.DTYPES)
def test_biases_and_the_statistics_of_batch_normalisation_come_back_exactly(tmp_path, dtype):
    model, other = network(), network(seed=1)
    weights.export(model, tmp_path, dtype=dtype, about={})
    weights.restore(other, tmp_path)
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    vectors = [(one, two) for one, two in pairs if one.ndim == 1]
    assert len(vectors) == 6
    assert all(np.array_equal(one, two) for one, two in vectors)


def test_a_network_finds_its_weights_however_keras_has_counted_its_layers(tmp_path):
    first = network()
    weights.export(first, tmp_path, dtype="float16", about={})
    second = network(seed=1)
    assert [variable.path for variable in first.weights] != [variable.path for variable in second.weights]
    weights.restore(second, tmp_path)
    assert np.abs(second.get_weights()[0] - first.get_weights()[0]).max() < 1e-3


def test_the_digest_tells_numbers_apart_and_not_names():
    assert weights.digest(network()) == weights.digest(network(name="other"))
    assert weights.digest(network()) != weights.digest(network(seed=1))


def test_no_shard_is_larger_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_LIMIT", 8 * 1024)
    model, other = network(filters=64), network(seed=1, filters=64)
    weights.export(model, tmp_path, dtype="float16", about={})
    shards = list(tmp_path.glob("*.npz"))
    assert len(shards) > 2
    assert max(path.stat().st_size for path in shards) <= 8 * 1024
    weights.restore(other, tmp_path)
    np.testing.assert_allclose(other.get_weights()[0], model.get_weights()[0], rtol=1e-3, atol=1e-7)


def test_the_same_weights_make_the_same_files(tmp_path):
    for name in ("one", "two"):
        weights.export(network(), tmp_path / name, about={})
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_manifest_describes_the_weights(stored):
    manifest = weights.describe(stored)
    assert manifest["architecture"] == "small"
    assert manifest["parameters"] == network().count_params()
    assert [tuple(entry["shape"]) for entry in manifest["variables"]] == [w.shape for w in network().weights]
    assert {entry["dtype"] for entry in manifest["variables"]} == {"int8", "float32"}
    for name, expected in manifest["shards"].items():
        assert hashlib.sha256((stored / name).read_bytes()).hexdigest() == expected


# ------------------------------------------------------------------------------------------------ bad weights


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"name": "large"}, "belong to the network 'small', not to 'large'"),
        ({"filters": 9}, r"Variable 0 .* of shape \(3, 3, 3, 8\), but in this network .* \(3, 3, 3, 9\)"),
        ({"classes": 6}, r"dense/kernel of shape \(8, 5\)"),
    ],
)
def test_weights_of_another_network_are_refused(stored, other, sentence):
    with pytest.raises(ValueError, match=sentence):
        weights.restore(network(**other), stored)


def test_weights_of_a_network_with_fewer_layers_are_refused(stored):
    model = keras.Sequential(network().layers[:-1], name="small")
    with pytest.raises(ValueError, match="have 10 variables, but this 'small' has 8"):
        weights.restore(model, stored)


def test_a_damaged_shard_is_named_and_the_network_stays_as_it_was(stored):
    path = stored / "shard-00.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    model = network(seed=1)
    before = weights.digest(model)
    with pytest.raises(ValueError, match=r"shard-00.npz is damaged \(its SHA-256 differs\)"):
        weights.restore(model, stored)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-00.npz is missing"):
        weights.restore(model, stored)
    assert weights.digest(model) == before


def test_a_missing_or_damaged_manifest_is_named(stored, tmp_path):
    with pytest.raises(FileNotFoundError, match="There are no weights in"):
        weights.describe(tmp_path)
    path = stored / "manifest.json"
    content = path.read_text()
    for damaged in (content[:-50], "[]", "{}"):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"manifest.json is damaged"):
            weights.describe(stored)
    path.write_text(content.replace("weights 1", "weights 2"))
    with pytest.raises(ValueError, match=r"format 'features-without-labels weights 2'.*update the course"):
        weights.describe(stored)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format=["features-without-labels weights 1"]),
        lambda manifest: manifest.update(architecture=3),
        lambda manifest: manifest.update(about="a card"),
        lambda manifest: manifest.update(shards=[]),
        lambda manifest: manifest.update(shards={"shard-00.npz": 5}),
        lambda manifest: manifest.update(variables={"conv2d/kernel": [3, 3, 3, 8]}),
        lambda manifest: manifest.update(variables=[1]),
        lambda manifest: manifest["variables"][0].pop("path"),
        lambda manifest: manifest["variables"][0].update(path=0),
        lambda manifest: manifest["variables"][0].update(shape=216),
        lambda manifest: manifest["variables"][0].update(shape=[3, 3, 3, 8.0]),
        lambda manifest: manifest["variables"][0].update(dtype="float64"),
        lambda manifest: manifest["variables"][0].update(dtype=["int8"]),
        lambda manifest: manifest["variables"][0].update(pieces=3),
        lambda manifest: manifest["variables"][0].update(pieces=[0]),
        lambda manifest: manifest["variables"][0].update(scale="0000.scale"),
        lambda manifest: manifest["variables"][0].pop("scale"),
        lambda manifest: manifest["variables"][1].update(scale=["0000.scale"]),
    ],
)
def test_a_manifest_whose_entries_are_of_another_kind_is_damaged(stored, change):
    edit(stored, change)
    model = network(seed=1)
    before = weights.digest(model)
    with pytest.raises(ValueError, match=r"manifest.json is damaged \(.*: fetch this folder of weights again"):
        weights.restore(model, stored)
    assert weights.digest(model) == before


def test_whole_numbers_are_not_taken_for_weights_where_the_manifest_hides_their_scale(stored):
    edit(stored, lambda manifest: manifest["variables"][0].update(dtype="float32"))
    edit(stored, lambda manifest: manifest["variables"][0].pop("scale"))
    with pytest.raises(ValueError, match=r"conv2d/kernel in .* are stored as int8, but the manifest says float32"):
        weights.restore(network(), stored)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_a_shard_that_holds_a_pickle_is_refused_and_not_opened(stored):
    path = stored / "shard-00.npz"
    np.savez(path, **{"0000": np.array([Trap()], dtype=object)})
    sum_of_it = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(stored, lambda manifest: manifest["shards"].update({"shard-00.npz": sum_of_it}))
    with pytest.raises(ValueError, match="is no archive of arrays"):
        weights.restore(network(), stored)
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))  # the trap works
    assert Trap.sprung


def test_a_manifest_that_points_out_of_its_folder_is_refused(stored):
    edit(stored, lambda manifest: manifest["shards"].update({"../shard-00.npz": "0"}))
    with pytest.raises(ValueError, match="lies outside of the folder"):
        weights.restore(network(), stored)


def test_a_shard_without_the_numbers_of_a_variable_is_refused(stored):
    edit(stored, lambda manifest: manifest["variables"][0].update(pieces=["0001"]))
    with pytest.raises(ValueError, match=r"conv2d/kernel .* do not have the numbers for shape \(3, 3, 3, 8\)"):
        weights.restore(network(), stored)


# ------------------------------------------------------------------------------------------------- bad exports


def test_an_export_does_not_replace_another(stored):
    before = (stored / "manifest.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds weights already"):
        weights.export(network(seed=1), stored, about={})
    assert (stored / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("value", "dtype", "sentence"),
    [
        (np.nan, "int8", "conv2d/kernel hold NaN or infinity"),
        (np.inf, "float16", "conv2d/kernel hold NaN or infinity"),
        (1e5, "float16", r"reach 1e\+05, more than float16 can hold: use int8"),
    ],
)
def test_weights_that_cannot_be_stored_are_refused(tmp_path, value, dtype, sentence):
    model = network()
    found = model.get_weights()
    found[0].flat[3] = value
    model.set_weights(found)
    with pytest.raises(ValueError, match=sentence):
        weights.export(model, tmp_path, dtype=dtype, about={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("about", [{"seconds": float("nan")}, {"model": object()}, "seven hours", None])
def test_a_card_that_is_not_json_is_refused(tmp_path, about):
    with pytest.raises(ValueError, match="`about` cannot be written as JSON"):
        weights.export(network(), tmp_path, about=about)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "weights").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"weights is a file, but weights take a folder: give one"):
        weights.export(network(), tmp_path / "weights", about={})
    assert (tmp_path / "weights").read_text() == "mine"


def test_an_unknown_type_suggests_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'int8'"):
        weights.export(network(), tmp_path, dtype="int4", about={})
