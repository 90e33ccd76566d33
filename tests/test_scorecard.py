from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup

from helpers import backbones, clustering, datasets, results, scorecard, separability
from helpers.runtime import Runtime
from helpers.scorecard import MEASURES, Scorecard, score

RUN = Runtime("quick", 0, "tensorflow", "CPU, 2 cores")


@pytest.fixture(scope="module")
def parts():
    train, _, test = datasets.load("digits").split()
    return train, test


@pytest.fixture
def card(parts):
    return Scorecard("my-chapter", *parts, RUN, seeds=(0, 1), permutations=19, points=300)


def pixels(part):
    return part.images.reshape(len(part), -1)


def test_score_has_every_measure_within_its_range(parts):
    train, test = parts
    found = score(pixels(test), test.labels, pixels(train), train.labels, permutations=19)
    assert list(found) == list(MEASURES)
    for name, value in found.items():
        assert MEASURES[name].low <= value <= MEASURES[name].high


def test_score_of_random_features_is_at_chance(parts):
    train, test = parts
    random = np.random.default_rng(0)
    noise = random.normal(size=(len(test), 20)), random.normal(size=(len(train), 20))
    found = score(noise[0], test.labels, noise[1], train.labels)
    assert found["knn"] < 0.16
    assert found["linear_probe"] < 0.16
    assert abs(found["ari"]) < 0.02
    assert abs(found["goodness"] - 1) < 0.02
    assert found["p_value"] > 0.01


def test_score_of_perfect_features_is_perfect(parts):
    train, test = parts
    random = np.random.default_rng(0)
    onehot = [np.eye(10)[part.labels] + random.normal(0, 1e-3, (len(part), 10)) for part in (test, train)]
    found = score(onehot[0], test.labels, onehot[1], train.labels, permutations=19)
    for name in ("knn", "linear_probe", "kmeans_accuracy", "nmi", "ari"):
        assert found[name] == pytest.approx(1)
    assert found["silhouette"] > 0.99
    assert found["p_value"] == 1 / 20


def test_score_refuses_nan_and_lengths_that_differ(parts):
    train, test = parts
    with pytest.raises(ValueError, match="NaN"):
        score(pixels(test) * np.nan, test.labels, pixels(train), train.labels)
    with pytest.raises(ValueError, match="one label belongs to each row"):
        score(pixels(test), test.labels[:-1], pixels(train), train.labels)
    with pytest.raises(ValueError, match="1 class"):
        score(pixels(test), test.labels * 0, pixels(train), train.labels)


def test_a_row_tells_on_which_images_it_was_scored(parts):
    train, test = parts
    cards = [Scorecard("my-chapter", train, part, RUN, permutations=19) for part in (test, test, test[:300])]
    for card in cards:
        card.add("raw pixels", lambda seed, card=card: (pixels(card.train), pixels(card.test)))
    first, same, other = (card.records[0].about["images"]["digest"] for card in cards)
    assert first == same != other


def test_large_images_are_stored_as_small_ones(tmp_path):
    random = np.random.default_rng(0)
    images = random.uniform(size=(40, 8, 5, 3)).repeat(20, axis=1).repeat(20, axis=2)  # 160 x 100, flat blocks
    part = datasets.ImageSet(images, np.arange(40) % 2, ("a", "b"), "blocks", "made here", "none")
    card = Scorecard("my-chapter", part, part, RUN, permutations=19, points=35)
    card.add("mean colour", lambda seed: (images.mean(axis=(1, 2)), images.mean(axis=(1, 2))))
    card.save(tmp_path)
    (record,) = results.load(tmp_path)
    assert record.arrays["thumbnails"].shape == (35, 64, 40, 3)
    centres = record.arrays["thumbnails"][:, 4::8, 4::8]
    assert np.abs(centres - part.images[:35, 10::20, 10::20] * 255).max() < 12


def test_the_baselines_stand_in_every_card(card, parts):
    card.add_baselines(16, untrained=lambda seed: backbones.small_encoder(parts[0].shape, 24, seed))
    assert [(row.method, row.dimensions, row.kind) for row in card.records] == [
        ("raw pixels", 64, "baseline"),
        ("PCA, 16", 16, "baseline"),
        ("untrained network", 24, "baseline"),
    ]
    assert card.records[0].spread("knn") == 0  # nothing is drawn
    assert card.records[2].spread("knn") > 0
    assert card.records[2].about["parameters"] == backbones.small_encoder(parts[0].shape, 24).count_params()


def test_each_seed_is_scored_on_its_own(card, parts):
    train, test = parts
    columns = {0: slice(0, 32), 1: slice(32, 64)}
    row = card.add("halves", lambda seed: (pixels(train)[:, columns[seed]], pixels(test)[:, columns[seed]]))
    expected = score(pixels(test)[:, 32:], test.labels, pixels(train)[:, 32:], train.labels, 1, 19)
    assert {name: values[1] for name, values in row.measures.items()} == expected


