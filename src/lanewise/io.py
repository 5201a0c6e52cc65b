"""Files: models and weights as safetensors or .npz, JSON beside them; each whole or not there at all."""
from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
from collections import OrderedDict
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from .errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from numpy.typing import ArrayLike

    from ._types import Array, File
    from .nn.module import Module
    from .optim.lr_scheduler import LRScheduler
    from .optim.optimizer import Optimizer

    M = TypeVar("M", bound=Module)


def write_whole(path: File, data: bytes) -> None:
    """Write bytes to a temporary file beside `path`, sync it, rename it: a reader or a crash never sees half a file. What
    a killed writer of `path` left beside it is removed; a living one's file is locked, and stays."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():            # a rename would put a file in the place of a device
        raise FileExistsError(errno.EEXIST, "is not a regular file", str(path))
    _remove_left(path)
    there = False
    try:
        while not there:
            temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
            with open(temporary, "xb") as file:         # as any new file: its mode follows the umask
                with suppress(OSError):                 # a file system without locks: there no lock is got to remove it either
                    fcntl.flock(file, fcntl.LOCK_EX)
                there = temporary.exists()              # or another writer has taken it for a dead one's before it was locked
                if there:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
            del error.filename2                         # None would be written too
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_left(path: Path) -> None:
    # Temporary files of `path` whose lock nobody holds: a killed process's are gone with it.
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}")
    with suppress(OSError):                             # a folder that cannot be listed, or is not there: open() says so
        for left in [e.path for e in os.scandir(path.parent) if pattern.fullmatch(e.name) and e.is_file(follow_symlinks=False)]:
            with suppress(OSError), open(left, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(left)


def save(model: Module | Mapping[str, ArrayLike], path: File, metadata: Any = None) -> None:
    """Save a module's state_dict() (or a dict of arrays), with what load() makes the module from; `metadata`: JSON-able, kept
    with it. As safetensors, or as NumPy's archive where the name ends in ".npz"; whole or not at all. ValueError for an array
    of the header's name, "__metadata__"."""
    state: Any = model
    header = {"lanewise": json.dumps(metadata or {}, default=_plain)}
    if not isinstance(model, dict):
        if not hasattr(model, "state_dict"):
            raise TypeError(f"save expected a Module or a dict of arrays, got {type(model).__name__}")
        from .config import describe
        state, header["lanewise.model"] = state.state_dict(), json.dumps(describe(model), default=_plain)
    arrays = {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in state.items()}
    if HEADER in arrays:
        raise ValueError(f"save expected names of arrays other than '{HEADER}', which is the header's")
    write_whole(path, _npz(arrays, header) if _is_npz(path) else _safetensors(arrays, header))


@overload
def load(path: File, model: None = None) -> Module: ...
@overload
def load(path: File, model: M) -> M: ...
def load(path: File, model: Module | None = None) -> Module:
    """The model of a file that save() wrote, in evaluation mode, made from names in a table of the library's classes: no code
    of the file's is run. With `model`, that model with the file's weights, in the mode it was in: the way for classes of
    your own, and for files of other programs.

    WeightsError for a file that is missing, truncated or of another kind, without a model's description or with one of a class
    that is not the library's, and for weights that are another model's."""
    state, metadata, about = _open(path)
    if model is None:
        if about is None:
            if "optimizer" in metadata and "schedule" in metadata:
                raise WeightsError(f"{path}: expected a model, got a checkpoint: lw.load_checkpoint(path, model) takes it")
            raise WeightsError(f"{path}: expected a model, got weights without its description: lw.load(path, model=mine) "
                               f"loads them into one that you made, lw.read(path) gives the arrays")
        from .config import build
        model = build(about, path)
        for name, p in model._named_state():
            if name in state and state[name].dtype in (np.float32, np.float64):
                p.cast(state[name].dtype)
    _fill(model, state, path)
    return model


def _fill(part: Any, state: Any, path: File) -> None:
    # load_state_dict(), whose mistakes are the file's
    try:
        part.load_state_dict(state)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None


