"""The command line, as a person meets it: what it prints, what it leaves behind, and one line for every mistake."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from cli_case import COMMAND, archive, folder, history, mistake, picture, run, saved, terminal  # noqa: F401  fixtures by name
from PIL import Image

import lanewise as lw
from lanewise import cli, io, models

# -- train ------------------------------------------------------------------------------------------------------------

def test_no_arguments():
    """The whole default run, in a process of its own: 83 % or more, what it says, and what it leaves."""
    done = subprocess.run([*COMMAND, "train"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"machine   .+, (x86-64-v\d|generic) \(\d+ lanes\), \d+ threads?", lines[0])
    assert lines[1] == "data      fashion-mnist-mini: 3,000 + 1,000 test images, 1x28x28, 10 classes"
    assert re.match(r"model     lenet5, 44,426 parameters; adam", lines[2])
    start = re.fullmatch(r"start     loss (\d\.\d+) before training; guessing gives log\(10\) = 2.3026", lines[3])
    assert abs(float(start[1]) - np.log(10)) < 0.1
    epochs = [re.fullmatch(r"epoch +(\d+)/20  loss (\d\.\d{4})  accuracy +(\d+\.\d) %  +([\d,]+) images/s", line)
              for line in lines[4:24]]
    assert [int(e[1]) for e in epochs] == list(range(1, 21))
    assert float(epochs[-1][2]) < 0.3 < float(epochs[0][2])
    test = re.fullmatch(r"test      accuracy (\d\d\.\d\d) %, loss (\d\.\d{4})", lines[24])
    assert float(test[1]) >= 83
    assert lines[25] == "saved     lanewise-model.safetensors, lanewise-model.history.json"
    assert re.fullmatch(r"time      [\d.]+ s for 60,000 images, [\d,]+ images/s; [\d.]+ s in all", lines[26])
    assert len(lines) == 27 and max(map(len, lines)) < 80 and "\r" not in done.stdout and "\x1b" not in done.stdout
    assert sorted(os.listdir()) == ["lanewise-model.history.json", "lanewise-model.safetensors"]
    about = history()
    assert len(about["history"]["loss"]) == len(about["history"]["accuracy"]) == 20
    assert about["test"]["accuracy"] == pytest.approx(float(test[1]) / 100) and about["seed"] == 0
    assert about["machine"] in lines[0] and about["initial_loss"] == pytest.approx(float(start[1]), abs=1e-4)
    model = models.lenet5()
    lw.load("lanewise-model.safetensors", model)        # the file holds what was tested
    _, test_set = lw.data.load("fashion-mnist-mini")
    assert lw.Trainer(model, lw.nn.CrossEntropyLoss()).evaluate(test_set)["accuracy"] == about["test"]["accuracy"]


@pytest.mark.parametrize("model, optimizer", [("mlp", "adam"), ("lenet5", "sgd"), ("cifar_cnn", "adam")])
def test_options(model, optimizer):
    result = run("train", "--model", model, "--optimizer", optimizer, "--epochs", 1, "--batch-size", 100, "--lr", 0.002,
                 "--seed", 3, "--threads", 1, "--output", "out")
    assert result.exit_code == 0, result.output
    assert f"model     {model}, " in result.output and f"{optimizer}, one-cycle rate 0.002, batches of 100" in result.output
    assert ", 1 thread\n" in result.output and "epoch 1/1" in result.output
    assert sorted(os.listdir()) == ["out", "out.history.json"]
    about = history("out.history.json")
    assert (about["model"], about["optimizer"], about["epochs"], about["batch_size"], about["lr"], about["seed"]) == (
        model, optimizer, 1, 100, 0.002, 3)
    state, metadata = io.read("out")
    assert metadata["model"] == model and metadata["shape"] == dict(channels=1, size=28, classes=10)
    assert set(state) == set(models.MODELS[model]().state_dict())


def test_the_seed_decides():
    """The same seed, the same file whatever the threads; another seed, another file."""
    files = []
    for seed, n in (1, 1), (1, 2), (2, 2):
        assert run("train", "--epochs", 1, "--seed", seed, "--threads", n).exit_code == 0
        files.append(io.read("lanewise-model.safetensors")[0]["0.weight"].tobytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_live_bar():
    """On a terminal a bar that moves, gone when the epoch's line is there; nothing is wider than 80 columns."""
    code, text = terminal("train", "--epochs", "30", "--threads", "1")
    assert code == 0
    pictures = [p for p in re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;]*[mA]", "", text)) if p.strip()]
    bars = [p for p in pictures if p.endswith("|")]
    assert len(bars) >= 3 and len({p.split("|")[1] for p in bars}) >= 2
    assert all(re.fullmatch(r"epoch +\d+/30(  loss [\d.]+  accuracy +[\d.]+ %  +[\d,]+ images/s)? \|.*\|", p) for p in bars)
    assert max(map(len, pictures)) < 80
    epochs = [p for p in pictures if re.fullmatch(r"epoch +\d+/30  loss [\d.]+  accuracy +[\d.]+ %  +[\d,]+ images/s", p)]
    assert len(epochs) == 30
    assert "\x1b[1mtest      accuracy" in text           # bold: what one looks for
    assert any(p.startswith("saved ") for p in pictures)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_ctrl_c_on_a_terminal():
    """Ctrl-C typed during training: exit status 130, the model is saved, no traceback."""
    code, text = terminal("train", "--epochs", "100000", after=(b"epoch      2", b"\x03"))
    assert code == 130 and "Traceback" not in text
    assert "stopped   by Ctrl-C: the weights of the last step are kept" in text and "test      accuracy" in text
    assert set(io.read("lanewise-model.safetensors")[0]) == set(models.lenet5().state_dict())
    assert len(history()["history"]["loss"]) >= 1


