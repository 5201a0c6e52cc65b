"""The table of operations: a module, the shape of its inputs, and the reference it is held against.

A case's reference takes the inputs, then the parameters in the module's order, all float64. test_ops.py runs every case on
every build; test_torch.py runs those that have a PyTorch module of the same name. `reduction`: how many products are summed
for one number of the result, from which the tolerance follows."""
import arithmetic_cases
import numpy as np
import reference as ref
from case import Case, plain

import lanewise as lw
from lanewise import nn


def conv(shape, outs, kernel, **kw):
    """A Conv2d case, by PyTorch's arguments."""
    pairs = {k: (v, v) if isinstance(v, int) and k != "groups" else v for k, v in kw.items() if k != "bias"}
    if pairs.get("padding") == "same":
        two = (kernel, kernel) if isinstance(kernel, int) else kernel
        total = [d * (k - 1) for d, k in zip(pairs.get("dilation", (1, 1)), two)]
        pairs["padding"] = tuple(t // 2 for t in total) + tuple(t - t // 2 for t in total)
    label = ",".join(f"{k}={v}" for k, v in kw.items())
    taps = kernel ** 2 if isinstance(kernel, int) else kernel[0] * kernel[1]
    return Case(f"Conv2d {shape} to {outs}, {kernel}, {label}", lambda: nn.Conv2d(shape[0], outs, kernel, **kw), [shape],
                lambda x, w, b=None: ref.conv2d(x, w, b, **pairs), shape[0] * taps * shape[1] * shape[2],
                ("Conv2d", (shape[0], outs, kernel), kw), True)


def pool(kind, shape, kernel, **kw):
    """A pooling case."""
    two = (kernel, kernel) if isinstance(kernel, int) else kernel
    pairs = {k: (v, v) if type(v) is int else v for k, v in kw.items()}
    pairs.setdefault("stride", two)
    function = ref.max_pool2d if kind == "MaxPool2d" else ref.avg_pool2d
    return Case(f"{kind} {shape}, {kernel}, {kw}", lambda: getattr(nn, kind)(kernel, **kw), [shape],
                lambda x: function(x, two, **pairs), two[0] * two[1], (kind, (kernel,), kw), kind == "MaxPool2d")


def conv_transpose(shape, outs, kernel, **kw):
    """A ConvTranspose2d case, by PyTorch's arguments."""
    pairs = {k: (v, v) if isinstance(v, int) and k != "groups" else v for k, v in kw.items() if k != "bias"}
    label = ",".join(f"{k}={v}" for k, v in kw.items())
    taps = kernel ** 2 if isinstance(kernel, int) else kernel[0] * kernel[1]
    return Case(f"ConvTranspose2d {shape} to {outs}, {kernel}, {label}", lambda: nn.ConvTranspose2d(shape[0], outs, kernel, **kw),
                [shape], lambda x, w, b=None: ref.conv_transpose2d(x, w, b, **pairs), shape[0] * taps * shape[1] * shape[2],
                ("ConvTranspose2d", (shape[0], outs, kernel), kw), True)


def upsample(shape, size, **kw):
    """An Upsample case; `size` or scale_factor= says how, the reference takes the size that follows."""
    scale = kw.pop("scale", None)
    how = {"scale_factor": scale} if scale else {"size": size}
    function = ref.bilinear if kw.get("mode") == "bilinear" else ref.nearest
    more = {"align_corners": kw["align_corners"]} if "align_corners" in kw else {}
    more["scale"] = (scale, scale) if isinstance(scale, int) else scale
    return Case(f"Upsample {shape} to {size}, {how}, {kw}", lambda: nn.Upsample(**how, **kw), [shape],
                lambda x: function(x, size, **more), 16, ("Upsample", (), {**how, **kw}), function is ref.nearest)


def adaptive(shape, size, expected):
    """An AdaptiveAvgPool2d case."""
    return Case(f"AdaptiveAvgPool2d {shape} to {size}", lambda: nn.AdaptiveAvgPool2d(size), [shape],
                lambda x: ref.adaptive_avg_pool2d(x, expected), shape[1] * shape[2], ("AdaptiveAvgPool2d", (size,), {}))


def layer_norm(shape, over, **kw):
    """A LayerNorm case."""
    return Case(f"LayerNorm {shape} over {over}, {kw}", lambda: nn.LayerNorm(over, **kw), [shape],
                lambda x, *p: ref.layer_norm(x, len(over), *p, eps=kw.get("eps", 1e-5)), 4 * int(np.prod(over)),
                ("LayerNorm", (over,), kw))


def group_norm(shape, groups, **kw):
    """A GroupNorm case."""
    return Case(f"GroupNorm {shape}, {groups}, {kw}", lambda: nn.GroupNorm(groups, shape[0], **kw), [shape],
                lambda x, *p: ref.group_norm(x, groups, *p), 4 * int(np.prod(shape)), ("GroupNorm", (groups, shape[0]), kw))


CASES = [
    conv((1, 9, 9), 6, 5), conv((6, 8, 7), 16, 5), conv((3, 6, 6), 4, 3, padding=1), conv((2, 7, 8), 5, 3, stride=2),
    conv((2, 9, 8), 3, 3, stride=2, padding=1), conv((2, 8, 8), 3, 3, stride=(3, 2), padding=(2, 1)),
    conv((2, 9, 9), 3, 3, dilation=2), conv((2, 9, 9), 3, 3, dilation=2, stride=2, padding=2),
    conv((2, 9, 10), 4, (3, 2), dilation=(1, 3), stride=(2, 3), padding=(1, 2)), conv((4, 6, 6), 6, 3, groups=2, padding=1),
    conv((4, 7, 7), 4, 3, groups=4, stride=2, padding=1), conv((3, 5, 5), 7, 1), conv((3, 6, 5), 2, 1, stride=2),
    conv((2, 5, 5), 3, 2, padding="same"), conv((2, 6, 6), 3, 3, padding="same", dilation=2), conv((3, 5, 5), 2, 5, bias=False),
    conv((2, 4, 4), 3, 3, padding=4), conv((1, 5, 4), 2, (1, 4)), conv((5, 6, 6), 32, 3, padding=1),
    conv((3, 7, 7), 40, 3, stride=2, padding=1), conv((5, 7, 8), 5, 3, groups=5), conv((3, 6, 7), 3, 3, groups=3),
    conv((18, 5, 9), 18, 3, groups=18), conv((3, 9, 6), 3, 3, groups=3, padding=1),
    conv((6, 8, 7), 6, 3, groups=6, padding=1, stride=2), conv((3, 6, 9), 3, 3, groups=3, stride=2, bias=False),
    conv((4, 5, 5), 4, 3, groups=4, padding=2), conv((2, 5, 6), 2, 3, groups=2, padding=3, stride=2),
    conv((3, 4, 3), 3, 3, groups=3, padding="same"), conv((3, 7, 7), 6, 3, groups=3),
    conv((3, 7, 7), 3, 3, groups=3, dilation=2),
    conv((16, 4, 4), 33, 1), conv((2, 8, 9), 35, 3, dilation=2, padding=1),
    conv((2, 6, 9), 4, 3, padding=1), conv((5, 7, 6), 3, 3, padding=2), conv((4, 8, 8), 11, 3),     # by squares forward, in dX, both
    conv((8, 7, 9), 9, 3, padding=1), conv((9, 6, 5), 17, 3), conv((8, 5, 6), 8, 3, padding=2, bias=False),      # and in dW
    conv_transpose((3, 5, 4), 2, 3), conv_transpose((2, 4, 5), 3, 2, stride=2),
    conv_transpose((4, 4, 4), 5, 4, stride=2, padding=1),
    conv_transpose((3, 5, 4), 2, 3, stride=2, padding=1, output_padding=1),
    conv_transpose((2, 4, 3), 3, 3, stride=3, padding=2),
    conv_transpose((2, 3, 4), 3, (2, 3), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), dilation=(2, 1)),
    conv_transpose((2, 3, 3), 2, 2, stride=3, output_padding=2), conv_transpose((2, 3, 3), 2, 2, stride=4, bias=False),
    conv_transpose((2, 4, 4), 3, 3, dilation=3, output_padding=2, stride=2),
    conv_transpose((4, 5, 5), 6, 3, groups=2, padding=1),
    conv_transpose((4, 4, 4), 4, 3, groups=4, stride=2), conv_transpose((6, 6, 5), 3, 3, padding=1),
    conv_transpose((8, 5, 7), 5, 5, padding=2), conv_transpose((5, 4, 6), 3, 3, bias=False),
    conv_transpose((33, 3, 4), 4, 2, stride=2), conv_transpose((40, 5, 5), 3, 3, padding=1), conv_transpose((3, 4, 4), 35, 1),
    adaptive((3, 8, 8), 1, (1, 1)), adaptive((5, 7, 9), (3, 4), (3, 4)), adaptive((4, 6, 6), (2, 3), (2, 3)),
    adaptive((2, 3, 4), (5, 7), (5, 7)), adaptive((2, 7, 5), (None, 2), (7, 2)),
    upsample((3, 4, 5), (8, 10), scale=2), upsample((5, 4, 3), (9, 7)), upsample((2, 9, 8), (4, 3)),
    upsample((2, 6, 6), (3, 4), scale=(0.5, 0.7)),
    upsample((3, 4, 5), (8, 10), scale=2, mode="bilinear"), upsample((5, 4, 3), (9, 7), mode="bilinear"),
    upsample((2, 9, 8), (4, 3), mode="bilinear", align_corners=False),
    upsample((2, 5, 4), (10, 7), mode="bilinear", align_corners=True),
    upsample((1, 5, 4), (1, 2), mode="bilinear", align_corners=True), upsample((2, 1, 3), (4, 5), mode="bilinear"),
    upsample((2, 5, 6), (6, 9), scale=(1.3, 1.6), mode="bilinear"),
    layer_norm((12,), (12,)), layer_norm((5, 7), (7,)), layer_norm((5, 7), (5, 7), eps=1e-3), layer_norm((3, 4, 5), (3, 4, 5)),
    layer_norm((3, 4, 5), (4, 5)), layer_norm((3, 4, 5), (5,)), layer_norm((9,), (9,), elementwise_affine=False),
    layer_norm((6,), (6,), bias=False),
    group_norm((6, 4, 5), 3), group_norm((4, 3, 3), 4), group_norm((6, 3, 5), 1), group_norm((6,), 2),
    group_norm((4, 7), 2, affine=False),
    Case("Maxout 7 to 5, 2", lambda: nn.Maxout(7, 5), [(7,)], lambda x, w, b: ref.maxout(x, w, b, 2), 7, None, True),
    Case("Maxout 9 to 3, 4", lambda: nn.Maxout(9, 3, 4), [(9,)], lambda x, w, b: ref.maxout(x, w, b, 4), 9, None, True),
    pool("MaxPool2d", (3, 8, 7), 2, ceil_mode=True), pool("MaxPool2d", (2, 9, 9), 3, stride=2, padding=1, ceil_mode=True),
    pool("MaxPool2d", (2, 6, 8), 2, stride=3, ceil_mode=True),
    pool("AvgPool2d", (2, 9, 7), (2, 4), stride=3, padding=1, ceil_mode=True),
    pool("AvgPool2d", (2, 8, 7), 2, ceil_mode=True, count_include_pad=False),
    pool("MaxPool2d", (3, 8, 8), 2), pool("MaxPool2d", (3, 9, 7), 2), pool("MaxPool2d", (2, 9, 9), 3, stride=2, padding=1),
    pool("MaxPool2d", (2, 6, 8), (2, 3), stride=(1, 2)), pool("MaxPool2d", (2, 9, 9), 2, stride=3),
    pool("AvgPool2d", (3, 8, 8), 2), pool("AvgPool2d", (2, 9, 9), 3, stride=2, padding=1),
    pool("AvgPool2d", (2, 9, 8), 3, stride=2, padding=1, count_include_pad=False), pool("AvgPool2d", (2, 5, 5), (2, 3), stride=1),
    Case("Linear 13 to 10", lambda: nn.Linear(13, 10), [(13,)], ref.linear, 13, ("Linear", (13, 10), {}), True),
    Case("Linear 70 to 1, no bias", lambda: nn.Linear(70, 1, bias=False), [(70,)], ref.linear, 70,
         ("Linear", (70, 1), {"bias": False}), True),
    Case("Linear 33 to 50", lambda: nn.Linear(33, 50), [(33,)], ref.linear, 50, ("Linear", (33, 50), {}), True),
    Case("ReLU image", nn.ReLU, [(3, 4, 5)], ref.relu, 1, ("ReLU", (), {}), True),
    Case("ReLU vector", nn.ReLU, [(7,)], ref.relu, 1, ("ReLU", (), {}), True),
    Case("Softmax vector", nn.Softmax, [(10,)], ref.softmax, 10, ("Softmax", (1,), {})),
    Case("Softmax channels", nn.Softmax, [(4, 3, 2)], ref.softmax, 4, ("Softmax", (1,), {})),
    Case("Softmax rows", lambda: nn.Softmax(2), [(4, 3, 2)], lambda x: ref.softmax(x, 2), 4, ("Softmax", (2,), {})),
    Case("Softmax cols", lambda: nn.Softmax(-1), [(4, 3, 2)], lambda x: ref.softmax(x, 3), 4, ("Softmax", (-1,), {})),
    Case("Softmax sequence", lambda: nn.Softmax(1), [(5, 6)], lambda x: ref.softmax(x, 1), 5, ("Softmax", (1,), {})),
    Case("Identity", nn.Identity, [(2, 3, 3)], lambda x: x, 1, ("Identity", (), {}), True),
    Case("Flatten", nn.Flatten, [(3, 4, 5)], lambda x: x.reshape(len(x), -1), 1, ("Flatten", (), {}), True),
    Case("Flatten(2)", lambda: nn.Flatten(2), [(3, 4, 5)], lambda x: x.reshape(len(x), 3, 20), 1, ("Flatten", (2,), {}), True),
    plain("a + b images", [(3, 4, 5)] * 2, lambda a, b: a + b, lambda a, b: a + b, True),
    plain("a * b vectors", [(9,)] * 2, lambda a, b: a * b, lambda a, b: a * b, True),
    plain("a * a", [(2, 3, 3)], lambda a: a * a, lambda a: a * a, True),
    plain("a + a", [(2, 3, 3)], lambda a: a + a, lambda a: a + a, True),
    plain("3 - 2 a / 4", [(2, 3, 3)], lambda a: 3 - 2 * a / 4, lambda a: 3 - 2 * a / 4),
    plain("a - b", [(5,)] * 2, lambda a, b: a - b, lambda a, b: a - b, True),
    plain("reshape image to image", [(2, 3, 4)], lambda a: a.reshape(-1, 4, 3, 2), lambda a: a.reshape(-1, 4, 3, 2), True),
    plain("reshape vector to image", [(12,)], lambda a: a.reshape(a.shape[0], 3, 2, 2), lambda a: a.reshape(-1, 3, 2, 2), True),
    plain("reshape vector to sequence", [(12,)], lambda a: a.reshape(-1, 3, 4), lambda a: a.reshape(-1, 3, 4), True),
    plain("concat channels", [(2, 3, 4), (5, 3, 4)], lambda a, b: lw.concat([a, b]),
          lambda a, b: np.concatenate([a, b], 1), True),
    plain("concat rows", [(2, 3, 4), (2, 1, 4)], lambda a, b: lw.concat([a, b], 2),
          lambda a, b: np.concatenate([a, b], 2), True),
    plain("concat cols", [(2, 3, 4), (2, 3, 2)], lambda a, b: lw.concat([a, b], -1),
          lambda a, b: np.concatenate([a, b], 3), True),
    plain("concat vectors with itself", [(3,)], lambda a: lw.concat([a, a], 1),
          lambda a: np.concatenate([a, a], 1), True),
    plain("concat sequences", [(2, 3), (2, 5)], lambda a, b: lw.concat([a, b], 2),
          lambda a, b: np.concatenate([a, b], 2), True),
]
CASES += arithmetic_cases.CASES
