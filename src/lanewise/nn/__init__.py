"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import functional, init, penalty, utils
from .activation import ELU, GELU, LeakyReLU, LogSoftmax, PReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .image_loss import GramLoss, TotalVariationLoss
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d
from .loss import CrossEntropyLoss, MSELoss
from .module import Module, Sequential

__all__ = ["AvgPool2d", "Conv2d", "CrossEntropyLoss", "ELU", "Flatten", "GELU", "GramLoss", "Identity", "LeakyReLU", "Linear",
           "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "PReLU", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid",
           "Softmax", "Softplus", "Tanh", "TotalVariationLoss", "functional", "init", "penalty", "utils"]
