"""Clips of handwritten digits that fly about and bounce off the walls: generated, with the truth about each frame."""

from __future__ import annotations

import numpy as np

from ..validation import check_choice, check_number, check_whole
from .clip_set import ClipSet
from .digits import load_digits
from .drawing import batches

__all__ = ["load_moving_digits"]

_DECKS = 100  # parts that the originals are dealt into, where several of them share a clip
_DARKEST_INK, _LIGHTEST_GROUND = 0.75, 0.5  # in each channel, so that any digit stands out from any ground


def load_moving_digits(
    clips: int = 1000,
    length: int = 11,
    size: int = 32,
    digits: int = 1,
    ground: str = "black",
    bounce: str = "mirror",
    speed: tuple[float, float] = (1.0, 3.0),
    digit_size: int = 14,
    seed: int = 0,
) -> ClipSet:
    """Let digits fly straight ahead at constant speed, and bounce off the walls of the frame.

    What a digit *is* never changes in a clip; where it is always does. A network that foresees the next frame must
    find out both, and nobody has to tell it either. Places and velocities are known exactly, so that a probe can ask
    what its features know of them.

    A digit is magnified once, smoothly, and then moved by fractions of a pixel: its grey levels are shared out among
    the pixels below it. So its ink, the sum of its grey levels, is the same in each frame, and the centre of its ink
    is `positions`. At a wall it is reflected at the very moment when its box touches, mostly between two frames. The
    box never leaves the frame.

    Parameters
    ----------
    clips : int
        How many. Fewer clips are the first of the many.
    length : int
        Frames of each clip, 2 or more.
    size : int
        Height and width of the frame, in pixels.
    digits : {1, 2, 3}
        Digits in each clip. They fly through each other; where they overlap, both are seen.
    ground : {'black', 'texture'}
        ``'black'``: grey clips, white digits on black. ``'texture'``: clips in colour; in each clip the digits have a
        light colour of their own, before a ground of two darker colours that mix in a random texture and stand still.
    bounce : {'mirror', 'random'}
        What happens at a wall. ``'mirror'``: the digit is reflected as light is, so that the past tells the future.
        ``'random'``: that, or it turns back to where it came from, each with probability one half: two futures for
        one past. Until its first turn a clip is the same either way.
    speed : tuple of float
        Range of the speed, in pixels per frame, drawn uniformly for each digit; so is the direction it starts in.
    digit_size : int
        Height and width of a digit's box, in pixels: 8 or more, less than `size`.
    seed : int

    Returns
    -------
    ClipSet
        Clips of shape (clips, length, size, size, 1), or 3 channels on a texture. The class is that of the first
        digit; every ten clips in order hold each class once. `groups` are the numbers of the originals. Of several
        digits they cannot be, because each original meets many others: the originals are dealt into 100 decks with
        equal shares of all classes, the digits of a clip come from one deck, and `groups` are the numbers of the
        decks. So no original straddles a split.

    Raises
    ------
    ValueError
        If a number is not whole or out of range, a name is unknown, the digit does not fit the frame, or it would
        cross the frame at once.

    References
    ----------
    Srivastava, Mansimov and Salakhutdinov (2015), Unsupervised learning of video representations using LSTMs,
    https://arxiv.org/abs/1502.04681 , whose Moving MNIST bounces MNIST's digits by whole pixels.

    Examples
    --------
    >>> found = load_moving_digits(clips=20, digits=2, ground="texture")
    >>> found.clips.shape, found.positions.shape
    ((20, 11, 32, 32, 3), (20, 11, 2, 2))
    """
    check_whole(clips, "clips", 1)
    check_whole(length, "length", 2)
    check_whole(size, "size", 9)
    check_whole(digits, "digits", 1, 3)
    check_choice(ground, ("black", "texture"), "ground")
    check_choice(bounce, ("mirror", "random"), "bounce")
    check_whole(digit_size, "digit_size", 8)
    check_whole(seed, "seed", 0)
    room = size - digit_size
    if room < 1:
        raise ValueError(f"A digit of {digit_size} pixels cannot move in a frame of {size}: take a larger frame.")
    _check_speed(speed, room)
    plain = load_digits()
    # a stream for each thing that is drawn, so that no option but its own changes it
    cast, flight, turns, *paint = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(6))
    originals, groups = _cast(plain.labels, clips, digits, cast)
    corners, velocities = _fly(clips, length, digits, room, speed, bounce, flight, turns)
    sprites, centres = _sprites(plain.images[..., 0], digit_size)
    return ClipSet(
        _draw(sprites, originals, corners, size, ground, paint),
        plain.labels[originals[:, 0]],
        plain.class_names,
        "moving-digits",
        f"{plain.source}; moving",
        plain.licence,
        groups,
        plain.labels[originals],
        corners + centres[originals][:, None],
        velocities,
    )


