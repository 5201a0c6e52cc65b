"""A model handed over: made again from a file alone, bit for bit, and to and from PyTorch."""
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from numpy.testing import assert_array_equal
from test_models import torch_resnet

import lanewise as lw
from lanewise import config, models, nn
from lanewise.errors import WeightsError

SUFFIXES = pytest.mark.parametrize("suffix", ["safetensors", "npz"])
LIBRARY = [c for c in CASES if type(c.make()) in config.registry().values()]


def bits(model):
    """{path: the bytes of the numbers}."""
    return {k: v.tobytes() for k, v in model.state_dict().items()}


def same(model, path, *inputs, metadata=None):
    """Saved and loaded: another object, of the same description, numbers and modes of evaluation; the outputs' bits."""
    lw.save(model, path, metadata)
    lw.manual_seed(77)
    found = lw.load(path)
    assert found is not model and type(found) is type(model) and repr(found) == repr(model)
    assert config.describe(found) == config.describe(model) and bits(found) == bits(model)
    assert list(found.state_dict()) == list(model.state_dict())
    assert not any(m.training for m in found.modules())
    model.eval()
    assert_array_equal(found(*inputs).numpy(), model(*inputs).numpy(), strict=True)
    return found


# -- the description ------------------------------------------------------------------------------------------------------

@SUFFIXES
@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.name)
def test_every_layer(case, suffix, tmp_path, rng):
    same(case.make(), tmp_path / f"m.{suffix}", *(rng.standard_normal((5, *s)).astype(np.float32) for s in case.shapes))


OTHERS = [lambda: nn.BatchNorm1d(4, 0.1, None, False), lambda: nn.BatchNorm2d(4, track_running_stats=False), nn.Sequential,
          lambda: nn.Dropout(0.3), lambda: nn.Dropout2d(0.7), lambda: nn.Embedding(7, 3, -2), lambda: nn.PReLU(3, 0.125),
          lambda: nn.GramLoss("sum"), lambda: nn.TotalVariationLoss(2), lambda: nn.ModuleList([nn.ReLU(), nn.ELU(0.5)]),
          lambda: nn.ModuleDict({"a": nn.Tanh()}), lambda: nn.LogSoftmax(-1), lambda: models.LogisticRegression(3),
          lambda: models.BasicBlock(3, 4, 2), lambda: models.FCN(2, 17, 3, (4, 5))]


def test_every_class_keeps_its_arguments(tmp_path):
    """Every class of the table, made with other arguments than the defaults, is made again with the same."""
    made = {type(m): m for m in (c.make() for c in LIBRARY)}
    made.update((type(m), m) for m in (make() for make in OTHERS))
    assert set(made) == set(config.registry().values())
    for model in made.values():
        lw.save(model, tmp_path / "m")
        found = lw.load(tmp_path / "m")
        assert found.config() == model.config() and repr(found) == repr(model) and bits(found) == bits(model)
        assert {k: v for k, v in vars(found).items() if isinstance(v, (int, float, str, tuple)) and k != "training"} == \
            {k: v for k, v in vars(model).items() if isinstance(v, (int, float, str, tuple)) and k != "training"}
    assert lw.nn.PReLU(3, 0.125).config() == {"num_parameters": 3, "init": 0.125}


@SUFFIXES
@pytest.mark.parametrize("name", models.MODELS)
def test_every_model(name, suffix, tmp_path, rng):
    """With running statistics that training has moved; metadata beside it."""
    model = models.MODELS[name](1, 16, 2)
    x = rng.standard_normal((9, 1, 16, 16)).astype(np.float32)
    nn.CrossEntropyLoss()(model(x), np.arange(9) % 2).backward()
    about = {"classes": ["ä", "b"], "mean": np.float32(0.5), "std": np.array([1.0, 2.0]), "shape": (1, 16, 16)}
    same(model, tmp_path / f"m.{suffix}", x, metadata=about)
    assert lw.read(tmp_path / f"m.{suffix}")[1] == {**about, "std": [1.0, 2.0], "shape": [1, 16, 16]}


