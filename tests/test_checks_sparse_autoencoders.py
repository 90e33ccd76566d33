"""The assignment on sparse autoencoders: its data show what they are meant to, its references are the course's."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import checks, losses
from helpers.checks import sparse_autoencoders as questions

SEEDS = range(12)
MASTER = Path(__file__).parents[1] / "notebooks" / "assignments" / "sparse-autoencoders.ipynb"


def solution(question: str, name: str, numbers):
    """Return what the answer cell of the master defines."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(MASTER.read_text(encoding="utf-8"))["cells"]}
    source = cells[f"{question}-answer"].split("# END SOLUTION")[0]
    names = {"np": np, "ops": keras.ops, "numbers": numbers}
    exec(compile(source, question, "exec"), names)
    return names[name]


def stepped(start, loss) -> np.ndarray:
    """Return the array after one small step down the slope of `loss(array)`, as Keras takes it."""
    layer = keras.layers.Dense(start.shape[1], use_bias=False)
    model = keras.Sequential([keras.layers.Input((len(start),)), layer])  # of the identity, the kernel itself
    layer.set_weights([start])
    model.compile(keras.optimizers.SGD(1e-3), loss=lambda _, array: loss(array))
    model.train_on_batch(np.eye(len(start), dtype="float32"), np.zeros_like(start))
    return layer.get_weights()[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_four_codes_have_one_mean_and_differ_in_both_kinds_of_sparsity(seed):
    numbers = checks.numbers("sparse-autoencoders", seed)
    rows = dict(zip(questions._orders(numbers)[0], questions.measured(numbers), strict=True))
    np.testing.assert_allclose([row["mean"] for row in rows.values()], numbers.rho, rtol=0.02)
    sparse = {kind: (row["Hoyer"] > 0.7, row["lifetime"] > 0.7) for kind, row in rows.items()}
    assert sparse == {
        "undecided": (False, False),
        "selective": (True, True),
        "same few": (True, False),
        "bursts": (False, True),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_one_image_at_a_time_the_undecided_code_costs_least(seed):
    numbers = checks.numbers("sparse-autoencoders", seed)
    questions.least_alone(questions._orders(numbers)[1]["undecided"], numbers)


def test_the_divergence_is_that_of_the_course():
    means = np.linspace(0.01, 0.9, 7)
    ours = keras.ops.convert_to_numpy(losses.bernoulli_divergence(0.05, means))
    np.testing.assert_allclose(questions._bernoulli(0.05, means), ours, atol=1e-5)


def test_the_divergence_turned_round_is_finite_for_a_unit_that_is_never_on():
    assert questions._bernoulli(0.0, 0.05) == pytest.approx(-np.log(0.95))


def test_the_turned_divergence_of_the_solution_calls_units_back_from_both_ends():
    loss = solution("q3", "loss", checks.numbers("sparse-autoencoders", 0))
    start, images = np.tile(np.float32([0, 1, 0.5]), (4, 1)), np.zeros((4, 2), "float32")
    steps = stepped(start, lambda code: loss(images, images, code)) - start
    assert (steps[:, 0] > 0).all()
    assert (steps[:, 1] < 0).all()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_penalty_of_the_solution_makes_pictures_of_used_units_smaller(seed):
    numbers = checks.numbers("sparse-autoencoders", seed)
    penalty = solution("q5", "penalty", numbers)
    code, start = np.float32([[1, 0], [2, 0]]), np.float32([[1, -2, 3], [1, -2, 3]])
    steps = stepped(start, lambda kernel: penalty(code, kernel)) - start
    assert (steps[0] * start[0] < 0).all()
    assert not steps[1].any()
