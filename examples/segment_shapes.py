"""A fully convolutional network learns to tell circles, squares and triangles on noise apart, pixel by pixel.

Makes images and their masks with NumPy, trains models.FCN with per-pixel cross-entropy, and prints the intersection over
union of every class on images that it has not seen. Run: python examples/segment_shapes.py"""
import argparse

import numpy as np

import lanewise as lw
from lanewise import models, nn, optim

CLASSES = ("background", "circle", "square", "triangle")


def shapes(n, size, rng):
    """n images (N, 1, size, size) with up to three shapes that do not overlap, and masks (N, size, size) of the
    class numbers."""
    row, col = np.mgrid[:size, :size]
    images, masks = np.empty((n, 1, size, size), np.float32), np.zeros((n, size, size), np.int64)
    for image, mask in zip(images, masks):
        image[0] = rng.normal(0, 0.25, (size, size))
        for _ in range(3):
            kind, r = rng.integers(1, 4), rng.uniform(0.13, 0.24) * size
            y, x = row - rng.uniform(r, size - r), col - rng.uniform(r, size - r)
            inside = (y * y + x * x <= r * r, np.maximum(abs(y), abs(x)) <= 0.85 * r,
                      (y <= 0.8 * r) & (abs(x) <= (y + r) * 0.55))[kind - 1]
            if not mask[inside].any():
                image[0][inside] += rng.uniform(0.7, 1.3)
                mask[inside] = kind
    return images, masks


def intersection_over_union(found, true):
    """|found and true| / |found or true| of every class, over all pixels; 1 for a class that is in neither."""
    pairs = [(found == k, true == k) for k in range(len(CLASSES))]
    return [(a & b).sum() / (a | b).sum() if (a | b).any() else 1.0 for a, b in pairs]


def main(epochs=10, images=2000, size=40, seed=0):
    """Train and print; returns the mean intersection over union on 500 new images."""
    rng = np.random.default_rng(seed)
    lw.manual_seed(seed)
    (x, y), (unseen, true) = shapes(images, size, rng), shapes(500, size, rng)
    model, loss_fn = models.FCN(1, size, len(CLASSES)), nn.CrossEntropyLoss()
    opt = optim.Adam(model.parameters(), 3e-3)
    schedule = optim.OneCycleLR(opt, 6e-3, total_steps=epochs * -(-images // 32))
    trainer = lw.Trainer(model, loss_fn, opt)
    for epoch in range(epochs):
        history = trainer.fit((x, y), epochs=1, batch_size=32, schedule=schedule, rng=rng)
        print(f"epoch {epoch + 1}/{epochs}  loss {history['loss'][-1]:.4f}  {history['seconds'][-1]:.1f} s")
    scores = intersection_over_union(trainer.predict(unseen).argmax(1), true)
    for name, value in zip(CLASSES, scores):
        print(f"{name:<12} IoU {value:.3f}")
    print(f"{'mean':<12} IoU {np.mean(scores):.3f}")
    return float(np.mean(scores))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
