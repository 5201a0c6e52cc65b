"""lw.plot.network: a box a layer, the shapes in them, and what goes from one to the other."""
import numpy as np
import pytest
from plot_case import Residual, drawn, words  # noqa: F401: drawn is a fixture of every test

import lanewise as lw
from lanewise import models, nn

plot = lw.plot


def test_network_lenet():
    """A box a layer with weights, the shapes in them, an arrow between neighbours."""
    ax = plot.network(models.lenet5(), (1, 28, 28))
    assert len(ax.patches) == 6 and len(ax.lines) == 5
    assert words(ax)[:12] == ["input", "1×28×28", "Conv 5×5", "ReLU", "MaxPool 2", "6×12×12", "Conv 5×5", "ReLU",
                              "MaxPool 2", "Flatten", "256", "Linear"]
    assert words(ax)[-2:] == ["Linear", "10"]


def apart(ax):
    """Boxes that do not overlap."""
    boxes = np.array([p.get_bbox().extents for p in ax.patches])
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    over = ((low < boxes[None, :, 2:]) & (boxes[None, :, :2] < high)).all(-1)
    return over.sum() == len(boxes)


@pytest.mark.parametrize("name", ["mlp", "cifar_cnn", "vgg", "resnet8", "resnet20", "mobilenet", "fcn", "logistic_regression"])
def test_networks(name):
    """Every layer with weights has its box, apart from the others; a residual block has its join."""
    model = models.MODELS[name]()
    first = next(iter(model.parameters())).shape
    shape = (first[1], 32, 32) if len(first) == 4 else (1, 28, 28)
    ax = plot.network(model, shape)
    heads = sum(hasattr(m, "weight") and len(m.weight.shape) > 1 for m in model.modules())
    joins = sum(isinstance(m, models.BasicBlock) for m in model.modules())
    assert words(ax).count("+") == (joins or 3 * (name == "fcn"))
    assert sum(w.split()[0] in ("Conv", "ConvT", "Linear") for w in words(ax)) == heads
    assert len(ax.patches) >= 1 + heads + joins and apart(ax)


def test_network_branches():
    """What skips goes over the boxes between: in ResNet the join has two arrows, one of them with four corners."""
    ax = plot.network(Residual(), (2, 8, 8))
    assert words(ax) == ["input", "2×8×8", "Conv 3×3", "ReLU", "2×8×8", "Conv 3×3", "Dropout", "2×8×8", "+", "2×8×8"]
    top = max(p.get_bbox().y1 for p in ax.patches), min(p.get_bbox().y0 for p in ax.patches)
    assert len(ax.lines) == 4 and sum(min(line.get_ydata()) < min(top) for line in ax.lines) == 1


class Inception(nn.Module):
    """Three branches of an image side by side, then tokens that look at each other."""

    def __init__(self):
        super().__init__()
        self.table, self.q, self.k, self.out = nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.a, self.b, self.c = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, 1, 1), nn.Conv2d(2, 2, 3, 1, 1)
        self.d = nn.MaxPool2d(3, 1, 1)

    def forward(self, x):
        x = self.table(x)
        x = nn.functional.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1) @ x + x
        y = x.reshape(x.shape[0], 1, 6, 8)
        return lw.concat([self.a(y), self.c(self.b(y)), self.d(y)], 1), self.out(x)


def test_network_of_many_branches():
    """Indices, attention, three branches joined, two outputs."""
    ax = plot.network(Inception(), (6,), dtype=np.int64)
    said = words(ax)
    assert apart(ax) and said.count("@") == 2 and said.count("+") == said.count("concat") == 1 and "5×6×8" in said
    concat = said.index("concat")
    assert said[concat + 1] == "5×6×8"
