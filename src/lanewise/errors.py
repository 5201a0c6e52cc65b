"""What lanewise raises: each a subclass of the built-in exception that a caller would expect."""
from __future__ import annotations

import re


def in_line(name: object) -> str:
    """A name, of a class or a file, as it stands in a sentence, a table or a picture: line ends, tabs and other control
    characters, as many as follow each other, are a space."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(name))


class ShapeError(ValueError):
    """An array or value has the wrong shape. Names the layer once it is known: `[Conv2d 'features.0'] expected ...`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.layer: str | None = None
        self.owner: object = None
        self.path = ""

    def __str__(self) -> str:
        if self.layer is None:
            return super().__str__()
        name = f" '{self.path}'" if self.path else ""
        return f"[{self.layer}{name}] {super().__str__()}"


class DtypeError(TypeError):
    """An array has the wrong number type."""


class LabelError(ValueError):
    """Class labels are not integers of the right range."""


class RangeError(IndexError):
    """An index lies outside the table that it is looked up in."""


class NonFiniteError(FloatingPointError):
    """The loss or a gradient became NaN or infinite; the weights are those before the step."""


class DataError(ValueError):
    """A data file is missing, truncated or of another kind."""


class WeightsError(ValueError):
    """Weights do not belong to this model."""


class GradientError(ArithmeticError):
    """A gradient that backward() gives is not what differences of the loss give."""
