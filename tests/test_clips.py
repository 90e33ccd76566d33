"""Clips: the set that holds them, and digits that move as they should."""

import shutil
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import datasets
from helpers.datasets import ClipSet, ImageSet, moving_digits


def load(**options) -> ClipSet:
    return datasets.load("moving-digits", **options)


@pytest.fixture(scope="module")
def lone():
    """Digits that fly alone, fast enough to bounce several times."""
    return load(clips=200, length=30, speed=(0.5, 6.0), seed=3)


@pytest.fixture(scope="module")
def turning():
    """Digits that turn back at a wall as often as not."""
    return load(clips=200, length=30, speed=(0.5, 6.0), bounce="random", seed=3)


def corners_of(clip_set: ClipSet, digit_size: int = 14) -> np.ndarray:
    """Return the upper left corner of the first digit's box, from its place and the original's centre of ink."""
    images = datasets.load("digits").images[..., 0]
    _, centres = moving_digits._sprites(images, digit_size)
    return clip_set.positions[:, :, 0] - centres[clip_set.groups][:, None]


# ------------------------------------------------------------------------------------------------ motion


@pytest.mark.parametrize("digit_size", [8, 14, 21])
def test_a_lone_digit_keeps_its_ink_wherever_it_is(digit_size):
    ink = load(clips=100, digit_size=digit_size).clips.sum(axis=(2, 3, 4), dtype=float)
    np.testing.assert_allclose(ink, np.broadcast_to(ink[:, :1], ink.shape), rtol=1e-5)


def test_the_centre_of_the_ink_is_the_stored_place(lone):
    frames = lone.clips[..., 0].astype(float)
    ink, along = frames.sum(axis=(2, 3)), np.arange(32)
    centre = np.stack([frames.sum(axis=3) @ along, frames.sum(axis=2) @ along], axis=-1) / ink[..., None]
    np.testing.assert_allclose(centre, lone.positions[:, :, 0], atol=1e-4)


def test_a_mirrored_digit_follows_a_triangle_wave(lone):
    """Unfolded, the path is a straight line; folded back into the frame it is the closed form of what bounces."""
    room, corners, speed = 32 - 14, corners_of(lone), lone.velocities[:, :1, 0]
    straight = corners[:, :1] + np.arange(30)[None, :, None] * speed
    folded = room - np.abs(room - straight % (2 * room))
    np.testing.assert_allclose(corners, folded, atol=1e-9)
    assert (np.abs(straight - folded) > 1).any(axis=(1, 2)).mean() > 0.9  # nearly all of them have bounced


def test_a_velocity_changes_sign_at_walls_only_and_keeps_its_size(lone, turning):
    for clips in (lone, turning):
        velocities, corners = clips.velocities[:, :, 0], corners_of(clips)
        np.testing.assert_allclose(np.abs(velocities), np.abs(velocities[:, :1]).repeat(30, axis=1), rtol=1e-12)
        reach = np.abs(velocities[:, :-1])
        near = (corners[:, :-1] - reach < 1e-9) | (corners[:, :-1] + reach > 18 - 1e-9)
        changed = velocities[:, 1:] != velocities[:, :-1]
        assert changed.any()
        assert not (changed.any(axis=-1) & ~near.any(axis=-1)).any()
        step = np.diff(corners, axis=1)
        calm = ~near.any(axis=-1)
        np.testing.assert_allclose(step[calm], velocities[:, :-1][calm], atol=1e-9)
    reversed_both = (turning.velocities[:, 1:, 0] == -turning.velocities[:, :-1, 0]).all(axis=-1)
    assert reversed_both.sum() > 5 * (lone.velocities[:, 1:, 0] == -lone.velocities[:, :-1, 0]).all(axis=-1).sum()


def test_the_box_of_a_digit_never_leaves_the_frame(lone, turning):
    for clips in (lone, turning):
        corners = corners_of(clips)
        assert corners.min() > -1e-9
        assert corners.max() < 18 + 1e-9
        assert corners.min() < 0.3  # and reaches the walls
        assert corners.max() > 17.7


