"""Two hundred networks drawn from everything that PyTorch has too, with PyTorch's weights: outputs, losses, every gradient and
the running statistics in training, outputs in evaluation, against PyTorch in float64."""
import numpy as np
import pytest

import lanewise as lw
from lanewise import nn

torch = pytest.importorskip("torch")

NETWORKS, RELATIVE = 200, 1e-3
ACTIVATIONS = [("ReLU",), ("LeakyReLU", 0.2), ("PReLU",), ("ELU", 0.7), ("GELU",), ("SiLU",), ("Softplus", 1.5), ("Sigmoid",),
               ("Tanh",), ("Identity",), ("Dropout", 0.0)]


def combinators(lib, concat):
    """Modules that join two branches, or compute with a value, for one of the two libraries."""
    class Branches(lib.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a, self.b = a, b

    class Sum(Branches):
        def forward(self, x):
            return self.a(x) + self.b(x)

    class Difference(Branches):
        def forward(self, x):
            return self.a(x) * 0.5 - self.b(x)

    class Product(Branches):
        def forward(self, x):
            return self.a(x) * self.b(x)

    class Concat(Branches):
        def forward(self, x):
            return concat([self.a(x), self.b(x)], 1)

    class Affine(lib.Module):
        def forward(self, x):
            return (1.5 - 2 * x) / 3

    class Root(lib.Module):
        def forward(self, x):
            return (x ** 2 + 1) ** 0.5

    class Centre(lib.Module):
        def forward(self, x):
            return x - x.mean((2, 3), keepdim=True)

    class Halves(lib.Module):
        def forward(self, x):
            return x[:, :, ::2, 1:] + 1

    class Turn(lib.Module):
        def forward(self, x):
            return x.transpose(2, 3)
    return {c.__name__: c for c in (Sum, Difference, Product, Concat, Affine, Root, Centre, Halves, Turn)}


LIBRARIES = {torch.nn: combinators(torch.nn, torch.cat), nn: combinators(nn, lw.concat)}


def build(lib, recipe):
    """A recipe's module: ("Name", arguments..., {keywords}), with recipes as arguments for branches; a list is a Sequential."""
    if isinstance(recipe, list):
        return lib.Sequential(*(build(lib, r) for r in recipe))
    name, *args = recipe
    kw = args.pop() if args and isinstance(args[-1], dict) else {}
    args = [build(lib, a) if isinstance(a, list) else a for a in args]
    return (LIBRARIES[lib].get(name) or getattr(lib, name))(*args, **kw)


def shape_of(recipe, shape):
    """Per-sample shape after a recipe, or None where it does not fit."""
    try:
        with torch.no_grad():
            return tuple(build(torch.nn, recipe).eval()(torch.zeros(2, *shape)).shape[1:])
    except (RuntimeError, ValueError):
        return None


def image_layer(rng, shape):
    """A layer for images (C, H, W)."""
    c, h, w = shape
    pick = lambda *options: options[rng.integers(len(options))]         # noqa: E731
    out = int(rng.integers(1, 20))
    two = lambda low, high: (int(rng.integers(low, high)), int(rng.integers(low, high)))        # noqa: E731
    kind = rng.integers(16)
    if kind < 3:
        return "Conv2d", c, out, pick(1, 3, 5, two(1, 4)), {"stride": pick(1, 1, 2, two(1, 4)), "padding": pick(0, 1, 2, two(0, 3)),
                                                            "dilation": pick(1, 1, 2, two(1, 3)), "bias": bool(rng.integers(2))}
    if kind == 3:
        return "Conv2d", c, out, pick(2, 3, 5), {"padding": "same", "dilation": pick(1, 2)}
    if kind == 4:
        return "Conv2d", c, c, 3, {"groups": c, "stride": pick(1, 2), "padding": pick(0, 1)}
    if kind == 5 and c % 2 == 0:
        return "Conv2d", c, 2 * out, pick(1, 3), {"groups": 2, "padding": 1}
    if kind == 6:
        return "ConvTranspose2d", c, out, pick(2, 3, two(1, 4)), {"stride": pick(1, 2), "padding": pick(0, 1)}
    if kind in (7, 8):
        return "BatchNorm2d", c, {"momentum": pick(0.1, 0.3, None), "affine": bool(rng.integers(4))}
    if kind == 9:
        return "GroupNorm", pick(*[g for g in range(1, c + 1) if c % g == 0]), c
    if kind == 10:
        return "LayerNorm", pick((c, h, w), (h, w), (w,))
    if kind == 11:
        return pick("MaxPool2d", "AvgPool2d"), pick(2, 3, two(1, 4)), {"stride": pick(None, 1, 2), "ceil_mode": bool(rng.integers(2))}
    if kind == 12:
        return "AdaptiveAvgPool2d", pick(1, 2, two(1, 6))
    if kind == 13:
        return pick(("Upsample", None, 2), ("Upsample", two(3, 12), None, "bilinear"), ("Upsample", None, 1.5, "bilinear", True))
    if kind == 14:
        return pick(("Affine",), ("Root",), ("Centre",), ("Halves",), ("Turn",), ("Softmax", 1), ("LogSoftmax", 1), ("Dropout2d", 0.0))
    return pick(*ACTIVATIONS)


def draw(rng, shape, length):
    """(recipe, shape after it) of a chain of image layers, some of them two branches."""
    chain = []
    while len(chain) < length:
        layer = image_layer(rng, shape)
        if length > 2 and rng.random() < 0.2:
            a, b = (draw(rng, shape, 2) for _ in range(2))
            layer = ([r for r in (("Sum", a[0], b[0]), ("Difference", a[0], b[0]), ("Product", a[0], b[0]))][rng.integers(3)]
                     if a[1] == b[1] else ("Concat", a[0], b[0]))
        after = shape_of([layer], shape)
        if after and np.prod(after) <= 3000 and len(after) == 3 and min(after[1:]) > 0:
            chain.append(layer)
            shape = after
    return chain, shape


def head(rng, shape):
    """(recipe, loss, targets(n)) after the images."""
    size, classes = int(np.prod(shape)), int(rng.integers(2, 8))
    chain = [("Flatten",), ("Linear", size, 14, {"bias": bool(rng.integers(2))})]
    if rng.integers(3) == 0:
        chain.append(("BatchNorm1d", 14))
    chain += [ACTIVATIONS[rng.integers(len(ACTIVATIONS))], ("Linear", 14, classes)]
    labels = lambda n: rng.integers(0, classes, n)          # noqa: E731
    numbers = lambda n: rng.random((n, classes))            # noqa: E731
    kind = rng.integers(11)
    if kind < 2:
        return chain, ("CrossEntropyLoss", {"label_smoothing": 0.1 * int(kind)}), labels
    if kind == 2:
        return chain, ("CrossEntropyLoss", {"reduction": "sum"}), lambda n: (lambda p: p / p.sum(1, keepdims=True))(numbers(n))
    if kind == 3:
        return [*chain, ("LogSoftmax", 1)], ("NLLLoss",), labels
    if kind == 4:
        return [*chain, ("Sigmoid",)], ("BCELoss",), numbers
    if kind == 5:
        return [*chain, ("LogSoftmax", 1)], ("KLDivLoss", {"reduction": "batchmean"}), numbers
    if kind == 6:
        return chain, ("MultiMarginLoss",), labels
    return chain, (("BCEWithLogitsLoss",), ("MSELoss",), ("SmoothL1Loss",), ("HuberLoss", {"delta": 0.4}))[kind - 7], numbers


def network(rng):
    """(recipe, loss, PyTorch's module, x, y) of a network that tells samples apart: one whose numbers are all
    rounding, such as a softmax of one channel, has gradients that nobody can compare."""
    while True:
        shape = (int(rng.integers(1, 5)), int(rng.integers(6, 13)), int(rng.integers(6, 13)))
        body, after = draw(rng, shape, int(rng.integers(2, 7)))
        top, loss, targets = head(rng, after)
        n = int(rng.integers(1, 41))
        n = max(n, 6) if "BatchNorm" in repr(body + top) else n         # of fewer, a variance may be next to nothing
        x, theirs = rng.standard_normal((n, *shape)).astype(np.float32), build(torch.nn, body + top)
        theirs.double()
        with torch.no_grad():
            before = {k: v.clone() for k, v in theirs.state_dict().items()}
            apart = theirs(torch.tensor(np.concatenate([x, x[:1] + 1]), dtype=torch.float64)).std(0)
            theirs.load_state_dict(before)
        if (apart > 1e-3).all():
            return body + top, loss, theirs, x, targets(n)


def near(what, mine, theirs, scale=0.0):
    """Within RELATIVE of the largest number, or of `scale` where that is larger."""
    mine, theirs = np.asarray(mine, np.float64), theirs.detach().numpy()
    assert mine.shape == theirs.shape, what
    error, size = np.abs(mine - theirs).max(initial=0), max(np.abs(theirs).max(initial=0), scale, 1e-6)
    assert error <= RELATIVE * size, f"{what}: off by {error:.3g}, of {size:.3g}"


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("seed", range(NETWORKS))
def test_network(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    recipe, (loss_name, *loss_args), theirs, x, y = network(rng)
    mine = build(nn, recipe)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    mine.load_state_dict({k: v.float().numpy() if v.is_floating_point() else v.numpy() for k, v in theirs.state_dict().items()})
    settings = loss_args[0] if loss_args else {}
    leaf, tensor = lw.tensor(x, requires_grad=True), torch.tensor(x, dtype=torch.float64, requires_grad=True)
    out, expected = mine(leaf), theirs(tensor)
    loss = getattr(nn, loss_name)(**settings)(out, y if y.dtype.kind == "i" else y.astype(np.float32))
    value = getattr(torch.nn, loss_name)(**settings)(expected, torch.tensor(y))
    loss.backward()
    value.backward()
    near("loss", loss.item(), value)
    near("output", out.numpy(), expected)
    grads = [p.grad for p in theirs.parameters()]
    most = max(float(g.abs().max()) for g in (tensor.grad, *grads))
    near("input gradient", leaf.grad, tensor.grad, 0.1 * most)
    for (name, p), g in zip(mine.named_parameters(), grads):
        near(f"gradient of {name}", p.grad, g, 0.1 * most)
    for name, b in theirs.state_dict().items():
        if "running" in name or "tracked" in name:
            near(name, mine.state_dict()[name], b, 0.05)
    near("output in eval()", mine.eval()(x).numpy(), theirs.eval()(tensor))
