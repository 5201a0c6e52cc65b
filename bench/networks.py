"""The networks that are measured, written once for every library: lists of layers.

    ("conv", C, O, K, padding, stride=1, groups=1, bias=True)   K x K; groups: 1, or C = O for a depthwise convolution
    ("batchnorm", C)      ("relu",)      ("pool", K)            max-pool of windows K and stride K
    ("mean",)             of an image: (N, C, 1, 1)
    ("flatten",)          ("linear", F, O)
    ("residual", main, shortcut)                                lists of layers on the same input, added; [] is the input

An array of parameters is counted in the order of the layers, main before shortcut, each with its weight before its bias.
"""
from collections import namedtuple

import numpy as np

Conv = namedtuple("Conv", "ins outs k pad stride groups bias", defaults=(1, 1, True))


def _normalised(*conv):
    """A convolution without bias, batch normalisation."""
    return [("conv", *conv, False), ("batchnorm", conv[1])]


def _basic(ins, outs, stride):
    """A block of a ResNet, the shortcut of option B (He et al. 2015): lanewise.models.BasicBlock."""
    same = ins == outs and stride == 1
    return [("residual", [*_normalised(ins, outs, 3, 1, stride, 1), ("relu",), *_normalised(outs, outs, 3, 1, 1, 1)],
             [] if same else _normalised(ins, outs, 1, 0, stride, 1)), ("relu",)]


def _separable(ins, outs, stride):
    """A block of a MobileNet: depthwise and pointwise convolutions."""
    return [*_normalised(ins, ins, 3, 1, stride, ins), ("relu",), *_normalised(ins, outs, 1, 0, 1, 1), ("relu",)]


def _blocks(make, ins, stages):
    """3x3 convolution to `ins` channels, make(ins, outs, stride) for each of the stages, scores of the image's mean."""
    layers = [*_normalised(3, ins, 3, 1, 1, 1), ("relu",)]
    for outs, stride in stages:
        layers += make(ins, outs, stride)
        ins = outs
    return [*layers, ("mean",), ("flatten",), ("linear", ins, 10)]


LENET5 = [("conv", 1, 6, 5, 0), ("relu",), ("pool", 2), ("conv", 6, 16, 5, 0), ("relu",), ("pool", 2), ("flatten",),
          ("linear", 256, 120), ("relu",), ("linear", 120, 84), ("relu",), ("linear", 84, 10)]
CIFAR_CNN = [("conv", 3, 32, 3, 1), ("relu",), ("pool", 2), ("conv", 32, 64, 3, 1), ("relu",), ("pool", 2),
             ("conv", 64, 64, 3, 1), ("relu",), ("flatten",), ("linear", 4096, 64), ("relu",), ("linear", 64, 10)]
MLP = [("flatten",), ("linear", 784, 128), ("relu",), ("linear", 128, 10)]
RESNET20 = _blocks(_basic, 16, [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)])
MOBILENET = _blocks(_separable, 32, [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)])

# name: (layers, (C, H, W) of the input, batch sizes measured)
NETWORKS = {"lenet5": (LENET5, (1, 28, 28), (32, 128, 512)), "cifar_cnn": (CIFAR_CNN, (3, 32, 32), (32, 128)),
            "mlp": (MLP, (1, 28, 28), (128,)), "resnet20": (RESNET20, (3, 32, 32), (128,)),
            "mobilenet": (MOBILENET, (3, 32, 32), (128,))}
CLASSES = 10


