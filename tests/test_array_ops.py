"""Every array function of tests/op_table.py, forward and backward, on every build; ugly inputs; PyTorch."""
import multiprocessing
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from op_table import OPS, Sample

import lanewise as lw
from lanewise import ops
from lanewise._kernels import calls

NAMES = pytest.mark.parametrize("name", sorted(OPS))
BATCHES = (1, 15, 16, 17)
F64 = np.dtype(np.float64)


def cast(value, dtype):
    """Floating-point arrays as `dtype`, everything else as it is."""
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def typed(sample, dtype):
    """The sample with its numbers of one type."""
    return Sample(tuple(cast(a, dtype) for a in sample.arrays), {k: cast(v, dtype) for k, v in sample.kw.items()},
                  sample.reduction, sample.wrt)


def close(a, expected, dtype, reduction):
    """Raises unless a is as near as the rounding of `reduction` products allows, ten times over; NaN is near nothing."""
    assert a.dtype == dtype and a.shape == expected.shape
    bound = 14 * np.finfo(dtype).eps * np.sqrt(reduction) * max(1, np.abs(expected).max(initial=0))
    assert np.all(np.abs(a - expected) <= bound), f"off by {np.abs(a - expected).max()}, allowed {bound}"


def run(name, sample, **kw):
    """(result, a function dy -> gradients of what the sample names)."""
    entry = OPS[name]
    y = entry.call(getattr(ops, name), sample.arrays, {**sample.kw, **kw})
    return y, lambda dy: entry.backward(ops, dy, y, sample)


def like(rng, y):
    """Random numbers of the shape and type of y."""
    return np.asarray(rng.standard_normal(np.shape(y)), y.dtype)


def test_close_notices():
    one = np.ones(3, np.float32)
    for wrong in (one + np.float32(1e-4), one.astype(F64), one[:2], np.array([1, np.nan, 1], np.float32)):
        with pytest.raises(AssertionError):
            close(wrong, np.ones(3), np.dtype(np.float32), 4)


def test_every_public_function_is_in_the_table():
    """A function without an entry, or an entry without a function or a gradient, fails here."""
    public = {n for n in ops.__all__ if not n.endswith("_backward")}
    assert public == set(OPS) == set(ops.PUBLIC_OPS)
    for n in public:
        assert callable(getattr(ops, n)) and callable(getattr(ops, n + "_backward"))
    functions = {n for n, f in vars(ops).items() if callable(f) and not n.startswith("_")}
    assert functions == set(ops.__all__)


@NAMES
def test_forward_matches_the_reference(name, isa, dtype, rng):
    entry = OPS[name]
    for n in BATCHES:
        for sample in entry.samples(rng, n):
            s = typed(sample, dtype)
            y, _ = run(name, s)
            exact = typed(s, F64)
            close(np.asarray(y), np.asarray(entry.call(entry.reference, exact.arrays, exact.kw)), dtype, sample.reduction)


@NAMES
def test_gradient_matches_differences_of_the_reference(name, isa, rng):
    """(<f(v + e d), dy> - <f(v - e d), dy>) / 2e = <dv, d> along random directions d of every array, in float64."""
    entry = OPS[name]
    for n in (1, 17):
        for s in entry.samples(rng, n):
            y, gradients = run(name, s)
            dy = like(rng, y)
            for i, grad in zip(s.gradients(), gradients(dy)):
                assert grad.shape == s.arrays[i].shape
                d, sides = rng.standard_normal(grad.shape), []
                for step in (1e-6, -1e-6):
                    moved = list(s.arrays)
                    moved[i] = s.arrays[i] + step * d
                    sides.append(np.sum(entry.call(entry.reference, moved, s.kw) * dy))
                scale = np.abs(grad * d).sum() + np.abs(y * dy).sum() * 1e-3 + 1
                assert abs(np.sum(grad * d) - (sides[0] - sides[1]) / 2e-6) <= 1e-6 * scale


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@NAMES
def test_matches_torch(name, isa, dtype, rng):
    torch = pytest.importorskip("torch")
    entry = OPS[name]
    for sample in entry.samples(rng, 5):
        s = typed(sample, dtype)
        y, gradients = run(name, s)
        if y.size < 1 or (entry is OPS["avg_pool2d"] and s.arrays[0].size < 1):
            continue
        arrays = [a if a is None else torch.tensor(a) for a in s.arrays]
        for i in s.gradients():
            arrays[i].requires_grad_()
        kw = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in s.kw.items()}
        expected = entry.call(lambda *a, **k: entry.torch(torch.nn.functional, *a, **k), arrays, kw)
        close(np.asarray(y), expected.detach().numpy(), dtype, sample.reduction)
        dy = like(rng, y)
        expected.backward(torch.tensor(dy))
        for i, grad in zip(s.gradients(), gradients(dy)):
            close(grad, arrays[i].grad.numpy(), dtype, sample.reduction * max(1, y.size))