def test_a_row_may_have_fewer_seeds_than_the_card(card, parts):
    train, test = parts
    row = card.add("once", lambda seed: (pixels(train), pixels(test)), seeds=[1])
    assert row.seeds == [1]
    assert all(len(values) == 1 for values in row.measures.values())


@pytest.fixture
def claiming(card, parts):
    """A card with two rows, the first of which has values of its own."""
    columns = {0: slice(0, 32), 1: slice(32, 64)}
    halves = {seed: tuple(pixels(part)[:, columns[seed]] for part in parts) for seed in columns}
    card.add("halves", halves.get, also={"test MSE": [0.2, 0.3]})
    card.add("pixels", lambda seed: tuple(map(pixels, parts)))
    return card


def test_values_are_those_of_the_measures_and_of_the_chapter(claiming):
    assert claiming.values("halves", "knn").tolist() == claiming.records[0].measures["knn"]
    assert claiming.values("halves", "test MSE").tolist() == [0.2, 0.3]
    with pytest.raises(ValueError, match="Unknown row 'half': did you mean 'halves'"):
        claiming.values("half", "knn")
    with pytest.raises(ValueError, match="Unknown measure 'test MSE'"):
        claiming.values("pixels", "test MSE")


@pytest.mark.parametrize("values", [[0.1], [0.1, float("nan")], [[0.1], [0.2]]])
def test_values_of_the_chapter_are_one_finite_number_per_seed(claiming, parts, values):
    with pytest.raises(ValueError, match="one finite number for each of the 2 seeds"):
        claiming.add("third", lambda seed: tuple(map(pixels, parts)), also={"test MSE": values})
    with pytest.raises(ValueError, match="one finite number for each of the 2 seeds"):
        claiming.claim("It is small.", values, most=1)
    assert [row.method for row in claiming.records] == ["halves", "pixels"]


def test_a_claim_is_printed_decided_and_stored(claiming, tmp_path, capsys):
    gain = claiming.values("pixels", "knn") - claiming.values("halves", "knn")
    assert claiming.claim("All pixels beat half of them.", gain, least=0).holds
    assert not claiming.claim("All pixels are far better.", gain, least=0.9).holds
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("holds: All pixels beat half of them. (")
    assert printed[1].startswith("DOES NOT HOLD: All pixels are far better. (")
    assert printed[1].endswith("; at least 0.9)")
    claiming.save(tmp_path)
    assert [(claim.sentence, claim.holds) for claim in results.load_claims(tmp_path)] == [
        ("All pixels beat half of them.", True),
        ("All pixels are far better.", False),
    ]
    assert results.load(tmp_path)[0].also == {"test MSE": [0.2, 0.3]}


def test_a_claim_made_again_replaces_the_first(claiming, tmp_path):
    for least in (0.5, 0.0):
        claiming.claim("Errors are positive.", claiming.values("halves", "test MSE"), least=least)
    claiming.save(tmp_path)
    assert [claim.least for claim in results.load_claims(tmp_path)] == [0.0]


def test_a_claim_needs_a_band(claiming):
    with pytest.raises(ValueError, match="`least`, `most` or both"):
        claiming.claim("Anything goes.", [1, 2])
    for least in (3, float("nan")):
        with pytest.raises(ValueError, match=r"band from .* to 2 is empty"):
            claiming.claim("Nothing goes.", [1, 2], least=least, most=2)


def test_a_band_may_be_a_number_of_numpy(claiming, tmp_path):
    claiming.claim("Errors are positive.", [0.2, 0.3], least=np.float32(0.1))
    claiming.save(tmp_path)
    assert results.load_claims(tmp_path)[0].holds


def test_values_of_the_chapter_do_not_hide_a_measure(claiming, parts):
    with pytest.raises(ValueError, match="'knn' is a measure of every row"):
        claiming.add("third", lambda seed: tuple(map(pixels, parts)), also={"knn": [1.0, 1.0]})


def test_a_row_of_the_same_name_is_replaced_in_its_place(card, parts):
    train, test = parts
    for name in ("first", "second", "first"):
        card.add(name, lambda seed: (pixels(train), pixels(test)))
    assert [row.method for row in card.records] == ["first", "second"]
    assert [row.about["row"] for row in card.records] == [0, 1]


def test_only_independent_images_are_tested():
    views = datasets.load("shifted-digits", views=2)
    train, _, test = views.split()
    assert len(Scorecard("my-chapter", train, test, RUN).test) == len(test) / 2


def test_a_saved_card_comes_back_with_maps_and_images(card, parts, tmp_path):
    train, test = parts
    card.add("raw pixels", lambda seed: (pixels(train), pixels(test)), "baseline")
    card.save(tmp_path)
    (row,) = results.load(tmp_path)
    assert row.measures == card.records[0].measures
    assert set(row.maps) == {"PCA", "t-SNE", "UMAP"}
    for name in row.maps:
        assert row.arrays[name].shape == (300, 2)
    assert np.array_equal(row.arrays["labels"], test.labels[:300])
    assert np.array_equal(row.arrays["thumbnails"], np.round(test.images[:300] * 255))
    # the clusters carry the names of the classes that all of them together match best
    clusters = clustering.align(test.labels, clustering.cluster(pixels(test), 10, seed=0))
    assert np.array_equal(row.arrays["clusters"], clusters[:300])
    assert row.about["versions"]["numpy"] == np.__version__


