"""What the tests of the estimators share."""
import numpy as np
import pytest

import lanewise as lw


@pytest.fixture(scope="module")
def digits():
    """(images (N, 8, 8) uint8, labels) of scikit-learn's digits."""
    from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    return (x.reshape(-1, 8, 8) * 15).astype(np.uint8)[:600], y[:600]


def small(**settings):
    """A CNN that is trained in a moment."""
    settings = {**dict(epochs=4, learning_rate=1e-2, random_state=0), **settings}
    return lw.CNNClassifier([("conv", 8), "relu", ("pool", 2)], **settings)
