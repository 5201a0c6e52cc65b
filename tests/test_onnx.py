"""ONNX files: every operation and every model, run by onnxruntime, against the model itself."""
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from numpy.testing import assert_allclose

import lanewise as lw
from lanewise import models, nn
from lanewise.nn import functional as F
from lanewise.nodes.base import Op

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
FIRST, LATEST = 17, 21                  # opsets that every release of both packages knows
runtime.set_default_logger_severity(3)


def run(path, *inputs):
    """The results of a file, by onnxruntime."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: x for i, x in zip(session.get_inputs(), inputs)})


def holds(path, model, *inputs):
    """The file's results are the model's, in evaluation, for 1 sample and for all."""
    model.eval()
    for n in (1, len(inputs[0])):
        part = [x[:n] for x in inputs]
        want = model(*part).numpy()
        got, = run(path, *part)
        assert got.shape == want.shape and got.dtype == want.dtype
        assert_allclose(got, want, rtol=0, atol=1e-4 * max(1, np.abs(want).max()))


def randomise(model, rng):
    """Parameters and running statistics that show when they are left out or mixed up."""
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape) / np.sqrt(max(1, p.data.size // p.shape[0]))
    for b in model.buffers():
        if b.shape:
            b.data = rng.uniform(0.5, 1.5, b.shape)
    return model


@pytest.mark.parametrize("opset", [FIRST, LATEST])
@pytest.mark.parametrize("case", [c for c in CASES if not c.name.startswith("own ")], ids=lambda c: c.name)
def test_every_operation(case, opset, tmp_path, rng):
    model = randomise(case.make(), rng)
    lw.onnx.export(model, tmp_path / "m.onnx", list(case.shapes), opset=opset)
    holds(tmp_path / "m.onnx", model, *(rng.standard_normal((5, *s)).astype(np.float32) for s in case.shapes))


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model(name, tmp_path, rng):
    """The file's constants include the state_dict, under its names."""
    model = models.MODELS[name]()
    defaults = inspect.signature(models.MODELS[name]).parameters
    channels, size = defaults["channels"].default, defaults["size"].default
    shape = (channels, size, size)
    for b in model.buffers():
        if b.shape:
            b.data = rng.uniform(0.5, 1.5, b.shape)
    lw.onnx.export(model, tmp_path / "m.onnx", shape)
    holds(tmp_path / "m.onnx", model, rng.standard_normal((5, *shape)).astype(np.float32))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    for path, array in model.state_dict().items():
        if not path.endswith("num_batches_tracked"):
            assert tensors[path].tobytes() == array.tobytes() and tensors[path].shape == array.shape


def concrete(kind):
    """Every class below an Op."""
    for c in kind.__subclasses__():
        yield c
        yield from concrete(c)


def test_every_operation_is_in_the_table():
    """A node kind has an emitter, or a sentence why not; each function of expressions.py has one too."""
    from lanewise import nodes
    for module in pkgutil.iter_modules(nodes.__path__):
        importlib.import_module(f"lanewise.nodes.{module.name}")
    from lanewise.onnx.arithmetic import UNARY
    from lanewise.onnx.builder import EMITTERS
    bases = {"Pool2d", "Window", "_SampleNorm", "Binary"}
    never_traced = {"ConvMaxPool"}                      # the plan's
    missing = {c.__name__ for c in concrete(Op) if c.__module__.startswith("lanewise.nodes.")
               and c not in EMITTERS and c not in lw.onnx.CANNOT}
    assert missing == bases | never_traced
    path = Path(__file__).parent.parent / "kernels" / "expressions.py"
    spec = importlib.util.spec_from_file_location("expressions", path)
    expressions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(expressions)
    names = {n for n, (_, operands) in {**expressions.ACTIVATIONS, **expressions.ARITHMETIC}.items()
             if operands == 1 and not n.endswith("_backward")}
    assert len(names) > 10 and names == set(UNARY)


@pytest.mark.parametrize("make, shape", [
    (lambda: nn.BatchNorm2d(3), (3, 4, 5)), (lambda: nn.BatchNorm2d(3, eps=0.1, affine=False), (3, 4, 5)),
    (lambda: nn.BatchNorm1d(4), (4,)), (lambda: nn.BatchNorm1d(4), (4, 6)),
    (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), (3, 4, 5)), (lambda: nn.Dropout(0.5), (7,)),
    (lambda: nn.Sequential(nn.Dropout2d(0.5), nn.ReLU()), (3, 4, 4)), (lambda: nn.Identity(), (3, 2))])
def test_what_evaluates_otherwise(make, shape, tmp_path, rng):
    """Evaluation is exported whatever the mode, and every module's own mode stays."""
    model = randomise(make(), rng)
    model.train()
    lw.onnx.export(model, tmp_path / "m.onnx", shape)
    assert all(m.training for m in model.modules())
    holds(tmp_path / "m.onnx", model, rng.standard_normal((5, *shape)).astype(np.float32))


