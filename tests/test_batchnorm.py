"""Batch normalisation (a plan cut in segments) and dropout (numbers by counter): values, gradients, state, repetition."""
import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_graph import check_gradients

import lanewise as lw
from lanewise import nn, optim
from lanewise.arithmetic import mean, relu
from lanewise.graph import as_value, topological
from lanewise.parameter import forget_plans


def reference(x, weight, bias, eps=1e-5):
    """(y, mean, var) in float64; x (N, C, ...)."""
    x = x.astype(np.float64)
    axes, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    mean, var = x.mean(axes), x.var(axes)
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return y * weight.reshape(shape) + bias.reshape(shape), mean, var


def net(lib):
    """Two and one-dimensional norms, a ReLU that is fused, one that is not, a norm that shares its input, a mean momentum."""
    class Net(lib.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm1 = lib.Conv2d(3, 6, 3, padding=1), lib.BatchNorm2d(6)
            self.conv2, self.norm2 = lib.Conv2d(6, 6, 3, padding=1), lib.BatchNorm2d(6, momentum=None, eps=1e-3)
            self.short, self.pool, self.relu = lib.BatchNorm2d(6, affine=False), lib.MaxPool2d(2), lib.ReLU()
            self.flat, self.fc, self.norm3 = lib.Flatten(), lib.Linear(54, 9), lib.BatchNorm1d(9, momentum=0.3)
            self.out, self.free = lib.Linear(9, 4), lib.BatchNorm1d(4, track_running_stats=False)

        def forward(self, x):
            x = self.relu(self.norm1(self.conv1(x)))
            x = self.relu(self.norm2(self.conv2(x)) + self.short(x))
            return self.free(self.out(self.relu(self.norm3(self.fc(self.flat(self.pool(x)))))))
    return Net()


@pytest.mark.parametrize("shape", [(5,), (33,), (3, 4), (3, 5, 6), (17, 2, 2), (1, 9, 1)], ids=str)
def test_forward(shape, isa, dtype, rng):
    """Around the size of a shard, with a mean far from zero: the variance does not cancel."""
    layer = (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0])
    layer.weight.data, layer.bias.data = rng.standard_normal((2, shape[0]))
    if dtype == np.float64:
        layer.double()
    lanes = lw._isa.engine(dtype.name).lanes
    for n in sorted({2, max(2, lanes - 1), lanes, lanes + 1, 3 * lanes + 2}):
        x = (rng.standard_normal((n, *shape)) * 3 + 100).astype(dtype)
        y, mean, var = reference(x, layer.weight.data, layer.bias.data)
        layer.running_mean.data, layer.running_var.data = np.zeros(shape[0]), np.ones(shape[0])
        assert_allclose(layer(x).numpy(), y, rtol=0, atol=3000 * np.finfo(dtype).eps)
        size = x.size // shape[0]
        assert_allclose(layer.running_mean.data, 0.1 * mean, rtol=20 * np.finfo(dtype).eps)
        assert_allclose(layer.running_var.data, 0.9 + 0.1 * var * size / (size - 1), rtol=300 * np.finfo(dtype).eps)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("n", [2, 7, 8, 9, 20])
def test_gradients(n, training, isa, rng):
    """A whole network in float64 against differences; in eval mode through the running statistics."""
    model = net(nn).double().train(training)
    for b in model.buffers():
        if b.shape:
            b.data = rng.uniform(0.5, 1.5, b.shape)
    x, y = rng.standard_normal((n, 3, 6, 6)), rng.integers(0, 4, n)
    check_gradients(model, lambda: nn.CrossEntropyLoss()(model(x), y), rng)
    leaf = lw.tensor(x, requires_grad=True)
    nn.CrossEntropyLoss()(model(leaf), y).backward()
    d = rng.standard_normal(x.shape)
    up, down = (nn.CrossEntropyLoss()(model(x + s * d), y).item() for s in (1e-6, -1e-6))
    assert (leaf.grad * d).sum() == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-7)


