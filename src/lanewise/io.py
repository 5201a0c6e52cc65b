"""Files: weights as safetensors, JSON beside them; each whole or not there at all."""
import json
import os
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from .errors import WeightsError


def write_whole(path, data):
    """Write bytes to a temporary file beside `path`, sync it, rename it: a reader or a crash never sees half a file."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save(model, path, metadata=None):
    """Save a module's state_dict() (or a dict of arrays) as safetensors; `metadata`: JSON-able, kept with it."""
    from safetensors.numpy import save as encode
    state = model if isinstance(model, dict) else model.state_dict()
    arrays = {k: np.ascontiguousarray(v) for k, v in state.items()}
    write_whole(path, encode(arrays, {"lanewise": json.dumps(metadata or {})}))


def load(path, model=None):
    """The arrays of a safetensors file by name; with `model`, they are loaded into it (WeightsError if they are another's).

    WeightsError for a file that is missing, truncated or of another kind."""
    state, _ = read(path)
    if model is not None:
        model.load_state_dict(state)
    return state


def read(path):
    """(arrays by name, metadata) of a file that save() wrote."""
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = file.keys()
            state = OrderedDict((k, file.get_tensor(k)) for k in names)
            metadata = json.loads((file.metadata() or {}).get("lanewise", "{}"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or 'no such file'})") from None
    except (SafetensorError, ValueError):
        raise WeightsError(f"{path}: expected a safetensors file, got a truncated one or another format") from None
    return state, metadata


def save_json(path, value):
    """Write JSON, whole or not at all."""
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())