def test_sigint_to_a_process():
    child = subprocess.Popen([*COMMAND, "train", "--epochs", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    for line in child.stdout:
        if "epoch" in line:
            break
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "")
    assert "stopped   by Ctrl-C" in out and "saved     lanewise-model.safetensors" in out
    lw.load("lanewise-model.safetensors", models.lenet5())


def test_json():
    """One object on the standard output, what the history has; the lines are on the standard error, with a bar or without."""
    done = subprocess.run([*COMMAND, "train", "--epochs", "2", "--output", "m.safetensors", "--json"], capture_output=True,
                          text=True)
    found, about = json.loads(done.stdout), history("m.history.json")
    assert done.returncode == 0 and "\nepoch 2/2  loss" in done.stderr and done.stderr.startswith("machine   ")
    assert (found["model"], found["history"], found["checkpoint"]) == ("m.safetensors", "m.history.json", None)
    assert (found["network"], found["parameters"], found["data"]) == ("lenet5", 44426, "fashion-mnist-mini")
    assert (found["epochs"], found["images"], found["stopped"]) == (2, 6000, None) and found["seconds"] == about["seconds"]
    assert found["metrics"] == dict(training={k: about["history"][k][-1] for k in ("loss", "accuracy")}, validation=None,
                                    test=about["test"])
    found = json.loads(run("train", "--epochs", 1, "--validation", 0.2, "--json").stdout)
    assert found["metrics"]["validation"] == history()["validated"] and found["metrics"]["test"]["accuracy"] > 0.5


def test_json_of_a_run_that_stops():
    """The object is there too, with what stopped the run, beside the exit status."""
    result = run("train", "--lr", "1e30", "--epochs", 2, "--json")
    found = json.loads(result.stdout, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert result.exit_code == 1 and "the loss is" in found["stopped"] and found["epochs"] == 0
    assert found["metrics"]["training"] is None and found["metrics"]["test"]["loss"] is None


def test_nan_stops():
    """A rate that blows up: the step, exit status 1, the last good weights saved, and a history that is JSON."""
    result = run("train", "--lr", "1e30", "--epochs", 2)
    assert result.exit_code == 1 and "stopped" not in result.stdout and result.stderr.count("\n") == 1
    assert re.search(r"^stopped   epoch 1, batch \d+ of 94: the loss is \S+ at step \d+", result.stderr)
    assert history()["test"]["loss"] is None            # NaN has no name in JSON
    lw.load("lanewise-model.safetensors", models.lenet5())


def test_train_mistakes(folder, monkeypatch):
    """Exit status 2 for a wrong command line and 1 for what the disk refuses; one line each, before any training."""
    for args, words in [(["--epochs", "0"], ["'--epochs'", "0"]), (["--epochs", "many"], ["'--epochs'", "many"]),
                        (["--epochs", "1.5"], ["'--epochs'", "1.5"]), (["--batch-size", "0"], ["'--batch-size'"]),
                        (["--model", "alexnet"], ["'alexnet'", "lenet5"]),
                        (["--optimizer", "lion"], ["'lion'", "adam"]), (["--lr", "0"], ["'--lr'", "0"]),
                        (["--lr", "-1"], ["'--lr'", "-1"]), (["--lr", "nan"], ["'--lr'", "nan is not a finite number"]),
                        (["--lr", "inf"], ["'--lr'", "inf"]), (["--seed", "-1"], ["'--seed'"]),
                        (["--threads", "0"], ["'--threads'"]),
                        (["--threads", "100000"], ["'--threads'", "1024"]),
                        (["--output", str(folder)], ["'--output'", "directory"]),
                        (["--output"], ["--output", "argument"]), (["extra"], ["extra"]), (["--nonsense"], ["--nonsense"])]:
        mistake(run("train", *args), 2, "--help'", *words)
    (folder / "file").write_text("")
    for output, words in [("none/m", "No such file"), ("file/m", "Not a directory"), ("/dev/null", "device")]:
        mistake(run("train", "--output", output), 1, f"--output {output}: ", words)
    mistake(run("train", "--data", "mnits"), 1, "--data mnits: expected one of fashion-mnist-mini", "got a name that is none")
    monkeypatch.setenv("LANEWISE_DATA", str(folder / "sets"))
    monkeypatch.setitem(sys.modules, "pooch", None)
    mistake(run("train", "--data", "mnist"), 1, "'mnist'", str(folder / "sets" / "mnist"), "lanewise[data]")
    assert os.listdir() == ["file"]
    mistake(run("trian"), 2, "trian")
    mistake(run("--nonsense"), 2, "--nonsense")


def test_one_file_for_two(folder):
    """Whatever way it is written; nothing is left behind, and nothing lost."""
    os.symlink(folder, folder / "link")
    archive("set.npz", 60)
    kept = (folder / "set.npz").read_bytes()
    for args, words in [
            (["--checkpoint", "a", "--output", "./a"], "--checkpoint expected another file than --output, got a for both"),
            (["--csv-log", "link/a", "--output", "a"], "--csv-log expected another file than --output, got link/a for both"),
            (["--csv-log", "a", "--checkpoint", folder / "a"], "--csv-log expected another file than --checkpoint"),
            (["--csv-log", "m.history.json", "--output", "m.safetensors"],
             "the history of --output expected another file than --csv-log, got m.history.json for both"),
            (["--checkpoint", "m.history.json", "--output", "m"], "the history of --output expected another file than --check"),
            (["--save-config", "a", "--checkpoint", "a"], "--save-config expected another file than --checkpoint"),
            (["--tensorboard", "a", "--csv-log", "a"], "--csv-log expected another file than --tensorboard"),
            (["--data", "set.npz", "--output", "set.npz"], "--output expected another file than --data")]:
        mistake(run("train", *args), 2, words, "--help'")
    assert sorted(os.listdir()) == ["link", "set.npz"] and (folder / "set.npz").read_bytes() == kept


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere; run as another user")
def test_folder_without_permission(folder):
    folder.chmod(0o500)
    try:
        mistake(run("train"), 1, "cannot write to the folder", "Permission denied")
    finally:
        folder.chmod(0o700)


def test_disk_full_at_the_end(folder, monkeypatch):
    """The accuracy is printed all the same, then one line; the old file stays."""
    old = folder / "lanewise-model.safetensors"
    old.write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(io.os, "fsync", full)
    result = run("train", "--epochs", 1)
    assert result.exit_code == 1 and "test      accuracy" in result.output
    assert result.output.splitlines()[-1].endswith("lanewise-model.safetensors: No space left on device")
    assert os.listdir() == [old.name] and old.read_text() == "old"


# -- predict ----------------------------------------------------------------------------------------------------------

def test_predict(saved):
    """Test images as PNG files: what the saved model says of the arrays, in the order given."""
    _, test = lw.data.load("fashion-mnist-mini")
    rows = range(0, 1000, 50)
    files = [picture(f"{i}.png", test.images[i, 0]) for i in rows]
    result = run("predict", saved, *files)
    assert result.exit_code == 0, result.output
    model = models.lenet5()
    lw.load(saved, model)
    scores = model(test.batch(rows)[0]).numpy().astype(np.float64)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for line, file, q in zip(result.output.splitlines(), files, p):
        best = [test.classes[i] for i in np.argsort(-q)[:3]]
        assert line == f"{file}: " + ", ".join(f"{c} {100 * v:.1f} %" for c, v in zip(best, sorted(q)[::-1]))
    right = sum(line.startswith(f"{file}: {test.classes[test.labels[i]]} ")
                for i, file, line in zip(rows, files, result.output.splitlines()))
    assert right >= 12
    assert run("predict", saved, files[3]).output == result.output.splitlines()[3] + "\n"


def test_predict_other_pictures(saved):
    """Colour, palette, transparency, one bit, another size and other formats: the same class for the same bag."""
    _, test = lw.data.load("fashion-mnist-mini")
    i = int(np.flatnonzero(test.labels == 8)[0])
    gray = Image.fromarray(test.images[i, 0])
    for name, image in [("rgb.png", gray.convert("RGB")), ("rgba.png", gray.convert("RGBA")), ("p.gif", gray.convert("P")),
                        ("big.png", gray.resize((112, 112))), ("a.jpg", gray), ("bits.png", gray.convert("1")),
                        ("a.bmp", gray)]:
        image.save(name)
    gray.save("gray.png")
    files = ["gray.png", "rgb.png", "rgba.png", "p.gif", "big.png", "a.jpg", "bits.png", "a.bmp"]
    lines = run("predict", saved, *files).output.splitlines()
    assert len(lines) == 8
    said = [line.split(": ")[1] for line in lines]
    assert said[0] == said[1] == said[2] == said[3] == said[7]
    assert {s.rsplit(" ", 2)[0].split(" ")[0] for s in (said[0], said[4], said[5])} == {said[0].split(" ")[0]}


def test_predict_colour():
    """A model for three channels, and a gray picture for it."""
    net = models.cifar_cnn()
    io.save(net, "c", dict(model="cifar_cnn", shape=dict(channels=3, size=32, classes=10), mean=[0.5] * 3, std=[0.25] * 3))
    x = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    picture("rgb.png", x)
    picture("gray.png", x[:, :, 0])
    lines = run("predict", "c", "rgb.png", "gray.png").output.splitlines()
    assert len(lines) == 2
    scores = net(((x.transpose(2, 0, 1)[None] / 255 - 0.5) / 0.25).astype(np.float32)).numpy()[0]
    assert lines[0].startswith(f"rgb.png: {scores.argmax()} ")


def test_predict_mistakes(saved, folder):
    """One line each: of pictures, of models, of the command line."""
    good = picture("good.png", np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8))
    raw = (folder / good).read_bytes()
    for name, content in [("text.png", b"hello"), ("empty.png", b""), ("cut.png", raw[:len(raw) // 2]), ("head.png", raw[:20]),
                          ("damaged.png", raw[:60] + b"\xff" * 30 + raw[90:])]:
        (folder / name).write_bytes(content)
        mistake(run("predict", saved, good, name), 1, f"{name}: cannot be read as an image (")
    mistake(run("predict", saved, "none.png"), 1, "none.png: no such file")
    mistake(run("predict", saved), 2, "IMAGE")
    mistake(run("predict", "none", good), 1, "none: cannot be read")
    mistake(run("predict", good, good), 1, f"{good}: expected a safetensors file, got")
    (folder / "cut").write_bytes(saved.read_bytes()[:-100])
    mistake(run("predict", "cut", good), 1, "cut: expected a safetensors file, got a truncated one")
    state, about = io.read(saved)
    for name, metadata in [("none", {}), ("list", [1]), ("text", {**about, "shape": "28x28"}),
                           ("shape", {k: v for k, v in about.items() if k != "shape"}),
                           ("keys", {**about, "shape": {"width": 3}}),
                           ("size", {**about, "shape": {**about["shape"], "size": "big"}})]:
        io.save(models.lenet5(), f"foreign-{name}", metadata)
        mistake(run("predict", f"foreign-{name}", good), 1, f"foreign-{name}: expected a model that 'lanewise train' saved, "
                "got one without its images' shape")
    io.save(state, "weights", about)
    mistake(run("predict", "weights", good), 1, "weights: expected a model, got weights without its description")


# -- info and help ------------------------------------------------------------------------------------------------------

def test_info(folder, monkeypatch):
    monkeypatch.setenv("LANEWISE_DATA", str(folder))
    (folder / "mnist").mkdir()                          # an empty folder is no data set
    text = run("info").output
    assert f"lanewise  {lw.__version__}\n" in text and "machine   " in text and np.__version__ in text
    assert str(folder) in text and "fashion-mnist-mini: in the package" in text and "mnist: not here" in text
    done = subprocess.run([*COMMAND, "info"], capture_output=True, text=True, env={**os.environ, "LANEWISE_NUM_THREADS": "1"})
    assert done.returncode == 0 and ", 1 thread\n" in done.stdout


@pytest.mark.parametrize("command", ["info", "train"])
def test_a_wrong_variable(command):
    """A mistake in the environment is one line too."""
    done = subprocess.run([*COMMAND, command], capture_output=True, text=True,
                          env={**os.environ, "LANEWISE_NUM_THREADS": "two"})
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr == "Error: LANEWISE_NUM_THREADS=two: expected a number of threads, 1 or more\n"


def commands():
    """Every command's words."""
    groups = [((), cli.main)]
    for words, group in groups:
        yield words
        for name, command in getattr(group, "commands", {}).items():
            groups.append(((*words, name), command))


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: " ".join(words) or "lanewise")
def test_help(words):
    """Each command's help fits 80 columns, is whole, has a sentence for every option and argument, and commands to copy."""
    result = run(*words, "--help")
    assert result.exit_code == 0 and max(map(len, result.output.splitlines())) <= 80
    assert run(*words, "-h").output == result.output
    assert not re.search(r"\w\.\.\.$", result.output.partition("Commands:")[2], re.M)
    command = cli.main
    for word in words:
        command = command.commands[word]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        else:
            for name in (parameter.metavar or parameter.name.upper()).rstrip(".").split("|"):
                assert re.search(rf"\b{name}\b", command.help), name
    Path("run.json").write_text("{}")                   # a file of settings is read while the line is
    examples = re.split(r"Examples?:\n", result.output)[1].replace("\\\n", "")
    given = {word.partition("=")[0] for line in re.findall(r"lanewise (.+)", examples) for word in shlex.split(line)}
    for parameter in command.params:
        if words and isinstance(parameter, click.Option):
            assert given & {*parameter.opts, *parameter.secondary_opts}, f"no example has {parameter.opts[-1]}"
    for line in re.findall(r"lanewise (.+)", examples):
        found, rest, context = cli.main, shlex.split(re.split(" >>? ", line)[0]), cli.main.make_context("lanewise", [])
        while hasattr(found, "commands"):
            name, *rest = rest
            found = found.commands[name]
            context = found.make_context(name, list(rest), parent=context)
    if not words:
        assert "130  stopped by Ctrl-C" in result.output and run().output == result.output and run().exit_code == 0
        assert run("--version").output == f"lanewise, version {lw.__version__}\n"


def test_a_reader_that_goes_away():
    """`lanewise info | head -1` ends quietly."""
    done = subprocess.run(["bash", "-c", f"set -o pipefail; '{sys.executable}' -m lanewise.cli train --epochs 2 | head -1"],
                          capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr and done.stdout.startswith("machine")


def test_models_on_every_set():
    """Each network takes each set's images."""
    for make in models.MODELS.values():
        for channels, size, n in (1, 28, 10), (3, 32, 10), (1, 64, 3):
            x = np.zeros((2, channels, size, size), np.uint8)
            assert make(channels, size, n)(x).shape == (2, n)
    sizes = {name: sum(p.data.size for p in make().parameters()) for name, make in models.MODELS.items()}
    assert {k: sizes[k] for k in ("mlp", "lenet5", "cifar_cnn")} == {"mlp": 235146, "lenet5": 44426, "cifar_cnn": 319178}
