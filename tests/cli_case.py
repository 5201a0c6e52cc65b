"""What the tests of the command share: how it is run, what a mistake looks like, data of several kinds."""
import fcntl
import json
import os
import pty
import struct
import sys
import termios

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import lanewise as lw
from lanewise import cli

COMMAND = [sys.executable, "-m", "lanewise.cli"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model that the command has trained, for the tests that only read it."""
    path = tmp_path_factory.mktemp("saved") / "m.safetensors"
    assert run("train", "--epochs", 3, "--output", path).exit_code == 0
    return path


def run(*args, **options):
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, [str(a) for a in args], **options)


def mistake(result, code, *words):
    """The command ended with this status and one line that holds the words."""
    assert result.exit_code == code
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1, result.output
    for word in words:
        assert word in result.output


def history(name="lanewise-model.history.json"):
    """The JSON history, read by the book."""
    with open(name) as file:
        return json.load(file, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


def terminal(*args, columns=80, after=None):
    """Run the command on a terminal of its own: (exit status, all that it wrote). `after`: (text, what to type then)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(COMMAND[0], [*COMMAND, *args])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:                                 # the terminal is closed when the command ends
            break
        if not part:
            break
        out += part
        if after and after[0] in out:
            os.write(fd, after[1])
            after = None
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode()


def picture(path, pixels, **kw):
    """Save an array as an image file."""
    Image.fromarray(pixels).save(path, **kw)
    return path


def refuse(*modules):
    """Settings for a child process that cannot import these."""
    code = (f"import sys; sys.modules.update(dict.fromkeys({modules!r})); from lanewise.cli import main; "
            f"main(prog_name='lanewise')")
    return [sys.executable, "-c", code]


def tree(path, n=8, classes=("bag", "shirt", "shoe"), size=(28, 28), seed=0):
    """A folder of gray images that are easy to tell apart: class k is a bright row of blocks at height k."""
    rng = np.random.default_rng(seed)
    for k, name in enumerate(classes):
        (path / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            x = rng.integers(0, 60, size, np.uint8)
            x[k * size[0] // 3:(k + 1) * size[0] // 3] += 180
            Image.fromarray(x).save(path / name / f"{i}.png")
    return path


def archive(path, n=640, **more):
    """An .npz file of the first images of the embedded set."""
    training, _ = lw.data.load("fashion-mnist-mini")
    rows = np.random.default_rng(0).permutation(len(training))[:n]
    np.savez(path, x=training.images[rows], y=training.labels[rows], **more)
    return path
