"""Readers of the published formats, and the sets that have a name."""
import functools
import gzip
import hashlib
import http.server
import os
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
from lanewise.data import read_cifar10, read_idx, read_npz, sets

IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array):
    """An IDX file: two zero bytes, type, rank, sizes and numbers, big-endian."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    numbers = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return bytes([0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim]) + sizes + numbers


def write(path, raw):
    """Write bytes, and the folders above; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def refused(reader, path, *words):
    """The reader raises a DataError: one sentence that names the file and holds the words."""
    with pytest.raises(lw.DataError) as info:
        reader(path)
    text = str(info.value)
    assert str(path) in text and "\n" not in text
    for word in words:
        assert word in text


# -- IDX ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 1, 3, 2), (0, 28, 28)])
@pytest.mark.parametrize("kind", IDX_CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_idx_round_trip(kind, shape, pack, tmp_path, rng):
    array = (rng.standard_normal(shape) * 100).astype(kind)
    got = read_idx(write(tmp_path / "file", pack(idx_bytes(array))))
    assert got.dtype == np.dtype(kind) and got.dtype.isnative
    assert_array_equal(got, array, strict=True)


def test_idx_mistakes(tmp_path):
    """Each of these is one sentence that names the file, what was expected and what came."""
    good = idx_bytes(np.arange(60, dtype="u1").reshape(3, 4, 5))
    cut = write(tmp_path / "cut", good[:-1])
    refused(read_idx, cut, "expected 76 bytes for shape (3, 4, 5), got 75")
    refused(read_idx, write(tmp_path / "header", good[:9]), "truncated")
    refused(read_idx, write(tmp_path / "long", good + b"\0"), "expected 76 bytes", "got 77")
    refused(read_idx, write(tmp_path / "empty", b""), "expected an IDX file", "nothing")
    refused(read_idx, write(tmp_path / "foreign", b"PNG and so on"), "expected an IDX file", "50 4e 47 20")
    refused(read_idx, write(tmp_path / "type", b"\0\0\x0a\x01" + bytes(8)), "expected an IDX file", "00 00 0a 01")
    refused(read_idx, write(tmp_path / "rank", b"\0\0\x08\0"), "expected an IDX file")
    refused(read_idx, write(tmp_path / "huge", b"\0\0\x08\x03" + b"\xff" * 12), "truncated or damaged")
    refused(read_idx, tmp_path / "none", "cannot be read (No such file")
    refused(read_idx, tmp_path, "cannot be read (Is a directory)")
    packed = gzip.compress(good)
    refused(read_idx, write(tmp_path / "cut.gz", packed[:-9]), "whole gzip file")
    for at in range(10, len(packed), 3):                # the checksum of gzip finds a flipped byte anywhere in its data
        damaged = bytes(b ^ 0x5a * (i == at) for i, b in enumerate(packed))
        refused(read_idx, write(tmp_path / "damaged.gz", damaged), "whole gzip file")


# -- CIFAR-10 and .npz -----------------------------------------------------------------------------------------------

def cifar_records(rng, n):
    """(bytes, images, labels) of n made records."""
    images = rng.integers(0, 256, (n, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 10, n, np.uint8)
    return b"".join(bytes([c]) + x.tobytes() for c, x in zip(labels, images)), images, labels


def test_cifar10(tmp_path, rng):
    raw, images, labels = cifar_records(rng, 7)
    one, two = write(tmp_path / "one.bin", raw[:3 * 3073]), write(tmp_path / "two.bin", raw[3 * 3073:])
    for paths, n in ([one, two], 7), (str(one), 3), (one, 3):
        x, y = read_cifar10(paths)
        assert x.dtype == np.uint8 and y.dtype == np.int64
        assert_array_equal(x, images[:n])
        assert_array_equal(y, labels[:n])
    refused(read_cifar10, write(tmp_path / "cut", raw[:-1]), "records of 3073 bytes", str(len(raw) - 1))
    refused(read_cifar10, write(tmp_path / "empty", b""), "got 0 bytes")
    refused(read_cifar10, write(tmp_path / "label", b"\x0a" + bytes(3072)), "labels from 0 to 9, got 10")
    refused(read_cifar10, tmp_path / "none", "cannot be read")


def test_npz(tmp_path, rng):
    arrays = dict(x=rng.standard_normal((3, 4)).astype(np.float32), y=np.arange(3))
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays)
    got = read_npz(path)
    assert list(got) == ["x", "y"]
    for k, a in arrays.items():
        assert_array_equal(got[k], a, strict=True)
    raw = path.read_bytes()
    refused(read_npz, write(tmp_path / "cut.npz", raw[:-30]), "expected an .npz file")
    refused(read_npz, write(tmp_path / "empty.npz", b""), "expected an .npz file")
    refused(read_npz, write(tmp_path / "foreign.npz", b"no such thing"), "expected an .npz file")
    refused(read_npz, tmp_path / "none.npz", "cannot be read")
    refused(read_npz, tmp_path, "cannot be read")
    np.save(tmp_path / "one.npy", arrays["x"])
    refused(read_npz, tmp_path / "one.npy", "expected an .npz file")
    for at in range(0, len(raw), 5):                    # a flipped byte: the arrays, or the sentence; nothing else
        path = write(tmp_path / "damaged.npz", bytes(b ^ 0x81 * (i == at) for i, b in enumerate(raw)))
        try:
            read_npz(path)
        except lw.DataError as error:
            assert str(path) in str(error)


def test_npz_runs_no_code(tmp_path):
    """A pickle is refused, not read: what it would run does not run."""
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)
    np.savez(tmp_path / "pickle.npz", x=np.array([Trap()], object))
    refused(read_npz, tmp_path / "pickle.npz", "plain arrays")
    assert not (tmp_path / "trapped").exists()


