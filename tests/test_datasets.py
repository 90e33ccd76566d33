import hashlib
import itertools
import os
import shutil
import struct
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import datasets as sklearn_datasets

from helpers import datasets
from helpers.datasets import ImageSet, kylberg, mnist
from helpers.datasets import folder as folder_module


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


@pytest.mark.parametrize("rotation", [20, 45, 90, 180])
def test_every_digit_stays_wholly_on_the_canvas(rotation):
    # the sum of the pixels grows with the square of the scale, whatever the place and the turn
    plain = datasets.load("digits").images.sum(axis=(1, 2, 3))
    options = {"scale": (1.5, 1.5), "rotation": rotation, "noise": 0.0}
    placed = datasets.load("shifted-digits", **options).images.sum(axis=(1, 2, 3))
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


@pytest.mark.parametrize("options", [{"views": 0}, {"views": 1.5}, {"seed": -1}, {"size": 28.0}])
def test_views_of_no_whole_number_are_refused(options):
    with pytest.raises(ValueError, match=r"(views|seed|size)=.*, but it is a whole number of"):
        datasets.load("shifted-digits", **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": 1.4}, r"scale=1.4, but it is a pair of numbers"),
        ({"scale": (1.6, 1.2)}, r"scale\[1\]=1.2, but it is a number of 1.6 or more"),
        ({"scale": (0, 1.2)}, r"scale\[0\]=0, but it is a number more than 0"),
        ({"rotation": 270}, r"rotation=270, but it is a number from 0 to 180"),
        ({"noise": -1}, r"noise=-1, but it is a number of 0 or more"),
    ],
)
def test_changes_of_digits_out_of_range_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        datasets.load("shifted-digits", **options)


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


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_an_image_with_damaged_metadata_and_a_link_to_nowhere_are_named(folder):
    # two entries, of tag, type, count and value: a width that is a text, and an orientation that is to be turned
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"big") + struct.pack("<HHIHxx", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    Image.new("RGB", (8, 8)).save(folder / "cats" / "turned.jpg", exif=exif)
    (folder / "dogs" / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(ValueError, match=r"2 of 5 images .*cats/turned.jpg.*dogs/gone.png"):
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
    for name in (".thumbs", "__MACOSX", "a/.ipynb_checkpoints", "a/__MACOSX/b"):
        (folder / "cats" / name).mkdir(parents=True)
        (folder / "cats" / name / "0.png").write_bytes(b"")
    found = datasets.load("folder", path=folder)
    assert found.class_names == ("cats", "dogs")
    assert len(found) == 3


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="put each class into a subfolder"):
        datasets.load("folder", path=tmp_path)


def save(path: Path, *pixels: int, size: tuple[int, int] = (24, 20)) -> None:
    """Save an image of a slope, or of the given grey levels."""
    slope = np.add.outer(np.arange(size[0]), np.arange(size[1])) * 5 + len(path.name)
    levels = np.random.default_rng(0).choice(pixels, size) if pixels else slope
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8)).save(path)


@pytest.fixture
def pictures_with_masks(tmp_path):
    """Two classes of three pictures, each with a mask: a PNG of the same name, or one that says so."""
    for number in range(3):
        save(tmp_path / "crack" / f"{number}.jpg")
        save(tmp_path / "crack" / f"{number}.png", 0, 255)
        save(tmp_path / "hole" / f"{number}.png", size=(20, 20 + number))
        save(tmp_path / "hole" / f"{number}{('_mask', '-gt', '-Mask')[number]}.png", size=(30, 30 + number))
    return tmp_path


def test_masks_among_the_images_are_counted_and_named(pictures_with_masks):
    with pytest.raises(
        ValueError, match=r"6 of the 12 images .* masks of the other 6: crack/0.png.* and 1 more; .*skip"
    ):
        datasets.load("folder", path=pictures_with_masks)


def test_masks_are_left_out_or_kept_on_demand(pictures_with_masks):
    skipped = datasets.load("folder", path=pictures_with_masks, masks="skip")
    assert skipped.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(datasets.load("folder", path=pictures_with_masks, masks="keep")) == 12
    with pytest.raises(ValueError, match="Unknown way with masks 'drop'"):
        datasets.load("folder", path=pictures_with_masks, masks="drop")


