"""The README says what works: its Python runs, its commands parse, its paths and its marks exist."""
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lanewise import cli, data

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def test_python_runs(tmp_path, monkeypatch, capsys):
    """The blocks in order, in one namespace, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    assert len(blocks("python")) >= 3
    names = {}
    for i, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md, block {i + 1}", "exec"), names)
    said = capsys.readouterr().out
    assert float(re.search(r"test accuracy ([\d.]+)", said)[1]) > 0.6 and "(5, 10)" in said
    assert names["scores"].shape == (1000, 10) and np.isfinite(names["history"]["val_loss"]).all()
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("line", [c.strip() for b in blocks("sh") for line in b.splitlines() for c in line.split("&&")
                                  if c.strip().startswith("lanewise ")])
def test_commands_parse(line):
    """Each `lanewise ...` line is one that the command accepts."""
    _, name, *args = shlex.split(line)
    cli.main.commands[name].make_context(name, args, parent=cli.main.make_context("lanewise", []))


def test_the_two_commands_are_at_the_top():
    assert blocks("sh")[:2] == ["pip install . && lanewise train\n", 'pip install ".[test]" && pytest\n']
    assert TEXT.index("pytest") < 200


def test_names_exist():
    """Files in the layout, data sets in the table, tests that the text names."""
    named = re.findall(r"`((?:src|kernels|tests)/[\w/.]+\.\w+)`", TEXT)
    for name in [*named, "setup.py", "kernels/lanes.h", "kernels/engine.pyx", "kernels/cpu.pyx"]:
        assert (ROOT / name).is_file(), name
    blocks = re.split(r"^```.*\n", TEXT, flags=re.M)[1::2]
    layout = next(b for b in blocks if "src/lanewise/" in b)
    for name in re.findall(r"\b(\w+\.py)\b", layout):
        assert any((ROOT / d / name).is_file() for d in ("", "kernels", "src/lanewise", "tests", "bench")), name
    for name in data.SETS:
        assert f"| `{name}` |" in TEXT
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in tests
