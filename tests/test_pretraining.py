"""Images made by formulas, and the training on them, at toy size."""

import ast
import inspect
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import backbones, losses, runtime, weights
from helpers.pretraining import __main__ as command
from helpers.pretraining import evaluation, images, objectives, pool, training

CATEGORIES = images.categories(14)  # two of each family
FAMILY = [type(category).__name__ for category in CATEGORIES]


# Images


@pytest.mark.parametrize("category", CATEGORIES[:7], ids=FAMILY[:7])
def test_images_are_float32_in_colour_between_0_and_1(category):
    found = images.render(category, 3, 48, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert found.shape == (3, 48, 48, 3)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std(axis=(1, 2, 3)).min() > 0.01  # no image is blank


@pytest.mark.parametrize("category", CATEGORIES[:7], ids=FAMILY[:7])
def test_the_same_generator_makes_the_same_images_and_each_image_is_another(category):
    first, again = (images.render(category, 3, 32, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.abs(first[0] - first[1]).mean() > 0.01


def test_more_categories_leave_the_first_ones_as_they_are():
    few, many = images.categories(7, seed=3), images.categories(21, seed=3)
    for one, same in zip(few, many, strict=False):
        pictures = [images.render(found, 2, 32, np.random.default_rng(0)) for found in (one, same)]
        assert np.array_equal(*pictures)


def test_another_seed_draws_other_categories():
    pictures = [images.render(images.category(1, seed), 1, 32, np.random.default_rng(0)) for seed in (0, 1)]
    assert not np.array_equal(*pictures)


def test_a_spectrum_without_its_place_tells_the_categories_apart():
    pictures = [images.render(found, 24, 48, np.random.default_rng(i)) for i, found in enumerate(CATEGORIES)]
    grey = np.concatenate(pictures).mean(axis=-1)
    amplitude = np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True)))
    features = np.log1p(amplitude).reshape(len(grey), -1)
    labels = np.repeat(np.arange(14), 24)
    model = make_pipeline(StandardScaler(), RidgeClassifier(1000.0))
    assert cross_val_score(model, features, labels, cv=3).mean() > 0.5  # chance is 1 / 14


@pytest.mark.parametrize(("n", "size"), [(0, 32), (1, 8)])
def test_no_images_or_tiny_ones_are_refused(n, size):
    with pytest.raises(ValueError, match="ask for at least one image of at least 16 pixels"):
        images.render(CATEGORIES[0], n, size, np.random.default_rng(0))


def test_no_categories_are_refused():
    with pytest.raises(ValueError, match="at least one category"):
        images.categories(0)


def test_the_chaos_game_stays_on_the_attractor():
    half = np.eye(2) / 2
    maps = np.stack([np.column_stack([half, corner]) for corner in ([0, 0], [0.5, 0], [0, 0.5])])
    x, y = images.chaos_game(maps[None], 5000, np.random.default_rng(0))[0].T
    # Sierpinski's triangle: a triangle without its middle, and so is each of its three parts, enlarged
    for _ in range(5):
        assert min(x.min(), y.min()) > -1e-3
        assert (x + y).max() < 1 + 1e-3
        assert not ((x < 0.499) & (y < 0.499) & (x + y > 0.501)).any()
        clear = (abs(x - 0.5) > 0.01) & (abs(y - 0.5) > 0.01)  # of the cuts: there, rounding chooses the part
        x, y = x[clear], y[clear]
        x, y = 2 * (x - 0.5 * (x > 0.5)), 2 * (y - 0.5 * (y > 0.5))


def test_points_are_counted_as_numpy_counts_them():
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 500, 2))
    found = images.histogram(points, 16)
    for counts, one in zip(found, points, strict=True):
        expected = np.histogram2d(*one.T, bins=16, range=[[-1, 1], [-1, 1]])[0]
        assert np.array_equal(counts, expected)


@pytest.mark.parametrize("exponent", [1.5, 3.0])
def test_radii_follow_the_power_law(exponent):
    radii = images.power_law(4000, exponent, 0.05, 0.5, np.random.default_rng(0))
    power = 1 - exponent

    def distribution(r):
        return (r**power - 0.05**power) / (0.5**power - 0.05**power)

    assert stats.kstest(radii, distribution).pvalue > 0.01


