"""Two pictures of a course: the paths of all optimizers on one loss surface, and what activations and initial weights do to the
numbers and gradients of a deep network, layer by layer.

Run: python examples/course_pictures.py [--folder .]; needs matplotlib. Writes optimizer_paths.png and layer_statistics.png."""
import argparse
from pathlib import Path

import numpy as np

import lanewise as lw
from lanewise import nn, optim

# on f(a, b) = a^2 / 20 + b^2: a valley twenty times as long as wide
OPTIMIZERS = {"SGD": (optim.SGD, dict(lr=0.9)), "momentum": (optim.SGD, dict(lr=0.1, momentum=0.9)),
              "Nesterov": (optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)), "Adagrad": (optim.Adagrad, dict(lr=2.0)),
              "RMSprop": (optim.RMSprop, dict(lr=0.1)), "Adam": (optim.Adam, dict(lr=0.5)), "AdamW": (optim.AdamW, dict(lr=0.3)),
              "Adamax": (optim.Adamax, dict(lr=0.5))}
NETWORKS = {"sigmoid, N(0, 1)": (nn.Sigmoid, lambda w, rng: nn.init.normal_(w, rng=rng)),
            "tanh, N(0, 0.01)": (nn.Tanh, lambda w, rng: nn.init.normal_(w, std=0.01, rng=rng)),
            "tanh, Xavier": (nn.Tanh, lambda w, rng: nn.init.xavier_normal_(w, rng=rng)),
            "ReLU, Xavier": (nn.ReLU, lambda w, rng: nn.init.xavier_normal_(w, rng=rng)),
            "ReLU, Kaiming": (nn.ReLU, lambda w, rng: nn.init.kaiming_normal_(w, nonlinearity="relu", rng=rng)),
            "ELU, Kaiming": (nn.ELU, lambda w, rng: nn.init.kaiming_normal_(w, nonlinearity="relu", rng=rng))}


def path(name, start=(-9.0, 2.5), steps=80):
    """The points (steps + 1, 2) that an optimizer visits."""
    make, settings = OPTIMIZERS[name]
    p = nn.Parameter(np.array(start))
    opt, points = make([p], **settings), [np.array(start)]
    for _ in range(steps):
        opt.zero_grad()
        (p * p * np.array([[1 / 20, 1]])).sum().backward()
        opt.step()
        points.append(p.data.copy())
    return np.array(points)


def statistics(name, depth=8, width=128, samples=256, seed=0):
    """Layer by layer: the spread of the activations, the share that is saturated or dead (a derivative below 0.05), the spread
    of the weights' gradients: three arrays (depth,)."""
    activation, init = NETWORKS[name]
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False, rng=rng), activation()]
        init(layers[-2].weight, rng)
    model = nn.Sequential(*layers, nn.Linear(width, 10, rng=rng))
    x, y = rng.standard_normal((samples, width)).astype(np.float32), rng.integers(0, 10, samples)
    nn.CrossEntropyLoss()(model(x), y).backward()
    spread, dead, gradient = [], [], []
    for linear, after in zip(layers[::2], layers[1::2]):
        before = linear(x).numpy()
        leaf = lw.tensor(before, requires_grad=True)
        after(leaf).sum().backward()
        x = after(before).numpy()
        spread.append(x.std())
        dead.append((np.abs(leaf.grad) < 0.05).mean())
        gradient.append(linear.weight.grad.std())
    return tuple(map(np.array, (spread, dead, gradient)))


def optimizer_paths():
    """All paths on the contours of the surface: the Figure."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis = figure.subplots()
    a, b = np.meshgrid(np.linspace(-10, 4, 200), np.linspace(-3, 3, 200))
    axis.contour(a, b, a * a / 20 + b * b, levels=np.geomspace(0.02, 10, 12), colors="0.8", linewidths=0.8)
    for name in OPTIMIZERS:
        axis.plot(*path(name).T, marker=".", markersize=3, linewidth=1, label=name)
    axis.plot(0, 0, "k+", markersize=12)
    axis.set(xlim=(-10, 4), ylim=(-3, 3), title="80 steps on a² / 20 + b²")
    axis.legend(loc="upper right", fontsize=8)
    return figure


def layer_statistics():
    """Three panels, a line a network: the Figure."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = ("spread of the activations", "share with a derivative below 0.05", "spread of the weights' gradients")
    for name in NETWORKS:
        for axis, values in zip(axes, statistics(name)):
            axis.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    for axis, title, log in zip(axes, titles, (True, False, True)):
        axis.set(title=title, xlabel="layer")
        if log:
            axis.set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(NETWORKS), fontsize=8)
    return figure


def main(folder="."):
    """Draw both; returns the files."""
    files = []
    for draw in (optimizer_paths, layer_statistics):
        files.append(Path(folder) / f"{draw.__name__}.png")
        draw().savefig(files[-1], dpi=110)
    print(*(f"written: {file}" for file in files), sep="\n")
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default=".")
    main(**vars(parser.parse_args()))
