"""What the checks of *Learning from formulas* hold to be right, against the course's own generators and instruments."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from helpers import checks, probing
from helpers.checks import learning_from_formulas as questions
from helpers.pretraining import images


@pytest.fixture(params=range(4))
def numbers(request):
    return checks.numbers("learning-from-formulas", request.param)


def test_the_maps_of_every_class_shrink_all_distances_and_one_of_them_mirrors():
    for seed in range(40):
        maps = np.array(checks.numbers("learning-from-formulas", seed).maps)[:, :, :2]
        assert np.linalg.norm(maps, 2, axis=(1, 2)).max() < 0.9
        assert np.sum(np.linalg.det(maps) < 0) == 1


def test_the_share_of_a_map_is_how_much_of_a_square_it_leaves(numbers):
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    areas = [ConvexHull(square @ matrix.T).volume for matrix in np.array(numbers.maps)[:, :, :2]]
    questions.share_of_a_map(areas[numbers.asked - 1] / sum(areas), numbers)


def test_the_fractal_passes_through_the_place_at_rest(numbers):
    maps = np.array(numbers.maps)
    matrix, shift = maps[numbers.asked - 1, :, :2], maps[numbers.asked - 1, :, 2]
    still = np.linalg.solve(np.eye(2) - matrix, shift)
    questions.place_at_rest(still, numbers)
    visited = images.chaos_game(maps[None], 200_000, np.random.default_rng(0))[0]
    assert np.linalg.norm(visited - still, axis=1).min() < 0.02


@pytest.mark.parametrize("exponent", [1.5, 2.5, 3.5, 4])
def test_the_radii_of_falling_u_are_those_of_the_helpers(exponent):
    drawn = images.power_law(1000, exponent, 0.03, 0.4, np.random.default_rng(2))
    u = np.random.default_rng(2).uniform(0, 1, 1000)
    assert questions.leaf_radii(exponent, falling=True)(u, 0.03, 0.4) == pytest.approx(drawn)
    assert questions.leaf_radii(exponent)(1 - u, 0.03, 0.4) == pytest.approx(drawn)


def test_the_band_gives_the_exponent_that_light_and_lens_hide():
    for seed in range(6):
        numbers = checks.numbers("learning-from-formulas", seed)
        draw = np.random.default_rng(seed)
        exponent = np.random.default_rng(seed).uniform(0.6, 1.6)
        clouds = questions.clouds(numbers, draw)
        assert questions.falloff(numbers.lowest, numbers.highest)(clouds) == pytest.approx(exponent, abs=0.07)
        assert questions.falloff(0, np.inf)(clouds) > 2 * exponent
        assert questions.falloff(0, numbers.highest)(clouds) > exponent + 0.1


def test_partners_found_is_what_nearest_neighbours_find():
    for first, second in questions.pairs_of_views():
        flat = [part.reshape(len(part), -1) for part in (first, second)]
        nearest = probing.nearest(*flat, k=1)[:, 0]
        found = questions.partners_found(first, second)
        assert found == np.mean(nearest == np.arange(len(first)))
        assert 0 < found < 1


def test_one_loader_alone_leaves_nothing_by_which_partners_are_found():
    for seed in range(12):
        numbers = checks.numbers("learning-from-formulas", seed)
        views = questions.blank_views(numbers)
        shade, grain, clean, speck = (views[f"loader {number}"] for number in numbers.loaders)
        centred = [[view - view.mean(axis=(1, 2), keepdims=True) for view in pair] for pair in (grain, clean, speck)]
        assert questions.partners_found(*shade) > 0.1
        assert questions.partners_found(*centred[0]) > 0.9
        assert questions.partners_found(*centred[2]) > 0.6
        assert max(questions.partners_found(*clean), questions.partners_found(*centred[1])) < 0.04
