"""Images that go through several instructions some rows at a time: the same numbers as in one piece, for every batch size,
build and number of threads; and what lives within a piece of a cut plan is not in the arena."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, bands, models, nn, plan
from lanewise.arena import Work
from lanewise.nodes.base import OWN, Buffer, Ref


def normalised(ins, outs, kernel, stride=1, padding=0, **kw):
    """A convolution, batch normalisation and a ReLU."""
    return [nn.Conv2d(ins, outs, kernel, stride, padding, bias=False, **kw), nn.BatchNorm2d(outs), nn.ReLU()]


class Residual(nn.Module):
    """relu(layers(x) + x)."""
    def __init__(self, *layers):
        super().__init__()
        self.layers, self.relu = nn.Sequential(*layers), nn.ReLU()

    def forward(self, x):
        return self.relu(self.layers(x) + x)


def bare(ins, outs, kernel, **kw):
    """normalised() without its ReLU."""
    return normalised(ins, outs, kernel, **kw)[:2]


NETWORKS = {
    "squares": lambda: normalised(3, 8, 3, padding=1) + normalised(8, 12, 3, padding=1) + normalised(12, 8, 3),
    "rows of points": lambda: normalised(3, 5, 5, padding=2) + normalised(5, 6, (1, 3), padding=(0, 1)),
    "direct, strides": lambda: normalised(3, 7, 3, 2, 1) + normalised(7, 5, 2) + normalised(5, 33, 1),
    "strides unlike": lambda: normalised(3, 6, 3, (2, 1), 1) + normalised(6, 4, 3, (1, 2), (0, 1)),
    "dilation": lambda: normalised(3, 6, 3, padding=2, dilation=2) + normalised(6, 6, 3, padding=(3, 1), dilation=(3, 1)),
    "groups": lambda: normalised(3, 8, 1) + normalised(8, 6, 3, padding=1, groups=2),
    "separable": lambda: [*normalised(3, 5, 3, padding=1), *normalised(5, 5, 3, padding=1, groups=5), *normalised(5, 6, 1),
                          *normalised(6, 6, 3, 2, 1, groups=6), *normalised(6, 8, 1), *normalised(8, 8, 3, groups=8)],
    "residual": lambda: [models.BasicBlock(3, 8, 1), models.BasicBlock(8, 8, 1), models.BasicBlock(8, 12, 2)],
    "of the input": lambda: [Residual(*normalised(3, 4, 3, padding=1), *bare(4, 3, 3, padding=1))],
    "first or last": lambda: [nn.BatchNorm2d(3), *normalised(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, bias=True)],
    "pool between": lambda: [*normalised(3, 8, 3, padding=1), nn.MaxPool2d(2), *normalised(8, 4, 3), nn.AvgPool2d(2)],
    "transposed": lambda: [*normalised(3, 6, 3, padding=1), nn.ConvTranspose2d(6, 4, 2, 2), nn.BatchNorm2d(4)],
}


def numbers(make, x, dtype, training=True):
    """Result, gradients of the input and the parameters, buffers; the names of the plan's instructions."""
    lw.manual_seed(1)
    model = nn.Sequential(*make())
    if dtype == np.float64:
        model.double()
    model.train(training)
    leaf = lw.tensor(x, requires_grad=True)
    y = model(leaf)
    loss = nn.MSELoss()(y, np.linspace(-1, 1, y.numpy().size, dtype=dtype).reshape(y.shape))
    loss.backward()
    return ([y.numpy(), leaf.grad, *(p.grad for p in model.parameters()), *(b.data for b in model.buffers())],
            [w.name for w in loss._plan.work])


@pytest.mark.parametrize("name", NETWORKS)
def test_same_numbers(name, isa, dtype, rng, monkeypatch):
    """Sums about another row's pixel, otherwise the same operations: to rounding, and to the bit for one thread and two."""
    make, lanes = NETWORKS[name], _isa.engine(dtype.name).lanes
    for n in sorted({2, lanes - 1, lanes, lanes + 1}):
        x = rng.standard_normal((n, 3, 13, 11)).astype(dtype)
        monkeypatch.setattr(bands, "L2", 1 << 40)
        whole, once = numbers(make, x, dtype)
        monkeypatch.setattr(bands, "L2", 1)
        lw.set_num_threads(1)
        ours, names = numbers(make, x, dtype)
        lw.set_num_threads(2)
        again, _ = numbers(make, x, dtype)
        assert len(names) > len(once)
        for a, b, c in zip(ours, again, whole):
            assert_array_equal(a, b)
            assert_allclose(a, c, rtol=1e-9 if dtype == np.float64 else 2e-3, atol=(1e-10 if dtype == np.float64 else 1e-4))


