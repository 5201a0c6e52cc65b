"""What is done to the images of a training batch on their way into lanes. Kernels: kernels/augment.pxi."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ShapeError

if TYPE_CHECKING:
    from typing import Any

    from .._types import Array, Shape

PADS = ("zero", "edge", "reflect")
NOT, WHOLE, BETWEEN = range(3)          # how images are moved, in the kernels' words


def _number(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or math.isinf(value):
        limits = f"of {low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise ValueError(f"Augment expected {name} to be a number {limits}, got {value!r}")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"Augment expected {name} to be a whole number of pixels, got {value!r}")
    return value


def betas(a: float, n: int, rng: np.random.Generator) -> Array:
    """n numbers of Beta(a, a), in float32 precision: (1 + t / sqrt(2 a + t^2)) / 2 of t with Student's distribution of 2 a
    degrees of freedom, t^2 = 2 a (u^(-1/a) - 1) cos^2 v (Bailey, "Polar Generation of Random Variates with the
    t-Distribution", 1994). Eight times as fast as Generator.beta, whose time an epoch of a small network would show."""
    power = np.exp(np.log(1 - rng.random(n, np.float32)) / np.float32(a))
    cosine, rest = np.cos(np.float32(2 * math.pi) * rng.random(n, np.float32)), 1 - power
    signed = np.clip(cosine * np.sqrt(rest / (power + rest * cosine * cosine)), -1, 1)      # rounded, it may be beyond
    return 0.5 + 0.5 * signed.astype(np.float64)


@dataclass(frozen=True)
class Augment:
    """Random changes of the images (N, C, H, W) of a training batch, for each sample others, in this order:

    flip: True mirrors half of the images, left to right. rotate: turns about the centre, counter-clockwise by an angle of
    -rotate to rotate degrees. scale (low, high): enlarges about the centre by a factor between them. shift: moves by whole
    pixels from -shift to shift in each direction. Shift and flip alone copy pixels exactly (as a random crop of the image with
    `shift` pixels around it); with rotate or scale they are interpolated bilinearly. What comes in from outside is, by `pad`,
    pixels of 0 ("zero"), the nearest pixel ("edge"), or the mirror image without its first line ("reflect"). Of uint8 images,
    in a float32 network on a processor with AVX-512 VBMI, and for angles up to 28 degrees (21 with factors from 0.9), a
    column's place between pixels is in units of 1/128: a pixel is within 1.1 of 255 grey levels of the exact one, and
    elsewhere within 0.01.

    contrast, brightness: x' = m + a (x - m) + b with the mean m of the image's pixels before it was moved, a from 1 - contrast
    to 1 + contrast, b from -brightness to brightness. x are pixels of 0..1 for uint8, and the numbers themselves for
    floating-point images; nothing is clipped.

    cutout k: a box of k x k pixels becomes the mean, 0 after the normalisation; its middle is any pixel of the image, so that
    it may reach outside (DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017).

    mixup a: samples 0 and 1, 2 and 3, ... of a batch are mixed, x' = p x + (1 - p) x_other, p of Beta(a, a) for each sample.
    The labels become probabilities (N, classes), p for its own and 1 - p for the other's. A last sample without a partner stays
    as it is (Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018). Accuracy in training
    is then the share of samples whose greatest score is that of the greater part.

    Numbers are uniform, from a counter-based generator (Philox): the key of an epoch's batches and a sample's position in
    the epoch decide, whatever the threads and the batch size (of mixup: among even sizes). ValueError for settings out of
    range; ShapeError, from the Dataset, for data that are not images (N, C, H, W) of more than `shift` pixels a side."""
    shift: int = 0
    pad: str = "zero"
    flip: bool = False
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if self.pad not in PADS:
            raise ValueError(f"Augment expected pad 'zero', 'edge' or 'reflect', got {self.pad!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"Augment expected flip to be True or False, got {self.flip!r}")
        if not isinstance(self.scale, (tuple, list)) or len(self.scale) != 2 or not self.scale[0] <= self.scale[1]:
            raise ValueError(f"Augment expected scale to be two factors, the least and the greatest, got {self.scale!r}")
        clean = dict(shift=_whole("shift", self.shift), cutout=_whole("cutout", self.cutout),
                     rotate=_number("rotate", self.rotate, 0, 180), brightness=_number("brightness", self.brightness),
                     scale=tuple(_number("scale", s, 0.01, 100) for s in self.scale),
                     contrast=_number("contrast", self.contrast), mixup=_number("mixup", self.mixup))
        for name, value in clean.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", hash((*clean.values(), self.pad, self.flip)))     # every step asks for it

    def __hash__(self) -> int:
        return self._hash                               # type: ignore[attr-defined]

    def check(self, shape: Shape) -> None:
        """ShapeError unless images (C, H, W) of this shape can be changed so."""
        if len(shape) != 3:
            raise ShapeError(f"Augment expected images (N, C, H, W), got (N, {', '.join(map(str, shape))})")
        if self.shift >= min(shape[1:]):
            raise ShapeError(f"Augment expected images of more than shift={self.shift} pixels a side, got "
                             f"{shape[1]}x{shape[2]}")

    @property
    def move(self) -> int:
        """How images are moved: not, by whole pixels, or between pixels."""
        return BETWEEN if self.rotate or self.scale != (1, 1) else WHOLE if self.shift or self.flip else NOT

    def _reach(self, along: float, across: float) -> float:
        # How far from the centre a place is, in the direction of `along`, whatever the angle and the factor.
        angle = min(math.radians(self.rotate), math.atan2(across, along))
        return (along * math.cos(angle) + across * math.sin(angle)) / self.scale[0]

    def frame(self, shape: Shape) -> tuple[int, int, bool]:
        """(Lines above and below an image (C, H, W) that is moved between pixels, columns on each side, whether no place is
        outside them). At most about three images a side are kept: what is beyond them repeats."""
        down, right = ((n - 1) / 2 for n in shape[1:])
        far = (math.ceil(max(self._reach(down + self.shift, right + self.shift) - down, 0)),
               math.ceil(max(self._reach(right + self.shift, down + self.shift) - right, 0)))
        above, beside = (min(f, n) + 2 for f, n in zip(far, shape[1:]))
        return above, beside, (above, beside) == (far[0] + 2, far[1] + 2)

    def in_tiles(self, shape: Shape) -> bool:
        """Whether images (C, H, W) of bytes can be moved in tiles of 8 x 4 pixels (kernels/lanes_tiles.h): they hold one, no
        place is outside the frame, and what a tile comes from is within 14 columns and 6 lines. Of rotation alone up to 28
        degrees."""
        return (shape[1] >= 4 and shape[2] >= 8 and self.frame(shape)[2] and
                self._reach(7, 3) <= 13.9 and self._reach(3, 7) <= 5.99)

    def layout(self, shape: Shape, kind: str, real_bytes: int, lanes: int, tiles: bool) -> tuple[int, dict[str, Any]]:
        """(Lanes that a shard of images (C, H, W) takes on its way: moved by whole pixels, where bytes stay bytes, or as the
        frames of a channel; the instruction's fields). In a frame each byte has the one below it at its side, which takes one
        more frame of single bytes; in tiles (`tiles`: where the kernels and the processor have them) bytes are single, and
        zeros between lines and between frames are those of both. Frames are an odd number of cache lines, so that a place is
        in another set of L1 in each, and have columns in eights on each side, which are mirrored at once."""
        each = 1 if kind == "uint8" else real_bytes
        size, above, beside, within, frame, in_tiles = 0, 0, 0, True, 0, False
        if self.move == WHOLE:
            size = lanes * math.prod(shape) * each
        elif self.move == BETWEEN:
            above, beside, within = self.frame(shape)
            beside = -(-beside // 8) * 8
            in_tiles = each == 1 and tiles and self.in_tiles(shape)
            shared = in_tiles and self.pad == "zero"
            wide, high = shape[2] + beside * (2 - shared), shape[1] + above * (2 - shared)
            line = 64 // (2 if each == 1 and not in_tiles else each)        # pixels
            frame = (-(-high * wide // line) | 1) * line
            size = (lanes * frame + (above + 8) * wide + 64 if in_tiles else        # a window begins anywhere in a frame
                    (2 * lanes + 1) * frame + 64 if each == 1 else lanes * frame * each)    # 64: whole vectors are written
        room = -(-size // (lanes * real_bytes))
        return room, dict(move=self.move, pad=PADS.index(self.pad), flip=int(self.flip), mix=int(self.mixup > 0),
                          shift=self.shift, tone=int(self.brightness > 0 or self.contrast > 0), cutout=self.cutout,
                          turn=math.radians(self.rotate), low=self.scale[0], high=self.scale[1], brightness=self.brightness,
                          contrast=self.contrast, above=above, beside=beside, within=int(within), frame=frame,
                          tiles=int(in_tiles))