def read(path: File) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays by name, metadata) of a file that save() wrote, or of any safetensors or .npz file."""
    return _open(path)[:2]


def _open(path: File) -> tuple[dict[str, Array], dict[str, Any], Any]:
    """(arrays, metadata, description of the model or None) of a file."""
    if Path(path).exists() and not Path(path).is_file():
        raise WeightsError(f"{path}: expected a {_kind(path)} file, got a directory or device")
    try:
        state, header = _read_npz(path) if _is_npz(path) else _read_safetensors(path)
        metadata, about = (json.loads(header[k]) if k in header else None for k in ("lanewise", "lanewise.model"))
    except FileNotFoundError:
        raise WeightsError(f"{path}: cannot be read (no such file)") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except TypeError as error:
        raise WeightsError(f"{path}: expected weights of a number type that NumPy has ({error})") from None
    except (ValueError, RecursionError):
        if _is_pickle(path):
            raise WeightsError(f"{path}: expected a {_kind(path)} file, got PyTorch's pickle, which can run code: "
                               f"safetensors.torch.save_file(torch.load(path, weights_only=True), 'x.safetensors') converts a "
                               f"state_dict") from None
        raise WeightsError(f"{path}: expected a {_kind(path)} file, got a truncated one or another format") from None
    return state, metadata if isinstance(metadata, dict) else {}, about


def _plain(value: Any) -> Any:
    # NumPy's numbers and arrays in JSON
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"expected metadata that JSON can hold, got {type(value).__name__}")


def _is_npz(path: File) -> bool:
    return Path(path).suffix.lower() == ".npz"


def _kind(path: File) -> str:
    return ".npz" if _is_npz(path) else "safetensors"


def _is_pickle(path: File) -> bool:
    # a bare pickle, or a zip archive that holds one
    import zipfile
    with open(path, "rb") as file:
        head = file.read(9)
        if head[:1] == b"\x80" and head[8:] not in (b"", b"{"):         # not a safetensors header's length, and its JSON
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError):
        return False


HEADER = "__metadata__"                 # safetensors' own name for it


def _safetensors(arrays: dict[str, Array], header: dict[str, str]) -> bytes:
    # with the header's metadata in their order: the library writes them in one that changes from call to call
    from safetensors.numpy import save as encode
    raw = encode(arrays, header)
    end = 8 + int.from_bytes(raw[:8], "little")
    fields = json.loads(raw[8:end])
    fields[HEADER] = header
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)                     # the numbers stay aligned
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(raw)[end:]))


def _read_safetensors(path: File) -> tuple[dict[str, Array], dict[str, str]]:
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(str(path), framework="numpy") as file:
            state, header = OrderedDict((k, file.get_tensor(k)) for k in file.keys()), file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    for name, array in state.items():
        if array.dtype.kind == "V":                     # NumPy has got it from another package
            raise TypeError(f"'{name}' is of {array.dtype}")
    return state, header


def _npz(arrays: dict[str, Array], header: dict[str, str]) -> bytes:
    # what np.savez writes, but for its refusal of names such as "file", and with nothing pickled
    import zipfile
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in {**arrays, HEADER: np.array(json.dumps(header))}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return out.getvalue()


def _read_npz(path: File) -> tuple[dict[str, Array], dict[str, str]]:
    import zipfile
    import zlib
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            state = OrderedDict((name, found[name]) for name in getattr(found, "files", ()))
        if isinstance(found, np.ndarray) or not all(isinstance(a, np.ndarray) for a in state.values()):
            raise ValueError("no archive of arrays")
    except (zipfile.BadZipFile, zlib.error, EOFError, MemoryError, RuntimeError) as error:      # RuntimeError: encrypted
        raise ValueError(str(error)) from None
    header = json.loads(str(state.pop(HEADER, "{}")))
    if not isinstance(header, dict) or not all(isinstance(v, str) for v in header.values()):
        raise ValueError("a header of another kind")
    return state, header


def save_checkpoint(path: File, model: Module, optimizer: Optimizer | None = None, schedule: LRScheduler | None = None,
                    metadata: Any = None) -> None:
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


def load_checkpoint(path: File, model: Module, optimizer: Optimizer | None = None, schedule: LRScheduler | None = None) -> Any:
    """Take what save_checkpoint() wrote; returns its metadata. WeightsError for another kind of file, another model's,
    optimizer's or schedule's, or one without the optimizer or schedule that is asked for."""
    arrays, about = read(path)
    if "optimizer" not in about or "schedule" not in about:
        raise WeightsError(f"{path}: expected a checkpoint, got weights alone")
    for what, asked in (("optimizer", optimizer), ("schedule", schedule)):
        if asked is not None and about[what] is None:
            raise WeightsError(f"{path}: expected a checkpoint with the state of its {what}, got one without")
    _fill(model, {k[len("model."):]: v for k, v in arrays.items() if k.startswith("model.")}, path)
    if optimizer is not None:
        entries = {int(i): {"step": step} for i, step in about["optimizer"]["steps"].items()}
        for key, array in arrays.items():
            if key.startswith("optimizer."):
                _, i, moment = key.split(".")
                entries[int(i)][moment] = array
        _fill(optimizer, {"state": entries, "param_groups": about["optimizer"]["param_groups"]}, path)
    if schedule is not None:
        _fill(schedule, about["schedule"], path)
    return _lower(about["metadata"], arrays)


ARRAY = "array in the file"


def _lift(value: Any, arrays: dict[str, Array]) -> Any:
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


def _lower(value: Any, arrays: dict[str, Array]) -> Any:
    """What _lift() had: tuples are lists, keys are strings."""
    if isinstance(value, dict):
        return arrays[value[ARRAY]] if set(value) == {ARRAY} else {k: _lower(v, arrays) for k, v in value.items()}
    return [_lower(v, arrays) for v in value] if isinstance(value, list) else value


def save_json(path: File, value: Any) -> None:
    """Write JSON, whole or not at all; NaN and infinities, which JSON lacks, as null."""
    write_whole(path, (json.dumps(_finite(value), indent=1, allow_nan=False) + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
