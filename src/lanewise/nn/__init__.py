"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Buffer, Parameter
from . import functional, init, penalty, utils
from .activation import ELU, GELU, LeakyReLU, LogSoftmax, PReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .batchnorm import BatchNorm1d, BatchNorm2d, Dropout, Dropout2d
from .containers import ModuleDict, ModuleList
from .conv_transpose import ConvTranspose2d
from .embedding import Embedding
from .image_loss import GramLoss, TotalVariationLoss
from .layer_norm import GroupNorm, LayerNorm
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d
from .loss import (BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
                   MultiMarginLoss, NLLLoss, SmoothL1Loss)
from .maxout import Maxout
from .module import Module, Sequential
from .resample import AdaptiveAvgPool2d, Upsample

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Buffer", "Conv2d",
           "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Dropout2d", "ELU", "Embedding", "Flatten", "GELU", "GramLoss",
           "GroupNorm", "HingeLoss", "HuberLoss", "Identity", "KLDivLoss", "L1Loss", "LayerNorm", "LeakyReLU", "Linear",
           "LogSoftmax", "MSELoss", "MaxPool2d", "Maxout", "Module", "ModuleDict", "ModuleList", "MultiMarginLoss", "NLLLoss",
           "PReLU", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "Tanh",
           "TotalVariationLoss", "Upsample", "functional", "init", "penalty", "utils"]
