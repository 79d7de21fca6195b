"""What every layer of the spec language is: its common fields, and the table of all kinds."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Unpack

from pydantic import ConfigDict, Field

from cnngen import ops
from cnngen.frontends.fields import Model, Name, Names
from cnngen.ops.base import Types


@dataclass(frozen=True)
class Options:
    """What the rest of the spec says about how layers are read.

    `flatten_order` numbers the elements of an image as the framework did that trained the weights.
    """

    flatten_order: Literal["hwc", "chw"] = "hwc"
    layout: Literal["hwc", "chw"] = "hwc"
    """The order of the sizes of an image in the spec."""


class Common(Model):
    """Fields of every layer and of every use of a block."""

    name: Name | None = Field(None, description="Name of the layer and of its output; by default the kind and a number")
    inputs: Names | None = Field(None, description="Layers that this one reads; by default the one before it")
    when: bool = Field(True, description="With false the layer is left out, and its name stands for its input")
    repeat: Annotated[int, Field(ge=0, le=10_000)] = Field(
        1, description="How many such layers follow each other, each reading the one before"
    )


class Layer(Common):
    """Base of the layers. `arity` is the number of inputs: 1, or None for two and more."""

    kind: ClassVar[str]
    arity: ClassVar[int | None] = 1

    def __init_subclass__(cls, kind: str | None = None, **options: Unpack[ConfigDict]) -> None:
        super().__init_subclass__(**options)
        if kind is not None:
            cls.kind = kind
            LAYERS[kind] = cls

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Pydantic hands the `kind` on; `__init_subclass__` has dealt with it."""

    @abstractmethod
    def lower(self, inputs: Types, options: Options) -> ops.Op | list[ops.Op]:
        """The op that this layer becomes for inputs of these types; raises `ShapeError`.

        A list where it has several outputs: each op reads the inputs, and its output is called `<layer>.<number>`.
        """


LAYERS: dict[str, type[Layer]] = {}
"""Every layer by its kind, as it is written in a spec."""
