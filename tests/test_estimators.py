"""The scikit-learn estimators: scikit-learn's own checks, images, labels, weights, stopping, copies, other processes."""
import copy
import pickle

import numpy as np
import pytest
from estimator_case import digits, small  # noqa: F401

import lanewise as lw
from lanewise import models, nn, ops

pytest.importorskip("sklearn", "1.6")
from sklearn import neural_network
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [lw.MLPClassifier(max_iter=100), lw.MLPRegressor(max_iter=100), lw.CNNClassifier(), lw.CNNRegressor(),
              lw.MLPClassifier(activation="tanh", solver="lbfgs", alpha=0.1, max_iter=25),
              lw.MLPRegressor(activation="tanh", solver="lbfgs", alpha=0.1, max_iter=25)]


def expected_failures(estimator):
    """scikit-learn compares to 1e-7 what float32 sums of another order give; it makes the check with lbfgs, and so do we."""
    if getattr(estimator, "solver", "") == "lbfgs":
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": "float32 batches: equal to 1e-4, see test_weights_are_repeats"}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learns_checks(estimator, check):
    """Its list for third-party estimators."""
    check(estimator)


def test_forms_of_images(digits):
    """(N, H, W), (N, 1, H, W) and rows with image_shape are the same; uint8 is scaled by 1/255, and other numbers are not."""
    x, y = digits
    p = small().fit(x, y).predict_proba(x)
    for form, settings in ((x[:, None], {}), (x.reshape(len(x), -1), dict(image_shape=(8, 8))),
                           (x.reshape(len(x), -1), dict(image_shape=(1, 8, 8)))):
        network = small(**settings).fit(form, y)
        assert (network.predict_proba(form) == p).all() and network.image_shape_ == (1, 8, 8) and network.n_features_in_ == 64
        assert (network.predict_proba(x) == p).all()
    floats = small().fit(x / 255, y)
    np.testing.assert_allclose(floats.predict_proba((x / 255).astype(np.float32)), p, atol=2e-3)
    assert floats.score(x / 255, y) > 0.9 and not np.allclose(floats.predict_proba(x * 1.0), p, atol=0.1)
    assert (floats.predict_proba((x / 255)[::-1])[::-1] == floats.predict_proba(x / 255)).all()


def test_predictions(digits):
    """Probabilities are softmax of the network's scores, whatever the batch; a column order and one row change nothing."""
    x, y = digits
    network = small().fit(x, y)
    p = network.predict_proba(x)
    assert (p == ops.softmax(lw.Trainer(network.model_, None).predict(x[:, None]), 1)).all()
    np.testing.assert_allclose(np.exp(network.predict_log_proba(x)), p, rtol=1e-5, atol=1e-7)
    assert (network.predict(x) == p.argmax(1)).all() and network.score(x, y) == (network.predict(x) == y).mean()
    for n in (1, 15, 16, 17):
        assert (network.predict_proba(x[:n]) == p[:n]).all()
    assert not network.model_.training
    quick = lw.MLPClassifier(max_iter=5, random_state=0).fit(x.reshape(600, -1), y)
    rows = x.reshape(600, -1)
    assert (quick.predict(rows[:1].tolist()) == quick.predict(rows[:1])).all()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN|infinity"):
            quick.predict(np.full((1, 64), bad))


def test_models(digits):
    """A Module is copied and starts from its weights; a function, a list, Modules in a list."""
    x, y = digits
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = module.state_dict()
    network = lw.CNNClassifier(module, epochs=1, learning_rate=1e-30, random_state=0).fit(x, y)
    for k, v in network.model_.state_dict().items():
        np.testing.assert_allclose(v, before[k], atol=1e-12)
    lw.CNNClassifier(module, epochs=2).fit(x, y)
    assert all((v == before[k]).all() for k, v in module.state_dict().items())
    asked = []

    def build(shape, outputs):
        asked.append((shape, outputs))
        return models.softmax_classifier(shape[0], shape[1], outputs)
    assert lw.CNNClassifier(build, epochs=20).fit(x, y).score(x, y) > 0.8 and asked == [((1, 8, 8), 10)]
    layers = [nn.Conv2d(1, 4, 3), "batch_norm", "relu", ("avg_pool",), ("conv", 8, 3, 2), "silu", ("dropout", 0.1),
              "global_pool", "flatten", ("linear", 16), "tanh"]
    network = clone(lw.CNNClassifier(layers, epochs=2, batch_size=50)).fit(x, y)
    assert [type(m).__name__ for m in network.model_] == [
        "Conv2d", "BatchNorm2d", "ReLU", "AvgPool2d", "Conv2d", "SiLU", "Dropout", "AdaptiveAvgPool2d", "Flatten", "Linear",
        "Tanh", "Linear"]
    assert network.model_[4].padding == (1, 1) and network.model_[-1].out_features == 10


