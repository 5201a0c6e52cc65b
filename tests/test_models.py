"""Every model that the command line knows: shapes, the parameter counts that its documentation names, training, PyTorch."""
import inspect
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lanewise as lw
from lanewise import models, nn, optim

EVERY = pytest.mark.parametrize("name", models.MODELS)


def defaults(name):
    """(channels, size, classes) of a model."""
    parameters = inspect.signature(models.MODELS[name]).parameters
    return [parameters[k].default for k in ("channels", "size", "classes")]


@EVERY
def test_documented_parameters(name):
    counts = re.findall(r"([\d,]+)\s+parameters", models.MODELS[name].__doc__)
    if name == "fcn":
        assert f"{sum(p.data.size for p in models.FCN().parameters()):,}" in models.FCN.__doc__
    assert f"{sum(p.data.size for p in models.MODELS[name]().parameters()):,}" == counts[0]


@EVERY
@pytest.mark.parametrize("shape", [None, (1, 28, 3), (2, 33, 5)])
def test_shapes_and_summary(name, shape):
    """Scores of the classes for its own images, MNIST's and odd ones; a row for every layer."""
    channels, size, classes = shape or defaults(name)
    model = models.MODELS[name](channels, size, classes)
    assert model.eval()(np.ones((2, channels, size, size), np.float32)).numpy().shape == (2, classes)
    table = lw.summary(model, (channels, size, size))
    assert sum(r.parameters for r in table.rows) == table.parameters
    assert all(r.receptive_field for r in table.rows)


@EVERY
def test_trains(name, rng):
    """Steps on one batch make its loss less."""
    channels, _, classes = defaults(name)
    lw.manual_seed(3)
    model = models.MODELS[name](channels, 16, classes)
    opt, loss_fn, losses = optim.Adam(model.parameters(), 2e-3), nn.CrossEntropyLoss(), []
    x, y = rng.standard_normal((20, channels, 16, 16)).astype(np.float32), rng.integers(0, classes, 20)
    while len(losses) < 60 and (not losses or losses[-1] >= 0.9 * losses[0]):
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_logistic_regression_is_a_sigmoid(rng):
    """softmax(0, w x + b) = (1 - p, p) with p = sigmoid(w x + b); dw = mean (p - y) x."""
    model = models.logistic_regression(1, 3).double()
    x, y = rng.standard_normal((9, 1, 3, 3)), rng.integers(0, 2, 9)
    p = 1 / (1 + np.exp(-(x.reshape(9, 9) @ model.linear.weight.data[0] + model.linear.bias.data[0])))
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.backward()
    assert loss.item() == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    assert_allclose(model.linear.weight.grad[0], (p - y) @ x.reshape(9, 9) / 9, rtol=1e-9)


def test_resnet_depths():
    """6 n + 2 layers with weights on the longest path."""
    for depth in (8, 20, 32, 56):
        modules = [m for name, m in getattr(models, f"resnet{depth}")().named_modules()
                   if isinstance(m, (nn.Conv2d, nn.Linear)) and "shortcut" not in name]
        assert len(modules) == depth


def test_fcn_is_convolutional(rng):
    """Scores of every pixel at the image's size, also of odd sizes; of a moved image, moved by as much inside."""
    for size in (8, 23, 28, 32):
        assert models.FCN(2, size, 3)(np.ones((1, 2, size, size), np.float32)).shape == (1, 3, size, size)
    model = models.FCN(1, 96, 2).double()
    x = np.zeros((2, 1, 96, 96))
    x[0, 0, 44:52, 44:52] = x[1, 0, 52:60, 44:52] = rng.standard_normal((8, 8))
    a, b = model(x).numpy()
    assert_allclose(b[:, 48:64, 40:56], a[:, 40:56, 40:56], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="at least 8 pixels a side, got 7"):
        models.FCN(size=7)


