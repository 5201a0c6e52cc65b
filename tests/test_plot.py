"""lw.plot: what is drawn is what is in the data; nothing is shown, no setting changes, a mistake is one sentence."""
import re
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plot_case import Residual, drawn, pyplot, words  # noqa: F401: drawn is a fixture of every test

import lanewise as lw
from lanewise import models, nn, optim

Figure = pytest.importorskip("matplotlib.figure").Figure
plot, Dataset = lw.plot, lw.data.Dataset


def images(rng, n, classes, channels=1, kind=np.uint8):
    """n images of all classes, a Dataset."""
    x = rng.integers(0, 256, (n, channels, 8, 8)).astype(np.uint8)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return Dataset(x if kind == np.uint8 else (x / 64 - 2).astype(kind), y, classes=[f"class {k}" for k in range(classes)])


@pytest.mark.parametrize("classes, n", [(2, 5), (10, 24), (100, 40)])
@pytest.mark.parametrize("channels, kind", [(1, np.uint8), (3, np.uint8), (3, np.float32)])
def test_samples(rng, classes, n, channels, kind):
    """n different images in the order of their classes, each under its class's name, uint8 pixel by pixel."""
    data = images(rng, 150, classes, channels, kind)
    figure = plot.samples(data, n)
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == n
    named = [ax.get_title() for ax in panels]
    assert named == sorted(named, key=lambda s: int(s.split()[1]))
    rows = set()
    for ax, name in zip(panels, named):
        shown = np.asarray(ax.images[0].get_array())
        assert shown.shape == ((8, 8) if channels == 1 else (8, 8, 3)) and shown.min() >= 0 and shown.max() <= 1
        if kind == np.uint8:
            x = np.round(255 * (shown[..., None] if channels == 1 else shown)).astype(int).transpose(2, 0, 1)
            row, = np.flatnonzero((data.images == x).all((1, 2, 3)))
            assert name == data.classes[data.labels[row]]
            rows.add(row)
    assert len(rows) in (0, n)
    first = plot.samples(data, 3, cols=3, rng=None, names=[f"k{k}" for k in range(classes)])
    assert [ax.get_title() for ax in first.axes] == [f"k{k}" for k in data.labels[:3]]


def test_samples_denormalised():
    """x * std + mean, clipped; stretched where nothing is given and the range asks for it."""
    x = np.array([-1, 0, 0.5, 9], np.float32).reshape(1, 1, 2, 2)
    def shown(**more):
        return np.asarray(plot.samples((x, np.zeros(1, int)), 1, **more).axes[0].images[0].get_array()).ravel()
    assert_allclose(shown(mean=[0.5], std=[0.25]), [0.25, 0.5, 0.625, 1])
    assert_allclose(shown(), [0, 0.1, 0.15, 1])
    x = np.array([0.1, 0, 0.5, 1], np.float32).reshape(1, 1, 2, 2)
    assert_allclose(shown(), x.ravel())


@pytest.mark.parametrize("n", [2, 10, 24, 25, 100])
def test_classes(rng, n):
    """Bars as long as the counts."""
    data = images(rng, 300, n)
    ax = plot.classes(data)
    sizes = [p.get_width() if n <= 24 else p.get_height() for p in ax.patches]
    assert_array_equal(sizes, np.bincount(data.labels, minlength=n))
    assert ("class 0" in [t.get_text() for t in ax.get_yticklabels()]) == (n <= 24)
    assert "300 samples" in ax.get_title(loc="left")
    again = plot.classes(data.labels, ax=Figure().subplots())
    assert len(again.patches) == n


@pytest.mark.parametrize("n", [25, 26, 40, 50, 99, 100, 101, 200, 1000])
@pytest.mark.parametrize("width", [2, 6, 20])
def test_ticks_of_classes(n, width):
    """Bars that stand have ticks at classes alone."""
    ax = plot.classes(np.arange(n), ax=Figure((width, 4)).subplots())
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [t for t in ax.get_xticks() if low <= t <= high]
    assert len(shown) > 1 and set(shown) <= set(range(n)) and low < -0.4 and high > n - 0.6


