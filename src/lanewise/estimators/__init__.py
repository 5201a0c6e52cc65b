"""scikit-learn's estimators on lanewise's networks: for pipelines, cross-validation and search."""
try:
    import sklearn
except ImportError:
    raise ImportError("lanewise's estimators need scikit-learn: pip install lanewise[sklearn]") from None
if tuple(int(n) for n in sklearn.__version__.split(".")[:2]) < (1, 6):
    raise ImportError(f"lanewise's estimators need scikit-learn 1.6 or later, got {sklearn.__version__}")

from .cnn import CNNClassifier, CNNRegressor
from .mlp import MLPClassifier, MLPRegressor

__all__ = ["CNNClassifier", "CNNRegressor", "MLPClassifier", "MLPRegressor"]
