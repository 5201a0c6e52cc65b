"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import functional, init, penalty, utils
from .activation import ELU, GELU, LeakyReLU, LogSoftmax, PReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .batchnorm import BatchNorm1d, BatchNorm2d, Dropout, Dropout2d
from .image_loss import GramLoss, TotalVariationLoss
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d
from .loss import (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
                   MultiMarginLoss, NLLLoss, SmoothL1Loss)
from .module import Module, Sequential

__all__ = ["AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv2d", "CrossEntropyLoss", "Dropout",
           "Dropout2d", "ELU", "Flatten", "GELU", "GramLoss", "HingeLoss", "HuberLoss", "Identity", "KLDivLoss", "L1Loss",
           "LeakyReLU", "Linear", "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "MultiMarginLoss", "NLLLoss", "PReLU",
           "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "Tanh",
           "TotalVariationLoss", "functional", "init", "penalty", "utils"]