@pytest.mark.parametrize("name", ["squares", "residual"])
def test_evaluation_is_one_piece(name, dtype, rng, monkeypatch):
    """Running statistics cut no plan: nothing runs in bands."""
    x = rng.standard_normal((3, 3, 13, 11)).astype(dtype)
    _, names = numbers(NETWORKS[name], x, dtype, training=False)
    monkeypatch.setattr(bands, "L2", 1)
    assert numbers(NETWORKS[name], x, dtype, training=False)[1] == names


def test_who_waits(rng, monkeypatch):
    """Each instruction has what it reads before it reads it: rows of a square need two more below, of a depthwise one too; the
    sums of a gradient's weights come last."""
    seen = []
    up_to = bands._Banded.up_to

    def watch(self, rows):
        seen.append((self.name, self.done, rows))
        return up_to(self, rows)
    monkeypatch.setattr(bands._Banded, "up_to", watch)
    monkeypatch.setattr(bands, "L2", 1)
    numbers(NETWORKS["squares"], rng.standard_normal((2, 3, 13, 11)).astype(np.float32), np.dtype("float32"))
    second = seen.index(("batch_norm_apply", 0, 6))
    assert seen[second:second + 6] == [("batch_norm_apply", 0, 6), ("conv", 0, 4), ("batch_norm_partial", 0, 4),
                                       ("batch_norm_apply", 6, 10), ("conv", 4, 8), ("batch_norm_partial", 4, 8)]


def image(rows=8):
    """An image of so many rows of 5 lanes."""
    return Ref(Buffer(5 * rows, row=5), 0)


def apply(x, y, rows=8):
    """A batch_norm_apply instruction with the fields that bands look at."""
    return ("batch_norm_apply", dict(x=x, x0=5, y=y, y0=5, r=-1, r0=0, rows=rows, part=bands.BEGIN | bands.END)), WORK


def conv(x, y, rows=8):
    """A direct 3x3 convolution likewise."""
    return ("conv", dict(x=x, x_row=5, y=y, y_row=5, rows=rows, first=-1, row_step=1, taps=3, tap_step=1, points=0)), WORK


WORK = Work("forward", 0, "", 0, None, 0)


def test_nothing_is_written_over_too_early(monkeypatch):
    """What a window still reads, or what waits for its turn, is not changed: the instruction that would runs after all rows."""
    a, b, c = image(), image(), image()
    monkeypatch.setattr(bands, "L2", 1)

    def order(*items):
        return [(name, f.get("rows")) for (name, f), _ in bands._banded(items, 64)]
    late = ("conv_dw_pixels", dict(x=c)), WORK
    assert order(apply(a, b), conv(b, c), apply(c, a))[:4] == [
        ("batch_norm_apply", 2), ("conv", 1), ("batch_norm_apply", 1), ("batch_norm_apply", 1)]
    assert order(apply(a, b), conv(b, image()), apply(image(), b))[-1] == ("batch_norm_apply", 8)
    assert order(apply(a, b), late, conv(b, image()), apply(image(), c))[-2:] == [
        ("conv_dw_pixels", None), ("batch_norm_apply", 8)]
    assert order(conv(a, b), conv(b, c)) == [("conv", 8), ("conv", 8)]


def test_what_passes_is_the_threads_own(rng, monkeypatch):
    """A normalised image that one convolution reads is in no arena; one that is read once more is."""
    lw.manual_seed(1)
    ran, places = bands.in_bands, []

    def watch(lists, *rest):
        places.extend(f["y"].buffer for name, f in lists["forward"] if name == "batch_norm_apply")
        return ran(lists, *rest)
    monkeypatch.setattr(plan, "in_bands", watch)
    model = nn.Sequential(models.BasicBlock(3, 8, 1), models.BasicBlock(8, 8, 1))
    nn.MSELoss()(model(rng.standard_normal((2, 3, 13, 11)).astype(np.float32)), np.zeros((2, 8, 13, 11), np.float32)).backward()
    assert [b.offset >= OWN for b in places] == [True, False, False, True, True]
