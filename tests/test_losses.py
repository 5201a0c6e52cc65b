"""Every loss: values and gradients against float64 references, differences and PyTorch, on every build; errors; identities."""
import numpy as np
import pytest
from loss_table import ENTRIES, softmax
from numpy.testing import assert_allclose, assert_array_equal
from test_ops import batch_sizes

import lanewise as lw
from lanewise import nn, optim
from lanewise.graph import as_value

EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=str)
F64 = np.dtype(np.float64)


def drawn(entry, rng, n, dtype):
    """(x, target) of an entry in a number type: labels stay integers."""
    x, t = entry.inputs(rng, rng.standard_normal((n, *entry.shape)))
    return x.astype(dtype), t.astype(dtype) if t.dtype.kind == "f" else t


def expected(entry, x, t, reduction, sample_weight=None):
    """The reference's loss, in float64; sample_weight w (N,): of losses w L, and of divisors w times the sample's own."""
    x, t = x.astype(np.float64), t.astype(np.float64) if t.dtype.kind == "f" else t
    losses, by = entry.reference(x, t, **entry.settings)
    if sample_weight is not None:
        losses = losses * sample_weight.reshape(-1, *(1,) * (losses.ndim - 1))
        by = sum(w * entry.reference(x[i:i + 1], t[i:i + 1], **entry.settings)[1] for i, w in enumerate(sample_weight))
    samples = len(x) if sample_weight is None else sample_weight.sum()
    return losses if reduction == "none" else losses.sum() / {"sum": 1, "mean": by, "batchmean": samples}[reduction]


def run(entry, x, t, reduction="mean", sample_weight=None, scale=1.0):
    """(loss, gradient) of scale times the loss."""
    leaf = lw.tensor(x, requires_grad=True)
    loss = scale * getattr(nn, entry.loss)(reduction=reduction, **entry.settings)(leaf, t, sample_weight)
    loss.backward()
    return loss, leaf.grad


@EVERY
def test_values(entry, isa, dtype, rng):
    """Mean, sum and each, with and without weights of the samples."""
    loss_of, near = getattr(nn, entry.loss), 60 * float(np.finfo(dtype).eps)
    for n in batch_sizes(dtype):
        x, t = drawn(entry, rng, n, dtype)
        for w in (None, rng.random(n) + 0.1):
            for reduction in loss_of.reductions:
                loss = loss_of(reduction=reduction, **entry.settings)(as_value(x), t, w)
                reference = expected(entry, x, t, reduction, w)
                if reduction == "none":
                    assert loss.shape == reference.shape and loss.numpy().dtype == dtype
                    assert_allclose(loss.numpy(), reference, rtol=0, atol=near * max(1, reference.max()))
                else:
                    assert loss.item() == pytest.approx(reference, rel=near, abs=near)


@EVERY
def test_gradients_match_differences_of_the_reference(entry, isa, rng):
    """Along random directions, in float64, with weights of the samples and without."""
    for n in batch_sizes(F64):
        x, t = drawn(entry, rng, n, F64)
        for reduction, w in (("mean", None), ("sum", None), ("mean", rng.random(n) + 0.1), ("sum", rng.random(n))):
            _, grad = run(entry, x, t, reduction, w, 0.5)
            for _ in range(2):
                d = rng.standard_normal(x.shape)
                sides = [expected(entry, x + step * d, t, reduction, w) for step in (1e-6, -1e-6)]
                assert (grad * d).sum() == pytest.approx(0.5 * (sides[0] - sides[1]) / 2e-6, rel=2e-6, abs=1e-7)


@EVERY
def test_float32_gradients_match_float64(entry, isa, rng):
    for n in batch_sizes(np.dtype(np.float32)):
        x, t = drawn(entry, rng, n, np.float32)
        for reduction in ("mean", "sum"):
            _, grad = run(entry, x, t, reduction)
            _, exact = run(entry, x.astype(F64), t.astype(F64) if t.dtype.kind == "f" else t, reduction)
            assert grad.dtype == np.float32
            assert_allclose(grad, exact, rtol=0, atol=60 * np.finfo(np.float32).eps * max(np.abs(exact).max(), 1e-3))


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.integers], ids=str)
def test_exact_on_integers(entry, isa, dtype, rng):
    """Sums of integers have no rounding: values equal the reference to the last bit, gradients the float64 build's."""
    for n in batch_sizes(dtype):
        x, t = entry.integers(rng, (n, *entry.shape))
        hot = t if t.shape != x.shape else t.astype(dtype)
        loss, grad = run(entry, x.astype(dtype), hot, "sum")
        reference = entry.reference(x.astype(F64), t.astype(F64) if t.shape == x.shape else t, **entry.settings)[0].sum()
        assert loss.item() == reference
        assert_array_equal(grad, run(entry, x.astype(F64), t.astype(F64) if t.shape == x.shape else t, "sum")[1])


