"""The networks that the command line knows by name."""
from . import nn


def mlp(channels=1, size=28, classes=10):
    """Flatten, 256 and 128 hidden units with ReLU: 235,146 parameters for 28x28."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                         nn.Linear(128, classes))


def lenet5(channels=1, size=28, classes=10):
    """LeNet-5 (LeCun et al. 1998) with ReLU and max-pools: 5x5 convolutions 6-16, dense 120-84: 44,426 parameters."""
    side = ((size - 4) // 2 - 4) // 2
    return nn.Sequential(nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84),
                         nn.ReLU(), nn.Linear(84, classes))


def cifar_cnn(channels=3, size=32, classes=10):
    """3x3 convolutions 32-64-64 with padding, max-pools after the first two, dense 64: 319,178 parameters for 32x32."""
    side = size // 4
    return nn.Sequential(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1),
                         nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(64 * side * side, 64), nn.ReLU(), nn.Linear(64, classes))


MODELS = {"mlp": mlp, "lenet5": lenet5, "cifar_cnn": cifar_cnn}
