"""Images in folders: what from_folder takes, and one sentence for what it cannot."""
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

import lanewise as lw
from lanewise import nn, optim
from lanewise.data import from_folder, statistics


def write(path, array, **kw):
    """An image file of an array (H, W) or (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **kw)
    return array


def folder(root, rng, shape, names=("cat", "dog"), n=3, ending="png"):
    """Made images of each class: {class: arrays}."""
    return {name: [write(root / name / f"{i}.{ending}", rng.integers(0, 256, shape, np.uint8)) for i in range(n)]
            for name in names}


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)])
@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "PNG"])
def test_pixels(shape, ending, tmp_path, rng):
    """Gray or RGB as the files are, classes sorted, the pixels' own mean and std."""
    made = folder(tmp_path, rng, shape, ("dog", "Cat", "ant"), 4, ending)
    ds = from_folder(str(tmp_path))
    assert ds.classes == ["Cat", "ant", "dog"] and ds.n_classes == 3
    assert ds.images.dtype == np.uint8 and ds.shape == (1 if len(shape) == 2 else 3, 6, 9)
    want = np.stack([x for name in ds.classes for x in made[name]]).reshape(12, 6, 9, -1).transpose(0, 3, 1, 2)
    assert_array_equal(ds.images, want)
    assert_array_equal(ds.labels, np.repeat([0, 1, 2], 4))
    mean, std = statistics(want)
    assert ds.mean == tuple(mean) and ds.std == tuple(std)
    some = from_folder(tmp_path, classes=["dog", "ant"])
    assert some.classes == ["dog", "ant"] and len(some) == 8
    assert_array_equal(some.images[:4], want[8:])


def test_channels(tmp_path, rng):
    """One RGB file makes all RGB; gray or RGB when asked for, as Pillow converts."""
    made = folder(tmp_path, rng, (5, 4))
    colour = write(tmp_path / "dog" / "9.png", rng.integers(0, 256, (5, 4, 3), np.uint8))
    ds = from_folder(tmp_path)
    assert ds.shape == (3, 5, 4)
    assert_array_equal(ds.images[-1], colour.transpose(2, 0, 1))
    assert_array_equal(ds.images[0], np.stack([made["cat"][0]] * 3))
    gray = from_folder(tmp_path, channels=1)
    assert gray.shape == (1, 5, 4)
    assert_array_equal(gray.images[-1, 0], np.asarray(Image.fromarray(colour).convert("L")))
    assert from_folder(tmp_path, channels=3, classes=["cat"]).shape == (3, 5, 4)


def test_size(tmp_path, rng):
    """size= makes all of one size, bilinear; an image that has it stays."""
    made = folder(tmp_path, rng, (8, 6))
    large = write(tmp_path / "cat" / "9.png", rng.integers(0, 256, (20, 30), np.uint8))
    ds = from_folder(tmp_path, size=(8, 6))
    assert_array_equal(ds.images[0, 0], made["cat"][0])
    assert_array_equal(ds.images[3, 0], np.asarray(Image.fromarray(large).resize((6, 8), Image.Resampling.BILINEAR)))
    with pytest.raises(lw.DataError, match=r"9\.png: expected 8x6 pixels as in 0\.png, got 20x30: pass size=\(height, width\)"):
        from_folder(tmp_path)