def test_shared_and_tied(tmp_path, rng):
    """A module that comes twice is one again, a parameter that two modules hold too; and trains as one."""
    block = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    model = nn.Sequential(block, nn.ReLU(), nn.Sequential(block, nn.Linear(6, 6)), block[0])
    model[2][1].weight = block[0].weight
    found = same(model, tmp_path / "m", rng.standard_normal((3, 6)).astype(np.float32))
    assert found[0] is found[2][0] and found[3] is found[0][0] and found[2][1].weight is found[0][0].weight
    assert found[2][1].bias is not found[0][0].bias and len(list(found.parameters())) == len(list(model.parameters())) == 3


def test_changed_after_it_was_made(tmp_path, rng):
    """Attributes, modules and parameters as they are when it is saved, not as they were given."""
    model = models.resnet8(1, 8, 3)
    model[4].relu, model[4].shortcut = nn.GELU(), nn.Sequential(model[4].shortcut, nn.Dropout(0.1))
    model[1].momentum, model[1].eps = 0.25, 0.01
    model[4].shortcut[1].p = 0.4
    model.append(nn.Linear(3, 2, bias=False)).append(nn.Linear(2, 2))
    setattr(model, str(len(model) - 1), nn.Linear(2, 4))
    model[-1].bias = None
    found = same(model, tmp_path / "m", rng.standard_normal((3, 1, 8, 8)).astype(np.float32))
    assert (found[1].momentum, found[1].eps, found[4].shortcut[1].p, found[-1].bias) == (0.25, 0.01, 0.4, None)


@SUFFIXES
def test_float64_and_names(suffix, tmp_path, rng):
    """The number type, and names that a file format might keep for itself."""
    from collections import OrderedDict
    model = nn.Sequential(OrderedDict(file=nn.Linear(3, 4), allow_pickle=nn.BatchNorm1d(4), arr_0=nn.Linear(4, 2))).double()
    found = same(model, tmp_path / f"m.{suffix}", rng.standard_normal((3, 3)))
    assert {a.dtype.name for a in found.state_dict().values()} == {"float64", "int64"}


def test_a_given_model(tmp_path):
    """Weights go into it, whatever it is, in the mode it is in; the model comes back."""
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(3, 2)

        def forward(self, x):
            return self.line(x)
    model, other = Mine(), Mine()
    for where, save in ((" at '1'", nn.Sequential(nn.ReLU(), model)), ("", model)):
        lw.save(save, tmp_path / "m")
        with pytest.raises(WeightsError, match=rf"of the library's classes, got [\w.]+test_a_given_model.<locals>.Mine{where}: "
                                               r"make one and load its weights with lw.load\(path, model=mine\)"):
            lw.load(tmp_path / "m")
    assert lw.load(tmp_path / "m", model=other) is other and bits(other) == bits(model) and other.training
    lw.save(model.state_dict(), tmp_path / "arrays")                    # a file without a description
    other = Mine()
    assert bits(lw.load(tmp_path / "arrays", other)) == bits(model)
    with pytest.raises(WeightsError, match=r"got weights without its description: lw.load\(path, model=mine\)"):
        lw.load(tmp_path / "arrays")
    lw.save_checkpoint(tmp_path / "run", model)
    with pytest.raises(WeightsError, match=r"expected a model, got a checkpoint: lw.load_checkpoint\(path, model\)"):
        lw.load(tmp_path / "run")


def test_own_operations_are_named(tmp_path):
    pytest.importorskip("numba")
    lw.save(nn.Sequential(lw.elementwise(lambda x: x + 1, derivative=lambda x: 1.0)), tmp_path / "m")
    with pytest.raises(WeightsError, match="got .*test_handover.*<lambda> at '0': make one"):
        lw.load(tmp_path / "m")


def change(about, *path, to):
    """A description with one thing in it changed."""
    about = json.loads(json.dumps(about))
    inner = about
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return about


LINE = {"class": "nn.Linear", "arguments": {"in_features": 3, "out_features": 2, "bias": True}, "modules": {}}
RELU = {"class": "nn.ReLU", "arguments": {}, "modules": {}}


