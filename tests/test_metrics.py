"""Measures of a result: equal to scikit-learn's, and what Trainer does with them."""
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from training_case import bits, made, trainer

import lanewise as lw
from lanewise import metrics, nn, optim

AVERAGES = ["macro", "micro", "weighted", None]


def test_psnr(rng):
    """By hand: an error of 0.1 everywhere is 20 dB; bytes do not wrap; equal arrays have no noise."""
    x = rng.random((3, 8, 8))
    assert lw.metrics.psnr(x, x + 0.1) == pytest.approx(20)
    a, b = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert lw.metrics.psnr(a, b, peak=255) == lw.metrics.psnr(b, a, peak=255) == 0
    assert lw.metrics.psnr(x, x) == np.inf
    with pytest.raises(lw.ShapeError, match=r"psnr: expected two arrays of one shape, got \(2,\) and \(3,\)"):
        lw.metrics.psnr(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="psnr: expected a peak above 0, got 0"):
        lw.metrics.psnr(x, x, 0)


def scores_of(y, rng, classes=5):
    """Scores (N, C) that are right about half the time; the last class is never predicted."""
    s = rng.standard_normal((len(y), classes))
    s[np.arange(len(y)), y] += 1
    s[:, -1] = -9
    return s


def test_classes_are_sklearns(rng):
    """Labels or scores; every average and zero_division, with a class that is never predicted and one that is never true."""
    theirs = pytest.importorskip("sklearn.metrics")
    y = rng.integers(0, 4, 200)
    y[:9] = 4
    y[y == 1] = 0
    s = scores_of(y, rng)
    p = s.argmax(1)
    assert set(p) == {0, 1, 2, 3} and set(y) == {0, 2, 3, 4}
    for predicted in (s, p, s.astype(np.float32)):
        assert metrics.accuracy(y, predicted) == theirs.accuracy_score(y, p)
        for normalize in (None, "true", "pred", "all"):
            assert_array_equal(metrics.confusion_matrix(y, predicted, normalize=normalize),
                               theirs.confusion_matrix(y, p, normalize=normalize))
        for name in "precision", "recall", "f1":
            own, their = getattr(metrics, name), getattr(theirs, f"{name}_score")
            for zero in 0.0, 1.0:
                for average in AVERAGES:
                    assert_array_equal(own(y, predicted, average, zero_division=zero),
                                       their(y, p, average=average, zero_division=zero))
            assert own(y, predicted) == their(y, p, average="macro", zero_division=0)
            assert_array_equal(own(y > 1, p > 1, "binary"), their(y > 1, p > 1))
            assert own(y > 1, p > 1, "binary", pos_label=0) == their(y > 1, p > 1, pos_label=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # of a class that is missing
        assert_array_equal(metrics.confusion_matrix(y, p, labels=[3, 0]), theirs.confusion_matrix(y, p, labels=[3, 0]))
    image, maps = rng.integers(0, 3, (4, 5, 6)), rng.standard_normal((4, 3, 5, 6))
    assert metrics.accuracy(image, maps) == (maps.argmax(1) == image).mean()
    assert metrics.recall(image, maps) == theirs.recall_score(image.ravel(), maps.argmax(1).ravel(), average="macro")


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_top_k_is_sklearns(k, rng):
    theirs = pytest.importorskip("sklearn.metrics")
    y = rng.integers(0, 5, 300)
    s = rng.standard_normal((300, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # k of all classes
        assert metrics.top_k_accuracy(y, s, k) == theirs.top_k_accuracy_score(y, s, k=k, labels=range(5))
    assert metrics.top_k_accuracy(y, s, 1) == metrics.accuracy(y, s)


def test_top_k_of_equals():
    """The lower number comes first, as in argmax; NaN is never right."""
    s = np.zeros((5, 5))
    assert [metrics.top_k_accuracy(np.arange(5), s, k) for k in range(1, 6)] == [.2, .4, .6, .8, 1]
    assert metrics.top_k_accuracy([1], np.array([[0, np.nan]]), 2) == 0


@pytest.mark.parametrize("shape", [(40,), (40, 3), (10, 2, 3, 4)])
def test_numbers_are_sklearns(shape, rng):
    theirs = pytest.importorskip("sklearn.metrics")
    y = rng.standard_normal(shape).astype(np.float32)
    p = (y + 0.3 * rng.standard_normal(shape)).astype(np.float32)
    y[..., 0] = y[0, ..., 0] if len(shape) > 1 else y[..., 0]           # a column that does not vary
    a, b = (v.astype(np.float64).reshape(len(v), -1) for v in (y, p))
    assert metrics.mae(y, p) == theirs.mean_absolute_error(a, b)
    assert metrics.mse(y, p) == theirs.mean_squared_error(a, b)
    assert metrics.r2(y, p) == theirs.r2_score(a, b)
    assert metrics.max_error(y, p) == theirs.max_error(a.ravel(), b.ravel()) == np.abs(a - b).max()
    if hasattr(theirs, "root_mean_squared_error"):
        assert metrics.rmse(y, p) == theirs.root_mean_squared_error(a, b)
    assert_allclose(metrics.rmse(y, p), np.sqrt(((a - b) ** 2).mean(0)).mean())
    assert metrics.r2(y, y) == 1


def test_errors():
    y, s = np.arange(4), np.eye(4)
    for call, kind, words in [
            (lambda: metrics.accuracy(y, y[:3]), lw.ShapeError, r"accuracy: expected as many labels as predictions, got \(4,\) an"),
            (lambda: metrics.f1(y * 1.0, s), lw.LabelError, "f1: expected integer labels, got float64"),
            (lambda: metrics.recall(y, y * 1.0), lw.LabelError, r"recall: expected labels, or scores \(N, C, ...\) of labels"),
            (lambda: metrics.accuracy(y[:0], y[:0]), lw.ShapeError, "as many labels as predictions"),
            (lambda: metrics.top_k_accuracy(y, s), ValueError, "expected k from 1 to 4, the number of classes, got 5"),
            (lambda: metrics.top_k_accuracy(y + 1, s, 2), lw.LabelError, "labels from 0 to 3, got int64 from 1 to 4"),
            (lambda: metrics.top_k_accuracy(y, s[:3], 2), lw.ShapeError, r"got \(4,\) and \(3, 4\)"),
            (lambda: metrics.mse(y, s), lw.ShapeError, r"mse: expected two arrays of one shape, got \(4,\) and \(4, 4\)"),
            (lambda: metrics.r2([1.0], [2.0]), ValueError, "r2: expected at least two samples, got one")]:
        with pytest.raises(kind, match=words):
            call()


def test_without_sklearn(monkeypatch):
    """accuracy and top_k_accuracy need NumPy alone; the others say what is missing."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    y, s = np.arange(4), np.eye(4)
    assert metrics.accuracy(y, s) == metrics.top_k_accuracy(y, s, 2) == 1
    for name in "confusion_matrix", "precision", "recall", "f1", "mae", "mse", "rmse", "r2", "max_error":
        with pytest.raises(ImportError, match=rf"metrics.{name} needs scikit-learn: pip install lanewise\[sklearn\]"):
            getattr(metrics, name)(y, y)


# -- in a Trainer -----------------------------------------------------------------------------------------------------

def spread(y, output):
    """A measure of one's own."""
    return np.ptp(output) + y[0]


def test_trainer_measures_classes():
    """history, val_ history and evaluate() have them, of all outputs at once, in the order of the data; the weights do not
    notice."""
    pytest.importorskip("sklearn")
    x, y = made()
    t = trainer(0.0, metrics=["accuracy", "top2", "f1", spread])
    history = t.fit((x, y), 2, 8, validation_data=(x[:20], y[:20]), shuffle=False)
    output = t.predict(x)
    expected = {"accuracy": (output.argmax(1) == y).mean(), "top2": metrics.top_k_accuracy(y, output, 2),
                "f1": metrics.f1(y, output), "spread": spread(y, output)}
    result = t.evaluate((x, y))
    assert list(result) == ["loss", *expected]
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, rel=1e-6) and history[name] == pytest.approx([value] * 2, rel=1e-6)
        assert history["val_" + name] == [t.evaluate((x[:20], y[:20]))[name]] * 2
    assert set(history) == {*result, *("val_" + k for k in result), "seconds"}
    plain, measured = trainer(), trainer(metrics="top3")
    for trained in plain, measured:
        trained.fit((x, y), 2, 8, rng=0)
    assert bits(plain.model) == bits(measured.model)
    del measured.history["top3"], measured.history["val_top3"], measured.history["seconds"], plain.history["seconds"]
    assert measured.history == plain.history


def test_trainer_measures_numbers(rng):
    pytest.importorskip("sklearn")
    model = nn.Sequential(nn.Linear(5, 3))
    x, y = rng.standard_normal((30, 5)).astype(np.float32), rng.standard_normal((30, 3)).astype(np.float32)
    t = lw.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), metrics=["mae", "mse", "rmse", "r2", "max_error"])
    history = t.fit((x, y), 3, 8, validation_data=(x, y))
    result, output = t.evaluate((x, y)), t.predict(x)
    assert result["mse"] == pytest.approx(result["loss"], rel=1e-5)
    for name in t.metrics:
        assert result[name] == history["val_" + name][-1] == getattr(metrics, name)(y, output) and len(history[name]) == 3


