"""What the estimators refuse: one sentence, in scikit-learn's words where it has some."""
import subprocess
import sys

import numpy as np
import pytest
from estimator_case import digits, small  # noqa: F401

import lanewise as lw
from lanewise import nn

pytest.importorskip("sklearn", "1.6")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("settings, sentence", [
    (dict(model=[("konv", 3)]), r"CNNClassifier: expected layer 0 to be a Module, a name or \(name, \*sizes\) with a name of "
                                r"conv, pool, .*, got \('konv', 3\)"),
    (dict(model=["relu", ("conv",)]), r"expected layer 1 to be a Module, .* got \('conv',\)"),
    (dict(model=[3]), "expected layer 0 to be a Module, .* got 3"),
    (dict(model=["flatten", ("conv", 3)]), r"layer 1, \('conv', 3\), does not fit a sample of shape \(64,\): .*4 dimensions"),
    (dict(model=[nn.Conv2d(3, 4, 3)]), r"layer 0, Conv2d.*, does not fit a sample of shape \(1, 8, 8\): .*3 channels"),
    (dict(model=nn.Sequential(nn.Flatten(), nn.Linear(64, 9))), r"expected a model whose output is \(N, 10\), got \(N, 9\)"),
    (dict(model=lambda shape, outputs: None), r"expected model\(\(1, 8, 8\), 10\) to give a Module, got NoneType"),
    (dict(model=lambda: None), r"to be a function of \(shape, outputs\), got one that does not take \(\(1, 8, 8\), 10\) \(too "
                               r"many positional arguments\)"),
    (dict(image_shape=(1, 8, 9)), r"expected images of shape \(1, 8, 9\), got X of shape \(600, 8, 8\)"),
    (dict(image_shape=(8,)), r"expected image_shape \(C, H, W\) or \(H, W\), got \(8,\)"),
    (dict(optimizer="newton"), "The 'optimizer' parameter of CNNClassifier must be a str among .*Got 'newton'"),
    (dict(model=3), "The 'model' parameter of CNNClassifier must be"),
    (dict(epochs=0), "The 'epochs' parameter of CNNClassifier must be an int in the range"),
], ids=lambda v: next(iter(v)) if isinstance(v, dict) else "")
def test_mistakes(digits, settings, sentence):
    """One sentence."""
    x, y = digits
    with pytest.raises((ValueError, TypeError), match=sentence) as error:
        lw.CNNClassifier(**settings).fit(x, y)
    assert "\n" not in str(error.value) or "parameter" in sentence or "Conv2d" in sentence


def test_mistakes_in_data(digits):
    """In scikit-learn's words where it has some."""
    x, y = digits
    rows = x.reshape(len(x), -1)
    with pytest.raises(ValueError, match=r"expected image_shape of 64 numbers, as X \(N, F\) has, got \(7, 7\)"):
        small(image_shape=(7, 7)).fit(rows, y)
    with pytest.raises(ValueError, match=r"expected X of shape \(N, C, H, W\), .*, got \(600, 1, 1, 8, 8\)"):
        small().fit(x[:, None, None], y)
    fitted = small().fit(x, y)
    with pytest.raises(ValueError, match=r"expected images of shape \(1, 8, 8\), got X of shape \(600, 7, 8\)"):
        fitted.predict(x[:, 1:])
    with pytest.raises(ValueError, match="X has 63 features, but CNNClassifier is expecting 64 features as input"):
        fitted.predict(rows[:, 1:])
    broken = x.astype(float)
    broken[3, 2, 1] = np.nan
    for call in (lambda: fitted.predict(broken), lambda: small().fit(broken, y)):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            call()
    with pytest.raises(ValueError, match="0 sample"):
        fitted.predict(x[:0])
    with pytest.raises(ValueError, match="The 'solver' parameter of MLPClassifier must be a str among .*Got 'newton'"):
        lw.MLPClassifier(solver="newton").fit(rows, y)
    with pytest.raises(ValueError, match=r"MLPClassifier: expected hidden_layer_sizes of 1 or more, got \(5, 0\)"):
        lw.MLPClassifier((5, 0)).fit(rows, y)
    with pytest.raises(TypeError, match=r"MLPClassifier: expected hidden_layer_sizes of 1 or more, got a Sequential: "
                                        r"CNNClassifier\(model\) takes a network$"):
        lw.MLPClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))).fit(rows, y)
    dataset = lw.data.Dataset(x, y)
    for call in (lambda: small().fit(dataset), lambda: small().fit(dataset, y), lambda: fitted.predict(dataset),
                 lambda: small().partial_fit(dataset, y, np.unique(y)), lambda: lw.MLPClassifier().fit(dataset)):
        with pytest.raises(TypeError, match="expected an array as X, got a Dataset, whose arrays are dataset.images and datas"):
            call()
    with pytest.raises(ValueError, match="This CNNClassifier requires y to be passed, but the target y is None"):
        small().fit((x, y))
    with pytest.raises(lw.NonFiniteError, match="epoch 1, batch"):
        lw.MLPRegressor(solver="sgd", learning_rate_init=1e6, max_iter=50).fit(rows, y)


def test_without_scikit_learn():
    """One sentence, and `import lanewise` does not mind."""
    code = ("import sys; sys.modules['sklearn'] = None; import lanewise as lw; lw.nn\n"
            "try: lw.CNNClassifier\nexcept ImportError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "lanewise's estimators need scikit-learn: pip install lanewise[sklearn]\n"