def test_noise_has_the_exponent_of_its_category():
    category = images.Spectrum(exponent=1.2, band=0.0, stretch=1.0, mixing=np.eye(3))
    grey = images.render(category, 16, 128, np.random.default_rng(0))[..., 0]
    amplitude = np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True))).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128) * 128, np.fft.rfftfreq(128) * 128, indexing="ij"))
    used = (frequency > 3) & (frequency < 40)
    slope = np.polyfit(np.log(frequency[used]), np.log(amplitude[used]), 1)[0]
    assert slope == pytest.approx(-1.2, abs=0.1)


def test_a_bezier_curve_passes_through_its_ends_and_its_middle():
    control = np.random.default_rng(0).normal(size=(3, 4, 2))
    curve = images.bezier(control, points=17)
    assert np.allclose(curve[:, 0], control[:, 0])
    assert np.allclose(curve[:, -1], control[:, 3])
    assert np.allclose(curve[:, 8], control.transpose(1, 0, 2)[[0, 1, 1, 1, 2, 2, 2, 3]].mean(axis=0))


def test_the_images_share_no_code_with_the_sets_that_are_scored():
    tree = ast.parse(inspect.getsource(images))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert modules == []


# The pool


def test_the_pool_is_the_same_with_any_number_of_workers(tmp_path):
    n = len(images.FAMILIES)
    alone = pool.fill(tmp_path / "a.npy", n, 2, 32, seed=1)
    shared = pool.fill(tmp_path / "b.npy", n, 2, 32, seed=1, workers=2)
    assert alone.dtype == np.uint8
    assert alone.shape == (n, 2, 32, 32, 3)
    assert np.array_equal(alone, shared)
    assert not np.array_equal(alone[0], alone[1])


def test_a_pool_is_rendered_once(tmp_path, monkeypatch):
    first = np.array(pool.fill(tmp_path / "pool.npy", 2, 2, 32, seed=0))
    monkeypatch.setattr(pool, "render", None)
    assert np.array_equal(pool.fill(tmp_path / "pool.npy", 2, 2, 32, seed=0), first)


def test_a_pool_of_another_shape_is_refused(tmp_path):
    pool.fill(tmp_path / "pool.npy", 2, 2, 32, seed=0)
    with pytest.raises(ValueError, match=r"pool.npy holds images of shape .* delete it"):
        pool.fill(tmp_path / "pool.npy", 2, 3, 32, seed=0)


def test_an_interrupted_rendering_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.fill(tmp_path / "pool.npy", 2, 2, 32, seed=0)
    assert list(tmp_path.iterdir()) == []


# Training

PIXELS = np.stack(
    [
        (images.render(found, 8, 32, np.random.default_rng(0)) * 255).astype(np.uint8)
        for found in (CATEGORIES[i] for i in (2, 3, 5, 6))
    ]
)


def tiny(name="random") -> backbones.Backbone:
    """A network of two stages, in the form in which `backbones.load` returns deep ones."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    first = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2)(inputs)))
    second = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(16, 3, strides=2)(first)))
    pooled = layers.GlobalAveragePooling2D()
    model = keras.Model(inputs, [layers.Flatten()(first), pooled(second)], name="tiny")
    return backbones.Backbone("tiny", model, {"stage 1": 1, "stage 2": 16}, name, "for tests", weights.digest(model))


class Clock:
    """One second passes each time it is read."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def with_heads(objective="formulas", n_categories=4, **options):
    return objectives.network_with_heads(tiny(), objectives.OBJECTIVES[objective], n_categories, **options)


def trainer(folder, seconds=1000.0, report=print, **recipe):
    found = training.Recipe(seconds, **{"size": 24, "batch_size": 8, "warm_up": 2, "peak": 0.01, **recipe})
    mirrored = [False, True, True, True]
    return training.Trainer(with_heads(found.objective), PIXELS, mirrored, found, folder, clock=Clock(), report=report)


