"""A few samples in evaluation mode: their pass gives what the operations mean, and what the engine gives."""
import threading

import numpy as np
import pytest
import reference as ref
from cases import CASES
from numpy.testing import assert_allclose, assert_array_equal
from test_ops import build, tolerance

import lanewise as lw
from lanewise import _isa, models, nn, small

FORWARD = small.forward
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
# what cases of these names are made of has a pass
TAKEN = ("Conv2d", "AdaptiveAvgPool2d", "MaxPool2d", "AvgPool2d", "Linear", "ReLU", "Softmax", "Identity", "Flatten",
         "a + b images", "a + a", "reshape", "concat")


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
            b.data = rng.standard_normal(b.shape) * 0.3 if name.endswith("mean") else rng.uniform(0.5, 1.5, b.shape)
    return model.eval()


def both(model, x, monkeypatch):
    """(by its own pass, by the engine), and whether there was a pass."""
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(small, "forward", lambda *a: asked.append(FORWARD(*a)) or asked[-1])
        ours = model(x).numpy()
        patch.setattr(small, "forward", lambda *a: None)
        return ours, model(x).numpy(), bool(asked) and asked[-1] is not None


@pytest.mark.parametrize("make", [Everything, models.cifar_cnn, models.resnet20, models.mobilenet], ids=lambda m: m.__name__)
def test_equals_the_engine(make, isa, dtype, monkeypatch, rng):
    """Up to a quarter of the lanes by a pass, more in lanes."""
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


@pytest.fixture
def any_batch(monkeypatch):
    """A pass also where a sample is more than a quarter of the lanes."""
    monkeypatch.setattr(small, "PART", 1)


