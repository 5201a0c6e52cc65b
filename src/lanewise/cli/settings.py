"""--config and --save-config: a command's options in a file. Keys are options' names without their dashes; JSON, or TOML where
Python reads it (3.11 on)."""
import json
from pathlib import Path

import click

from .. import io
from ..data import Augment
from ..errors import DataError
from .options import AugmentType, Sizes

OUTSIDE = ("config", "save-config", "resume", "json", "help")      # options of a call, not of what is called


def options(command):
    """{name without dashes: click's option} of those that a file may have."""
    found = {p.opts[-1].lstrip("-"): p for p in command.params if isinstance(p, click.Option)}
    return {name: p for name, p in found.items() if name not in OUTSIDE}


def _read(path):
    text, toml = Path(path), path.lower().endswith(".toml")
    try:
        raw = text.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"--config {path}: expected text, got other bytes") from None
    if toml:
        try:
            import tomllib
        except ImportError:
            raise DataError(f"--config {path}: TOML needs Python 3.11 or later; JSON is read by every one") from None
    try:
        found = tomllib.loads(raw) if toml else json.loads(raw)
    except (ValueError, RecursionError) as error:       # the errors of both are ValueErrors
        raise DataError(f"--config {path}: expected {'TOML' if toml else 'JSON'}, got another format or a damaged file "
                        f"({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"--config {path}: expected an object of options, got {_kind(found)}")
    return found


def _kind(value):
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a table", list: "a list",
            type(None): "null"}.get(type(value), type(value).__name__)


def _types(option):
    """The types that an option's value may have in a file, and their name."""
    if option.is_flag:
        return (bool,), "true or false"
    if isinstance(option.type, AugmentType):
        return (str, dict), "text or a table"
    if isinstance(option.type, Sizes):
        return (str, int), "text as 28x28, or a whole number"
    if isinstance(option.type, click.types.IntParamType):
        return (int,), "a whole number"
    return ((int, float), "a number") if isinstance(option.type, click.types.FloatParamType) else ((str,), "text")


def read(ctx, param, path):
    """--config's callback: the file's values are the options' defaults. DataError for a file that cannot be read, a name that
    is no option's, and a value of the wrong type or out of range."""
    if path is None:
        return
    known, clean = options(ctx.command), {}
    for name, value in _read(path).items():
        name = name.replace("_", "-")
        if name not in known:
            raise DataError(f"--config {path}: expected options among {', '.join(known)}, got '{name}'")
        option = known[name]
        types, what = _types(option)
        if not isinstance(value, types) or isinstance(value, bool) and bool not in types:
            raise DataError(f"--config {path}: expected {name} to be {what}, got {_kind(value)}: "
                            f"{json.dumps(value, default=str)}")
        try:
            value = option.type.convert(value, option, ctx)
            clean[option.name] = option.callback(ctx, option, value) if option.callback and option.expose_value else value
        except click.BadParameter as error:
            raise DataError(f"--config {path}: {name}: {error.message.rstrip('.')}") from None
    ctx.default_map = {**(ctx.default_map or {}), **clean}


def plain(value):
    """An option's value as JSON has it: an Augment as a table of what differs from its defaults."""
    if isinstance(value, Augment):
        found = {k: getattr(value, k) for k, f in Augment.__dataclass_fields__.items() if getattr(value, k) != f.default}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def text(value):
    """A plain() value as the command line has it, None for an option that is not given."""
    if isinstance(value, dict):
        return ",".join(k if v is True else f"{k}={':'.join(map(str, v)) if isinstance(v, list) else v}"
                        for k, v in value.items()) or "''"
    return None if value is None else str(value)


def write(path, values):
    """Write {option: value} as JSON that --config reads, whole."""
    io.save_json(path, {name.replace("_", "-"): plain(value) for name, value in values.items() if value is not None})