def values(model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def test_training_lowers_the_loss_and_names_the_categories(tmp_path):
    lines = []
    found = trainer(tmp_path, seconds=160, report=lines.append, averaging=0.9, peak=0.05)
    assert found.run()
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert losses[-1] < 0.75 * losses[0]
    found.finish(batches=4)
    pictures, labels = found.batch(0)
    logits = keras.ops.convert_to_numpy(found.model(pictures, training=False))[:, -1]
    assert (logits.argmax(axis=1) == labels).mean() > 0.6  # chance is 0.25


@pytest.mark.parametrize("objective", ["views", "formulas-and-views"])
def test_training_on_views_lowers_the_loss_and_finds_more_partners(tmp_path, objective):
    lines = []
    found = trainer(tmp_path, seconds=160, report=lines.append, averaging=0.9, peak=0.02, objective=objective)
    assert found.run()
    losses_, right = ([float(line.split(f"{word} ")[1].split()[0]) for line in lines] for word in ("loss", "right"))
    assert losses_[-1] < losses_[0]
    assert right[-1] > right[0]


def test_a_batch_of_views_holds_every_image_twice_and_never_alike(tmp_path):
    views, targets = trainer(tmp_path, objective="views").batch(0)
    first, second = np.split(keras.ops.convert_to_numpy(views), 2)
    assert np.array_equal(targets, [*range(8), *range(8)])
    assert np.abs(first - second).mean(axis=(1, 2, 3)).min() > 0.01
    named = trainer(tmp_path, objective="formulas-and-views").batch(0)[1]
    assert np.array_equal(named[:8], named[8:])
    assert np.array_equal(named[:8], trainer(tmp_path).batch(0)[1])


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, objective):
    whole, first, second = (trainer(tmp_path / name, objective=objective) for name in ("whole", "parts", "parts"))
    whole.run(steps=6)
    first.run(steps=3)
    assert second.restore()
    second.run(steps=3)
    assert second.progress == whole.progress == training.Progress(6, 6.0)
    for found in (whole, second):
        found.finish(batches=2)
    for one, other in zip(values(whole.model), values(second.model), strict=True):
        assert np.array_equal(one, other)


def test_training_stops_when_its_time_is_up_however_often_it_is_resumed(tmp_path):
    first = trainer(tmp_path, seconds=10)
    assert not first.run(seconds=4)
    assert first.progress.step == 4
    second = trainer(tmp_path, seconds=10)
    second.restore()
    assert second.run()
    assert second.progress == training.Progress(10, 10.0)
    assert second.run()  # nothing is left to do
    assert second.progress.step == 10


def test_a_pause_holds_the_training_between_two_steps(tmp_path, monkeypatch):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            (tmp_path / "pause").unlink()

    monkeypatch.setattr(training.time, "sleep", sleep)
    (tmp_path / "pause").touch()
    found = trainer(tmp_path)
    found.run(steps=1)
    assert len(waits) == 3
    assert found.progress.step == 1


def test_without_a_checkpoint_training_starts_at_the_beginning(tmp_path):
    assert not trainer(tmp_path).restore()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trainer(tmp_path).run(steps=1)
    other = training.Trainer(
        with_heads(n_categories=7), PIXELS, [True] * 4, training.Recipe(9, size=24), tmp_path, clock=Clock()
    )
    with pytest.raises(ValueError, match="checkpoint of another network"):
        other.restore()


def test_a_checkpoint_of_another_recipe_is_refused_but_for_its_time(tmp_path):
    trainer(tmp_path, objective="views").run(steps=1)
    with pytest.raises(ValueError, match=r"was trained with another objective, peak: give the same"):
        trainer(tmp_path, objective="formulas-and-views", peak=0.02).restore()
    assert trainer(tmp_path, objective="views", seconds=5).restore()


def test_a_batch_larger_than_the_pool_is_refused(tmp_path):
    with pytest.raises(ValueError, match="A batch of 33 does not fit a pool of 32 images: ask for a smaller batch"):
        trainer(tmp_path, batch_size=33)


def test_a_crop_larger_than_the_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="A crop of 33 pixels does not fit images of 32"):
        trainer(tmp_path, size=33)


def test_every_image_is_seen_once_before_any_is_seen_again(tmp_path):
    found = trainer(tmp_path)  # 32 images in batches of 8
    seen = np.concatenate([found.batch(step)[1] for step in range(4)])
    assert np.array_equal(np.bincount(seen), [8, 8, 8, 8])
    assert not np.array_equal(seen[:8], found.batch(4)[1]) or not np.array_equal(seen[8:16], found.batch(5)[1])