def test_history():
    """A panel for each measure with training and validation in it, the learning rate last."""
    record = {"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.2, 0.3], "val_loss": [2.5, 2.0], "val_accuracy": [],
              "learning_rate": [1, 0.1, 1e-3], "seconds": [1, 1, 1], "f1": [0.5, 0.5, 0.6]}
    figure = plot.history(record)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["loss", "accuracy", "f1", "learning rate"]
    loss, accuracy, _, rate = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[3, 2, 1], [2.5, 2]]
    assert [list(line.get_xdata()) for line in loss.lines] == [[1, 2, 3], [2, 3]]
    assert len(accuracy.lines) == 1 and rate.get_yscale() == "log" and list(rate.lines[0].get_ydata()) == [1, 0.1, 1e-3]
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["training", "validation"] and not accuracy.get_legend()
    model = models.mlp(1, 4)
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1))
    x, y = np.zeros((8, 1, 4, 4), np.float32), np.arange(8)
    trainer.fit((x, y), epochs=2, validation_data=(x, y))
    assert all(len(ax.lines) in (1, 2) for ax in plot.history(trainer).axes)


@pytest.mark.parametrize("way", ["schedule", "callback"])
def test_history_of_a_schedule(way):
    """What fit() records of a schedule, or of a LearningRateScheduler, is the picture's last panel."""
    model = models.mlp(1, 4)
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1))
    x, y = np.zeros((8, 1, 4, 4), np.float32), np.arange(8)
    if way == "schedule":
        trainer.fit((x, y), 3, 4, schedule=optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.1))
        rates = [1e-2, 1e-4, 1e-6]                      # of the second of each epoch's two steps
    else:
        trainer.fit((x, y), 3, callbacks=[lw.callbacks.LearningRateScheduler(lambda epoch, lr: 10.0 ** -epoch)])
        rates = [1, 0.1, 0.01]
    assert_allclose(trainer.history["learning_rate"], rates)
    rate = plot.history(trainer).axes[-1]
    assert rate.get_title(loc="left") == "learning rate" and rate.get_yscale() == "log"
    assert_allclose(rate.lines[0].get_ydata(), rates)


def shown(ax):
    """The numbers of the picture in axes."""
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def test_filters(rng):
    """Every weight is in the picture; one scale around 0."""
    gray, colour = nn.Sequential(nn.Conv2d(1, 6, 5)), nn.Sequential(nn.Conv2d(3, 8, 3))
    ax = plot.filters(gray, cols=3)
    picture = shown(ax)
    assert picture.shape == (11, 17) and np.isnan(picture[5]).all() and np.isnan(picture[:, 5]).all()
    assert_array_equal(picture[6:, 12:], gray[0].weight.data[5, 0])
    assert ax.images[0].norm.vmin == -ax.images[0].norm.vmax == -np.abs(gray[0].weight.data).max()
    picture, w = shown(plot.filters(colour, cols=4)), colour[0].weight.data
    assert picture.shape == (7, 15, 3)
    assert_allclose(picture[4:, 12:], 0.5 + 0.5 * w[7].transpose(1, 2, 0) / np.abs(w).max(), rtol=1e-6)
    lenet = models.lenet5()
    picture = shown(plot.filters(lenet, "3"))            # 16 filters of 6 channels: a column a filter
    assert picture.shape == (6 * 6 - 1, 16 * 6 - 1)
    assert_array_equal(picture[6:11, 12:17], lenet[3].weight.data[2, 1])
    linear = models.softmax_classifier(1, 6, 4)
    assert_array_equal(shown(plot.filters(linear, shape=(1, 6, 6), cols=2))[7:, 7:], linear[1].weight.data[3].reshape(6, 6))