@pytest.mark.parametrize("name", sorted(n for n, e in OPS.items() if e.exact))
def test_exact_on_integers(name, isa, dtype, rng, direct):
    """Sums and products of small integers have no rounding: equal to the last bit, gradients of the two builds too."""
    entry = OPS[name]
    for n in (1, 17):
        for sample in entry.samples(rng, n):
            whole = Sample(tuple(a if a is None else rng.integers(-4, 5, a.shape).astype(F64) for a in sample.arrays),
                           sample.kw)
            y, gradients = run(name, typed(whole, dtype))
            y64, gradients64 = run(name, whole)
            assert_array_equal(y, entry.call(entry.reference, whole.arrays, whole.kw))
            dy = rng.integers(-4, 5, y.shape).astype(F64)
            for a, b in zip(gradients(dy.astype(dtype)), gradients64(dy)):
                assert a.dtype == dtype
                assert_array_equal(a, b)


def strided(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = {"strided": strided, "fortran": np.asfortranarray, "read-only": read_only,
           "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
           "transposed": lambda a: a.swapaxes(0, -1).copy().swapaxes(0, -1),
           "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)}


@pytest.mark.parametrize("layout", LAYOUTS)
@NAMES
def test_any_layout(name, layout, dtype, rng):
    """The same bits as from C-contiguous arrays, and the inputs are as they were."""
    for sample in OPS[name].samples(rng, 3):
        s = typed(sample, dtype)
        y, gradients = run(name, s)
        dy = like(rng, y)
        ugly = Sample(tuple(LAYOUTS[layout](a) if isinstance(a, np.ndarray) and a.ndim else a for a in s.arrays), s.kw, 1,
                      s.wrt)
        if name == "batch_norm" and layout in ("read-only", "unaligned"):       # writes its running statistics
            ugly = Sample((ugly.arrays[0], *s.arrays[1:]), s.kw, 1, s.wrt)
        before = [a if a is None else a.copy() for a in ugly.arrays]
        y2, gradients2 = run(name, ugly)
        tolerance = 14 * np.finfo(dtype).eps * sample.reduction ** 0.5     # BLAS takes other paths for other layouts
        np.testing.assert_allclose(y2, y, rtol=tolerance, atol=tolerance)
        for a, b in zip(gradients2(LAYOUTS[layout](dy) if np.ndim(dy) else dy), gradients(dy)):
            np.testing.assert_allclose(a, b, rtol=20 * tolerance, atol=20 * tolerance)
        if name != "batch_norm":
            for a, b in zip(before, ugly.arrays):
                assert_array_equal(a, b)


@NAMES
def test_out(name, dtype, rng):
    """out= takes the result, contiguous or not, and when it is an input; a wrong one is refused."""
    if not OPS[name].out:
        return
    for sample in OPS[name].samples(rng, 3):
        s = typed(sample, dtype)
        expected, _ = run(name, typed(sample, dtype))
        for out in (np.full(expected.shape, np.nan, dtype), np.full((*expected.shape, 2), np.nan, dtype)[..., 0]):
            y, _ = run(name, typed(sample, dtype), out=out)
            assert y is out
            assert_array_equal(out, expected)
        first = s.arrays[0]
        if first.shape == expected.shape:
            y, _ = run(name, s, out=first)
            assert y is first
            assert_array_equal(first, expected)
        with pytest.raises(lw.ShapeError, match="expected out of shape"):
            run(name, s, out=np.empty((*expected.shape, 1), dtype))
        with pytest.raises(lw.DtypeError, match="expected out to be an array of"):
            run(name, s, out=np.empty(expected.shape, np.int32))
        with pytest.raises(ValueError, match="writable"):
            run(name, s, out=read_only(expected))


@NAMES
def test_the_same_bits_for_any_number_of_threads(name, dtype, rng, monkeypatch):
    monkeypatch.setattr(calls, "FEW", 0)
    for sample in OPS[name].samples(rng, 37):
        results = []
        for threads in (1, 2, 3):
            lw.set_num_threads(threads)
            y, gradients = run(name, typed(sample, dtype))
            results.append([y, *gradients(np.ones_like(y))])
        for other in results[1:]:
            for a, b in zip(results[0], other):
                assert_array_equal(a, b)


def test_nan_and_infinity(isa, dtype):
    x = np.zeros((1, 1, 6, 40), dtype)
    x[0, 0, 3, 5] = np.nan
    for kw in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 1, "padding": 1}):
        y, where = ops.max_pool2d(x, **kw, return_indices=True)
        assert_array_equal(y, ops.max_pool2d(x, **kw))
        assert np.isnan(y).sum() == (1 if kw["kernel_size"] == 2 else 9) and set(where[np.isnan(y)]) == {3 * 40 + 5}
    assert_array_equal(np.isnan(ops.relu(x)), np.isnan(x))
    assert ops.relu_backward(np.ones_like(x), x)[0, 0, 3, 5] == 1
    for f in (ops.sigmoid, ops.tanh, ops.elu, ops.gelu, ops.leaky_relu):
        assert_array_equal(np.isnan(f(x)), np.isnan(x))
    assert np.isnan(ops.softmax(x)[0, 0, 3]).all() and not np.isnan(ops.softmax(x)[0, 0, 2]).any()
    masked = np.where(np.arange(70) < 60, -np.inf, 0).astype(dtype)
    for n in (70, 64):
        assert_array_equal(ops.softmax(masked[-n:])[:-10], 0)
        assert_array_equal(ops.log_softmax(masked[-n:])[:-10], -np.inf)
    low, places = ops.max_pool2d(np.full((1, 1, 4, 5), -np.inf, dtype), 3, 2, 1, return_indices=True)
    assert np.isneginf(low).all()
    assert_array_equal(places[0, 0], [[0, 1, 3], [5, 6, 8]])
    big = np.array([np.inf, -np.inf, 1000, -1000], dtype)
    assert_array_equal(ops.tanh(big), [1, -1, 1, -1])
    assert_array_equal(ops.sigmoid(big), [1, 0, 1, 0])
    assert_array_equal(ops.elu(big), [np.inf, -1, 1000, -1])
    assert_array_equal(ops.gelu(big[2:]), [1000, 0])
    zeros = np.array([0.0, -0.0], dtype)
    assert_array_equal(np.signbit(ops.tanh(zeros)), [False, True])