@pytest.mark.parametrize("optimizer, rate", [("adam", 5e-3), ("adamw", 5e-3), ("sgd", 0.05), ("rmsprop", 3e-3)])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_optimizers_and_schedules(digits, optimizer, rate, schedule):
    """Each learns; the same seed gives the same numbers, another one others."""
    x, y = digits
    network = small(optimizer=optimizer, learning_rate=rate, schedule=schedule, weight_decay=1e-4, epochs=5)
    again = clone(network).fit(x, y)
    network.fit(x, y)
    assert network.score(x, y) > 0.85 and network.n_iter_ == 5 == len(network.loss_curve_)
    assert network.loss_curve_ == again.loss_curve_ != clone(network).set_params(random_state=1).fit(x, y).loss_curve_
    assert network.loss_ == network.loss_curve_[-1] < network.loss_curve_[0]


def test_the_process_generator_is_left_alone(digits):
    """Weights, shuffling and dropout come from random_state."""
    x, y = digits
    network = lw.CNNClassifier([("dropout", 0.2)], epochs=2, random_state=3)
    lw.manual_seed(1)
    first = nn.Linear(3, 3).weight.data.copy()
    lw.manual_seed(1)
    curve = network.fit(x, y).loss_curve_
    assert (nn.Linear(3, 3).weight.data == first).all()
    assert network.fit(x, y).loss_curve_ == curve


def test_strings_and_partial_fit(digits):
    """Labels of any type; partial_fit learns in pieces, knows its classes from the first call, and goes on after fit."""
    x, y = digits
    names = np.array([f"digit {n}" for n in y])
    network = small(learning_rate=3e-3)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        network.partial_fit(x, names)
    for start in [0, 200, 400] * 6:
        network.partial_fit(x[start:start + 200], names[start:start + 200], classes=np.unique(names))
    assert network.classes_.tolist() == sorted(set(names)) and network.score(x, names) > 0.9 and network.n_iter_ == 18
    with pytest.raises(lw.LabelError, match=r"CNNClassifier: expected labels of \['digit 0', .*\], got \['digit 10'\]"):
        network.partial_fit(x[:3], ["digit 1", "digit 10", "digit 2"])
    fitted = small().fit(x[:300], names[:300])
    before = fitted.score(x[300:], names[300:])
    for _ in range(5):
        fitted.partial_fit(x, names)
    assert fitted.score(x[300:], names[300:]) > before
    with pytest.raises(ValueError, match="CNNClassifier.partial_fit: expected early_stopping=False, got True"):
        small(early_stopping=True).partial_fit(x, y, classes=range(10))
    assert not hasattr(lw.MLPClassifier(solver="lbfgs"), "partial_fit")


def test_weights_are_repeats(digits):
    """A whole weight is as good as repeats, and weight 0 as absence, for a batch of all samples."""
    x, y = digits
    w = np.random.default_rng(0).integers(0, 3, 150)
    for network in (small(batch_size=10_000, epochs=30), lw.MLPClassifier(random_state=0, batch_size=10_000, max_iter=30)):
        form = (lambda a: a / 255) if isinstance(network, lw.CNNClassifier) else (lambda a: a.reshape(len(a), -1) / 255)
        weighted = clone(network).fit(form(x[:150]), y[:150], sample_weight=w).predict_proba(form(x))
        repeated = clone(network).fit(form(x[:150].repeat(w, 0)), y[:150].repeat(w)).predict_proba(form(x))
        plain = clone(network).fit(form(x[:150]), y[:150]).predict_proba(form(x))
        np.testing.assert_allclose(weighted, repeated, atol=1e-4)
        assert np.abs(weighted - plain).max() > 0.01
    with pytest.raises(ValueError, match="expected sample_weight of 0 or more, got -1"):
        network.fit(form(x[:2]), y[:2], sample_weight=[1, -1])


@pytest.mark.parametrize("make", [small, lambda **s: lw.MLPClassifier(random_state=0, max_iter=s["epochs"], early_stopping=True,
                                                                     learning_rate_init=0.01, n_iter_no_change=3)])
