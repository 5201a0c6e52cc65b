"""Files: weights as safetensors, JSON beside them; each whole or not there at all."""
import errno
import json
import math
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np

from .errors import WeightsError


def write_whole(path, data):
    """Write bytes to a temporary file beside `path`, sync it, rename it: a reader or a crash never sees half a file."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():            # a rename would put a file in the place of a device
        raise FileExistsError(errno.EEXIST, "is not a regular file", str(path))
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with open(temporary, "xb") as file:             # as any new file: its mode follows the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
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
    arrays = {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in state.items()}
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
    if Path(path).exists() and not Path(path).is_file():
        raise WeightsError(f"{path}: expected a safetensors file, got a directory or device")
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = file.keys()
            state = OrderedDict((k, file.get_tensor(k)) for k in names)
            metadata = json.loads((file.metadata() or {}).get("lanewise", "{}"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or 'no such file'})") from None
    except (SafetensorError, ValueError):
        raise WeightsError(f"{path}: expected a safetensors file, got a truncated one or another format") from None
    except TypeError as error:
        raise WeightsError(f"{path}: expected weights of a number type that NumPy has ({error})") from None
    return state, metadata if isinstance(metadata, dict) else {}


def save_checkpoint(path, model, optimizer=None, schedule=None, metadata=None):
    """Save all that a run goes on from in one file: weights, the optimizer's moments and settings, the schedule's state;
    `metadata`: JSON-able, with arrays anywhere in it, kept with it. A run that is loaded again gives the same bits as one
    that was never stopped."""
    arrays = {f"model.{k}": v for k, v in model.state_dict().items()}
    about = {"metadata": _lift(metadata, arrays), "schedule": None if schedule is None else schedule.state_dict(),
             "optimizer": None}
    if optimizer is not None:
        state = optimizer.state_dict()
        about["optimizer"] = {"param_groups": state["param_groups"], "steps": {}}
        for i, entry in state["state"].items():
            about["optimizer"]["steps"][str(i)] = entry["step"]
            arrays.update((f"optimizer.{i}.{k}", v) for k, v in entry.items() if k != "step")
    save(arrays, path, about)


def load_checkpoint(path, model, optimizer=None, schedule=None):
    """Take what save_checkpoint() wrote; returns its metadata. WeightsError for another kind of file, another model's, or one
    without the optimizer or schedule that is asked for."""
    arrays, about = read(path)
    if "optimizer" not in about or "schedule" not in about:
        raise WeightsError(f"{path}: expected a checkpoint, got weights alone")
    for what, asked in (("optimizer", optimizer), ("schedule", schedule)):
        if asked is not None and about[what] is None:
            raise WeightsError(f"{path}: expected a checkpoint with the state of its {what}, got one without")
    model.load_state_dict({k[len("model."):]: v for k, v in arrays.items() if k.startswith("model.")})
    if optimizer is not None:
        entries = {int(i): {"step": step} for i, step in about["optimizer"]["steps"].items()}
        for key, array in arrays.items():
            if key.startswith("optimizer."):
                _, i, moment = key.split(".")
                entries[int(i)][moment] = array
        optimizer.load_state_dict({"state": entries, "param_groups": about["optimizer"]["param_groups"]})
    if schedule is not None:
        schedule.load_state_dict(about["schedule"])
    return _lower(about["metadata"], arrays)


ARRAY = "array in the file"


def _lift(value, arrays):
    """The value as JSON has it, its arrays put among the others under numbers."""
    if isinstance(value, np.ndarray):
        name = f"metadata.{len(arrays)}"
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, dict):
        return {k: _lift(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lift(v, arrays) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _lower(value, arrays):
    """What _lift() had: tuples are lists, keys are strings."""
    if isinstance(value, dict):
        return arrays[value[ARRAY]] if set(value) == {ARRAY} else {k: _lower(v, arrays) for k, v in value.items()}
    return [_lower(v, arrays) for v in value] if isinstance(value, list) else value


def save_json(path, value):
    """Write JSON, whole or not at all; NaN and infinities, which JSON lacks, as null."""
    write_whole(path, (json.dumps(_finite(value), indent=1, allow_nan=False) + "\n").encode())


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