def test_ties_go_to_the_first(isa, dtype):
    _, where = ops.max_pool2d(np.ones((1, 1, 4, 4), dtype), 2, return_indices=True)
    assert_array_equal(where[0, 0], [[0, 2], [8, 10]])


@pytest.mark.parametrize("name, limit", [("tanh", 4), ("sigmoid", 4), ("elu", 4), ("gelu", 8)])
def test_relative_accuracy(name, limit, isa, dtype):
    """A few units in the last place over the whole range, around zero and in the tails too."""
    mpmath.mp.prec = 120
    size = np.concatenate([10.0 ** np.linspace(-8, -1, 150), np.linspace(0.1, 9, 400)])
    x = np.concatenate([size, -size]).astype(dtype)
    exact = {"tanh": mpmath.tanh, "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
             "elu": lambda v: v if v > 0 else mpmath.expm1(v),
             "gelu": lambda v: v * mpmath.erfc(-v / mpmath.sqrt(2)) / 2}[name]
    for a, v in zip(getattr(ops, name)(x), x):
        e = exact(mpmath.mpf(float(v)))
        assert abs((mpmath.mpf(float(a)) - e) / e) <= limit * np.finfo(dtype).eps, (name, v, a)


def test_batch_norm_updates_its_statistics_as_torch(dtype, rng):
    torch = pytest.importorskip("torch")
    for shape in ((7, 3, 4, 5), (9, 3)):
        x, mean, var = (5 + rng.standard_normal(shape)).astype(dtype), np.zeros(3, dtype), np.ones(3, dtype)
        tmean, tvar = torch.zeros(3, dtype=torch.tensor(x).dtype), torch.ones(3, dtype=torch.tensor(x).dtype)
        for _ in range(2):
            ops.batch_norm(x, mean, var, training=True, momentum=0.3)
            torch.nn.functional.batch_norm(torch.tensor(x), tmean, tvar, training=True, momentum=0.3)
        close(mean, tmean.numpy(), dtype, 10)
        close(var, tvar.numpy(), dtype, 10)
        assert_array_equal(ops.batch_norm(x, None, None, training=True).shape, x.shape)


