"""Style transfer by gradient on the image: the content of one picture, the textures of another.

The layers of a small network trained on the embedded set stand for content (their values) and style (the correlations of their
channels, Gatys, Ecker, Bethge 2016); the image is what Adam moves. Writes content, style and result side by side.
Run: python examples/style_transfer.py [--output style.png]; needs matplotlib."""
import argparse

import numpy as np

import lanewise as lw
from lanewise import nn, optim


class Features(nn.Module):
    """Two convolutions whose values are kept, and a classifier to train them with."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.relu, self.head = nn.AvgPool2d(2), nn.ReLU(), nn.Linear(32 * 49, 10)

    def layers(self, x):
        """(N, 1, 28, 28) -> values after each convolution."""
        first = self.relu(self.conv1(x))
        return first, self.relu(self.conv2(self.pool(first)))

    def forward(self, x):
        """(N, 1, 28, 28) -> (N, 10)."""
        return self.head(self.pool(self.layers(x)[1]).flatten(1))


def transfer(model, content, style, steps=150, rate=0.05, style_weight=1e5, smooth=3e-5):
    """The image and the loss at every step: content's second layer, style's Gram matrices of both, little total variation."""
    gram, mse, variation = nn.GramLoss(), nn.MSELoss(), nn.TotalVariationLoss(power=2)
    wanted = model.layers(lw.tensor(content))[1].numpy()
    textures = [v.numpy() for v in model.layers(lw.tensor(style))]
    model.requires_grad_(False)
    image, losses = nn.Parameter(content.copy()), []
    opt = optim.Adam([image], rate)
    for _ in range(steps):
        x = lw.tensor(image.data, requires_grad=True)
        values = model.layers(x)
        loss = mse(values[1], wanted) + smooth * variation(lw.graph.as_value(x))
        for value, texture in zip(values, textures):
            loss = loss + style_weight * gram(value, texture)
        loss.backward()
        image.grad = x.grad
        opt.step()
        losses.append(loss.item())
    model.requires_grad_(True)
    return image.data, losses


def main(epochs=4, steps=150, output="style.png", seed=0):
    """Train the features, transfer, write the picture; returns the loss at the first and the last step."""
    lw.manual_seed(seed)
    training, test = lw.data.load("fashion-mnist-mini")
    model = Features()
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 2e-3))
    trainer.fit(training, epochs=epochs, batch_size=32, rng=seed)
    print(f"test accuracy {100 * trainer.evaluate(test)['accuracy']:.1f} %")
    content, style = (np.asarray(test.batch([int(np.flatnonzero(test.labels == k)[1])])[0], np.float32) for k in (0, 6))
    image, losses = transfer(model, content, style, steps)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 2.3), layout="constrained")
    for axis, picture, name in zip(figure.subplots(1, 3), (content, style, image), ("content", "style", "result")):
        axis.imshow(picture[0, 0], cmap="gray")
        axis.set_title(name)
        axis.set_axis_off()
    figure.savefig(output, dpi=120)
    print(f"written: {output}")
    return losses[0], losses[-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--output", default="style.png")
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
