"""A dense layer on the batch itself: what it reads where the caller has it, in which shape, and which weights it leaves alone."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, nn
from lanewise._kernels.step import plan_for
from lanewise.data import Dataset


@pytest.mark.parametrize("vectors, more", [(1, 0), (3, 0), (2, 0), (3, 1)])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_of_a_batch_are_read_where_they_lie(vectors, more, threads, isa, dtype, rng):
    """dW of a layer on the batch itself, whole tiles or not: exact on integers, in one run or two, what is done to the array
    between them, by index, added to what is there; and Flatten before it, whose numbers are the input's."""
    lw.set_num_threads(threads)
    lanes = _isa.engine(dtype.name).lanes
    ins, outs = vectors * lanes + more, 23
    linear = nn.Linear(ins, outs)
    if dtype == np.float64:
        linear.double()
    linear.weight.data[...] = rng.integers(-3, 4, (outs, ins))
    linear.bias.data[...] = rng.integers(-3, 4, outs)
    flat = nn.Sequential(nn.Flatten(), linear)
    loss_fn = nn.MSELoss(reduction="sum")
    for n in (1, lanes - 1, lanes, lanes + 1, 5 * lanes):
        x, t = (rng.integers(-3, 4, (n, size)).astype(dtype) for size in (ins, outs))
        dy = 2 * (x @ linear.weight.data.T + linear.bias.data - t)
        kept, order = x.copy(), rng.permutation(n)
        images = np.empty((n, 1, 1, ins), dtype)
        images[order, 0, 0] = x
        batch = Dataset(images, np.zeros(n, int)).batch(order)[0]

        def whole(x=x, model=linear, t=t):
            loss_fn(model(x), t).backward()

        def apart(x=x, t=t):
            loss = loss_fn(linear(x), t)
            loss.item()
            x[...] = 7
            loss.backward()
            x[...] = kept  # noqa: B023

        def twice(x=x, t=t):
            whole(x, linear, t)
            whole(x, linear, t)

        for times, way in ((1, whole), (1, apart), (1, lambda: whole(batch, flat)), (1, lambda: whole(kept.reshape(n, 1, -1, 1), flat)),
                           (2, twice)):
            linear.zero_grad()
            way()
            assert_array_equal(linear.weight.grad, times * (dy.T @ kept))
            assert_array_equal(linear.bias.grad, times * dy.sum(0))


def test_an_input_comes_in_the_shape_that_it_is_read_in(isa, rng):
    """No pass turns an image of one channel, or of numbers as they are, into a row; with a scale a channel one does, and the
    numbers are the same."""
    def passes(x):
        model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(x.shape[1:])), 3))
        out = model(x)
        got = out.in_lanes()
        program, _ = plan_for([out.node], [], False, out.feeds)
        rows = (x / np.float32(255) if x.dtype == np.uint8 else x).reshape(len(x), -1)
        assert_allclose(got, rows @ model[1].weight.data.T + model[1].bias.data, rtol=0, atol=1e-5)
        return sum(w.name == "affine" for w in program.work)
    byte = rng.integers(0, 256, (17, 2, 5, 7), np.uint8)
    assert passes(rng.standard_normal((17, 3, 5, 7)).astype(np.float32)) == 0
    assert passes(byte[:, :1]) == 0 and passes(byte) == 1


def test_weights_that_may_not_be_written_are_not(tmp_path, rng):
    """A gradient of two threads, of weights in a file that is mapped for reading."""
    lw.set_num_threads(2)
    np.save(tmp_path / "w.npy", rng.standard_normal((20, 40)).astype(np.float32))
    linear = nn.Linear(40, 20)
    linear.weight = nn.Parameter(np.load(tmp_path / "w.npy", mmap_mode="r"))
    assert not linear.weight.data.flags.writeable
    x, t = (rng.standard_normal((33, size)).astype(np.float32) for size in (40, 20))
    loss = nn.MSELoss(reduction="sum")(linear(x), t)
    loss.backward()
    dy = 2 * (x @ linear.weight.data.T + linear.bias.data - t)
    assert_allclose(linear.weight.grad, dy.T @ x, rtol=1e-4, atol=1e-3)