def test_early_stopping(digits, make, monkeypatch):
    """It stops once the score stands still, and the weights are those of the best score on what was held out."""
    x, y = digits
    x = x.reshape(len(x), -1)
    network = make(epochs=200, early_stopping=True, n_iter_no_change=3, image_shape=(8, 8), schedule="constant")
    split, parts = type(network)._split, []
    monkeypatch.setattr(type(network), "_split", lambda *args: parts.append(split(*args)) or parts[0])
    network.fit(x, y)
    scores = network.validation_scores_
    assert 4 < network.n_iter_ < 200 and len(scores) == network.n_iter_ and network.best_validation_score_ == max(scores)
    assert max(scores[-4:]) < max(scores) + network.tol
    (kept, _, _, (held, labels, _)), = parts
    assert (len(kept), len(held)) == (540, 60) and np.bincount(labels).min() >= 5
    assert network.score(held, labels) == max(scores) > scores[-1]
    with pytest.raises(ValueError, match="expected 2 samples or more to validate on, got 1"):
        lw.MLPRegressor(early_stopping=True).fit(x[:5], y[:5] * 1.0)


def test_early_stopping_is_not_for_lbfgs(digits):
    """As in scikit-learn: it trains on all samples."""
    x, y = digits
    x = x.reshape(len(x), -1) / 255
    two = [lw.MLPClassifier(solver="lbfgs", max_iter=5, random_state=0, early_stopping=e).fit(x, y) for e in (False, True)]
    assert (two[0].predict_proba(x) == two[1].predict_proba(x)).all() and not hasattr(two[1], "validation_scores_")


def test_verbose(digits, capsys):
    """A line for every epoch's loss and score, and nothing unless asked."""
    x, y = digits
    network = small(epochs=2, early_stopping=True, verbose=True).fit(x, y)
    lines = capsys.readouterr().out.splitlines()
    expected = [f"epoch 1: loss {network.loss_curve_[0]:.6f}", f"validation score {network.validation_scores_[0]:.6f}"]
    assert lines[:2] == expected and len(lines) == 4
    small(epochs=1).fit(x, y)
    assert capsys.readouterr().out == ""


def test_invscaling_in_partial_fit(digits):
    """Its rate falls with the samples seen, rate = learning_rate_init / (samples + 1)^power_t."""
    x, y = digits
    network = lw.MLPClassifier(solver="sgd", learning_rate="invscaling", learning_rate_init=0.5, power_t=0.25)
    for i in range(1, 4):
        network.partial_fit(x.reshape(len(x), -1), y, classes=range(10))
        assert network._optimizer.param_groups[0]["lr"] == pytest.approx(0.5 / (600 * i + 1) ** 0.25)


def test_regression(digits):
    """One target and several, as they came; the loss is half the mean squared error; R2 is the score."""
    x, y = digits
    network = lw.CNNRegressor(epochs=30, random_state=0).fit(x, y)
    assert network.predict(x).shape == (600,) and network.score(x, y) > 0.8
    both = np.stack([y, x.mean((1, 2)) / 25], 1)
    network.fit(x, both)
    assert network.predict(x[:17]).shape == (17, 2) and network.score(x, both) > 0.7
    one = lw.MLPRegressor(activation="identity", hidden_layer_sizes=[4], max_iter=1, batch_size=600, random_state=0)
    start = clone(one).set_params(learning_rate_init=1e-30).fit(x.reshape(600, -1) / 255, y)
    expected = 0.5 * ((start.predict(x.reshape(600, -1) / 255) - y) ** 2).mean()
    assert start.loss_ == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="CNNRegressor: expected 2 targets a sample, got 1"):
        network.partial_fit(x, y)


@pytest.mark.parametrize("settings", [
    dict(solver="lbfgs", alpha=1.0, max_iter=500, tol=1e-8), dict(solver="adam", max_iter=300, alpha=1.0, batch_size=100),
    dict(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, max_iter=150),
    dict(solver="sgd", learning_rate="invscaling", learning_rate_init=1.0, power_t=0.3, nesterovs_momentum=False,
         max_iter=150)],
    ids=lambda s: s["solver"] + s.get("learning_rate", ""))
def test_beside_scikit_learns_mlp(digits, settings):
    """The same arguments give a network as good as scikit-learn's; with lbfgs to the convex optimum, the same one."""
    x, y = digits
    x = x.reshape(len(x), -1) / 255
    ours, theirs = (kind(hidden_layer_sizes=(20,), random_state=0, **settings).fit(x[:400], y[:400])
                    for kind in (lw.MLPClassifier, neural_network.MLPClassifier))
    assert ours.score(x[400:], y[400:]) > theirs.score(x[400:], y[400:]) - 0.04
    assert [w.shape for w in ours.coefs_] == [w.shape for w in theirs.coefs_]
    assert [b.shape for b in ours.intercepts_] == [b.shape for b in theirs.intercepts_]
    if settings["solver"] == "lbfgs":
        convex = dict(settings, hidden_layer_sizes=(), max_iter=2000)
        ours, theirs = (kind(**convex).fit(x, y) for kind in (lw.MLPClassifier, neural_network.MLPClassifier))
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-3)
        for a, b in zip(ours.coefs_, theirs.coefs_):
            np.testing.assert_allclose(a, b, atol=2e-3)
        assert ours.predict_proba(x).dtype == np.float64 and isinstance(ours.n_iter_, int)


