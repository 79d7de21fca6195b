"""The kernel that resizes images by any factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnngen.backends.cpu.kernels.base import Kernel, Strides
from cnngen.backends.text import c_float
from cnngen.errors import PlanError
from cnngen.ops.resampling import AxisTable


@dataclass(frozen=True)
class ResizeKernel(Kernel):
    """Every pixel as a weighted sum of some of the input's, which `tables` (rows, columns) name; over all channels.

    `shape` is the output's, `in_size` the input's height and width. Pixels that are extrapolated hold `value`.
    """

    template: ClassVar[str] = "resize.c.j2"
    shape: tuple[int, int, int, int]
    in_size: tuple[int, int]
    tables: tuple[AxisTable, AxisTable]
    value: float
    in_strides: Strides
    out_strides: Strides

    @property
    def label(self) -> str:
        rows, columns = self.tables
        n, h, w, c = self.shape
        taps = f"{rows.taps}x{columns.taps}"
        return f"resize_{taps}_{self.in_size[0]}x{self.in_size[1]}_to_{h}x{w}_c{c}_n{n}"

    @property
    def value_literal(self) -> str:
        return c_float(self.value)

    @property
    def extrapolates(self) -> bool:
        """Whether any pixel holds `value`."""
        return any(table.extrapolates for table in self.tables)

    def inside(self, axis: int, position: str) -> str:
        """The C expression for whether the output `position` along `axis` lies in the input."""
        first, end = self.tables[axis].inside
        if (first, end) == (0, self.shape[1 + axis]):
            return "1"
        if first == end:
            return "0"
        position = position if self.shape[1 + axis] > 1 else "0"
        return f"{position} >= {first} && {position} < {end}"

    def indices(self, axis: int) -> list[int]:
        """What the outputs along `axis` are made of, one output behind the other."""
        return [index for row in self.tables[axis].indices for index in row]

    def weights(self, axis: int) -> list[str]:
        """The weights of these, as literals."""
        return [c_float(weight) for row in self.tables[axis].weights for weight in row]

    def verify(self) -> None:
        for table, size, outputs in zip(self.tables, self.in_size, self.shape[1:3], strict=True):
            if table.size != outputs:
                raise PlanError(f"a table of {table.size} entries for {outputs} pixels")
            if not all(0 <= index < size for row in table.indices for index in row):
                raise PlanError(f"a table reads beyond the {size} pixels of the input")