def few(dtype):
    """The numbers of samples that are tried."""
    return range(1, max(2, _isa.engine(dtype.name).lanes // 4) + 1)


def passed(model, *arrays):
    """The numbers by a pass, None where there is none."""
    out = model.eval()(*arrays)
    return FORWARD(out.node, out.feeds, out.n)


@EVERY
def test_every_operation(case, isa, dtype, any_batch, rng):
    """Against the reference, for each number of samples; all operations that FORMS names are taken."""
    model = build(case, dtype, rng)
    for n in few(dtype):
        arrays = [rng.standard_normal((n, *s)).astype(dtype) for s in case.shapes]
        expected = case.reference(*(a.astype(np.float64) for a in (*arrays, *(p.data for p in model.parameters()))))
        out = passed(model, *arrays)
        assert out is not None or not case.name.startswith(TAKEN)
        if out is not None:
            assert out.shape == expected.shape and out.dtype == dtype
            assert_allclose(out, expected, rtol=0, atol=tolerance(dtype, case.reduction) * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("case", [c for c in CASES if c.integers], ids=lambda c: c.name)
def test_exact_on_integers(case, isa, dtype, any_batch, rng, direct):
    """Sums and products of small integers have no rounding error."""
    model = build(case, dtype, rng, integers=True)
    for n in few(dtype):
        arrays = [rng.integers(-3, 4, (n, *s)).astype(dtype) for s in case.shapes]
        out = passed(model, *arrays)
        if out is not None:
            assert_array_equal(out, case.reference(*(a.astype(np.float64) for a in arrays),
                                                   *(p.data.astype(np.float64) for p in model.parameters())))


# channels, outputs, kernel, (H, W), more: images as wide as vectors and one more or less, by rows and flat, each way of staging
CONVOLUTIONS = [(3, 7, 3, (5, 16), {"padding": 1}), (3, 13, 3, (5, 17), {"padding": 1}), (2, 25, 3, (4, 15), {"padding": 1}),
                (1, 6, 5, (12, 32), {"padding": 2}), (4, 5, 1, (3, 33), {}), (4, 9, 1, (8, 16), {}), (2, 2, 3, (9, 40), {}),
                (6, 4, 3, (9, 35), {"stride": 2, "padding": 1}), (5, 8, 1, (7, 32), {"stride": 2}),
                (2, 3, (5, 2), (16, 18), {"stride": (3, 4), "padding": (2, 1)}), (3, 10, 2, (11, 13), {"stride": 3}),
                (4, 8, 3, (10, 34), {"stride": 2, "dilation": 3, "padding": 3}), (8, 24, (3, 1), (6, 8), {"groups": 2}),
                (9, 9, 5, (20, 21), {"groups": 9, "padding": 2}), (6, 18, 3, (8, 48), {"groups": 6, "stride": 2, "padding": 1}),
                (2, 31, 4, (6, 6), {"padding": "same"}), (1, 1, 3, (1, 1), {"padding": 1}), (2, 3, 3, (2, 3), {"padding": 9})]


@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolutions(shape, isa, dtype, any_batch, rng, direct):
    """Exact on integers, with and without what may follow the sums."""
    c, o, kernel, size, more = shape
    layer = nn.Conv2d(c, o, kernel, **more)
    pairs = {k: v if k == "groups" or isinstance(v, tuple) else (v, v) for k, v in more.items() if v != "same"}
    if more.get("padding") == "same":
        pairs["padding"] = (1, 1, 2, 2)
    models_ = [layer, nn.Sequential(layer, nn.ReLU()), nn.Sequential(layer, nn.ReLU(), nn.MaxPool2d(1))]
    for p in layer.parameters():
        p.data = rng.integers(-3, 4, p.shape)
    for model in models_:
        if dtype == np.float64:
            model.double()
        for n in few(dtype):
            x = rng.integers(-3, 4, (n, c, *size)).astype(dtype)
            expected = ref.conv2d(x, *(p.data for p in layer.parameters()), **pairs)
            assert_array_equal(passed(model, x), expected if model is layer else ref.relu(expected))


# by Winograd's points: channels, outputs, (KH, KW), (H, W), more
POINTS = [(8, 8, (3, 3), (16, 16), {"padding": 1}), (9, 13, (3, 3), (7, 22), {}),
          (16, 6, (3, 3), (33, 12), {"padding": (0, 1)}), (8, 7, (2, 3), (17, 20), {"padding": (3, 1)}),
          (12, 9, (3, 3), (20, 12), {"padding": 3, "dilation": (2, 1)}), (8, 4, (1, 3), (32, 14), {})]


@pytest.mark.parametrize("shape", POINTS, ids=str)
def test_points(shape, isa, dtype, any_batch, rng):
    """Against the reference, in both number types to a few units of the largest sum's rounding."""
    c, o, kernel, size, more = shape
    layer = nn.Conv2d(c, o, kernel, **more)
    if dtype == np.float64:
        layer.double()
    x = rng.standard_normal((max(few(dtype)), c, *size)).astype(dtype)
    node = layer.eval()(x).node
    assert small._by_points(node.op, node.shape, _isa.engine(dtype.name).lanes)
    pairs = {k: v if isinstance(v, tuple) else (v, v) for k, v in more.items()}
    expected = ref.conv2d(x.astype(np.float64), *(p.data.astype(np.float64) for p in layer.parameters()), **pairs)
    assert_allclose(passed(layer, x), expected, rtol=0, atol=tolerance(dtype, c * 9) * np.abs(expected).max())


class Normalised(nn.Module):
    """Batch normalisation after a convolution, with a sum and without, alone, and where something else reads it."""

    def __init__(self, way):
        super().__init__()
        self.way, self.conv, self.other = way, nn.Conv2d(3, 5, 3, padding=1, bias=way != "sum"), nn.Conv2d(3, 5, 1)
        self.norm = nn.BatchNorm2d(3 if way == "alone" else 5, affine=way != "plain")

    def forward(self, x):
        """As `way` says."""
        if self.way == "alone":
            return nn.functional.relu(self.norm(x) + x)
        y = self.conv(x)
        if self.way == "read":
            return lw.concat([self.norm(y), y])
        y = self.norm(y)
        return y if self.way == "plain" else nn.functional.relu(y if self.way == "relu" else self.other(x) + y)


@pytest.mark.parametrize("way", ["plain", "relu", "sum", "alone", "read"])
def test_batch_norm(way, isa, dtype, any_batch, rng):
    """By running statistics: y = (x - mean) / sqrt(var + eps) w + b."""
    model = trained(Normalised(way), rng)
    if dtype == np.float64:
        model.double()

    def norm(y):
        own = model.norm.weight, model.norm.bias
        w, b = (1.0, 0.0) if own[0] is None else (p.data[:, None, None] for p in own)
        mean, var = (b.data[:, None, None].astype(np.float64) for b in (model.norm.running_mean, model.norm.running_var))
        return (y - mean) / np.sqrt(var + model.norm.eps) * w + b
    for n in few(dtype):
        x = rng.standard_normal((n, 3, 6, 9)).astype(dtype)
        y = ref.conv2d(x, model.conv.weight.data, None if model.conv.bias is None else model.conv.bias.data, padding=(1, 1))
        expected = {"plain": lambda: norm(y), "relu": lambda: ref.relu(norm(y)), "alone": lambda: ref.relu(norm(x) + x),
                    "sum": lambda: ref.relu(norm(y) + ref.conv2d(x, model.other.weight.data, model.other.bias.data)),
                    "read": lambda: np.concatenate([norm(y), y], 1)}[way]()
        assert_allclose(passed(model, x), expected, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(expected).max())


def test_products_and_sequences(isa, dtype, any_batch, rng):
    """x W of weights (I, O), dense layers on every row of (N, T, I), and a batch normalisation of features."""
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.dense, self.norm = nn.Parameter(rng.standard_normal((7, 19))), nn.Linear(19, 18), nn.BatchNorm1d(54)

        def forward(self, x):
            """(N, 3, 7) -> (N, 54)."""
            return self.norm(self.dense(nn.functional.relu(x @ self.w)).flatten(1))
    model = trained(Rows(), rng)
    model.double() if dtype == np.float64 else model.float()
    for n in few(dtype):
        x = rng.standard_normal((n, 3, 7)).astype(dtype)
        y = ref.linear(ref.relu(x.astype(np.float64) @ model.w.data), *(p.data for p in (model.dense.weight, model.dense.bias)))
        norm, y = model.norm, y.reshape(n, 54)
        expected = (y - norm.running_mean.data) / np.sqrt(norm.running_var.data + norm.eps) * norm.weight.data + norm.bias.data
        assert_allclose(passed(model, x), expected, rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(expected).max())


def test_not_a_number(isa, dtype, any_batch, rng, direct, monkeypatch):
    """NaN and infinity pass through convolution, ReLU and max-pool to where the engine has them."""
    model = trained(nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 3),
                                  nn.BatchNorm2d(9), nn.ReLU(), nn.MaxPool2d(3, 2)), rng)
    if dtype == np.float64:
        model.double()
    x = rng.standard_normal((1, 2, 24, 20)).astype(dtype)
    x[0, 0, 3, 5], x[0, 1, 17, 18] = np.nan, np.inf
    ours, engine, asked = both(model, x, monkeypatch)
    assert asked and 0 < np.isnan(ours).sum() < ours.size
    assert_array_equal(np.isnan(ours), np.isnan(engine))
    assert_allclose(ours, engine, rtol=1e-4, atol=1e-5)


def test_vectors_of_bytes(monkeypatch, rng):
    """uint8 features, and more than a vector of them."""
    x = rng.integers(0, 256, (1, 35), np.uint8)
    ours, engine, asked = both(nn.Sequential(nn.Linear(35, 3)).eval(), x, monkeypatch)
    assert asked
    assert_allclose(ours, engine, rtol=1e-5, atol=1e-6)


def test_against_torch(any_batch, rng):
    """A ResNet's and a LeNet's scores of 1 to 4 images, with the same weights and statistics."""
    torch = pytest.importorskip("torch")

    def network(lib):
        return lib.Sequential(lib.Conv2d(3, 16, 3, padding=1, bias=False), lib.BatchNorm2d(16), lib.ReLU(), lib.MaxPool2d(2),
                              lib.Conv2d(16, 24, 5, stride=2, padding=2), lib.ReLU(),
                              lib.Conv2d(24, 24, 3, groups=24, padding=1), lib.Tanh(), lib.AvgPool2d(2), lib.Flatten(),
                              lib.Linear(384, 40), lib.Sigmoid(), lib.Linear(40, 10), lib.LogSoftmax(1))
    mine, theirs = trained(network(nn), rng), network(torch.nn).eval()
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in mine.state_dict().items()})
    for n in few(np.dtype("float32")):
        x = rng.standard_normal((n, 3, 32, 32)).astype(np.float32)
        with torch.inference_mode():
            expected = theirs(torch.from_numpy(x)).numpy()
        assert_allclose(passed(mine, x), expected, rtol=1e-4, atol=1e-5)