def test_pools_and_convolutions_take_an_image_without_its_batch(dtype, rng):
    x, w = rng.standard_normal((4, 6, 7)).astype(dtype), rng.standard_normal((3, 4, 3, 3)).astype(dtype)
    for f in (lambda v: ops.conv2d(v, w), lambda v: ops.max_pool2d(v, 2), lambda v: ops.avg_pool2d(v, 2),
              lambda v: ops.im2col(v, 2), lambda v: ops.adaptive_avg_pool2d(v, 2),
              lambda v: ops.conv_transpose2d(v, w.swapaxes(0, 1).copy()),
              lambda v: ops.max_pool2d(v, 2, return_indices=True)[1]):
        assert_array_equal(f(x), f(x[None])[0])


def test_the_chosen_algorithm_is_one_of_the_two(dtype, rng):
    """By itself conv2d takes lanes from 2 LANES samples; its numbers are then bitwise those of that algorithm."""
    w = rng.standard_normal((6, 5, 3, 3)).astype(dtype)
    lanes = calls.kernels(w).lanes
    for n, chosen in ((2 * lanes - 1, "gemm"), (2 * lanes, "lanes")):
        x = rng.standard_normal((n, 5, 8, 8)).astype(dtype)
        assert_array_equal(ops.conv2d(x, w), ops.conv2d(x, w, algorithm=chosen))
        dy = rng.standard_normal((n, 6, 6, 6)).astype(dtype)
        for a, b in zip(ops.conv2d_backward(dy, x, w), ops.conv2d_backward(dy, x, w, algorithm=chosen)):
            assert_array_equal(a, b)


def test_too_large_for_scratch(dtype, rng, monkeypatch):
    """Images that no thread can stage by itself, and single ones, are shared by all; columns go a chunk at a time: the same
    numbers."""
    from lanewise.ops import conv
    x, w, b = (rng.integers(-4, 5, s).astype(dtype) for s in ((5, 4, 9, 8), (6, 2, 3, 3), (6,)))
    expected = ops.conv2d(x, w, b, padding=1, groups=2)
    monkeypatch.setattr(conv, "SCRATCH", 0)
    monkeypatch.setattr(conv, "COLUMNS", 2 * 36 * 72)
    assert_array_equal(ops.conv2d(x, w, b, padding=1, groups=2), expected)
    for a, c in zip(ops.conv2d_backward(expected, x, w, padding=1, groups=2),
                    ops.conv2d_backward(expected, x, w, padding=1, groups=2, algorithm="lanes")):
        assert_array_equal(a, c)


