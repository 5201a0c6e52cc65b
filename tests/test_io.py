"""Files of weights: whole or not there, readable by others, refused in one sentence when they are something else."""
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
from lanewise import io, models, nn


@pytest.fixture
def model():
    """A small network."""
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))


def bits(model):
    """{path: the bytes of the numbers}."""
    return {k: v.tobytes() for k, v in model.state_dict().items()}


def test_round_trip(model, dtype, tmp_path):
    """Names, order, shapes, number type and every bit; the metadata comes back as it was."""
    if dtype == np.float64:
        model.double()
    path, about = tmp_path / "m.safetensors", {"model": "small", "mean": [0.1, 0.2], "names": ["ä", "b"], "none": None}
    lw.save(model, path, about)
    state, metadata = io.read(path)
    assert metadata == about
    assert set(state) == set(model.state_dict())
    for k, a in model.state_dict().items():
        assert_array_equal(state[k], a, strict=True)
    lw.manual_seed(99)
    other = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    if dtype == np.float64:
        other.double()
    assert bits(other) != bits(model)
    assert lw.load(str(path), other) is other
    assert bits(other) == bits(model)
    x = np.ones((3, 1, 6, 6), dtype)
    assert_array_equal(other(x).numpy(), model(x).numpy())


def test_dict_of_arrays(tmp_path, rng):
    """A plain dict, with arrays that are not contiguous, and integers."""
    a = rng.standard_normal((4, 6))
    lw.save({"t": a.T, "part": a[:, ::2], "n": np.arange(3)}, tmp_path / "d")
    state, metadata = lw.read(tmp_path / "d")
    assert_array_equal(state["t"], a.T, strict=True)
    assert_array_equal(state["part"], a[:, ::2], strict=True)
    assert_array_equal(state["n"], np.arange(3), strict=True)
    assert metadata == {}


@pytest.mark.parametrize("name", ["m.safetensors", "m.npz"])
def test_the_same_model_gives_the_same_bytes(name, model, dtype, tmp_path):
    """Every time that it is saved, the numbers at a multiple of 8 bytes; what the other header keys say is kept."""
    arrays = {**model.state_dict(), 'a "name"\n\x01 \x7f ä': np.arange(7).astype(dtype), "none": np.zeros((0, 3)),
              "z": np.float32(2), "u": np.arange(5, dtype=np.uint8)}
    for what, about in (model, None), (model, {"ä": "b\n", "a": 1}), (arrays, {"ä": "\u2028"}):
        files = set()
        for _ in range(16):                             # of two metadata, each order is as likely as the other
            lw.save(what, tmp_path / name, about)
            files.add((tmp_path / name).read_bytes())
        assert len(files) == 1
        state, metadata = lw.read(tmp_path / name)
        assert metadata == (about or {}) and set(state) == set(what if what is arrays else model.state_dict())
        if name == "m.safetensors":
            assert int.from_bytes(files.pop()[:8], "little") % 8 == 0
    for key, array in arrays.items():
        assert_array_equal(state[key], array, strict=True)


@pytest.mark.parametrize("name", ["m.safetensors", "m.npz"])
def test_an_array_of_the_headers_name(name, tmp_path):
    """Refused, where no reader would find it."""
    with pytest.raises(ValueError, match="save expected names of arrays other than '__metadata__', which is the header's"):
        lw.save({"a": np.zeros(3), "__metadata__": np.zeros(3)}, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_torch_reads_it_and_is_read(model, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file
    lw.save(model, tmp_path / "m")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 5))
    save_file(theirs.state_dict(), tmp_path / "t")
    before = bits(model)
    lw.load(tmp_path / "t", model)
    assert bits(model) == {k: v.numpy().tobytes() for k, v in theirs.state_dict().items()} != before
    theirs.load_state_dict(load_file(tmp_path / "m"))
    assert before == {k: v.numpy().tobytes() for k, v in theirs.state_dict().items()}


