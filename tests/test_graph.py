"""Networks beyond a chain: residual, branches, sharing, several inputs and outputs; handles; fusion changes nothing."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import nn, optim
from lanewise.graph import as_value, topological


class Residual(nn.Module):
    """x + conv(relu(conv(x))), twice, with a branch that is joined again."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 5, 3, padding=1)
        self.relu, self.pool, self.head = nn.ReLU(), nn.MaxPool2d(2), nn.Linear(8 * 4 * 4, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(x + self.b(self.relu(self.a(x))))
        x = lw.concat([self.left(x), self.relu(self.right(x))])
        return self.head(self.pool(x).flatten(1))


def slope_matches(make_loss, numbers, grad, rng):
    """<grad, d> against a central difference of make_loss() when `numbers` moves along d."""
    d = rng.standard_normal(numbers.shape)
    sides = []
    for step in (1e-6, -2e-6, 1e-6):
        numbers += step * d
        sides.append(make_loss().item())
    assert (grad * d).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-7)


def check_gradients(model, make_loss, rng):
    """Every parameter's gradient against differences."""
    model.zero_grad()
    make_loss().backward()
    for p in model.parameters():
        slope_matches(make_loss, p.data, p.grad.copy(), rng)


@pytest.mark.parametrize("n", [1, 9])
def test_residual_and_branches(isa, rng, n):
    model = Residual().double()
    x, y = rng.standard_normal((n, 1, 8, 8)), rng.integers(0, 3, n)
    check_gradients(model, lambda: nn.CrossEntropyLoss()(model(x), y), rng)


def test_residual_network_trains(rng):
    lw.manual_seed(0)
    model = Residual()
    opt, loss_fn = optim.Adam(model.parameters(), 1e-2), nn.CrossEntropyLoss()
    x, y = rng.standard_normal((30, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 30)
    for _ in range(60):
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
    assert loss.item() < 0.05 and loss.correct == 30


def test_weight_sharing(isa, rng):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.out = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(32, 32), nn.Linear(32, 3)

        def forward(self, x):
            x = self.conv(self.conv(x)).flatten(1)
            return self.out(self.fc(self.fc(x)))
    model = Twice().double()
    x, y = rng.standard_normal((9, 2, 4, 4)), rng.integers(0, 3, 9)
    check_gradients(model, lambda: nn.CrossEntropyLoss()(model(x), y), rng)


def test_siamese_and_two_inputs(rng):
    """One model called on two arrays, and a model of two inputs."""
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    a, b, y = rng.standard_normal((7, 5)), rng.standard_normal((7, 5)), rng.integers(0, 3, 7)
    check_gradients(model, lambda: nn.CrossEntropyLoss()(model(a) * 2 + model(b), y), rng)
    assert_allclose((model(a) + model(b)).numpy(), model(a).numpy() + model(b).numpy(), rtol=1e-12)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 5)

        def forward(self, x, z):
            return self.fc(x) * z
    two = Two().double()
    assert_allclose(two(a, b).numpy(), two.fc(a).numpy() * b, rtol=1e-12)


def test_two_outputs_and_summed_losses(rng):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 2)

        def forward(self, x):
            x = self.body(x)
            return self.one(x), self.two(x)
    model = Heads().double()
    x, y, t = rng.standard_normal((9, 6)), rng.integers(0, 3, 9), rng.standard_normal((9, 2))

    def loss():
        one, two = model(x)
        return nn.CrossEntropyLoss()(one, y) + 0.5 * nn.MSELoss()(two, t)
    check_gradients(model, loss, rng)
    one, two = model(x)
    assert loss().item() == pytest.approx(nn.CrossEntropyLoss()(one, y).item() + 0.5 * nn.MSELoss()(two, t).item())


