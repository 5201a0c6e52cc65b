"""The benchmark suite: every public function has a shape, and its check of closeness can fail."""
import subprocess
import sys
from pathlib import Path

import contest
import numpy as np
import pytest
import shapes

from lanewise import ops


@pytest.mark.parametrize("asked, status, words", [
    (["bench/test_ops_bench.py", "-k", "relu"], 0, "the benchmarks need pytest-benchmark: pip install"),
    (["tests/test_marks.py"], 0, "2 passed"), (["--benchmark"], 4, "ERROR: the benchmarks need pytest-benchmark: pip install")],
                         ids=["benchmarks", "tests", "measuring"])
def test_without_pytest_benchmark(asked, status, words):
    """Benchmarks are skipped, tests run, and who asks to measure is told in one sentence."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:benchmark", "-p", "no:cacheprovider", *asked],
                          cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == status and words in done.stdout + done.stderr and "INTERNALERROR" not in done.stdout + done.stderr


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
