"""How good weights are: folds that divide no group, intervals that hold, a rule fixed in advance, a record on disk."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from made_cards import card

from helpers import backbones, weights
from helpers.pretraining import evaluation
from helpers.pretraining.card import (
    BASELINES,
    MEASURES,
    Estimate,
    clearly_better,
    load_cards,
    save_card,
    standing,
    verdict,
)

# Scores


def test_the_scores_tell_separated_classes_from_noise():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    noise = random.normal(size=(90, 20))
    apart = evaluation.score(noise + 4 * np.eye(20)[labels], labels)
    alike = evaluation.score(noise, labels)
    for found in (apart.knn, apart.linear):
        assert found.mean() > 0.9
    for found in (alike.knn, alike.linear):
        assert found.mean() < 0.55


def test_the_linear_score_does_not_depend_on_a_rotation_of_the_features():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 25)
    features = random.normal(size=(50, 200)) + 0.3 * np.eye(200)[labels] * 5
    wide = np.concatenate([features, features], axis=1)  # every column twice changes no direction
    assert np.array_equal(evaluation.score(features, labels).linear, evaluation.score(wide, labels).linear)


@pytest.mark.parametrize("mixed", [False, True], ids=["one class a group", "several classes a group"])
def test_no_fold_divides_a_group_and_every_image_is_asked_once(mixed):
    random = np.random.default_rng(0)
    groups = random.integers(40, size=300)
    labels = random.integers(3, size=300) if mixed else groups % 3
    asked = []
    for train, test in evaluation.folds_of(labels, groups):
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == {0, 1, 2}
        asked.append(test)
    assert np.array_equal(np.sort(np.concatenate(asked)), np.arange(300))


def test_features_that_only_tell_the_group_earn_nothing_once_groups_stay_together():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    labels = random.permutation(np.arange(40) % 4)[groups]
    features = random.normal(size=(40, 60))[groups] + 0.05 * random.normal(size=(200, 60))
    divided, kept = evaluation.score(features, labels), evaluation.score(features, labels, groups)
    for name in MEASURES:
        assert getattr(divided, name).mean() > 0.95
        assert getattr(kept, name).mean() < 0.45


# Intervals


def test_without_groups_the_interval_is_the_textbook_one():
    answers = np.random.default_rng(0).uniform(size=400) < 0.7
    resampling = evaluation.Resampling(np.arange(400), replicates=4000)
    found = resampling.estimate(answers.mean(), resampling.means(answers[None]))
    half = 1.96 * answers.std(ddof=1) / 20
    assert found.mean == answers.mean()
    assert found.low == pytest.approx(found.mean - half, abs=0.005)
    assert found.high == pytest.approx(found.mean + half, abs=0.005)


def test_with_groups_the_interval_is_that_of_a_bootstrap_written_out():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), random.integers(1, 12, 20))
    answers = random.uniform(size=len(groups)) < random.uniform(0, 1, 20)[groups]
    resampling = evaluation.Resampling(groups + 5, replicates=4000)
    found = resampling.estimate(answers.mean(), resampling.means(answers[None]))
    by_hand = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in random.integers(20, size=19)])
        by_hand.append(answers[rows].mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=0.02)
    plain = evaluation.Resampling(np.arange(len(groups)))
    narrow = plain.estimate(answers.mean(), plain.means(answers[None]))
    assert narrow.high - narrow.low < 0.7 * (found.high - found.low)


def test_the_draws_of_weights_widen_the_interval_by_their_own_variance():
    share = np.array([0.2, 0.5, 0.9])
    answers = np.repeat(share[:, None], 50, axis=1)  # the images make no difference
    replicates = evaluation.Resampling(np.arange(50), draws=3, replicates=20_000).means(answers)
    assert replicates.mean() == pytest.approx(share.mean(), abs=0.005)
    assert replicates.var() == pytest.approx(share.var(ddof=1) / 3, rel=0.03)


def test_an_interval_holds_the_truth_about_as_often_as_it_promises():
    random, held = np.random.default_rng(0), 0
    for trial in range(300):  # three draws of weights, 60 images that differ, and chance for each of both
        answers = random.normal(size=(3, 60)) + random.normal(size=60) + 0.15 * random.normal(size=(3, 1))
        resampling = evaluation.Resampling(np.arange(60), draws=3, replicates=400, seed=trial)
        found = resampling.estimate(answers.mean(), resampling.means(answers))
        held += found.low <= 0 <= found.high
    assert 0.92 <= held / 300 <= 0.99


def test_what_is_hard_for_both_cancels_out_of_a_difference():
    answers = np.random.default_rng(0).uniform(size=(3, 1, 2, 80)) < 0.5
    resampling = evaluation.Resampling(np.arange(80), draws=3)
    difference = resampling.means(answers) - resampling.means(answers)
    assert difference.shape == (2000, 1, 2)
    assert not difference.any()
    better = np.where(np.arange(80) < 8, True, answers[:1])  # right on eight images more, or fewer
    single = resampling.means(better) - resampling.means(answers[:1])
    assert single.min() >= 0


def test_sets_share_the_draws_of_weights_and_no_images():
    one, other = (evaluation.Resampling(np.arange(30), draws=3, place=place) for place in (0, 1))
    assert np.array_equal(one.draws, other.draws)
    assert not np.array_equal(one.images, other.images)


# The rule

BETTER, WORSE, UNDECIDED, HALF = (0.1, 0.1), (-0.1, -0.1), (0.01, 0.01), (0.1, 0.01)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [(BETTER, 1), (WORSE, -1), (UNDECIDED, 0), (HALF, 0), ((0.1, -0.1), -1), ((-0.1, 0.01), -1)],
)
def test_a_set_is_better_against_both_baselines_and_worse_against_either(gains, expected):
    assert standing(card([gains]).sets[0]) == expected


@pytest.mark.parametrize(
    ("gains", "overall", "expected"),
    [
        ([BETTER] * 4 + [UNDECIDED] * 3, 0.05, True),
        ([BETTER] * 4 + [UNDECIDED] * 2 + [WORSE], 0.05, True),
        ([BETTER] * 5 + [WORSE] * 2, 0.05, False),  # more than a quarter is worse
        ([BETTER] * 3 + [WORSE], 0.05, True),  # a quarter
        ([BETTER] * 2 + [UNDECIDED] * 2, 0.05, False),  # half is not more than half
        ([HALF] * 7, 0.05, False),  # no better than measured random weights
        ([BETTER] * 7, 0.01, False),  # the mean over the sets is undecided
        ([WORSE] * 7, -0.1, False),
    ],
)
def test_the_rule_asks_for_most_sets_few_losses_and_the_mean(gains, overall, expected):
    found = card(gains, overall)
    assert clearly_better(found) is expected
    assert ("are clearly better than random ones" in verdict(found)) is expected
    assert ("does not ship them" in verdict(found)) is not expected


def test_without_weights_of_our_own_nothing_is_better():
    found = card([BETTER], own=False)
    assert not clearly_better(found)
    assert verdict(found) == "There are no weights of our own for tiny: it starts from random ones."


def test_the_verdict_counts_what_is_better_worse_and_undecided():
    said = verdict(card([BETTER] * 3 + [WORSE] + [UNDECIDED] * 2, overall=-0.0312))
    assert "Of 6 sets, they are better than random and measured random weights on 3, " in said
    assert "worse than one of them on 1, and undecided on 2." in said
    assert "−3.1 points against random weights (95 % interval −5.1 to −1.1)" in said


# The record


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    found = card([BETTER, HALF], imagenet=True)
    save_card(found, tmp_path / "weights" / "tiny.json")
    assert load_cards(tmp_path / "weights") == {"tiny": found}
    assert load_cards(tmp_path / "nowhere") == {}


def test_a_record_that_holds_no_number_is_not_written_and_the_old_one_stays(tmp_path):
    file = tmp_path / "tiny.json"
    save_card(card([BETTER]), file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_card(replace(card([BETTER]), gain={"random": Estimate(np.nan, 0.0, 0.0)}), file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def damage(told: dict, *way, value) -> None:
    for step in way[:-1]:
        told = told[step]
    told[way[-1]] = value


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("size",), "96"),
        (("sets",), []),
        (("sets", 0, "n"), 400.5),
        (("sets", 0, "gain", "random"), [0.1, 0.0]),
        (("sets", 0, "gain", "random"), [0.1, 0.0, "0.2"]),
        (("sets", 0, "gain"), {}),
        (("sets", 0, "scores", "random", "stage 2"), {"knn": [0.1, 0.0, 0.2]}),
        (("sets", 0, "scores", "random"), {}),
        (("sets", 0, "scores", "trained"), {}),
        (("about",), {"seconds": 3}),
        (("weights",), {"bytes": 3}),
        (("surprise",), 1),
    ],
    ids=str,
)
def test_a_damaged_record_is_named(tmp_path, way, value):
    file = tmp_path / "tiny.json"
    save_card(card([BETTER]), file)
    told = json.loads(file.read_text())
    damage(told, *way, value=value)
    file.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"The record .*tiny\.json is damaged \(.*\): measure tiny again"):
        load_cards(tmp_path)


def test_a_record_cut_short_is_named(tmp_path):
    file = tmp_path / "tiny.json"
    save_card(card([BETTER]), file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"tiny\.json is damaged"):
        load_cards(tmp_path)


# Measuring


def tiny(kind: str, seed: int) -> backbones.Backbone:
    """A network of two stages; the seed draws its weights."""
    inputs = keras.Input((16, 16, 3))
    draw = keras.initializers.GlorotUniform
    first = layers.Conv2D(4, 3, strides=2, kernel_initializer=draw(seed))(inputs)
    first = layers.Activation("relu")(layers.BatchNormalization()(first))
    second = layers.Activation("relu")(layers.Conv2D(8, 3, strides=2, kernel_initializer=draw(seed + 9))(first))
    pooled = layers.GlobalAveragePooling2D
    model = keras.Model(inputs, [pooled()(first), pooled()(second)], name="tiny")
    return backbones.Backbone("tiny", model, {"stage 1": 4, "stage 2": 8}, kind, "tests", weights.digest(model), 16)


@pytest.fixture
def small(monkeypatch):
    """One set, two stages, and no network of this machine's; returns what was loaded."""
    loaded = []

    def load(network, kind, *, seed=0, size=None, folder=None, download=True):
        loaded.append((kind, seed))
        found = tiny(kind, seed)
        if kind == "self_made":
            weights.restore(found.model, folder / "tiny")
        return found

    monkeypatch.setattr(evaluation, "SETS", {"digits": {}})
    monkeypatch.setattr(backbones, "load", load)
    monkeypatch.setattr(backbones, "available", lambda network, folder: ("random",))
    monkeypatch.setenv("COURSE_DATA", "")
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    return loaded


