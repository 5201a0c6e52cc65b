"""Layers, losses and containers, with PyTorch's names."""
from ..parameter import Parameter
from . import init, penalty, utils
from .containers import ModuleDict, ModuleList
from .conv_transpose import ConvTranspose2d
from .embedding import Embedding
from .layer_norm import GroupNorm, LayerNorm
from .layers import AvgPool2d, Conv2d, Flatten, Identity, Linear, MaxPool2d, ReLU, Softmax
from .loss import CrossEntropyLoss, MSELoss
from .maxout import Maxout
from .module import Module, Sequential
from .resample import AdaptiveAvgPool2d, Upsample

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss", "Embedding", "Flatten",
           "GroupNorm", "Identity", "LayerNorm", "Linear", "MSELoss", "MaxPool2d", "Maxout", "Module", "ModuleDict",
           "ModuleList", "Parameter", "ReLU", "Sequential", "Softmax", "Upsample", "init", "penalty", "utils"]