@pytest.mark.parametrize("opset", [FIRST, LATEST])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind, shape", [(nn.BatchNorm2d, (3, 4, 5)), (nn.BatchNorm1d, (3,)), (nn.BatchNorm1d, (3, 6))])
def test_statistics_of_the_batch(kind, shape, affine, opset, tmp_path, rng):
    """Without running statistics those of the batch count in evaluation too."""
    model = randomise(kind(3, affine=affine, track_running_stats=False), rng).eval()
    lw.onnx.export(model, tmp_path / "m.onnx", shape, opset=opset)
    x = rng.standard_normal((5, *shape)).astype(np.float32)
    assert_allclose(run(tmp_path / "m.onnx", x)[0], model(x).numpy(), rtol=0, atol=1e-4)


def test_embedding(tmp_path, rng):
    model = nn.Sequential(nn.Embedding(9, 4, padding_idx=2), nn.LayerNorm(4), nn.Flatten(), nn.Linear(12, 2))
    x = rng.integers(0, 9, (5, 3))
    lw.onnx.export(model, tmp_path / "m.onnx", x)
    holds(tmp_path / "m.onnx", model, x)


@pytest.mark.parametrize("how", ["normalise", "batch", "plain"])
def test_uint8_images(how, tmp_path, rng):
    """The file takes images as they are, and scales them as a Dataset does, or as a call with uint8 does."""
    images = rng.integers(0, 256, (5, 3, 8, 8), np.uint8)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    data = lw.data.Dataset(images, np.zeros(5, int), (0.1, 0.5, 0.7), (0.2, 1.0, 3.0))
    batch = data.batch()[0]
    path, x = tmp_path / "m.onnx", images if how == "plain" else batch
    if how == "normalise":
        lw.onnx.export(model, path, (3, 8, 8), normalise=(data.mean, data.std))
    else:
        lw.onnx.export(model, path, x)
    assert_allclose(run(path, images)[0], model(x).numpy(), rtol=0, atol=1e-5)
    vector = nn.Linear(4, 2)
    lw.onnx.export(vector, path, (4,), normalise=(0.5, 2.0))
    rows = rng.integers(0, 256, (5, 4), np.uint8)
    assert_allclose(run(path, rows)[0], vector((rows / 255 - 0.5).astype(np.float32) / 2).numpy(), rtol=0, atol=1e-5)


def function(forward, *sizes):
    """A module whose forward is a function of values and parameters of these sizes."""
    class Function(nn.Module):
        def __init__(self):
            super().__init__()
            for i, size in enumerate(sizes):
                setattr(self, f"p{i}", nn.Parameter(np.arange(1, 1 + np.prod(size), dtype=np.float32).reshape(size)))

        def forward(self, *x):
            return forward(*x, *(getattr(self, f"p{i}") for i in range(len(sizes))))
    return Function()


@pytest.mark.parametrize("model, shapes", [
    (function(lambda a, b: (a * 2, lw.concat([a, b], 1), a * 2 + b)), [(3, 2)] * 2),
    (function(lambda a: [a, a.relu(), a]), [(4,)]), (function(lambda a: {"one": a + 1, "two": a}), [(4,)]),
    (function(lambda a, p: a * p, (4, 5)), [(5,)]), (function(lambda a, p: a - p, (5,)), [(2, 3, 5)]),
    (function(lambda a, p: lw.concat([a, p * 2, a]), (2, 3, 4)), [(1, 3, 4)]),
    (function(lambda a, p: lw.stack([a, p]), (6,)), [(6,)]),
    (function(lambda a, p: F.conv2d(a, p, padding="same") + (p * 2).sum((0, 1, 2)), (2, 1, 2, 5)), [(1, 3, 5)]),
    (function(lambda a, p: a + F.max_pool2d(p, 2), (3, 4, 4)), [(3, 2, 2)]),
    (function(lambda a, p: p.sum(1) * a, (4, 3)), [(4,)]), (function(lambda a: a.mean(()) * 2), [(3,)]),
    (function(lambda a, p: F.group_norm(a, 2, p), (4,)), [(4, 3)]),
    (function(lambda a, p: F.group_norm(a, 2, None, p), (4,)), [(4, 3)]),
    (function(lambda a, p: F.layer_norm(a, 3, None, p), (3,)), [(2, 3)])])
def test_graphs(model, shapes, tmp_path, rng):
    """Several inputs and results, parameters alone, ranks that broadcast, one result twice, an input as a result."""
    inputs = [rng.standard_normal((5, *s)).astype(np.float32) for s in shapes]
    lw.onnx.export(model, tmp_path / "m.onnx", shapes)
    out = model(*inputs)
    names = [o.name for o in onnx.load(tmp_path / "m.onnx").graph.output]
    every = list(out.values()) if isinstance(out, dict) else out if isinstance(out, (tuple, list)) else [out]
    assert names == (list(out) if isinstance(out, dict) else ["output"] if every is not out and len(every) == 1 else
                     [f"output_{i}" for i in range(len(every))])
    for got, want in zip(run(tmp_path / "m.onnx", *inputs), every):
        assert got.shape == want.shape
        assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-5)


