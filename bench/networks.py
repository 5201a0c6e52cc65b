"""The networks that training is measured on, written once for every library."""
import numpy as np

LENET5 = [("conv", 1, 6, 5, 0), ("relu",), ("pool", 2), ("conv", 6, 16, 5, 0), ("relu",), ("pool", 2), ("flatten",),
          ("linear", 256, 120), ("relu",), ("linear", 120, 84), ("relu",), ("linear", 84, 10)]
CIFAR_CNN = [("conv", 3, 32, 3, 1), ("relu",), ("pool", 2), ("conv", 32, 64, 3, 1), ("relu",), ("pool", 2),
             ("conv", 64, 64, 3, 1), ("relu",), ("flatten",), ("linear", 4096, 64), ("relu",), ("linear", 64, 10)]
MLP = [("flatten",), ("linear", 784, 128), ("relu",), ("linear", 128, 10)]

# name: (layers, (C, H, W) of the input, batch sizes measured)
NETWORKS = {"lenet5": (LENET5, (1, 28, 28), (32, 128, 512)), "cifar_cnn": (CIFAR_CNN, (3, 32, 32), (32, 128)),
            "mlp": (MLP, (1, 28, 28), (128,))}
CLASSES = 10


def batch(name, n):
    """A batch (N, C, H, W) float32 and its labels (N,) int64, the same in every process."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, *NETWORKS[name][1]), np.float32), rng.integers(0, CLASSES, n)


def build(nn, layers):
    """The network in a library that names its layers as PyTorch does: `nn` is torch.nn or lanewise.nn."""
    make = dict(conv=lambda i, o, k, p: nn.Conv2d(i, o, k, padding=p), pool=nn.MaxPool2d, linear=nn.Linear,
                relu=nn.ReLU, flatten=nn.Flatten)
    return nn.Sequential(*(make[kind](*args) for kind, *args in layers))


def step_flops(name):
    """Floating-point operations of one sample's training step: forward, weight gradients, and the input gradients that
    are needed (not the first layer's); multiply-adds of convolutions and dense layers, as the textbook counts them."""
    layers, (_, h, w), _ = NETWORKS[name]
    total, first = 0, True
    for kind, *args in layers:
        macs = 0
        if kind == "conv":
            ins, outs, k, pad = args
            h, w = h + 2 * pad - k + 1, w + 2 * pad - k + 1
            macs = h * w * ins * outs * k * k
        elif kind == "pool":
            h, w = h // args[0], w // args[0]
        elif kind == "linear":
            macs = args[0] * args[1]
        total += 2 * macs * (2 if first else 3)
        first = first and not macs
    return total
