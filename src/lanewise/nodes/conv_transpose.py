"""Transposed convolution: a convolution's way back to its image as a forward pass, by the same kernels."""
from ..errors import ShapeError
from .conv import Conv2d


class ConvTranspose2d(Conv2d):
    """y = the transposed convolution of x, + b[o]: y is the image and x the result of a Conv2d with the same weights
    (I, O / groups, KH, KW), so that forward is that Conv2d's dX, dX its forward, and dW its dW with the roles exchanged."""

    def __init__(self, weight, bias, stride, padding, output_padding, dilation, groups):
        super().__init__(weight, bias, stride, padding * 2, dilation, groups)
        self.output_padding = output_padding

    def key(self):
        return ("conv_transpose2d", *super().key()[1:], self.output_padding)

    def shape(self, x):
        ins, outs, *kernel = self.weight.shape
        if len(x) != 3:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))})")
        if x[0] != ins:
            raise ShapeError(f"expected input with {ins} channels, got {x[0]}: input (N, {', '.join(map(str, x))})")
        rows, cols = ((x[1 + a] - 1) * self.stride[a] - 2 * self.padding[a] + self.dilation[a] * (kernel[a] - 1) +
                      self.output_padding[a] + 1 for a in (0, 1))
        if rows < 1 or cols < 1:
            raise ShapeError(f"expected an image that leaves at least one pixel, got {rows}x{cols} of "
                             f"input (N, {', '.join(map(str, x))})")
        return outs * self.groups, rows, cols

    def borders(self, node):
        return (self.result_border(node.shape, node.inputs[0].shape),)

    def grad_border(self, node):
        return self.image_border(node.shape, node.inputs[0].shape)

    def forward(self, b, node):
        self.emit_transposed(b, "forward", b.value(node.inputs[0]), b.value(node), bias=self.bias)

    def backward(self, b, node, dy):
        x = node.inputs[0]
        if self.weight.requires_grad:
            self.weight_grad(b, dy, b.again(x))
        self.bias_grad(b, dy)
        if b.wants(x):
            dx, add = b.into(x)
            b.emit("backward", "conv", **self.conv_fields(b, dy, dx, x.shape, dx.rows, add=add))