def test_one_bounce_in_two_turns_back_at_random():
    """Flying at right angles to two walls, along the others: after one bounce, the sign along tells which it was."""
    corners, bits = np.full((4000, 1, 2), 9.0), np.random.default_rng(0).integers(0, 2**64, (4000, 1), np.uint64)
    bounces = np.zeros((4000, 1), np.uint64)
    place, velocity = moving_digits._advance(corners, np.full((4000, 1, 2), [10.0, 0.5]), 18, bits, bounces)
    assert (bounces == 1).all()
    assert (velocity[..., 0] == -10).all()
    turned = velocity[..., 1] == -0.5
    assert abs(turned.mean() - 0.5) < 0.04
    np.testing.assert_allclose(place[turned[:, 0], 0], [[17.0, 9.4]] * turned.sum())  # 0.9 of the frame there, 0.1 back
    np.testing.assert_allclose(place[~turned[:, 0], 0], [[17.0, 9.5]] * (~turned).sum())


def test_until_its_first_turn_a_clip_is_the_same_with_either_bounce(lone, turning):
    alike = (lone.velocities == turning.velocities) & (lone.positions == turning.positions)
    same = np.cumprod(alike.all(axis=(2, 3)), axis=1).astype(bool)
    assert same[:, 0].all()
    assert 0.2 < same.mean() < 0.8
    assert np.array_equal(lone.clips[same], turning.clips[same])


def test_a_corner_is_left_the_way_it_was_entered():
    nothing = np.zeros((1, 1), np.uint64)
    place, velocity = moving_digits._advance(np.full((1, 1, 2), 17.5), np.ones((1, 1, 2)), 18, nothing, nothing.copy())
    assert place.tolist() == [[[17.5, 17.5]]]
    assert velocity.tolist() == [[[-1, -1]]]


def test_speeds_and_directions_are_drawn_evenly():
    velocities = load(clips=3000, speed=(1.0, 3.0), size=16, digit_size=8, length=2).velocities[:, 0, 0]
    speed = np.linalg.norm(velocities, axis=-1)
    assert speed.min() >= 1
    assert speed.max() <= 3
    np.testing.assert_allclose(np.quantile(speed, [0.25, 0.5, 0.75]), [1.5, 2.0, 2.5], atol=0.08)
    eighths = np.bincount(((np.arctan2(*velocities.T) / (2 * np.pi) + 0.5) * 8).astype(int) % 8)
    np.testing.assert_allclose(eighths / 3000, 1 / 8, atol=0.025)


def test_a_digit_may_stand_still():
    still = load(clips=5, speed=(0, 0))
    assert np.array_equal(still.clips, np.broadcast_to(still.clips[:, :1], still.clips.shape))


# ------------------------------------------------------------------------------------------------ draws