def test_the_table_shows_means_spreads_and_the_largest_p(card, parts):
    train, test = parts
    row = card.add("raw <pixels>", lambda seed: (pixels(train), pixels(test)))
    table = BeautifulSoup(card._repr_html_(), "html.parser")
    cells = [cell.text for cell in table.select("tbody tr > *")]
    assert cells[0] == "raw <pixels>"
    assert cells[1] == "64"
    assert cells[2] == f"{np.mean(row.measures['knn']):.3f}± {np.std(row.measures['knn'], ddof=1):.3f}"
    titles = [cell.text for cell in table.select("thead th")]
    assert cells[titles.index("p")] == f"{max(row.measures['p_value']):.3f}"
    assert f"{len(test)} test images" in table.caption.text


def test_an_empty_table_says_what_is_missing(card):
    with pytest.raises(ValueError, match="no rows yet"):
        card._repr_html_()


def test_a_card_without_seeds_is_refused(parts):
    with pytest.raises(ValueError, match="one seed or more"):
        Scorecard("my-chapter", *parts, RUN, seeds=())


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        (3, "seeds=3 is no list of seeds"),
        ((0.7,), "seed=0.7, but it is a whole number"),
        ((0, -1), "seed=-1, but it is a whole number"),
        ((0, 1, 0), "holds a seed twice"),
    ],
)
def test_seeds_that_are_none_are_refused_before_anything_is_scored(parts, seeds, sentence):
    with pytest.raises(ValueError, match=sentence):
        Scorecard("my-chapter", *parts, RUN, seeds=seeds)


def test_sets_of_other_classes_are_refused(parts):
    train, test = parts
    renamed = replace(test, class_names=tuple("abcdefghij"))
    with pytest.raises(ValueError, match=r"has the classes 0, 1, .* but the test set a, b, .* split one set"):
        Scorecard("my-chapter", train, renamed, RUN)
    with pytest.raises(ValueError, match=r"training set has no image of '3', so no probe can name one"):
        Scorecard("my-chapter", train[train.labels != 3], test, RUN)


def test_too_few_images_for_a_map_are_refused_before_anything_is_scored(parts):
    train, test = parts
    with pytest.raises(ValueError, match=r"30 test images are too few for a map"):
        Scorecard("my-chapter", train, test[:30], RUN)
    with pytest.raises(ValueError, match=r"points=30, but it is a whole number of 31 or more"):
        Scorecard("my-chapter", train, test, RUN, points=30)


def test_a_row_that_fails_leaves_the_earlier_one_with_its_own_features(card, parts, tmp_path):
    train, test = parts
    card.add("mine", lambda seed: (pixels(train), pixels(test)))
    wrong = np.full((len(test), 3), np.nan)
    by_seed = {0: (pixels(train)[:, :3], pixels(test)[:, :3]), 1: (pixels(train)[:, :3], wrong)}
    with pytest.raises(ValueError, match="NaN"):
        card.add("mine", by_seed.get)
    card.save(tmp_path)
    (row,) = results.load(tmp_path)
    clusters = clustering.align(test.labels, clustering.cluster(pixels(test), 10, seed=0))
    assert np.array_equal(row.arrays["clusters"], clusters[:300])


def test_a_row_without_a_latin_letter_is_refused_before_it_is_scored(card):
    with pytest.raises(ValueError, match=r"letter|name"):
        card.add("метод", None)


def test_rows_that_would_share_a_file_are_refused(card, parts):
    train, test = parts
    card.add("ae, 32", lambda seed: (pixels(train), pixels(test)))
    with pytest.raises(ValueError, match="would share a file"):
        card.add("AE 32", lambda seed: (pixels(train), pixels(test)))


def test_an_unknown_kind_of_row_suggests_the_nearest(card):
    with pytest.raises(ValueError, match="did you mean 'baseline'"):
        card.add("x", lambda seed: None, kind="baselin")


def test_maps_of_an_unknown_row_suggest_the_nearest(card, parts):
    train, test = parts
    card.add("raw pixels", lambda seed: (pixels(train), pixels(test)))
    with pytest.raises(ValueError, match="did you mean 'raw pixels'"):
        card.maps("raw pixel")


def test_the_measures_say_what_they_are():
    assert separability.clustering_goodness.__doc__
    for measure in scorecard.MEASURES.values():
        assert measure.explanation.endswith(".")
        assert measure.low < measure.high


def test_the_images_of_a_slide_are_all_scored(parts):
    train, test = parts
    slides = datasets.ImageSet(
        test.images, test.labels, test.class_names, "slides", "a test", "CC0", groups=np.arange(len(test)) % 7
    )
    assert slides.mixed_groups
    assert len(Scorecard("my-chapter", train, slides, RUN).test) == len(test)
