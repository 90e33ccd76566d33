"""What the checks of *Predicting frames and patches* hold to be right, against Keras and against trying."""

import numpy as np
import pytest

from helpers import checks
from helpers.checks import predicting_frames_and_patches as questions


def test_the_counts_are_those_of_layers_that_were_built():
    from keras import layers

    for seed in range(4):
        numbers = checks.numbers("predicting-frames-and-patches", seed)
        convolution = layers.Conv3D(numbers.filters, numbers.kernel)
        convolution.build((None, None, None, None, 3))
        assert convolution.count_params() == questions.weights_of_convolution(numbers)
        shape = convolution.compute_output_shape((None, numbers.film, numbers.side, numbers.side, 3))
        inputs = np.prod(layers.MaxPooling3D(2).compute_output_shape(shape)[1:])
        assert (int(inputs) + 1) * numbers.side**2 * 3 == questions.weights_of_head(numbers)


def test_the_head_of_the_textbook_has_more_than_a_billion_weights():
    numbers = checks.Numbers(film=10, side=64, kernel=3, filters=32)
    assert questions.weights_of_head(numbers) == 123_008 * 12_288 + 12_288


def recurrent_predictor(numbers, activation):
    from keras import Sequential, layers

    film = numbers.frames, numbers.size, numbers.size, 1
    recurrent = layers.ConvLSTM2D(4, 3, padding="same")  # its answers stay between -1 and 1, whatever it is shown
    return Sequential([layers.Input(film), recurrent, layers.Conv2D(1, 1, activation=activation)])


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_layer_on_a_recurrent_one_is_not_called_squashed_and_keeps_its_weights(seed):
    numbers = checks.numbers("predicting-frames-and-patches", seed)
    predictor = recurrent_predictor(numbers, None)
    before = predictor.get_weights()
    questions.q2(predictor, numbers)
    assert all(map(np.array_equal, predictor.get_weights(), before))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_an_output_that_cannot_be_any_number_is_called_squashed(activation):
    numbers = checks.numbers("predicting-frames-and-patches", 0)
    with pytest.raises(checks.WrongAnswer, match="the output is squashed"):
        questions.draws_any_number(recurrent_predictor(numbers, activation), numbers)


@pytest.mark.parametrize("cost", [1.2, 3, 8])
def test_no_grey_level_is_cheaper_than_the_best_drawing(cost):
    tried = np.linspace(0, 1, 401)[:, None, None, None, None]
    for futures, chances in questions.possible_futures():
        weights = chances[:, None, None, None]
        drawn = {
            "squared": questions.squared_best(futures, chances),
            "uneven": questions.uneven_best(cost / (1 + cost))(futures, chances),
        }
        price = {
            "squared": lambda gap: gap**2,
            "uneven": lambda gap: np.where(gap > 0, cost * gap, -gap),  # missing ink: the future is brighter
        }
        for name, best in drawn.items():
            paid = np.sum(weights * price[name](futures - best), axis=0)
            others = np.sum(weights * price[name](futures - tried), axis=1).min(axis=0)
            assert np.all(paid <= others + 1e-9), name


def test_of_the_four_predictors_one_alone_looks_at_two_frames_and_another_has_the_least_error():
    numbers = checks.numbers("predicting-frames-and-patches", 0)
    found = questions.four_predictors(numbers)
    errors, changes = zip(*(found[f"predictor {number}"] for number in numbers.predictors), strict=True)
    meant, peeks, mixed, still = (change / change.sum() for change in changes)
    assert meant[2] > 0.1
    assert peeks[2] < 0.1
    assert np.ptp(mixed) < 0.15
    assert still[3] == 1
    assert errors[1] < errors[0] / 4 < errors[3] < errors[2]