def test_control_flow_is_seen_at_every_call(rng):
    class Depth(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.times = nn.Linear(4, 4), [1]

        def forward(self, x):
            for _ in range(self.times[0]):
                x = self.fc(x)
            return x
    model = Depth()
    x = rng.standard_normal((3, 4)).astype(np.float32)
    once = model(x).numpy()
    model.times[0] = 2
    assert_allclose(model(x).numpy(), model.fc(once).numpy(), rtol=1e-6)


def test_changed_layers_are_traced_again(rng):
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    x = rng.standard_normal((2, 1, 4, 4)).astype(np.float32)
    assert model(x).shape == (2, 4)
    setattr(model, "0", nn.Identity())
    assert model(x).shape == (2, 16)


def test_fusion_changes_nothing(isa, rng):
    """A convolution, ReLU and max-pool in one instruction, against the three on their own: equal to the last bit."""
    conv, relu, pool = nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    x = rng.standard_normal((17, 2, 7, 6)).astype(np.float32)
    leaf, parts = lw.tensor(x, requires_grad=True), lw.tensor(x, requires_grad=True)
    target = rng.standard_normal((17, 5, 3, 3)).astype(np.float32)
    whole = nn.Sequential(conv, relu, pool)(leaf)
    nn.MSELoss()(whole, target).backward()
    grads = [p.grad.copy() for p in conv.parameters()]
    conv.zero_grad()
    before = conv(parts)
    apart = pool(relu(before))
    loss = nn.MSELoss()(apart, target) + 0 * nn.MSELoss()(before, np.zeros(before.shape, np.float32))   # `before` is read twice
    loss.backward()
    assert_array_equal(whole.numpy(), apart.numpy())
    for g, p in zip(grads, conv.parameters()):
        assert_allclose(g, p.grad, rtol=0, atol=1e-6)
    assert_allclose(leaf.grad, parts.grad, rtol=0, atol=1e-7)


def test_handles(rng):
    """item(), backward() and numpy() of one call agree, in any order; gradients add up until zero_grad()."""
    model = nn.Linear(4, 3)
    x, y = rng.standard_normal((5, 4)).astype(np.float32), rng.integers(0, 3, 5)
    out = model(x)
    loss = nn.CrossEntropyLoss()(out, y)
    first = loss.item()
    assert model.weight.grad is None
    loss.backward()
    assert loss.item() == first == float(loss) == float(np.asarray(loss))
    assert_array_equal(out.numpy(), np.asarray(model(x)))
    once = model.weight.grad.copy()
    nn.CrossEntropyLoss()(model(x), y).backward()
    assert_allclose(model.weight.grad, 2 * once, rtol=1e-6)
    model.zero_grad()
    assert model.weight.grad is None


def test_item_then_another_run_then_backward(rng):
    """The slots of a run that item() started may be gone when backward() comes: it runs again."""
    model = nn.Linear(4, 3)
    x, z, y = *rng.standard_normal((2, 5, 4)).astype(np.float32), rng.integers(0, 3, 5)
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.item()
    nn.CrossEntropyLoss()(model(z), y).item()
    loss.backward()
    got = model.weight.grad.copy()
    model.zero_grad()
    nn.CrossEntropyLoss()(model(x), y).backward()
    assert_array_equal(got, model.weight.grad)


def test_evaluation_runs_forward_only(rng):
    model = nn.Linear(4, 3).eval()
    loss = nn.CrossEntropyLoss()(model(rng.standard_normal((5, 4)).astype(np.float32)), rng.integers(0, 3, 5))
    loss.item()
    assert not loss._plan.backward


def test_frozen_parameters(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    opt = optim.SGD(model.parameters(), lr=0.1)
    before = model.state_dict()
    nn.CrossEntropyLoss()(model(rng.standard_normal((5, 1, 4, 4)).astype(np.float32)), rng.integers(0, 3, 5)).backward()
    opt.step()
    after = model.state_dict()
    assert model[0].weight.grad is None
    assert_array_equal(before["0.weight"], after["0.weight"])
    assert (before["2.weight"] != after["2.weight"]).any()


def test_views_are_live(rng):
    """What is written into .data is what the next call sees, before and after an optimizer has moved it."""
    model = nn.Linear(3, 2)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    model.weight.data[...] = 0
    model.bias.data = np.array([1, 2], np.float32)
    assert_array_equal(model(x).numpy(), np.tile(np.float32([1, 2]), (4, 1)))
    optim.Adam(model.parameters())
    model.bias.data[0] = 5
    assert_array_equal(model(x).numpy(), np.tile(np.float32([5, 2]), (4, 1)))


@pytest.mark.parametrize("make", [lambda x: x[:, ::2], lambda x: np.asfortranarray(x), lambda x: x[::-1],
                                  lambda x: x.copy()], ids=["strided", "fortran", "reversed", "plain"])
def test_any_strides_and_read_only(make, rng):
    x = make(rng.standard_normal((6, 4, 5, 5)).astype(np.float32))
    x.flags.writeable = False
    model = nn.Conv2d(x.shape[1], 2, 3)
    assert_array_equal(model(x).numpy(), model(np.ascontiguousarray(x)).numpy())


def test_uint8_is_scaled_to_one(rng):
    x = rng.integers(0, 256, (17, 3, 5, 6)).astype(np.uint8)
    assert_allclose(nn.Identity()(x).numpy(), x / np.float32(255), rtol=1e-6)


def test_graphs_are_small():
    """A model's trace is kept: two calls share their nodes."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    x = np.ones((2, 3), np.float32)
    assert model(x).node is model(x).node
    assert len(topological([model(as_value(x)).node])) == 3
