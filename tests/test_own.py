"""Operations of the user's: compiled, kept on disk, right in every number type, and found out when their derivative is wrong."""
import copy
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lanewise as lw
from lanewise import nn
from lanewise.graph import as_value

pytest.importorskip("numba")
SLOPE = 0.1


def sig(x):
    return 1 / (1 + math.exp(-x))


@lw.elementwise(derivative=lambda x: 1.0 if x > 0 else SLOPE, check=True)
def leaky(x):
    """A leaky ReLU."""
    return x if x > 0 else SLOPE * x


@lw.elementwise(derivative=lambda x: sig(x) + x * sig(x) * (1 - sig(x)), check=(-3, 3))
def swish(x):
    return x * sig(x)


@lw.elementwise(derivative=(lambda x, y: 2 * x * y - 1, lambda x, y: x ** 2 + 3 * y ** 2), check=True)
def cubic(x, y):
    return x ** 2 * y + y ** 3 - x


def test_one_input(isa, dtype, rng):
    for n in (1, 8, 17):
        x = (4 * rng.standard_normal((n, 2, 3, 5))).astype(dtype)
        for op, expected in ((leaky, np.where(x > 0, x, dtype.type(0.1) * x)), (swish, x / (1 + np.exp(-x.astype(np.float64))))):
            y = op(x).numpy()
            assert y.dtype == dtype
            assert_allclose(y, expected, rtol=10 * np.finfo(dtype).eps, atol=10 * np.finfo(dtype).eps)


def test_functions_match_the_library(dtype, rng):
    """The vector versions of exp, expm1, log, log1p and tanh, over their range and at its ends."""
    x = np.concatenate([rng.uniform(-100, 100, 400), rng.standard_normal(400), 10.0 ** rng.uniform(-30, 30, 200),
                        [0, np.inf, -np.inf, np.nan]]).astype(dtype)[:, None]

    def check(op, function, x):
        with np.errstate(all="ignore"):
            expected = function(x.astype(np.float64)).astype(dtype)
        tiny = 1e-37 if dtype == np.float32 else 1e-300
        assert_allclose(op(x).numpy(), expected, rtol=4 * np.finfo(dtype).eps, atol=tiny)
    for function, of in ((np.exp, math.exp), (np.expm1, math.expm1), (np.log, math.log), (np.log1p, math.log1p), (np.tanh, math.tanh)):
        check(elementary(of), function, x)


def elementary(of):
    """The operation of one library function."""
    return lw.elementwise(lambda x: of(x), derivative=lambda x: x)


def test_gradients(isa, rng):
    model = nn.Sequential(nn.Linear(6, 5), swish, nn.Linear(5, 4), leaky)
    assert lw.checks.gradcheck(model, nn.MSELoss(), rng.standard_normal((9, 6)), rng.standard_normal((9, 4))) < 1e-5

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.p = nn.Linear(6, 5), nn.Parameter(np.ones(5, np.float32))

        def forward(self, x):
            x = self.fc(x)
            return cubic(x, x[:, :1]) + cubic(self.p, x) + x
    assert lw.checks.gradcheck(Two(), nn.MSELoss(), rng.standard_normal((9, 6)), rng.standard_normal((9, 5))) < 1e-5


def test_in_a_loss(rng):
    x, t = rng.standard_normal((2, 17, 4))
    leaf = lw.tensor(x, requires_grad=True)
    loss = swish(as_value(leaf) - t).mean()
    loss.backward()
    d, s = x - t, 1 / (1 + np.exp(t - x))
    assert loss.item() == pytest.approx((d * s).mean())
    assert_allclose(leaf.grad, (s + d * s * (1 - s)) / d.size, rtol=1e-10)


def test_a_wrong_derivative_is_found(rng):
    wrong = lw.elementwise(lambda x: x * sig(x), derivative=sig)
    with pytest.raises(lw.GradientError, match="derivative of '<lambda>' by x is wrong"):
        wrong.check()
    with pytest.raises(lw.GradientError, match="by y is wrong"):
        lw.elementwise(lambda x, y: x * y, derivative=(lambda x, y: y, lambda x, y: y), check=True)
    with pytest.raises(lw.GradientError, match="the gradient of"):
        lw.checks.gradcheck(nn.Sequential(nn.Linear(4, 3), wrong), nn.MSELoss(), rng.standard_normal((5, 4)),
                            rng.standard_normal((5, 3)))


def test_closures_helpers_and_loops(rng):
    """A cell, a default, a helper, and a loop that counts: numbers take the type of x everywhere."""
    a = 0.3

    def make(b):
        def f(x):
            y = x
            for _ in range(3):
                y = b * y * sig(y) + a
            return y ** 2
        return f
    x = rng.standard_normal((9, 7))
    y = x
    for _ in range(3):
        y = 2 * y / (1 + np.exp(-y)) + a
    op = lw.elementwise(make(2), derivative=lambda x: x)
    assert_allclose(op(x).numpy(), y ** 2, rtol=1e-12)
    assert_allclose(op(x.astype(np.float32)).numpy(), y ** 2, rtol=1e-4)


SCRIPT = """
import math, sys
import numpy as np
import lanewise as lw
SCALE = float(sys.argv[1])
@lw.elementwise(derivative=lambda x: SCALE * math.exp(x))
def f(x):
    return SCALE * math.exp(x)
y = f(np.zeros((2, 3), np.float32)).numpy()
assert (y == np.float32(SCALE)).all(), y
print(sum(s.cache_hits for s in f._compiled["float32"][0]))
"""


def test_kept_on_disk(tmp_path, monkeypatch):
    """Another process finds the machine code; another number in the function does not."""
    monkeypatch.setenv("LANEWISE_OPS", str(tmp_path / "ops"))
    (tmp_path / "script.py").write_text(SCRIPT)

    def hits(scale):
        run = subprocess.run([sys.executable, str(tmp_path / "script.py"), scale], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return int(run.stdout)
    assert [hits("2"), hits("2"), hits("3")] == [0, 2, 0]


def test_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    op = lw.elementwise(lambda x: x, derivative=lambda x: 1.0)
    with pytest.raises(ImportError, match=r"compiled by Numba, which is not installed: install lanewise\[numba\]"):
        op(np.ones((2, 3), np.float32))


def test_arguments():
    for make in (lambda: lw.elementwise(lambda: 1, derivative=lambda x: 1), lambda: lw.elementwise(lambda x, y: x, derivative=sig),
                 lambda: lw.elementwise(lambda x: x, derivative=lambda x, y: x)):
        with pytest.raises(TypeError, match="expected a"):
            make()
    with pytest.raises(TypeError, match="expected 2 values, got 1"):
        cubic(np.ones((2, 3), np.float32))
    with pytest.raises(lw.ShapeError, match="expected two values of as many dimensions"):
        cubic(np.ones((2, 3), np.float32), np.ones((2, 3, 4), np.float32))


def test_copies_and_names():
    assert copy.deepcopy(swish) is swish and pickle.loads(pickle.dumps(swish)) is swish
    assert leaky.__doc__ == "A leaky ReLU." and leaky.function(-1.0) == -SLOPE and "swish" in repr(nn.Sequential(swish))
