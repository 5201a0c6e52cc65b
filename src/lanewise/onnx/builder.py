"""The ONNX graph while it grows, and the table of who writes what into it.

A value of the graph has the batch first, (N, *node.shape); one of parameters alone has (1, *node.shape) and broadcasts."""
import numpy as np

EMITTERS = {}               # class of an operation: function (builder, node, names of its inputs...) -> name of its result


def emits(*kinds):
    """Enter a function into the table for these classes of operations."""
    def enter(function):
        EMITTERS.update(dict.fromkeys(kinds, function))
        return function
    return enter


class Builder:
    """Nodes, constants and their names. `paths`: {id of a parameter or buffer: its name in state_dict()}; `reserved`: names of
    inputs and outputs."""

    def __init__(self, opset, dtype, paths, reserved):
        self.opset, self.dtype, self.scope = opset, np.dtype(dtype), ""
        self.nodes, self.tensors = [], {}               # NodeProtos; initializers by name
        self.alone = set()                              # nodes of the model's graph that no input reaches
        self._paths, self._constants, self._taken = paths, {}, {*paths.values(), *reserved}

    def name(self, base):
        """`base`, or with a number where it is taken."""
        found, i = base, 0
        while found in self._taken:
            i += 1
            found = f"{base}_{i}"
        self._taken.add(found)
        return found

    def add(self, kind, *inputs, **attributes):
        """Append a node, named after the module that `scope` says; the name of its result."""
        from onnx import helper
        name = self.name(f"{self.scope}/{kind}")
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def weight(self, p):
        """A parameter or buffer, under its name in state_dict()."""
        name = self._paths.get(id(p))
        if name is None:                                # one that the model uses and does not hold
            name = self._paths[id(p)] = self.name("constant")
        self.tensors[name] = p.data
        return name

    def constant(self, array):
        """An array that is no parameter; equal ones are one."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.name("constant")
            self.tensors[self._constants[key]] = array
        return self._constants[key]

    def numbers(self, values):
        """A constant of the graph's number type."""
        return self.constant(np.asarray(values, self.dtype))

    def integers(self, values):
        """A constant of integers, 1-D: shapes, axes."""
        return self.constant(np.asarray(values, np.int64).reshape(-1))

    def reshape(self, x, shape):
        """x with per-sample shape `shape`."""
        return self.add("Reshape", x, self.integers([0, *shape]))

    def raised(self, x, shape, rank):
        """x, of per-sample shape `shape`, with ones in front of it up to `rank` dimensions."""
        return x if len(shape) == rank else self.reshape(x, (*[1] * (rank - len(shape)), *shape))

    def reduce(self, kind, x, axes, keepdims):
        """A reduction; from opset 18 on all take their axes as an input."""
        if self.opset < 18 and kind != "ReduceSum":
            return self.add(kind, x, axes=list(axes), keepdims=int(keepdims))
        return self.add(kind, x, self.integers(axes), keepdims=int(keepdims))

    def rename(self, old, new):
        """Call a node's result by another name."""
        for node in self.nodes:
            for names in node.input, node.output:
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new
