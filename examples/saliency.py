"""What a network looks at: the gradient of a class's score with respect to the image.

Trains LeNet-5 on the embedded set, asks for the gradient of the input, and writes a picture of test images beside the size of
their gradients (Simonyan, Vedaldi, Zisserman 2014). Run: python examples/saliency.py [--output saliency.png]; needs matplotlib."""
import argparse

import numpy as np

import lanewise as lw
from lanewise import models, nn, optim


def saliency(model, x, classes):
    """|d score[class] / d x|, the largest over channels, of images (N, C, H, W) float32: (N, H, W)."""
    mode = model.training
    model.eval()
    leaf = lw.tensor(x, requires_grad=True)
    scores = model(leaf)
    onehot = np.zeros(scores.shape, x.dtype)
    onehot[np.arange(len(x)), classes] = 1
    (scores * onehot).sum().backward()
    model.train(mode)
    for p in model.parameters():
        p.grad = None
    return np.abs(leaf.grad).max(1)


def picture(images, maps, names, path):
    """Images above, their saliency below."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(1.5 * len(images), 3.2), layout="constrained")
    axes = figure.subplots(2, len(images))
    for column, (image, heat, name) in enumerate(zip(images, maps, names)):
        axes[0, column].imshow(image, cmap="gray")
        axes[0, column].set_title(name, fontsize=8)
        axes[1, column].imshow(heat, cmap="magma")
        for axis in axes[:, column]:
            axis.set_axis_off()
    figure.savefig(path, dpi=120)


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
    found = model.eval()(batch).argmax(1)
    maps = saliency(model, np.asarray(batch, np.float32), found)
    images = test.images[index, 0]
    picture(images, maps, [f"{test.classes[k]}{'' if k == y else ' ?'}" for k, y in zip(found, labels)], output)
    print(f"written: {output}")
    return float(maps[images > 0].sum() / maps.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", default="saliency.png")
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
