"""`losses` of pairs: against loops in NumPy and known limits, on whichever back-end is set."""

import keras
import numpy as np
import pytest
from gradients import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy.special import logsumexp
from scipy.stats import ortho_group

from helpers import losses

SHAPE = (7, 5)  # one for all: JAX compiles anew for each
PAIRWISE = {"nt_xent": losses.nt_xent, "alignment": losses.alignment, "distances": losses.pair_distances}
SEEDS = st.integers(0, 2**31)


def value(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def draw(seed: int, number: int = 2, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, *shape)).astype(np.float32)


def unit(embeddings) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


# Against loops


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0, 3))
def test_the_contrastive_loss_is_that_of_a_loop(seed, margin):
    first, second = draw(seed)
    similar = np.random.default_rng(seed).integers(0, 2, 7)
    total = 0.0
    for one, other, alike in zip(first, second, similar, strict=True):
        distance = np.sqrt(((one.astype(float) - other) ** 2).sum())
        total += 0.5 * distance**2 if alike else 0.5 * max(0.0, margin - distance) ** 2
    found = losses.contrastive(losses.pair_distances(first, second), similar, margin)
    assert value(found) == pytest.approx(total / 7, rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.05, 5))
def test_nt_xent_is_the_cross_entropy_of_a_softmax_that_is_written_out(seed, temperature):
    first, second = draw(seed)
    views = unit(np.concatenate([first, second]).astype(float))
    total = 0.0
    for i in range(14):
        other = (i + 7) % 14
        cosines = np.array([views[i] @ views[k] for k in range(14) if k != i]) / temperature
        place = other - (other > i)
        total -= cosines[place] - logsumexp(cosines)
    assert value(losses.nt_xent(first, second, temperature)) == pytest.approx(total / 14, rel=1e-4, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0, 3))
def test_the_triplet_loss_is_that_of_a_loop(seed, margin):
    triplets = draw(seed, 3)
    total = 0.0
    for anchor, positive, negative in zip(*triplets.astype(float), strict=True):
        total += max(0.0, ((anchor - positive) ** 2).sum() - ((anchor - negative) ** 2).sum() + margin)
    assert value(losses.triplet(*triplets, margin)) == pytest.approx(total / 7, rel=1e-4, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_alignment_and_uniformity_are_those_of_loops(seed):
    first, second = draw(seed)
    one, other = unit(first.astype(float)), unit(second.astype(float))
    apart = [((one[i] - other[i]) ** 2).sum() for i in range(7)]
    assert value(losses.alignment(first, second)) == pytest.approx(np.mean(apart), rel=1e-5)
    near = [np.exp(-2 * ((one[i] - one[k]) ** 2).sum()) for i in range(7) for k in range(i)]
    assert value(losses.uniformity(first)) == pytest.approx(np.log(np.mean(near)), rel=1e-4, abs=1e-5)


# Known limits


def test_where_all_embeddings_are_equal_each_loss_says_so():
    same = np.tile(draw(0, 1)[0, :1], (7, 1))
    assert value(losses.nt_xent(same, same, 0.1)) == pytest.approx(np.log(13), rel=1e-5)
    assert value(losses.triplet(same, same, same, 0.3)) == pytest.approx(0.3)
    assert value(losses.alignment(same, same)) == pytest.approx(0, abs=1e-6)
    assert value(losses.uniformity(same)) == pytest.approx(0, abs=1e-5)
    distances = losses.pair_distances(same, same)
    assert value(losses.contrastive(distances, np.ones(7))) == 0
    assert value(losses.contrastive(distances, np.zeros(7), 2.0)) == pytest.approx(2.0)  # margin^2 / 2


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([2, 16, 65]), st.sampled_from([0.001, 0.01, 0.5]))
def test_equal_embeddings_keep_within_the_bounds_to_the_last_digit(seed, n, temperature):
    row = np.random.default_rng(seed).normal(size=(1, 37)).astype(np.float32)
    same = np.tile(row, (n, 1))
    assert -1e-6 <= value(losses.uniformity(same)) <= 0
    opposite = row * np.where(np.arange(n) % 2, 1, -1)[:, None].astype(np.float32)
    assert value(losses.uniformity(opposite)) <= 0
    only_strangers_are_far = np.concatenate([row, -row])
    found = value(losses.nt_xent(only_strangers_are_far, only_strangers_are_far, temperature))
    assert 0 <= found <= 2 * np.exp(-2 / temperature) + 1e-6
    assert value(losses.nt_xent(same, same, temperature)) == pytest.approx(np.log(2 * n - 1), abs=1e-6 / temperature)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([0.001, 0.01, 0.1]))