def test_the_learning_rate_warms_up_by_steps_and_falls_by_time():
    recipe = training.Recipe(100.0, peak=0.5, warm_up=10)
    assert training.learning_rate(recipe, training.Progress(0, 0.0)) == pytest.approx(0.05)
    assert training.learning_rate(recipe, training.Progress(50, 25.0)) == pytest.approx(0.25 * (1 + 0.5**0.5))
    assert training.learning_rate(recipe, training.Progress(99, 100.0)) == pytest.approx(0)


def test_the_loss_is_the_smoothed_cross_entropy_of_every_head_by_its_weight():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(5, 3, 4)).astype(np.float32), random.integers(4, size=5)
    reference = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    each = [float(reference(np.eye(4, dtype=np.float32)[labels], logits[:, head])) for head in range(3)]
    found = float(objectives.CrossEntropies(0.3, 0.1)(labels, logits))
    assert found == pytest.approx(0.3 * each[0] + 0.3 * each[1] + each[2], rel=1e-5)


def unit_rows(n, heads, dimensions=6):
    rows = np.random.default_rng(0).normal(size=(n, heads, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_with_images_as_targets_the_partners_loss_is_nt_xent_of_every_head_by_its_weight():
    rows, targets = unit_rows(10, 3), np.tile(np.arange(5), 2)
    each = [float(losses.nt_xent(rows[:5, head], rows[5:, head], 0.2)) for head in range(3)]
    found = float(objectives.PartnersLoss(0.3, 0.2)(targets, rows))
    assert found == pytest.approx(0.3 * each[0] + 0.3 * each[1] + each[2], rel=1e-5)


def test_with_categories_as_targets_the_partners_loss_is_the_mean_over_all_partners():
    rows, targets = unit_rows(7, 1), np.array([0, 1, 0, 1, 1, 0, 1])
    expected = []
    for i, row in enumerate(rows[:, 0]):
        others = [k for k in range(7) if k != i]
        total = np.log(sum(np.exp(row @ rows[k, 0] / 0.5) for k in others))
        partners = [k for k in others if targets[k] == targets[i]]
        expected.append(np.mean([total - row @ rows[k, 0] / 0.5 for k in partners]))
    found = float(objectives.PartnersLoss(0.3, 0.5)(targets, rows))
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_partner_is_found_where_the_nearest_other_row_of_the_last_head_is_one():
    rows, targets = unit_rows(9, 2), np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    products = rows[:, -1] @ rows[:, -1].T
    np.fill_diagonal(products, -np.inf)
    found = keras.ops.convert_to_numpy(objectives.partner_found(targets, rows))
    assert np.array_equal(found, targets[products.argmax(axis=1)] == targets)
    assert 0 < found.sum() < 9


def test_momentum_of_batch_normalization_is_set_on_every_layer():
    model = with_heads(momentum=0.8)
    found = [layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(found) == 3  # two of the network and one of its only head
    assert set(found) == {0.8}


def test_augmented_images_keep_their_range_and_come_again_from_the_same_seed():
    crops = [
        keras.ops.convert_to_numpy(training.augment(PIXELS[0], np.ones(8, bool), 24, np.random.default_rng(7)))
        for _ in range(2)
    ]
    assert crops[0].shape == (8, 24, 24, 3)
    assert crops[0].min() >= 0
    assert crops[0].max() <= 1
    assert np.array_equal(*crops)


def test_only_what_may_be_mirrored_is_mirrored():
    mirrored = np.repeat([False, True], 100)
    a, b, _, c, d, _, _, _ = training._transforms(200, 32, 24, mirrored, np.random.default_rng(0)).T
    flipped = a * d - b * c < 0
    assert not flipped[:100].any()
    assert 20 < flipped[100:].sum() < 80
    upright = np.abs(np.arctan2(c, a)[:100])
    assert upright.max() < np.deg2rad(30)


def test_a_crop_shows_the_image_from_the_middle_out():
    a, b, x, c, d, y, _, _ = training._transforms(500, 40, 24, np.zeros(500, bool), np.random.default_rng(0)).T
    middle = (24 - 1) / 2
    centre = np.stack([a * middle + b * middle + x, c * middle + d * middle + y])
    zoom = np.sqrt(a * d - b * c)
    assert zoom.min() >= 0.75 - 1e-6
    assert zoom.max() <= 40 / 24 + 1e-6
    assert np.all(np.abs(centre - 19.5) <= (40 - zoom * 24) / 2 + 1e-4)


# Evaluation


def test_relative_errors_are_zero_for_the_same_weights_and_grow_with_the_change():
    one, other = tiny().model, tiny().model
    pictures = PIXELS[0, :, :24, :24].astype(np.float32) / 255
    assert evaluation.relative_errors(one, other, pictures, ("a", "b")) == {"a": 0, "b": 0}
    errors = []
    for scale in (0.99, 0.9):
        other.set_weights([scale * value if value.ndim > 1 else value for value in one.get_weights()])
        errors.append(evaluation.relative_errors(other, one, pictures, ("a", "b"))["a"])
    # a convolution before BatchNormalization scales its features: the error is the share that is missing
    assert 0 < errors[0] < errors[1]


# The command


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The arguments of a training of seconds, on a network of two stages."""

    def load(network, kind, *, folder=None, **_):
        found = replace(tiny(kind), name=network)
        if kind == "self_made":
            weights.restore(found.model, folder / network)
        return found

    monkeypatch.setattr(backbones, "load", load)
    options = ["--resume", str(tmp_path), "--size", "24", "--batch", "8", "--categories", "4", "--images", "6"]
    return [*options, "--workers", "1", "--peak", "0.01"]


def test_the_command_trains_exports_and_goes_on(toy, tmp_path, capsys):
    assert command.main([*toy, "--minutes", "10", "--piece", "0.01"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "export").exists()
    assert command.main([*toy, "--minutes", "0.005"]) == 0
    said = capsys.readouterr().out
    assert "Goes on after" in said
    assert "Exported" in said
    card = weights.describe(tmp_path / "export" / "resnet18_half")["about"]
    assert card["images seen"] == 8 * card["steps"] > 0
    assert card["recipe"]["size"] == 24
    assert 0 < max(card["rounding error"].values()) < 0.1
    assert command.main([*toy, "--minutes", "20"]) == 0
    assert "holds finished weights: delete that folder to train on" in capsys.readouterr().out


def test_on_a_gpu_training_is_in_mixed_precision_and_what_rounding_costs_is_not(toy, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(runtime, "device", lambda: "GPU, in name")
    monkeypatch.setattr(training, "_compiles_better", lambda: False)
    save = training.Trainer.save
    monkeypatch.setattr(
        training.Trainer, "save", lambda self: save(self) or used.append(keras.config.dtype_policy().name)
    )
    try:
        assert command.main([*toy, "--minutes", "0.005", "--dtype", "float16", "--export", str(tmp_path / "own")]) == 0
        assert keras.config.dtype_policy().name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    assert set(used) == {"mixed_bfloat16"}
    errors = weights.describe(tmp_path / "own" / "resnet18_half")["about"]["rounding error"]
    assert 0 < max(errors.values()) < 2e-3  # bfloat16 itself would be beyond


def test_the_command_trains_every_deep_network_for_every_objective():
    assert tuple(backbones._NETWORKS) == command.NETWORKS
    assert tuple(objectives.OBJECTIVES) == command.OBJECTIVES


def test_heads_stand_on_the_stages_of_resnet50_as_they_are(deep_network):
    backbone = deep_network("resnet50")
    momenta = [layer.momentum for layer in backbones.batch_normalizations(backbone.model)]
    model = objectives.network_with_heads(backbone, objectives.OBJECTIVES["formulas"], 5)
    for layer, momentum in zip(backbones.batch_normalizations(backbone.model), momenta, strict=True):
        layer.momentum = momentum  # the network is others' too
    assert model.output_shape == (None, 3, 5)
    heads = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    assert [layer.kernel.shape[0] for layer in heads] == [512, 1024, 2048]
    assert not [layer for layer in model.layers if layer.name.endswith("_pool") and layer.name.startswith("head")]


def test_the_command_refuses_in_one_sentence_before_it_renders(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "render", None)
    with pytest.raises(SystemExit, match=r"size=64, but it is a whole number of"):
        command.main(["--network", "inception_v3", "--size", "64", "--resume", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        command.main([])
    assert "give --resume DIR to train, or --evaluate DIR to compare" in capsys.readouterr().err


def test_the_clock_of_a_training_never_goes_back():
    assert inspect.signature(training.Trainer).parameters["clock"].default is time.monotonic
