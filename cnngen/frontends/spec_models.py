"""The spec as a whole: its header, inputs, weights and blocks. The layers are in `layers`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from cnngen.frontends.fields import MAX_INTEGER, MAX_SIZES, FieldError, Model, Name, Names, shown, whole

VERSION = 1
_NETWORK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Required:
    """Stands for the default of a parameter that has none."""


REQUIRED: Final = Required()


def _version(value: Any) -> int:
    if type(value) is not int or value != VERSION:
        raise FieldError(f"is {shown(value)}, but this cnngen reads version {VERSION}", f"write `cnngen: {VERSION}`")
    return VERSION


def _network_name(value: Any) -> str:
    if not isinstance(value, str) or not _NETWORK_NAME.fullmatch(value) or ".." in value:
        raise FieldError(
            f"is {shown(value)}, but it names folders and files", "use up to 64 letters, digits, and _ - . inside"
        )
    return str(value)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_SIZES:
        raise FieldError(
            f"is {shown(value)}",
            "write [height, width, channels] (with `layout: chw` [channels, height, width]), [features] or "
            f"up to {MAX_SIZES} others, without the batch",
        )
    return tuple(whole(size, 1) for size in value)


class InputSpec(Model):
    """A tensor that the caller provides, without the batch."""

    shape: Annotated[
        tuple[int, ...],
        BeforeValidator(_shape),
        WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": MAX_SIZES}),
    ] = Field(description="[height, width, channels] for hwc, [channels, height, width] for chw, [features], or others")
    layout: Literal["hwc", "chw"] = Field("hwc", description="Order of the axes of what the network takes and returns")
    batch: bool = Field(True, description="Whether a batch is in front of `shape`; false: the shape is the whole one")


class WeightsFile(Model):
    """Trained weights: a .safetensors or .npz file beside the spec."""

    file: str | None = Field(None, description="Path relative to the spec, within its folder")
    format: Literal["keras", "torch"] = Field(
        description="keras: HWIO kernels, dense (in, out); torch: OIHW, (out, in), flatten in CHW order"
    )
    convert: bool = Field(False, description="Convert float64, float16 and bfloat16 to float32")
    strict: bool = Field(False, description="NaN or infinity is an error, not a warning")


def _input_kind(value: Any) -> str:
    several = isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values())
    return "<several>" if several else "<one>"


def _weights_kind(value: Any) -> str:
    return "<file>" if isinstance(value, dict) else "<random>"


def _random(value: Any) -> str:
    if value != "random":
        raise FieldError(f"is {shown(value)}", "write `random`, or {file: weights/net.safetensors, format: keras}")
    return "random"


def _parameters(value: Any) -> dict[str, Any]:
    """``[filters, stride: 1]`` as a mapping of names to defaults."""
    parameters: dict[str, Any] = {}
    if not isinstance(value, list):
        raise FieldError(f"is {shown(value)}", "write a list such as [filters, stride: 1]")
    for entry in value:
        pairs = entry.items() if isinstance(entry, dict) else [(entry, REQUIRED)]
        for name, default in pairs:
            if not isinstance(name, str) or not _PARAMETER_NAME.fullmatch(name):
                raise FieldError(f"has {shown(name)}", "a parameter's name is up to 64 letters, digits and _")
            if name in RESERVED_PARAMETERS:
                raise FieldError(f"has {name!r}, which every layer has or which is predefined", "choose another name")
            if name in parameters:
                raise FieldError(f"has {name!r} twice", "remove one of the two")
            parameters[name] = default
    return parameters


BLOCK_INPUT = "input"
"""What the layers of a block call the tensor that the block reads."""
INPUT_CHANNELS = "input_channels"
"""Predefined in every block: the number of channels of its input."""
RESERVED_PARAMETERS = frozenset({"name", "inputs", "when", "repeat", INPUT_CHANNELS})

LayerList = Annotated[list[Any], Field(min_length=1)]
"""Layers as they stand in the file: they are checked one by one, with their blocks expanded."""


class Block(Model):
    """Layers to be used many times; `$name` in their fields stands for a parameter."""

    parameters: Annotated[
        dict[str, Any],
        BeforeValidator(_parameters),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1, "minProperties": 1}]},
            }
        ),
    ] = Field(default_factory=dict, description="Names of the parameters, with their defaults: [filters, stride: 1]")
    layers: LayerList = Field(description="The layers; `input` names what the block reads")


class Spec(Model):
    """A network in the spec language of cnngen."""

    cnngen: Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": VERSION})] = Field(
        description="Version of the language"
    )
    name: Annotated[
        str | None, BeforeValidator(_network_name), WithJsonSchema({"type": "string", "pattern": _NETWORK_NAME.pattern})
    ] = Field(None, description="Name of the network, by default that of the file")
    input: Annotated[
        Annotated[InputSpec, Tag("<one>")] | Annotated[dict[Name, InputSpec], Tag("<several>")],
        Discriminator(_input_kind),
    ] = Field(description="The input, or several by name")
    weights: Annotated[
        Annotated[Literal["random"], BeforeValidator(_random), Tag("<random>")] | Annotated[WeightsFile, Tag("<file>")],
        Discriminator(_weights_kind),
    ] = Field(description="random, or a file with its format")
    seed: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = Field(0, description="Seed of random weights")
    blocks: dict[str, Block] = Field(default_factory=dict, description="Reusable blocks of layers, by name")
    layers: LayerList = Field(description="The layers in order; each reads the one before unless it has inputs")
    outputs: Names | None = Field(None, description="Names of the layers that the network returns; by default the last")