def test_feature_maps(rng):
    """Any submodule's result in evaluation mode: against running the layers before it."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), Residual(), nn.Flatten(), nn.Linear(72, 5))
    x = rng.standard_normal((1, 8, 8)).astype(np.float32)
    model[1].b.eval()
    first = model[0](x[None]).numpy()
    inner = model[1].a(first).numpy()
    block = first + model[1].b(np.maximum(inner, 0)).numpy()
    for layer, expected in (("0", first), (None, first), ("1.a", inner), ("1.relu", np.maximum(inner, 0)), ("1", block)):
        picture = shown(plot.feature_maps(model, x, layer, cols=1))
        assert_allclose(picture[7:], expected[0, 1], rtol=1e-5, atol=1e-6)
    assert shown(plot.feature_maps(model, x[None], "0", n=1)).shape == (6, 6)
    bars = [p.get_height() for p in plot.feature_maps(model, x, "3").patches]
    assert_allclose(bars, model.eval()(x[None]).numpy()[0], rtol=1e-5)
    assert not model.training
    table = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    assert_allclose(shown(plot.feature_maps(table, np.arange(6)[None], "0")), table[0].weight.data[:6])


def test_feature_maps_leaves_the_modes(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model[1].eval()
    plot.feature_maps(model, rng.standard_normal((1, 8, 8)).astype(np.float32), "1")
    assert [m.training for m in model.modules()] == [True, True, False]


@pytest.mark.parametrize("n", [2, 10, 20, 21, 100])
def test_confusion(rng, n):
    """scikit-learn's matrix; numbers where they fit."""
    metrics = pytest.importorskip("sklearn.metrics")
    y, found = np.concatenate([np.arange(n), rng.integers(0, n, 900)]), rng.integers(0, n, 900 + n)
    expected = metrics.confusion_matrix(y, found, labels=range(n))
    ax = plot.confusion(found, y)
    assert_allclose(shown(ax), expected / expected.sum(1, keepdims=True))
    assert words(ax) == ([str(k) for k in expected.ravel() if k] if n <= 20 else [])
    assert ax.get_title(loc="left") == f"accuracy {100 * metrics.accuracy_score(y, found):.1f} % of {900 + n:,}"
    scores = np.eye(n, dtype=np.float32)[found]
    assert_array_equal(shown(plot.confusion(scores, y)), shown(ax))


def test_confusion_of_a_model(rng):
    """A model and a Dataset, or arrays; a class that never occurs is a row of zeros."""
    data, model = images(rng, 60, 10), models.mlp(1, 8)
    found = lw.Trainer(model, None).predict(data).argmax(1)
    ax = plot.confusion(model, data)
    assert_array_equal(shown(ax), shown(plot.confusion(found, data.labels)))
    assert_array_equal(shown(ax), shown(plot.confusion(model, (data.images, data.labels))))
    assert [t.get_text() for t in ax.get_yticklabels()] == data.classes
    assert not shown(plot.confusion([0, 2, 2], np.array([0, 0, 2])))[1].any()


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_mistakes(rng, classes):
    """The wrong answers in the order of the true class's probability, captions with both."""
    data = images(rng, 120, classes, 3)
    scores = rng.standard_normal((120, classes)).astype(np.float32)
    figure = plot.mistakes(scores, data, 9)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found, rows = scores.argmax(1), np.arange(120)
    wrong = sorted(rows[found != data.labels], key=lambda i: p[i, data.labels[i]])[:9]
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == ["\n".join(
        f"{p[i, k]:.2f} {data.classes[k]}" for k in (found[i], data.labels[i])) for i in wrong]
    assert_allclose(np.asarray(panels[0].images[0].get_array()), data.images[wrong[0]].transpose(1, 2, 0) / 255)
    assert figure.get_suptitle().startswith(f"{(found != data.labels).sum()} mistakes in 120")
    again = plot.mistakes(p, data, 9)                    # probabilities stay what they are
    assert [ax.get_title() for ax in again.axes if ax.images] == [ax.get_title() for ax in panels]


def test_no_mistakes(rng):
    data = images(rng, 12, 3)
    figure = plot.mistakes(np.eye(3)[data.labels], data)
    assert not figure.axes and [t.get_text() for t in figure.texts] == ["no mistake in 12"]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert len([ax for ax in plot.mistakes(model, data, 4).axes if ax.images]) <= 4


