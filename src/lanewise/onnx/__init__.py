"""Networks as ONNX files, for other programs to run: export()."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..data.dataset import Batch, Dataset
from ..graph import Input, Value, as_value, between, run_dtype, topological
from ..io import write_whole
from ..nn import module as modules
from ..nodes.dropout import Dropout
from ..nodes.own import Own
from ..train import _evaluating
from . import arithmetic, layers  # noqa: F401  they fill EMITTERS
from .builder import EMITTERS, Builder

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, File
    from ..graph import Node
    from ..nn.module import Module

__all__ = ["export"]

FIRST_OPSET = 17            # LayerNormalization; what is written means the same in every later one
# what has no ONNX form, and why
CANNOT = {Own: lambda op: f"the operation '{op.spec.__name__}' is your own",
          Dropout: lambda op: "dropout that stays on in evaluation is random"}


def export(model: Module, path: File, example: Any, *, opset: int = FIRST_OPSET, batch: int | None = None,
           normalise: tuple[ArrayLike, ArrayLike] | None = None) -> None:
    """Write a model's evaluation as an ONNX file; any forward() works, from the graph that one call of it leaves.

    `example`: the shape of the input without the batch, (C, H, W), or a list of such for several inputs; or an array (N, ...)
    or Batch, or a list of these: integers for an Embedding, uint8 images that the file scales as a call does here.
    `normalise`: (mean, std) of a Dataset: the input is then uint8 images, and (x / 255 - mean) / std per channel is in the
    file. `batch`: samples of a call; None: any number. `opset`: from 17 on.

    Inputs are "input" or "input_0", ...; outputs "output" or "output_0", ..., or a dict's keys; weights have state_dict()'s
    names, nodes their module's path. The number type is the model's. The file is checked, and written whole or not at all.

    ImportError without the package onnx; ValueError for an opset it does not know, and for an operation without an ONNX form:
    your own (`lw.elementwise`), and dropout in evaluation; TypeError for results that are no Values."""
    try:
        import onnx
    except ImportError:
        raise ImportError("onnx.export: the package onnx is not installed: install lanewise[onnx]") from None
    if not isinstance(model, modules.Module):
        raise TypeError(f"onnx.export: expected a Module, got {type(model).__name__}")
    latest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, (int, np.integer)) or not FIRST_OPSET <= opset <= latest:
        raise ValueError(f"onnx.export: expected an opset from {FIRST_OPSET} to {latest}, got {opset!r}")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1):
        raise ValueError(f"onnx.export: expected batch to be None or 1 or more samples, got {batch!r}")
    inputs = [as_value(x) for x in _examples(model, example, normalise)]
    with _evaluating(model):
        results, scopes = _trace(model, inputs)
    ends = [v.node for v in results.values()]
    order = topological(ends)
    paths = {id(p): path for path, p in reversed(model._named_state())}         # of a shared one the first
    names = _numbered("input", len(inputs))
    taken = {*names, *results} & set(paths.values())
    if taken or len({*names, *results}) < len(names) + len(results):
        raise ValueError(f"onnx.export: expected inputs, results and parameters of different names, got "
                         f"{sorted(taken or results)}")
    g = Builder(int(opset), run_dtype(ends, {}), paths, {*names, *results})
    fed = {v.node: name for v, name in zip(inputs, names)}
    values = {node: _input(g, node, name) for node, name in fed.items()}
    for node in order:
        if isinstance(node.op, Input):
            if node not in values:
                raise ValueError("onnx.export: expected a forward() of its inputs and parameters, got one that reads another "
                                 "array")
            continue
        if all(i in g.alone for i in node.inputs):
            g.alone.add(node)
        g.scope = scopes.get(node, "")
        values[node] = _emit(g, node, [values[i] for i in node.inputs])
    seen = set(names)
    for name, node in zip(results, ends):
        if node in g.alone:
            raise ValueError(f"onnx.export: expected results that depend on an input, got '{name}', which does not")
        value = values[node]
        if value in seen:                                                       # an input itself, or one result twice
            g.scope, value = "", g.add("Identity", value)
        g.rename(value, name)
        values = {n: name if v == value else v for n, v in values.items()}
        seen.add(name)
    write_whole(path, _model(g, inputs, results, fed, batch, opset).SerializeToString())


def _numbered(name: str, count: Any) -> Any:
    return [name] if count == 1 else [f"{name}_{i}" for i in range(count)]


def _is_shape(x: Any) -> Any:
    return isinstance(x, (tuple, list)) and bool(x) and all(isinstance(d, (int, np.integer)) for d in x)


def _examples(model: Module, example: Any, normalise: Any) -> Any:
    """What to call the model with: an array or Batch for each input."""
    several = isinstance(example, (tuple, list)) and not _is_shape(example)
    every = list(example) if several else [example]
    number = next((p.data.dtype for p in model.parameters()), np.dtype(np.float32))
    for x in every:
        if not _is_shape(x) and not isinstance(x, (np.ndarray, Batch)) or _is_shape(x) and min(x) < 1:
            raise ValueError(f"onnx.export: expected an input's shape without the batch or an array (N, ...), got {x!r}")
    if normalise is None:
        return [np.zeros((1, *x), number) if _is_shape(x) else x for x in every]
    if len(every) != 1:
        raise ValueError(f"onnx.export: expected one input to normalise, got {len(every)}")
    if not isinstance(normalise, (tuple, list)) or len(normalise) != 2:
        raise ValueError(f"onnx.export: expected normalise to be (mean, std), got {normalise!r}")
    shape = every[0] if _is_shape(every[0]) else every[0].shape[1:]
    return [Dataset(np.zeros((1, *shape), np.uint8), [0], *normalise).batch()[0]]


def _trace(model: Module, inputs: Any) -> Any:
    """({name: Value} of the results, {node: path of the innermost module that made it})."""
    scopes: dict[Node, str] = {}
    paths = {id(m): path for path, m in model.named_modules()}

    def watch(module: Module, values: Any, out: Any) -> None:
        ends = [v.node for v in _results(out).values() if isinstance(v, Value)]
        for node in between({v.node for v in values}, ends):
            scopes.setdefault(node, paths.get(id(module), ""))
    modules._watchers.append(watch)
    try:
        out = model(*inputs)
    finally:
        modules._watchers.remove(watch)
    results = _results(out)
    if not results or not all(isinstance(v, Value) for v in results.values()):
        raise TypeError(f"onnx.export: expected a model that gives a Value, or several in a tuple, list or dict, got "
                        f"{type(out).__name__}")
    return results, scopes


def _results(out: Any) -> Any:
    if isinstance(out, dict):
        return {str(k): v for k, v in out.items()}
    every = list(out) if isinstance(out, (tuple, list)) else [out]
    return dict(zip(_numbered("output", len(every)), every))


def _input(g: Any, node: Node, name: str) -> Any:
    """The value of an input: uint8 is scaled, as on its way into lanes."""
    if node.op.kind != "uint8":
        return name
    from onnx import helper
    scale, shift = np.split(np.asarray(node.op.scale, g.dtype), 2)
    shape = (-1, 1, 1) if len(node.shape) == 3 else ()
    x = g.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(g.dtype))
    return g.add("Add", g.add("Mul", x, g.numbers(scale.reshape(shape))), g.numbers(shift.reshape(shape)))


def _emit(g: Any, node: Node, inputs: Any) -> Any:
    emit = EMITTERS.get(type(node.op))
    if emit is None:
        why = CANNOT.get(type(node.op), lambda op: f"{type(op).__name__} is not in the table of what can be written")(node.op)
        raise ValueError(f"onnx.export: expected operations that ONNX has, got one at '{g.scope}': {why}")
    return emit(g, node, *inputs)


def _model(g: Any, inputs: Any, results: Any, fed: Any, batch: int | None, opset: Any) -> Any:
    import onnx
    from onnx import helper
    size = "N" if batch is None else int(batch)

    def info(name: str, kind: Any, node: Node) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), (size, *node.shape))
    graph = helper.make_graph(
        g.nodes, "lanewise", [info(fed[v.node], v.node.op.kind, v.node) for v in inputs],
        [info(name, g.dtype, v.node) for name, v in results.items()],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), name) for name, a in g.tensors.items()])
    opsets = [helper.make_opsetid("", int(opset))]
    found = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
                              producer_name="lanewise", producer_version=__version__)
    onnx.checker.check_model(found, full_check=True)
    return found