@pytest.mark.parametrize(
    "mask",
    [
        "cats/mask_a.png",
        "cats/GT-a.png",
        "cats/a_segmentation.png",
        "cats/a-ground_truth.png",
        "cats/masks/a.png",
        "cats/ground truth/deep/1.png",
        "cats/Annotations/a_label.png",
        "masks/a.png",
        "gt/cats/a.png",
        "segmentation/7.jpg",
    ],
)
def test_masks_are_told_by_prefixes_and_suffixes_and_by_their_folders(tmp_path, mask):
    save(tmp_path / "cats" / "a.png")
    save(tmp_path / mask, 0, 255)
    with pytest.raises(ValueError, match=rf"1 of the 2 images .* look like masks of the other 1: {mask}; leave them"):
        datasets.load("folder", path=tmp_path)
    skipped = datasets.load("folder", path=tmp_path, masks="skip")
    assert (len(skipped), skipped.class_names) == (1, ("cats",))
    assert len(datasets.load("folder", path=tmp_path, masks="keep")) == 2


def test_folders_above_the_images_are_not_asked_for_masks(tmp_path):
    save(tmp_path / "masks" / "venetian" / "a.png")
    assert len(datasets.load("folder", path=tmp_path / "masks")) == 1


def test_images_in_no_class_are_named(folder):
    save(folder / "stray.png")
    save(folder / ".hidden.png")
    save(folder / "other.jpg")
    said = (
        r"2 of the images in .* must not lie beside the subfolders: other.jpg, stray.png; put each into the subfolder"
    )
    with pytest.raises(ValueError, match=said):
        datasets.load("folder", path=folder)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white_whatever_colour_it_hides(tmp_path, channels):
    (tmp_path / "marks").mkdir()
    alpha = np.array([[0, 255], [51, 0]], np.uint8)
    red = np.dstack([np.full((2, 2), 255, np.uint8), np.zeros((2, 2, 2), np.uint8)])
    grey = np.full((2, 2), 100, np.uint8)
    Image.fromarray(np.dstack([red, alpha])).save(tmp_path / "marks" / "1.png")
    Image.fromarray(np.dstack([grey, alpha])).save(tmp_path / "marks" / "2.png")
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "marks" / "3.png", transparency=0)
    Image.fromarray(red).save(tmp_path / "marks" / "4.png", transparency=(255, 0, 0))
    found = datasets.load("folder", path=tmp_path, size=2, channels=channels).images
    share = alpha[..., None] / 255
    blue = np.array([[[255, 255, 255], [0, 0, 255]], [[0, 0, 255], [255, 255, 255]]])
    expected = [
        share * red + (1 - share) * 255,
        share * grey[..., None] + (1 - share) * 255,
        blue,
        np.full((2, 2, 3), 255),
    ]
    luma = np.array([[0.299], [0.587], [0.114]])  # ITU-R 601, as Pillow turns colour into grey
    for image, pixels in zip(found, expected, strict=True):
        pixels = np.broadcast_to(pixels, (2, 2, 3))
        np.testing.assert_allclose(image * 255, pixels @ luma if channels == 1 else pixels, atol=1.01)


def test_a_folder_that_is_named_like_an_image_is_a_folder(folder):
    (folder / "cats" / "many.png").mkdir()
    save(folder / "cats" / "many.png" / "a.png")
    assert datasets.load("folder", path=folder).labels.tolist() == [0, 0, 1, 1]


def test_one_side_is_given_for_a_square_or_height_and_width(folder):
    square = datasets.load("folder", path=folder, size=12)
    assert square.shape == (12, 12, 3)
    assert np.array_equal(square.images, datasets.load("folder", path=folder, size=(12, 12)).images)
    assert datasets.load("folder", path=folder).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [0, 8.0, True, "64", None, (0, 4), (8, 2.5)])
def test_a_size_of_no_whole_number_is_refused(folder, size):
    with pytest.raises(ValueError, match=r"size=.*, but it is a whole number of 1 or more"):
        datasets.load("folder", path=folder, size=size)


@pytest.mark.parametrize("size", [(8,), (8, 8, 3), [[8, 8]]])
def test_a_size_of_other_than_one_or_two_numbers_is_refused(folder, size):
    with pytest.raises(ValueError, match=r"size=.*, but it is one number of pixels, or height and width"):
        datasets.load("folder", path=folder, size=size)


def test_a_folder_that_is_not_given_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path=\.\.\.: a folder with one subfolder of images per class"):
        datasets.load("folder")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*file.txt: give a folder with one subfolder"):
        datasets.load("folder", path=tmp_path / "file.txt")


