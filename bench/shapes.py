"""The shapes that the array functions are measured on: all of them, and nothing else.

An entry is (name, arguments of the contest of its op: contests*.py). They come from LeNet-5, the CIFAR CNN (32-64-64),
ResNet-20, and from what is awkward: 1x1, 7x7 with stride 2, depthwise, odd images, one sample. Each op has at least one entry
that is small enough for loops in Python (MOST_PYTHON_STEPS in contest.py).
"""
GRADIENTS = {"im2col": "col2im", "col2im": "im2col"}    # each is the other's gradient, and measured once

ACTIVATION = [("CIFAR CNN conv 1", dict(x=(128, 32, 32, 32))), ("one small image", dict(x=(1, 16, 14, 14)))]

SHAPES = {
    "conv2d": [
        ("LeNet-5 conv 1", dict(x=(128, 1, 28, 28), w=(6, 1, 5, 5))),
        ("LeNet-5 conv 2", dict(x=(128, 6, 12, 12), w=(16, 6, 5, 5))),
        ("LeNet-5 conv 2", dict(x=(16, 6, 12, 12), w=(16, 6, 5, 5))),
        ("CIFAR CNN conv 2", dict(x=(128, 32, 16, 16), w=(64, 32, 3, 3), padding=1)),
        ("CIFAR CNN conv 3", dict(x=(128, 64, 8, 8), w=(64, 64, 3, 3), padding=1)),
        ("one sample", dict(x=(1, 32, 16, 16), w=(64, 32, 3, 3), padding=1)),
        ("one sample", dict(x=(1, 16, 12, 12), w=(16, 16, 3, 3), padding=1)),
        ("ResNet-20 stage 1", dict(x=(32, 16, 32, 32), w=(16, 16, 3, 3), padding=1)),
        ("ResNet-20 to stage 2", dict(x=(32, 16, 32, 32), w=(32, 16, 3, 3), stride=2, padding=1)),
        ("1x1", dict(x=(64, 64, 16, 16), w=(128, 64, 1, 1))),
        ("7x7 stride 2", dict(x=(8, 3, 112, 112), w=(64, 3, 7, 7), stride=2, padding=3)),
        ("depthwise", dict(x=(64, 64, 16, 16), w=(64, 1, 3, 3), padding=1, groups=64)),
        ("odd, dilated, groups", dict(x=(17, 6, 29, 23), w=(9, 2, 5, 3), padding=2, dilation=2, groups=3)),
    ],
    "conv_transpose2d": [
        ("up to 16x16", dict(x=(32, 64, 8, 8), w=(64, 32, 4, 4), stride=2, padding=1)),
        ("odd", dict(x=(5, 6, 7, 9), w=(6, 5, 3, 3), stride=2, padding=1, output_padding=1)),
    ],
    "im2col": [
        ("CIFAR CNN conv 2", dict(x=(128, 32, 16, 16), kernel=3, padding=1)),
        ("LeNet-5 conv 2", dict(x=(128, 6, 12, 12), kernel=5)),
        ("odd", dict(x=(3, 5, 29, 23), kernel=3, stride=2, padding=1)),
    ],
    "col2im": [
        ("CIFAR CNN conv 2", dict(x=(128, 32, 16, 16), kernel=3, padding=1)),
        ("LeNet-5 conv 2", dict(x=(128, 6, 12, 12), kernel=5)),
        ("odd", dict(x=(3, 5, 29, 23), kernel=3, stride=2, padding=1)),
    ],
    "max_pool2d": [
        ("64 channels of 32x32", dict(x=(128, 64, 32, 32), kernel=2)),
        ("LeNet-5 pool 1", dict(x=(128, 6, 24, 24), kernel=2)),
        ("3x3 stride 2", dict(x=(32, 64, 32, 32), kernel=3, stride=2, padding=1)),
        ("odd", dict(x=(3, 5, 29, 23), kernel=3)),
    ],
    "avg_pool2d": [
        ("64 channels of 32x32", dict(x=(128, 64, 32, 32), kernel=2)),
        ("3x3 stride 2", dict(x=(32, 64, 32, 32), kernel=3, stride=2, padding=1)),
        ("odd", dict(x=(3, 5, 29, 23), kernel=3)),
    ],
    "adaptive_avg_pool2d": [
        ("ResNet-20 head", dict(x=(128, 64, 8, 8), size=(1, 1))),
        ("odd", dict(x=(16, 12, 29, 23), size=(5, 4))),
    ],
    "matmul": [
        ("many of 64x64", dict(a=(256, 64, 64), b=(256, 64, 64))),
        ("many of 16x16", dict(a=(4096, 16, 16), b=(4096, 16, 16))),
        ("one of 512x512", dict(a=(1, 512, 512), b=(1, 512, 512))),
        ("odd", dict(a=(23, 17, 33), b=(23, 33, 5))),
    ],
    "linear": [
        ("LeNet-5 dense 1", dict(x=(128, 256), outs=120)),
        ("CIFAR CNN dense 1", dict(x=(128, 4096), outs=64)),
        ("one sample", dict(x=(1, 256), outs=120)),
    ],
    "softmax": [
        ("1000 classes", dict(x=(4096, 1000), dim=1)),
        ("10 classes", dict(x=(65536, 10), dim=1)),
        ("over channels", dict(x=(16, 21, 32, 32), dim=1)),
        ("one batch", dict(x=(128, 10), dim=1)),
    ],
    "log_softmax": [
        ("1000 classes", dict(x=(4096, 1000), dim=1)),
        ("one batch", dict(x=(128, 10), dim=1)),
    ],
    "cross_entropy": [
        ("1000 classes", dict(x=(4096, 1000))),
        ("10 classes", dict(x=(65536, 10))),
        ("one batch", dict(x=(128, 10))),
    ],
    "batch_norm": [
        ("ResNet-20 stage 1", dict(x=(128, 16, 32, 32))),
        ("odd", dict(x=(7, 5, 13, 11))),
    ],
    "layer_norm": [
        ("256 features", dict(x=(8192, 256))),
        ("odd", dict(x=(37, 77))),
    ],
    "relu": ACTIVATION, "sigmoid": ACTIVATION, "tanh": ACTIVATION, "leaky_relu": ACTIVATION, "elu": ACTIVATION,
    "gelu": ACTIVATION,
}

# training steps: network (networks.py), batch
STEPS = [("lenet5", 32), ("lenet5", 128), ("cifar_cnn", 32), ("mlp", 128)]


def directions(op):
    """("forward", "backward"), or ("forward",)."""
    return ("forward",) if op in GRADIENTS else ("forward", "backward")


def missing(public):
    """Names of public functions that no shape measures; conv2d's shapes measure conv2d_backward."""
    measured = set(SHAPES) | {op + "_backward" for op in SHAPES if GRADIENTS.get(op, op) in SHAPES}
    return sorted(set(public) - measured)


def text(arguments):
    """Arguments of a contest as people write them: 128x32x16x16 w 64x32x3x3 padding 1."""
    words = []
    for name, value in arguments.items():
        value = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words.append(value if name in ("x", "a") else f"{SHORT.get(name, name)}{value}")
    return " ".join(words)


SHORT = {"w": "w", "b": "@ ", "kernel": "k", "stride": "s", "padding": "p", "dilation": "d", "groups": "g", "outs": "to ",
         "size": "to ", "output_padding": "op", "dim": "dim "}