def test_saliency(rng):
    """The gradient, against a difference of the score; the model's own gradients and modes stay."""
    model = models.lenet5().double()
    x, classes = rng.standard_normal((3, 1, 28, 28)), np.array([1, 4, 7])
    nn.CrossEntropyLoss()(model(x), classes).backward()
    before = [p.grad.copy() for p in model.parameters()]
    model[4].eval()
    heat = plot.saliency_map(model, x, classes)
    assert heat.shape == (3, 28, 28) and [m.training for m in model[3:6]] == [True, False, True]
    for n in range(3):
        step = np.zeros_like(x)
        step[n, 0, 14, 14] = 1e-5
        slope = (model(x + step).numpy()[n, classes[n]] - model(x - step).numpy()[n, classes[n]]) / 2e-5
        assert heat[n, 14, 14] == pytest.approx(abs(slope), rel=1e-4, abs=1e-9)
    for p, g in zip(model.parameters(), before):
        assert_array_equal(p.grad, g)
    figure = plot.saliency(model, x, classes, ["a", "b", "c"])
    assert len(figure.axes) == 6 and [ax.get_title() for ax in figure.axes[:3]] == ["a", "b", "c"]
    assert_array_equal(shown(figure.axes[4]), heat[1])
    assert_array_equal(shown(plot.saliency(model, x[1], 4).axes[1]), plot.saliency_map(model, x[1:2], [4])[0])
    found = model(x).argmax(1)
    assert_array_equal(plot.saliency_map(model, x), plot.saliency_map(model, x, found))
    for p in model.parameters():
        p.grad = None
    plot.saliency_map(model, x)
    assert all(p.grad is None for p in model.parameters())


def test_profile():
    """Bars as long as the times, one after the other; small rows together."""
    model = models.lenet5()
    found = lw.profile(model, (1, 28, 28), batch_size=32, repeats=1)
    scale = 1e3 if found.step > 5e-3 else 1e6
    ax = plot.profile(found)
    assert len(ax.patches) == 4 * len(found.rows)
    total = sum(p.get_width() for p in ax.patches)
    assert total == pytest.approx(scale * found.step)
    conv = next(i for i, r in enumerate(found.rows) if r.name == "3")
    assert [ax.patches[k * len(found.rows) + conv].get_width() for k in range(3)] == pytest.approx(
        [scale * t for t in (found.rows[conv].forward, found.rows[conv].dx, found.rows[conv].dw)])
    few = plot.profile(found, most=5)
    assert [t.get_text() for t in few.get_yticklabels()][-1] == f"{len(found.rows) - 4} others" and len(few.patches) == 20
    assert sum(p.get_width() for p in few.patches) == pytest.approx(scale * found.step)


def test_given_axes_and_figures(rng):
    """What is given is drawn into, and returned; no figure is made."""
    data, model = images(rng, 40, 3), nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    x = data.images[0] / np.float32(255)
    found = lw.profile(model, (1, 8, 8), batch_size=16, repeats=1)
    for draw in (lambda ax: plot.classes(data, ax=ax), lambda ax: plot.filters(model, ax=ax),
                 lambda ax: plot.profile(found, ax=ax), lambda ax: plot.feature_maps(model, x, ax=ax),
                 lambda ax: plot.confusion(model, data, ax=ax),
                 lambda ax: plot.network(model, (1, 8, 8), ax=ax)):
        ax = Figure().subplots()
        assert draw(ax) is ax
    for draw in (lambda fig: plot.samples(data, fig=fig), lambda fig: plot.history({"loss": [1, 2]}, fig=fig),
                 lambda fig: plot.mistakes(model, data, fig=fig), lambda fig: plot.saliency(model, x, fig=fig)):
        whole = Figure(layout="constrained")
        for figure in (whole, whole.subfigures(1, 2)[1]):
            assert draw(figure) is figure
    assert not pyplot.get_fignums()


