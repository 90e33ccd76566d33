import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers import validation


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'shifted-digits'"):
        validation.check_choice("shifted_digit", ["digits", "shifted-digits", "mnist"], "data set")


def test_features_with_nan_name_the_first_bad_row():
    features = np.zeros((5, 3))
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 values that are NaN or infinite \(first in row 3\)"):
        validation.check_features(features)


def test_features_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match="infinite"):
        validation.check_features(np.full((2, 2), 1e300))


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 3)), np.zeros((3, 0))])
def test_features_of_the_wrong_shape_are_refused(features):
    with pytest.raises(ValueError, match="shape"):
        validation.check_features(features)


def test_features_that_are_words_are_refused():
    with pytest.raises(ValueError, match="real numbers"):
        validation.check_features(np.array([["a", "b"]]))


@given(arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_good_features_pass_unchanged(features):
    assert np.array_equal(validation.check_features(features), features)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="3 entries for 4 rows"):
        validation.check_labels([0, 1, 0], 4)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match=r"holds 1 class \(7\), but this measure needs at least 2"):
        validation.check_labels([7, 7, 7])


@pytest.mark.parametrize("labels", [[0.5, 1.0], ["cat", "dog"], [[0], [1]]])
def test_labels_that_are_no_vector_of_whole_numbers_are_refused(labels):
    with pytest.raises(ValueError, match="labels"):
        validation.check_labels(labels)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((4, 8, 8)), "add the channel axis"),
        (np.full((4, 8, 8, 1), 255.0), "divide 8-bit images by 255"),
        (np.full((4, 8, 8, 1), -1.0), r"images lie in \[0, 1\]"),
        (np.full((4, 8, 8, 1), np.nan), "NaN"),
        (np.zeros((4, 8, 8, 2)), "grey .1. or colour .3."),
        (np.zeros((0, 8, 8, 1)), "empty"),
    ],
)
def test_images_out_of_range_or_rank_are_refused(images, said):
    with pytest.raises(ValueError, match=said):
        validation.check_images(images)


@pytest.mark.parametrize("k", [0, 5, 9])
def test_more_neighbours_than_rows_are_refused(k):
    with pytest.raises(ValueError, match="with 5 rows: ask for a whole number from 1 to 4"):
        validation.check_neighbours(k, 5, "neighbours")


@pytest.mark.parametrize("value", [True, False, 2.0, 1.5, "2", None, np.float32(2), 0, 9])
def test_what_is_no_whole_number_of_the_range_is_refused(value):
    with pytest.raises(ValueError, match=r"k=.*, but it is a whole number from 1 to 8\."):
        validation.check_whole(value, "k", 1, 8)


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2)])
def test_whole_numbers_of_any_integer_type_come_back_as_int(value):
    assert type(validation.check_whole(value, "k", 1)) is int


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], float("nan"), -0.1, 1.1, float("inf")])
def test_what_is_no_number_of_the_range_is_refused(value):
    with pytest.raises(ValueError, match=r"level=.*, but it is a number from 0 to 1\.$"):
        validation.check_number(value, "level", 0, 1)


@pytest.mark.parametrize("value", [0, 1, -0.1, float("nan")])
def test_the_ends_of_an_open_range_are_refused(value):
    with pytest.raises(ValueError, match=r"rho=.*, but it is a number strictly between 0 and 1\.$"):
        validation.check_number(value, "rho", 0, 1, strictly=True)


@pytest.mark.parametrize(("strictly", "range_"), [(False, "of 0 or more"), (True, "more than 0")])
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_what_is_no_number_of_a_range_without_end_is_refused(value, strictly, range_):
    with pytest.raises(ValueError, match=rf"weight=.*, but it is a number {range_}\.$"):
        validation.check_number(value, "weight", 0, strictly=strictly)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)])
def test_numbers_of_any_type_come_back_as_float(value):
    assert type(validation.check_number(value, "level", 0, 1)) is float


@pytest.mark.parametrize("k", [True, 2.0, "2"])
def test_a_number_of_neighbours_that_is_no_whole_number_is_refused(k):
    with pytest.raises(ValueError, match="with 5 rows: ask for a whole number from 1 to 4"):
        validation.check_neighbours(k, 5, "neighbours")


@pytest.mark.parametrize("check", [validation.check_images, validation.check_features, validation.check_labels])
def test_a_list_of_entries_of_several_shapes_is_refused_in_one_sentence(check):
    ragged = [np.zeros((8, 8, 3)), np.zeros((9, 8, 3))]
    with pytest.raises(ValueError, match="holds entries of several shapes: bring all of them to one shape first"):
        check(ragged)


def test_images_that_are_words_are_refused():
    with pytest.raises(ValueError, match=r"`images` has dtype <U1, but images are real numbers\."):
        validation.check_images(np.full((1, 2, 2, 1), "a"))
