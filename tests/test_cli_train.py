"""`lanewise train` on data of one's own: folders, archives, splits, files of settings."""
import csv
import json
import os
import shutil
import re
import subprocess
import sys

import numpy as np
import pytest
from cli_case import archive, folder, history, mistake, refuse, run, tree  # noqa: F401

import lanewise as lw
from lanewise import io, models


def metadata(path="lanewise-model.safetensors"):
    """What a saved model says of its images."""
    return io.read(path)[1]


# -- data ---------------------------------------------------------------------------------------------------------------

def test_folder_of_classes(folder):
    """A fifth of each class validates; the model's file has the names and the pixels' numbers; it learns."""
    tree(folder / "clothes", 20)
    result = run("train", "--data", "clothes", "--epochs", 8)
    assert result.exit_code == 0, result.output
    assert "data      clothes: 48 + 12 validation images, 1x28x28, 3 classes\n" in result.output
    assert "\nvalidate  accuracy 100.00 %, loss" in result.output and "\ntest" not in result.output
    line = r"epoch 8/8  loss \d\.\d{4} / (\d\.\d{4})  accuracy +\d+\.\d / (\d+\.\d) %  +[\d,]+ images/s"
    last = re.fullmatch(line, result.output.splitlines()[12])
    assert float(last[1]) == pytest.approx(history()["validated"]["loss"], abs=1e-4) and last[2] == "100.0"
    assert "\nepochs    training / validation\n" in result.output and max(map(len, result.output.splitlines())) < 80
    about, whole = metadata(), lw.data.from_folder("clothes")
    assert about["classes"] == ["bag", "shirt", "shoe"] and about["shape"] == dict(channels=1, size=28, classes=3)
    assert about["mean"] == pytest.approx(whole.mean) and about["std"] == pytest.approx(whole.std)
    kept = history()
    assert kept["validation"] == 0.2 and kept["test"] is None and kept["validated"]["accuracy"] == 1
    assert len(kept["history"]["val_loss"]) == 8
    right = run("predict", "lanewise-model.safetensors", "clothes/shirt", "--top", 1).output.splitlines()
    assert len(right) == 20 and all(": shirt " in line for line in right)


@pytest.mark.parametrize("names, text", [
    (("train", "test"), "24 + 24 test"), (("Training", "valid"), "24 + 24 validation"),
    (("train", "val", "testing"), "24 + 24 validation + 24 test")], ids=" ".join)
def test_folder_of_parts(folder, names, text):
    """Each part in a folder of its own, with training's numbers; no split."""
    for i, name in enumerate(names):
        tree(folder / "set" / name, 8, seed=i)
    result = run("train", "--data", "set", "--epochs", 2)
    assert result.exit_code == 0 and f"data      set: {text} images" in result.output, result.output
    assert ("\nvalidate" in result.output, "\ntest " in result.output) == ("validation" in text, "test" in text)
    training = lw.data.from_folder(folder / "set" / names[0])
    last = lw.data.from_folder(folder / "set" / names[-1]).normalised(training.mean, training.std)
    measured = lw.Trainer(lw.load("lanewise-model.safetensors"), lw.nn.CrossEntropyLoss()).evaluate(last)
    assert history()["test" if "test" in text else "validated"] == measured


def test_parts_without_some_of_the_classes(folder):
    """What is validated and tested with may lack classes, or have empty folders of them: labels are training's numbers."""
    tree(folder / "set" / "train", 12)
    tree(folder / "set" / "val", 8, seed=1), tree(folder / "set" / "test", 8, seed=2)
    for file in (folder / "set" / "val" / "bag").iterdir():
        file.unlink()
    for name in "bag", "shirt":
        shutil.rmtree(folder / "set" / "test" / name)
    result = run("train", "--data", "set", "--epochs", 8)
    assert result.exit_code == 0 and "data      set: 36 + 16 validation + 8 test images, 1x28x28, 3 classes\n" in result.output
    assert history()["validated"]["accuracy"] == history()["test"]["accuracy"] == 1
    shown = json.loads(run("data", "show", "set", "--json").output)
    assert shown["classes"] == ["bag", "shirt", "shoe"]
    assert {part: found["counts"] for part, found in shown["parts"].items()} == {
        "training": [12, 12, 12], "validation": [0, 8, 8], "test": [0, 0, 8]}