def test_nt_xent_is_never_below_zero(seed, temperature):
    first = draw(seed, 1, (16, 37))[0]
    assert value(losses.nt_xent(first, first, temperature)) >= 0


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_where_different_images_are_at_right_angles(temperature):
    corners = np.eye(7, dtype=np.float32) * np.arange(1, 8)[:, None]  # of any length
    expected = np.log(np.exp(1 / temperature) + 12) - 1 / temperature
    assert value(losses.nt_xent(corners, corners, temperature)) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert value(losses.uniformity(corners)) == pytest.approx(-4, rel=1e-5)
    assert value(losses.alignment(corners, np.roll(corners, 1, axis=0))) == pytest.approx(2, rel=1e-5)


def test_uniformity_is_lowest_for_the_corners_of_a_simplex():
    corners = np.eye(7) - 1 / 7
    assert value(losses.uniformity(corners)) == pytest.approx(-4 * 7 / 6, rel=1e-5)
    assert value(losses.uniformity([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(-8, rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_uniformity_keeps_within_its_bounds(seed):
    assert -4 * 7 / 6 - 1e-4 <= value(losses.uniformity(draw(seed, 1)[0])) <= 0


def test_opposite_embeddings_have_the_largest_alignment():
    first, _ = draw(0)
    assert value(losses.alignment(first, -3 * first)) == pytest.approx(4, rel=1e-5)


def test_dissimilar_pairs_beyond_the_margin_cost_nothing():
    assert value(losses.contrastive([1.5, 7.0], [0, 0], 1.5)) == 0
    assert value(losses.contrastive([1.5, 7.0], [False, True], 1.5)) == pytest.approx(49 / 4)


def test_the_label_of_a_similar_pair_is_one():
    near, far = np.float32([0.1]), np.float32([0.9])
    assert value(losses.contrastive(near, [1])) < value(losses.contrastive(near, [0]))
    assert value(losses.contrastive(far, [0])) < value(losses.contrastive(far, [1]))


def test_a_low_temperature_weighs_the_nearest_stranger():
    first = np.float32([[1, 0], [0.95, 0.3], [-1, 0]])
    second = first.copy()
    gap = [value(losses.nt_xent(first, second, temperature)) for temperature in (0.005, 100.0)]
    assert gap[0] < 0.01  # a stranger at cosine 0.95 is far off on that scale
    assert gap[1] == pytest.approx(np.log(5), abs=0.02)  # and none is on this one


# Symmetries


@settings(max_examples=10, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("name", PAIRWISE)
def test_the_two_of_a_pair_may_be_exchanged(name, seed):
    first, second = draw(seed)
    np.testing.assert_allclose(
        value(PAIRWISE[name](first, second)), value(PAIRWISE[name](second, first)), rtol=1e-5, atol=1e-6
    )


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_rotating_all_embeddings_changes_nothing(seed):
    rotation = ortho_group.rvs(5, random_state=np.random.default_rng(seed)).astype(np.float32)
    given_ones, turned = draw(seed, 3), draw(seed, 3) @ rotation
    for loss, number in [*((loss, 2) for loss in PAIRWISE.values()), (losses.triplet, 3), (losses.uniformity, 1)]:
        np.testing.assert_allclose(
            value(loss(*given_ones[:number])), value(loss(*turned[:number])), rtol=1e-3, atol=1e-4
        )


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.01, 100))
def test_what_is_measured_on_the_sphere_does_not_depend_on_length(seed, factor):
    first, second = draw(seed)
    for loss in (losses.nt_xent, losses.alignment):
        assert value(loss(factor * first, second)) == pytest.approx(value(loss(first, second)), rel=1e-3, abs=1e-4)
    assert value(losses.uniformity(factor * first)) == pytest.approx(value(losses.uniformity(first)), rel=1e-3)


def test_the_order_of_the_pairs_does_not_matter():
    first, second = draw(0)
    order = np.random.default_rng(0).permutation(7)
    assert value(losses.nt_xent(first[order], second[order])) == pytest.approx(value(losses.nt_xent(first, second)))
    assert value(losses.nt_xent(first[order], second)) != pytest.approx(value(losses.nt_xent(first, second)), rel=1e-3)


# Gradients, in training


ALL = {
    "contrastive, similar": lambda z: losses.contrastive(losses.pair_distances(z[:3], z[3:]), np.ones(3)),
    "contrastive, dissimilar": lambda z: losses.contrastive(losses.pair_distances(z[:3], z[3:]), np.zeros(3)),
    "NT-Xent": lambda z: losses.nt_xent(z[:3], z[3:], 0.1),
    "triplet": lambda z: losses.triplet(z[:2], z[2:4], z[4:]),
    "alignment": lambda z: losses.alignment(z[:3], z[3:]),
    "uniformity": losses.uniformity,
}


@pytest.mark.parametrize("numbers", [np.ones((6, 4)), np.zeros((6, 4)), 1e-20 * np.ones((6, 4))])
@pytest.mark.parametrize("name", ALL)
def test_no_gradient_is_nan_where_embeddings_are_equal_or_zero(name, numbers):
    found = gradient(ALL[name], numbers)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 100


@pytest.mark.parametrize("name", ALL)
def test_a_gradient_is_that_of_finite_differences(name):
    numbers = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32) * 0.4
    found, expected = gradient(ALL[name], numbers), np.zeros((6, 4))
    for place in np.ndindex(6, 4):
        step = np.zeros((6, 4), np.float32)
        step[place] = 2**-7
        expected[place] = (value(ALL[name](numbers + step)) - value(ALL[name](numbers - step))) * 2**6
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max() + 1e-4)


def test_a_batch_in_training_has_the_loss_of_that_batch():
    first, second = draw(3)
    model = keras.Sequential([keras.Input((2, 5)), Views()])
    model.compile("sgd")
    pairs = np.stack([first, second], axis=1)
    found = model.evaluate(pairs, batch_size=7, verbose=0)
    assert found == pytest.approx(value(losses.nt_xent(first, second)), rel=1e-4)


class Views(keras.layers.Layer):
    """Adds a loss of pairs (n, 2, d)."""

    def __init__(self, loss=losses.nt_xent):
        super().__init__()
        self.loss = loss

    def call(self, pairs):
        self.add_loss(self.loss(pairs[:, 0], pairs[:, 1]))
        return pairs


@pytest.mark.parametrize("name", ["nt_xent", "uniformity"])
def test_one_row_in_training_has_no_perfect_loss(name):
    loss = {"nt_xent": losses.nt_xent, "uniformity": lambda first, _: losses.uniformity(first)}[name]
    model = keras.Sequential([keras.Input((2, 5)), keras.layers.Dense(5), Views(loss)])
    model.compile("sgd")
    pairs = np.stack(draw(3), axis=1)
    assert np.isfinite(model.fit(pairs, batch_size=7, verbose=0).history["loss"][0])
    if keras.backend.backend() == "tensorflow":  # traces one step for batches of any size
        assert np.isnan(model.fit(pairs[:1], verbose=0).history["loss"][0])
    else:
        with pytest.raises(ValueError, match="needs two"):
            model.fit(pairs[:1], verbose=0)


@pytest.mark.parametrize(("distance", "similar"), [(-0.5, 1.0), (0.5, 0.5), (np.nan, 0.0)])
def test_what_is_no_pair_makes_the_training_loss_nan(distance, similar):
    model = keras.Sequential([keras.Input((2, 1)), Views(contrastive_of_columns)])
    model.compile("sgd")
    pairs = np.float32([[[0.5], [1.0]], [[distance], [similar]]])
    assert np.isnan(model.evaluate(pairs, batch_size=2, verbose=0))
    assert model.evaluate(pairs[:1], batch_size=2, verbose=0) == pytest.approx(0.125)


def contrastive_of_columns(distances, similar):
    return losses.contrastive(distances[:, 0], similar[:, 0], check=False)


def test_a_compiled_step_does_not_look_at_values():
    model = keras.Sequential([keras.Input((2, 1)), Views(lambda d, y: losses.contrastive(d[:, 0], y[:, 0]))])
    model.compile("sgd")
    pairs = np.float32([[[0.5], [1.0]], [[-0.5], [1.0]]])
    if keras.backend.backend() == "torch":  # a step is not compiled, so there it does
        with pytest.raises(ValueError, match=r"`distances` holds numbers below 0 or NaN"):
            model.evaluate(pairs, verbose=0)
    else:
        assert np.isnan(model.evaluate(pairs, verbose=0))


def test_half_precision_is_computed_in_single():
    first, second = draw(0).astype(np.float16)
    found = losses.nt_xent(100 * first, 100 * second, 0.01)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert np.isfinite(value(found))


# Bad input


@pytest.mark.parametrize("temperature", [0, -0.5, float("nan"), "0.1", True])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ValueError, match=r"^temperature=.*, but it is a number more than 0\.$"):
        losses.nt_xent(*draw(0), temperature)