def test_a_picture_of_many_levels_beside_another_is_no_mask(tmp_path):
    save(tmp_path / "cats" / "a.jpg")
    save(tmp_path / "cats" / "a.png", *range(0, 250, 10))
    save(tmp_path / "cats" / "unmask.png", 0, 255)
    save(tmp_path / "cats" / "b_mask.png", 0, 255, size=(8, 8))  # a mask of nothing that is here
    assert len(datasets.load("folder", path=tmp_path)) == 4


def test_copies_of_a_file_share_a_group(folder):
    copy = folder / "dogs" / "other.png"
    copy.write_bytes((folder / "dogs" / "L.png").read_bytes())
    found = datasets.load("folder", path=folder)
    assert found.groups.tolist() == [0, 1, 2, 1]


def test_an_image_in_two_classes_is_named(folder):
    (folder / "cats" / "L.png").write_bytes((folder / "dogs" / "L.png").read_bytes())
    with pytest.raises(ValueError, match=r"1 of the 4 images .* in two classes: dogs/L.png = cats/L.png"):
        datasets.load("folder", path=folder)


@pytest.fixture
def crops(tmp_path):
    """Three classes of crops from four pictures, no two files the same."""
    counts = {"cats": (5, 1, 2, 3), "dogs": (1, 4, 2, 3), "owls": (2, 2, 1, 3)}
    for name, picture in itertools.product(counts, range(4)):
        for crop in range(counts[name][picture]):
            save(
                tmp_path / name / f"picture_{picture}_{name}{crop}.png",
                50 * picture,
                10 * crop,
                len(name),
                *name.encode(),
            )
    return tmp_path


def pictures_of(found: ImageSet, home: Path) -> list[int]:
    return [int(file.name.split("_")[1]) for name in found.class_names for file in sorted((home / name).iterdir())]


@pytest.mark.parametrize("pattern", ["^[^_]+_[0-9]+", "_([0-9]+)_", "(?:x)?(pic)ture_([0-9]+)"])
def test_files_whose_names_agree_in_a_pattern_are_a_group_in_whatever_class(crops, pattern):
    found = datasets.load("folder", path=crops, groups=pattern, size=4)
    pictures = pictures_of(found, crops)
    assert found.groups.tolist() == [pictures.index(picture) for picture in pictures]
    parts = found.split(validation=0.25, test=0.25)
    assert sum(len(set(part.groups)) for part in parts) == 4
    assert all(set(part.labels) == {0, 1, 2} for part in parts)


def test_a_pattern_may_take_the_group_from_a_subfolder_of_the_class(tmp_path):
    for number, name in enumerate(["cats/tom/1.png", "cats/kit/1.png", "dogs/tom/1.png", "dogs/tom/2.png"]):
        save(tmp_path / name, number)
    assert datasets.load("folder", path=tmp_path, groups="^[^/]+").groups.tolist() == [0, 1, 1, 1]  # kit, tom
    assert datasets.load("folder", path=tmp_path, groups="[^/]+$").groups.tolist() == [0, 0, 0, 3]  # 1.png, 2.png


def test_copies_of_a_file_bring_their_pictures_together(crops):
    """Picture 2 has a crop of picture 0, and picture 3 one of picture 2: neither may be apart from the others."""
    for old, new in {"picture_0_cats0": "picture_2_cats9", "picture_2_cats1": "picture_3_cats9"}.items():
        (crops / "cats" / f"{new}.png").write_bytes((crops / "cats" / f"{old}.png").read_bytes())
    found = datasets.load("folder", path=crops, groups="_[0-9]", size=4)
    pictures = pictures_of(found, crops)
    assert found.groups.tolist() == [pictures.index(1) if picture == 1 else 0 for picture in pictures]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=14))
def test_two_groupings_join_to_the_finest_that_divides_no_group_of_either(pairs):
    one, other = (np.unique(values, return_inverse=True)[1] for values in zip(*pairs, strict=True))
    near = (one[:, None] == one) | (other[:, None] == other)
    reached = np.linalg.matrix_power(near.astype(float), len(pairs)) > 0  # in as many steps as there are files
    assert np.array_equal(folder_module._joined(one, other), reached.argmax(axis=1))


