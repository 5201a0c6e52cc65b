"""The pictures of reference/plots.md: `python docs/pictures.py [FOLDER]` (docs/pictures by default); needs matplotlib.

A LeNet-5 on the images that come inside the package, with one seed: the same numbers on every machine with the same kernels."""
import sys
from pathlib import Path

import matplotlib
import numpy as np

import lanewise as lw
from lanewise import models, nn, optim, plot


def main(folder: Path) -> None:
    """Write a PNG file for each function that has a picture."""
    matplotlib.use("Agg")
    lw.manual_seed(0)
    training, test = lw.data.load("fashion-mnist-mini")
    model = models.lenet5()
    opt = optim.Adam(model.parameters(), lr=2e-3)
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), opt)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, 8 * -(-len(training) // 32))
    history = trainer.fit(training, 8, 32, validation_data=test, rng=0, schedule=schedule)
    images = np.asarray(test.batch(range(6))[0])
    found = {
        "samples": plot.samples(training),
        "classes": plot.classes(training.labels, training.classes),
        "history": plot.history(history),
        "network": plot.network(models.resnet8(), (3, 32, 32)),
        "filters": plot.filters(model),
        "feature_maps": plot.feature_maps(model, images[0], "3"),
        "confusion": plot.confusion(model, test),
        "mistakes": plot.mistakes(model, test),
        "saliency": plot.saliency(model, images, names=test.classes)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in found.items():
        drawn.figure.savefig(folder / f"{name}.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