def test_a_record_holds_every_kind_on_every_set(small, tmp_path, capsys):
    weights.export(tiny("self_made", 0).model, tmp_path / "tiny", about={"objective": "none", "images seen": 0})
    file = tmp_path / "results" / "tiny.json"
    found = evaluation.record("tiny", tmp_path, file, images=100, draws=2, progress=False)
    assert load_cards(file.parent) == {"tiny": found}
    assert small[1:] == [("random", 0), ("random", 1), ("random", 0), ("random", 1), ("self_made", 0)]
    assert found.kinds == ("random", "measured", "self_made")
    assert found.missing == {
        "imagenet": "There are no ImageNet weights for this network.",
        "mnist": "MNIST was not at hand.",
    }
    assert found.weights["about"] == {"objective": "none", "images seen": 0}
    assert found.weights["bytes"] == sum(path.stat().st_size for path in (tmp_path / "tiny").iterdir())
    (digits,) = found.sets
    assert (digits.name, digits.n, digits.classes, digits.groups) == ("digits", 100, 10, 100)
    assert digits.chance == pytest.approx(0.1, abs=0.02)
    assert digits.pixels["linear"].mean > 0.7  # the digits are easy
    for name in MEASURES:
        for stage in ("stage 1", "stage 2"):
            own, random = (digits.scores[kind][stage][name].mean for kind in ("self_made", "random"))
            assert digits.gains["random"][stage][name].mean == pytest.approx(own - random)
    mean = np.mean([one[name].mean for one in digits.gains["measured"].values() for name in MEASURES])
    assert digits.gain["measured"].mean == pytest.approx(mean)
    assert found.gain == {baseline: pytest.approx(digits.gain[baseline]) for baseline in BASELINES}
    said = evaluation.table(found)
    assert f"| digits | stage 1 | kNN | {digits.scores['random']['stage 1']['knn'].mean:.3f} |" in said
    assert said.endswith(verdict(found))


