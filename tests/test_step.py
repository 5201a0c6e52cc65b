"""What a step finds again: traces, nodes and plans, and every change that makes them stale."""
import copy

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
import lanewise.nn.functional as F
from lanewise import nn, optim, plan
from lanewise._kernels.step import forget_plans
from lanewise.data import Dataset
from lanewise.graph import MOST_MADE
from lanewise.nn.module import MOST_TRACES
from lanewise.summary import summary


class Own(nn.Module):
    """A network of the user's: static layers, functions, operators, a parameter, and whatever `extra` does to the features."""

    def __init__(self, extra=lambda x: x):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.drop, self.scale, self.head = nn.Dropout(0.5), nn.Parameter(np.ones((1, 4, 1, 1), np.float32)), nn.Linear(16, 3)
        self.extra = extra

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = F.max_pool2d(self.extra(x * self.scale + self.conv(x.mean(1, keepdim=True))), 2)
        return self.head(self.drop(F.relu(x)).flatten(1))


def static():
    """The same layers in a network whose whole trace is kept."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5),
                         nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture(params=[Own, static])
def model(request):
    """A network that has trained already: all that is kept is there."""
    model = request.param()
    for _ in range(3):
        step(model, *data(5))
    return model


def data(n, size=4, dtype=np.float32, seed=0):
    """A batch."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 1, size, size)).astype(dtype), rng.integers(0, 3, n)


def step(model, x, y, seed=1):
    """The loss, and all gradients and states, after one backward()."""
    lw.manual_seed(seed)
    model.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.backward()
    return [loss.item(), *(p.grad for p in model.parameters()), *(b.data for b in model.buffers())]


def same_as_new(model, x, y):
    """A step is to the bit that of a copy, which has nothing of what is kept."""
    other = copy.deepcopy(model)
    for mine, theirs in zip(step(model, x, y), step(other, x, y)):
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            assert_array_equal(mine, theirs)


def layer(model, kind):
    """The first module of a class."""
    return next(m for m in model.modules() if isinstance(m, kind))


CHANGES = dict(
    frozen=lambda m: m.requires_grad_(False) and setattr(layer(m, nn.Linear).weight, "requires_grad", True),
    eval=lambda m: m.eval(), part_eval=lambda m: layer(m, nn.BatchNorm2d).eval(),
    dropout=lambda m: setattr(layer(m, nn.Dropout), "p", 0.1),
    momentum=lambda m: setattr(layer(m, nn.BatchNorm2d), "momentum", 0.5),
    replaced=lambda m: setattr(layer(m, nn.Linear), "weight", nn.Parameter(np.full((3, 16), 0.25, np.float32))),
    assigned=lambda m: setattr(layer(m, nn.Conv2d).weight, "data", np.full((4, 1, 3, 3), 0.5)),
    in_place=lambda m: layer(m, nn.Conv2d).weight.data.fill(0.5), no_bias=lambda m: setattr(layer(m, nn.Conv2d), "bias", None),
    loaded=lambda m: m.load_state_dict({k: v * 0.5 for k, v in m.state_dict().items() if v.dtype.kind == "f"}, strict=False),
    statistics=lambda m: layer(m, nn.BatchNorm2d).running_mean.data.fill(3), double=lambda m: m.double(),
    moved=lambda m: optim.SGD(m.parameters(), 0.1),
    dilation=lambda m: (setattr(layer(m, nn.Conv2d), "dilation", (2, 2)), setattr(layer(m, nn.Conv2d), "padding", (2, 2))))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_steps(model, change):
    """What is kept from before a change is not used after it, nor what is kept from after it once it is taken back."""
    before = copy.deepcopy(model)
    CHANGES[change](model)
    x, y = data(5, dtype=layer(model, nn.Linear).weight.dtype)
    changed = step(copy.deepcopy(model), x, y)
    assert any(a is None or b is None or not np.array_equal(a, b) for a, b in zip(changed, step(before, *data(5)))) or (
        change == "moved")
    same_as_new(model, x, y)
    same_as_new(model, x, y)
    model.float().train().requires_grad_()
    same_as_new(model, *data(5))


