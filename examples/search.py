"""Choosing a learning rate and a weight decay, with the searches written out.

One validation fold of the embedded set; rates drawn at random on a log scale (Bergstra and Bengio 2012), first coarsely, then
around the best, with a warning when the best lies on the border of what was searched; then Bayesian search: a Gaussian process
of the accuracies so far says where an improvement is most to be expected (Snoek, Larochelle and Adams 2012).
search_sklearn.py and search_optuna.py leave the searching to those libraries.
Run: python examples/search.py; needs scikit-learn and SciPy."""
import argparse

import numpy as np

import lanewise as lw
from lanewise import models, nn, optim

RANGES = {"lr": (1e-5, 1e-1), "weight_decay": (1e-6, 1e-2)}


def folds(share=0.2, seed=0):
    """(training, validation) arrays of the embedded training set."""
    training, _ = lw.data.load("fashion-mnist-mini")
    order = np.random.default_rng(seed).permutation(len(training))
    cut = int(len(order) * share)
    return tuple((training.images[i], training.labels[i]) for i in (order[cut:], order[:cut]))


def trained(data, setting, epochs, seed=0):
    """A LeNet-5 and its trainer after some epochs with {"lr": ..., "weight_decay": ...}."""
    lw.manual_seed(seed)
    model = models.lenet5()
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), **setting))
    try:
        trainer.fit(data, epochs=epochs, batch_size=32, rng=seed)
    except lw.NonFiniteError:
        pass                                # a rate that blows up: the last good weights are scored
    return trainer


def score(setting, data, epochs):
    """Validation accuracy."""
    return trained(data[0], setting, epochs).evaluate(data[1])["accuracy"]


def border(setting, ranges):
    """The names whose value lies in the outer twentieth of its range, on the log scale: the range should be moved."""
    where = {k: np.log(setting[k] / low) / np.log(high / low) for k, (low, high) in ranges.items()}
    return [k for k, t in where.items() if not 0.05 < t < 0.95]


def around(setting, ranges, factor=4.0):
    """Ranges a factor to each side of a setting, inside the old ones."""
    return {k: (max(low, setting[k] / factor), min(high, setting[k] * factor)) for k, (low, high) in ranges.items()}


def random_search(evaluate, ranges, n, seed=0):
    """[(score, setting)] of n settings drawn log-uniformly, the best first."""
    from scipy.stats import loguniform
    from sklearn.model_selection import ParameterSampler
    draws = ParameterSampler({k: loguniform(*r) for k, r in ranges.items()}, n, random_state=seed)
    return sorted(((evaluate(s), s) for s in draws), key=lambda pair: -pair[0])


def bayesian_search(evaluate, ranges, n, seen, seed=0):
    """[(score, setting)], the best first: `seen` and n more, each where the expected improvement is largest."""
    from scipy.stats import norm
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern
    rng, names, seen = np.random.default_rng(seed), list(ranges), list(seen)
    low, high = (np.log([ranges[k][i] for k in names]) for i in (0, 1))
    for _ in range(n):
        x = (np.log([[s[k] for k in names] for _, s in seen]) - low) / (high - low)
        y = np.array([v for v, _ in seen])
        process = GaussianProcessRegressor(Matern(0.3, "fixed", nu=2.5), alpha=1e-2, normalize_y=True).fit(x, y)
        points = rng.random((500, len(names)))
        mean, deviation = process.predict(points, return_std=True)
        z = (mean - y.max()) / np.maximum(deviation, 1e-9)
        best = points[np.argmax(deviation * (z * norm.cdf(z) + norm.pdf(z)))]
        setting = dict(zip(names, np.exp(low + best * (high - low)).tolist()))
        seen.append((evaluate(setting), setting))
    return sorted(seen, key=lambda pair: -pair[0])


def main(epochs=3, tries=8, seed=0):
    """Search and print; returns the best accuracies of (coarse, fine, Bayesian) search."""
    data = folds(seed=seed)
    best = []
    coarse = random_search(lambda s: score(s, data, epochs), RANGES, tries, seed)
    fine = random_search(lambda s: score(s, data, epochs), around(coarse[0][1], RANGES), tries, seed + 1)
    bayes = bayesian_search(lambda s: score(s, data, epochs), RANGES, tries, coarse, seed)
    for name, found in (("random, coarse", coarse), ("random, fine", fine), ("Bayesian", bayes)):
        value, setting = found[0]
        text = ", ".join(f"{k} {v:.2g}" for k, v in setting.items())
        edge = border(setting, RANGES)
        print(f"{name:<15} {100 * value:.1f} %  {text}" + (f"  (on the border of {', '.join(edge)}: move it)" if edge else ""))
        best.append(value)
    return tuple(best)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
