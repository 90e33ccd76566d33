import hashlib
import urllib.error
import urllib.request

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import datasets as sklearn_datasets

from helpers import datasets
from helpers.datasets import ImageSet, mnist


def test_an_unknown_set_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        datasets.load("minst")


def test_digits_are_scikit_learns_scaled_to_one():
    ours, theirs = datasets.load("digits"), sklearn_datasets.load_digits()
    assert np.array_equal(ours.images[..., 0] * 16, theirs.images)
    assert np.array_equal(ours.labels, theirs.target)


def test_shifted_digits_repeat_with_the_seed_and_differ_without():
    first, again, other = (datasets.load("shifted-digits", seed=seed).images for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_views_stand_next_to_each_other_and_share_their_original():
    views = datasets.load("shifted-digits", views=3)
    assert np.array_equal(views.groups, np.repeat(np.arange(1797), 3))
    assert np.array_equal(views.labels[::3], datasets.load("digits").labels)
    assert np.array_equal(views.labels[::3], views.labels[2::3])


def test_every_digit_stays_wholly_on_the_canvas():
    # the sum of the pixels grows with the square of the scale, whatever the place and the turn
    plain = datasets.load("digits").images.sum(axis=(1, 2, 3))
    placed = datasets.load("shifted-digits", scale=(1.5, 1.5), noise=0.0).images.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(placed / plain, 1.5**2, rtol=0.03)


def test_a_placed_digit_is_the_original_looked_up_at_its_place():
    """One image, pixel by pixel, from the same draws: the generator's order of draws is part of its contract."""
    random = np.random.default_rng(5)
    factor = random.uniform(1.2, 1.6, 1797)[0]
    turn = np.deg2rad(random.uniform(-20, 20, 1797)[0])
    angle = np.deg2rad(20)
    reach = 4 * 1.6 * (np.cos(angle) + np.sin(angle))
    centre = random.uniform(reach, 28 - reach, (1797, 2))[0] - 0.5
    digit = np.pad(datasets.load("digits").images[0, ..., 0], 1)  # a frame of nothing around the digit
    expected = np.zeros((28, 28))
    for row in range(28):
        for column in range(28):
            y, x = (np.array([row, column]) - centre) / factor
            place = [
                np.cos(turn) * y + np.sin(turn) * x + 4.5,
                np.cos(turn) * x - np.sin(turn) * y + 4.5,
            ]
            low = np.floor(place).astype(int)
            share = place - low
            for step in np.ndindex(2, 2):
                if all(low + step >= 0) and all(low + step < 10):
                    expected[row, column] += digit[tuple(low + step)] * np.prod(np.where(step, share, 1 - share))
    found = datasets.load("shifted-digits", seed=5, noise=0.0).images[0, ..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_digit_too_large_for_the_canvas_is_refused():
    with pytest.raises(ValueError, match="does not fit 10 pixels"):
        datasets.load("shifted-digits", size=10)


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="drawn at least once"):
        datasets.load("shifted-digits", views=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.1, 0.3), st.floats(0.1, 0.5))
def test_no_original_straddles_a_split(seed, validation, test):
    image_set = _many_views()
    parts = image_set.split(validation, test, seed)
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(np.unique(image_set.groups))
    assert sum(map(len, parts)) == len(image_set)
    assert all(set(part.labels) == {0, 1, 2} for part in parts)


def _many_views() -> ImageSet:
    groups = np.repeat(np.arange(120), 3)
    return ImageSet(np.zeros((360, 2, 2, 1)), groups % 3, ("a", "b", "c"), "test", "here", "none", groups)


def test_a_split_keeps_the_shares_of_the_classes():
    _, _, test = datasets.load("digits").split(test=0.3)
    share = np.bincount(test.labels) / len(test)
    np.testing.assert_allclose(share, np.bincount(datasets.load("digits").labels) / 1797, atol=0.002)


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.3), (0.3, 0.0), (0.5, 0.5), (-0.1, 0.3)])
def test_a_split_with_an_empty_part_is_refused(validation, test):
    with pytest.raises(ValueError, match="leave a part empty"):
        datasets.load("digits").split(validation, test)


def test_one_per_group_takes_the_first_view_of_each_original():
    views = datasets.load("shifted-digits", views=3)
    assert np.array_equal(views.one_per_group().images, views.images[::3])


def test_an_image_set_cannot_be_changed():
    digits = datasets.load("digits")
    with pytest.raises(ValueError, match="read-only"):
        digits.images[0] = 1
    with pytest.raises(AttributeError):
        digits.labels = None


def test_labels_without_a_class_name_are_refused():
    with pytest.raises(ValueError, match="2 class names allow 0 to 1"):
        ImageSet(np.zeros((3, 2, 2, 1)), [0, 1, 2], ("a", "b"), "test", "here", "none")