@pytest.mark.parametrize("pattern", ["_1_", "_(1)?"])
def test_files_without_a_match_are_named_with_an_example(crops, pattern):
    said = (
        r"is not found in the names of 22 of the 29 images in .*: cats/picture_0_cats0\.png, .* and 17 more; give a "
        r"regular expression that matches .*, as in groups=r'\^\[\^_\]\+_\[0-9\]\+' for crops like BloodImage_00012"
    )
    with pytest.raises(ValueError, match=said):
        datasets.load("folder", path=crops, groups=pattern)


@pytest.mark.parametrize("pattern", ["picture_(", b"picture", 7])
def test_what_is_no_regular_expression_is_refused(crops, pattern):
    with pytest.raises(ValueError, match=r"^groups=.* is no regular expression \(.*\): give one that matches what"):
        datasets.load("folder", path=crops, groups=pattern)


REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.skipif(not (REAL / "textures_dtd").is_dir(), reason="no real images beside the repository")
def test_real_textures_of_many_sizes_and_modes_become_one_array():
    found = datasets.load("folder", path=REAL / "textures_dtd", size=(32, 32))
    assert found.images.shape == (115, 32, 32, 3)
    assert np.bincount(found.labels).tolist() == [23] * 5
    assert found.class_names == ("banded", "bubbly", "chequered", "cracked", "crystalline")


@pytest.mark.skipif(not (REAL / "blood_cells").is_dir(), reason="no real images beside the repository")
def test_real_crops_of_blood_cells_are_split_by_their_pictures():
    found = datasets.load("folder", path=REAL / "blood_cells", size=8, groups="^[^_]+_[0-9]+")
    assert np.bincount(found.labels).tolist() == [361, 723, 372]
    parts = found.split()
    assert sum(len(set(part.groups)) for part in parts) == len(set(found.groups)) == 362
    for part in parts:
        np.testing.assert_allclose(np.bincount(part.labels) / len(part), [0.248, 0.497, 0.255], atol=0.01)


# ------------------------------------------------------------------------------------------------ Kylberg


@pytest.fixture(scope="module")
def whole_kylberg(tmp_path_factory):
    """All 4,480 patches of the set, tiny; the grey level tells the class, the photograph and the patch."""
    home = tmp_path_factory.mktemp("data") / "kylberg"
    for number, texture in enumerate(kylberg._CLASSES):
        (home / texture).mkdir(parents=True)
        for letter, patch in itertools.product(range(4), range(1, 41)):
            separator = "." if (texture, letter) == ("rice1", 1) else "-"
            file = home / texture / f"{texture}{separator}{'abcd'[letter]}-p{patch:03}.png"
            Image.new("L", (9, 9), 8 * number + letter).save(file)
    return home


@pytest.fixture
def kylberg_folder(whole_kylberg, tmp_path):
    """The same in links, for tests that change it."""
    return Path(shutil.copytree(whole_kylberg, tmp_path / "kylberg", copy_function=os.symlink))


