"""From a captured module to nodes of a `Graph`: tensors, names, places, and the table of handlers.

PyTorch's images are channels-first, the graph's are channels-last. Nothing is transposed where that can be avoided:
a `Tensor` remembers which of PyTorch's axes each axis of the graph's tensor is, `permute` only changes this order, and
a `Transpose` is added where an op wants another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from cnngen.errors import CnngenError, Source
from cnngen.ir import Array, Input, Node, TensorType
from cnngen.ops import Constant, Op, Transpose

Order = tuple[int, ...]
IMAGE: Order = (0, 2, 3, 1)
"""An image as the graph has it: the channels, PyTorch's axis 1, are last."""

NAMED = {IMAGE: "nhwc", (0, 1, 2, 3): "nchw"}


class UnsupportedError(CnngenError):
    """A handler cannot translate these arguments; collected, so that all are reported at once."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that the network computes: `name` in the graph, sizes as PyTorch has them, and where its axes are.

    Axis i of the graph's tensor is axis ``order[i]`` of PyTorch's.
    """

    name: str
    shape: tuple[int, ...]
    order: Order

    @property
    def rank(self) -> int:
        return len(self.shape)

    def axis(self, dim: int) -> int:
        """`dim` counted from the front. Raises `UnsupportedError` where there is none."""
        if not -self.rank <= dim < self.rank:
            raise UnsupportedError(f"there is no axis {dim} among {self.rank}")
        return dim % self.rank


Value = Any
"""What a handler is given or gives: a `Tensor`, a constant `torch.Tensor`, a number, None, or a list of them."""

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Value])


@dataclass(frozen=True)
class Handler:
    """A function that translates an op; it takes the arguments `names`, and those `without_effect` do not matter."""

    function: Callable[..., Value]
    names: frozenset[str]
    without_effect: frozenset[str]

    def __call__(self, g: Lowering, arguments: Mapping[str, Value], defaults: Mapping[str, Value]) -> Value:
        """Raises `UnsupportedError` where an argument that the function does not take is not its default."""
        for name, value in arguments.items():
            if name not in self.names and name not in self.without_effect and value != defaults[name]:
                raise UnsupportedError(f"{name} = {value} is not supported")
        return self.function(g, **{name: value for name, value in arguments.items() if name in self.names})


HANDLERS: dict[str, Handler] = {}
"""By the name of an ATen op and its overload, as in ``conv2d.default``."""


def handles(*names: str, without_effect: Sequence[str] = ()) -> Callable[[AnyFunction], AnyFunction]:
    """Register a handler: called with the `Lowering` and those of the op's arguments that it has parameters for.

    They are called as in PyTorch's schema, and `self` is called `x`.
    """

    def register(function: AnyFunction) -> AnyFunction:
        parameters = frozenset(inspect.signature(function).parameters)
        HANDLERS.update(dict.fromkeys(names, Handler(function, parameters, frozenset(without_effect))))
        return function

    return register


def natural(rank: int) -> Order:
    """PyTorch's own order."""
    return tuple(range(rank))


def last(rank: int, *axes: int) -> Order:
    """The order that has `axes` behind all others."""
    return (*(axis for axis in range(rank) if axis not in axes), *axes)


class Lowering:
    """The graph as it grows."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.path = ""
        """Of the submodule whose op is being translated, as in ``features.0``."""
        self.source: Source | None = None
        """The line of that op."""
        self.hint = ""
        """What to call its result where the path says nothing."""
        self._arranged: dict[tuple[str, Order], str] = {}

    def input(self, name: str, shape: Sequence[int]) -> Tensor:
        """Declare an input of the network, in PyTorch's order."""
        name = self._unique(name)
        tensor = Input(name, TensorType(tuple(shape)))
        self.inputs.append(tensor)
        self.types[name] = tensor.type
        return Tensor(name, tensor.type.shape, natural(len(shape)))

    def add(
        self,
        op: Op,
        inputs: Sequence[str],
        order: Order,
        weights: Mapping[str, Array] = MappingProxyType({}),
        *,
        name: str | None = None,
    ) -> Tensor:
        """Append a node whose result has PyTorch's axes in `order`. Raises `ShapeError`."""
        output = op.infer([self.types[tensor] for tensor in inputs])
        name = name or self._name(op)
        self.nodes.append(Node(name, op, tuple(inputs), MappingProxyType(dict(weights)), self.source))
        self.types[name] = output
        shape = tuple(output.shape[order.index(axis)] for axis in range(len(order)))
        return Tensor(name, shape, order)

    def constant(self, value: Array) -> Tensor:
        """A tensor that is the same in every run."""
        value = np.ascontiguousarray(value, np.float32)
        return self.add(Constant(value.shape), (), natural(value.ndim), {"value": value})

    def arranged(self, x: Tensor, order: Order) -> str:
        """The graph's name of `x` with its axes in this order; a transposition is added once where it has another."""
        if x.order == order:
            return x.name
        key = (x.name, tuple(x.order.index(axis) for axis in order))
        if key not in self._arranged:
            suffix = NAMED.get(order, "".join(map(str, order)))
            self._arranged[key] = self.add(
                Transpose(key[1]), (x.name,), order, name=self._unique(f"{x.name}/{suffix}")
            ).name
        return self._arranged[key]

    def image(self, x: Tensor) -> str:
        """The graph's name of an image with the channels last. Raises `UnsupportedError` for another rank."""
        if x.rank != 4:
            raise UnsupportedError(f"takes a batch of images, not a tensor of {x.rank} axes")
        return self.arranged(x, IMAGE)

    def _name(self, op: Op) -> str:
        """That of the module where it is the first op in there, else with the kind of the op."""
        if not self.path:
            return self._unique(self.hint or op.kind)
        return self.path if self.path not in self.types else self._unique(f"{self.path}/{op.kind}")

    def _unique(self, name: str) -> str:
        found, number = name, 1
        while found in self.types:
            number += 1
            found = f"{name}_{number}"
        return found


def is_constant(value: Value) -> bool:
    """Whether `value` is known when the network is compiled: a number, None, or a tensor that no input reaches."""
    if isinstance(value, list | tuple):
        return all(map(is_constant, value))
    return not isinstance(value, Tensor)


def array(constant: Value) -> Array:
    """A constant tensor as a float32 array: its own memory where it is float32, whatever its strides."""
    view = constant.detach().resolve_conj().resolve_neg()
    result: Array = view.numpy() if str(view.dtype) == "torch.float32" else view.double().numpy().astype(np.float32)
    result = result.view()
    result.flags.writeable = False
    return result


def pair(value: Value) -> tuple[int, int]:
    """Two numbers of a list of one or two, or of a number."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) not in (1, 2):
        raise UnsupportedError(f"{numbers} are not sizes of a 2-D window")
    return int(numbers[0]), int(numbers[-1])
