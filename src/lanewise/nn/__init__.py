"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import init, penalty, utils
from .batchnorm import BatchNorm1d, BatchNorm2d, Dropout, Dropout2d
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from .loss import CrossEntropyLoss, MSELoss
from .module import Module, Sequential

__all__ = ["AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "CrossEntropyLoss", "Dropout", "Dropout2d", "Flatten",
           "Identity", "Linear", "MSELoss", "MaxPool2d", "Module", "Parameter", "ReLU", "Sequential", "Softmax", "init",
           "penalty", "utils"]