def test_other_batches(model):
    """Other sizes of the batch, number types of the input, rows of a Dataset; an image of another size."""
    images = (np.random.default_rng(3).random((9, 1, 4, 4)) * 255).astype(np.uint8)
    labels = np.arange(9) % 3
    for n in (2, 17, 5, 33):
        same_as_new(model, *data(n))
    for _ in range(2):
        same_as_new(model, images, labels)
        for x, y in Dataset(images, labels, 0.5, 0.25).batches(4, rng=0):
            if len(y) > 1:
                same_as_new(model, x, y)
        same_as_new(model, *data(5))
    assert model(data(5)[0]).shape == (5, 3)
    with pytest.raises(lw.errors.ShapeError, match=r"\[Linear '(head|6)'\]"):
        model(data(5, 8)[0])
    same_as_new(model, *data(5))


def test_settings_of_the_process(model, isa):
    """The build, the number of threads, Winograd's algorithm."""
    x, y = data(33)
    first = None
    for n in (1, 2, 1):
        lw.set_num_threads(n)
        same_as_new(model, x, y)
        mine = step(model, x, y)[:-3]                   # without the running statistics
        first = first or copy.deepcopy(mine)
        for a, b in zip(mine, first):
            assert_array_equal(a, b)


def test_winograd_between_item_and_backward():
    """The plan of the run is of another setting: it runs again."""
    conv = nn.Conv2d(4, 8, 3, padding=1)
    model, x = nn.Sequential(conv, nn.Flatten()), np.random.default_rng(0).standard_normal((5, 4, 8, 8)).astype(np.float32)

    def started(model):
        out = model(x)
        loss = nn.MSELoss()(out, np.ones((5, 512), np.float32))
        loss.item()
        return loss, out
    loss, out = started(model)
    by_winograd = out.numpy()
    lw.set_winograd(False)
    try:
        loss.backward()
        expected = started(copy.deepcopy(model))[1].numpy()
        assert_array_equal(out.numpy(), expected)
        assert not np.array_equal(expected, by_winograd)
    finally:
        lw.set_winograd(True)
    assert_array_equal(started(model)[1].numpy(), by_winograd)


def test_found_again(model):
    """The nodes and the plan of the next call are those of the last, for each number of terms of a loss."""
    x, y = data(5)
    loss_fn, found = nn.CrossEntropyLoss(), []
    for n in (5, 7, 5):
        out = model(data(n)[0])
        one, two = loss_fn(out, data(n)[1]), loss_fn(out, data(n)[1]) + 0.5 * loss_fn(F.relu(out), data(n)[1])
        one.backward()
        two.backward()
        found.append((out.node, one._plan, two._plan))
    assert found[0] == found[1] == found[2] and found[0][1] is not found[0][2]
    for _ in range(9):
        layer(model, nn.Linear).weight.requires_grad = True
        out = model(x)
        loss_fn(out, y).backward()
        out.in_lanes()
    assert out.node is found[0][0] and len(out.node.plans) == 2
    for size in range(4, 4 + 2 * MOST_TRACES):
        layer(model, nn.Conv2d)(data(1, size)[0])
    assert len(layer(model, nn.Conv2d)._traces) <= MOST_TRACES


def test_numbers_that_differ_at_every_call():
    """A network may compute with another number each time; nodes of earlier ones are not kept for ever."""
    at = [0.0]
    model = Own(lambda x: x * at[0])
    for i in range(3 * MOST_MADE):
        at[0] = 0.01 * i
        loss = nn.CrossEntropyLoss()(model(data(5)[0]), data(5)[1])
        if i % 16 == 0:
            same_as_new(model, *data(5))
    stack, seen = [next(iter(loss.terms[0][2].feeds))], set()
    while stack:
        node = stack.pop()
        assert len(node.made) <= MOST_MADE
        seen.add(node)
        stack.extend(n for n in node.made.values() if n not in seen)
    assert len(seen) > 8