def test_accuracy_of_another_loss(rng):
    """Where the loss does not count what is right, the outputs are looked at: one-hot targets of a squared error."""
    model = nn.Sequential(nn.Linear(5, 3))
    x, y = rng.standard_normal((30, 5)).astype(np.float32), np.eye(3, dtype=np.float32)[rng.integers(0, 3, 30)]

    def accuracy(y, output):
        return metrics.accuracy(y.argmax(1), output)
    t = lw.Trainer(model, nn.MSELoss(), metrics=[accuracy])
    assert t.evaluate((x, y))["accuracy"] == (t.predict(x).argmax(1) == y.argmax(1)).mean()


def test_metrics_that_are_wrong():
    model = nn.Linear(3, 2)
    for wrong in "acc", "top0", 3:
        with pytest.raises(ValueError, match=r"expected a metric of accuracy, .*, top<k> or a function of \(y_true, y_pred\), got"):
            lw.Trainer(model, None, metrics=[wrong])

    for twice in ["top2", "top2"], [spread, lambda y, p: 0, lambda y, p: 1]:
        with pytest.raises(ValueError, match="expected metrics with a name of their own each, not loss or seconds, got .*, "):
            lw.Trainer(model, None, metrics=twice)

    def seconds(y, output):
        return np.zeros(3)
    with pytest.raises(ValueError, match="not loss or seconds, got seconds"):
        lw.Trainer(model, None, metrics=[seconds])
    seconds.__name__ = "each"
    with pytest.raises(TypeError, match=r"expected a number from the metric each, got an array of shape \(3,\)"):
        lw.Trainer(model, nn.MSELoss(), metrics=seconds).evaluate((np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)))

    def penalised(output, y):
        return nn.MSELoss()(output * 2, y)
    t = lw.Trainer(model, penalised, optim.SGD(model.parameters(), 0.1), metrics=[spread])
    x = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="metrics in training expected a loss on the model's output itself"):
        t.fit((x, x[:, :2]))