@pytest.mark.parametrize("margin", [-1, float("nan"), "1"])
def test_a_negative_margin_is_refused(margin):
    with pytest.raises(ValueError, match=r"^margin=.*, but it is a number of 0 or more\.$"):
        losses.contrastive([1.0], [1], margin)
    with pytest.raises(ValueError, match=r"^margin=.*, but it is a number of 0 or more\.$"):
        losses.triplet(*draw(0, 3), margin)


def test_a_batch_of_one_is_refused_where_others_are_needed():
    one = np.ones((1, 4))
    with pytest.raises(ValueError, match=r"^A batch of one pair has no strangers .* needs two pairs or more\.$"):
        losses.nt_xent(one, one)
    with pytest.raises(ValueError, match=r"^One embedding has no distance to another: uniformity needs two rows"):
        losses.uniformity(one)
    assert value(losses.alignment(one, one)) == pytest.approx(0)


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairs_of_different_length_are_refused(name):
    with pytest.raises(ValueError, match=r"^`first` has shape \(7, 5\) and `second` \(6, 5\): row i of both belongs"):
        PAIRWISE[name](np.ones((7, 5)), np.ones((6, 5)))
    with pytest.raises(ValueError, match=r"^`second` has shape \(5,\), but it takes \(n, d\)"):
        PAIRWISE[name](np.ones((7, 5)), np.ones(5))


