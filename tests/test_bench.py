"""The benchmark suite: every public function has a shape, and its check of closeness can fail."""
import contest
import numpy as np
import pytest
import shapes

from lanewise import ops


def test_every_public_op_is_measured():
    assert shapes.missing(ops.__all__) == []


def test_an_op_without_a_shape_is_found():
    assert shapes.missing(["conv2d", "conv2d_backward", "im2col_backward", "conv3d", "conv3d_backward"]) == [
        "conv3d", "conv3d_backward"]


@pytest.mark.parametrize("op", shapes.SHAPES)
def test_every_op_has_a_shape_with_a_name(op):
    assert shapes.SHAPES[op]
    for name, arguments in shapes.SHAPES[op]:
        assert name and shapes.text(arguments)


@pytest.mark.parametrize("spoil", [lambda y: y * 1.001, lambda y: y + 1e-3, lambda y: np.where(y == y.max(), np.nan, y)],
                         ids=["scaled", "shifted", "NaN"])
def test_check_finds_a_planted_error(spoil, rng):
    y = rng.standard_normal((5, 7)).astype(np.float32)
    contest.check("mine", (y, y.reshape(-1)), (y, y), 100)
    with pytest.raises(AssertionError, match="mine: array 1 is off"):
        contest.check("mine", (y, spoil(y)), (y, y), 100)


def test_check_finds_a_missing_array(rng):
    y = rng.standard_normal(3).astype(np.float32)
    with pytest.raises(AssertionError, match="gave 1 arrays, expected 2"):
        contest.check("mine", y, (y, y), 1)