@pytest.mark.parametrize("words, path, to", [
    ("expected a model's description of format 1, got 2: it was written by another version", ["format"], 2),
    ("expected a model of the library's classes, got 'os.system'", ["model", "modules", "0", "class"], "os.system"),
    ("expected a model of the library's classes, got 'nn.Module'", ["model", "class"], "nn.Module"),
    ("expected a model of the library's classes, got 'nn.functional'", ["model", "modules", "0", "class"], "nn.functional"),
    (r"got a damaged one \(TypeError", ["model", "modules", "0", "class"], ["nn.Linear"]),
    (r"got a damaged one \(TypeError", ["model", "modules", "0", "arguments"], {"in_features": 3}),
    (r"got a damaged one \(ValueError: in_features: expected", ["model", "modules", "0", "arguments", "in_features"], -1),
    (r"got a damaged one \(ValueError: nn.Linear got", ["model", "modules", "0", "arguments", "rng"], 3),
    (r"got a damaged one \((MemoryError|ValueError)", ["model", "modules", "0", "arguments", "in_features"], 2 ** 60),
    ("got a damaged one", ["model", "modules"], []), ("got a damaged one", ["model"], None), ("got a damaged one", ["tied"], 3),
    *((f"got a damaged one \\(ValueError: '{name}' cannot be a module's name", ["model", "modules", name], RELU)
      for name in ("forward", "_modules", "training", "a.b", "__class__")),
    ("'bias' cannot be a module's name", ["model", "modules", "0", "modules", "bias"], RELU),
    ("got a damaged one", ["model", "modules", "0"], {"shared": "1"}),
    ("got a damaged one .*'0.bias' and '0.weight' differ", ["tied"], {"0.bias": "0.weight"}),
    ("got a damaged one", ["tied"], {"0.bias": "0.forward"}), ("got a damaged one", ["tied"], {"0.forward": "0.bias"})])
def test_descriptions_of_others(words, path, to, tmp_path):
    """Nothing outside the table is looked up; what is wrong is one sentence with the file's name."""
    model = nn.Sequential(nn.Linear(3, 2))
    about = config.describe(model)
    assert about == {"format": 1, "tied": {}, "model": {"class": "nn.Sequential", "arguments": {}, "modules": {"0": LINE}}}
    from safetensors.numpy import save
    (tmp_path / "m").write_bytes(save(model.state_dict(), {"lanewise.model": json.dumps(change(about, *path, to=to))}))
    with pytest.raises(WeightsError, match=words) as info:
        lw.load(tmp_path / "m")
    assert str(info.value).startswith(f"{tmp_path / 'm'}: ") and "\n" not in str(info.value)


def test_weights_of_another_description(tmp_path):
    """A description and weights that do not fit."""
    from safetensors.numpy import save
    about = json.dumps(config.describe(nn.Linear(3, 2)))
    (tmp_path / "m").write_bytes(save(nn.Linear(4, 2).state_dict(), {"lanewise.model": about}))
    with pytest.raises(WeightsError, match=r"'weight' expected shape \(2, 3\), got \(2, 4\)"):
        lw.load(tmp_path / "m")
    (tmp_path / "m").write_bytes(save(nn.Linear(3, 2).state_dict(), {"lanewise.model": "[" * 100_000}))
    with pytest.raises(WeightsError, match="expected a safetensors file, got a truncated one or another format"):
        lw.load(tmp_path / "m")
    with pytest.raises(TypeError, match="expected metadata that JSON can hold, got object"):
        lw.save(nn.Linear(3, 2), tmp_path / "m", {"a": object()})


# -- .npz -----------------------------------------------------------------------------------------------------------------

