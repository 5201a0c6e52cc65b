"""What the tests of training share: a small network, images of four classes that can be told apart, and a Trainer."""
import numpy as np

import lanewise as lw
from lanewise import nn, optim
from lanewise.callbacks import Callback


def small():
    """A network for (N, 2, 6, 6) and four classes, the same every time."""
    lw.manual_seed(4)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))


def made(n=50, kind=np.float32):
    """Images of four classes that can be told apart."""
    rng = np.random.default_rng(8)
    y = np.arange(n) % 4
    x = rng.uniform(0, 60, (n, 2, 6, 6))
    for i, c in enumerate(y):
        x[i, c % 2, c // 2 * 3:c // 2 * 3 + 3] += 150
    return (x.astype(np.uint8), y) if kind == np.uint8 else ((x / 255).astype(kind), y)


def trainer(lr=1e-2, model=None, **kw):
    """A Trainer on small(), with SGD."""
    model = model or small()
    return lw.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr, momentum=0.9), **kw)


def bits(model):
    """The bytes of all weights."""
    return b"".join(v.tobytes() for v in model.state_dict().values())


class Made(Callback):
    """Puts made-up numbers into the logs as "made"; with mark, the first bias becomes the epoch's number."""

    def __init__(self, values, mark=False):
        self.values, self.mark = values, mark

    def on_epoch_end(self, epoch, logs):
        logs["made"] = self.values[epoch]
        if self.mark:
            self.model[0].bias.data[...] = epoch