def test_kylbergs_set_is_read_class_by_class(whole_kylberg, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(whole_kylberg.parent))
    found = datasets.load("kylberg", size=8)
    assert found.images.shape == (4480, 8, 8, 1)
    assert np.bincount(found.labels).tolist() == [160] * 28
    level = np.rint(found.images[:, 0, 0, 0] * 255).astype(int)
    assert np.array_equal(level // 8, found.labels)


def test_patches_of_one_photograph_are_one_group(whole_kylberg):
    found = datasets.load("kylberg", path=whole_kylberg, size=8)
    level = np.rint(found.images[:, 0, 0, 0] * 255).astype(int)
    assert np.array_equal(level // 8 * 4 + level % 8, found.groups)
    few = datasets.load("kylberg", path=whole_kylberg, size=8, per_class=6)
    assert np.bincount(few.groups).tolist() == [2, 2, 1, 1] * 28


def test_missing_patches_are_counted_and_named(kylberg_folder):
    (kylberg_folder / "wall1" / "wall1-d-p040.png").unlink()
    shutil.rmtree(kylberg_folder / "rug1")
    with pytest.raises(
        FileNotFoundError, match=r"161 of 4,480 patches cannot be found .*rug1-a-p001.png.* and 156 more"
    ):
        datasets.load("kylberg", path=kylberg_folder)


def test_images_that_are_no_patches_are_named(kylberg_folder):
    save(kylberg_folder / "overview.png")
    save(kylberg_folder / "rug1" / "rug1-e-p001.png")
    with pytest.raises(
        ValueError, match=r"2 of the images .* cannot be patches of the set: overview.png, rug1/rug1-e-p001.png"
    ):
        datasets.load("kylberg", path=kylberg_folder)


def test_turned_copies_are_left_out_and_a_patch_that_lies_there_twice_is_named(kylberg_folder):
    save(kylberg_folder / "turned" / "rug1-a-p001-r030.png")
    assert len(datasets.load("kylberg", path=kylberg_folder, size=8, per_class=4)) == 112
    save(kylberg_folder / "turned" / "rug1-a-p001-r000.png")
    with pytest.raises(
        ValueError, match=r"1 of the patches .* twice: turned/rug1-a-p001-r000.png = rug1/rug1-a-p001.png"
    ):
        datasets.load("kylberg", path=kylberg_folder)


@pytest.mark.parametrize(("name", "embedded"), [("kylberg", "textures"), ("affective", "paintings")])
def test_a_set_that_is_not_there_names_the_embedded_one(name, embedded, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"path=\.\.\..*COURSE_DATA.*load\('{embedded}'\)"):
        datasets.load(name)
    with pytest.raises(FileNotFoundError, match=rf"no folder .*nowhere.*load\('{embedded}'\)"):
        datasets.load(name, path=tmp_path / "nowhere")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"no folder .*{name}"):
        datasets.load(name)


# ------------------------------------------------------------------------------------------------ affective images

HEAD = "'','Amusement','Anger','Awe','Content','Disgust','Excitement','Fear','Sad'"


@pytest.fixture
def affective_folder(tmp_path):
    """A photograph for each emotion; three paintings: one afraid, one content, one tied."""
    emotions = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sad")
    for emotion in emotions:
        save(tmp_path / "testImages_artphoto" / f"{emotion}_0001.jpg")
    for number in (1, 2, 3):
        save(tmp_path / "testImages_abstract" / f"abstract_000{number}.jpg")
    table = [HEAD, "'abstract_0001.jpg',1,0,0,0,0,0,9,0", "'abstract_0002.jpg',0,2,0,5,1,0,0,0"]
    table += ["'abstract_0003.jpg',3,0,3,0,0,0,0,1"]
    (tmp_path / "testImages_abstract" / "ABSTRACT_groundTruth.csv").write_text("\n".join(table))
    return tmp_path


def test_emotions_are_told_by_names_and_by_votes_and_ties_are_left_out(affective_folder):
    found = datasets.load("affective", path=affective_folder, size=16)
    assert found.images.shape == (10, 16, 16, 3)
    counts = dict(zip(found.class_names, np.bincount(found.labels).tolist(), strict=True))
    assert counts == dict.fromkeys(found.class_names, 1) | {"fear": 2, "contentment": 2}
    assert "sadness" in counts


def test_a_limit_on_affective_images_holds_for_each_emotion(affective_folder):
    found = datasets.load("affective", path=affective_folder, size=16, per_class=1)
    assert found.labels.tolist() == list(range(8))


def test_an_image_without_an_emotion_is_named(affective_folder):
    save(affective_folder / "holiday.jpg")
    with pytest.raises(
        ValueError, match=r"1 of the images .* cannot be given an emotion: holiday.jpg; name them like amusement"
    ):
        datasets.load("affective", path=affective_folder)


def test_an_emotion_without_images_is_named(affective_folder):
    (affective_folder / "testImages_artphoto" / "awe_0001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no images of awe: unpack"):
        datasets.load("affective", path=affective_folder)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("'','Joy','Anger'\n'abstract_0001.jpg',1,2", ValueError, "has the columns , Joy, Anger: it needs"),
        (f"{HEAD}\n'abstract_0001.jpg',1,2", ValueError, "Line 2 of .* is no file and eight numbers"),
        (f"{HEAD}\n'abstract_0001.jpg',1,2,3,4,5,6,7,many", ValueError, "Line 2 of .* is no file and eight numbers"),
        (
            f"{HEAD}\n'gone.jpg',1,0,0,0,0,0,0,0",
            FileNotFoundError,
            "1 of the paintings .* cannot be found beside it: gone.jpg",
        ),
        ("", ValueError, "is empty"),
    ],
)
def test_a_table_of_votes_that_is_damaged_is_named(affective_folder, text, error, sentence):
    (affective_folder / "testImages_abstract" / "ABSTRACT_groundTruth.csv").write_text(text)
    with pytest.raises(error, match=sentence):
        datasets.load("affective", path=affective_folder)