@pytest.mark.parametrize("ground", ["black", "texture"])
@pytest.mark.parametrize("bounce", ["mirror", "random"])
def test_the_same_seed_gives_the_same_clips_and_another_seed_others(ground, bounce):
    first, again, other = (
        load(clips=12, ground=ground, bounce=bounce, digits=2, size=24, seed=seed) for seed in (3, 3, 4)
    )
    for name in ("clips", "all_labels", "positions", "velocities", "groups"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert (first.clips != other.clips).any(axis=(1, 2, 3, 4)).all()


@settings(max_examples=10, deadline=None)
@given(few=st.integers(1, 25), more=st.integers(0, 30), seed=st.integers(0, 2**31), digits=st.integers(1, 3))
def test_fewer_clips_are_the_first_of_the_many(few, more, seed, digits):
    options = {"size": 20, "ground": "texture", "bounce": "random", "digits": digits, "seed": seed, "speed": (1, 6)}
    some, many = load(clips=few, length=4, **options), load(clips=few + more, length=6, **options)
    np.testing.assert_allclose(some.clips, many.clips[:few, :4], atol=1e-6)  # rounding differs in batches
    assert np.array_equal(some.positions, many.positions[:few, :4])
    assert np.array_equal(some.all_labels, many.all_labels[:few])


def test_batches_leave_no_trace(monkeypatch):
    options = {"clips": 23, "ground": "texture", "digits": 2, "size": 24}
    whole = load(**options).clips
    monkeypatch.setattr(moving_digits, "batches", lambda n, *_: [slice(i, i + 1) for i in range(n)])
    np.testing.assert_allclose(load(**options).clips, whole, atol=1e-6)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_every_ten_clips_hold_each_class_once(digits):
    found = load(clips=205, digits=digits, length=2, size=20)
    assert np.array_equal(np.sort(found.labels[:200].reshape(-1, 10)), np.tile(np.arange(10), (20, 1)))
    assert np.array_equal(found.all_labels[:, 0], found.labels)
    assert found.all_labels.shape == (205, digits)


def test_all_originals_are_shown_before_one_comes_back():
    groups = load(clips=1740, length=2, size=9, digit_size=8, speed=(0, 0)).groups  # the smallest class has 174
    assert len(np.unique(groups)) == 1740


def test_companions_are_of_all_classes_and_never_the_digit_itself():
    originals, _ = moving_digits._cast(datasets.load("digits").labels, 5000, 3, np.random.default_rng(0))
    assert (np.diff(np.sort(originals, axis=1)) > 0).all()
    labels = datasets.load("digits").labels[originals]
    np.testing.assert_allclose(np.bincount(labels[:, 1]) / 5000, 0.1, atol=0.02)
    # a digit of 18 in the deck is the first one, so its class is a little rarer among the others
    assert 0.03 < np.mean(labels[:, 0] == labels[:, 1]) < 0.1


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_no_original_straddles_a_split(digits):
    originals, groups = moving_digits._cast(datasets.load("digits").labels, 3000, digits, np.random.default_rng(0))
    shape = (3000, 1, 1, 1, 1)
    labels = datasets.load("digits").labels[originals[:, 0]]
    clips = ClipSet(np.zeros(shape), labels, tuple("0123456789"), "test", "here", "none", groups)
    parts = clips.split()
    assert sum(map(len, parts)) == 3000
    shown = [set(originals[np.isin(groups, part.groups)].ravel()) for part in parts]
    assert sum(map(len, shown)) == len(set.union(*shown))
    for part, share in zip(parts, (0.6, 0.1, 0.3), strict=True):
        assert abs(len(part) / 3000 - share) < 0.03
        np.testing.assert_allclose(np.bincount(part.labels) / len(part), 0.1, atol=0.03)


# ------------------------------------------------------------------------------------------------ looks


def test_what_no_digit_touches_stands_still_on_a_texture():
    clips = load(clips=40, ground="texture", seed=5)
    grey = load(clips=40, seed=5)
    empty = (grey.clips.max(axis=1, keepdims=True) == 0).repeat(11, axis=1)[..., 0]
    still = np.broadcast_to(clips.clips[:, :1], clips.clips.shape)
    assert np.array_equal(clips.clips[empty], still[empty])
    assert clips.clips[empty].std() > 0.05


def test_a_texture_has_two_dark_colours_and_the_digit_a_light_one():
    clips, grey = (load(clips=60, ground=ground, seed=5) for ground in ("texture", "black"))
    ink = grey.clips[..., 0]
    assert clips.clips[ink == 0].max() <= 0.5
    assert clips.clips[ink == 1].min() >= 0.75
    grounds = clips.clips[:, 0][ink[:, 0] == 0]
    assert (grounds.std(axis=0) > 0.05).all()
    assert np.abs(np.corrcoef(grounds.T) - np.eye(3)).max() < 0.6  # colours, not greys


def test_neither_ground_nor_colour_tells_the_class():
    clips = load(clips=1000, ground="texture", length=2)
    corner = clips.clips[:, 0].mean(axis=(1, 2))
    means = np.stack([corner[clips.labels == label].mean(axis=0) for label in range(10)])
    noise = corner.std(axis=0) / np.sqrt(100)
    assert (np.abs(means - corner.mean(axis=0)) < 4 * noise).all()


def test_digits_that_overlap_are_both_seen():
    two = load(clips=100, digits=2, length=3)
    ink = two.clips.sum(axis=(2, 3, 4))
    assert two.clips.max() <= 1
    apart = (np.abs(np.diff(two.positions, axis=2)) > 15).any(axis=(2, 3))
    together = (np.abs(np.diff(two.positions, axis=2)) < 3).all(axis=(2, 3))
    assert apart.any()
    assert together.any()
    assert ink[together].mean() < 0.9 * ink[apart].mean()


def peak_memory(action):
    """Return what an action returns, and the most bytes that Python and NumPy held at once on its way."""
    tracemalloc.start()
    try:
        return action(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_six_hundred_clips_take_little_memory_beside_their_own():
    found, peak = peak_memory(lambda: load(clips=600))
    assert found.clips.nbytes > 20e6
    assert peak < found.clips.nbytes + 20e6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clips": 0}, "clips=0, but it is a whole number of 1 or more"),
        ({"clips": 2.5}, "clips=2.5, but it is a whole number"),
        ({"length": 1}, "length=1, but it is a whole number of 2 or more"),
        ({"length": 10.5}, "length=10.5, but it is a whole number of 2 or more"),
        ({"digits": 4}, "digits=4, but it is a whole number from 1 to 3"),
        ({"digit_size": 7}, "digit_size=7, but it is a whole number of 8 or more"),
        ({"size": 14}, "A digit of 14 pixels cannot move in a frame of 14: take a larger frame"),
        ({"ground": "textured"}, "did you mean 'texture'"),
        ({"bounce": "mirrored"}, "did you mean 'mirror'"),
        ({"speed": 2}, "slowest and a fastest speed from 0 to 18 pixels per frame"),
        ({"speed": (3, 1)}, "slowest and a fastest speed"),
        ({"speed": (1, 19)}, "slowest and a fastest speed from 0 to 18"),
        ({"speed": (1, float("nan"))}, "slowest and a fastest speed"),
        ({"speed": ("a", "b")}, r"speed=\('a', 'b'\), but it is a slowest and a fastest speed from 0 to 18"),
        ({"speed": (1, None)}, "slowest and a fastest speed"),
        ({"speed": (1, 2, 3)}, "slowest and a fastest speed"),
        ({"speed": {1, 3}}, "slowest and a fastest speed"),
        ({"seed": -1}, "seed=-1, but it is a whole number"),
    ],
)
def test_an_option_out_of_range_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        load(**options)