@pytest.mark.filterwarnings("ignore:reduction")         # PyTorch's advice on KLDivLoss
@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.torch], ids=str)
def test_pytorch(entry, isa, rng):
    """Values and gradients, every reduction, float32."""
    torch = pytest.importorskip("torch")
    settings = {k: v if np.isscalar(v) else torch.from_numpy(v.astype(np.float32)) for k, v in entry.settings.items()}
    for n in (1, 15, 16, 17):
        x, t = drawn(entry, rng, n, np.float32)
        for reduction in getattr(nn, entry.loss).reductions:
            theirs = torch.tensor(x, requires_grad=True)
            value = getattr(torch.nn, entry.loss)(reduction=reduction, **settings)(theirs, torch.from_numpy(t))
            if reduction == "none":
                mine = getattr(nn, entry.loss)(reduction=reduction, **entry.settings)(x, t).numpy()
                assert_allclose(mine, value.detach().numpy(), rtol=1e-5, atol=1e-5)
                continue
            value.backward()
            loss, grad = run(entry, x, t, reduction)
            assert loss.item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6)
            assert_allclose(grad, theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_every_loss_is_in_the_table():
    public = {name for name in nn.__all__ if name.endswith("Loss")} - {"GramLoss", "TotalVariationLoss"}    # of arithmetic
    assert public == {e.loss for e in ENTRIES}
    assert len(ENTRIES) == len({str(e) + e.inputs.__name__ for e in ENTRIES})


EXTREMES = {
    "CrossEntropyLoss": ([[1000, -1000, 0], [-1000, -1000, -1000], [1000, 1000, 1000]], [1, 2, 0]),
    "BCEWithLogitsLoss": ([[1000, -1000, 1000], [-1000, 0, 1e-30]], [[0.0, 1, 1], [0, 0.5, 1]]),
    "BCELoss": ([[0.0, 1, 0], [1, 1e-30, 1e-8]], [[0.0, 1, 1], [0, 1, 0]]),
    "HuberLoss": ([[1e30, -1e30]], [[0.0, 0]]), "SmoothL1Loss": ([[1e30, -1e30]], [[0.0, 0]]),
    "KLDivLoss": ([[-1000.0, 0]], [[0.0, 1]]),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_inputs(name, isa, dtype):
    """Logits of a thousand, probabilities of 0 and 1: finite, and what PyTorch has."""
    torch = pytest.importorskip("torch")
    x, t = EXTREMES[name]
    x, t = np.array(x, dtype), np.array(t, dtype if name != "CrossEntropyLoss" else np.int64)
    theirs = torch.tensor(x, requires_grad=True)
    value = getattr(torch.nn, name)(reduction="sum")(theirs, torch.from_numpy(t))
    value.backward()
    leaf = lw.tensor(x, requires_grad=True)
    loss = getattr(nn, name)(reduction="sum")(leaf, t)
    loss.backward()
    assert np.isfinite(loss.item()) and loss.item() == pytest.approx(value.item(), rel=1e-6)
    assert_allclose(leaf.grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_small_losses_keep_their_digits(isa, dtype):
    """log(1 + e) around 0 is not 0: the loss of a sure and right answer still has a relative error of a few roundings."""
    sure = np.array([[20.0]] if dtype == np.float32 else [[50.0]], dtype)
    assert nn.BCEWithLogitsLoss()(sure, np.ones((1, 1), dtype)).item() == pytest.approx(np.exp(-float(sure[0, 0])), rel=1e-5)
    p = np.array([[1e-9]] if dtype == np.float32 else [[1e-17]], dtype)
    assert nn.BCELoss()(p, np.zeros((1, 1), dtype)).item() == pytest.approx(float(p[0, 0]), rel=1e-5)


def test_gradients_at_kinks(isa):
    """L1 0 where equal; hinges 0 where the margin is just met."""
    leaf = lw.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    nn.L1Loss()(leaf, np.ones((1, 2), np.float32)).backward()
    assert_array_equal(leaf.grad, 0)
    leaf = lw.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    nn.HingeLoss()(leaf, np.ones((1, 2), np.float32)).backward()
    assert_array_equal(leaf.grad, 0)
    leaf = lw.tensor(np.array([[1, 0]], np.float32), requires_grad=True)
    nn.MultiMarginLoss()(leaf, np.array([0])).backward()
    assert_array_equal(leaf.grad, 0)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "MSELoss", "HuberLoss", "BCEWithLogitsLoss", "HingeLoss", "L1Loss"])
def test_nan_is_not_hidden(name, isa, rng):
    """A NaN among the inputs is a NaN of the loss, and backward() says so."""
    x = rng.standard_normal((3, 4)).astype(np.float32)
    x[1, 2] = np.nan
    t = np.array([0, 1, 2]) if name == "CrossEntropyLoss" else np.ones((3, 4), np.float32)
    loss = getattr(nn, name)()(lw.tensor(x, requires_grad=True), t)
    assert np.isnan(loss.item())
    with pytest.raises(lw.NonFiniteError):
        loss.backward()


def test_inputs_outside_probabilities_are_nan(isa, dtype):
    for p in (-0.1, 1.1):
        assert np.isnan(nn.BCELoss()(np.array([[p]], dtype), np.array([[0.5]], dtype)).item())


# -- identities ------------------------------------------------------------------------------------------------------


def test_gradient_of_cross_entropy_is_p_minus_y(isa, rng):
    x, y = rng.standard_normal((9, 5)), rng.integers(0, 5, 9)
    leaf = lw.tensor(x, requires_grad=True)
    nn.CrossEntropyLoss(reduction="sum")(leaf, y).backward()
    assert_allclose(leaf.grad, softmax(x) - np.eye(5)[y], atol=1e-14)


def test_gradient_of_binary_cross_entropy_is_p_minus_y(isa, rng):
    """With respect to the logit; the two-class softmax of (0, z) is the same loss."""
    z, y = rng.standard_normal((9, 1)), rng.integers(0, 2, (9, 1))
    leaf = lw.tensor(z, requires_grad=True)
    loss = nn.BCEWithLogitsLoss(reduction="sum")(leaf, y.astype(float))
    loss.backward()
    assert_allclose(leaf.grad, 1 / (1 + np.exp(-z)) - y, atol=1e-14)
    both = nn.CrossEntropyLoss(reduction="sum")(np.concatenate([0 * z, z], 1), y[:, 0])
    assert loss.item() == pytest.approx(both.item(), rel=1e-14)


def test_binary_cross_entropy_is_the_log_likelihood(rng):
    """-log prod p^y (1 - p)^(1 - y)."""
    p, y = rng.uniform(0.1, 0.9, (9, 1)), rng.integers(0, 2, (9, 1)).astype(float)
    likelihood = np.prod(p ** y * (1 - p) ** (1 - y))
    assert nn.BCELoss(reduction="sum")(p, y).item() == pytest.approx(-np.log(likelihood), rel=1e-13)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_initial_loss_is_log_of_classes(classes):
    assert nn.CrossEntropyLoss()(np.zeros((5, classes)), np.zeros(5, int)).item() == pytest.approx(np.log(classes), rel=1e-14)


def test_hinge_with_many_classes(rng):
    """sum_(c != y) max(0, s_c - s_y + 1) is C times MultiMarginLoss; with two classes and s = (-z, z) / 2 it is the hinge."""
    s, y = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    by_hand = sum(max(0, s[n, c] - s[n, y[n]] + 1) for n in range(6) for c in range(4) if c != y[n])
    assert 4 * nn.MultiMarginLoss(reduction="sum")(s, y).item() == pytest.approx(by_hand, rel=1e-13)
    z = s[:, :1]
    two = 2 * nn.MultiMarginLoss(reduction="sum")(np.concatenate([-z, z], 1) / 2, y % 2)
    assert two.item() == pytest.approx(nn.HingeLoss(reduction="sum")(z, 2.0 * (y % 2)[:, None] - 1).item(), rel=1e-13)


def test_kl_divergence_is_cross_entropy_less_entropy(rng):
    x, t = rng.standard_normal((2, 6, 5))
    t = softmax(t)
    log_p = np.log(softmax(x))
    divergence = nn.KLDivLoss(reduction="batchmean")(log_p, t).item()
    assert divergence == pytest.approx(nn.CrossEntropyLoss()(x, t).item() + (t * np.log(t)).sum() / 6, rel=1e-12)


def test_nll_of_log_softmax_is_cross_entropy(rng):
    x, y = rng.standard_normal((7, 4, 3, 2)), rng.integers(0, 4, (7, 3, 2))
    assert nn.NLLLoss()(np.log(softmax(x)), y).item() == pytest.approx(nn.CrossEntropyLoss()(x, y).item(), rel=1e-13)


def test_weights_are_repetition(isa, rng):
    """A sample of weight 3 is three samples; of weight 0, none."""
    x, y, w = rng.standard_normal((9, 5)), rng.integers(0, 5, 9), np.array([3, 0, 1, 2, 1, 0, 1, 1, 2])
    for loss, t in ((nn.CrossEntropyLoss(), y), (nn.CrossEntropyLoss(label_smoothing=0.1), y), (nn.MSELoss(), x[::-1]),
                    (nn.CrossEntropyLoss(), softmax(x[::-1]))):
        weighted = loss(x, t, sample_weight=w).item()
        assert weighted == pytest.approx(loss(np.repeat(x, w, 0), np.repeat(t, w, 0)).item(), rel=1e-13)


# -- in networks ------------------------------------------------------------------------------------------------------


class Segmenter(nn.Module):
    """Scores of every pixel, and an image made of them by a padded convolution: the scores have a border in the arena."""

    def __init__(self):
        super().__init__()
        self.scores, self.image = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x):
        s = self.scores(x)
        return s, self.image(s)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40])
