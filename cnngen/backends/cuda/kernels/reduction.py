"""Kernels that make one element of many along any axes, and the product of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cuda.kernels.base import CudaKernel, ItemKernel, Launch, ceil_div
from cnngen.backends.text import c_float, replaces_best
from cnngen.ops.reduce import Reduction
from cnngen.plan.axis_loops import Loop

TERMS = {"l1": "fabsf({})", "l2": "{0} * {0}", "sum_square": "{0} * {0}", "log_sum_exp": "expf({} - shift)"}
JOINS = {"max": "max_nan({}, {})", "min": "min_nan({}, {})", "prod": "{} * {}"}
STARTS = {"max": "-INFINITY", "min": "INFINITY", "prod": "1.0f"}


def digits(number: str, loops: tuple[tuple[int, ...], ...], side: int) -> str:
    """The offset of step `number` of nested loops of (count, step, ...)."""
    terms: list[str] = []
    below = 1
    for position in reversed(range(len(loops))):
        count, step = loops[position][0], loops[position][side]
        if count > 1 and step:
            index = f"{number} / {below}" if below > 1 else number
            terms.insert(0, f"{index} % {count} * {step}" if position else f"{index} * {step}")
        below *= count
    return " + ".join(terms) or "0"


@dataclass(frozen=True)
class ReduceKernel(CudaKernel):
    """One element of many: a warp for each where neighbours become one, else a thread."""

    template: ClassVar[str] = "reduce.cu.j2"
    threads: ClassVar[int] = 128
    function: Reduction
    kept: tuple[Loop, ...]
    reduced: tuple[tuple[int, int], ...]
    along: bool
    input_type: str
    output_type: str

    @property
    def label(self) -> str:
        return f"reduce_{self.function}_{self.items}_of_{self.count}" + ("_along" if self.along else "")

    @property
    def items(self) -> int:
        return math.prod(loop[0] for loop in self.kept)

    @property
    def count(self) -> int:
        return math.prod(loop[0] for loop in self.reduced)

    @property
    def lanes(self) -> int:
        """Threads that share an element."""
        return 32 if self.along else 1

    @property
    def launch(self) -> Launch:
        return Launch((ceil_div(self.items * self.lanes, self.threads), 1, 1), self.threads)

    def kept_offset(self, side: int) -> str:
        return digits("item", self.kept, side)

    @property
    def reduced_offset(self) -> str:
        return digits("r", self.reduced, 1)

    @property
    def shifted(self) -> bool:
        return self.function == "log_sum_exp"

    @property
    def start(self) -> str:
        return STARTS.get(self.function, "0.0f")

    def term(self, value: str) -> str:
        return TERMS.get(self.function, "{}").format(value)

    def joined(self, a: str, b: str) -> str:
        return JOINS.get(self.function, "{} + {}").format(a, b)

    @property
    def finished(self) -> str:
        return {
            "mean": f"result / {c_float(self.count)}",
            "l2": "sqrtf(result)",
            "log_sum": "logf(result)",
            "log_sum_exp": "logf(result) + shift",
        }.get(self.function, "result")


@dataclass(frozen=True)
class ArgReduceKernel(ItemKernel):
    """The index of the largest or smallest of `count` elements, `step` apart, a thread for each."""

    template: ClassVar[str] = "arg_reduce.cu.j2"
    function: Literal["max", "min"]
    select_last: bool
    kept: tuple[Loop, ...]
    count: int
    step: int
    input_type: str
    output_type: str

    @property
    def label(self) -> str:
        return f"arg_{self.function}{'_last' if self.select_last else ''}_{self.items}_of_{self.count}"

    @property
    def items(self) -> int:
        return math.prod(loop[0] for loop in self.kept)

    def kept_offset(self, side: int) -> str:
        return digits("item", self.kept, side)

    @property
    def better(self) -> str:
        """The condition under which `v` replaces `best`."""
        return replaces_best(self.function, self.select_last)


@dataclass(frozen=True)
class MatMulKernel(ItemKernel):
    """Products of matrices, a thread for each element; neighbours in a row read neighbours of b."""

    template: ClassVar[str] = "matmul.cu.j2"
    rows: int
    inner: int
    columns: int
    a_strides: tuple[int, int]
    b_stride: int
    out_stride: int
    loops: tuple[tuple[int, int, int, int], ...]
    left_type: str
    right_type: str
    output_type: str

    @property
    def label(self) -> str:
        return f"matmul_{self.rows}x{self.inner}x{self.columns}_n{self.pairs}"

    @property
    def pairs(self) -> int:
        return math.prod(loop[0] for loop in self.loops)

    @property
    def items(self) -> int:
        return self.pairs * self.rows * self.columns

    def origin(self, side: int) -> str:
        """Where the pair of matrices at hand lies."""
        return digits("pair", self.loops, side)