def test_calls_at_once(rng):
    """Threads that call one model at the same time get the scores of their own images."""
    model = trained(models.lenet5(), rng)
    images = rng.standard_normal((4, 1, 1, 28, 28)).astype(np.float32)
    expected, wrong = [model(x).numpy() for x in images], []

    def call(x, y):
        for _ in range(200):
            if not np.array_equal(model(x).numpy(), y):
                wrong.append(1)
    callers = [threading.Thread(target=call, args=pair) for pair in zip(images, expected)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert not wrong


@pytest.mark.parametrize("make", [Everything, models.resnet20], ids=lambda m: m.__name__)
def test_threads(make, isa, dtype, any_batch, monkeypatch, rng):
    """Scores of two and three threads are those of one, to the last bit, however small the tasks."""
    monkeypatch.setattr(small, "SHARED", 0)
    model, x = trained(make(), rng), rng.standard_normal((2, 3, 32, 32)).astype(dtype)
    if dtype == np.float64:
        model.double()
    scores = []
    for n in (1, 2, 3):
        lw.set_num_threads(n)
        scores.append(passed(model, x))
    assert_array_equal(scores[1], scores[0])
    assert_array_equal(scores[2], scores[0])


def test_samples_do_not_touch(isa, dtype, any_batch, rng):
    """A sample's scores are the same to the last bit, whoever is beside it."""
    model = trained(Everything(), rng)
    if dtype == np.float64:
        model.double()
    x = rng.standard_normal((max(few(dtype)), 3, 32, 32)).astype(dtype)
    assert_array_equal(passed(model, x), np.concatenate([passed(model, x[i:i + 1]) for i in range(len(x))]))


def test_in_lanes(isa, rng):
    """By the engine a sample's scores are the same to the last bit in a batch of any size."""
    model, x = trained(models.cifar_cnn(), rng), rng.standard_normal((9, 3, 32, 32)).astype(np.float32)
    scores = model(x).in_lanes()
    for n in (1, 3):
        assert_array_equal(model(x[:n]).in_lanes(), scores[:n])


def test_one_pass_for_a_graph(monkeypatch, rng):
    """A module whose forward() is called anew each time keeps its pass."""
    made = []
    monkeypatch.setattr(small, "Small", lambda *a, kind=small.Small: made.append(a) or kind(*a))
    model, x = trained(Everything(), rng), rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    assert_array_equal(model(x).numpy(), model(x).numpy())
    assert len(made) == 1


def test_who_is_left_to_the_engine(monkeypatch, rng):
    """Training, operations without a form, statistics of the batch, more inputs than a pass has."""
    x = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    assert not both(models.cifar_cnn(), x, monkeypatch)[2]
    assert not both(nn.Sequential(models.cifar_cnn(), nn.GELU()).eval(), x, monkeypatch)[2]
    own = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.BatchNorm2d(32, track_running_stats=False)).eval()
    assert not both(own, x, monkeypatch)[2]

    class Joined(nn.Module):
        def forward(self, *x):
            return lw.concat(x)
    most = _isa.kernels("arrays", "float32").pass_inputs
    assert_array_equal(passed(Joined(), *[x] * most), np.concatenate([x] * most, 1))
    assert passed(Joined(), *[x] * (most + 1)) is None