def test_sums_of_losses_in_a_network(isa, n, rng, direct):
    """Four losses with targets of four kinds on two outputs: value and gradients against PyTorch, hits of the first."""
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores, self.image = torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, x):
            s = self.scores(x)
            return s, self.image(s)
    torch.manual_seed(0)
    mine, theirs = Segmenter(), Theirs()
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, y = rng.standard_normal((n, 2, 6, 5)).astype(np.float32), rng.integers(0, 3, (n, 6, 5))
    y[0, 0] = -100
    t = softmax(rng.standard_normal((n, 3, 6, 5))).astype(np.float32)
    image, pixels = rng.standard_normal((n, 1, 6, 5)).astype(np.float32), rng.random((n, 1, 6, 5)).astype(np.float32)

    def total(lib, out, wrap):
        s, z = out
        return (lib.CrossEntropyLoss(weight=wrap(np.array([1, 2, 0.5], np.float32)))(s, wrap(y))
                + 0.5 * lib.CrossEntropyLoss(reduction="sum")(s, wrap(t))
                + 2 * lib.SmoothL1Loss(beta=0.5)(z, wrap(image)) + lib.BCEWithLogitsLoss()(z, wrap(pixels)))
    out = mine(x)
    loss = total(nn, out, lambda a: a)
    loss.backward()
    other = theirs(torch.from_numpy(x))
    value = total(torch.nn, other, torch.from_numpy)
    value.backward()
    assert loss.item() == pytest.approx(value.item(), rel=2e-5)
    for p, q in zip(mine.parameters(), theirs.parameters()):
        assert_allclose(p.grad, q.grad.numpy(), rtol=0, atol=2e-5 * max(1, np.abs(q.grad.numpy()).max()))
    assert loss.correct == (out[0].numpy().argmax(1) == y).sum() and loss.counted == (y >= 0).sum()