def test_the_same_layer_twice_in_one_call():
    """Two dropouts of one value have two masks, and are two nodes as two normalisations are, at every call."""
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(8)
            self.inner = nn.Sequential(nn.Dropout(0.5), nn.Flatten())

        def forward(self, x):
            x = x * 1.0
            inner = self.inner(x)
            return lw.concat([self.drop(x), self.drop(x), F.dropout(x), F.dropout(x), self.inner[0](x), inner,
                              self.norm(x), self.norm(x)])
    model = Twice()
    ones = np.ones((4, 8), np.float32)
    for _ in range(5):
        out = model(ones)
        masks = {part.tobytes() for part in np.split(out.in_lanes(), 8, 1)[:6]}
        assert len(masks) == 6 and len(set(out.node.inputs)) == 8
        first, second = (model(x) for x in (ones, ones + 1))
        assert not np.array_equal(first.in_lanes(), second.in_lanes())
    drop = nn.Dropout(0.5)
    a, b = Own()(data(4)[0]), Own()(data(4)[0])
    assert drop(a).node is not drop(a).node and drop(b).node is not drop(b).node


def test_two_calls_in_one_loss(model):
    """Two batches through one network, in one loss: the gradients of both."""
    model.eval()
    (x, y), (u, v) = data(5), data(5, seed=8)
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    for _ in range(3):
        model.zero_grad()
        (loss_fn(model(x), y) + loss_fn(model(u), v)).backward()
        joint = [p.grad.copy() for p in model.parameters()]
        model.zero_grad()
        loss_fn(model(x), y).backward()
        loss_fn(model(u), v).backward()
        for p, g in zip(model.parameters(), joint):
            np.testing.assert_allclose(p.grad, g, rtol=1e-4, atol=1e-5)
        apart = model(x).in_lanes() - model(u).in_lanes()
        np.testing.assert_allclose((model(x) - model(u)).in_lanes(), apart, rtol=1e-4, atol=1e-5)


def test_forward_decides_anew():
    """What forward() reads from elsewhere may change between two calls."""
    way = []
    model = Own(lambda x: F.relu(x) if way else F.tanh(x))
    for _ in range(3):
        way.clear()
        same_as_new(model, *data(5))
        one = step(model, *data(5))
        way.append(1)
        same_as_new(model, *data(5))
        assert step(model, *data(5))[0] != one[0]


def test_forward_of_a_part_decides_anew():
    """Also where the part is in a network of lanewise's, and by which parameter it multiplies."""
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Parameter(np.full((1, 4, 1, 1), v, np.float32)) for v in (0.5, 2))

        def forward(self, x):
            return x * (self.a if way else self.b)
    way, model = [], nn.Sequential(nn.Conv2d(1, 4, 1), Part(), nn.Flatten(), nn.Linear(64, 3))
    for _ in range(3):
        way.clear()
        same_as_new(model, *data(5))
        assert model[1].a.grad is None and model[1].b.grad is not None
        way.append(1)
        same_as_new(model, *data(5))
        assert model[1].a.grad is not None and model[1].b.grad is None


def test_a_layer_that_changes_under_a_value(model):
    """What a layer did with a value is not what it does once it is another."""
    act, (x, _) = nn.LeakyReLU(0.5), data(5)
    one, two = model.eval()(x), model(x)
    first = act(one).in_lanes()
    act.negative_slope = 0.25
    assert two.node is one.node and not np.array_equal(act(two).in_lanes(), first)


