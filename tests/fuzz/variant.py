"""What the fuzzer compiles: a network in one of the ways that must not make a difference."""

from __future__ import annotations

from dataclasses import dataclass

from cnngen.network import Network


@dataclass(frozen=True)
class Variant:
    """One network for one batch size and ISA, compiled and loaded; `way` is what its twin does otherwise."""

    network: int
    batch: int
    isa: str
    way: str
    net: Network


class BuildWarningError(AssertionError):
    """The compiler had something to say about generated code."""