@pytest.mark.parametrize("broken", ["replace", "fsync", "write", "interrupt"])
def test_a_failure_leaves_the_old_file(broken, model, tmp_path, monkeypatch):
    """The old file to the last byte, and nothing beside it."""
    path = tmp_path / "m"
    lw.save(model, path)
    old = path.read_bytes()
    model[0].weight.data[...] = 7

    def fail(*args):
        raise KeyboardInterrupt if broken == "interrupt" else OSError(28, "No space left on device")
    if broken == "write":
        monkeypatch.setattr("builtins.open", lambda *a, **kw: fail())
    else:
        monkeypatch.setattr(io.os, "fsync" if broken == "interrupt" else broken, fail)
    with pytest.raises(KeyboardInterrupt if broken == "interrupt" else OSError) as info:
        lw.save(model, path)
    monkeypatch.undo()
    if broken != "interrupt":
        assert info.value.filename == str(path) and "No space left" in str(info.value)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["m"]
    lw.save(model, path)
    assert path.read_bytes() != old and (lw.read(path)[0]["0.weight"] == 7).all() and os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_follows_the_umask(umask, mode, model, tmp_path):
    before = os.umask(umask)
    try:
        lw.save(model, tmp_path / "m")
        io.save_json(tmp_path / "j", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == stat.S_IMODE((tmp_path / "j").stat().st_mode) == mode


def test_where_a_file_cannot_go(model, tmp_path):
    """A missing folder, a directory, a device: an OSError that names the path, and nothing is replaced."""
    for path, kind in (tmp_path / "none" / "m", FileNotFoundError), (tmp_path, FileExistsError), ("/dev/null", FileExistsError):
        with pytest.raises(kind) as info:
            lw.save(model, path)
        assert info.value.filename == str(path) and str(info.value).endswith(f"{str(path)!r}")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    lw.save(model, tmp_path / "link")                   # what the link points to is replaced, not the link
    assert (tmp_path / "link").is_symlink() and lw.read(tmp_path / "real")[0]


def test_not_a_file_of_weights(model, tmp_path, rng):
    """Missing, truncated anywhere, foreign: one sentence with the path, and the model is as it was."""
    good = tmp_path / "good"
    lw.save(model, good)
    raw, before = good.read_bytes(), bits(model)
    cases = {"none": None, "empty": b"", "text": b"no weights at all", "zip": b"PK\3\4" + bytes(200),
             "zeros": bytes(64), "json": b'{"a": 1}', "head": (10).to_bytes(8, "little") + b"not json.."}
    cases.update({f"cut{n}": raw[:n] for n in (1, 8, 50, len(raw) // 2, len(raw) - 1)})
    for name, content in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(lw.WeightsError) as info:
            lw.load(path, model)
        text = str(info.value)
        assert text.startswith(f"{path}: ") and "\n" not in text
        assert ("cannot be read" if content is None else "expected a safetensors file, got") in text
    for path in tmp_path, "/dev/null":
        with pytest.raises(lw.WeightsError, match="got a directory or device"):
            lw.load(path)
    assert bits(model) == before


def test_number_types_that_numpy_lacks(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    save_file({"a": torch.zeros(3, dtype=torch.bfloat16)}, tmp_path / "b")
    with pytest.raises(lw.WeightsError, match="expected weights of a number type that NumPy has .*bfloat16"):
        lw.load(tmp_path / "b")
    pytest.importorskip("ml_dtypes")                    # which gives NumPy a bfloat16
    with pytest.raises(lw.WeightsError, match="expected weights of a number type that NumPy has .*'a' is of bfloat16"):
        lw.load(tmp_path / "b")


def test_weights_of_another_model(model, tmp_path):
    """Names missing, names unknown, shapes, number types: one sentence, and no parameter of the model changes."""
    before, state = bits(model), {k: v + 1 for k, v in model.state_dict().items()}
    without = {k: v for k, v in state.items() if k != "3.bias"}
    for other, words in [
            (without, "missing '3.bias'"), ({**state, "4.weight": np.zeros(3)}, "unknown '4.weight'"),
            ({**without, "bias": np.zeros(5)}, "missing '3.bias'; unknown 'bias'"),
            ({}, "missing '0.weight', '0.bias', '3.weight' and others"),
            ({**state, "3.weight": np.zeros((5, 47))}, r"'3.weight' expected shape \(5, 48\), got \(5, 47\)"),
            ({**state, "3.weight": state["3.weight"].T}, r"'3.weight' expected shape \(5, 48\), got \(48, 5\)"),
            ({**state, "3.bias": np.arange(5)}, "'3.bias' expected floating-point numbers, got int64")]:
        lw.save(other, tmp_path / "other")
        path = tmp_path / "other"
        with pytest.raises(lw.WeightsError, match=f"^{path}: the weights do not belong to this model: {words}") as info:
            lw.load(path, model)
        assert "\n" not in str(info.value)
        assert bits(model) == before
    with pytest.raises(lw.WeightsError, match=f"^{tmp_path / 'mlp'}: the weights do not belong to this model"):
        lw.save(models.mlp(), tmp_path / "mlp")
        lw.load(tmp_path / "mlp", models.lenet5())


def test_a_checkpoint_of_another_run(model, tmp_path):
    """Another model's, optimizer's or schedule's: one sentence that begins with the file."""
    path = tmp_path / "run"
    adam = lw.optim.Adam(model.parameters())
    loss = nn.CrossEntropyLoss()(model(np.ones((2, 1, 6, 6), np.float32)), np.arange(2))
    loss.backward()
    adam.step()
    lw.save_checkpoint(path, model, adam, lw.optim.lr_scheduler.StepLR(adam, 3))
    cosine, other = lw.optim.lr_scheduler.CosineAnnealingLR(adam, 5), models.mlp()
    for args, words in [(lambda: (other,), "the weights do not belong to this model: missing"),
                        (lambda: (model, adam, cosine), "CosineAnnealingLR: the state is another schedule's"),
                        (lambda: (model, lw.optim.SGD(model.parameters(), 0.1, momentum=0.9)),
                         "SGD: the state does not belong to these parameters")]:
        with pytest.raises(lw.WeightsError, match=f"^{path}: {words}") as info:
            lw.load_checkpoint(path, *args())
        assert "\n" not in str(info.value)
    with pytest.raises(lw.WeightsError, match=f"^{path}: the weights do not belong to this model: missing"):
        lw.load(path, other)


def test_json(tmp_path):
    """What is written is JSON by the book: not-a-number is null."""
    value = {"a": [1, 2.5, float("nan")], "b": {"c": float("inf"), "d": "ä", "e": None}, "t": (1, 2)}
    io.save_json(tmp_path / "j", value)
    got = json.loads((tmp_path / "j").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert got == {"a": [1, 2.5, None], "b": {"c": None, "d": "ä", "e": None}, "t": [1, 2]}


def test_what_a_killed_writer_left(tmp_path):
    """Temporary files of this very target go with its next write, but for a living writer's; all else stays."""
    stays = [".m.0123456789ab.0123456789ab", ".m2.0123456789ab", ".m.0123456789aB", ".m.0123456789a", "m.0123456789ab", ".m",
             "xm.0123456789ab", ".mx0123456789ab"]
    left, lives = [".m.0123456789ab", ".m.ba9876543210"], ".m.00000000000f"
    for name in (*stays, *left, lives):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".m.00000000000a").mkdir()
    (tmp_path / ".m.00000000000b").symlink_to("m2")
    stays += [".m.00000000000a", ".m.00000000000b"]
    with open(tmp_path / lives, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        io.save_json(tmp_path / "m", 1)
        assert sorted(os.listdir(tmp_path)) == sorted([*stays, lives, "m"])
    io.save_json(tmp_path / "m", 2)
    assert sorted(os.listdir(tmp_path)) == sorted([*stays, "m"]) and (tmp_path / "m").read_text() == "2\n"


def test_a_killed_writer_leaves_a_file_that_goes(tmp_path):
    """SIGKILL while the file is synced: what was begun lies there until the next write."""
    code = f"""if True:
        import os, signal
        from lanewise import io
        io.os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
        io.save_json({str(tmp_path / 'm')!r}, 1)
        """
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert [len(name) for name in os.listdir(tmp_path)] == [len(".m.0123456789ab")]
    io.save_json(tmp_path / "m", 1)
    assert os.listdir(tmp_path) == ["m"]


def test_writers_of_one_file(tmp_path):
    """Eight threads write one file at the same time: each succeeds, and nothing is left but one's whole text."""
    def write(i):
        for _ in range(100):
            io.write_whole(tmp_path / "m", b"%d" % i * 1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    text = (tmp_path / "m").read_bytes()
    assert os.listdir(tmp_path) == ["m"] and len(text) == 1000 and len(set(text)) == 1


def test_a_file_taken_for_a_dead_ones(tmp_path, monkeypatch):
    """Removed by another writer between its making and its lock: the next name is taken."""
    lock, names = fcntl.flock, []

    def late(file, how):
        if len(names) < 2:
            names.append(file.name)
            os.unlink(file.name)
        lock(file, how)
    monkeypatch.setattr(io.fcntl, "flock", late)
    io.write_whole(tmp_path / "m", b"whole")
    assert len(set(names)) == 2 and os.listdir(tmp_path) == ["m"] and (tmp_path / "m").read_bytes() == b"whole"


def test_kill(tmp_path):
    """Killed at any moment of saving, a process leaves a file that loads, with the numbers of one save."""
    path = tmp_path / "m"
    code = f"""if True:
        import numpy as np, lanewise as lw
        for i in range(10 ** 9):
            lw.save({{"a": np.full(50_000, i), "b": np.full(7, i)}}, {str(path)!r})
            print(i, flush=True)
        """
    kills = np.random.default_rng(0)
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()                         # the first save is done
        time.sleep(kills.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        state, _ = lw.read(path)
        assert state["a"].shape == (50_000,) and (state["a"] == state["b"][0]).all() and (state["b"] == state["b"][0]).all()
