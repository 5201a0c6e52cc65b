"""Depthwise 3x3 convolution, stride 1 or 2: shapes of conv.py, instructions of kernels/depthwise.pxi.tp."""
from .base import loops
from .conv import Conv2d


def conv2d(weight, bias, stride, padding, dilation, groups):
    """The operation for a convolution with these arguments: depthwise where its kernels fit, else Conv2d."""
    fits = weight.shape == (groups, 1, 3, 3) and groups > 1 and stride in ((1, 1), (2, 2)) and dilation == (1, 1)
    return (DepthwiseConv2d if fits else Conv2d)(weight, bias, stride, padding, dilation, groups)


class DepthwiseConv2d(Conv2d):
    """y[n,c] = b[c] + w[c] * x[n,c], 3x3 taps, stride 1 or 2."""

    def result_border(self, image, result):
        if self.stride == (1, 1):           # dX is the same convolution with the taps turned, of padding 2 - p
            return tuple(max(0, n) for axis in zip(*(
                (2 - p, size - 1 + p - (out - 1)) for size, out, p in zip(image[1:], result[1:], self.padding))) for n in axis)
        # rows u - 1 and u for every pair of rows 2u, 2u + 1 of the padded image; columns likewise
        return (1, 1, *(max(0, (size - 1 + p) // 2 - (out - 1)) for size, out, p in zip(image[1:], result[1:], self.padding)))

    def _fields(self, x, y, at, **more):
        fields = dict(x=at, y=y.start, rows=y.rows, cols=y.cols, channels=y.channels, x_row=x.row, y_row=y.row, w=0, bias=0,
                      turned=0, add=0, relu=0, stride=self.stride[0], first_row=0, first_col=0, d=0)
        return {**fields, **more}

    def forward(self, b, node):
        x, y = b.value(node.inputs[0]), b.value(node)
        b.flops(18 * y.rows * y.cols * y.channels)
        b.emit("forward", "depthwise", **self._fields(
            x, y, x.at(-self.padding[0], -self.padding[1]), w=b.address(self.weight), bias=b.address(self.bias),
            relu=int(self.relu)))

    def backward(self, b, node, dy):
        if self.relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        x, (top, left) = node.inputs[0], self.padding[:2]
        if self.weight.requires_grad:
            size, image = self.weight.data.size, b.again(x)
            d = b.slot(size * b.lane_bytes)
            b.flops(18 * dy.rows * dy.cols * dy.channels)
            b.emit("backward", "depthwise_dw", **self._fields(image, dy, image.at(-top, -left), d=d))
            b.emit("reduce", "lane_grad", d=d, size=size, grad=b.grad_address(self.weight), add=b.used_before(self.weight))
        self.bias_grad(b, dy)
        if b.wants(x):
            dx, add = b.into(x)
            b.flops(18 * dy.rows * dy.cols * dy.channels)
            if self.stride == (1, 1):
                b.emit("backward", "depthwise", **self._fields(dy, dx, dy.at(top - 2, left - 2), w=b.address(self.weight),
                                                               turned=1, add=add))
            else:
                b.emit("backward", "depthwise_dx_2", **self._fields(dy, dx, dy.start, w=b.address(self.weight), add=add,
                                                                    first_row=-top, first_col=-left))
