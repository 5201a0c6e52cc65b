"""A few samples in evaluation mode: the array functions' pass gives what the engine gives."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, models, nn, small

FORWARD = small.forward


class Everything(nn.Module):
    """Each operation that a small pass has."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.depth, self.same = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 24, (3, 4), padding="same", bias=False)
        self.max, self.mean = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)
        self.groups, self.last = nn.Conv2d(40, 48, 3, groups=4), nn.Linear(48 * 4, 12)
        self.pool, self.flat = nn.AdaptiveAvgPool2d(2), nn.Flatten()

    def forward(self, x):
        """All on one way."""
        x = nn.functional.relu(self.norm(self.first(x)))
        y = x + nn.functional.tanh(self.depth(x)) * 0.5 + 0.25
        y = lw.concat([self.max(y), self.max(nn.functional.sigmoid(self.same(y)))])
        y = self.last(self.flat(self.pool(self.groups(self.mean(y)))))
        return lw.concat([nn.functional.softmax(y, 1), nn.functional.log_softmax(y, 1)])


def trained(model, rng):
    """The model with statistics and biases that are not those of the start, in evaluation mode."""
    for p in model.parameters():
        p.data = p.data + rng.standard_normal(p.shape) * 0.05
    for name, b in model.named_buffers():
        if b.dtype.kind == "f":
            b.data = rng.uniform(0.5, 1.5, b.shape)
    return model.eval()


def both(model, x, monkeypatch):
    """(by array functions, by the engine), and whether array functions were asked."""
    asked = []
    monkeypatch.setattr(small, "forward", lambda *a: asked.append(FORWARD(*a)) or asked[-1])
    ours = model(x).numpy()
    monkeypatch.setattr(small, "forward", lambda *a: None)
    return ours, model(x).numpy(), bool(asked) and asked[-1] is not None


@pytest.mark.parametrize("make", [Everything, models.cifar_cnn, models.resnet20, models.mobilenet], ids=lambda m: m.__name__)
def test_equals_the_engine(make, isa, dtype, monkeypatch, rng):
    """Up to a quarter of the lanes by array functions, more in lanes."""
    model = trained(make(), rng)
    if dtype == np.float64:
        model.double()
    lanes = _isa.engine(dtype.name).lanes
    for n in sorted({1, max(1, lanes // 4), lanes // 4 + 1}):
        ours, engine, asked = both(model, rng.standard_normal((n, 3, 32, 32)).astype(dtype), monkeypatch)
        assert asked == (4 * n <= lanes) and ours.dtype == dtype and ours.flags.c_contiguous
        assert_allclose(ours, engine, rtol=0, atol=5e4 * np.finfo(dtype).eps * max(1e-2, np.abs(engine).max()))


def test_bytes_and_rows(monkeypatch, rng):
    """uint8 images are scaled as in the engine, and rows of a Dataset are taken."""
    data = lw.data.Dataset(rng.integers(0, 256, (9, 3, 32, 32), np.uint8), np.arange(9), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    model = trained(models.cifar_cnn(), rng)
    ours, engine, asked = both(model, data.batch([7, 2])[0], monkeypatch)
    assert asked == (_isa.engine("float32").lanes >= 8)
    assert_allclose(ours, engine, rtol=1e-4, atol=1e-5)


def test_who_is_left_to_the_engine(monkeypatch, rng):
    """Training, small networks, operations without an array function, statistics of the batch."""
    x = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    assert not both(models.cifar_cnn(), x, monkeypatch)[2]
    assert not both(models.lenet5().eval(), x[:, :1, :28, :28], monkeypatch)[2]
    assert not both(nn.Sequential(models.cifar_cnn(), nn.GELU()).eval(), x, monkeypatch)[2]
    own = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.BatchNorm2d(32, track_running_stats=False)).eval()
    assert not both(own, x, monkeypatch)[2]


def test_follows_the_parameters(monkeypatch, rng):
    """New numbers, another number type, and weights that an optimizer has moved are seen at once."""
    model, x = trained(models.cifar_cnn(), rng), rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    first = model(x).numpy()
    optimizer = lw.optim.SGD(model.parameters(), 0.1)
    assert_array_equal(model(x).numpy(), first)
    model.train()
    nn.CrossEntropyLoss()(model(x), np.array([3])).backward()
    optimizer.step()
    model.eval()
    ours, engine, _ = both(model, x, monkeypatch)
    assert np.abs(ours - first).max() > 1e-4
    assert_allclose(ours, engine, rtol=1e-4, atol=1e-5)
    with pytest.raises(lw.DtypeError, match="expected one number type"):
        model(x.astype(np.float64)).numpy()