def test_follows_the_parameters(monkeypatch, rng):
    """New numbers, another number type, and weights that an optimizer has moved are seen at once."""
    model, x = trained(models.cifar_cnn(), rng), rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    first, state = model(x).numpy(), model.state_dict()
    optimizer = lw.optim.SGD(model.parameters(), 0.1)
    assert_array_equal(model(x).numpy(), first)
    model.train()
    nn.CrossEntropyLoss()(model(x), np.array([3])).backward()
    optimizer.step()
    model.eval()
    ours, engine, _ = both(model, x, monkeypatch)
    assert np.abs(ours - first).max() > 1e-4
    assert_allclose(ours, engine, rtol=1e-4, atol=1e-5)
    for change in (lambda p: setattr(p, "data", p.data * 1.5), lambda p: p.data.__setitem__(..., p.data + 0.1)):
        before = model(x).numpy()
        change(next(model.parameters()))
        assert np.abs(model(x).numpy() - before).max() > 1e-4
    model.load_state_dict(state)
    assert_array_equal(model(x).numpy(), first)
    with pytest.raises(lw.DtypeError, match="expected one number type"):
        model(x.astype(np.float64)).numpy()


def test_follows_the_statistics(rng):
    """Running statistics that training moves are those of the next scores."""
    model, x = trained(models.resnet8(), rng), rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    before = model(x).numpy()
    model.train()
    model(np.concatenate([x, x + 1])).numpy()
    model.eval()
    after = model(x).numpy()
    assert np.abs(after - before).max() > 1e-4
    out = model(x)
    assert_array_equal(after, FORWARD(out.node, out.feeds, 1))
