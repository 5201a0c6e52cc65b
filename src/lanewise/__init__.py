"""lanewise trains small CNNs on a CPU, fast: one sample in each SIMD lane."""
__version__ = "0.1.0"

from . import checks, data, metrics, nn, optim
from .arithmetic import abs, exp, log, matmul, sqrt, stack
from .errors import DataError, DtypeError, GradientError, LabelError, NonFiniteError, RangeError, ShapeError, WeightsError
from .graph import concat, tensor
from .io import load, load_checkpoint, save, save_checkpoint
from .nodes.conv import set_winograd
from .rng import manual_seed
from .summary import conv_output_size, receptive_field, same_padding, summary
from .threads import get_num_threads, set_num_threads
from .train import Trainer

__all__ = ["DataError", "DtypeError", "GradientError", "LabelError", "NonFiniteError", "RangeError", "ShapeError", "Trainer",
           "WeightsError", "abs", "checks", "concat", "conv_output_size", "data", "elementwise", "exp", "get_num_threads",
           "load", "load_checkpoint", "log", "manual_seed", "matmul", "metrics", "models", "nn", "ops", "optim", "receptive_field",
           "same_padding", "save", "save_checkpoint", "set_num_threads", "set_winograd", "sqrt", "stack", "summary", "tensor"]


def __getattr__(name):
    if name in ("models", "ops"):   # on first use: a fifth of the time of `import lanewise`
        import importlib
        return importlib.import_module("lanewise." + name)
    if name == "elementwise":
        from .own import elementwise
        return elementwise
    raise AttributeError(f"module 'lanewise' has no attribute {name!r}")
