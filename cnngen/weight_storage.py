"""Weights in 16 bits: in which formats they may be stored, and of which layers.

At batch 1 a large dense layer takes as long as its weights take to come from memory: half the bytes, half the time.
Kernels turn them into float32 in registers, where products and sums stay float32. Which layers do is a property of
the network alone, so that results are the same for every batch, ISA and number of threads.
"""

from __future__ import annotations

FORMATS = ("fp32", "bf16", "fp16")
"""float32; its upper half (8 significant bits); IEEE binary16 (11 significant bits, up to 65504)."""
LEAST_WEIGHTS = 1 << 18
"""Weights of a dense layer from which on they are stored in fewer bits: a megabyte as float32. Smaller ones can stay in
a second-level cache from one run to the next, where they cost little."""


def narrows(weights: int) -> bool:
    """Whether a dense layer of so many weights stores them in 16 bits where that is asked for."""
    return weights >= LEAST_WEIGHTS


def phrase(storage: str) -> str:
    """What a line about a compiled network says of it, behind all else; nothing for float32."""
    return "" if storage == "fp32" else f", dense weights in {storage}"
