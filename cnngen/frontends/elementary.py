"""Elementary functions of the spec language: layers of one input that work element by element.

They are no values of an `activation` field, which names what networks have behind their layers; written as the next
layer they are fused into the one in front all the same.
"""

from __future__ import annotations

from pydantic import Field

from cnngen.frontends.activations import Function
from cnngen.ops import Activation


class Elementary(Function):
    """Base of the elementary functions."""


class Exp(Elementary):
    """``exp(x)``."""

    kind = "exp"


class Log(Elementary):
    """Natural logarithm: ``log(x)``, minus infinity at zero and NaN below."""

    kind = "log"


class Sqrt(Elementary):
    """``sqrt(x)``, NaN below zero."""

    kind = "sqrt"


class Reciprocal(Elementary):
    """``1 / x``, infinite at zero."""

    kind = "reciprocal"


class Pow(Elementary):
    """``x`` to the power of a constant; NaN where `x` is negative and the exponent not whole."""

    kind = "pow"
    exponent: float = Field(description="The exponent")

    def activation(self) -> Activation:
        return Activation("pow", self.exponent)


class Square(Elementary):
    """``x * x``."""

    kind = "square"


class Erf(Elementary):
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to `x`."""

    kind = "erf"


class Abs(Elementary):
    """``|x|``."""

    kind = "abs"


class Neg(Elementary):
    """``-x``."""

    kind = "neg"


class Floor(Elementary):
    """The largest whole number that is not above `x`."""

    kind = "floor"


class Ceil(Elementary):
    """The smallest whole number that is not below `x`."""

    kind = "ceil"


class Round(Elementary):
    """The whole number nearest to `x`, the even one of two that are equally near."""

    kind = "round"


class Sign(Elementary):
    """1 for `x` above zero, -1 below, 0 at zero; NaN stays NaN."""

    kind = "sign"


ELEMENTARY: dict[str, type[Function]] = {function.kind: function for function in Elementary.__subclasses__()}
"""Every elementary function by the name it has in a spec."""
