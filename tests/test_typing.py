"""Annotations: mypy over the package and over a user's program, and none missing from what is public."""
from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lanewise as lw

ROOT = Path(__file__).parent.parent
PACKAGE = Path(lw.__file__).parent
PROGRAM = Path(__file__).parent / "typed_program.py"
MODULES = ["arithmetic", "callbacks", "checks", "data", "ensemble", "errors", "estimators", "graph", "io", "loss", "metrics",
           "models", "nn", "nn.functional", "nn.init", "nn.penalty", "nn.utils", "onnx", "ops", "optim", "optim.lr_scheduler",
           "own", "parameter", "plot", "profiling", "rng", "summary", "threads", "train"]
NEEDS = {"estimators": "sklearn", "plot": "matplotlib"}
STRICT = f"""
[mypy]
strict = true
mypy_path = {ROOT / "src"}
[mypy-lanewise.*]
follow_imports = silent
"""


def mypy(*arguments, folder):
    """(return code, lines) of mypy, of a version that lets a parameter become the array that it stands for."""
    version = pytest.importorskip("mypy.version", reason="pip install 'mypy>=2'").__version__
    if int(version.split(".")[0]) < 2:
        pytest.skip(f"pip install 'mypy>=2' (this is {version})")
    done = subprocess.run([sys.executable, "-m", "mypy", "--no-color-output", "--no-pretty", *map(str, arguments)], cwd=folder,
                          capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_the_package(tmp_path):
    """mypy as it is called in the repository's root, where pyproject.toml says what is checked."""
    code, lines = mypy("--cache-dir", tmp_path, folder=ROOT)
    assert code == 0, "\n".join(lines)
    assert re.fullmatch(r"Success: no issues found in \d\d+ source files", lines[-1])


def test_a_program(tmp_path):
    """Strictly checked: no error but those that it asks for, and the types that its comments `# R:` name."""
    (tmp_path / "mypy.ini").write_text(STRICT)
    code, lines = mypy("--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache", PROGRAM.name,
                       folder=PROGRAM.parent)
    notes = [re.fullmatch(r'typed_program\.py:(\d+): note: Revealed type is "(.*)"', line) for line in lines[:-1]]
    assert code == 0 and all(notes), "\n".join(lines)
    found = {int(note[1]): re.sub(r"numpy\.ndarray\[.*?dtype\[Any\]\]", "NDArray[Any]", note[2]) for note in notes}
    wanted = {i: line.partition("# R: ")[2] for i, line in enumerate(PROGRAM.read_text().splitlines(), 1) if "# R: " in line}
    assert found == wanted


def test_marked_as_typed():
    """What tells type checkers to look, and what they then need, is beside the modules, and goes into the package."""
    data = re.search(r"package-data\]\nlanewise = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[1]
    for name in ("py.typed", "_types.pyi", "_kernels/__init__.pyi"):
        assert (PACKAGE / name).is_file() and f'"{name}"' in data


def test_late_names():
    """The names that lanewise imports on first use are those that type checkers see, from the same modules."""
    tree = ast.parse(Path(lw.__file__).read_text())
    block, = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {name.name: found.module for found in block.body for name in found.names}
    assert seen == lw._LATER


def missing(function):
    """Parameters of a function, and "return", that have no annotation; nothing for what no file of lanewise's defines."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or not code.co_filename.startswith((str(PACKAGE), __file__)):       # made by dataclass() or NamedTuple
        return []
    arguments = list(inspect.signature(function).parameters.values())
    if "." in function.__qualname__.rpartition("<locals>.")[2] and arguments and arguments[0].name in ("self", "cls"):
        arguments = arguments[1:]
    none = inspect.Parameter.empty
    return [a.name for a in arguments if a.annotation is none] + ["return"] * ("return" not in function.__annotations__)


def functions(thing):
    """(name, function) of a function, or of every public method, property and special method of a class and its bases."""
    if inspect.isfunction(thing):
        yield thing.__qualname__, thing
    for kind in (k for k in getattr(thing, "__mro__", ()) if k.__module__.startswith("lanewise")):
        for name, member in vars(kind).items():
            if name.startswith("_") and not (name.startswith("__") and name.endswith("__")):
                continue
            for f in (member.fget, member.fset) if isinstance(member, property) else (getattr(member, "__func__", member),):
                if inspect.isfunction(f):
                    yield f"{kind.__qualname__}.{name}", f


def public(module):
    """(name, thing) of a module's __all__, or of the public functions and classes that it defines."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return [(name, getattr(module, name)) for name in names]
    return [(name, thing) for name, thing in vars(module).items()
            if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__]


@pytest.mark.parametrize("name", ["", *MODULES])
def test_everything_public_is_annotated(name):
    if name in NEEDS or not name:
        for needed in NEEDS.values() if not name else (NEEDS[name],):
            pytest.importorskip(needed, reason=f"pip install {needed}")
    module = importlib.import_module(f"lanewise.{name}" if name else "lanewise")
    found = [(path, f) for _, thing in public(module) for path, f in functions(thing)]
    assert found or name == "errors"
    bare = sorted({f"{path}: {', '.join(missing(f))}" for path, f in found if missing(f)})
    assert not bare, "\n".join(bare)


def test_missing_finds_what_is_missing():
    """The check above, on planted gaps."""
    class Planted:
        def method(self, x, y: int = 0):
            pass

        @property
        def whole(self) -> int:
            return 0

    def complete(x: int, *rest: int, flag: bool = False, **more: int) -> None:
        pass

    def partly(x: int, *rest, flag=False) -> None:
        pass

    Planted.__module__ = "lanewise.planted"
    assert {name.rpartition(".")[2]: missing(f) for name, f in functions(Planted)} == {"method": ["x", "return"], "whole": []}
    assert missing(complete) == [] and missing(partly) == ["rest", "flag"]
