"""What several networks together are worth, on the test set of the embedded images: 3,000 to learn from, 1,000 to test.

Seeds: networks trained apart, their probabilities averaged (Hansen and Salamon 1990). Snapshots: the same from the ends of one
training's cosine cycles (Huang et al. 2017), each cycle with two fifths of the images, drawn anew, after bagging (Breiman
1996). Weights: the mean of the weights along one training at a high constant rate (Izmailov et al. 2018), one network to ask:
the rate's noise, which keeps every member down, is averaged away.

With --seed 0 to 19, accuracy in %, means over the 20; the same networks also asked the 10,000 images of the whole test set:

    way        members  best of 6  together  beats its best member   by (least, mean)   10,000 images: together, beats, by
    seeds         83.9       85.5      88.1               20 of 20           1.0, 2.6             86.0, 20 of 20, 1.4, 2.4
    snapshots     83.5       84.6      87.2               20 of 20           1.0, 2.6             85.2, 20 of 20, 1.8, 2.5
    weights       82.7       84.9      87.2               20 of 20           1.3, 2.3             85.4, 20 of 20, 1.3, 2.2

The members are no better than their high rates and few images let them be. One network whose rate falls from 0.1 to 0 in 14
epochs, the cost of "weights", has 86.7 on average of 10 seeds: below all three, but snapshots and weights are near. Snapshots
with all images in every cycle (6 of 6 epochs from 0.1) have better members, 86.8, and together 87.9, but they err alike, and
beat their best by 0.2 to 0.7 only: 2 to 7 images of the 1,000.
Run: python examples/ensembles.py; --test fashion-mnist asks the whole test set"""
import argparse

import numpy as np

import lanewise as lw
from lanewise import models, nn, optim


def network():
    """LeNet-5 with batch normalisation behind every layer but the last, which lets it bear high rates."""
    *hidden, last = models.lenet5()
    layers = []
    for layer in hidden:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
        elif isinstance(layer, nn.Linear):
            layers.append(nn.BatchNorm1d(layer.out_features))
    return nn.Sequential(*layers, last)


def trainer(seed, lr, decay=1e-3):
    """A fresh network with Nesterov's momentum and weight decay."""
    lw.manual_seed(seed)
    model = network()
    return lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr, 0.9, weight_decay=decay, nesterov=True))


def seeds(training, members, epochs, seed=0):
    """(members, Ensemble) of networks that differ in initial weights and order of the samples."""
    alone = []
    for i in range(100 * seed, 100 * seed + members):
        one = trainer(i, 0.05)
        one.fit(training, epochs=epochs, rng=i)
        alone.append(one.model)
    return alone, lw.Ensemble(alone)


def snapshots(training, members, epochs, seed=0):
    """(members, Ensemble) of one network's cosine cycles, twice as many epochs each, of two fifths of the images."""
    one, rng, alone = trainer(100 * seed, 0.2, 2e-3), np.random.default_rng(seed), []
    for _ in range(members):
        share = training.subset(rng.permutation(len(training))[:2 * len(training) // 5])
        alone += lw.snapshots(one, share, 1, 2 * epochs, rng=rng)
    return alone, lw.Ensemble(alone)


def weights(training, members, epochs, seed=0):
    """(members, one model) of the mean of the weights after each of `members` epochs that follow `epochs`."""
    one, rng = trainer(100 * seed, 0.1), np.random.default_rng(seed)
    one.fit(training, epochs=epochs, rng=rng)
    alone = lw.snapshots(one, training, members, 1, rng=rng, rate="constant")
    model = network()
    model.load_state_dict(lw.average_weights(alone))
    lw.update_bn(training, model)
    return alone, lw.Ensemble([model])


WAYS = {"seeds": seeds, "snapshots": snapshots, "weights": weights}


def main(members=6, epochs=8, seed=0, test="fashion-mnist-mini"):
    """Train and print; returns {way: (accuracies of the members, accuracy together)}."""
    training, found = lw.data.load("fashion-mnist-mini")[0], {}
    test = lw.data.load(test)[1]
    for name, way in WAYS.items():
        alone, together = way(training, members, epochs, seed)
        accuracies = [lw.Trainer(m, nn.CrossEntropyLoss()).evaluate(test)["accuracy"] for m in alone]
        found[name] = accuracies, together.evaluate(test)["accuracy"]
        print(f"{name:<10} {', '.join(f'{100 * a:.1f}' for a in accuracies)} %: mean {100 * np.mean(accuracies):.1f} %, "
              f"best {100 * max(accuracies):.1f} %, together {100 * found[name][1]:.1f} %")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", choices=["fashion-mnist-mini", "fashion-mnist"], default="fashion-mnist-mini")
    main(**vars(parser.parse_args()))
