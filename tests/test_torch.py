"""Against PyTorch: the same weights and batches give the same results, gradients and loss curves."""
import numpy as np
import pytest
from cases import CASES
from numpy.testing import assert_allclose

import lanewise as lw
from lanewise import models, nn, optim
from lanewise.graph import as_value

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("case", [c for c in CASES if c.torch], ids=lambda c: c.name)
def test_layers(case, isa, rng):
    name, args, kw = case.torch
    mine, theirs = case.make(), getattr(torch.nn, name)(*args, **kw)
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for n in (1, 15, 16, 17):
        x = rng.standard_normal((n, *case.shapes[0])).astype(np.float32)
        leaf, tensor = lw.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out, expected = mine(leaf), theirs(tensor)
        assert out.shape == tuple(expected.shape)
        target = rng.standard_normal(out.shape).astype(np.float32)
        mine.zero_grad()
        theirs.zero_grad()
        nn.MSELoss()(out, target).backward()
        torch.nn.MSELoss()(expected, torch.from_numpy(target)).backward()
        assert_allclose(out.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
        assert_allclose(leaf.grad, tensor.grad.numpy(), rtol=1e-4, atol=1e-6)
        for p, q in zip(mine.parameters(), theirs.parameters()):
            assert_allclose(p.grad, q.grad.numpy(), rtol=2e-4, atol=2e-6)


def lenet(lib):
    """LeNet-5 in either library."""
    return lib.Sequential(lib.Conv2d(1, 6, 5), lib.ReLU(), lib.MaxPool2d(2), lib.Conv2d(6, 16, 5), lib.ReLU(), lib.MaxPool2d(2),
                          lib.Flatten(), lib.Linear(256, 120), lib.ReLU(), lib.Linear(120, 84), lib.ReLU(), lib.Linear(84, 10))


OPTIMIZERS = {"SGD": (dict(lr=0.05), "SGD"),
              "SGD momentum": (dict(lr=0.02, momentum=0.9, dampening=0.1), "SGD"),
              "Nesterov, weight decay": (dict(lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-3), "SGD"),
              "Adam": (dict(lr=1e-3), "Adam"), "Adam, weight decay": (dict(lr=1e-3, weight_decay=1e-2), "Adam")}


@pytest.mark.parametrize("n", [64, 37, 1, 16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loss_curves(name, n, isa, rng):
    """Twenty steps on real images: the same losses to 2e-3."""
    settings, kind = OPTIMIZERS[name]
    torch.manual_seed(1)
    theirs, mine = lenet(torch.nn), lenet(nn)
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    opt = getattr(optim, kind)(mine.parameters(), **settings)
    other = getattr(torch.optim, kind)(theirs.parameters(), **settings)
    training, _ = lw.data.load("fashion-mnist-mini")
    x = (training.images / np.float32(255)).astype(np.float32)
    curves = [], []
    for _ in range(20):
        rows = rng.integers(0, len(x), n)
        opt.zero_grad()
        loss = nn.CrossEntropyLoss()(mine(x[rows]), training.labels[rows])
        loss.backward()
        opt.step()
        curves[0].append(loss.item())
        other.zero_grad()
        loss = torch.nn.CrossEntropyLoss()(theirs(torch.from_numpy(x[rows])), torch.from_numpy(training.labels[rows]))
        loss.backward()
        other.step()
        curves[1].append(loss.item())
    assert_allclose(*curves, rtol=2e-3)


def test_cifar_cnn_step(rng):
    """The wide convolutions: one Adam step of cifar_cnn."""
    mine = models.cifar_cnn()
    lib = torch.nn
    theirs = lib.Sequential(lib.Conv2d(3, 32, 3, padding=1), lib.ReLU(), lib.MaxPool2d(2), lib.Conv2d(32, 64, 3, padding=1),
                            lib.ReLU(), lib.MaxPool2d(2), lib.Conv2d(64, 64, 3, padding=1), lib.ReLU(), lib.Flatten(),
                            lib.Linear(4096, 64), lib.ReLU(), lib.Linear(64, 10))
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, y = rng.standard_normal((37, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 37)
    loss = nn.CrossEntropyLoss()(mine(x), y)
    loss.backward()
    expected = lib.CrossEntropyLoss()(theirs(torch.from_numpy(x)), torch.from_numpy(y))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for p, q in zip(mine.parameters(), theirs.parameters()):
        assert_allclose(p.grad, q.grad.numpy(), rtol=0, atol=1e-4 * np.abs(q.grad.numpy()).max())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses(reduction, rng):
    x, y = rng.standard_normal((19, 7)).astype(np.float32), rng.integers(0, 7, 19)
    mine = nn.CrossEntropyLoss(reduction=reduction)(as_value(x), y).item()
    assert mine == pytest.approx(torch.nn.CrossEntropyLoss(reduction=reduction)(torch.from_numpy(x), torch.from_numpy(y)).item(), rel=1e-5)
    t = rng.standard_normal((19, 7)).astype(np.float32)
    mine = nn.MSELoss(reduction)(as_value(x), t).item()
    assert mine == pytest.approx(torch.nn.MSELoss(reduction=reduction)(torch.from_numpy(x), torch.from_numpy(t)).item(), rel=1e-5)


def test_initialisation_is_pytorchs():
    """Uniform of the same bounds, weight and bias: by their extremes over many draws."""
    lw.manual_seed(0)
    torch.manual_seed(0)
    for make in (lambda lib: lib.Conv2d(8, 64, 3), lambda lib: lib.Conv2d(8, 64, 3, groups=4), lambda lib: lib.Linear(500, 300)):
        for a, b in zip(make(nn).parameters(), make(torch.nn).parameters()):
            assert a.shape == tuple(b.shape)
            b = b.detach().numpy()
            assert np.abs(a.data).max() == pytest.approx(np.abs(b).max(), rel=0.1)
            assert a.data.std() == pytest.approx(b.std(), rel=0.15)


@pytest.mark.parametrize("kind, settings", [("Adam", dict(lr=1e-3)), ("SGD", dict(lr=0.1, momentum=0.9))])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle(kind, settings, anneal):
    a, b = getattr(optim, kind)([nn.Parameter(np.zeros(3, np.float32))], **settings), \
        getattr(torch.optim, kind)([torch.nn.Parameter(torch.zeros(3))], **settings)
    mine = optim.OneCycleLR(a, 0.3, total_steps=40, anneal_strategy=anneal)
    theirs = torch.optim.lr_scheduler.OneCycleLR(b, 0.3, total_steps=40, anneal_strategy=anneal)
    for _ in range(39):
        one, two = a.param_groups[0], b.param_groups[0]
        assert one["lr"] == pytest.approx(two["lr"], rel=1e-9, abs=1e-12)
        momentum = (lambda g: g["betas"][0]) if kind == "Adam" else (lambda g: g["momentum"])
        assert momentum(one) == pytest.approx(momentum(two), rel=1e-9)
        b.step()
        mine.step()
        theirs.step()


def test_state_dict_keys():
    """The same names in the same order, for a nested network."""
    def net(lib):
        class Net(lib.Module):
            def __init__(self):
                super().__init__()
                self.features = lib.Sequential(lib.Conv2d(1, 4, 3), lib.ReLU())
                self.head = lib.Linear(4, 2)
        return Net()
    assert list(net(nn).state_dict()) == list(net(torch.nn).state_dict())