# -- the sets that have a name ----------------------------------------------------------------------------------------

def test_embedded_set():
    """3,000 and 1,000 images of ten balanced classes, shipped with their licence."""
    training, test = lw.data.load("fashion-mnist-mini")
    for ds, n in (training, 3000), (test, 1000):
        assert ds.images.shape == (n, 1, 28, 28) and ds.images.dtype == np.uint8 and len(ds) == n
        assert_array_equal(np.bincount(ds.labels), np.full(10, n // 10))
        assert ds.n_classes == 10 and ds.classes[9] == "Ankle boot" and ds.shape == (1, 28, 28)
    folder = Path(lw.data.__file__).parent / "fashion-mnist-mini"
    assert "MIT License" in (folder / "LICENSE").read_text()
    assert sum(p.stat().st_size for p in folder.iterdir()) < 2e6
    x = np.asarray(test.batch()[0])
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05


def published(folder, name, rng, ending=""):
    """Write a small set in the layout that `name` is published in; {file: bytes}, and the first images and labels."""
    files = {}
    if name == "cifar-10":
        for batch in sets.BATCHES:
            files[batch], images, labels = cifar_records(rng, 4)
            if batch == sets.BATCHES[0]:
                first = images, labels
    else:
        pack = gzip.compress if ending else bytes
        for part, n in ("train", 12), ("t10k", 5):
            images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
            files[f"{part}-images-idx3-ubyte{ending}"] = pack(idx_bytes(images))
            files[f"{part}-labels-idx1-ubyte{ending}"] = pack(idx_bytes(labels))
            if part == "train":
                first = images[:, None], labels
    for file, raw in files.items():
        write(folder / file, raw)
    return files, *first


@pytest.mark.parametrize("name, ending", [("mnist", ""), ("mnist", ".gz"), ("fashion-mnist", ".gz"), ("cifar-10", "")])
def test_published_layouts(name, ending, tmp_path, monkeypatch, rng):
    """LANEWISE_DATA names the folder that holds the sets' folders."""
    monkeypatch.setenv("LANEWISE_DATA", str(tmp_path))
    assert lw.data.home() == tmp_path
    _, images, labels = published(tmp_path / name, name, rng, ending)
    training, test = lw.data.load(name)
    assert lw.data.where(name) == "here"
    assert_array_equal(training.images[:len(images)], images)
    assert_array_equal(training.labels[:len(labels)], labels)
    assert len(training) == (20 if name == "cifar-10" else 12) and len(test) == (4 if name == "cifar-10" else 5)
    assert len(training.mean) == len(training.std) == training.shape[0]


def test_home(monkeypatch):
    monkeypatch.delenv("LANEWISE_DATA", raising=False)
    assert lw.data.home() == Path("~/.cache/lanewise").expanduser()
    monkeypatch.setenv("LANEWISE_DATA", "~/sets")
    assert lw.data.home() == Path("~/sets").expanduser()


def test_unknown_set():
    with pytest.raises(lw.DataError, match="unknown data set 'mnits': expected one of fashion-mnist-mini, .*mnist"):
        lw.data.load("mnits")


@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_missing_set(name, tmp_path, monkeypatch, rng):
    """Without the downloader, and with one that fails: what is missing, where it is looked for, and what to do."""
    monkeypatch.setenv("LANEWISE_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pooch", None)     # import pooch raises ImportError
    folder = tmp_path / name
    assert lw.data.where(name) is None
    refused(lambda _: lw.data.load(name), folder, name, "is not whole", "published files", "LANEWISE_DATA", "lanewise[data]")
    files, *_ = published(folder, name, rng)
    gone = sorted(files)[-1]                            # half there
    (folder / gone).unlink()
    refused(lambda _: lw.data.load(name), folder, f"(no {gone})")

    class Failing:
        Untar = staticmethod(lambda **kw: None)

        @staticmethod
        def retrieve(url, *args, **kw):
            raise ConnectionError("a long story\nof many lines")
    monkeypatch.setitem(sys.modules, "pooch", Failing)
    refused(lambda _: lw.data.load(name), folder, f"(no {gone})", "could not be downloaded", "ConnectionError", "LANEWISE_DATA")
    Failing.retrieve = staticmethod(lambda *args, **kw: None)
    refused(lambda _: lw.data.load(name), folder, f"(no {gone})", "after its download")


@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_a_folder_that_cannot_be_made(name, tmp_path, monkeypatch):
    """Below a file, a link to nothing, on a system that refuses: what is wrong with it, and nothing is asked of the network."""
    class Never:
        @staticmethod
        def retrieve(*args, **kw):
            pytest.fail("downloaded")
    monkeypatch.setitem(sys.modules, "pooch", Never)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").symlink_to(tmp_path / "nothing" / "there")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text("no folder")
    for home, words in ("file", "Not a directory"), ("in", "File exists"), ("link", "File exists"):
        monkeypatch.setenv("LANEWISE_DATA", str(tmp_path / home))
        refused(lambda _: lw.data.load(name), tmp_path / home / name, "could not be downloaded to it, which cannot be made "
                f"({words})", "set LANEWISE_DATA")

    def full(**kw):
        raise OSError(30, "Read-only file system")
    monkeypatch.setattr(sets, "TemporaryFile", full)
    monkeypatch.setenv("LANEWISE_DATA", str(tmp_path / "new"))
    refused(lambda _: lw.data.load(name), tmp_path / "new" / name, "which cannot be written (Read-only file system)")


def test_a_set_that_does_not_fit_together(tmp_path, monkeypatch, rng):
    monkeypatch.setenv("LANEWISE_DATA", str(tmp_path))
    published(tmp_path / "mnist", "mnist", rng)
    write(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", idx_bytes(np.zeros(4, np.uint8)))
    refused(lambda _: lw.data.load("mnist"), tmp_path / "mnist" / "t10k-images-idx3-ubyte", "with a label each",
            "(5, 28, 28)", "(4,)")
    write(tmp_path / "mnist" / "t10k-images-idx3-ubyte", b"\x1f\x8b garbage")
    refused(lambda _: lw.data.load("mnist"), tmp_path / "mnist" / "t10k-images-idx3-ubyte", "gzip")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args):
        pass


@pytest.mark.filterwarnings("ignore::DeprecationWarning")       # tarfile's, from inside the downloader
@pytest.mark.parametrize("name", ["mnist", "cifar-10"])
def test_download(name, tmp_path, monkeypatch, rng):
    """From a server on this machine: files arrive where load() looks, a wrong checksum is refused."""
    pytest.importorskip("pooch", reason="pip install 'lanewise[data]' for the downloader")
    monkeypatch.setenv("LANEWISE_DATA", str(tmp_path / "home"))
    _, images, labels = published(tmp_path / "made", name, rng, ".gz")
    site = tmp_path / ("site" if name == "cifar-10" else "made")
    names = [f + ".gz" for f in sets.IDX]
    if name == "cifar-10":
        site.mkdir()
        names = ["cifar-10-binary.tar.gz"]
        with tarfile.open(site / names[0], "w:gz") as file:
            file.add(tmp_path / "made" / "cifar-10-batches-bin", "cifar-10-batches-bin")
    sums = [hashlib.md5((site / f).read_bytes()).hexdigest() for f in names]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setitem(sets.SETS, name, {**sets.SETS[name], "url": url, "md5": ["0" * 32] * len(sums)})
        refused(lambda _: lw.data.load(name), tmp_path / "home" / name, "could not be downloaded")
        monkeypatch.setitem(sets.SETS, name, {**sets.SETS[name], "md5": sums})
        training, _ = lw.data.load(name)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert_array_equal(training.images[:len(images)], images)
    assert_array_equal(training.labels[:len(labels)], labels)
    assert len(lw.data.load(name)[0]) == len(training)  # the server is gone: from the disk


@pytest.mark.parametrize("name, shape, n, first", [("mnist", (1, 28, 28), 60000, [5, 0, 4, 1, 9]),
                                                   ("fashion-mnist", (1, 28, 28), 60000, [9, 0, 0, 3, 0]),
                                                   ("cifar-10", (3, 32, 32), 50000, [6, 9, 9, 4, 1])])
def test_full_sets(name, shape, n, first):
    if lw.data.where(name) is None:
        pytest.skip(f"{name} is not in {lw.data.home() / name}: put its published files there, or "
                    f"pip install 'lanewise[data]' and lanewise.data.load('{name}') with a network")
    training, test = lw.data.load(name)
    assert training.images.shape == (n, *shape) and test.images.shape == (10000, *shape)
    assert training.labels[:5].tolist() == first and set(test.labels) == set(range(10))
    levels = np.arange(256) / 255
    for c in range(shape[0]):                           # the constants are the training pixels' own
        share = np.bincount(training.images[:, c].ravel(), minlength=256) / (n * shape[1] * shape[2])
        mean = share @ levels
        assert abs(mean - training.mean[c]) < 1e-4
        assert abs(np.sqrt(share @ (levels - mean) ** 2) - training.std[c]) < 1e-4


# -- Dataset and Batch -------------------------------------------------------------------------------------------------