def test_size(folder):
    """Pictures of several sizes become one; a network without a fixed size takes any, of others a sentence."""
    tree(folder / "a", 4)
    tree(folder / "a", 3, size=(30, 40))                # 0.png to 2.png are larger now
    mistake(run("train", "--data", "a"), 1, "3.png: expected 30x40 pixels as in 0.png, got 28x28: give --size HxW")
    result = run("train", "--data", "a", "--size", "20", "--epochs", 1)
    assert result.exit_code == 0 and " images, 1x20x20, 3 classes" in result.output
    mistake(run("train", "--data", "a", "--size", "20x30"), 1, "lenet5 cannot take images of 1x20x30 (it takes square ones)")
    mistake(run("train", "--data", "a", "--size", "8"), 1, "lenet5 cannot take images of 1x8x8 ([Conv2d '3']")
    result = run("train", "--data", "a", "--size", "20x30", "--epochs", 1, "--model", "resnet8")
    assert result.exit_code == 0 and metadata()["shape"] == dict(channels=1, size=[20, 30], classes=3)
    assert run("predict", "lanewise-model.safetensors", "a").output.count("\n") == 12
    mistake(run("train", "--size", "20"), 1, "--size expected a folder of images")
    for size in ("0", "axb", "2x3x4", "-3", "", "²"):
        mistake(run("train", "--data", "a", "--size", size), 2, "'--size'", "is not H or HxW")


LAYOUTS = {
    "x and y": lambda x, y: dict(x=x, y=y), "N H W": lambda x, y: dict(x=x[:, 0], y=y),
    "channels last": lambda x, y: dict(x=x.transpose(0, 2, 3, 1), y=y[:, None]),
    "parts": lambda x, y: dict(x_train=x[:500], y_train=y[:500], x_test=x[500:], y_test=y[500:]),
    "long names": lambda x, y: dict(train_images=x[:500, 0], train_labels=y[:500], val_images=x[500:, 0], val_labels=y[500:]),
    "floats": lambda x, y: dict(x=x / 255, y=y),
    "names": lambda x, y: dict(x_train=x[:500], y_train=np.array(NAMES)[y[:500]],
                               x_val=x[500:510], y_val=np.array(NAMES)[y[500:510]]),
    "classes": lambda x, y: dict(x=x, y=y, classes=np.array(NAMES))}