def test_losses_of_other_settings_on_one_value(model):
    """Each has a plan of its own: weights, reductions, kinds."""
    model.eval()
    x, y = data(5)
    for _ in range(2):
        found = []
        for factor, loss_fn in ((1, nn.CrossEntropyLoss()), (3, nn.CrossEntropyLoss()),
                                (1, nn.CrossEntropyLoss(reduction="sum")), (1, nn.MultiMarginLoss()),
                                (1, nn.CrossEntropyLoss(label_smoothing=0.5))):
            model.zero_grad()
            loss = loss_fn(model(x), y) * factor
            loss.backward()
            found.append((loss.item(), layer(model, nn.Conv2d).weight.grad.copy()))
        (one, g), (three, h), (total, k) = found[:3]
        assert three == pytest.approx(3 * one) and total == pytest.approx(5 * one)
        np.testing.assert_allclose(h, 3 * g, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(k, 5 * g, rtol=1e-4, atol=1e-6)
        assert len({v for v, _ in found}) == 5


def test_watchers_see_every_layer(model):
    """summary() in the midst of training; and a layer called again on a value of it."""
    lines = str(summary(model, (1, 4, 4)))
    step(model, *data(5))
    assert str(summary(model, (1, 4, 4))) == lines and "BatchNorm2d" in lines
    same_as_new(model, *data(5))
    act, seen = nn.Sequential(nn.ReLU()), []

    def watch(called, inputs, out):
        seen.append(called)
    for _ in range(2):
        out = model(data(5)[0])
        act(out)
    out = model(data(5)[0])
    lw.nn.module._watchers.append(watch)
    try:
        act(out)
    finally:
        lw.nn.module._watchers.remove(watch)
    assert seen == [act[0], act]


def test_evaluation_at_the_first_call():
    """A loss on a network in evaluation mode runs forward only, whatever constants are in it, at every call."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.PReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    for _ in range(3):
        loss = nn.CrossEntropyLoss()(model(data(5)[0]), data(5)[1])
        loss.item()
        assert not loss._plan.backward


def test_item_before_an_optimizer_moves_the_parameters(model):
    """backward() after it leaves the gradients where the parameters are now."""
    model.eval()
    x, y = data(5)
    expected = step(model, x, y)
    model.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), y)
    assert loss.item() == expected[0]
    opt = optim.SGD(model.parameters(), 0.5)
    loss.backward()
    for p, grad in zip(model.parameters(), expected[1:]):
        assert_array_equal(p.grad, grad)
    before = [p.data.copy() for p in model.parameters()]
    opt.step()
    assert all(not np.array_equal(p.data, old) for p, old in zip(model.parameters(), before) if p.grad.any())


def test_memory_moves_while_a_plan_is_built(monkeypatch):
    """As another thread does that makes an optimizer: the plan is used once, and then one that stays, a run a step."""
    class Late(plan.Plan):
        def __init__(self, *args):
            super().__init__(*args)
            if not made:
                forget_plans()
            made.append(self)
    made, x, y = [], np.random.default_rng(0).random((32, 1, 4, 4)).astype(np.float32), np.arange(32) % 4
    monkeypatch.setattr(plan, "Plan", Late)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 4))
    for _ in range(4):
        net.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.item()
        loss.backward()
    assert [p.runs for p in made] == [1, 4]


def test_arrays_that_the_engine_cannot_take(model):
    """Rows of a batch that are too few, or strided; targets that shrank."""
    images, labels = data(8)
    with pytest.raises(ValueError, match="not C-contiguous"):
        model(lw.data.dataset.Batch(images, np.arange(8)[::2])).in_lanes()
    with pytest.raises(ValueError, match="a batch's index is too short"):
        model(lw.data.dataset.Batch(images, np.arange(4, dtype=np.int32))).in_lanes()
    loss = nn.CrossEntropyLoss()(model(images), labels)
    loss.terms[0] = (*loss.terms[0][:3], (labels[:2],))
    with pytest.raises(ValueError, match="too short"):
        loss.item()
    same_as_new(model, *data(5))