def test_errors(rng):
    data, model = images(rng, 12, 3), models.mlp(1, 8)
    x, y = data.images, data.labels
    for call, message in [
            (lambda: plot.samples(data, 0), "samples: expected n of 1 or more, got 0"),
            (lambda: plot.samples(data, cols=True), "samples: expected cols of 1 or more, got True"),
            (lambda: plot.samples((x[:, :1].repeat(2, 1), y)), "samples: expected images (N, C, H, W) of 1 or 3 channels, got"),
            (lambda: plot.samples((x, y[:3])), "samples: expected as many labels as images (12), got 3"),
            (lambda: plot.samples((x, y / 2)), "samples: expected labels (N,), integers of 0 or more, got float64 (12,)"),
            (lambda: plot.samples(data, names=["a"]), "samples: expected 3 names of classes, got 1"),
            (lambda: plot.classes(-y), "classes: expected labels (N,), integers of 0 or more, got int64 (12,)"),
            (lambda: plot.history({"seconds": [1]}), "history: expected at least one epoch, got none"),
            (lambda: plot.filters(nn.Sequential(nn.ReLU())), "filters: expected a model with weights, got Sequential"),
            (lambda: plot.filters(model), "filters: expected shape=(C, H, W) of 64 numbers for Linear '1', got None"),
            (lambda: plot.filters(model, "9"), "filters: expected the name of a layer ('0', '1', '2', '3', '4', ...), got"),
            (lambda: plot.filters(model, "0"), "filters: expected a layer with weights (O, I, K, K) or (O, I), got Flatten"),
            (lambda: plot.feature_maps(model, x[0]), "feature_maps: expected a model with a Conv2d, got Sequential"),
            (lambda: plot.feature_maps(model, x, "1"), "feature_maps: expected one image, (C, H, W) or (1, C, H, W), got"),
            (lambda: plot.confusion(x, y), "confusion: expected a model, scores (N, classes) or labels (N,), got uint8"),
            (lambda: plot.confusion(y[:3], y), "confusion: expected as many answers as labels (12), got 3"),
            (lambda: plot.mistakes(np.eye(12)[:3], data), "mistakes: expected as many scores as labels (12), got 3"),
            (lambda: plot.mistakes(np.eye(12)[:, :2], data), "mistakes: expected labels from 0 to 1, got 2"),
            (lambda: plot.saliency(model, x, 10), "saliency: expected labels from 0 to 9, got 10"),
            (lambda: plot.saliency(model, x, [1, 2]), "saliency: expected a label, or one for each of 12 images, got 2"),
            (lambda: plot.saliency(model, x, 1, ["a"]), "saliency: expected 12 titles, got 1"),
            (lambda: plot.saliency(model, x[0, 0]), "saliency: expected images (N, C, H, W), got shape (8, 8)"),
            (lambda: plot.network(model, ()), "network: expected the shape of an input, (C, H, W), or a list of such, got")]:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            call()
    for call, message in [
            (lambda: plot.samples(x), "samples: expected a Dataset or (x, y) arrays, got ndarray"),
            (lambda: plot.history([1, 2]), "history: expected a dict of lists or a Trainer, got list"),
            (lambda: plot.profile({}), "profile: expected what lanewise.profile returns, got dict"),
            (lambda: plot.mistakes(y, data), "mistakes: expected a model or scores (N, classes), got labels"),
            (lambda: plot.confusion(model, y), "confusion: expected a Dataset or (x, y) arrays for a model, got ndarray")]:
        with pytest.raises(TypeError, match="^" + re.escape(message)):
            call()


def test_without_matplotlib(monkeypatch):
    """Every function says in one sentence what to install."""
    model, image, data = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2)), np.zeros((1, 6, 6), np.float32), \
        (np.zeros((4, 1, 6, 6), np.float32), np.arange(4) % 2)
    profile = lw.profile(model, (1, 6, 6), batch_size=4, repeats=1)
    calls = {"samples": (data,), "classes": (data,), "history": ({"loss": [1.0]},), "profile": (profile,),
             "network": (model, (1, 6, 6)), "filters": (model,), "feature_maps": (model, image), "confusion": (model, data),
             "mistakes": (model, data), "saliency": (model, image)}
    assert {*calls, "saliency_map"} == set(plot.__all__)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name, arguments in calls.items():
        with pytest.raises(ImportError, match=r'^lanewise.plot needs matplotlib: pip install "lanewise\[plot\]"$'):
            getattr(plot, name)(*arguments)
    monkeypatch.undo()
