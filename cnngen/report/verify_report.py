"""What `verify` found: per layer, on integers and end to end; as text, as a Rich table and as data.

Written for the person who debugs a kernel: the first mismatch comes with its index, both values and
the bound, and with the ranges of the indices that mismatch, which usually name the culprit (the
last columns: a width tail; one residue of the channels: a vector tail; everything: a wrong offset).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnngen.ir import Array
from cnngen.ops import Bound
from cnngen.weight_storage import phrase

if TYPE_CHECKING:
    from rich.console import RenderableType

Status = Literal["pass", "warn", "fail"]
Exactness = Literal["exact", "activation", "bound"]


@dataclass(frozen=True)
class Mismatch:
    """One element that differs by more than its bound."""

    index: tuple[int, ...]
    native: float
    reference: float
    limit: float

    def __str__(self) -> str:
        difference = abs(self.native - self.reference)
        bound = "not even one rounding" if self.limit == 0 else f"{self.limit:.3g}"
        return (
            f"at {list(self.index)}: native {self.native:.9g}, reference {self.reference:.9g}, "
            f"difference {difference:.3g}, allowed {bound}"
        )


@dataclass(frozen=True)
class Comparison:
    """A native tensor against the reference and its bound.

    `worst_limit` and `worst_alarm` are the largest ratios of error to bound; `mismatches` counts the
    elements above the limit, `alarms` those above the alarm; `first` is the first mismatch in memory
    order, `where` the ranges of the mismatching indices on each axis.
    """

    elements: int
    worst_limit: float
    worst_alarm: float
    mismatches: int
    alarms: int
    first: Mismatch | None = None
    where: str = ""

    @property
    def status(self) -> Status:
        return "fail" if self.mismatches else "warn" if self.alarms else "pass"

    @staticmethod
    def of(native: Array, bound: Bound) -> Comparison:
        """Compare element by element. NaN equals NaN and nothing else; +0 equals -0.

        An infinity stands for a finite reference only where a correct kernel may overflow: where
        the reference with its bound reaches the largest number of the format.
        """
        value = bound.value
        if native.shape != value.shape:
            nothing = Mismatch((), math.nan, math.nan, 0.0)
            shapes = f"the native result has shape {native.shape}, the reference {value.shape}"
            return Comparison(value.size, math.inf, math.inf, value.size, value.size, nothing, shapes)
        actual = native.astype(np.float64)
        with np.errstate(all="ignore"):
            same = (actual == value) | (np.isnan(actual) & np.isnan(value))
            overflow = (
                np.isinf(actual) & (np.sign(actual) == np.sign(value)) & (np.abs(value) + bound.limit > bound.largest)
            )
            same |= overflow
            error = np.where(same, 0.0, np.abs(actual - value))
            # Written so that a NaN on either side counts as a mismatch.
            wrong = ~(error <= bound.limit) & ~same
            alarmed = ~(error <= bound.alarm) & ~same
        first, where = None, ""
        if wrong.any():
            index = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            position = tuple(int(i) for i in index)
            first = Mismatch(position, float(actual[index]), float(value[index]), float(bound.limit[index]))
            where = _ranges(wrong)
        return Comparison(
            elements=value.size,
            worst_limit=_worst(error, bound.limit),
            worst_alarm=_worst(error, bound.alarm),
            mismatches=int(wrong.sum()),
            alarms=int(alarmed.sum()),
            first=first,
            where=where,
        )


def _worst(error: Array, bound: Array) -> float:
    """Largest error / bound; 0 / 0 is 0, and NaN counts as infinite."""
    with np.errstate(all="ignore"):
        ratio = np.where(error == 0, 0.0, error / bound)
    return float(np.nan_to_num(ratio, nan=math.inf, posinf=math.inf).max(initial=0.0))


def _ranges(wrong: Array) -> str:
    """The mismatching indices on each axis, such as ``n all, h all, w 24-27, c 0,4,8``."""
    names = {4: "nhwc", 2: "nc"}.get(wrong.ndim, "")
    parts = []
    for axis, size in enumerate(wrong.shape):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        indices = [int(i) for i in np.flatnonzero(wrong.any(axis=others))]
        name = names[axis] if names else f"axis {axis}"
        parts.append(f"{name} {_spans(indices, size)}")
    return ", ".join(parts)


def _spans(indices: list[int], size: int) -> str:
    if len(indices) == size:
        return "all" if size > 1 else "0"
    spans: list[list[int]] = []
    for index in indices:
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in spans]
    shown = ",".join(texts[:6]) + (f",... ({len(indices)} of them)" if len(texts) > 6 else "")
    return f"{shown} of {size}"


@dataclass(frozen=True)
class LayerReport:
    """One node of the compiled graph.

    `floats`: the layer on the compiled network's own inputs to it, against the derived bound.
    `integers`: the layer alone on small integers; `exactness` says how that was held: `exact` (bit
    for bit), `activation` (exact up to the rounding of the activation function) or `bound`; `reason`
    says why.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    source: str | None
    floats: Comparison
    integers: Comparison
    exactness: Exactness
    reason: str

    @property
    def status(self) -> Status:
        found = {self.floats.status, self.integers.status}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"


