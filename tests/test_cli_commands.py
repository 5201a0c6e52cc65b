"""The commands beside train: predict's tables, evaluate, export, profile, data, completion, and JSON from each."""
import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from cli_case import COMMAND, archive, folder, history, mistake, picture, refuse, run, saved, tree  # noqa: F401
from PIL import Image

import lanewise as lw
from lanewise import cli, io, models
from lanewise.cli import options


def parsed(result):
    """The one JSON object on the standard output."""
    assert result.exit_code == 0, result.output
    found = json.loads(result.output, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert isinstance(found, dict)
    return found


def drawn(path):
    """(width, height) of a picture."""
    with Image.open(path) as image:
        return image.size


def softmax(model, data):
    """(N, classes) float64 probabilities."""
    scores = lw.Trainer(model, None).predict(data).astype(np.float64)
    p = np.exp(scores - scores.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """A model that was trained on floating-point numbers, and its data."""
    folder = tmp_path_factory.mktemp("floats")
    with np.load(archive(folder / "set.npz")) as file:
        np.savez(folder / "set.npz", x=file["x"] / np.float32(255), y=file["y"])
    assert run("train", "--data", folder / "set.npz", "--epochs", 1, "--output", folder / "model").exit_code == 0
    return folder / "model", folder / "set.npz"


# -- predict ------------------------------------------------------------------------------------------------------------

def test_a_folder_as_a_table_and_as_json(saved, folder):
    """Files below a folder, sorted; every class's probability; the same numbers in each form."""
    _, test = lw.data.load("fashion-mnist-mini")
    (folder / "in" / "deep").mkdir(parents=True)
    names = ["in/a.png", "in/b.PNG", "in/deep/c.png"]
    for i, name in enumerate(names):
        picture(name, test.images[7 * i, 0])
    for name in ("in/.hidden.png", "in/readme.txt"):
        (folder / name).write_text("no image")
    p = softmax(lw.load(saved), test.subset([0, 7, 14]))
    result = run("predict", saved, "in", "--csv", "out.csv")
    assert (result.exit_code, result.output) == (0, "saved     out.csv: 3 images\n")
    with open("out.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "class", "probability", *test.classes] and [r[0] for r in rows] == names
    assert [r[1] for r in rows] == [test.classes[k] for k in p.argmax(1)]
    numbers = np.array([r[2:] for r in rows], float)
    assert numbers[:, 1:] == pytest.approx(p, rel=2e-4) and np.array_equal(numbers[:, 0], numbers[:, 1:].max(1))
    found = parsed(run("predict", saved, "in", "--json", "--top", 4))
    assert found["classes"] == test.classes and [i["file"] for i in found["images"]] == names
    for image, q in zip(found["images"], p):
        best = np.argsort(-q)[:4]
        assert [c["class"] for c in image["classes"]] == [test.classes[k] for k in best]
        assert [c["probability"] for c in image["classes"]] == pytest.approx(q[best], rel=1e-4)
    one = run("predict", saved, "in/a.png", "--top", 1).output
    assert one == f"in/a.png: {test.classes[p[0].argmax()]} {100 * p[0].max():.1f} %\n"
    assert run("predict", saved, "in/a.png", "--top", 99).output.count("%") == 10


def test_pictures_are_read_as_in_training(saved):
    """Turned by EXIF, and of 16 bits: what a folder's Dataset holds is what is predicted."""
    _, test = lw.data.load("fashion-mnist-mini")
    turned = Image.fromarray(np.rot90(test.images[0, 0]).copy())
    exif = turned.getexif()
    exif[0x0112] = 6                                    # to be seen turned clockwise
    turned.save("turned.png", exif=exif)
    Image.fromarray(test.images[0, 0].astype(np.uint16) << 8).save("deep.png")
    picture("plain.png", test.images[0, 0])
    said = {line.split(": ")[1] for line in run("predict", saved, "turned.png", "deep.png", "plain.png").output.splitlines()}
    assert len(said) == 1


def test_more_pictures_than_at_once(saved, folder, monkeypatch):
    """In pieces, the same answers in the same order."""
    _, test = lw.data.load("fashion-mnist-mini")
    (folder / "in").mkdir()
    for i in range(7):
        picture(f"in/{i}.png", test.images[100 * i, 0])
    whole = run("predict", saved, "in").output
    for n in (1, 3, 7):
        monkeypatch.setattr(sys.modules["lanewise.cli.predict"], "AT_ONCE", n)
        assert run("predict", saved, "in").output == whole
    assert whole.count("\n") == 7


def test_predict_refuses(saved, floats, folder):
    (folder / "none").mkdir()
    mistake(run("predict", saved, "none"), 1, "none: expected images (png, jpg or another", "got none")
    picture("a.png", np.zeros((28, 28), np.uint8))
    mistake(run("predict", saved, "a.png", "--csv", "no/out.csv"), 1, "--csv no/out.csv: cannot write to the folder")
    mistake(run("predict", saved, "a.png", "--csv", "."), 2, "'--csv'")
    mistake(run("predict", saved, "a.png", "--top", 0), 2, "'--top'")
    mistake(run("predict", floats[0], "a.png"), 1, "expected a model that was trained on uint8 images, as files have them")
    (folder / "out.csv").write_text("old")
    mistake(run("predict", saved, "a.png", "b.png", "--csv", "out.csv"), 1, "b.png: no such file")
    assert (folder / "out.csv").read_text() == "old"    # whole or not at all


# -- evaluate -----------------------------------------------------------------------------------------------------------

def test_evaluate(saved):
    """Loss and accuracy as train wrote them; each class's figures by counting."""
    _, test = lw.data.load("fashion-mnist-mini")
    found = parsed(run("evaluate", saved, "--data", "fashion-mnist-mini", "--json"))
    assert {k: found[k] for k in ("loss", "accuracy")} == history(str(saved).replace(".safetensors", ".history.json"))["test"]
    assert (found["part"], found["images"], found["confusion"]) == ("test", 1000, None)
    answers = softmax(lw.load(saved), test).argmax(1)
    for k, row in enumerate(found["classes"]):
        called, of = answers == k, test.labels == k
        tp, said, true = (called & of).sum(), called.sum(), of.sum()
        assert row["class"] == test.classes[k] and row["images"] == true == 100
        expected = [tp / max(said, 1), tp / true, 2 * tp / (said + true)]
        assert [row[m] for m in ("precision", "recall", "f1")] == pytest.approx(expected)
    result = run("evaluate", saved, "--data", "fashion-mnist-mini", "--part", "training", "--threads", 1)
    lines = result.output.splitlines()
    assert lines[0] == "data      fashion-mnist-mini, training part: 3,000 images, 1x28x28"
    assert lines[1].startswith("result    accuracy ") and lines[3].split() == ["class", "images", "precision", "recall", "F1"]
    assert len(lines) == 15 and lines[-1].startswith("mean ") and max(map(len, lines)) < 80


def test_evaluate_a_folder(folder):
    """Pictures of other sizes and colours are converted, classes found by their names; the confusion is drawn."""
    tree(folder / "set" / "train", 12)
    assert run("train", "--data", "set/train", "--epochs", 8).exit_code == 0
    tree(folder / "set" / "test", 5, size=(40, 40), seed=1)
    with Image.open("set/test/bag/0.png") as image:
        colour = image.convert("RGB")
    colour.save("set/test/bag/0.png")
    found = parsed(run("evaluate", "lanewise-model.safetensors", "--data", "set", "--json", "--confusion", "c.png"))
    assert found["part"] == "test" and found["accuracy"] == 1 and found["confusion"] == "c.png"
    assert drawn("c.png") == (900, 600)
    alone = parsed(run("evaluate", "lanewise-model.safetensors", "--data", "set/test", "--json"))
    assert alone["part"] == "training" and alone["loss"] == found["loss"]
    result = run("evaluate", "lanewise-model.safetensors", "--data", "set", "--confusion", "c.svg")
    assert result.output.endswith("saved     c.svg\n") and b"<svg" in (folder / "c.svg").read_bytes()


@pytest.mark.parametrize("empty", [False, True])
def test_evaluate_some_of_the_classes(empty, folder):
    """Labels are the model's numbers whatever classes a folder has; means are over the classes that have images."""
    tree(folder / "train", 12)
    assert run("train", "--data", "train", "--epochs", 8).exit_code == 0
    tree(folder / "some", 5, seed=1)
    for file in (folder / "some" / "shirt").iterdir():
        file.unlink()
    if not empty:
        (folder / "some" / "shirt").rmdir()
    found = parsed(run("evaluate", "lanewise-model.safetensors", "--data", "some", "--json", "--confusion", "c.png"))
    assert (found["images"], found["accuracy"], [row["images"] for row in found["classes"]]) == (10, 1, [5, 0, 5])
    assert [row["class"] for row in found["classes"]] == ["bag", "shirt", "shoe"] and drawn("c.png") == (900, 600)
    lines = run("evaluate", "lanewise-model.safetensors", "--data", "some").output.splitlines()
    assert lines[-1].split() == ["mean", "10", *["100.0", "%"] * 3]
    (folder / "some" / "sock").mkdir()
    mistake(run("evaluate", "lanewise-model.safetensors", "--data", "some"), 1,
            "some: expected sub-folders of the classes bag, shirt, shoe, got 'sock'")
    (folder / "bare" / "shoe").mkdir(parents=True)
    mistake(run("evaluate", "lanewise-model.safetensors", "--data", "bare"), 1, "bare: expected images", "got none")


def test_names_of_more_than_a_line(folder):
    """A class whose name has line ends or tabs takes one line of each table, and keeps its name in JSON."""
    names = ["a\tb", "c\r\nd"]
    tree(folder / "set", 10, classes=names)
    assert run("train", "--data", "set", "--epochs", 8).exit_code == 0
    for args in (["evaluate", "lanewise-model.safetensors", "--data", "set", "--confusion", "c.png"],
                 ["data", "show", "set", "--plot", "s.png"]):
        lines = run(*args).output.split("\n")
        assert [line.split("  ")[0] for line in lines[-5:-3]] == ["a b", "c d"]
        assert not set("\t\r") & set("".join(lines))
    assert parsed(run("data", "show", "set", "--json"))["classes"] == names
    found = run("predict", "lanewise-model.safetensors", "set", "--top", 1).output
    assert found.count("\n") == 20 and "set/c d/9.png: c d " in found and "set/a b/0.png: a b " in found
    (folder / "set" / "e\nf").mkdir()
    mistake(run("evaluate", "lanewise-model.safetensors", "--data", "set"), 1, "of the classes a b, c d, got 'e f'")


def test_evaluate_refuses(saved, floats, folder):
    model, numbers = floats
    assert parsed(run("evaluate", model, "--data", numbers, "--json"))["images"] == 640
    mistake(run("evaluate", model, "--data", "fashion-mnist-mini"), 1,
            "expected floating-point images, as in training, got uint8 ones in its test part")
    mistake(run("evaluate", saved), 2, "'--data'")
    mistake(run("evaluate", saved, "--data", "none"), 1, "--data none: expected one of")
    mistake(run("evaluate", saved, "--data", numbers, "--part", "test"), 1, "expected a part for test, got training")
    mistake(run("evaluate", saved, "--data", tree(folder / "set")), 1, "expected sub-folders of the classes T-shirt/top, ",
            "got 'bag'")
    np.savez("small.npz", x=np.zeros((3, 20, 20), np.uint8), y=np.arange(3))
    mistake(run("evaluate", saved, "--data", "small.npz"), 1, "expected 1x28x28 images in its training part, got 1x20x20")
    np.savez("many.npz", x=np.zeros((3, 28, 28), np.uint8), y=np.arange(9, 12))
    mistake(run("evaluate", saved, "--data", "many.npz"), 1, "10")
    for path, words in [("c.xyz", "expected a name that ends in one of"), ("no/c.png", "cannot write to the folder")]:
        mistake(run("evaluate", saved, "--data", "fashion-mnist-mini", "--confusion", path), 1, f"--confusion {path}: ", words)
    args = ["evaluate", str(saved), "--data", "fashion-mnist-mini"]
    done = subprocess.run([*refuse("sklearn", "sklearn.metrics"), *args, "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["classes"] is None and json.loads(done.stdout)["accuracy"] > 0.5
    assert done.stderr == "Note: precision, recall and F1 of each class need scikit-learn: pip install \"lanewise[sklearn]\"\n"
    done = subprocess.run([*refuse("matplotlib"), *args, "--confusion", "c.png"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: --confusion needs matplotlib: pip install \"lanewise[plot]\"\n"


# -- export -------------------------------------------------------------------------------------------------------------

def test_export(saved, floats):
    """Each format gives the same answers: ONNX on uint8 images by another program, the others by predict."""
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    _, test = lw.data.load("fashion-mnist-mini")
    ours = lw.Trainer(lw.load(saved), None).predict(test)
    said = run("export", saved, "m.onnx")
    assert (said.exit_code, said.output) == (0, "saved     m.onnx: 1x28x28 images, 10 classes, 44,426 parameters\n")
    assert runtime.InferenceSession("m.onnx").run(None, {"input": test.images})[0] == pytest.approx(ours, abs=1e-3)
    found = parsed(run("export", saved, "one.onnx", "--batch", 1, "--opset", 18, "--json"))
    assert (found["file"], found["format"], found["opset"], found["batch"]) == ("one.onnx", "onnx", 18, 1)
    assert runtime.InferenceSession("one.onnx").get_inputs()[0].shape == [1, 1, 28, 28]
    assert run("export", floats[0], "f.onnx").exit_code == 0
    assert runtime.InferenceSession("f.onnx").get_inputs()[0].type == "tensor(float)"
    picture("a.png", test.images[0, 0])
    for name in ("m.npz", "m.safetensors"):
        assert run("export", saved, name).exit_code == 0
        assert run("predict", name, "a.png").output == run("predict", saved, "a.png").output
    mistake(run("export", saved, "m.pt"), 2, "expected a name that ends in .onnx, .npz or .safetensors, got m.pt")
    mistake(run("export", saved, "m.npz", "--batch", 1), 2, "--batch expected an .onnx file to write, got m.npz")
    mistake(run("export", saved, "m.onnx", "--opset", 16), 2, "'--opset'")
    mistake(run("export", saved, "m.onnx", "--opset", 999), 1, "expected an opset from 17")
    mistake(run("export", saved, "no/m.npz"), 1, "OUT no/m.npz: cannot write to the folder")
    mistake(run("export", "none", "m.npz"), 1, "none: cannot be read")
    done = subprocess.run([*refuse("onnx"), "export", str(saved), "m.onnx"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: onnx.export: the package onnx is not installed: install lanewise[onnx]\n"


# -- profile ------------------------------------------------------------------------------------------------------------

def test_profile(saved, folder):
    """By a name and a file, with random images and real ones; as a table, JSON and a picture."""
    result = run("profile", "mlp", "--batch", 16, "--threads", 1)
    assert result.exit_code == 0 and result.output.startswith("mlp, 1x28x28 images\n\nLayer"), result.output
    assert "a step of 16 samples on 1 thread" in result.output and "optimizer" in result.output
    found = parsed(run("profile", saved, "--batch", 32, "--data", "fashion-mnist-mini", "--plot", "p.png", "--json"))
    assert found["samples"] == 32 and found["shape"] == [1, 28, 28] and found["step"] > 0
    assert sum(r["seconds"] for r in found["rows"]) == pytest.approx(found["step"]) and drawn("p.png") == (1050, 750)
    before = saved.read_bytes()
    assert parsed(run("profile", "resnet8", "--shape", "3x16x24", "--batch", 16, "--json"))["shape"] == [3, 16, 24]
    assert parsed(run("profile", "mlp", "--data", tree(folder / "set"), "--batch", 16, "--json"))["shape"] == [1, 28, 28]
    assert saved.read_bytes() == before                 # nothing is trained
    mistake(run("profile", "none"), 1, "none: expected a saved model, or a network among softmax_classifier, ")
    mistake(run("profile", "lenet5", "--shape", "28x28"), 2, "'--shape'", "'28x28' is not CxHxW")
    mistake(run("profile", "lenet5", "--shape", "1x28x28", "--data", "mnist"), 2, "--shape expected no --data beside it")
    mistake(run("profile", "lenet5", "--shape", "1x28x32"), 1, "it takes square ones")
    mistake(run("profile", saved, "--shape", "1x32x32"), 1, "[Linear '7'] expected")
    mistake(run("profile", "mlp", "--batch", 0), 2, "'--batch'")


# -- data ---------------------------------------------------------------------------------------------------------------

def test_export_and_fetch_as_json(saved, folder):
    """Which file in which format; which set and where; nothing else on the standard output."""
    found = parsed(run("export", saved, "m.npz", "--json"))
    assert found == dict(file="m.npz", format="npz", model=str(saved), shape=[1, 28, 28], classes=10, parameters=44426,
                         bytes=(folder / "m.npz").stat().st_size)
    found = parsed(run("data", "fetch", "fashion-mnist-mini", "--json"))
    assert found == dict(name="fashion-mnist-mini", state="in the package", folder=None, fetched=False, shape=[1, 28, 28],
                         parts=dict(training=3000, test=1000))


def test_data(folder, monkeypatch):
    """Where sets are, what is in one; downloads without pooch are one sentence."""
    monkeypatch.setenv("LANEWISE_DATA", str(folder / "home"))
    lines = run("data", "list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(lw.data.SETS) and lines[0].endswith("in the package")
    assert lines[2].split(maxsplit=1)[1].split("  ")[0] == "not here" and lines[2].endswith(str(folder / "home" / "mnist"))
    found = parsed(run("data", "list", "--json"))
    assert found["home"] == str(folder / "home")
    assert found["sets"]["mnist"] == {"state": None, "folder": str(folder / "home" / "mnist")}
    assert run("data", "fetch", "fashion-mnist-mini").output == (
        "fashion-mnist-mini    is in the package: 3,000 + 1,000 test images, 1x28x28\n")
    monkeypatch.setitem(sys.modules, "pooch", None)
    mistake(run("data", "fetch", "mnist"), 1, "'mnist' is not whole", "install lanewise[data]")
    mistake(run("data", "fetch", "mnits"), 2, "'mnits'")
    assert run("data").exit_code == 0 and run("data").output == run("data", "-h").output


def test_data_show(folder):
    """Counts, shape and pixels; a picture of some."""
    tree(folder / "set" / "train", 6), tree(folder / "set" / "val", 2)
    result = run("data", "show", "set", "--plot", "s.png")
    lines, whole = result.output.splitlines(), lw.data.from_folder("set/train")
    assert lines[0] == "data      set: 1x28x28 images of uint8, 3 classes"
    assert lines[1] == f"pixels    mean {whole.mean[0]:.4f}; standard deviation {whole.std[0]:.4f}"
    table = [["class", "training", "validation"], *([name, "6", "2"] for name in ("bag", "shirt", "shoe")), ["all", "18", "6"]]
    assert [line.split() for line in lines[3:-1]] == table
    assert lines[-1] == "saved     s.png" and drawn("s.png") == (1200, 900)
    found = parsed(run("data", "show", "set", "--size", "14x20", "--json"))
    assert found["shape"] == [1, 14, 20] and found["parts"]["validation"] == {"images": 6, "counts": [2, 2, 2]}
    found = parsed(run("data", "show", "fashion-mnist-mini", "--json"))
    assert found["mean"] == pytest.approx([0.286], abs=5e-3) and found["parts"]["test"]["counts"] == [100] * 10
    mistake(run("data", "show", "none"), 1, "none")
    mistake(run("data", "show", "set", "--plot", "s.xyz"), 1, "--plot s.xyz: expected a name that ends in")


# -- the rest -----------------------------------------------------------------------------------------------------------

def test_info_as_json():
    found = parsed(run("info", "--json"))
    assert found["lanewise"] == lw.__version__ and found["numpy"] == np.__version__ and found["lanes"] in (1, 4, 8, 16)
    assert found["sets"]["fashion-mnist-mini"] == {"state": "in the package", "folder": None}
    assert found["threads"] == lw.get_num_threads()


def test_json_is_for_machines():
    """NaN and infinity, which JSON has no words for, are null."""
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(options.click, "echo", said.append)
        options.emit({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(said[0]) == {"a": None, "b": [None, 1.5]}


def test_ctrl_c_before_and_after_training(monkeypatch):
    """A command that is not in a training ends with 130 and a line."""
    def interrupted(*args, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr(lw.data, "load", interrupted)
    result = run("data", "show", "fashion-mnist-mini")
    assert (result.exit_code, result.output) == (130, "stopped by Ctrl-C\n")


def test_sigint_to_a_process(folder):
    """While it waits for a file: a pipe tells when."""
    os.mkfifo("run.json")
    child = subprocess.Popen([*COMMAND, "train", "--config", "run.json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    pipe = os.open("run.json", os.O_WRONLY)             # when the command has opened it
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    os.close(pipe)
    assert (child.returncode, out, err) == (130, "", "stopped by Ctrl-C\n")


@pytest.mark.parametrize("damage", [
    dict(classes=["a"]), dict(mean=[1, 2, 3]), dict(std="x"), dict(shape=dict(channels=0, size=28, classes=10)),
    dict(shape=dict(channels=1, size=[28], classes=10)), dict(shape=[1, 28, 28]), dict(mean=[[0.1]], classes=7)], ids=str)
@pytest.mark.parametrize("words", [["predict", "m", "a.png"], ["evaluate", "m", "--data", "fashion-mnist-mini"],
                                   ["export", "m", "o.onnx"], ["profile", "m"]], ids=lambda words: words[0])
def test_a_file_of_another_program(damage, words):
    """Metadata that are not train's: one sentence from every command."""
    io.save(models.lenet5(), "m", {"shape": dict(channels=1, size=28, classes=10), "mean": [0.3], "std": [0.3], **damage})
    picture("a.png", np.zeros((28, 28), np.uint8))
    mistake(run(*words), 1, "m: expected a model that 'lanewise train' saved, got one without its images' shape")


def test_all_commands_are_here():
    assert list(cli.main.commands) == ["train", "evaluate", "predict", "export", "profile", "data", "info", "completion"]
    assert list(cli.main.commands["data"].commands) == ["list", "fetch", "show"]