def test_kept_plans_are_few_and_right_after_another_weight(rng):
    from lanewise.ops import conv_lanes
    x = rng.standard_normal((3, 2, 9, 9)).astype(np.float32)
    for k in range(2 * conv_lanes.MOST_PLANS):
        w = rng.standard_normal((1 + k % 20, 2, 3, 3)).astype(np.float32)
        expected = OPS["conv2d"].reference(x.astype(F64), w.astype(F64))
        close(ops.conv2d(x, w, algorithm="lanes"), expected, np.dtype(np.float32), 18)
    assert len(conv_lanes._plans) <= conv_lanes.MOST_PLANS


def test_threads_of_the_caller_may_share_a_plan(rng):
    from concurrent.futures import ThreadPoolExecutor
    x = rng.standard_normal((33, 2, 9, 9)).astype(np.float32)
    weights = [rng.standard_normal((4, 2, 3, 3)).astype(np.float32) for _ in range(16)]
    expected = [ops.conv2d(x, w, algorithm="lanes") for w in weights]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(pool.map(lambda w: ops.conv2d(x, w, algorithm="lanes"), weights), expected):
            assert_array_equal(a, b)


def test_denormals_and_the_processs_mode_stay(dtype):
    """Outside the engine nothing is flushed, and the engine puts the mode back."""
    tiny = np.full(2000, np.finfo(dtype).tiny / 4, dtype)
    assert_array_equal(ops.relu(tiny), tiny)
    ops.conv2d(np.ones((40, 1, 4, 4), dtype), np.ones((1, 1, 3, 3), dtype), algorithm="lanes")
    assert_array_equal(tiny * dtype.type(1), tiny)


def in_child(queue, x, w):
    queue.put([ops.conv2d(x, w), ops.conv2d(x[:7], w), ops.softmax(x), ops.matmul(x, x), ops.max_pool2d(x, 2), lw.get_num_threads()])


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_the_same(rng):
    x, w = rng.standard_normal((40, 8, 32, 32)).astype(np.float32), rng.standard_normal((4, 8, 3, 3)).astype(np.float32)
    lw.set_num_threads(2)
    expected = [ops.conv2d(x, w), ops.conv2d(x[:7], w), ops.softmax(x), ops.matmul(x, x), ops.max_pool2d(x, 2), 1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue, x, w))
    child.start()
    got = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    for a, b in zip(got, expected):
        assert_array_equal(a, b)


BEYOND = """
import ctypes, mmap
import numpy as np
from lanewise import _isa, ops

def at_the_end(a):
    # The same numbers, and behind them a page that no one may read.
    room = -(-max(a.nbytes, 1) // 4096) * 4096
    m = mmap.mmap(-1, room + 4096)
    base = ctypes.addressof(ctypes.c_char.from_buffer(m))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(base + room), 4096, 0) == 0
    b = np.frombuffer(m, a.dtype, a.size, room - a.nbytes).reshape(a.shape)
    b[...] = a
    return b

rng = np.random.default_rng(0)
for _isa.isa in _isa.supported():
    for n, c, o, k, size, kw in [(n, *s) for n in (1, 3) for s in (
            (3, 7, 3, 9, {}), (4, 9, 1, 9, {}), (2, 2, 1, 9, {}), (4, 9, 1, 16, {}), (3, 3, 3, 7, {"stride": 2, "groups": 3}),
            (2, 3, 5, 13, {"stride": 3, "padding": 2}), (2, 30, 3, 8, {"dilation": 2}), (5, 6, 3, 32, {"padding": 1}))]:
        arrays = [rng.integers(-3, 4, s).astype(np.float32) for s in ((n, c, size, size), (o, c // kw.get("groups", 1), k, k), (o,))]
        assert (ops.conv2d(*map(at_the_end, arrays), **kw) == ops.conv2d(*arrays, **kw)).all()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect")
def test_conv2d_reads_nothing_beyond_its_arrays():
    """In a process of its own, which would die of it."""
    done = subprocess.run([sys.executable, "-c", BEYOND], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