# ------------------------------------------------------------------------------------------------ the set


@pytest.fixture
def few():
    return load(clips=8, length=6, size=20, digits=2)


def test_a_frame_of_each_clip_is_an_image_set(few):
    for number, place in ((0, 0), (-1, 5), (3, 3)):
        images = few.frame(number)
        assert isinstance(images, ImageSet)
        assert np.array_equal(images.images, few.clips[:, place])
        assert np.array_equal(images.groups, few.groups)
        assert images.source.endswith(f"frame {place} of each clip")


def test_all_frames_keep_the_label_and_the_group_of_their_clip(few):
    images = few.frames()
    assert np.array_equal(images.images.reshape(few.clips.shape), few.clips)
    assert np.array_equal(images.labels, np.repeat(few.labels, 6))
    assert np.array_equal(images.groups, np.repeat(few.groups, 6))


def test_past_and_future_are_the_clip_cut_in_two(few):
    past, future = few.past_and_future(4)
    assert (past.shape[1], future.shape[1]) == (4, 2)
    assert np.array_equal(np.concatenate([past, future], axis=1), few.clips)
    assert np.shares_memory(past, few.clips)


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (6, "past=6 leaves no future of clips of 6 frames: take a past of at most 5, or load clips of 7 frames"),
        (10, "past=10 leaves no future of clips of 6 frames"),
        (0, "past=0, but it is a whole number of 1 or more"),
        (2.5, "past=2.5, but it is a whole number of 1 or more"),
    ],
)
def test_a_past_or_a_future_of_nothing_is_refused(few, past, said):
    with pytest.raises(ValueError, match=said):
        few.past_and_future(past)


