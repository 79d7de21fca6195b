"""Arithmetic on several tensors, and functions of one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, create_model

from cnngen import ops
from cnngen.errors import ShapeError
from cnngen.frontends.activations import ACTIVATIONS, ActivationField, Function
from cnngen.frontends.elementary import ELEMENTARY
from cnngen.frontends.layer import Layer, Options
from cnngen.ops.base import Types


class Elementwise(Layer):
    """Base of the arithmetic on several inputs, broadcast as in NumPy: sizes are equal, or 1 along an axis."""

    arity = None
    op: ClassVar[type[ops.Elementwise]]
    activation: ActivationField = None

    def lower(self, inputs: Types, options: Options) -> ops.Op:
        # Aligned from the last axis, the batch of a vector would meet the width of an image: nobody means that.
        if {len(tensor.shape) for tensor in inputs} == {2, 4} and len({tensor.shape[0] for tensor in inputs}) == 1:
            raise ShapeError(
                f"{self.kind} takes tensors of one rank, not {' and '.join(map(str, inputs))}",
                remedy="leave the flatten out, or reshape the flat one to an image of one pixel",
            )
        op = self.op(self.activation)
        assert isinstance(op, ops.Op)
        return op


class Add(Elementwise, kind="add"):
    """Sum of the `inputs`, broadcast against each other. Becomes `ops.Add`."""

    op = ops.Add


class Sub(Elementwise, kind="sub"):
    """The first of two `inputs` less the second, broadcast against each other. Becomes `ops.Sub`."""

    op = ops.Sub


class Mul(Elementwise, kind="mul"):
    """Product of the `inputs`, broadcast against each other. Becomes `ops.Mul`."""

    op = ops.Mul


class Div(Elementwise, kind="div"):
    """The first of two `inputs` over the second, broadcast against each other. Becomes `ops.Div`."""

    op = ops.Div


class Power(Elementwise, kind="power"):
    """The first of two `inputs` to the power of the second, broadcast against each other. Becomes `ops.Power`."""

    op = ops.Power


class Maximum(Elementwise, kind="maximum"):
    """The largest of the `inputs`, broadcast against each other. Becomes `ops.Maximum`."""

    op = ops.Maximum


class Minimum(Elementwise, kind="minimum"):
    """The smallest of the `inputs`, broadcast against each other. Becomes `ops.Minimum`."""

    op = ops.Minimum


class PRelu(Layer, kind="prelu"):
    """``x`` where it is positive, ``alpha x`` elsewhere, with an `alpha` for each channel. Becomes `ops.PRelu`.

    Weights: `alpha`.
    """

    def lower(self, inputs: Types, options: Options) -> ops.PRelu:
        return ops.PRelu()


class Dropout(Layer, kind="dropout"):
    """Does nothing at inference; `rate` is only for the reader. Becomes `ops.Identity`."""

    rate: float = Field(0.5, ge=0, lt=1, description="Share of elements dropped in training")

    def lower(self, inputs: Types, options: Options) -> ops.Identity:
        return ops.Identity()


class ActivationLayer(Layer):
    """Base of the functions of one variable as layers of their own. Becomes `ops.Activate`."""

    def lower(self, inputs: Types, options: Options) -> ops.Activate:
        assert isinstance(self, Function)
        return ops.Activate(self.activation())


for _function in (*ACTIVATIONS.values(), *ELEMENTARY.values()):
    create_model(
        _function.__name__,
        __base__=(_function, ActivationLayer),
        __module__=__name__,
        __doc__=f"{_function.__doc__} Becomes `ops.Activate`.",
        __cls_kwargs__={"kind": _function.kind},
    )