NAMES = [f"class {i}" for i in range(10)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_archive(layout):
    """What arrays may be called and how they may lie; each gives a model that measures the same by the library."""
    source = archive("set.npz")
    with np.load(source) as file:
        x, y = file["x"], file["y"]
    np.savez("set.npz", **LAYOUTS[layout](x, y))
    result = run("train", "--data", "set.npz", "--epochs", 2)
    assert result.exit_code == 0 and "x28x28, 10 classes\n" in result.output, result.output
    about = metadata()
    assert about["classes"] == (NAMES if layout in ("names", "classes") else None)
    assert (about["mean"] is None) == (layout == "floats")
    shown = json.loads(run("evaluate", "lanewise-model.safetensors", "--data", "set.npz", "--json").output)
    if "validation" in shown["part"] or shown["part"] == "test":
        assert history()["test" if shown["part"] == "test" else "validated"] == pytest.approx(
            {k: shown[k] for k in ("loss", "accuracy")})
    else:
        assert shown["images"] == 640


def test_an_archive_is_not_what_it_should_be():
    x, y = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 2
    for arrays, words in [(dict(a=x), "expected arrays x and y, x_train and y_train, or train_images and train_labels, got a"),
                          (dict(x=x, y=y[:5]), "expected 6 labels for 6 images"), (dict(x=x, y=y - 1), "got -1 to 0"),
                          (dict(x=x[:, 0], y=y), "expected images (N, H, W), (N, C, H, W) or (N, H, W, C), got shape (6, 8)"),
                          (dict(x=x.astype(np.int32), y=y), "float64 images, got int32: convert"),
                          (dict(x=x, y=y / 2), "expected integer labels"), (dict(x=x / 0.5 * np.nan, y=y), "finite images"),
                          (dict(x=x, y=y * 0), "two classes or more"),
                          (dict(x=x, y=y * 999), "got 999 as the greatest and no image of 1, 2, 3, 4, 5 and 993 more: renumber"),
                          (dict(x_train=x, y_train=y * 2, x_val=x, y_val=y), "and no image of 1: renumber the labels, or put the "
                                                                             "names of all classes into an array 'classes'"),
                          (dict(x=x, y=y, classes=np.array(["one"])), "got 0 to 1"),
                          (dict(x_test=x, y_test=y), "expected a part to train on, got test alone"),
                          (dict(x_train=x, y_train=y, x_test=x[:, 1:], y_test=y),
                           "expected 1x8x8 images in its test part, got 1x7x8"),
                          (dict(x_train=x, y_train=y, x_test=x / 2, y_test=y),
                           "expected uint8 images, as in training, got floating")]:
        np.savez("bad.npz", **arrays)
        mistake(run("train", "--data", "bad.npz", "--model", "mlp"), 1, "bad.npz", words)
    np.savez("bad.npz", x=x, y=y * 2)
    mistake(run("profile", "mlp", "--data", "bad.npz"), 1, "bad.npz", "no image of 1")
    assert run("data", "show", "bad.npz").exit_code == 0
    np.savez("bad.npz", x=x, y=y * 2, classes=np.array(["a", "b", "c"]))
    assert run("train", "--data", "bad.npz", "--model", "mlp", "--epochs", 1).exit_code == 0
    with open("bad.npz", "r+b") as file:
        file.truncate(200)
    mistake(run("train", "--data", "bad.npz"), 1,
            "bad.npz: expected an .npz file of plain arrays, got a damaged or pickled one")


def test_a_folder_is_not_what_it_should_be(folder):
    (tree(folder / "empty") / "sock").mkdir()
    mistake(run("train", "--data", "empty"), 1, "empty/sock: expected images (png, jpg or another", "got none")
    (tree(folder / "text") / "shoe" / "9.png").write_text("hello")
    mistake(run("train", "--data", "text"), 1, "text/shoe/9.png: cannot be read as an image")
    mistake(run("train", "--data", tree(folder / "one", classes=("bag",))), 1, "expected two classes or more, got one")
    mistake(run("train", "--data", "one/bag"), 1, "one/bag: expected one sub-folder a class, got none")
    mistake(run("train", "--data", "none"), 1, "--data none: expected one of", "got a name that is none of them")
    mistake(run("train", "--data", "text/shoe/9.png"), 1, "expected a folder or an .npz file, got another file")
    tree(folder / "more" / "train")
    tree(folder / "more" / "test", classes=("bag", "shirt", "shoe", "sock"))
    mistake(run("train", "--data", "more"), 1,
            "more/test: expected sub-folders of the classes bag, shirt, shoe, got 'sock'")
    (tree(folder / "hole" / "train") / "sock").mkdir()
    tree(folder / "hole" / "test")
    mistake(run("train", "--data", "hole"), 1, "hole/train/sock: expected images (png, jpg or another", "got none")
    tree(folder / "bare" / "train")
    (folder / "bare" / "test" / "bag").mkdir(parents=True)
    mistake(run("train", "--data", "bare"), 1, "bare/test: expected images", "of the classes bag, shirt, shoe, got none")
    tree(folder / "parts" / "val"), tree(folder / "parts" / "test")
    mistake(run("train", "--data", "parts"), 1, "expected a part to train on, got validation and test alone")
    tree(folder / "both" / "val"), tree(folder / "both" / "train")
    mistake(run("train", "--data", "both", "--validation", 0.2), 1, "expected data without a part for validation, got one with")
    mistake(run("train", "--data", tree(folder / "few", 1)), 1, "--validation 0.2: split expected at least two of each class")
    assert not [f for f in os.listdir() if "model" in f]


@pytest.mark.parametrize("model", models.MODELS)
def test_every_model(model):
    """All networks are trained by their name, one step at least, and loaded again."""
    source = archive("few.npz", 60)
    result = run("train", "--data", source, "--model", model, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert lw.load("lanewise-model.safetensors")(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)


# -- options of a run ---------------------------------------------------------------------------------------------------

def test_the_split_and_the_augmentation_are_the_library_s():
    """The command's weights are those of the library's calls, bit for bit."""
    archive("set.npz")
    result = run("train", "--data", "set.npz", "--validation", 0.25, "--epochs", 2, "--seed", 3, "--augment",
                 "shift=2, flip,rotate=5,scale=0.9:1.1,pad=edge")
    assert result.exit_code == 0, result.output
    lw.manual_seed(3)
    with np.load("set.npz") as file:
        training, validation = lw.data.split(lw.data.Dataset(file["x"], file["y"]).normalised(), 0.25, 3)
    changed = training.augmented(lw.data.Augment(shift=2, flip=True, rotate=5.0, scale=(0.9, 1.1), pad="edge"))
    net = models.lenet5()
    opt = lw.optim.Adam(net.parameters(), 3e-3)
    trainer = lw.Trainer(net, lw.nn.CrossEntropyLoss(), opt)
    trainer.fit(changed, 2, 32, validation, lw.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=30), rng=3)
    kept = history()
    assert kept["history"]["val_loss"] == trainer.history["val_loss"] and kept["augment"]["scale"] == [0.9, 1.1]
    state = io.read("lanewise-model.safetensors")[0]
    assert all(state[k].tobytes() == v.tobytes() for k, v in net.state_dict().items())


def test_numbers_that_are_none():
    """One sentence with what was expected, as every option has it."""
    for option, value, expected in [("--lr", "abc", "a number above 0"), ("--lr", "0", "a number above 0"),
                                    ("--validation", "2", "a number above 0 and below 1"),
                                    ("--seed", "-1", "a whole number of 0"), ("--epochs", "1.5", "a whole number of 1 or more"),
                                    ("--threads", "5000", "a whole number of 1 or more, at most 1024")]:
        mistake(run("train", option, value), 2, f"'{option}': expected {expected}", f"got '{value}' (see ")


def test_augment_mistakes():
    for text, words in [("shift", "expected a value after shift, as in shift=2"), ("pad", "as in pad=edge"),
                        ("flip=1", "'flip' alone"),
                        ("twist=1", "expected names among shift, pad, flip"), ("shift=1,shift=2", "shift is there twice"),
                        ("rotate=200", "rotate to be a number from 0 to 180"), ("scale=1", "two factors as 0.9:1.1"),
                        ("scale=2:1", "the least and the greatest"), ("cutout=x", "cutout to be a whole number, got 'x'"),
                        ("contrast=-1", "contrast to be a number of 0 or more"), ("mixup=nan", "mixup"),
                        ("pad=wrap", "'reflect'")]:
        mistake(run("train", "--augment", text), 2, "'--augment'", words)
    mistake(run("train", "--augment", "shift=28"), 1, "more than shift=28 pixels a side, got 28x28")


def test_early_stopping():
    """With a rate that ruins the model the best epoch is an early one, whose weights are kept."""
    result = run("train", "--validation", 0.2, "--early-stopping", 2, "--epochs", 40, "--lr", 0.05, "--seed", 1)
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("stopped   early after epoch "))
    losses = history()["history"]["val_loss"]
    assert line == f"stopped   early after epoch {len(losses)}: the weights of epoch {np.argmin(losses) + 1} are kept"
    assert len(losses) == np.argmin(losses) + 3 < 40 and history()["validated"]["loss"] == min(losses)
    mistake(run("train", "--early-stopping", 2), 2,
            "--early-stopping expected images to validate with: give --validation FRACTION")
    for value in ("0", "1", "-1", "nan", "x"):
        mistake(run("train", "--validation", value), 2, "'--validation'")
    mistake(run("train", "--validation", "1e-4"), 1, "--validation 0.0001: split expected at least 10 rows in each part")


