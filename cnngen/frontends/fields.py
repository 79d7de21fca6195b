"""The kinds of field that layers are made of: pairs, padding, names, with their JSON Schema.

Each is an annotated type for Pydantic: a validator that turns what a person writes into one
canonical value, and the JSON Schema of what they may write.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from cnngen.errors import brief
from cnngen.ops.conv2d import same_padding
from cnngen.ops.conv2d_transpose import same_cropping

MAX_INTEGER = 2**31 - 1
MAX_NAME = 200


class FieldError(ValueError):
    """A value that a field cannot take: what is wrong, and what to do about it."""

    def __init__(self, problem: str, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


class Model(BaseModel):
    """Base of all models of the spec language: nothing unknown, nothing converted, nothing changed."""

    # Validators are built when a layer is first used: most networks use few of them.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


def whole(value: Any, least: int) -> int:
    """`value` if it is a whole number of at least `least`; a bool or a float is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        remedy = "write digits only"
        if isinstance(value, str) and "$" in value:
            remedy = "leave the quotes away: quoted text is no expression"
        elif isinstance(value, float):
            remedy = "write digits only, or // in an expression to divide and round down"
        raise FieldError(f"must be a whole number, not {shown(value)}", remedy)
    if not least <= value <= MAX_INTEGER:
        raise FieldError(f"is {value}, but must be at least {least} and at most {MAX_INTEGER}")
    return value


def shown(value: Any) -> str:
    """How a value from YAML is quoted in messages: short, and as one would write it in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return brief(text)


def _pair(least: int) -> Callable[[Any], tuple[int, int]]:
    def validate(value: Any) -> tuple[int, int]:
        if isinstance(value, list | tuple):
            if len(value) != 2:
                raise FieldError(f"has {len(value)} numbers, not 2", "write one number, or [height, width]")
            return whole(value[0], least), whole(value[1], least)
        number = whole(value, least)
        return number, number

    return validate


def _pair_schema(least: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": least, "maximum": MAX_INTEGER}
    return {"anyOf": [number, {"type": "array", "items": number, "minItems": 2, "maxItems": 2}]}


Pair = Annotated[tuple[int, int], BeforeValidator(_pair(1)), WithJsonSchema(_pair_schema(1))]
"""A positive number, or [height, width]."""

WholePair = Annotated[tuple[int, int], BeforeValidator(_pair(0)), WithJsonSchema(_pair_schema(0))]
"""Zero or a positive number, or [height, width]."""

Count = Annotated[
    int,
    BeforeValidator(lambda value: whole(value, 1)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}),
]
"""A positive whole number."""


SamePadding = Literal["valid", "same", "same_upper", "same_lower"]
PADDING_WORDS: tuple[SamePadding, ...] = ("valid", "same", "same_upper", "same_lower")


def _padding(value: Any) -> SamePadding | tuple[int, int, int, int]:
    words = ", ".join(PADDING_WORDS)
    if isinstance(value, str):
        for word in PADDING_WORDS:
            if value == word:
                return word
        raise FieldError(f"is {shown(value)}", f"write {words}, a number, [h, w] or [top, bottom, left, right]")
    if isinstance(value, list | tuple):
        sides = [whole(side, 0) for side in value]
        if len(sides) == 2:
            return sides[0], sides[0], sides[1], sides[1]
        if len(sides) == 4:
            return sides[0], sides[1], sides[2], sides[3]
        raise FieldError(f"has {len(sides)} numbers", "write one number, [h, w] or [top, bottom, left, right]")
    number = whole(value, 0)
    return number, number, number, number


_SIDE = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
Padding = Annotated[
    SamePadding | tuple[int, int, int, int],
    BeforeValidator(_padding),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(PADDING_WORDS)},
                _SIDE,
                {"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2},
                {"type": "array", "items": _SIDE, "minItems": 4, "maxItems": 4},
            ]
        }
    ),
]
"""`valid`, `same` (= `same_upper`), `same_lower`, a number, [h, w] or [top, bottom, left, right]."""


MAX_SIZES = 8


def _sizes(value: Any) -> tuple[int, ...]:
    remedy = f"write [features], three sizes in the order of the layout, or any up to {MAX_SIZES}"
    if not isinstance(value, list | tuple) or len(value) > MAX_SIZES:
        raise FieldError(f"is {shown(value)}", remedy)
    sizes = tuple(-1 if size == -1 and not isinstance(size, bool | float) else whole(size, 1) for size in value)
    if sizes.count(-1) > 1:
        raise FieldError("has -1 more than once", "leave one size open at most")
    return sizes


_SIZE = {"type": "integer", "minimum": -1, "maximum": MAX_INTEGER, "not": {"const": 0}}
Sizes = Annotated[
    tuple[int, ...],
    BeforeValidator(_sizes),
    WithJsonSchema({"type": "array", "items": _SIZE, "maxItems": MAX_SIZES}),
]
"""[features], the three sizes of an image, or others; -1 for one of them."""


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_SIZES:
        raise FieldError(f"is {shown(value)}", f"write a list of up to {MAX_SIZES} sizes")
    return tuple(whole(size, 1) for size in value)


Shape = Annotated[
    tuple[int, ...],
    BeforeValidator(_shape),
    WithJsonSchema(
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}, "maxItems": MAX_SIZES}
    ),
]
"""The sizes of a tensor of any rank."""


def _integers(*, open_ended: bool) -> Callable[[Any], tuple[int | None, ...]]:
    def validate(value: Any) -> tuple[int | None, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) > MAX_SIZES:
            raise FieldError(f"has {len(values)} numbers, more than {MAX_SIZES}", "write one for each axis")
        return tuple(None if item is None and open_ended else whole(item, -MAX_INTEGER) for item in values)

    return validate


_INTEGER = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
_END = {"anyOf": [_INTEGER, {"type": "null"}]}
Ends = Annotated[
    tuple[int | None, ...],
    BeforeValidator(_integers(open_ended=True)),
    WithJsonSchema({"anyOf": [_INTEGER, {"type": "null"}, {"type": "array", "items": _END, "maxItems": MAX_SIZES}]}),
]
"""A whole number or null, or a list with one for each axis."""
Steps = Annotated[
    tuple[int, ...],
    BeforeValidator(_integers(open_ended=False)),
    WithJsonSchema({"anyOf": [_INTEGER, {"type": "array", "items": _INTEGER, "maxItems": MAX_SIZES}]}),
]
"""A whole number, or a list with one for each axis."""


def _sides(value: Any) -> tuple[int, int, int, int]:
    sides = _padding(value if not isinstance(value, str) else whole(value, 0))
    assert not isinstance(sides, str)
    return sides


Sides = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_sides),
    WithJsonSchema(
        {
            "anyOf": [
                _SIDE,
                {"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2},
                {"type": "array", "items": _SIDE, "minItems": 4, "maxItems": 4},
            ]
        }
    ),
]
"""A number, [h, w] or [top, bottom, left, right]."""


def _any_sides(value: Any) -> tuple[int, int, int, int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    sides = [whole(side, -MAX_INTEGER) for side in values]
    if len(sides) not in (1, 2, 4):
        raise FieldError(f"has {len(sides)} numbers", "write one number, [h, w] or [top, bottom, left, right]")
    top, bottom, left, right = {1: sides * 4, 2: [s for s in sides for _ in range(2)], 4: sides}[len(sides)]
    return top, bottom, left, right


_ANY = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
AnySides = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(_any_sides),
    WithJsonSchema(
        {
            "anyOf": [
                _ANY,
                {"type": "array", "items": _ANY, "minItems": 2, "maxItems": 2},
                {"type": "array", "items": _ANY, "minItems": 4, "maxItems": 4},
            ]
        }
    ),
]
"""A number, [h, w] or [top, bottom, left, right]; they may be negative."""

AnyPair = Annotated[
    tuple[int, int],
    BeforeValidator(_pair(-MAX_INTEGER)),
    WithJsonSchema(_pair_schema(-MAX_INTEGER)),
]
"""A number or two; they may be negative."""


def real(value: Any) -> float:
    """`value` if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FieldError(f"must be a number, not {shown(value)}", "write digits, with a point if it is a fraction")
    return float(value)