def test_hits(isa, dtype, rng):
    """Labels, probabilities (by argmax, the first of equals), ignored labels, other losses over classes."""
    for n in batch_sizes(dtype):
        x = rng.integers(-2, 3, (n, 4)).astype(dtype)           # with ties
        y = rng.integers(0, 4, n)
        y[0] = 3
        for loss in (nn.CrossEntropyLoss(), nn.NLLLoss(), nn.MultiMarginLoss(), nn.CrossEntropyLoss([1, 2, 3, 4.0])):
            handle = loss(as_value(x), y)
            assert (handle.correct, handle.counted) == ((x.argmax(1) == y).sum(), n)
        t = rng.integers(0, 3, (n, 4)).astype(dtype) / 4
        assert nn.CrossEntropyLoss()(as_value(x), t).correct == (x.argmax(1) == t.argmax(1)).sum()
        handle = nn.CrossEntropyLoss(ignore_index=0)(as_value(x), y)
        assert (handle.correct, handle.counted) == (((x.argmax(1) == y) & (y > 0)).sum(), (y > 0).sum())
    with pytest.raises(ValueError, match="correct: expected a loss over classes"):
        nn.MSELoss()(as_value(x), x).correct


def test_ignored_pixels_give_no_gradient(isa, rng):
    x, y = rng.standard_normal((17, 3, 4, 5)).astype(np.float32), rng.integers(0, 3, (17, 4, 5))
    y[:, 1] = 255
    leaf = lw.tensor(x, requires_grad=True)
    nn.CrossEntropyLoss(ignore_index=255)(leaf, y).backward()
    assert_array_equal(leaf.grad[:, :, 1], 0)
    rest = lw.tensor(np.delete(x, 1, 2), requires_grad=True)
    nn.CrossEntropyLoss()(rest, np.delete(y, 1, 1)).backward()
    assert_allclose(np.delete(leaf.grad, 1, 2), rest.grad, atol=1e-8)


