"""Rewrites of a graph before it is planned: fewer passes over the same numbers."""
from .graph import Input, Node, topological
from .nodes.batchnorm import BatchNorm
from .nodes.conv import Conv2d
from .nodes.dense import Linear
from .nodes.depthwise import DepthwiseConv2d
from .nodes.elementwise import Add, ReLU
from .nodes.pool import ConvMaxPool, MaxPool2d
from .nodes.reshape import Reshape


def fuse(outputs):
    """The graph with ReLU inside the convolution, dense layer or BatchNorm before it, a sum inside the BatchNorm that makes one of
    its terms, a convolution's rows streamed through the max-pool after it, an input in the shape that it is read in: (new nodes
    for the outputs, {node: places in topological(outputs) of what it computes}). A value that is an output, or read twice,
    stays a value."""
    order = topological(outputs)
    readers = {}
    for node in order:
        for i in node.inputs:
            readers[id(i)] = readers.get(id(i), 0) + 1
    kept = {id(n) for n in outputs}

    def private(old):
        return readers[id(old)] == 1 and id(old) not in kept

    def normalised(node):
        for i, old in enumerate(node.inputs):
            op, others = new[id(old)].op, node.inputs[1 - i]
            if type(op) is BatchNorm and not op.relu and not op.plus and private(old) and old.shape == others.shape:
                return i

    new = {}
    for node in order:
        inputs = tuple(new[id(i)] for i in node.inputs)
        op, before = node.op, inputs[0].op if inputs else None
        fits = type(before) in (Conv2d, DepthwiseConv2d, Linear, BatchNorm)
        if isinstance(op, ReLU) and fits and not before.relu and private(node.inputs[0]):
            new[id(node)] = Node(before.with_relu(), inputs[0].inputs)
        elif isinstance(op, Add) and (term := normalised(node)) is not None:
            new[id(node)] = Node(inputs[term].op.with_sum(term), (*inputs[:term], *inputs[term].inputs, *inputs[term + 1:]))
        elif isinstance(op, MaxPool2d) and ConvMaxPool.fits(before, op) and private(node.inputs[0]):
            new[id(node)] = Node(ConvMaxPool(before, op), inputs[0].inputs)
        elif isinstance(op, Reshape) and isinstance(before, Input) and before.fits(op.to) and private(node.inputs[0]):
            new[id(node)] = Node(Input(op.to, before.kind, before.scale), ())
        else:
            new[id(node)] = node if inputs == node.inputs else Node(op, inputs)
    covers = {}
    for place, node in enumerate(order):        # a node that was fused into a later one is read by nobody: its place goes there
        fused = new[id(node)]
        inside = [i for i in node.inputs if new[id(i)] not in fused.inputs]
        covers[fused] = (*(p for i in inside for p in covers.pop(new[id(i)])), place)
    return [new[id(n)] for n in outputs], covers