@pytest.mark.parametrize("rate", ["constant", "adaptive"])
def test_epochs_until_it_stops(digits, rate):
    """Where no epoch is better by tol: as many as scikit-learn does, which with "adaptive" are those of eight cuts by 5."""
    x, y = digits
    settings = dict(solver="sgd", learning_rate=rate, learning_rate_init=0.1, tol=100.0, n_iter_no_change=1)
    ours, theirs = (kind(**settings).fit(x.reshape(len(x), -1) / 255, y)
                    for kind in (lw.MLPClassifier, neural_network.MLPClassifier))
    assert ours.n_iter_ == theirs.n_iter_ == (3 if rate == "constant" else 19)


def test_glorot_start():
    """Weights and biases begin inside scikit-learn's bounds, and fill them."""
    x, y = np.random.default_rng(0).random((50, 30)), np.arange(50) % 2
    for activation, factor in (("relu", 6), ("logistic", 2)):
        network = lw.MLPClassifier((40,), activation, learning_rate_init=1e-30, max_iter=1, random_state=0).fit(x, y)
        for w in (network.coefs_[0], network.intercepts_[0]):
            bound = np.sqrt(factor / 70)
            assert 0.9 * bound < np.abs(w).max() <= bound


def test_stopping_and_warm_start(digits):
    """The loss that stands still ends an MLP's fit; max_iter that ends it is said; warm_start goes on from the weights."""
    from sklearn.exceptions import ConvergenceWarning
    x, y = digits
    x = x.reshape(len(x), -1) / 255
    network = lw.MLPClassifier(tol=1e-1, n_iter_no_change=2, random_state=0, learning_rate_init=0.01)
    assert network.fit(x, y).n_iter_ < 100 and len(network.loss_curve_) == network.n_iter_
    worse = [a > b - 1e-1 for a, b in zip(network.loss_curve_[-3:], np.minimum.accumulate(network.loss_curve_)[-4:-1])]
    assert all(worse)
    for solver in ("adam", "lbfgs"):
        with pytest.warns(ConvergenceWarning, match="MLPClassifier: .*2 "):
            lw.MLPClassifier(max_iter=2, solver=solver).fit(x, y)
    network = lw.MLPClassifier(max_iter=3, random_state=0, warm_start=True)
    first = network.fit(x, y).loss_curve_[0]
    assert network.fit(x, y).loss_curve_[3] < first and len(network.loss_curve_) == 6 and network.n_iter_ == 3
    with pytest.raises(lw.LabelError, match="expected labels of"):
        network.fit(x, y + 1)
    network.set_params(solver="lbfgs").fit(x, y)
    assert network.predict_proba(x).dtype == np.float64 and network.loss_ < first


def test_copies(digits):
    """pickle and deepcopy of what is fitted, also between two partial_fits, where the optimizer's moments go along."""
    x, y = digits
    for network in (small().fit(x, y), small().partial_fit(x, y, classes=range(10))):
        p = network.predict_proba(x)
        for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            assert (other.predict_proba(x) == p).all()
            assert (other.partial_fit(x, y).predict_proba(x) == copy.deepcopy(network).partial_fit(x, y).predict_proba(x)).all()
        assert (network.predict_proba(x) == p).all()


def build(shape, outputs):
    """At the top of the module: other processes get it by its name."""
    return models.softmax_classifier(shape[0], shape[1], outputs)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_search_in_parallel(digits, backend):
    """GridSearchCV with two workers gives the scores of one; threads keep their random numbers apart."""
    joblib = pytest.importorskip("joblib")
    x, y = digits
    grid = dict(learning_rate=[1e-6, 1e-3, 1e-2], batch_size=[32])
    one, two = (GridSearchCV(lw.CNNClassifier(epochs=3, random_state=0), grid, cv=2, n_jobs=n) for n in (None, 2))
    one.fit(x, y)
    with joblib.parallel_backend(backend):
        two.fit(x, y)
    assert (two.cv_results_["mean_test_score"] == one.cv_results_["mean_test_score"]).all()
    assert two.best_params_ == one.best_params_ and two.best_params_["learning_rate"] > 1e-6 and two.score(x, y) > 0.8


def test_in_a_pipeline(digits):
    """Behind a scaler, whose rows become images again."""
    x, y = digits
    network = make_pipeline(StandardScaler(), small(image_shape=(8, 8), epochs=6))
    assert cross_val_score(network, x.reshape(len(x), -1).astype(float), y, cv=3).min() > 0.75
    assert cross_val_score(small(epochs=6), x, y, cv=3).min() > 0.75
