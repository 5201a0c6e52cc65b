"""lanewise trains small CNNs on a CPU, fast: one sample in each SIMD lane."""
__version__ = "0.1.0"

from typing import TYPE_CHECKING

from . import nn, optim
from .arithmetic import abs, exp, log, matmul, sqrt, stack
from .errors import DataError, DtypeError, GradientError, LabelError, NonFiniteError, RangeError, ShapeError, WeightsError
from .graph import Value, concat, tensor
from .nodes.conv import set_winograd
from .rng import manual_seed
from .summary import conv_output_size, receptive_field, same_padding, summary
from .threads import get_num_threads, set_num_threads

__all__ = ["CNNClassifier", "CNNRegressor", "DataError", "DtypeError", "Ensemble", "GradientError", "LabelError",
           "MLPClassifier", "MLPRegressor", "NonFiniteError", "RangeError", "ShapeError", "Trainer", "Value", "WeightsError", "abs",
           "average_weights", "callbacks", "checks", "concat", "conv_output_size", "data", "elementwise", "estimators", "exp",
           "get_num_threads", "load", "load_checkpoint", "log", "manual_seed", "matmul", "metrics", "models", "nn", "onnx",
           "ops", "optim", "plot", "profile", "read", "receptive_field", "same_padding", "save", "save_checkpoint",
           "set_num_threads", "set_winograd", "snapshots", "sqrt", "stack", "summary", "tensor", "update_bn"]

# What not every program uses is imported on first use: half the time of `import lanewise`.
_LATER = {"CNNClassifier": "estimators", "CNNRegressor": "estimators", "Ensemble": "ensemble", "MLPClassifier": "estimators",
          "MLPRegressor": "estimators", "Trainer": "train", "average_weights": "ensemble", "callbacks": None, "checks": None,
          "data": None, "elementwise": "own", "estimators": None, "load": "io", "load_checkpoint": "io", "metrics": None,
          "models": None, "onnx": None, "ops": None, "plot": None, "profile": "profiling", "read": "io", "save": "io",
          "save_checkpoint": "io", "snapshots": "ensemble", "update_bn": "ensemble"}

if TYPE_CHECKING:                       # the same names, for type checkers
    from . import callbacks, checks, data, estimators, metrics, models, onnx, ops, plot
    from .ensemble import Ensemble, average_weights, snapshots, update_bn
    from .estimators import CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor
    from .io import load, load_checkpoint, read, save, save_checkpoint
    from .own import elementwise
    from .profiling import profile
    from .train import Trainer


if not TYPE_CHECKING:                   # for which a module with __getattr__ has every name
    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module 'lanewise' has no attribute {name!r}")
        import importlib
        home = _LATER[name]
        found = importlib.import_module(f"lanewise.{home or name}")
        found = globals()[name] = getattr(found, name) if home else found
        return found


def __dir__() -> "list[str]":
    return sorted({*globals(), *_LATER})
