"""Kernels that make one element of many along any axes, and the product of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnngen.backends.cpu.kernels.base import Kernel
from cnngen.backends.text import c_float, replaces_best
from cnngen.errors import PlanError
from cnngen.ops.reduce import Reduction
from cnngen.plan.axis_loops import Loop

TERMS = {
    "l1": "v_abs({})",
    "l2": "v_mul({0}, {0})",
    "sum_square": "v_mul({0}, {0})",
    "log_sum_exp": "v_exp(v_sub({}, shift))",
}
JOINS = {"max": "v_max_nan", "min": "v_min_nan", "prod": "v_mul"}
STARTS = {"max": "-INFINITY", "min": "INFINITY", "prod": "1.0f"}
SCALAR_JOINS = {
    "max": "total = part > total || part != part ? part : total;",
    "min": "total = part < total || part != part ? part : total;",
    "prod": "total *= part;",
}


def origin(base: str, loops: tuple[Loop, ...], side: int, below: int = 1) -> str:
    """Where the unit at hand begins: the loops' indices are digits of its number, of which `below` are others'."""
    terms = [base]
    for position in reversed(range(len(loops))):
        count, step = loops[position][0], loops[position][side]
        index = f"unit / {below}" if below > 1 else "unit"
        if math.prod(loop[0] for loop in loops[:position]) > 1:
            index = f"{index} % {count}"
        if step and count > 1:
            whole = index if index == "unit" else f"({index})"
            terms.insert(1, whole if step == 1 else f"(ptrdiff_t){whole} * {step}")
        below *= count
    return " + ".join(terms)


@dataclass(frozen=True)
class ReduceKernel(Kernel):
    """One element of many. `kept` and `reduced` are nested loops, see `ReductionLoops`.

    Along neighbours the sum has `parts` fixed parts, so that it has the same bits on every ISA; across them it is
    vectorised over what is kept.
    """

    template: ClassVar[str] = "reduce.c.j2"
    parts: ClassVar[int] = 16
    function: Reduction
    kept: tuple[Loop, ...]
    reduced: tuple[tuple[int, int], ...]
    along: bool

    @property
    def label(self) -> str:
        kept, reduced = ("x".join(str(loop[0]) for loop in loops) or "1" for loops in (self.kept, self.reduced))
        return f"reduce_{self.function}_{kept}_of_{reduced}" + ("_along" if self.along else "")

    @property
    def outer(self) -> tuple[Loop, ...]:
        """The loops whose indices a unit of work stands for."""
        return self.kept if self.along else self.kept[:-1]

    @property
    def units(self) -> int:
        return math.prod(loop[0] for loop in self.outer)

    def origin(self, base: str, side: int) -> str:
        return origin(base, self.outer, side)

    @property
    def count(self) -> int:
        """Elements that become one."""
        return math.prod(loop[0] for loop in self.reduced)

    @property
    def run(self) -> int:
        """Neighbours: those that become one, or those that are kept."""
        return self.reduced[-1][0] if self.along else self.kept[-1][0]

    @property
    def inner(self) -> tuple[tuple[int, int], ...]:
        """The loops over what is reduced, without the one along neighbours."""
        return self.reduced[:-1] if self.along else self.reduced

    @property
    def tail(self) -> int:
        """Neighbours that fill no block of parts."""
        return self.run % self.parts

    @property
    def vectors(self) -> int:
        """Vectors of partial sums."""
        return self.parts // self.lanes

    @property
    def start(self) -> str:
        return STARTS.get(self.function, "0.0f")

    @property
    def shifted(self) -> bool:
        """Whether the largest is searched first."""
        return self.function == "log_sum_exp"

    @property
    def fill(self) -> str:
        """A number that changes nothing."""
        return "-INFINITY" if self.shifted else self.start

    def joined(self, a: str, x: str) -> str:
        """The expression for `a` with the loaded `x`."""
        return f"{JOINS.get(self.function, 'v_add')}({a}, {TERMS.get(self.function, '{}').format(x)})"

    @property
    def scalar_join(self) -> str:
        return SCALAR_JOINS.get(self.function, "total += part;")

    def finished(self, a: str) -> str:
        """The expression for the result."""
        match self.function:
            case "mean":
                return f"v_div({a}, v_set1({c_float(self.count)}))"
            case "l2":
                return f"v_sqrt({a})"
            case "log_sum":
                return f"v_log_any({a})"
            case "log_sum_exp":
                return f"v_add(v_log_any({a}), shift)"
        return a

    def verify(self) -> None:
        if self.along and (not self.reduced or self.reduced[-1][1] != 1 or self.parts % self.lanes):
            raise PlanError(f"{self.label} does not reduce neighbours")
        if not self.along and (not self.kept or self.kept[-1][1:] != (1, 1)):
            raise PlanError(f"{self.label} does not keep neighbours")


@dataclass(frozen=True)
class ArgReduceKernel(Kernel):
    """The index of the largest or smallest of `count` elements, `step` apart, for each of what is `kept`."""

    template: ClassVar[str] = "arg_reduce.c.j2"
    function: Literal["max", "min"]
    select_last: bool
    kept: tuple[Loop, ...]
    count: int
    step: int

    @property
    def label(self) -> str:
        kept = "x".join(str(loop[0]) for loop in self.kept) or "1"
        return f"arg_{self.function}{'_last' if self.select_last else ''}_{kept}_of_{self.count}"

    @property
    def units(self) -> int:
        return math.prod(loop[0] for loop in self.kept)

    def origin(self, base: str, side: int) -> str:
        return origin(base, self.kept, side)

    @property
    def better(self) -> str:
        """The condition under which `v` replaces `best`."""
        return replaces_best(self.function, self.select_last)


@dataclass(frozen=True)
class MatMulKernel(Kernel):
    """Products of matrices, vectorised over the columns; `loops` go over pairs of matrices.

    A unit of work is a block of `tile` rows of one product. Its sums are held in registers, `held` vectors at a time.
    """

    template: ClassVar[str] = "matmul.c.j2"
    held: ClassVar[int] = 2
    rows: int
    inner: int
    columns: int
    a_strides: tuple[int, int]
    b_stride: int
    out_stride: int
    loops: tuple[tuple[int, int, int, int], ...]

    @property
    def label(self) -> str:
        count = math.prod(loop[0] for loop in self.loops)
        return f"matmul_{self.rows}x{self.inner}x{self.columns}" + (f"_n{count}" if count > 1 else "")

    @property
    def tile(self) -> int:
        """Rows whose sums fit the registers of the ISA."""
        return min({1: 2, 4: 4, 8: 6, 16: 12}[self.lanes], self.rows)

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.tile)

    @property
    def units(self) -> int:
        return math.prod(loop[0] for loop in self.loops) * self.blocks

    def origin(self, base: str, side: int) -> str:
        return origin(base, tuple(self.loops), side, self.blocks)  # type: ignore[arg-type]  # any number of operands

    @property
    def strips(self) -> tuple[tuple[int, int, int, int], ...]:
        """Columns as (first, vectors, lanes in use of the last one or 0, how often)."""
        whole, tail = divmod(self.columns, self.lanes)
        pairs, single = divmod(whole, self.held)
        strips = [(0, self.held, 0, pairs)] if pairs else []
        first = pairs * self.held * self.lanes
        rest = single + bool(tail)
        return (*strips, (first, rest, tail, 1)) if rest else tuple(strips)

    def verify(self) -> None:
        covered = sum(
            (vectors * self.lanes - ((self.lanes - tail) if tail else 0)) * often
            for _, vectors, tail, often in self.strips
        )
        if covered != self.columns:
            raise PlanError(f"strips {self.strips} cover {covered} of {self.columns} columns")