def _scale(value: Any) -> tuple[float, float]:
    values = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(values) != 2:
        raise FieldError(f"has {len(values)} numbers, not 2", "write one number, or [height, width]")
    height, width = (real(number) for number in values)
    if min(height, width) <= 0:
        raise FieldError(f"is {shown(value)}, but must be above 0", "write result over input, such as 0.5 or 2")
    return height, width


_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
Scale = Annotated[
    tuple[float, float],
    BeforeValidator(_scale),
    WithJsonSchema({"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 2, "maxItems": 2}]}),
]
"""A positive number, or [height, width]; they may be fractions."""


def _region(value: Any) -> tuple[float, float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise FieldError(
            f"is {shown(value)}", "write [top, left, bottom, right], parts of the image: [0, 0, 1, 1] is all"
        )
    top, left, bottom, right = (real(number) for number in value)
    return top, left, bottom, right


Region = Annotated[
    tuple[float, float, float, float],
    BeforeValidator(_region),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}),
]
"""[top, left, bottom, right] in parts of the image."""


def resolve_padding(
    padding: SamePadding | tuple[int, int, int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Top, bottom, left and right padding for an input of `size` (height, width)."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0, 0, 0
    lower = padding == "same_lower"
    top, bottom = same_padding(size[0], kernel[0], stride[0], dilation[0], lower)
    left, right = same_padding(size[1], kernel[1], stride[1], dilation[1], lower)
    return top, bottom, left, right


def resolve_cropping(
    padding: SamePadding | tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """What a transposed convolution crops (top, bottom, left, right), and the output padding that `same` takes."""
    if not isinstance(padding, str):
        return padding, (0, 0)
    if padding == "valid":
        return (0, 0, 0, 0), (0, 0)
    lower = padding == "same_lower"
    top, bottom, rows = same_cropping(kernel[0], stride[0], dilation[0], lower)
    left, right, columns = same_cropping(kernel[1], stride[1], dilation[1], lower)
    return (top, bottom, left, right), (rows, columns)


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise FieldError(f"must be a name, not {shown(value)}", "put it in quotes")
    check_name(value)
    return str(value)


# Control characters, surrogates and the separators that end a line for some readers.
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
# They make text read in another order than it is stored in.
_BIDIRECTIONAL_CONTROLS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_name(name: str) -> str:
    """Return `name` if it can name a layer: any text of reasonable length without control characters."""
    if not name.strip():
        raise FieldError("is an empty name", "give it a name, or leave the key out")
    if len(name) > MAX_NAME:
        raise FieldError(f"is a name of {len(name):,} characters", f"use at most {MAX_NAME}")
    for character in name:
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _BIDIRECTIONAL_CONTROLS:
            raise FieldError(f"is a name with the control character U+{ord(character):04X}", "remove that character")
    return name


Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME})]
"""The name of a layer or input: any text of up to 200 characters, without control characters."""


def _names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else [value]
    if not names:
        raise FieldError("is an empty list", "name at least one layer, or leave the key out")
    return tuple(_name(name) for name in names)


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""One name, or a list of names."""