def test_triplets_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"^`anchor` has shape \(7, 5\) and `negative` \(7, 4\)"):
        losses.triplet(np.ones((7, 5)), np.ones((7, 5)), np.ones((7, 4)))


@pytest.mark.parametrize(
    ("distances", "similar"),
    [(np.ones(3), np.ones(2)), (np.ones((3, 1)), np.ones(3)), (np.ones((3, 1)), np.ones((3, 1)))],
)
def test_labels_that_do_not_belong_to_the_distances_are_refused(distances, similar):
    with pytest.raises(ValueError, match=r"^`distances` has shape .* but both have one axis \(n,\)"):
        losses.contrastive(distances, similar)


GIVEN_AS = pytest.mark.parametrize(
    "given_as", [np.float32, ops.convert_to_tensor, list], ids=["array", "tensor", "list"]
)


@GIVEN_AS
@pytest.mark.parametrize("similar", [[1.0, -1.0], [0.5, 1.0], [0.0, 2.0], [float("nan"), 1.0]])
def test_labels_other_than_zero_and_one_are_refused_or_give_nan(similar, given_as):
    with pytest.raises(ValueError, match=r"^`similar` holds more than 0 and 1: here 1 means similar"):
        losses.contrastive([1.0, 0.5], given_as(similar))
    assert np.isnan(value(losses.contrastive([1.0, 0.5], given_as(similar), check=False)))


@GIVEN_AS
@pytest.mark.parametrize("distance", [-0.5, float("nan")])
def test_a_negative_distance_is_refused_or_gives_nan(distance, given_as):
    with pytest.raises(ValueError, match=r"^`distances` holds numbers below 0 or NaN, but a distance is 0 or more"):
        losses.contrastive(given_as([distance, 0.5]), [1, 1])
    assert np.isnan(value(losses.contrastive(given_as([distance, 0.5]), [1, 1], check=False)))


def test_no_pair_is_refused():
    with pytest.raises(ValueError, match=r"^`distances` is empty, but a mean over pairs needs one pair or more\.$"):
        losses.contrastive(np.zeros(0, np.float32), np.zeros(0, np.float32))