def test_untrained_weights_of_our_own_are_scored_as_the_random_ones_that_they_are(small, tmp_path):
    weights.export(tiny("self_made", 0).model, tmp_path / "tiny", dtype="float16", about={})
    (digits,) = evaluation.measure("tiny", tmp_path, images=100, draws=1, progress=False).sets
    assert abs(digits.gain["random"].mean) < 0.03


def test_where_there_are_no_weights_of_our_own_the_record_says_so(small, tmp_path):
    found = evaluation.measure("tiny", tmp_path, images=60, draws=1, progress=False)
    assert found.kinds == ("random", "measured")
    assert found.missing["self_made"] == "There are no weights of our own for this network."
    assert found.gain == found.weights == found.sets[0].gains == {}
    assert "own less" not in evaluation.table(found)


def save_images(folder, counts: dict[str, int]) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for place in range(count):
            pixels = random.integers(256, size=(20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{place // 2}_{place % 2}.png")


def test_a_folder_of_images_is_a_set_and_its_groups_stay_together(small, tmp_path):
    save_images(tmp_path / "pictures", {"a": 12, "b": 14})
    others = [f"plants={tmp_path / 'pictures'}=^[0-9]+"]
    plants = evaluation.measure("tiny", tmp_path, others=others, images=60, draws=1, progress=False).sets[1]
    assert (plants.name, plants.n, plants.classes, plants.groups) == ("plants", 26, 2, 7)


def test_a_class_of_too_few_originals_is_named_before_anything_is_computed(small, tmp_path):
    save_images(tmp_path / "pictures", {"a": 8, "b": 14})
    with pytest.raises(ValueError, match="set plants, the class a has images of 4 originals, but 5 folds"):
        evaluation.measure("tiny", tmp_path, others=[f"plants={tmp_path / 'pictures'}=^[0-9]+"], progress=False)
    assert len(small) == 1


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("plants", ValueError, "'plants' names no folder of images: write NAME=FOLDER"),
        ("=here", ValueError, "names no folder"),
        ("digits=.", ValueError, "The set 'digits' is there already"),
        ("plants=no/such/folder", FileNotFoundError, "There is no folder no/such/folder"),
    ],
)
def test_a_set_that_cannot_be_read_as_one_is_refused(text, error, said):
    with pytest.raises(error, match=said):
        evaluation.user_sets([text], 96)


def test_the_record_is_not_written_over_a_folder(small, tmp_path):
    with pytest.raises(IsADirectoryError, match="give the file"):
        evaluation.record("tiny", tmp_path, tmp_path)
    assert not small