@dataclass(frozen=True)
class OutputReport:
    """One output of the network, from the caller's arrays to the caller's arrays.

    `error` is the L2 norm of native minus reference over that of the reference; `estimate` is the
    same for a float64 run in which every element of every layer was moved by its alarm bound, up or
    down at random; `limit` is what fails. `top1` counts the images whose largest class agrees, of
    `images`, where the output is a vector of classes. `storage` is the part of the error that weights in 16 bits
    make: of the reference with rounded weights, in float64.
    """

    name: str
    error: float
    estimate: float
    limit: float
    images: int
    top1: int | None
    nearest_tie: float | None = None
    storage: float | None = None

    @property
    def status(self) -> Status:
        if not self.error <= self.limit:
            return "fail"
        return "warn" if self.top1 is not None and self.top1 < self.images else "pass"


@dataclass(frozen=True)
class Report:
    """Result of `cnngen.verify`; true where it passed."""

    network: str
    isa: str
    threads: int
    batch: int
    seed: int
    layers: tuple[LayerReport, ...]
    outputs: tuple[OutputReport, ...]
    seconds: float
    weight_storage: str = "fp32"

    @property
    def parts(self) -> tuple[LayerReport | OutputReport, ...]:
        """Everything that passed, warned or failed."""
        return (*self.layers, *self.outputs)

    @property
    def ok(self) -> bool:
        return all(part.status != "fail" for part in self.parts)

    def __bool__(self) -> bool:
        return self.ok

    def summary(self) -> str:
        """The report as plain text: one line a layer, then what went wrong, then the verdict."""
        lines = [self._title(), ""]
        rows = [_HEADER, *(_row(layer) for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines += ["", *(_output_line(output) for output in self.outputs)]
        notes = self._notes()
        lines += ["", *notes] if notes else []
        return "\n".join([*lines, "", self._verdict()])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able data; infinities and NaN are the strings `inf`, `-inf` and `nan`."""
        data: dict[str, Any] = _plain(asdict(self))
        data["ok"] = self.ok
        for item, part in zip([*data["layers"], *data["outputs"]], self.parts, strict=True):
            item["status"] = part.status
        return data

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self._title(), title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column, cell in enumerate(_HEADER):
            wraps = cell == _HEADER[-1]
            table.add_column(
                cell, justify="right" if column in _NUMERIC else "left", overflow="fold", no_wrap=not wraps
            )
        for layer in self.layers:
            style = _STYLES[layer.status]
            table.add_row(*(Text(cell, style=style if column == 0 else "") for column, cell in enumerate(_row(layer))))
        parts: list[RenderableType] = [table, Text()]
        parts += [Text(_output_line(output), style=_STYLES[output.status]) for output in self.outputs]
        parts += [Text(note) for note in self._notes()]
        parts.append(Text(self._verdict(), style="bold green" if self.ok else "bold red"))
        return Group(*parts)

    def _title(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        target = f"{self.isa}, {threads}{phrase(self.weight_storage)}"
        return f"{self.network}: verify, {target}, batch {self.batch}, seed {self.seed}"

    def _notes(self) -> list[str]:
        """One line for each finding that is not a pass, failures first."""
        notes: dict[Status, list[str]] = {"fail": [], "warn": []}
        for layer in self.layers:
            for what, found in (("on the network's own inputs", layer.floats), ("on integers", layer.integers)):
                if found.status != "pass":
                    notes[found.status].append(_note(layer, what, found))
        for output in self.outputs:
            if output.status == "fail":
                reason = f"error {output.error:.3g} exceeds {output.limit:.3g}"
                if all(layer.status != "fail" for layer in self.layers):
                    reason += "; every layer alone is right: suspect a pass, the boundary layout or buffer overlap"
                notes["fail"].append(f"FAIL output {output.name}: {reason}")
            elif output.status == "warn":
                notes["warn"].append(
                    f"warn output {output.name}: the largest class differs on {output.images - (output.top1 or 0)} "
                    f"images, where the reference's two best differ by {output.nearest_tie:.3g} or less"
                )
        return notes["fail"] + notes["warn"]

    def _verdict(self) -> str:
        exact = sum(layer.exactness == "exact" for layer in self.layers)
        failed = [part.name for part in self.parts if part.status == "fail"]
        warned = sum(part.status == "warn" for part in self.parts)
        tail = f"{len(self.layers)} layers ({exact} bit for bit on integers), {warned} warnings, {self.seconds:.1f} s"
        if failed:
            return f"FAILED: {failed[0]}{f' and {len(failed) - 1} more' if len(failed) > 1 else ''}; {tail}"
        return f"passed: {tail}"


_HEADER = ("", "layer", "op", "shape", "err/limit", "err/alarm", "integers", "held")
_NUMERIC = (4, 5)
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}
_MARKS = {"pass": "ok", "warn": "warn", "fail": "FAIL"}


def _row(layer: LayerReport) -> tuple[str, ...]:
    found = layer.integers
    verdict = f"{found.mismatches}/{found.elements} wrong" if found.mismatches else "ok"
    held = {"exact": "exact", "activation": "sum exact", "bound": "bound"}[layer.exactness]
    return (
        _MARKS[layer.status],
        layer.name,
        layer.kind,
        "x".join(map(str, layer.shape)),
        _ratio(layer.floats.worst_limit),
        _ratio(layer.floats.worst_alarm),
        verdict,
        held if layer.exactness == "exact" else f"{held}, {layer.reason}",
    )


def _ratio(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if value < 1e4 else "inf" if math.isinf(value) else f"{value:.0e}"


def _note(layer: LayerReport, what: str, found: Comparison) -> str:
    place = f"{layer.source}: " if layer.source else ""
    if found.status == "warn":
        return (
            f"warn {place}{layer.name} {what}: {found.alarms} of {found.elements} elements are within the sound bound "
            f"but {found.worst_alarm:.3g} times above what rounding errors usually reach"
        )
    return (
        f"FAIL {place}{layer.name} {what}: {found.mismatches} of {found.elements} elements wrong\n"
        f"       first {found.first}\n"
        f"       where {found.where}"
    )


def _output_line(output: OutputReport) -> str:
    line = (
        f"output {output.name}: L2-relative error {output.error:.2e} "
        f"(rounding estimate {output.estimate:.1e}, fails above {output.limit:.1e})"
    )
    if output.storage is not None:
        line += f", of which weights in 16 bits make {output.storage:.2e}"
    return line if output.top1 is None else f"{line}, top-1 agrees on {output.top1} of {output.images}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
