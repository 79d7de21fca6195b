"""Activation functions of the spec language: each is both a layer and a value of an `activation` field."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from cnngen.frontends.fields import FieldError, Model, shown
from cnngen.frontends.suggest import suggestion
from cnngen.ops import Activation


class Function(Model):
    """Base: the parameters of one activation function, and its name in a spec."""

    kind: ClassVar[str]

    def activation(self) -> Activation:
        """The same function as the ops know it."""
        return Activation(self.kind)


class Relu(Function):
    """``max(x, 0)``."""

    kind = "relu"


class Relu6(Function):
    """``min(max(x, 0), 6)``."""

    kind = "relu6"


class Clip(Function):
    """``min(max(x, minimum), maximum)``, or one of the two."""

    kind = "clip"
    minimum: float | None = Field(0.0, description="Lower limit, null for none")
    maximum: float | None = Field(1.0, description="Upper limit, null for none")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise FieldError(f"minimum {self.minimum} exceeds maximum {self.maximum}", "swap the two")
        return self

    def activation(self) -> Activation:
        low = -math.inf if self.minimum is None else self.minimum
        return Activation("clip", low, math.inf if self.maximum is None else self.maximum)


class LeakyRelu(Function):
    """``x`` where it is positive, ``alpha x`` elsewhere."""

    kind = "leaky_relu"
    alpha: float = Field(0.01, description="Slope below zero")

    def activation(self) -> Activation:
        return Activation("leaky_relu", self.alpha)


class ThresholdedRelu(Function):
    """``x`` above `alpha`, 0 elsewhere (Konda, Memisevic and Krueger, 2015)."""

    kind = "thresholded_relu"
    alpha: float = Field(1.0, description="The threshold")

    def activation(self) -> Activation:
        return Activation("thresholded_relu", self.alpha)


class Elu(Function):
    """``x`` where it is positive, ``alpha (exp(x) - 1)`` elsewhere."""

    kind = "elu"
    alpha: float = Field(1.0, description="Goes to -alpha below zero")

    def activation(self) -> Activation:
        return Activation("elu", self.alpha)


class Celu(Function):
    """``x`` where it is positive, ``alpha (exp(x / alpha) - 1)`` elsewhere (Barron, 2017)."""

    kind = "celu"
    alpha: float = Field(1.0, gt=0, description="Goes to -alpha below zero; the slope is 1 at zero")

    def activation(self) -> Activation:
        return Activation("celu", self.alpha)


class Selu(Function):
    """``1.0507 x`` where it is positive, ``1.0507 * 1.6733 (exp(x) - 1)`` elsewhere (Klambauer et al., 2017)."""

    kind = "selu"


class Sigmoid(Function):
    """``1 / (1 + exp(-x))``."""

    kind = "sigmoid"


class Tanh(Function):
    """``tanh(x)``."""

    kind = "tanh"


class HardSigmoid(Function):
    """``min(max(alpha x + beta, 0), 1)``; the defaults are those of PyTorch and Keras 3."""

    kind = "hard_sigmoid"
    alpha: float = Field(1 / 6, description="Slope; ONNX has 0.2")
    beta: float = Field(0.5, description="Value at zero")

    def activation(self) -> Activation:
        return Activation("hard_sigmoid", self.alpha, self.beta)


class HardSwish(Function):
    """``x * min(max(x / 6 + 1/2, 0), 1)``."""

    kind = "hard_swish"


class Silu(Function):
    """``x / (1 + exp(-x))``, also called swish."""

    kind = "silu"


class Swish(Function):
    """``x / (1 + exp(-beta x))`` (Ramachandran, Zoph and Le, 2017); `silu` is that with a beta of 1."""

    kind = "swish"
    beta: float = Field(1.0, description="Factor of the sigmoid's argument; 1.702 is a fast gelu")

    def activation(self) -> Activation:
        return Activation("swish", self.beta)


class Softsign(Function):
    """``x / (1 + |x|)``."""

    kind = "softsign"


class Gelu(Function):
    """``x P(X < x)`` for a normal X, ``x (1 + erf(x / sqrt(2))) / 2`` (Hendrycks and Gimpel, 2016)."""

    kind = "gelu"
    approximate: Literal["none", "tanh"] = Field(
        "none", description="tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2"
    )

    def activation(self) -> Activation:
        return Activation("gelu" if self.approximate == "none" else "gelu_tanh")


class Mish(Function):
    """``x tanh(log(1 + exp(x)))`` (Misra, 2019)."""

    kind = "mish"


class Softplus(Function):
    """``log(1 + exp(x))``."""

    kind = "softplus"


ACTIVATIONS: dict[str, type[Function]] = {function.kind: function for function in Function.__subclasses__()}
"""Every activation function by the name it has in a spec."""


def _activation(value: Any) -> Activation | None:
    """The activation that `value` describes: a name, or a mapping of a name to its parameters."""
    if value is None or value == "none" or isinstance(value, Activation):
        return value if isinstance(value, Activation) else None
    parameters: Any = {}
    if isinstance(value, dict):
        if len(value) != 1:
            raise FieldError("must name one function", "write for example {leaky_relu: {alpha: 0.1}}")
        [(value, parameters)] = value.items()
    if value == "prelu":
        raise FieldError("prelu has weights of its own", "write it as the next layer: - prelu")
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise FieldError(
            f"unknown activation {shown(value)}", suggestion(str(value), [*ACTIVATIONS, "none"], "functions are")
        )
    return _parameterised(ACTIVATIONS[value], parameters)


def _parameterised(function: type[Function], parameters: Any) -> Activation:
    try:
        return function.model_validate({} if parameters is None else parameters).activation()
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        place = ".".join(map(str, (function.kind, *first["loc"])))
        if isinstance(cause, FieldError):
            raise FieldError(f"{place}: {cause.problem}", cause.remedy) from None
        if not first["loc"]:
            example = f"{function.kind}: {{{next(iter(function.model_fields), '')}: ...}}"
            remedy = f"write {{{example}}}" if function.model_fields else "it takes none"
            raise FieldError(f"{place}: parameters must be a mapping, not {shown(parameters)}", remedy) from None
        if first["type"] == "extra_forbidden":
            known = list(function.model_fields)
            remedy = suggestion(str(first["loc"][-1]), known, "its parameters are") if known else "it takes none"
            raise FieldError(f"{place}: unknown parameter", remedy) from None
        if first["type"] == "literal_error":
            expected = first["ctx"]["expected"]
            raise FieldError(f"{place}: is {shown(first['input'])}", f"write {expected}") from None
        if first["type"] == "greater_than":
            raise FieldError(f"{place}: must be above {first['ctx']['gt']:g}, not {shown(first['input'])}") from None
        raise FieldError(f"{place}: must be a finite number, not {shown(first['input'])}") from None


def activation_schema() -> dict[str, Any]:
    """The JSON Schema of the field `activation`; made on demand, because it takes a while."""
    parameters = {
        kind: {key: value for key, value in function.model_json_schema().items() if key not in ("title", "description")}
        for kind, function in ACTIVATIONS.items()
    }
    one = {
        "type": "object",
        "properties": parameters,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [{"enum": [*ACTIVATIONS, "none"]}, {"type": "null"}, one]}


ActivationField = Annotated[
    Activation | None,
    BeforeValidator(_activation),
    WithJsonSchema({}),  # `activation_schema`, which `cnngen.frontends.schema` puts in
    Field(description="Activation function behind the layer: a name, or {leaky_relu: {alpha: 0.1}}"),
]
"""The field `activation` of a layer."""