def test_names_and_sizes(tmp_path):
    """Nodes bear their module's path, a shared module's weights one name; any batch, or a fixed one."""
    shared = nn.Linear(6, 6, bias=False)
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Flatten(), nn.Linear(8, 6), shared, nn.GELU(),
                          shared)
    for batch in None, 3:
        lw.onnx.export(model, tmp_path / "m.onnx", (1, 4, 4), batch=batch)
        found = onnx.load(tmp_path / "m.onnx")
        names = [n.name for n in found.graph.node]
        assert names[:5] == ["0.0/Conv", "0.1/Relu", "1/Reshape", "2/Gemm", "3/Gemm"] and names[-1] == "3/Gemm_1"
        assert all(n.startswith("4/") for n in names[5:-1]) and len(set(names)) == len(names)
        dims = [v.type.tensor_type.shape.dim[0] for v in (*found.graph.input, *found.graph.output)]
        assert [(d.dim_param, d.dim_value) for d in dims] == ([("N", 0)] * 2 if batch is None else [("", 3)] * 2)
        weights = {t.name for t in found.graph.initializer if not t.name.startswith("constant")}
        assert weights == {"0.0.weight", "0.0.bias", "2.weight", "2.bias", "3.weight"}
        assert found.producer_name == "lanewise" and [o.version for o in found.opset_import] == [FIRST]
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_every_opset(tmp_path):
    """From the first to the last that the package knows, a file passes the checker."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(3), nn.GroupNorm(2, 4),
                          nn.Flatten(), nn.LayerNorm(36), nn.Maxout(36, 3), nn.Softmax())
    for opset in range(FIRST, onnx.defs.onnx_opset_version() + 1):
        lw.onnx.export(model, tmp_path / "m.onnx", (1, 8, 8), opset=opset)
        assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset


def test_float64(tmp_path, rng):
    """The number type is the model's; onnx's own evaluator, for runtimes have few kernels of it."""
    from onnx.reference import ReferenceEvaluator
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Softmax()).double()
    x = rng.standard_normal((5, 5))
    lw.onnx.export(model, tmp_path / "m.onnx", (5,))
    got, = ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"input": x})
    assert got.dtype == np.float64
    assert_allclose(got, model(x).numpy(), rtol=1e-12)


def test_mistakes(tmp_path, monkeypatch):
    """One sentence each, and no file."""
    pytest.importorskip("numba")
    path, line = tmp_path / "m.onnx", nn.Linear(3, 2)

    @lw.elementwise(derivative=lambda x: 2 * x)
    def twice(x):
        return x * x
    for model, example, kw, error, words in [
            (nn.Sequential(line, twice), (3,), {}, ValueError, "got one at '1': the operation 'twice' is your own"),
            (function(lambda a: F.dropout(a, 0.5)), (3,), {}, ValueError, "dropout that stays on in evaluation is random"),
            ("m.safetensors", (3,), {}, TypeError, "onnx.export: expected a Module, got str"),
            (line, (3,), {"opset": 16}, ValueError, "expected an opset from 17 to [0-9]+, got 16"),
            (line, (3,), {"opset": 1000}, ValueError, "expected an opset from 17"),
            (line, (3,), {"opset": "17"}, ValueError, "expected an opset from 17 to [0-9]+, got '17'"),
            (line, (3,), {"batch": 0}, ValueError, "expected batch to be None or 1 or more samples, got 0"),
            (line, "3", {}, ValueError, "expected an input's shape without the batch or an array"),
            (line, (0,), {}, ValueError, "expected an input's shape without the batch or an array"),
            (line, (4,), {}, lw.ShapeError, r"\[Linear\] expected input with 3 features, got 4"),
            (line, (3,), {"normalise": 3}, ValueError, r"expected normalise to be \(mean, std\), got 3"),
            (line, (3,), {"normalise": (0, 0)}, ValueError, "expected std above 0"),
            (function(lambda a, b: a + b), [(3,)] * 2, {"normalise": (0, 1)}, ValueError, "one input to normalise, got 2"),
            (function(lambda a: a.sum()), (3,), {}, TypeError, "expected a model that gives a Value, .* got Loss"),
            (function(lambda a: ([a], a)), (3,), {}, TypeError, "expected a model that gives a Value"),
            (function(lambda a, p: p * 2, (3,)), (3,), {}, ValueError, "results that depend on an input, got 'output'"),
            (function(lambda a: a + np.ones((1, 3), np.float32)), (3,), {}, ValueError, "one that reads another array"),
            (function(lambda a: {"input": a * 2}), (3,), {}, ValueError, "inputs, results and parameters of different names")]:
        with pytest.raises(error, match=words) as info:
            lw.onnx.export(model, path, example, **kw)
        assert "\n" not in str(info.value)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"the package onnx is not installed: install lanewise\[onnx\]"):
        lw.onnx.export(line, path, (3,))
    assert not list(tmp_path.iterdir())
