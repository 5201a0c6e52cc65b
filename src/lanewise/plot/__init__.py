"""Pictures of data, training and networks, by matplotlib: `pip install "lanewise[plot]"`.

Every function draws into the `ax` or `fig` that it is given, or a new pyplot figure, and returns it; none shows it, and none
changes matplotlib's settings. Colours are told apart with any kind of colour vision (Okabe and Ito, 2008; viridis)."""
from .diagram import network
from .layers import feature_maps, filters
from .outcomes import confusion, mistakes, saliency, saliency_map
from .sets import classes, samples
from .training import history, profile

__all__ = ["classes", "confusion", "feature_maps", "filters", "history", "mistakes", "network", "profile", "saliency",
           "saliency_map", "samples"]