def test_logs(folder):
    """A CSV line an epoch, and TensorBoard's files."""
    pytest.importorskip("tensorboardX", reason="pip install tensorboardX")
    for _ in range(2):                                  # a folder that is there takes more files
        result = run("train", "--epochs", 2, "--validation", 0.1, "--csv-log", "log.csv", "--tensorboard", "deep/events")
        assert result.exit_code == 0, result.output
    with open("log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["val_loss"]) for r in rows] == history()["history"]["val_loss"]
    assert {p.parent.name for p in (folder / "deep" / "events").rglob("events*") if p.is_file()} == {"train", "validation"}


def test_without_tensorboardx():
    """One line."""
    done = subprocess.run([*refuse("tensorboardX"), "train", "--tensorboard", "t"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr == (
        "Error: callbacks.TensorBoard needs tensorboardX: pip install lanewise[tensorboard]\n")


def test_files_that_cannot_be_written(folder):
    """Before the training, not after it."""
    for option in ("--output", "--checkpoint", "--csv-log", "--save-config"):
        mistake(run("train", option, "none/file"), 1, f"{option} none/file: cannot write to the folder {folder / 'none'}")
    (folder / "file").write_text("")
    mistake(run("train", "--tensorboard", "file"), 2, "'--tensorboard'", "is a file")
    assert os.listdir() == ["file"]


def test_the_ending_of_the_output(folder):
    """Names of other formats are refused before the training; what is written is what the name says, or safetensors."""
    archive("set.npz", 100)
    for name in ("m.pt", "m.pth", "m.onnx", "m.safetensor", "deep.er/m.NPY"):
        mistake(run("train", "--data", "set.npz", "--output", name), 2,
                f"--output expected a name that ends in .safetensors or .npz, or has no ending, got {name}")
    assert os.listdir() == ["set.npz"]
    (folder / "deep.er").mkdir()
    for name in ("m.NPZ", "m.npz", "m.safetensors", "deep.er/m"):
        assert run("train", "--data", "set.npz", "--epochs", 1, "--output", name).exit_code == 0
        assert (folder / name).read_bytes()[:2] == b"PK" or "npz" not in name.lower()
        assert run("evaluate", name, "--data", "set.npz").exit_code == 0


# -- files of settings --------------------------------------------------------------------------------------------------

TOML = """epochs = 2
lr = 0.002
batch_size = 50
optimizer = "sgd"
[augment]
shift = 1
flip = true
"""


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_config(folder, kind):
    """A file's values, over which the command line wins; and what --save-config writes is the same run."""
    if kind == "toml":
        pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
        (folder / "run.toml").write_text(TOML)
    else:
        (folder / "run.json").write_text(json.dumps({"epochs": 2, "lr": 0.002, "batch_size": 50, "optimizer": "sgd",
                                                     "augment": {"shift": 1, "flip": True}}))
    result = run("train", "--config", f"run.{kind}", "--epochs", 1, "--save-config", "saved.json")
    assert result.exit_code == 0, result.output
    assert "; sgd, one-cycle rate 0.002, batches of 50\n" in result.output and "epoch 1/1" in result.output
    first, kept = io.read("lanewise-model.safetensors")[0], json.loads((folder / "saved.json").read_text())
    assert kept == {"data": "fashion-mnist-mini", "augment": {"shift": 1, "flip": True}, "model": "lenet5", "epochs": 1,
                    "batch-size": 50, "optimizer": "sgd", "lr": 0.002, "seed": 0, "output": "lanewise-model.safetensors"}
    assert run("train", "--config", "saved.json").exit_code == 0
    again = io.read("lanewise-model.safetensors")[0]
    assert all(first[k].tobytes() == again[k].tobytes() for k in first)


def test_config_mistakes(folder, monkeypatch):
    """One sentence that names the file and the option; an ending that is not .toml is JSON."""
    for text, words in [('{"epoch": 3}', "expected options among data, size, validation, augment, model, epochs, batch-size"),
                        ('{"epoch": 3}', "got 'epoch'"), ('{"epochs": "3"}', 'epochs to be a whole number, got text: "3"'),
                        ('{"epochs": 1.0}', "epochs to be a whole number, got a number: 1.0"),
                        ('{"epochs": true}', "epochs to be a whole number, got true or false: true"),
                        ('{"epochs": null}', "got null"),
                        ('{"epochs": 0}', "epochs: expected a whole number of 1 or more, got 0"),
                        ('{"lr": NaN}', "lr: nan is not a finite number"),
                        ('{"lr": [1]}', "lr to be a number, got a list: [1]"),
                        ('{"model": "alexnet"}', "model: 'alexnet' is not one of"),
                        ('{"data": 3}', "data to be text, got a whole number"),
                        ('{"size": 2.5}', "size to be text as 28x28, or a whole number"),
                        ('{"threads": 0}', "threads: expected a whole number of 1 or more"),
                        ('{"augment": {"shft": 1}}', "augment: expected names among shift, pad, flip", ),
                        ('{"augment": {"shift": "2"}}', "shift to be a whole number of pixels, got '2'"),
                        ('{"augment": {"flip": 1}}', "flip to be True or False, got 1"), ('{"resume": true}', "got 'resume'"),
                        ("[1]", "expected an object of options, got a list"), ("{", "expected JSON, got another format"),
                        ("", "expected JSON"), ("[" * 100_000, "expected JSON")]:
        (folder / "run.conf").write_text(text)
        mistake(run("train", "--config", "run.conf"), 1, "--config run.conf: ", words)
    (folder / "run.conf").write_bytes(b"\xff\xfe\x00")
    mistake(run("train", "--config", "run.conf"), 1, "expected text, got other bytes")
    mistake(run("train", "--config", "none.json"), 1, "none.json: No such file or directory")
    mistake(run("train", "--config", "."), 2, "'--config'", "directory")
    (folder / "run.toml").write_text("epochs = ")
    if sys.version_info >= (3, 11):
        mistake(run("train", "--config", "run.toml"), 1, "--config run.toml: expected TOML, got another format")
    monkeypatch.setitem(sys.modules, "tomllib", None)
    mistake(run("train", "--config", "run.toml"), 1, "TOML needs Python 3.11 or later; JSON is read by every one")