def test_against_pytorch(isa, rng):
    """Six training steps, then eval: losses, weights, running statistics, counts."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, mine = net(torch.nn), net(nn)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    opt, other = optim.SGD(mine.parameters(), 0.05), torch.optim.SGD(theirs.parameters(), 0.05)
    for n in (40, 17, 16, 15, 33, 2):
        x, y = (rng.standard_normal((n, 3, 6, 6)) + 2).astype(np.float32), rng.integers(0, 4, n)
        opt.zero_grad()
        other.zero_grad()
        loss, expected = nn.CrossEntropyLoss()(mine(x), y), torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-3)
        opt.step()
        other.step()
    for k, v in theirs.state_dict().items():
        assert_allclose(mine.state_dict()[k], v.numpy(), rtol=1e-3, atol=1e-4)
    mine.eval()
    theirs.eval()
    assert_allclose(mine(x).numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", [lambda: net(nn), lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout(0.4), nn.Dropout2d(0.3),
                                                                         nn.Flatten(), nn.Linear(128, 4))], ids=["norm", "dropout"])
def test_threads_change_no_bit(make, isa, rng):
    x, y = rng.standard_normal((301, 3, 6, 6)).astype(np.float32), rng.integers(0, 4, 301)
    results = []
    for threads in (1, 2, 3, 2):
        lw.set_num_threads(threads)
        lw.manual_seed(3)
        model = make()
        opt = optim.Adam(model.parameters(), 1e-2)
        for _ in range(2):
            opt.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            opt.step()
        results.append(model.state_dict())
    for other in results[1:]:
        for k, v in results[0].items():
            assert_array_equal(v, other[k])


class Sums(nn.Module):
    """Norms whose sums with something else the plan fuses, and some that it must not: an output, one read twice, a broadcast."""

    def __init__(self, case, c=5):
        super().__init__()
        self.case, self.a, self.b, self.mix = case, nn.BatchNorm2d(c), nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, r):
        case, y = self.case, self.mix(x)
        if case == "sum":
            return self.a(y) + r
        if case == "turned, with ReLU":
            return relu(r + self.a(y))
        if case == "two norms":
            return relu(self.a(y) + self.b(r))
        if case == "its own input":
            return relu(self.a(y) + y)
        if case == "twice itself":
            z = self.a(y)
            return relu(z + z)
        if case == "the term is used again":
            z = self.mix(r)
            return relu(self.a(y) + z) * z + self.b(z)
        if case == "before ReLU too":
            z = self.a(y) + r
            return relu(z) * z
        return relu(self.a(y) + mean(r, (2, 3), keepdim=True))            # broadcast


CASES = {"sum": 1, "turned, with ReLU": 1, "two norms": 1, "its own input": 1, "twice itself": 0, "the term is used again": 2,
         "before ReLU too": 1, "broadcast": 0}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("wants", [(True, True), (True, False), (False, True)], ids=["both", "x", "r"])
@pytest.mark.parametrize("case", CASES)
def test_sum_inside(case, wants, training, isa, dtype, rng, monkeypatch):
    """Fused or not, outputs and gradients are the same to rounding, and as many sums are fused as should be."""
    from lanewise import plan
    model = Sums(case).train(training)
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape) * 0.5 + 0.3
    model.b.running_mean.data = rng.standard_normal(5)
    if dtype == np.float64:
        model.double()
    arrays, found = rng.standard_normal((2, 19, 5, 6, 7)).astype(dtype), []
    target = rng.standard_normal(model(*arrays).shape).astype(dtype)

    def results():
        leaves = [lw.tensor(a, requires_grad=w) for a, w in zip(arrays, wants)]
        for p in model.parameters():
            p.grad = None
        out = model(*leaves)
        nn.MSELoss(reduction="sum")(out, target).backward()
        return [out.numpy(), *(leaf.grad for leaf in leaves if leaf.grad is not None),
                *(p.grad for p in model.parameters() if p.grad is not None)]
    fuse = plan.fuse

    def count(nodes):
        new, covers = fuse(nodes)
        found.append(sum(getattr(n.op, "plus", False) for n in topological(new)))
        return new, covers
    monkeypatch.setattr(plan, "fuse", count)
    fused = results()
    assert max(found) == CASES[case]
    monkeypatch.setattr(plan, "fuse", lambda nodes: (nodes, {n: (i,) for i, n in enumerate(topological(nodes))}))
    forget_plans()
    for ours, apart in zip(fused, results(), strict=True):
        assert_allclose(ours, apart, rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(apart).max())
    forget_plans()


def test_one_number_a_channel_is_refused(rng):
    layer = nn.BatchNorm1d(3)
    with pytest.raises(lw.ShapeError, match="BatchNorm: expected more than one number a channel in training, got a single sample"):
        layer(np.ones((1, 3), np.float32)).numpy()
    layer.eval()(np.ones((1, 3), np.float32)).numpy()
    nn.BatchNorm2d(2)(rng.standard_normal((1, 2, 3, 3)).astype(np.float32)).numpy()


def test_wrong_shapes():
    with pytest.raises(lw.ShapeError, match=r"\[BatchNorm2d\] expected input with 3 channels, got 2: input \(N, 2, 4, 4\)"):
        nn.BatchNorm2d(3)(np.ones((2, 2, 4, 4), np.float32))
    with pytest.raises(lw.ShapeError, match="expected an input of 4 dimensions, got 2"):
        nn.BatchNorm2d(3)(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="momentum: expected a number from 0 to 1, or None, got 2"):
        nn.BatchNorm1d(3, momentum=2)
    with pytest.raises(ValueError, match="p: expected a probability from 0 to 1, got 1.5"):
        nn.Dropout(1.5)


def test_one_run_counts_once(rng):
    """item(), numpy() and backward() of one call are one batch; what NaN spoils is put back."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    x, y = rng.standard_normal((5, 3)).astype(np.float32), np.array([0, 1, 0, 1, 0])
    out = model(x)
    loss = nn.CrossEntropyLoss()(out, y)
    loss.item()
    out.numpy()
    loss.backward()
    assert model[0].num_batches_tracked.data == 1
    before = copy.deepcopy(model.state_dict())
    x[0, 0] = np.nan
    with pytest.raises(lw.NonFiniteError):
        nn.CrossEntropyLoss()(model(x), y).backward()
    for k, v in before.items():
        assert_array_equal(v, model.state_dict()[k])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_functional(training, rng):
    """The layer's numbers, and its running statistics."""
    layer = nn.BatchNorm2d(3).train(training)
    layer.weight.data, layer.bias.data, layer.running_mean.data = rng.standard_normal((3, 3))
    mean, var = nn.Buffer(layer.running_mean.data.copy()), nn.Buffer(layer.running_var.data.copy())
    x = rng.standard_normal((9, 3, 4, 5)).astype(np.float32)
    assert_array_equal(nn.functional.batch_norm(x, mean, var, layer.weight, layer.bias, training).numpy(), layer(x).numpy())
    assert_array_equal(mean.data, layer.running_mean.data)
    assert_array_equal(var.data, layer.running_var.data)
    with pytest.raises(ValueError, match="expected running_mean and running_var, or neither in training"):
        nn.functional.batch_norm(x, None, None)
    with pytest.raises(TypeError, match="expected running_mean to be a Buffer, got ndarray"):
        nn.functional.batch_norm(x, mean.data, var)