def test_gradcheck_of_a_network(isa, rng):
    """lw.checks finds nothing wrong with weighted losses behind layers."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 1))
    x, y = rng.standard_normal((18, 1, 4, 4)), rng.integers(0, 4, (18, 4, 4))
    for loss in (nn.CrossEntropyLoss([1, 2, 3, 4.0], 2, label_smoothing=0.1), nn.MultiMarginLoss(2)):
        assert lw.checks.gradcheck(model, loss, x, y) < 1e-4


def test_threads_change_no_bit(rng):
    x, y, w = rng.standard_normal((100, 3, 5, 5)), rng.integers(0, 3, (100, 5, 5)), rng.random(100)
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)).double()
    results = []
    for threads in (1, 2, 3):
        lw.set_num_threads(threads)
        model.zero_grad()
        loss = nn.CrossEntropyLoss([1, 2, 3.0])(model(x), y, w)
        loss.backward()
        results.append((loss.item(), [p.grad.copy() for p in model.parameters()]))
    for value, grads in results[1:]:
        assert value == results[0][0] and all((a == b).all() for a, b in zip(grads, results[0][1]))


def test_plain_and_weighted_batches_take_turns(rng):
    """The same loss and model, ignored labels in every other batch: each batch its own loss."""
    model, loss_fn = nn.Linear(3, 4), nn.CrossEntropyLoss()
    for step in range(4):
        x, y = rng.standard_normal((5, 3)).astype(np.float32), rng.integers(0, 4, 5)
        if step % 2:
            y[1:] = -100
        scores = model(x)
        loss = loss_fn(scores, y)
        loss.backward()
        log_p = np.log(softmax(scores.numpy().astype(float)))
        assert loss.item() == pytest.approx(-log_p[np.arange(5), y % 4][y >= 0].mean(), rel=1e-5)


def test_trainer_counts_pixels(rng):
    """Accuracy is of the labels that count; a segmentation learns."""
    x = rng.standard_normal((48, 1, 6, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    y[:, 0] = -100
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 0.05))
    history = trainer.fit((x, y), epochs=15, batch_size=16, validation_data=(x, y), rng=0)
    assert history["accuracy"][-1] > 0.9 and history["val_accuracy"][-1] > 0.9
    right = trainer.predict(x).argmax(1) == y
    assert trainer.evaluate((x, y))["accuracy"] == right[:, 1:].mean()


@pytest.mark.parametrize("loss_fn", [nn.HuberLoss(), nn.MSELoss("sum")], ids=repr)
def test_trainer_without_labels(loss_fn, rng):
    x = rng.standard_normal((40, 3)).astype(np.float32)
    trainer = lw.Trainer(model := nn.Linear(3, 1), loss_fn, optim.SGD(model.parameters(), 0.01))
    history = trainer.fit((x, x[:, :1]), epochs=2, batch_size=16, rng=0)
    assert history["accuracy"] == [] and history["loss"][1] < history["loss"][0]
    out = trainer.predict(x)
    assert trainer.evaluate((x, x[:, :1])) == {"loss": pytest.approx(loss_fn(out, x[:, :1]).item(), rel=1e-5)}


def test_a_planted_error_is_found(rng):
    """The gradient check above would see a loss that is 0.1 % off."""
    entry = ENTRIES[0]
    x, t = drawn(entry, rng, 5, F64)
    _, grad = run(entry, x, t, scale=1.001)
    d = rng.standard_normal(x.shape)
    sides = [expected(entry, x + step * d, t, "mean") for step in (1e-6, -1e-6)]
    assert (grad * d).sum() != pytest.approx((sides[0] - sides[1]) / 2e-6, rel=2e-6, abs=1e-7)
