"""What a network looks at: the gradient of a class's score with respect to the image.

Trains LeNet-5 on the embedded set, asks for the gradient of the input, and writes a picture of test images above the size of
their gradients (Simonyan, Vedaldi, Zisserman 2014). Run: python examples/saliency.py [--output saliency.png]; needs matplotlib."""
import argparse

import numpy as np

import lanewise as lw
from lanewise import models, nn, optim, plot


def main(epochs=8, output="saliency.png", seed=0):
    """Train, write the picture; returns the share of the saliency that lies where the image is not black."""
    lw.manual_seed(seed)
    training, test = lw.data.load("fashion-mnist-mini")
    model = models.lenet5()
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 2e-3))
    trainer.fit(training, epochs=epochs, batch_size=32, rng=seed)
    print(f"test accuracy {100 * trainer.evaluate(test)['accuracy']:.1f} %")
    index = [int(np.flatnonzero(test.labels == k)[0]) for k in range(test.n_classes)]
    batch, labels = test.batch(index)
    x, found = np.asarray(batch, np.float32), model.eval()(batch).argmax(1)
    titles = [f"{test.classes[k]}{'' if k == y else ' ?'}" for k, y in zip(found, labels)]
    plot.saliency(model, x, found, titles).savefig(output, dpi=120)
    print(f"written: {output}")
    maps = plot.saliency_map(model, x, found)
    return float(maps[test.images[index, 0] > 0].sum() / maps.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", default="saliency.png")
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
