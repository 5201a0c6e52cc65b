"""Choosing a learning rate and a weight decay of a LeNet-5 with scikit-learn's searches.

RandomizedSearchCV draws them log-uniformly (Bergstra and Bengio 2012), first coarsely, then around the best.
HalvingRandomSearchCV gives many settings one epoch, the better third of them three, and so on (Jamieson and Talwalkar 2016).
Every setting is scored on one held-out fifth of the embedded training set; the last line is the winner on the test set.
Run: python examples/search_sklearn.py; needs lanewise[sklearn] and SciPy."""
import argparse
import warnings

from scipy.stats import loguniform
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401: makes the next import possible
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV, StratifiedShuffleSplit

import lanewise as lw
from lanewise import models

RANGES = {"learning_rate": (1e-5, 1e-1), "weight_decay": (1e-6, 1e-2)}


def lenet(shape, outputs):
    """A function at the top of a module, so that other processes (n_jobs) can be sent it."""
    return models.lenet5(shape[0], shape[-1], outputs)


def around(setting, factor=4.0):
    """Ranges a factor to each side of a setting, inside RANGES."""
    return {k: (max(low, setting[k] / factor), min(high, setting[k] * factor)) for k, (low, high) in RANGES.items()}


def draws(ranges):
    """Distributions that are even on a log scale."""
    return {k: loguniform(*r) for k, r in ranges.items()}


def main(epochs=3, tries=8, candidates=18, n_jobs=None, seed=0):
    """Search and print; returns (best coarse, best fine, best halving score, test accuracy of the best)."""
    training, test = lw.data.load("fashion-mnist-mini")
    network = lw.CNNClassifier(lenet, epochs=epochs, random_state=seed)
    fold = StratifiedShuffleSplit(1, test_size=0.2, random_state=seed)
    shared = dict(cv=fold, n_jobs=n_jobs, refit=False, error_score=0.0)     # a rate that blows up scores 0
    coarse = RandomizedSearchCV(network, draws(RANGES), n_iter=tries, random_state=seed, **shared)
    halving = HalvingRandomSearchCV(network, draws(RANGES), n_candidates=candidates, factor=3, resource="epochs",
                                    min_resources=1, max_resources=3 * epochs, random_state=seed, **shared)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        coarse.fit(training.images, training.labels)
        fine = RandomizedSearchCV(network, draws(around(coarse.best_params_)), n_iter=tries, random_state=seed + 1, **shared)
        searches = (("random, coarse", coarse), ("random, fine", fine.fit(training.images, training.labels)),
                    ("halving", halving.fit(training.images, training.labels)))
    for name, search in searches:
        text = ", ".join(f"{k} {v:.2g}" for k, v in search.best_params_.items())
        print(f"{name:<15} {100 * search.best_score_:.1f} %  {text}")
    rounds = ", ".join(f"{n} x {e}" for n, e in zip(halving.n_candidates_, halving.n_resources_))
    print(f"halving, settings x epochs: {rounds}")
    best = max((s for _, s in searches), key=lambda s: s.best_score_).best_params_
    network.set_params(**{**best, "epochs": 3 * epochs}).fit(training.images, training.labels)
    accuracy = network.score(test.images, test.labels)
    print(f"the best on the test set {100 * accuracy:.1f} %")
    return (*(s.best_score_ for _, s in searches), accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--candidates", type=int, default=18, help="settings that halving starts with")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