def batch(name, n):
    """A batch (N, C, H, W) float32 and its labels (N,) int64, the same in every process."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, *NETWORKS[name][1]), np.float32), rng.integers(0, CLASSES, n)


def walk(layers, shape):
    """(kind, arguments, shape before, shape after) of every layer, those of a residual block in its place; returns the last
    shape. Shapes are of a sample, (C, H, W) or (F,)."""
    for kind, *args in layers:
        if kind == "residual":
            after = yield from walk(args[0], shape)
            yield from walk(args[1], shape)
        else:
            after = shape
            if kind == "conv":
                c = Conv(*args)
                after = (c.outs, *((s + 2 * c.pad - c.k) // c.stride + 1 for s in shape[1:]))
            elif kind == "pool":
                after = (shape[0], *(s // args[0] for s in shape[1:]))
            elif kind == "mean":
                after = (shape[0], 1, 1)
            elif kind == "flatten":
                after = (int(np.prod(shape)),)
            elif kind == "linear":
                after = (args[1],)
            yield kind, args, shape, after
        shape = after
    return shape


def weights(name, channels_last=False):
    """Initial parameters, arrays of float32, the same in every process: (O, I, K, K) and (O, F) as in PyTorch, of
    the scale of He et al. 2015; channels_last: (K, K, I, O) and (F, O), after a flatten for images (H, W, C)."""
    rng, image, out = np.random.default_rng(11), None, []
    for kind, args, before, _ in walk(*NETWORKS[name][:2]):
        if kind == "flatten":
            image = before
        elif kind == "batchnorm":
            out += [rng.uniform(0.5, 1.5, args[0]), rng.uniform(-0.5, 0.5, args[0])]
        elif kind == "conv":
            c = Conv(*args)
            fan = c.ins // c.groups * c.k * c.k
            w = rng.normal(0, (2 / fan) ** 0.5, (c.outs, c.ins // c.groups, c.k, c.k))
            out.append(w.transpose(2, 3, 1, 0) if channels_last else w)
            if c.bias:
                out.append(rng.uniform(-0.5, 0.5, c.outs))
        elif kind == "linear":
            w = rng.normal(0, (2 / args[0]) ** 0.5, (args[1], args[0]))
            if channels_last:
                w = w.reshape(-1, *image).transpose(0, 2, 3, 1).reshape(args[1], args[0]).T if image else w.T
            image = None
            out += [w, rng.uniform(-0.5, 0.5, args[1])]
    return [np.ascontiguousarray(a, np.float32) for a in out]


def through(layers, x, make):
    """x through the layers, where make[kind](*arguments) gives a layer to call."""
    for kind, *args in layers:
        x = through(args[0], x, make) + through(args[1], x, make) if kind == "residual" else make[kind](*args)(x)
    return x


def build(nn, layers):
    """The network in a library that names its layers as PyTorch does: `nn` is torch.nn or lanewise.nn."""
    class Residual(nn.Module):
        def __init__(self, main, shortcut):
            super().__init__()
            self.main, self.shortcut = build(nn, main), build(nn, shortcut) if shortcut else nn.Identity()

        def forward(self, x):
            return self.main(x) + self.shortcut(x)

    def conv(*args):
        c = Conv(*args)
        return nn.Conv2d(c.ins, c.outs, c.k, c.stride, c.pad, groups=c.groups, bias=c.bias)
    make = dict(conv=conv, batchnorm=nn.BatchNorm2d, pool=nn.MaxPool2d, linear=nn.Linear, relu=nn.ReLU, flatten=nn.Flatten,
                mean=lambda: nn.AdaptiveAvgPool2d(1), residual=Residual)
    return nn.Sequential(*(make[kind](*args) for kind, *args in layers))


def state(model, name):
    """What build()'s model is to load to have weights(name), as arrays; running statistics are left out."""
    return {key: w for (key, _), w in zip(model.named_parameters(), weights(name))}


def _multiply_adds(name):
    """Of one sample's convolutions and dense layers, in the order of the layers, as the textbook counts them."""
    out = []
    for kind, args, _, after in walk(*NETWORKS[name][:2]):
        if kind == "conv":
            c = Conv(*args)
            out.append(int(np.prod(after)) * (c.ins // c.groups) * c.k * c.k)
        elif kind == "linear":
            out.append(args[0] * args[1])
    return out


def forward_flops(name):
    """Floating-point operations of one sample's scores: multiply-adds of convolutions and dense layers."""
    return 2 * sum(_multiply_adds(name))


def step_flops(name):
    """The same of one sample's training step: forward, weight gradients, and the input gradients that are needed (not the
    first layer's)."""
    return 3 * forward_flops(name) - 2 * _multiply_adds(name)[0]
