"""The arena over time as a chart: every buffer a rectangle, steps to the right, offsets upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnngen.report.inspect import shortened, size
from cnngen.report.plan_data import Occupied, Timeline

HEIGHT = 300.0
LEFT, TOP, RIGHT, BOTTOM = 74.0, 26.0, 10.0, 40.0
WIDTH = 1000.0
NARROWEST_STEP, WIDEST_STEP = 6.0, 120.0
LETTER = 6.4
COLOURS = 6
SHOWN_AT_PEAK = 8

Scale = Callable[[float], float]
"""From a number of bytes to a height in the chart."""


@dataclass(frozen=True)
class Bar:
    """A buffer; `label` is empty where there is no room for it."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    label: str
    tooltip: str


@dataclass(frozen=True)
class Tick:
    """A mark at `at` on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class MemoryChart:
    """An SVG of `width` by `height` CSS pixels: the plot lies from (left, top) to (right, bottom).

    `live` is path data of the bytes in use at each step; `arena_y` and `bound_y` are the heights of
    the arena's size and of the lower bound, `bound_y` None where they are equal.
    """

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    bars: tuple[Bar, ...]
    live: str
    arena_y: float
    bound_y: float | None
    label: str
    bytes_ticks: tuple[Tick, ...]
    step_ticks: tuple[Tick, ...]
    peak_x: float
    peak_width: float
    peak_text: str
    at_peak: tuple[tuple[str, str], ...]
    more_at_peak: int


def memory_chart(memory: Timeline) -> MemoryChart | None:
    """The chart of a plan's arena; None where nothing lies in it."""
    if not memory.occupied:
        return None
    steps = len(memory.steps)
    step = min(max((WIDTH - LEFT - RIGHT) / steps, NARROWEST_STEP), WIDEST_STEP)
    full = max(memory.arena_bytes, 1)
    bottom, right = TOP + HEIGHT, LEFT + step * steps

    def y(offset: float) -> float:
        return bottom - HEIGHT * offset / full

    bars = tuple(_bar(buffer, step, y, place, memory) for place, buffer in enumerate(memory.occupied))
    points = [f"M{_n(LEFT)} {_n(y(memory.live[0]))}"]
    for place, live in enumerate(memory.live):
        points.append(f"V{_n(y(live))}H{_n(LEFT + (place + 1) * step)}")
    tight = memory.arena_bytes == memory.lower_bound_bytes
    alive = sorted(
        (buffer for buffer in memory.occupied if buffer.first <= memory.peak <= buffer.last), key=lambda b: -b.bytes
    )
    return MemoryChart(
        width=right + RIGHT,
        height=bottom + BOTTOM,
        left=LEFT,
        top=TOP,
        right=right,
        bottom=bottom,
        bars=bars,
        live="".join(points),
        arena_y=y(memory.arena_bytes),
        bound_y=None if tight else y(memory.lower_bound_bytes),
        label=f"arena {size(memory.arena_bytes)}, lower bound {size(memory.lower_bound_bytes)}"
        if not tight
        else f"arena = lower bound {size(memory.arena_bytes)}",
        bytes_ticks=tuple(Tick(y(number), size(number) or "0") for number in _round_numbers(full)),
        step_ticks=tuple(
            Tick(LEFT + (place + 0.5) * step, str(place)) for place in range(0, steps, max(1, round(34 / step)))
        ),
        peak_x=LEFT + memory.peak * step,
        peak_width=step,
        peak_text=f"step {memory.peak}, {memory.steps[memory.peak]}",
        at_peak=tuple((name_of(buffer), size(buffer.bytes)) for buffer in alive[:SHOWN_AT_PEAK]),
        more_at_peak=max(len(alive) - SHOWN_AT_PEAK, 0),
    )


def name_of(buffer: Occupied) -> str:
    """The tensors in a buffer: the last, which is the whole of it, stands for its parts and views."""
    others = len(buffer.tensors) - 1
    return buffer.tensors[-1] + (f" and {others} in the same place" if others else "")


def _bar(buffer: Occupied, step: float, y: Scale, place: int, memory: Timeline) -> Bar:
    width = (buffer.last - buffer.first + 1) * step
    height = y(buffer.offset) - y(buffer.offset + buffer.bytes)
    letters = int((width - 8) / LETTER)
    roomy = height >= 14 and letters >= min(len(buffer.tensors[-1]), 6)
    halo = ", with a border of zeros for the kernel that reads it" if buffer.halo else ""
    times = f"steps {buffer.first} to {buffer.last} ({memory.steps[buffer.first]} to {memory.steps[buffer.last]})"
    return Bar(
        x=LEFT + buffer.first * step,
        y=y(buffer.offset + buffer.bytes),
        width=width,
        height=height,
        colour=place % COLOURS,
        label=shortened(buffer.tensors[-1], letters) if roomy else "",
        tooltip=f"{', '.join(buffer.tensors)}\n{size(buffer.bytes)} from byte {buffer.offset:,} on{halo}\n{times}",
    )


def _round_numbers(most: int) -> Sequence[int]:
    """At most six multiples of a power of two, from 0 to `most`."""
    unit = 1
    while most / unit > 6:
        unit *= 2
    return range(0, most + 1, unit)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
