"""What the ops that slide a window share: its attributes for one or two axes, and `auto_pad`."""

from __future__ import annotations

from dataclasses import dataclass

from cnngen.errors import ModelError
from cnngen.frontends.onnx.node import NodeReader, UnsupportedError
from cnngen.frontends.onnx.values import Tensor
from cnngen.ops.conv2d import same_padding

Pair = tuple[int, int]
AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class WindowFields:
    """A window on an image of height and width; a signal is an image of height 1."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    auto_pad: str
    pads: tuple[int, int, int, int]
    """top, bottom, left, right, as the node gives them"""

    def padding(self, size: Pair) -> tuple[int, int, int, int]:
        """top, bottom, left, right for an input of `size` (height, width)."""
        if self.auto_pad == "NOTSET":
            return self.pads
        if self.auto_pad == "VALID":
            return 0, 0, 0, 0
        lower = self.auto_pad == "SAME_LOWER"
        top, bottom = same_padding(size[0], self.kernel[0], self.stride[0], self.dilation[0], lower)
        left, right = same_padding(size[1], self.kernel[1], self.stride[1], self.dilation[1], lower)
        return top, bottom, left, right


def window(node: NodeReader, x: Tensor, kernel: tuple[int, ...] | None = None) -> WindowFields:
    """The window of `node` on `x`, of rank 3 or 4; `kernel` is the one that the weights have."""
    axes = image_axes(node, x)
    stated = node.wholes("kernel_shape")
    if stated is not None and kernel is not None and stated != kernel:
        raise ModelError(f"kernel_shape is {list(stated)}, the weights have {list(kernel)}")
    kernel = kernel or stated
    if kernel is None:
        raise ModelError(f"{node.kind} has no kernel_shape")
    auto_pad = node.text("auto_pad", "NOTSET")
    pads = node.wholes("pads")
    if auto_pad not in AUTO_PAD:
        raise ModelError(f"auto_pad is {auto_pad[:20]!r}", remedy=f"it is one of {', '.join(AUTO_PAD)}")
    if pads is not None and any(pads) and auto_pad != "NOTSET":
        raise ModelError(f"has auto_pad {auto_pad} and pads {list(pads)}", remedy="give one of the two")
    pads = pads or (0,) * (2 * axes)
    if len(pads) != 2 * axes:
        raise ModelError(f"pads has {len(pads)} numbers, not {2 * axes}")
    if min(pads) < 0:
        raise UnsupportedError(f"{node.kind} has the negative pads {list(pads)}", reason="negative pads")
    begin, end = pair(pads[:axes], 0), pair(pads[axes:], 0)
    return WindowFields(
        pair(numbers("kernel_shape", kernel, axes), 1),
        pair(numbers("strides", node.wholes("strides"), axes), 1),
        pair(numbers("dilations", node.wholes("dilations"), axes), 1),
        auto_pad,
        (begin[0], end[0], begin[1], end[1]),
    )


def image_axes(node: NodeReader, x: Tensor) -> int:
    """How many axes of `x` are spatial. Raises where they are more than two."""
    if x.rank not in (3, 4):
        if x.rank > 4:
            raise UnsupportedError(
                f"{node.kind} on {x.rank - 2} axes", reason=f"{x.rank - 2}-D", remedy="1-D and 2-D are"
            )
        raise ModelError(f"{node.kind} reads a tensor of rank {x.rank}, and takes (batch, channels, ...)")
    return x.rank - 2


def numbers(name: str, values: tuple[int, ...] | None, axes: int) -> tuple[int, ...]:
    """`values` for so many axes, all of them positive; ones where there are none."""
    if values is None:
        return (1,) * axes
    if len(values) != axes or min(values) < 1 or max(values) >= 2**31:
        raise ModelError(f"{name} is {list(values[:8])}", remedy=f"it has {axes} numbers, at least 1 each")
    return values


def pair(values: tuple[int, ...], missing: int) -> Pair:
    """For height and width; a signal has `missing` for the height."""
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def size_of(node: NodeReader, image: str) -> Pair:
    """Height and width of a tensor of the graph."""
    _, height, width, _ = node.builder.types[image].shape
    return height, width


def from_image(node: NodeReader, name: str, rank: int) -> Tensor:
    """The value of an image of the graph, for ONNX a tensor of `rank` 3 or 4."""
    batch, height, width, channels = node.builder.types[name].shape
    shape = (batch, channels, width) if rank == 3 else (batch, channels, height, width)
    return node.builder.tensor(name, shape, "last")