def test_kinds_of_files(tmp_path, rng):
    """EXIF orientation, 16 bits, palettes, transparency, frames, deeper folders; hidden and other files are left out."""
    x = rng.integers(0, 256, (6, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6                                    # to be turned by 90 degrees, clockwise
    write(tmp_path / "a" / "turned.png", np.rot90(x).copy(), exif=exif)
    write(tmp_path / "b" / "deep" / "er" / "x.png", x)
    write(tmp_path / "c" / "16.png", x.astype(np.uint16) * 256 + 77)
    frames = [Image.fromarray(x), Image.fromarray(255 - x)]
    frames[0].save(tmp_path / "c" / "z.tiff", save_all=True, append_images=frames[1:])
    write(tmp_path / "a" / ".hidden.png", x[:2])
    write(tmp_path / "a" / ".thumbs" / "small.png", x[:2])
    write(tmp_path / ".cache" / "small.png", x[:2])
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "labels.csv").write_text("none")
    ds = from_folder(tmp_path)
    assert ds.classes == ["a", "b", "c"] and ds.images.shape == (4, 1, 6, 4)
    for image in ds.images:
        assert_array_equal(image[0], x)
    colour = rng.integers(0, 256, (6, 4, 4), np.uint8)
    write(tmp_path / "d" / "alpha.png", colour)
    palette = Image.fromarray(colour[..., :3]).quantize(16)
    palette.save(tmp_path / "d" / "palette.png")
    ds = from_folder(tmp_path, classes=["d"])
    assert_array_equal(ds.images[0], colour[..., :3].transpose(2, 0, 1))
    assert_array_equal(ds.images[1], np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    folder(tmp_path / "jpegs", rng, (16, 16, 3), ending="jpg")
    ds = from_folder(tmp_path / "jpegs")
    with Image.open(tmp_path / "jpegs" / "dog" / "2.jpg") as image:
        assert_array_equal(ds.images[-1], np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("ending", ["tga", "ico", "pcx", "qoi", "jp2", "avif", "webp", "JFIF"])
def test_what_pillow_reads(ending, tmp_path, rng):
    """Every format of Pillow's, with its own pixels; beside them what is no image, or needs another program, is passed over."""
    if f".{ending}".lower() not in Image.registered_extensions():
        pytest.skip(f"Pillow is installed without {ending}")
    made = folder(tmp_path, rng, (16, 16, 3), ending="png")
    for name, images in made.items():
        for i, x in enumerate(images):
            (tmp_path / name / f"{i}.png").unlink()
            write(tmp_path / name / f"{i}.{ending}", x, **({"sizes": [(16, 16)]} if ending == "ico" else {}))
        for other in "notes.txt", "all.h5", "film.mpg", "page.eps", "page.ps", "labels.json", "noending", "x.pdf", "Thumbs.db":
            (tmp_path / name / other).write_bytes(b"not an image")
    ds = from_folder(tmp_path)
    assert ds.images.shape == (6, 3, 16, 16)
    for image, file in zip(ds.images, sorted(tmp_path.rglob(f"*.{ending}"))):
        with Image.open(file) as want:
            assert_array_equal(image, np.asarray(want.convert("RGB")).transpose(2, 0, 1))
    if ending in ("tga", "ico", "pcx"):                 # without loss
        assert_array_equal(ds.images[0], made["cat"][0].transpose(2, 0, 1))


def test_endings_come_with_pillow():
    """Pillow is imported when the endings are asked for, not with lanewise."""
    code = """if True:
        import sys
        import lanewise as lw
        assert lw.data and "PIL" not in sys.modules
        from lanewise.data import folder
        assert "PIL" not in sys.modules
        assert {".png", ".jpg", ".tga", ".ico"} < set(folder.endings()) and ".txt" not in folder.endings()
        """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_constant_images(tmp_path):
    """A channel of one value: std 1 instead of 0."""
    for name in "ab":
        write(tmp_path / name / "x.png", np.full((3, 3), 51, np.uint8))
    ds = from_folder(tmp_path)
    assert ds.mean == pytest.approx((0.2,)) and ds.std == (1.0,)
    assert abs(np.asarray(ds.batch()[0])).max() < 1e-6


def test_mistakes(tmp_path, rng):
    """One sentence that names the folder or the file."""
    def refused(words, path=tmp_path / "set", **kw):
        with pytest.raises(lw.DataError, match=words) as info:
            from_folder(path, **kw)
        assert "\n" not in str(info.value) and str(path) in str(info.value)
    refused("expected a folder with one sub-folder a class, got nothing there")
    (tmp_path / "set").mkdir()
    refused("expected one sub-folder a class, got none")
    write(tmp_path / "set" / "x.png", np.zeros((4, 4), np.uint8))
    refused("expected one sub-folder a class, got none")
    refused("got a file", tmp_path / "set" / "x.png")
    folder(tmp_path / "set", rng, (4, 4))
    (tmp_path / "set" / "empty").mkdir()
    refused(r"empty: expected images \(png, jpg or another format that Pillow opens\), got none")
    refused("expected sub-folders of the classes cat, cow, got 'dog'", classes=["cat", "cow"])
    refused("expected images .* in sub-folders of the classes empty, got none", classes=["empty"])
    refused("expected the names of one class or more, got none", classes=[])
    refused("expected classes of different names, got 'cat' twice", classes=["cat", "dog", "cat"])
    (tmp_path / "set" / "empty").rmdir()
    for at, cut in ("cat", 60), ("dog", 0):
        file = tmp_path / "set" / at / "1.png"
        write(tmp_path / "other.png", rng.integers(0, 256, (40, 40), np.uint8))
        good = file.read_bytes()
        file.write_bytes((tmp_path / "other.png").read_bytes()[:cut])
        refused(rf"{at}.1\.png: cannot be read as an image \(.+\)", size=(4, 4))
        file.write_bytes(b"GIF89a and no more")
        refused(rf"{at}.1\.png: cannot be read as an image \(.+\)")
        file.write_bytes(good)
    write(tmp_path / "set" / "cat" / "float.tiff", np.zeros((4, 4), np.float32))
    refused("float.tiff: expected pixels of 8 or 16 bits, got floating-point numbers")
    for parts in ("train", "test"), ("Train", "valid", "test"):
        root = tmp_path / "-".join(parts)
        for part in parts:
            folder(root / part, rng, (4, 4))
        refused(r"got the parts .*test.*: load each, as from_folder\('.*'\)", root)
    for kw, words in [(dict(channels=2), r"expected channels 1 \(gray\) or 3 \(RGB\), got 2"), (dict(channels="L"), "got 'L'"),
                      (dict(size=28), r"expected size \(height, width\), got 28"), (dict(size=(0, 3)), r"got \(0, 3\)"),
                      (dict(size=(3.0, 3)), "got"), (dict(size=(3, 3, 3)), "got")]:
        with pytest.raises(ValueError, match=words):
            from_folder(tmp_path / "set", **kw)


def test_some_of_the_classes(tmp_path, rng):
    """Of classes that are given some may have no sub-folder, or an empty one: the others keep their numbers."""
    names = ["ant", "bee", "cat", "dog"]
    made = folder(tmp_path, rng, (6, 9), ["bee", "dog"])
    for _ in range(2):
        ds = from_folder(tmp_path, classes=names)
        assert ds.classes == names and ds.n_classes == 4 and ds.shape == (1, 6, 9)
        assert_array_equal(ds.labels, np.repeat([1, 3], 3))
        assert_array_equal(ds.images[:, 0], np.stack([*made["bee"], *made["dog"]]))
        for other in "ant", ".hidden":
            (tmp_path / other).mkdir(exist_ok=True)
        (tmp_path / "ant" / "notes.txt").write_text("no image")
    assert_array_equal(from_folder(tmp_path, classes=["dog", "bee"]).labels, np.repeat([0, 1], 3))      # a choice
    with pytest.raises(lw.DataError, match="ant: expected images .*, got none"):
        from_folder(tmp_path)
    (tmp_path / "Cat").mkdir()
    with pytest.raises(lw.DataError, match=f"{tmp_path}: expected sub-folders of the classes ant, bee, cat, dog, got 'Cat'"):
        from_folder(tmp_path, classes=names)
    for name in names:
        (tmp_path / "none" / name).mkdir(parents=True)
        with pytest.raises(lw.DataError, match="none: expected images .* in sub-folders of the classes ant, bee, cat, dog, "):
            from_folder(tmp_path / "none", classes=names)


def test_parts_and_training(tmp_path, rng):
    """A training and a test folder with the numbers of the first; a network learns dark from light."""
    for part, n in ("train", 40), ("test", 10):
        for name, low in ("dark", 0), ("light", 90):
            for i in range(n):
                write(tmp_path / part / name / f"{i}.png", rng.integers(low, low + 160, (8, 8), np.uint8))
    training = from_folder(tmp_path / "train")
    test = from_folder(tmp_path / "test", classes=training.classes).normalised(training.mean, training.std)
    assert (test.mean, test.std, test.classes) == (training.mean, training.std, ["dark", "light"])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 0.01))
    trainer.fit(training, 5, 16)
    assert trainer.evaluate(test)["accuracy"] == 1


def test_names_of_classes_in_messages(tmp_path, rng):
    """Line ends and tabs in them are spaces in a sentence; the classes keep their names."""
    names = ["a\tb", "c\r\nd"]
    folder(tmp_path, rng, (6, 9), names)
    ds = from_folder(tmp_path)
    assert ds.classes == names and from_folder(tmp_path, classes=names).classes == names

    def refused(words, call, *args, **kw):
        with pytest.raises(lw.DataError if call is not lw.data.Dataset else lw.LabelError, match=words) as info:
            call(*args, **kw)
        assert not set("\n\r\t") & set(str(info.value))
    refused("classes c d, x, got 'a b'", from_folder, tmp_path, classes=names[1:] + ["x"])
    refused("among the classes a b, c d, got 'e f'", lw.data.Dataset, ds.images[:2], ["a\tb", "e\nf"], classes=names)
    refused("got one of c d: pass", lw.data.split, (ds.images[:3], np.array(names)[[0, 0, 1]]))
    write(tmp_path / "a\tb" / "9\n.png", np.zeros((3, 3), np.uint8))
    refused("a b/9 .png: expected 6x9 pixels as in 0.png, got 3x3", from_folder, tmp_path)
    (tmp_path / "a\tb" / "9\n.png").write_bytes(b"no image")
    refused("a b/9 .png: cannot be read", from_folder, tmp_path)
    (tmp_path / "e\nf").mkdir()
    refused("e f: expected images", from_folder, tmp_path)
    refused("classes e f, g h, got 'a b'", from_folder, tmp_path, classes=["e\nf", "g\th"])
    refused("different names, got 'e f' twice", from_folder, tmp_path, classes=["e\nf"] * 2)
    refused("classes e f, got none", from_folder, tmp_path, classes=["e\nf"])