def test_clips_of_one_frame_have_no_future():
    single = ClipSet(np.zeros((2, 1, 3, 3, 1)), [0, 1], ("a", "b"), "test", "here", "none")
    with pytest.raises(ValueError, match="Clips of one frame have no future"):
        single.past_and_future(1)


@pytest.mark.parametrize("number", [6, -7, 1.0])
def test_a_frame_that_is_not_there_is_refused(few, number):
    with pytest.raises(ValueError, match=r"number=.*, but it is a whole number from -6 to 5"):
        few.frame(number)


@pytest.mark.parametrize("rows", [slice(2, 5), [1, 6], np.arange(8) % 2 == 0, 3])
def test_rows_are_a_set_of_their_own(few, rows):
    part, places = few[rows], np.atleast_1d(np.arange(8)[rows])
    for name in ("clips", "labels", "groups", "all_labels", "positions", "velocities"):
        assert np.array_equal(getattr(part, name), getattr(few, name)[places])
    assert len(part) == len(places)
    assert (part.length, part.shape) == (6, (6, 20, 20, 1))


def test_a_slice_takes_no_memory(few):
    assert np.shares_memory(few[2:5].clips, few.clips)


def test_a_clip_set_cannot_be_changed(few):
    for name in ("clips", "labels", "groups", "all_labels", "positions", "velocities"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(few, name)[0] = 0
    with pytest.raises(AttributeError):
        few.labels = None


def test_labels_are_all_labels_where_one_thing_moves():
    clips = ClipSet(np.zeros((2, 3, 4, 4, 3)), [0, 1], ("a", "b"), "test", "here", "none")
    assert clips.all_labels.tolist() == [[0], [1]]
    assert clips.positions is None
    assert clips[1:].velocities is None
    assert clips.groups.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clips": np.zeros((2, 3, 4, 4))}, r"add the channel axis with clips\[..., None\]"),
        ({"clips": np.zeros((2, 3, 4))}, "clips have five axes"),
        ({"clips": np.zeros((2, 0, 4, 4, 1))}, "an axis is empty"),
        ({"clips": np.zeros((2, 3, 4, 4, 2))}, "grey .1. or colour .3."),
        ({"clips": np.full((2, 3, 4, 4, 1), 255)}, "divide 8-bit images by 255"),
        ({"clips": np.full((2, 3, 4, 4, 1), np.nan)}, "NaN or infinite"),
        ({"labels": [0]}, "1 entries for 2 rows"),
        ({"labels": [0, 2]}, "2 class names allow 0 to 1"),
        ({"groups": [1, 2, 3]}, "`groups` has 3 entries"),
        ({"all_labels": [0, 1]}, "has a row for each of 2 clips"),
        ({"all_labels": [[1, 0], [1, 0]]}, "its first column is not `labels`"),
        ({"all_labels": [[0, 2], [1, 0]]}, "classes without a name"),
        ({"positions": np.zeros((2, 3, 2, 2))}, r"`positions` has shape \(2, 3, 2, 2\), but .* \(2, 3, 1, 2\)"),
        ({"velocities": np.full((2, 3, 1, 2), np.inf)}, "`velocities` holds values that are NaN or infinite"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, said):
    fitting = {"clips": np.zeros((2, 3, 4, 4, 1)), "labels": [0, 1], "class_names": ("a", "b"), "name": "test"}
    with pytest.raises(ValueError, match=said):
        ClipSet(**fitting | {"source": "here", "licence": "none"} | change)


# ------------------------------------------------------------------------------------------------ clips of the user's


def level(number: int, size: int = 16) -> np.ndarray:
    """Return an image whose grey level is its number; one corner keeps it from being a mask of few levels."""
    pixels = np.full((size, size), number, np.uint8)
    pixels[0, :12] = np.arange(12)
    return pixels


def record(folder: Path, first: int, frames: int, ending: str = "png") -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        Image.fromarray(level(first + number)).save(folder / f"frame{number}.{ending}")


@pytest.fixture
def recordings(tmp_path):
    """Two classes; twelve frames, of which the tenth is named frame9 and the eleventh frame10, and five and eight."""
    record(tmp_path / "walk" / "b", 100, 12)
    record(tmp_path / "walk" / "a", 150, 5)
    record(tmp_path / "jump" / "deep" / "c", 200, 8)
    return tmp_path


def read(folder: Path, **options) -> ClipSet:
    return datasets.load("clips", path=folder, **{"size": 16, "channels": 1, "length": 4} | options)


def levels(clips: ClipSet) -> list[list[int]]:
    return np.rint(clips.clips[:, :, 8, 8, 0] * 255).astype(int).tolist()


def test_recordings_are_cut_into_clips_in_the_order_of_their_numbers(recordings):
    clips = read(recordings)
    assert clips.class_names == ("jump", "walk")
    assert clips.labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert levels(clips) == [
        [200, 201, 202, 203],
        [204, 205, 206, 207],
        [150, 151, 152, 153],
        [100, 101, 102, 103],
        [104, 105, 106, 107],
        [108, 109, 110, 111],
    ]
    assert clips.groups.tolist() == [0, 0, 1, 2, 2, 2]
    assert clips.positions is None
    assert clips.source == f"the folder {recordings.name}, 6 clips of 3 recordings"


def test_a_stride_leaves_frames_out_and_a_limit_clips(recordings):
    assert levels(read(recordings, length=2, stride=3)) == [[200, 203], [150, 153], [100, 103], [106, 109]]
    assert levels(read(recordings, length=2, stride=3, per_recording=1)) == [[200, 203], [150, 153], [100, 103]]


def test_recordings_that_are_too_short_are_all_named(recordings):
    with pytest.raises(
        ValueError, match=r"2 of the 3 recordings in .* clip of 9 at stride 1: jump/deep/c, walk/a; ask"
    ):
        read(recordings, length=9)


def test_a_copy_of_a_recording_shares_its_group(recordings):
    shutil.copytree(recordings / "walk" / "a", recordings / "walk" / "z")
    assert read(recordings).groups.tolist() == [0, 0, 1, 2, 2, 2, 1]
    shutil.copytree(recordings / "walk" / "a", recordings / "jump" / "z")
    with pytest.raises(
        ValueError, match=r"2 of the 5 recordings .* two classes: walk/a = jump/z, walk/z = jump/z; keep"
    ):
        read(recordings)


def test_damaged_frames_are_all_named(recordings):
    (recordings / "walk" / "a" / "frame1.png").write_bytes(b"no image")
    (recordings / "jump" / "deep" / "c" / "frame2.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 24 images .*jump/deep/c/frame2.png.*walk/a/frame1.png"):
        read(recordings)


def test_frames_in_no_recording_or_in_no_class_are_named(recordings):
    Image.fromarray(level(3)).save(recordings / "stray.png")
    with pytest.raises(
        ValueError, match=r"1 of the images or videos in .* must not lie beside the subfolders: stray.png"
    ):
        read(recordings)
    (recordings / "film.MP4").write_bytes(b"")
    (recordings / ".film.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of the images or videos in .* beside the subfolders: film.MP4, stray.png"):
        read(recordings)
    Image.fromarray(level(3)).save(recordings / "walk" / "loose.png")
    with pytest.raises(ValueError, match=r"1 of the images in .* in no recording: walk/loose.png; .*load\('folder'\)"):
        read(recordings)


def test_what_systems_leave_behind_is_no_recording(recordings):
    before = levels(read(recordings))
    for name in (".thumbs", "__MACOSX/b", "a/.ipynb_checkpoints", "__MACOSX/.deep"):
        record(recordings / "walk" / name, 0, 4)
        (recordings / "walk" / name / "film.mp4").write_bytes(b"no video")
    (recordings / "walk" / "a" / ".frame0.png").write_bytes(b"no image")
    (recordings / "walk" / "a" / ".film.mp4").write_bytes(b"no video")
    assert levels(read(recordings)) == before


def test_folders_above_the_clips_may_be_hidden(recordings):
    hidden = recordings / ".cache" / "__set"
    shutil.copytree(recordings / "walk", hidden / "walk")
    assert len(read(hidden)) == 4


def test_a_folder_of_frames_that_is_named_like_a_video_is_a_folder(recordings):
    record(recordings / "walk" / "v_c01.avi", 50, 4)
    assert levels(read(recordings))[-1] == [50, 51, 52, 53]


def test_masks_among_frames_are_reported_or_left_out(recordings):
    record(recordings / "walk" / "masks", 0, 4)
    with pytest.raises(ValueError, match=r"4 of the 29 images .* look like masks"):
        read(recordings)
    assert len(read(recordings, masks="skip")) == 6
    assert len(read(recordings, masks="keep")) == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 1}, "length=1, but it is a whole number of 2 or more"),
        ({"stride": 0}, "stride=0, but"),
        ({"per_recording": 0}, "per_recording=0, but"),
        ({"channels": 2}, "channels=2, but"),
        ({"size": (1, 2, 3)}, "height and width"),
        ({"masks": "drop"}, "Unknown way with masks"),
    ],
)
def test_a_way_to_read_clips_that_there_is_not_is_refused(recordings, options, said):
    with pytest.raises(ValueError, match=said):
        read(recordings, **options)


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "walk").mkdir()
    with pytest.raises(FileNotFoundError, match="has no clips in subfolders"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*other: .* one subfolder of clips per class"):
        read(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="needs path="):
        datasets.load("clips")


def film(path: Path, grey: list[int]) -> None:
    """Write a video whose frames have these levels of red, and half of them of blue."""
    cv2 = pytest.importorskip("cv2")
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 32))
    assert video.isOpened()
    for value in grey:
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[..., 2], pixels[..., 0] = value, value // 2  # blue, green, red
        video.write(pixels)
    video.release()


