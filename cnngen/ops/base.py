"""What every op answers: its weights, shape rule, receptive-field step, cost, meaning and error bound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType

Types = Sequence[TensorType]
Weights = Mapping[str, Array]

FLOAT_MAX = float(np.finfo(np.float32).max)
"""The largest binary32."""
UNIT_ROUNDOFF = 2.0**-24
"""u of IEEE binary32, rounding to nearest."""
SMALLEST_NORMAL = 2.0**-126
"""Below it a result may lose relative accuracy: absolute error up to 2^-150 an operation."""


@dataclass(frozen=True)
class Window:
    """The step that an op takes in the input for one step in the output, per axis (height, width).

    Element i of the output reads element ``(i stride - padding + tap dilation) // repeat`` of the input,
    for each tap of the kernel: an op that repeats elements (upsampling) has a `repeat` above 1. With
    `zeros_between` the copies are zeros (transposed convolution): only taps where the division leaves
    no remainder read anything. `padding` may be negative: the window then begins inside the input.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, bottom, left, right"""
    repeat: tuple[int, int] = (1, 1)
    zeros_between: bool = False
    border: Literal["nothing", "reflect", "edge"] = "nothing"
    """what a tap beyond the border reads: nothing, the mirrored element, or that at the border"""


@dataclass(frozen=True)
class Everything:
    """Each output element depends on the whole spatial extent of the input."""


@dataclass(frozen=True)
class Table:
    """The elements of the input that each output element reads, per axis (height, width), written down one by one.

    An output that reads nothing has an empty entry. What lies beyond the border counts as the element at the border.
    """

    reads: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]


Field = Window | Everything | Table
POINTWISE = Window()


@dataclass(frozen=True)
class Cost:
    """Work for one run of the compiled batch: multiply-accumulates, other operations, parameters."""

    macs: int = 0
    other: int = 0
    params: int = 0


@dataclass(frozen=True, eq=False)
class Bound:
    """The float64 value of a tensor and how far a correct float32 kernel may be from it.

    `limit` is sound: more is an error (gamma_k S of Higham, Accuracy and Stability, 3.1, plus
    underflow). `alarm` is what rounding errors of a correct kernel stay below in practice: they add up
    like a random walk, (sqrt(k) + 2) u S, where the 2 is for the few terms that are no statistics yet.
    A result beyond `largest`, the largest number of its format, may be infinite.
    """

    value: Array
    limit: Array
    alarm: Array
    largest: float = FLOAT_MAX

    @staticmethod
    def exact(value: Array) -> Bound:
        """No rounding at all: the kernel only copies or compares."""
        zero = np.zeros(value.shape)
        return Bound(value, zero, zero)

    @staticmethod
    def of_sum(value: Array, magnitude: Array, roundings: int) -> Bound:
        """A sum of products: `magnitude` is S = sum |x||w| + |b|, `roundings` is k.

        Sound with fused multiply-add and without: of n products that are added one by one to a bias, the first
        goes through n + 1 roundings, its own and those of n sums (Higham, 3.1); fused it goes through n.
        """
        underflow = roundings * SMALLEST_NORMAL * UNIT_ROUNDOFF
        gamma = roundings * UNIT_ROUNDOFF / (1 - roundings * UNIT_ROUNDOFF)
        usual = min(float(roundings), np.sqrt(roundings) + 2) * UNIT_ROUNDOFF
        return Bound(value, gamma * magnitude + underflow, usual * magnitude + underflow)


class Op(ABC):
    """One operation: a frozen dataclass of its parameters. Images are NHWC, all arrays float32.

    `weight_shapes` and `infer` raise `ShapeError` where the op cannot take such inputs.
    """

    @property
    def kind(self) -> str:
        """The op's name in reports."""
        return type(self).__name__.lower()

    def weight_shapes(self, inputs: Types) -> dict[str, tuple[int, ...]]:
        """Shape of every weight array by role."""
        return {}

    @abstractmethod
    def infer(self, inputs: Types) -> TensorType:
        """Type of the output."""

    def keeps_batch(self, inputs: Types, constant: Sequence[bool]) -> bool:
        """Whether part i of axis 0 of the output depends on part i of axis 0 of the inputs only, however long that is.

        `constant` says which inputs are the same whatever the caller of the network gives: they have no batch.
        """
        return not any(constant) and all(len(tensor.shape) > 1 for tensor in inputs)

    def field(self, inputs: Types) -> Field:
        """Receptive-field step, the same for every input."""
        return POINTWISE

    @abstractmethod
    def cost(self, inputs: Types, output: TensorType) -> Cost:
        """Work of one run."""

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array], weights: Weights) -> Array:
        """The op's meaning in NumPy; float64 in, float64 out."""

    @abstractmethod
    def bound(self, inputs: Sequence[Array], weights: Weights) -> Bound:
        """The value with the error bound of a float32 kernel, given exact float32 inputs."""


RANK_REMEDIES = {
    (4, 2): "add a flatten layer before it",
    (2, 4): "apply it before the flatten layer",
    (3, 4): "an image has three sizes, its channels among them: write [height, width, 1] where there is one",
}
"""What to do about a tensor of one rank where another is needed."""


def require_rank(inputs: Types, rank: int, what: str) -> None:
    """Raise `ShapeError` unless every input has `rank` dimensions."""
    for tensor in inputs:
        if len(tensor.shape) != rank:
            raise ShapeError(
                f"{what} takes a tensor of rank {rank}, not {tensor}",
                remedy=RANK_REMEDIES.get((len(tensor.shape), rank), f"reshape it to {rank} axes, the batch included"),
            )


def require_channels(inputs: Types, what: str) -> None:
    """Raise `ShapeError` unless every input has an axis of channels, the last one, beside the batch."""
    for tensor in inputs:
        if len(tensor.shape) < 2:
            raise ShapeError(
                f"{what} works channel by channel, and {tensor or 'a scalar'} has no channels",
                remedy="reshape it to (batch, channels)",
            )


def parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Number of elements in all the given shapes."""
    return sum(int(np.prod(shape)) for shape in shapes.values())