# ------------------------------------------------------------------------------------------------ MNIST


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A file like MNIST's, with digests to match, in a folder; no other place has one."""
    arrays = {
        "x_train": np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28),
        "y_train": np.array([3, 1], np.uint8),
        "x_test": np.zeros((1, 28, 28), np.uint8),
        "y_test": np.array([7], np.uint8),
    }
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(mnist, "_DIGESTS", digests)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("COURSE_DATA", raising=False)
    file = tmp_path / "mine" / "mnist.npz"
    file.parent.mkdir()
    np.savez(file, **arrays)
    return file


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("name resolution failed")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_mnist_is_read_from_a_file_or_its_folder(tiny_mnist):
    for path in (tiny_mnist, tiny_mnist.parent):
        found = datasets.load("mnist", path=path)
        assert found.images.shape == (2, 28, 28, 1)
        assert found.images.max() == 1
        assert found.labels.tolist() == [3, 1]


def test_mnist_is_found_in_the_users_folder_before_keras_cache(tiny_mnist, monkeypatch, no_network):
    cached = tiny_mnist.parents[1] / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    monkeypatch.setenv("COURSE_DATA", str(tiny_mnist.parent))
    assert len(datasets.load("mnist", part="test")) == 1


def test_mnist_without_network_says_what_to_do(tiny_mnist, no_network):
    with pytest.raises(ConnectionError, match=r"name resolution failed.*COURSE_DATA.*load\('shifted-digits'\)"):
        datasets.load("mnist")


def test_mnist_at_a_wrong_path_is_refused(tiny_mnist):
    with pytest.raises(FileNotFoundError, match="no MNIST file at"):
        datasets.load("mnist", path=tiny_mnist.parent / "other.npz")


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_truncated_mnist_is_named_and_left_alone(tiny_mnist, keep):
    content = tiny_mnist.read_bytes()[:keep]
    tiny_mnist.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine/mnist.npz is damaged or cut short"):
        datasets.load("mnist", path=tiny_mnist)
    assert tiny_mnist.read_bytes() == content


def test_an_mnist_of_other_arrays_is_refused(tiny_mnist):
    with np.load(tiny_mnist) as archive:
        arrays = dict(archive)
    np.savez(tiny_mnist, **arrays | {"y_train": np.array([3, 2], np.uint8)})
    with pytest.raises(ValueError, match=r"array y_train .* SHA-256 differs"):
        datasets.load("mnist", path=tiny_mnist)


def test_a_download_is_checked_before_it_is_kept(tiny_mnist, monkeypatch):
    class Response:
        def __init__(self, content):
            self.content = content

        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

        def read(self):
            return self.content

    kept = tiny_mnist.parents[1] / "keras" / "datasets" / "mnist.npz"
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Response(b"<html>sign in</html>"))
    with pytest.raises(ConnectionError, match=r"could not be downloaded .*damaged or cut short"):
        datasets.load("mnist")
    assert not kept.exists()
    good = tiny_mnist.read_bytes()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Response(good))
    assert len(datasets.load("mnist")) == 2
    assert kept.read_bytes() == good


# ------------------------------------------------------------------------------------------------ folders


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, size, mode in (("cats", (40, 20), "RGB"), ("dogs", (16, 16), "L"), ("dogs", (9, 30), "RGBA")):
        pixels = random.integers(0, 256, (*size, {"L": 1, "RGB": 3, "RGBA": 4}[mode]), np.uint8)
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(pixels.squeeze(), mode).save(tmp_path / name / f"{mode}.png")
    (tmp_path / "cats" / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_mixed_sizes_and_modes_becomes_one_array(folder, channels):
    found = datasets.load("folder", path=folder, size=(12, 10), channels=channels)
    assert found.images.shape == (3, 12, 10, channels)
    assert found.class_names == ("cats", "dogs")
    assert found.labels.tolist() == [0, 1, 1]


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_an_image_of_the_right_size_is_read_pixel_by_pixel(folder):
    pixels = np.asarray(Image.open(folder / "dogs" / "L.png"))
    found = datasets.load("folder", path=folder, size=(16, 16), channels=1)
    np.testing.assert_allclose(found.images[1, ..., 0] * 255, pixels, atol=1e-4)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_every_damaged_file_is_named(folder):
    (folder / "cats" / "broken.png").write_bytes(b"no image")
    cut = (folder / "dogs" / "L.png").read_bytes()[:60]
    (folder / "dogs" / "cut.png").write_bytes(cut)
    with pytest.raises(ValueError, match=r"2 of 5 images .*cats/broken.png.*dogs/cut.png"):
        datasets.load("folder", path=folder)


def test_images_of_more_than_eight_bits_are_refused_rather_than_whitened(tmp_path):
    (tmp_path / "cells").mkdir()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "cells" / "deep.png")
    with pytest.raises(ValueError, match=r"cells/deep.png .*more than 8 bits"):
        datasets.load("folder", path=tmp_path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_what_systems_leave_behind_is_no_class_and_no_image(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "a.png").write_bytes(b"")
    (folder / "cats" / "._RGB.png").write_bytes(b"")
    assert datasets.load("folder", path=folder).class_names == ("cats", "dogs")


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="put each class into a subfolder"):
        datasets.load("folder", path=tmp_path)
