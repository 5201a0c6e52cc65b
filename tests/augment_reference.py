"""Augmentation in NumPy and SciPy, float64: what lanewise.data.Augment says, in other words than the kernel's."""
import math

import numpy as np
from scipy.ndimage import map_coordinates

PAD = {"zero": ("constant", "grid-constant"), "edge": ("edge", "nearest"), "reflect": ("reflect", "mirror")}
MASK = (1 << 32) - 1


def philox(key, *counter):
    """Philox4x32 with 10 rounds of a counter (four words, the last ones 0 when left out): four words."""
    k0, k1 = key & MASK, key >> 32
    c = [*counter] + [0] * (4 - len(counter))
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & MASK, a >> 32 ^ c[3] ^ k1, a & MASK]
        k0, k1 = k0 + 0x9E3779B9 & MASK, k1 + 0xBB67AE85 & MASK
    return c


def drawn(augment, key, position, shape):
    """What the sample at a position gets: a dict."""
    words = [w for i in range(3) for w in philox(key, position, i)]
    uniform = [w / 2 ** 32 for w in words]
    span = 2 * augment.shift + 1
    low, high = augment.scale
    return dict(dy=math.floor(uniform[0] * span) - augment.shift, dx=math.floor(uniform[1] * span) - augment.shift,
                flip=augment.flip and uniform[2] < 0.5, angle=math.radians((2 * uniform[3] - 1) * augment.rotate),
                factor=low + uniform[4] * (high - low), row=math.floor(uniform[5] * shape[1]),
                col=math.floor(uniform[6] * shape[2]), contrast=1 + (2 * uniform[7] - 1) * augment.contrast,
                brightness=(2 * uniform[8] - 1) * augment.brightness)


def moved(x, augment, d):
    """(C, H, W) flipped, turned, enlarged and shifted."""
    outside, between = PAD[augment.pad]
    x = x[:, :, ::-1] if d["flip"] else x
    _, rows, cols = x.shape
    s = augment.shift
    if not augment.rotate and augment.scale == (1, 1):
        wide = np.pad(x, ((0, 0), (s, s), (s, s)), outside)
        return wide[:, s + d["dy"]:s + d["dy"] + rows, s + d["dx"]:s + d["dx"] + cols]
    down, right = np.mgrid[:rows, :cols].astype(float)
    down += d["dy"] - (rows - 1) / 2                    # where each pixel of the result is, seen from the centre
    right += d["dx"] - (cols - 1) / 2
    place = (right - 1j * down) * np.exp(-1j * d["angle"]) / d["factor"]            # the plane with y upwards, turned back
    at = [(rows - 1) / 2 - place.imag, (cols - 1) / 2 + place.real]
    return np.stack([map_coordinates(channel, at, order=1, mode=between) for channel in x])


def augmented(images, augment, key, first=0, mix=None, mean=0.0, std=1.0):
    """(N, C, H, W) float64, normalised: a batch's images whose first is at position `first`."""
    unit = 255 if images.dtype == np.uint8 else 1
    mean, std = (np.asarray(v, float).reshape(-1, 1, 1) for v in ((mean, std) if unit == 255 else (0, 1)))
    out = []
    for n, x in enumerate(images):
        x = x.astype(float) / unit
        d = drawn(augment, key, first + n, x.shape)
        m = x.mean()
        a = d["contrast"]
        x = (a * moved(x, augment, d) + (1 - a) * m + d["brightness"] - mean) / std
        k = augment.cutout
        top, left = d["row"] - k // 2, d["col"] - k // 2
        x[:, max(top, 0):max(top + k, 0), max(left, 0):max(left + k, 0)] = 0
        out.append(x)
    if mix is not None:
        for i in range(0, len(out) - 1, 2):
            a, b = out[i], out[i + 1]
            out[i], out[i + 1] = mix[i] * a + (1 - mix[i]) * b, mix[i + 1] * b + (1 - mix[i + 1]) * a
    return np.array(out)
