"""A model as plain data, for a file: what it is made of, by names in a fixed table of the library's own classes.

    {"format": 1, "model": TREE, "tied": {path: path of the same parameter}}
    TREE: {"class": "nn.Linear", "arguments": {...}, "modules": {name: TREE}}, or {"shared": path} where a module comes again"""
import functools
from inspect import signature

from .errors import WeightsError
from .nn.module import Module

FORMAT = 1


@functools.lru_cache(None)
def registry():
    """{"nn.Conv2d": class, ..., "models.FCN": class, ...}: every Module of the library's that can be made from plain data."""
    from . import models, nn
    found = {f"nn.{name}": getattr(nn, name) for name in nn.__all__ if name != "Module"}
    found.update((f"models.{name}", c) for name, c in vars(models).items() if getattr(c, "__module__", None) == models.__name__)
    return {name: c for name, c in found.items() if isinstance(c, type) and issubclass(c, Module)}


class _Own(Exception):
    """A module that is not of the library's classes: (name of the class, path)."""


def describe(model):
    """The description of a model; of one that is, or holds, a class of the user's: {"format": 1, "own": class, "at": path}."""
    names, paths = {c: name for name, c in registry().items()}, {}

    def tree(module, path):
        if id(module) in paths:
            return {"shared": paths[id(module)]}
        if type(module) not in names:
            own = getattr(module, "__qualname__", type(module).__qualname__)    # an operation has its function's name
            raise _Own(f"{module.__module__}.{own}", path)
        paths[id(module)] = path
        return {"class": names[type(module)], "arguments": module.config(), "modules": {
            name: tree(m, f"{path}.{name}" if path else name) for name, m in module._modules.items()}}
    try:
        found = tree(model, "")
    except _Own as own:
        return {"format": FORMAT, "own": own.args[0], "at": own.args[1]}
    first, tied = {}, {}
    for path, p in _unshared_state(model):
        if first.setdefault(id(p), path) != path:
            tied[path] = first[id(p)]
    return {"format": FORMAT, "model": found, "tied": tied}


def _unshared_state(model):
    """(path, parameter or buffer) of every module once: what is the same array twice was tied by hand."""
    for path, module in model.named_modules():
        for name, p in (*module._parameters.items(), *module._buffers.items()):
            yield f"{path}.{name}" if path else name, p


def build(about, path):
    """The model of a description, with fresh weights. WeightsError, which names the file `path`, for a description that is of
    another format, of a user's class, or not what describe() writes."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        number = about.get("format") if isinstance(about, dict) else about
        raise WeightsError(f"{path}: expected a model's description of format {FORMAT}, got {number!r}: it was written by "
                           f"another version of lanewise")
    if "own" in about:
        where = f" at '{about.get('at')}'" if about.get("at") else ""
        raise WeightsError(f"{path}: expected a model of the library's classes, got {about['own']}{where}: make one and load "
                           f"its weights with lw.load(path, model=mine)")
    try:
        made = {}
        model = _module(about["model"], "", made)
        for one, other in about["tied"].items():
            owner, _, name = other.rpartition(".")
            target = getattr(made[owner], name)
            owner, _, name = one.rpartition(".")
            own = {**made[owner]._parameters, **made[owner]._buffers}[name]
            if type(own) is not type(target) or own.shape != target.shape:
                raise ValueError(f"'{one}' and '{other}' differ")
            setattr(made[owner], name, target)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise WeightsError(f"{path}: expected a model's description that lanewise wrote, got a damaged one "
                           f"({type(error).__name__}: {error})") from None
    return model.eval()


def _module(tree, path, made):
    if "shared" in tree:
        return made[tree["shared"]]
    name, arguments = tree["class"], tree["arguments"]
    kind = registry().get(name)
    if kind is None:
        raise WeightsError(f"expected a model of the library's classes, got {name!r}")
    known = [n for n in signature(kind).parameters if n != "rng"]
    if not set(arguments) <= set(known):
        raise ValueError(f"{name} got {sorted(arguments)}")
    module = made[path] = kind(**arguments)
    for child, inner in tree["modules"].items():
        if "." in child or hasattr(kind, child) or (child in vars(module) and child not in module._modules):
            raise ValueError(f"'{child}' cannot be a module's name")
        setattr(module, child, _module(inner, f"{path}.{child}" if path else child, made))
    return module