def test_videos_are_clips_too_beside_folders_of_frames(recordings):
    film(recordings / "walk" / "b0.avi", list(range(100, 196, 8)))
    clips = read(recordings, channels=3, length=3, stride=2)
    assert clips.labels.tolist() == [0, 1, 1, 1, 1, 1]
    assert clips.groups.tolist() == [0, 1, 2, 2, 3, 3]  # a, b, b0.avi
    colours = clips.clips[-2:, :, 8, 8] * 255
    np.testing.assert_allclose(colours[..., 0], [[100, 116, 132], [148, 164, 180]], atol=6)
    np.testing.assert_allclose(colours[..., 1], 0, atol=6)
    np.testing.assert_allclose(colours[..., 2], colours[..., 0] / 2, atol=6)
    assert len(read(recordings, length=3, stride=2, per_recording=1)) == 4


def test_clips_of_frames_take_little_memory_beside_their_own(tmp_path):
    for number in range(4):
        record(tmp_path / "walk" / str(number), 10 * number, 8)
    found, peak = peak_memory(lambda: read(tmp_path, size=128, channels=3))
    assert found.clips.nbytes > 6e6
    assert peak < 1.4 * found.clips.nbytes


def test_clips_of_videos_take_little_memory_beside_their_own(tmp_path):
    """They are decoded to bytes before it is known how many there are: a quarter of what the clips take."""
    for number in range(2):
        film(tmp_path / "walk" / f"{number}.avi", list(range(100 + number, 132 + number)))
    found, peak = peak_memory(lambda: read(tmp_path, size=128, channels=3))
    assert found.clips.nbytes > 12e6
    assert peak < 1.4 * found.clips.nbytes


def test_damaged_videos_are_all_named(tmp_path):
    film(tmp_path / "walk" / "whole.avi", [100] * 20)
    film(tmp_path / "walk" / "cut.avi", [100] * 20)
    content = (tmp_path / "walk" / "cut.avi").read_bytes()
    (tmp_path / "walk" / "cut.avi").write_bytes(content[: len(content) // 2])
    (tmp_path / "walk" / "text.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"2 of 3 videos .* or no videos: walk/cut.avi, walk/text.mp4; replace"):
        read(tmp_path)


def test_videos_without_opencv_say_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "a.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"1 of the clips .* pip install opencv-python-headless, or put"):
        read(tmp_path)