def test_npz(tmp_path, rng):
    """NumPy reads it, and it reads NumPy's; checkpoints too; nothing is pickled."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    lw.save(model, tmp_path / "m.NPZ", {"a": 1})
    with np.load(tmp_path / "m.NPZ", allow_pickle=False) as found:
        assert set(found.files) == {*model.state_dict(), "__metadata__"}
        for k, a in model.state_dict().items():
            assert_array_equal(found[k], a, strict=True)
    a = rng.standard_normal((4, 6))
    np.savez_compressed(tmp_path / "theirs.npz", t=a.T, n=np.arange(3))
    state, metadata = lw.read(tmp_path / "theirs.npz")
    assert metadata == {} and list(state) == ["t", "n"]
    assert_array_equal(state["t"], a.T, strict=True)
    opt = lw.optim.Adam(model.parameters())
    nn.MSELoss()(model(np.ones((3, 3), np.float32)), np.ones((3, 4), np.float32)).backward()
    opt.step()
    lw.save_checkpoint(tmp_path / "run.npz", model, opt, metadata={"epoch": 2})
    before, other = bits(model), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert lw.load_checkpoint(tmp_path / "run.npz", other, lw.optim.Adam(other.parameters())) == {"epoch": 2}
    assert bits(other) == before
    with pytest.raises(ValueError, match="[Oo]bject"):
        lw.save({"a": np.array([object()])}, tmp_path / "o.npz")
    assert not (tmp_path / "o.npz").exists()


def test_not_an_npz(tmp_path):
    """Missing, truncated anywhere, damaged, pickled, one array alone: one sentence, and the model is as it was."""
    model = nn.Linear(5, 4)
    lw.save(model, tmp_path / "good.npz")
    raw, before, path = (tmp_path / "good.npz").read_bytes(), bits(model), tmp_path / "bad.npz"
    with pytest.raises(WeightsError, match="bad.npz: cannot be read .*no such file"):
        lw.load(path, model)
    damaged = bytearray(raw)
    damaged[raw.index(model.weight.data.tobytes()) + 3] ^= 1
    cases = [raw[:n] for n in (0, 1, 4, 50, len(raw) // 2, len(raw) - 1)] + [bytes(damaged), b"text", b"\x93NUMPY"]
    for content in cases:
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="bad.npz: expected a .npz file, got a truncated one or another format") as info:
            lw.load(path, model)
        assert "\n" not in str(info.value)
    for save in (lambda file: np.save(file, np.arange(3)), lambda file: np.savez(file, a=np.array([object()], object)),
                 lambda file: np.savez(file, __metadata__=np.array("[1]")),
                 lambda file: np.savez(file, __metadata__=np.array('{"lanewise": 1}'))):
        with open(path, "wb") as file:
            save(file)
        with pytest.raises(WeightsError, match="bad.npz: expected a .npz file, got a truncated one or another format"):
            lw.load(path, model)
    with pytest.raises(WeightsError, match="expected a .npz file, got a directory or device"):
        (tmp_path / "d.npz").mkdir()
        lw.load(tmp_path / "d.npz")
    assert bits(model) == before


# -- PyTorch --------------------------------------------------------------------------------------------------------------

def lenet(lib):
    """LeNet-5 in either library."""
    return lib.Sequential(lib.Conv2d(1, 6, 5), lib.ReLU(), lib.MaxPool2d(2), lib.Conv2d(6, 16, 5), lib.ReLU(),
                          lib.MaxPool2d(2), lib.Flatten(), lib.Linear(256, 120), lib.ReLU(), lib.Linear(120, 84), lib.ReLU(),
                          lib.Linear(84, 10))


def resnet20(lib):
    """models.resnet20 in either library."""
    return torch_resnet(lib, 20, 3, 10)


def words(lib):
    """Indices, and normalisation over features."""
    return lib.Sequential(lib.Embedding(9, 6), lib.LayerNorm(6), lib.Flatten(), lib.Linear(24, 36), lib.BatchNorm1d(36),
                          lib.PReLU())


def transposed(lib):
    """A transposed convolution, normalisation of batches and of groups."""
    return lib.Sequential(lib.ConvTranspose2d(2, 4, 3, 2), lib.BatchNorm2d(4), lib.GroupNorm(2, 4), lib.PReLU(4), lib.Flatten(),
                          lib.Linear(4 * 81, 3, bias=False))


@pytest.mark.parametrize("make, shape", [(lenet, (1, 28, 28)), (resnet20, (3, 32, 32)), (words, (4,)), (transposed, (2, 4, 4))])
def test_state_dicts_both_ways(make, shape, rng):
    """PyTorch's state_dict() as it is, and ours by torch.from_numpy: keys, order, shapes, and the same results."""
    torch = pytest.importorskip("torch")
    ours, theirs = models.resnet20() if make is resnet20 else make(nn), make(torch.nn)
    x = rng.integers(0, 9, (5, *shape)) if make is words else rng.standard_normal((5, *shape)).astype(np.float32)
    with torch.no_grad():
        for _ in range(3):
            theirs(torch.from_numpy(x))                                 # the running statistics move
    assert list(theirs.state_dict()) == list(ours.state_dict())

    def compare():
        with torch.no_grad():
            expected = theirs.eval()(torch.from_numpy(x)).numpy()
        got = ours.eval()(x).numpy()
        assert got.shape == expected.shape and np.abs(got - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
        assert bits(ours) == {k: v.numpy().tobytes() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    compare()
    for p in ours.parameters():
        p.data = p.data + np.float32(0.01)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    compare()


def test_tensors(rng):
    """With a gradient, of bfloat16, strided; and what is no array is refused before anything changes."""
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(dict(theirs.named_parameters()))               # Parameters, which require a gradient
    assert_array_equal(ours.weight.data, theirs.weight.detach().numpy())
    half = torch.tensor([[0.5, -2.0], [1.25, 3.0], [0.0, 8.0]], dtype=torch.bfloat16)
    ours.load_state_dict({"weight": half.T, "bias": torch.ones(2, dtype=torch.float64)})
    assert_array_equal(ours.weight.data, half.T.float().numpy())
    before = bits(ours)
    for value, words in ((object(), "expected an array of numbers, got object"), ("x", "expected an array of numbers, got str"),
                         ([[1.0], [1.0, 2.0]], "expected an array, got list"),
                         (torch.eye(2).to_sparse(), "expected an array, got Tensor")):
        with pytest.raises(WeightsError, match=f"the weights do not belong to this model: 'bias' {words}") as info:
            ours.load_state_dict({"weight": half.T * 2, "bias": value})
        assert "\n" not in str(info.value) and bits(ours) == before


def test_pickles_are_refused(tmp_path):
    """PyTorch's own files are pickles: one sentence says how to convert one; it holds, and no code of the file's runs."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(theirs.state_dict(), tmp_path / "m.pt")
    torch.save({"a": Bomb()}, tmp_path / "bomb.pth")
    torch.save(theirs.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(theirs.state_dict(), tmp_path / "m.npz")
    for name in "m.pt", "bomb.pth", "old.pth", "m.npz":
        with pytest.raises(WeightsError, match=f"{name}: expected a (safetensors|.npz) file, got PyTorch's pickle, which can "
                                               r"run code: safetensors.torch.save_file\(torch.load\(path, weights_only=True\)"):
            lw.load(tmp_path / name, ours)
    assert not (tmp_path / "ran").exists()
    save_file(torch.load(tmp_path / "m.pt", weights_only=True), tmp_path / "x.safetensors")
    assert bits(lw.load(tmp_path / "x.safetensors", ours)) == {k: v.numpy().tobytes() for k, v in theirs.state_dict().items()}
    lw.save(ours, tmp_path / "ours.pt")                                 # the content decides, not the name
    assert bits(lw.load(tmp_path / "ours.pt")) == bits(ours)
    (tmp_path / "cut").write_bytes(b"\x80\x0b\0\0\0\0\0\0{")               # how a safetensors file may begin
    with pytest.raises(WeightsError, match="cut: expected a safetensors file, got a truncated one or another format"):
        lw.load(tmp_path / "cut")
    with pytest.raises(TypeError, match="save expected a Module or a dict of arrays, got list"):
        lw.save([ours], tmp_path / "list")
    with zipfile.ZipFile(tmp_path / "plain", "w") as archive:
        archive.writestr("a.txt", "no pickle")
    with pytest.raises(WeightsError, match="got a truncated one or another format"):
        lw.load(tmp_path / "plain")