def test_frozen_norm_passes_gradients(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    model[1].requires_grad_(False)
    x, y = rng.standard_normal((9, 3)), rng.integers(0, 2, 9)
    check_gradients(model[0], lambda: nn.CrossEntropyLoss()(model(x), y), rng)
    assert model[1].weight.grad is None


def test_state_survives_copies(rng, tmp_path):
    model = net(nn)
    for n in (4, 9):
        model(rng.standard_normal((n, 3, 6, 6)).astype(np.float32)).numpy()
    x = rng.standard_normal((5, 3, 6, 6)).astype(np.float32)
    expected = model.eval()(x).numpy()
    assert_array_equal(copy.deepcopy(model)(x).numpy(), expected)
    lw.save(model, tmp_path / "m.safetensors")
    other = net(nn)
    lw.load(tmp_path / "m.safetensors", other)
    assert_array_equal(other.eval()(x).numpy(), expected)
    assert other.norm1.num_batches_tracked.data == 2


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_dropout_rate_and_scale(p, isa, dtype):
    x = np.ones((333, 50), dtype)
    y = nn.Dropout(p)(x).numpy()
    assert set(np.unique(y)) <= {0.0, dtype.type(1 / (1 - p)) if p < 1 else 0.0}
    assert (y == 0).mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / x.size) + 1e-12)
    assert_array_equal(nn.Dropout(p).eval()(x).numpy(), x)