def torch_resnet(lib, depth, channels, classes):
    """The same network in PyTorch, by its own names."""
    class Block(lib.Module):
        def __init__(self, ins, outs, stride):
            super().__init__()
            self.conv1, self.bn1 = lib.Conv2d(ins, outs, 3, stride, 1, bias=False), lib.BatchNorm2d(outs)
            self.conv2, self.bn2 = lib.Conv2d(outs, outs, 3, 1, 1, bias=False), lib.BatchNorm2d(outs)
            same = stride == 1 and ins == outs
            self.shortcut = lib.Identity() if same else \
                lib.Sequential(lib.Conv2d(ins, outs, 1, stride, bias=False), lib.BatchNorm2d(outs))

        def forward(self, x):
            return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + self.shortcut(x)).relu()
    blocks, ins = [], 16
    for outs, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range((depth - 2) // 6):
            blocks.append(Block(ins, outs, stride if i == 0 else 1))
            ins = outs
    return lib.Sequential(lib.Conv2d(channels, 16, 3, padding=1, bias=False), lib.BatchNorm2d(16), lib.ReLU(), *blocks,
                          lib.AdaptiveAvgPool2d(1), lib.Flatten(), lib.Linear(64, classes))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_resnet_is_pytorchs(mode, rng):
    """PyTorch's weights by its keys, and back: the same scores, loss and gradients; in float64, where no rounding moves a number
    over ReLU's kink."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, mine = torch_resnet(torch.nn, 20, 3, 10).double(), models.resnet20().double()
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    theirs.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in mine.state_dict().items()})
    getattr(mine, mode)()
    getattr(theirs, mode)()
    x, y = rng.standard_normal((19, 3, 16, 16)), rng.integers(0, 10, 19)
    out, expected = mine(x), theirs(torch.from_numpy(x))
    loss, other = nn.CrossEntropyLoss()(out, y), torch.nn.CrossEntropyLoss()(expected, torch.from_numpy(y))
    assert_allclose(out.numpy(), expected.detach().numpy(), rtol=1e-7, atol=1e-9)
    assert loss.item() == pytest.approx(other.item(), rel=1e-9)
    if mode == "train":
        loss.backward()
        other.backward()
        for p, q in zip(mine.parameters(), theirs.parameters()):
            q = q.grad.numpy()
            assert_allclose(p.grad, q, rtol=0, atol=1e-8 * np.abs(q).max() + 1e-10)


def test_containers():
    """ModuleList and ModuleDict: their modules' parameters under PyTorch's keys."""
    a, b = nn.Linear(2, 3), nn.ReLU()
    many = nn.ModuleList([a]).append(b).extend([nn.Linear(3, 1)])
    assert len(many) == 3 and many[0] is a and many[-3] is a and list(many)[1] is b and len(many[1:]) == 2
    assert list(many.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    many[1] = nn.Linear(3, 3)
    assert len(list(many.parameters())) == 6
    named = nn.ModuleDict({"one": a})
    named["two"] = b
    assert list(named) == ["one", "two"] and "two" in named and named["one"] is a and len(named) == 2
    assert list(named.state_dict()) == ["one.weight", "one.bias"]
    assert list(named.items()) == list(zip(named.keys(), named.values()))
    with pytest.raises(TypeError, match="ModuleList: expected modules, got int as '0'"):
        nn.ModuleList([3])
    for name in ("a.b", "items", "training", ""):
        with pytest.raises(KeyError, match="expected a name that is no attribute and has no dot"):
            named[name] = b


@pytest.mark.parametrize("name", ["mobilenet", "fcn", "resnet8"])
def test_threads_change_no_bit(name, isa):
    """Depthwise and transposed convolutions, batch statistics and adaptive means, with 1, 2 and 3 threads."""
    def weights(n_threads):
        lw.set_num_threads(n_threads)
        lw.manual_seed(0)
        rng, model = np.random.default_rng(0), models.MODELS[name](3, 12, 4)
        opt = optim.Adam(model.parameters(), 1e-2)
        for _ in range(2):
            opt.zero_grad()
            x, y = rng.standard_normal((50, 3, 12, 12)).astype(np.float32), rng.integers(0, 4, 50)
            nn.CrossEntropyLoss()(model(x), y).backward()
            opt.step()
        return model.state_dict()
    one = weights(1)
    for n_threads in (2, 3):
        again = weights(n_threads)
        assert all((one[k] == again[k]).all() for k in one)