def _check_speed(speed, room: int) -> None:
    try:
        slowest, fastest = (check_number(one, "speed", 0, room) for one in speed)
        is_range = np.shape(speed) == (2,) and slowest <= fastest
    except (TypeError, ValueError):  # not two, or no numbers
        is_range = False
    if not is_range:
        raise ValueError(
            f"speed={speed!r}, but it is a slowest and a fastest speed from 0 to {room} pixels per frame, the room "
            f"that is left beside the digit, as in speed=(1, {min(3, room)})."
        )


def _cast(labels: np.ndarray, clips: int, digits: int, random) -> tuple[np.ndarray, np.ndarray]:
    """Choose the originals of each clip, shape (clips, digits), and the groups.

    Each class once in every ten clips; within a class one original after the other, in random order.
    """
    random, others = random.spawn(2)
    shuffled, tens = random.permutation(len(labels)), -(-clips // 10)
    members = [shuffled[labels[shuffled] == label] for label in range(10)]
    classes = random.permuted(np.tile(np.arange(10), (tens, 1)), axis=1).ravel()[:clips]
    turn = np.arange(clips) // 10  # of the class: it comes once in every ten
    first = np.array(
        [members[label][number % len(members[label])] for label, number in zip(classes, turn, strict=True)]
    )
    if digits == 1:
        return first[:, None], first
    deck_of = np.empty(len(labels), np.int64)
    for one in members:
        deck_of[one] = np.arange(len(one)) % _DECKS
    decks = [np.flatnonzero(deck_of == deck) for deck in range(_DECKS)]
    table = np.array([np.pad(deck, (0, max(map(len, decks)) - len(deck)), constant_values=-1) for deck in decks])
    rows = table[deck_of[first]]
    keys = others.random(rows.shape)
    keys[(rows < 0) | (rows == first[:, None])] = 2  # no card, or the one that is played already
    companions = np.take_along_axis(rows, np.argsort(keys, axis=1)[:, : digits - 1], axis=1)
    return np.concatenate([first[:, None], companions], axis=1), deck_of[first]


def _fly(clips, length, digits, room, speed, bounce, flight, turns) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper left corners of the boxes, and velocities, each of shape (clips, length, digits, 2)."""
    # start, speed and direction of each digit, and a random bit for each of 64 bounces
    draws = flight.random((clips, digits, 4))
    angle = 2 * np.pi * draws[..., 3]
    pace = speed[0] + (speed[1] - speed[0]) * draws[..., 2]
    place = room * draws[..., :2]
    velocity = pace[..., None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    bits = turns.integers(0, 2**64, (clips, digits), np.uint64) * np.uint64(bounce == "random")
    bounces = np.zeros((clips, digits), np.uint64)
    places, velocities = (np.empty((clips, length, digits, 2)) for _ in range(2))
    for frame in range(length):
        places[:, frame], velocities[:, frame] = place, velocity
        place, velocity = _advance(place, velocity, room, bits, bounces)
    return places, velocities


def _advance(place, velocity, room, bits, bounces) -> tuple[np.ndarray, np.ndarray]:
    """Fly on by one frame, from wall to wall; count `bounces`."""
    time = np.ones(place.shape[:-1])
    while (time > 0).any():
        wall = np.where(velocity > 0, room, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            until = np.where(velocity == 0, np.inf, (wall - place) / velocity)
        step = np.minimum(time, until.min(axis=-1))
        hit = (until <= step[..., None]) & (time > 0)[..., None]
        place = np.where(hit, wall, np.clip(place + step[..., None] * velocity, 0, room))
        bounced = hit.any(axis=-1)
        turns_back = bounced & ((bits >> (bounces % 64)) & 1).astype(bool)
        velocity = np.where(hit | turns_back[..., None], -velocity, velocity)
        bounces += bounced.astype(np.uint64)
        time = time - step
    return place, velocity


def _sprites(images: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Magnify the originals to `side` pixels, and return them and the centres of their ink, shape (n, 2).

    Linear between the pixels of the original, and fading to black beyond its edge, as the shifted digits are.
    """
    places = (np.arange(side) + 0.5) * 8 / side - 0.5
    # the weight of each pixel of the original (columns) at each pixel of the sprite (rows)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(8)))
    sprites = weights @ images.astype(np.float64) @ weights.T
    ink = sprites.sum(axis=(1, 2))
    along = np.arange(side)
    centres = np.stack([sprites.sum(axis=2) @ along, sprites.sum(axis=1) @ along], axis=1) / ink[:, None]
    return sprites.astype(np.float32), centres


def _draw(sprites, originals, corners, size, ground, paint) -> np.ndarray:
    """Draw all clips, some at a time, so that little memory is taken but that of the result."""
    n, length, digits, _ = corners.shape
    channels = 1 if ground == "black" else 3
    clips = np.zeros((n, length, size, size, channels), np.float32)
    inks = np.ones((n, digits, channels), np.float32)
    if ground == "texture":
        palette, grain, noise = paint
        draws = palette.random((n, digits + 2, 3), np.float32)
        inks = _DARKEST_INK + (1 - _DARKEST_INK) * draws[:, :digits]
        colours = _LIGHTEST_GROUND * draws[:, digits:]
        coarseness = grain.uniform(0.5, 2.0, n).astype(np.float32)
    for part in batches(n, size, 2**20 // length):
        if ground == "texture":
            clips[part] = _grounds(colours[part], coarseness[part], size, noise)[:, None]
        frames = clips[part].reshape(-1, size, size, channels)  # a view
        for digit in range(digits):
            drawn = np.repeat(sprites[originals[part, digit]], length, axis=0)
            ink = np.repeat(inks[part, digit], length, axis=0)[:, None, None]
            frames += _placed(drawn, corners[part, :, digit].reshape(-1, 2), size)[..., None] * (ink - frames)
    return np.clip(clips, 0, 1, out=clips)  # rounding


def _placed(sprites: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Put sprites (n, side, side) with their upper left pixel at fractional places of empty frames.

    Each pixel is shared out among the four that it lies on, by how much of it lies there: no ink is lost, and the
    centre of the ink moves by just that fraction.
    """
    n, side, _ = sprites.shape
    low = np.floor(corners).astype(np.intp)
    down, right = (corners - low).astype(np.float32).T[:, :, None, None]
    padded = np.pad(sprites, ((0, 0), (1, 1), (1, 1)))
    padded = padded[:, 1:] + down * (padded[:, :-1] - padded[:, 1:])
    padded = padded[:, :, 1:] + right * (padded[:, :, :-1] - padded[:, :, 1:])
    frames = np.zeros((n, size + 1, size + 1), np.float32)  # a digit at the wall has an empty last row beyond it
    steps = np.arange(side + 1)
    rows, columns = low[:, 0, None] + steps, low[:, 1, None] + steps
    frames[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]] = padded
    return frames[:, :size, :size]


def _grounds(colours: np.ndarray, coarseness: np.ndarray, size: int, noise) -> np.ndarray:
    """Mix two colours for each clip, shape (n, 2, 3), by noise whose power falls with frequency."""
    white = noise.standard_normal((len(colours), size, size), np.float32)
    frequency = np.hypot(np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None, :])
    amplitude = np.maximum(frequency, 1).astype(np.float32) ** -coarseness[:, None, None]
    amplitude[:, 0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(size, size)).astype(np.float32)
    field /= field.std(axis=(1, 2), keepdims=True)
    share = 1 / (1 + np.exp(-2 * field))[..., None]
    one, other = colours[:, None, None, 0], colours[:, None, None, 1]
    return one + share * (other - one)
