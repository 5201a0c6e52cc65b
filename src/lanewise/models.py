"""The networks that the command line knows by name.

Each is made by (channels, size, classes) of square images and gives scores (N, classes) for CrossEntropyLoss; parameter counts
are those of the defaults."""
from __future__ import annotations

from typing import TYPE_CHECKING

from . import nn
from .graph import concat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .graph import Value
    from .nn.module import Module


def softmax_classifier(channels: int = 1, size: int = 28, classes: int = 10) -> nn.Sequential:
    """s = W x + b, softmax(s) the probabilities: linear classification, 7,850 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))


class LogisticRegression(nn.Module):
    """Scores (0, w x + b) of two classes: softmax of them is (1 - p, p), p = sigmoid(w x + b), and CrossEntropyLoss of the
    label y is -(y log p + (1 - y) log(1 - p))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features, self.linear = features, nn.Linear(features, 1)

    def forward(self, x: Value) -> Value:
        """(N, ...) -> (N, 2)."""
        s = self.linear(x.flatten(1))
        return concat([s * 0, s])


def logistic_regression(channels: int = 1, size: int = 28, classes: int = 2) -> Module:
    """p = sigmoid(w x + b) for two classes, 785 parameters; for more its multinomial form, which is softmax_classifier."""
    return LogisticRegression(channels * size * size) if classes == 2 else softmax_classifier(channels, size, classes)


def mlp(channels: int = 1, size: int = 28, classes: int = 10, hidden: Sequence[int] = (256, 128)) -> nn.Sequential:
    """Flatten, hidden layers with ReLU, scores: (linear -> ReLU) x (L - 1) -> linear; 235,146 parameters."""
    widths = (channels * size * size, *hidden)
    layers = [m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], classes))


def shallow(channels: int = 1, size: int = 28, classes: int = 10, hidden: int = 64) -> nn.Sequential:
    """One hidden layer with tanh: W2 tanh(W1 x + b1) + b2, 50,890 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, hidden), nn.Tanh(), nn.Linear(hidden, classes))


def lenet5(channels: int = 1, size: int = 28, classes: int = 10) -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998) with ReLU and max-pools: 5x5 convolutions 6-16, dense 120-84: 44,426 parameters."""
    side = ((size - 4) // 2 - 4) // 2
    return nn.Sequential(nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84),
                         nn.ReLU(), nn.Linear(84, classes))


def cifar_cnn(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """3x3 convolutions 32-64-64 with padding, max-pools after the first two, dense 64: 319,178 parameters."""
    side = size // 4
    return nn.Sequential(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1),
                         nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(64 * side * side, 64), nn.ReLU(), nn.Linear(64, classes))


def vgg(channels: int = 3, size: int = 32, classes: int = 10, widths: Sequence[int] = (32, 64, 128),
        dense: int = 128) -> nn.Sequential:
    """Stages of two 3x3 convolutions and a max-pool, then two dense layers: after Simonyan and Zisserman 2015, small:
    550,570 parameters."""
    layers, ins, side = [], channels, size
    for outs in widths:
        layers += [nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(), nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU(),
                   nn.MaxPool2d(2)]
        ins, side = outs, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(ins * side * side, dense), nn.ReLU(), nn.Linear(dense, classes))


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))) with 3x3 convolutions. Where the stride or the channels change, x goes through a
    1x1 convolution and batch normalisation: option B of He et al. 2015."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.ins, self.outs, self.stride = ins, outs, stride
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        self.relu = nn.ReLU()
        same = stride == 1 and ins == outs
        self.shortcut = nn.Identity() if same else \
            nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, O, ceil(H / stride), ceil(W / stride))."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.shortcut(x))


def _resnet(depth: int, channels: int, classes: int) -> nn.Sequential:
    blocks, ins = [], 16
    for outs, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range((depth - 2) // 6):
            blocks.append(BasicBlock(ins, outs, stride if i == 0 else 1))
            ins = outs
    return nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def resnet8(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """CIFAR ResNet of 6 n + 2 layers, n = 1 (He et al. 2015, section 4.2, shortcuts of option B): 78,042 parameters."""
    return _resnet(8, channels, classes)


def resnet20(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """As resnet8, n = 3 blocks of each of 16, 32 and 64 channels: 272,474 parameters."""
    return _resnet(20, channels, classes)


def resnet32(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """As resnet8, n = 5: 466,906 parameters."""
    return _resnet(32, channels, classes)


def resnet56(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """As resnet8, n = 9: 855,770 parameters."""
    return _resnet(56, channels, classes)


def _separable(ins: int, outs: int, stride: int) -> list[Module]:
    """A 3x3 depthwise and a 1x1 convolution, each with batch normalisation and ReLU."""
    return [nn.Conv2d(ins, ins, 3, stride, 1, groups=ins, bias=False), nn.BatchNorm2d(ins), nn.ReLU(),
            nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]


def mobilenet(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """A 3x3 convolution of 32 channels, then depthwise separable ones of 64, 128 (stride 2), 128, 256 (stride 2) and 256, and
    the mean of the image: after Howard et al. 2017, small: 136,778 parameters."""
    layers, ins = [nn.Conv2d(channels, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()], 32
    for outs, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += _separable(ins, outs, stride)
        ins = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, classes))


class FCN(nn.Module):
    """Scores of every pixel, (N, channels, size, size) -> (N, classes, size, size): a fully convolutional network after Long,
    Shelhamer and Darrell 2015.

    Three stages of two 3x3 convolutions, each followed by a max-pool; a 1x1 convolution gives the coarsest scores; three
    times a transposed 4x4 convolution of stride 2 doubles the scores, and the scores of the stage of that size are added.
    `size` may be any from 8 on. 73,292 parameters for one channel and 4 classes."""

    def __init__(self, channels: int = 1, size: int = 32, classes: int = 4, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        if size < 8:
            raise ValueError(f"FCN: expected images of at least 8 pixels a side, got {size}")
        self.channels, self.size, self.classes, self.widths, ins = channels, size, classes, tuple(widths), channels
        self.stages, self.scores, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for outs in widths:
            self.stages.append(nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(),
                                             nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU()))
            self.scores.append(nn.Conv2d(outs, classes, 1))
            self.ups.append(nn.ConvTranspose2d(classes, classes, 4, 2, 1, output_padding=size % 2))
            ins, size = outs, size // 2
        self.pool, self.coarsest = nn.MaxPool2d(2), nn.Conv2d(ins, classes, 1)

    def forward(self, x: Value) -> Value:
        """(N, channels, size, size) -> (N, classes, size, size)."""
        scores = []
        for stage, score in zip(self.stages, self.scores):
            x = stage(x)
            scores.append(score(x))
            x = self.pool(x)
        y = self.coarsest(x)
        for up, score in zip(reversed(list(self.ups)), reversed(scores)):
            y = up(y) + score
        return y


def fcn(channels: int = 3, size: int = 32, classes: int = 10) -> nn.Sequential:
    """The FCN with the mean of all pixels' scores as the image's, for image labels: 78,710 parameters. models.FCN gives the
    pixels' own scores."""
    return nn.Sequential(FCN(channels, size, classes), nn.AdaptiveAvgPool2d(1), nn.Flatten())


MODELS = {f.__name__: f for f in (softmax_classifier, logistic_regression, shallow, mlp, lenet5, cifar_cnn, vgg, resnet8,
                                  resnet20, resnet32, resnet56, mobilenet, fcn)}