def test_dropout_numbers_are_independent(isa):
    """Between samples, elements, layers and calls: agreement of two masks is that of coins."""
    layer = nn.Dropout(0.5)
    x = np.ones((64, 64), np.float32)
    lw.manual_seed(1)
    a, b = layer(x).numpy() > 0, layer(x).numpy() > 0
    two = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))(x).numpy() > 0
    for first, second in ((a, b), (a[:-1], a[1:]), (a[:, :-1], a[:, 1:]), (a, a.T)):
        assert (first == second).mean() == pytest.approx(0.5, abs=0.05)
    assert two.mean() == pytest.approx(0.25, abs=0.03)
    lw.manual_seed(1)
    assert_array_equal(layer(x).numpy() > 0, a)


def test_dropout2d_drops_channels(isa):
    y = nn.Dropout2d(0.5)(np.ones((40, 6, 3, 5), np.float32)).numpy()
    flat = y.reshape(40, 6, 15)
    assert (flat == flat[:, :, :1]).all() and (flat[:, :, 0] == 0).mean() == pytest.approx(0.5, abs=0.15)


def test_dropout_backward_has_the_forward_mask(isa, rng):
    """The same mask in numpy(), item() and backward(), in any order, also when the slots were used in between."""
    layer = nn.Dropout(0.5)
    for first in ("numpy", "loss"):
        leaf = lw.tensor(np.ones((20, 30), np.float32), requires_grad=True)
        out = layer(as_value(leaf))
        loss = nn.MSELoss("sum")(out, np.zeros((20, 30), np.float32))
        if first == "numpy":
            out.numpy()
        loss.item()
        nn.MSELoss("sum")(layer(np.ones((20, 30), np.float32)), np.zeros((20, 30), np.float32)).item()
        loss.backward()
        assert_array_equal(leaf.grad, 4 * out.numpy())


@pytest.mark.parametrize("reader", [nn.Conv2d(6, 5, 3), nn.Conv2d(6, 8, 1, stride=2), nn.Conv2d(6, 6, 2, groups=6),
                                    nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Sequential(nn.Conv2d(6, 7, 3), nn.MaxPool2d(2))], ids=repr)
def test_a_value_read_once_is_computed_again(reader, isa, rng):
    """Between BatchNorm and a convolution nothing is kept; a second reader, whose gradient is zero, has it kept: the same bits."""
    norm = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    x, y = rng.standard_normal((37, 3, 8, 8)).astype(np.float32), None
    found, applied = [], []
    for second in (False, True):
        for m in (norm, reader):
            m.zero_grad()
        value = norm(x)
        result = reader(value)
        y = rng.standard_normal(result.shape).astype(np.float32) if y is None else y
        loss = nn.MSELoss()(result, y)
        if second:
            loss = loss + 0.0 * nn.MSELoss()(value, np.zeros(value.shape, np.float32))
        loss.backward()
        found.append([p.grad.copy() for m in (norm, reader) for p in m.parameters()])
        applied.append([w.block for w in loss._plan.work if w.name == "batch_norm_apply"])
    assert applied == [["forward", "backward"], ["forward"]]
    for a, b in zip(*found):
        assert_array_equal(a, b)
