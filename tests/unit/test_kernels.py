"""Kernels check their own tiles: a gap or an overlap is an error of the planner, before it is a wrong number."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import jinja2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnngen import resources
from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ChannelBlocks,
    ConvKernel,
    DepthwiseKernel,
    Epilogue,
    LrnKernel,
    Pixel,
    PlanarConvKernel,
    PoolKernel,
    Strip,
    verify_strips,
)
from cnngen.backends.cpu.plan import plan_graph, verify_plan
from cnngen.backends.text import c_float, environment
from cnngen.errors import PlanError
from cnngen.ops import FUNCTIONS, LRN, Activation, Conv2D, Op, Pool2D
from cnngen.passes import optimise
from cnngen.plan.memory import Arena
from tests.graphs import EXAMPLES, SAME3, chain
from tests.native import RUNNABLE, planned, target

K = TypeVar("K")


def kernel(kind: type[K], op: Op, shape: tuple[int, ...] = (1, 9, 13, 20), isa: str = "avx2-emulated") -> K:
    """The kernel of a network of this one layer."""
    plan = planned(chain(shape, op), isa)
    (found,) = (call.kernel for step in plan.steps for call in step.calls if isinstance(call.kernel, kind))
    return found


def conv() -> ConvKernel:
    """20 channels: one block of two full vectors, or the like, and a tail of four."""
    return kernel(ConvKernel, Conv2D(20, (3, 3), padding=SAME3))


# Tiles


@pytest.mark.parametrize(
    "strips",
    [
        (Strip(0, 4, 2),),
        (Strip(0, 4, 3),),
        (Strip(1, 3, 3),),
        (Strip(0, 4, 2), Strip(7, 2, 1)),
        (Strip(0, 4, 2), Strip(9, 1, 1)),
        (),
    ],
    ids=["too short", "too long", "late", "overlap", "gap", "nothing"],
)
def test_strips_that_do_not_cover_the_row_are_refused(strips: tuple[Strip, ...]) -> None:
    with pytest.raises(PlanError):
        verify_strips(strips, 10)


def test_strips_that_cover_the_row_pass() -> None:
    verify_strips((Strip(0, 4, 2), Strip(8, 1, 2)), 10)


def changed(blocks: tuple[ChannelBlocks, ...], position: int, **fields: object) -> tuple[ChannelBlocks, ...]:
    return tuple(replace(b, **fields) if i == position else b for i, b in enumerate(blocks))  # type: ignore[arg-type]  # any field


def test_a_planned_convolution_passes_and_a_damaged_one_is_refused() -> None:
    good = conv()
    good.verify()
    last = len(good.blocks) - 1
    block = good.blocks[last]
    assert block.tail == 4
    for blocks in (
        changed(good.blocks, last, first=block.first + 8),
        changed(good.blocks, last, tail=3),
        changed(good.blocks, last, tail=0),
        changed(good.blocks, last, vectors=block.vectors + 1),
        changed(good.blocks, last, count=2),
        changed(good.blocks, 0, strips=good.blocks[0].strips[:-1]),
        changed(good.blocks, 0, strips=(*good.blocks[0].strips, Strip(0, 1, 1))),
        good.blocks[:-1],
        (*good.blocks, block),
        (),
    ):
        with pytest.raises(PlanError):
            replace(good, blocks=blocks).verify()


def test_tiles_of_a_strip_have_to_lie_where_the_step_leads() -> None:
    """Pixels that are not evenly spaced: a strip of several tiles would compute the wrong ones."""
    good = conv()
    strip = next(s for block in good.blocks for s in block.strips if s.repeat > 1)
    for moved in (strip.first + strip.pixels, strip.first + strip.pixels + 1):
        pixels = list(good.pixels)
        pixels[moved] = Pixel(pixels[moved].input + 1, pixels[moved].output, pixels[moved].residual)
        with pytest.raises(PlanError, match="tile"):
            replace(good, pixels=tuple(pixels)).verify()


def test_a_small_image_is_one_row_whose_tiles_cross_its_lines() -> None:
    """5x7 pixels with a halo: every pixel lies where rows and columns say, tile by tile."""
    plan = planned(chain((1, 5, 7, 8), Conv2D(16, (3, 3), padding=SAME3)), "avx2-emulated")
    (found,) = (call.kernel for step in plan.steps for call in step.calls if isinstance(call.kernel, ConvKernel))
    assert found.rows == 1
    expected = [(y * 9 * 8 + x * 8, (y * 7 + x) * 16) for y in range(5) for x in range(7)]
    computed = []
    for strip in found.blocks[0].strips:
        tile, step, start = found.tile(found.blocks[0], strip), found.step(strip), found.pixels[strip.first]
        for t in range(strip.repeat):
            for pixel in tile.pixels:
                computed.append(
                    (start.input + t * step.input + pixel.input, start.output + t * step.output + pixel.output)
                )
    assert computed == expected


def test_planar_tiles_cover_every_pixel_and_filter_once() -> None:
    planar = kernel(PlanarConvKernel, Conv2D(3, (5, 5)), (1, 12, 28, 1))
    for columns in (*range(1, 40), 224):
        for filters in (1, 2, 6, 7, 20):
            good = replace(planar, columns=columns, filters=filters)
            good.verify()
            pixels = [
                first + i
                for first, vectors, tail in good.spans
                for i in range((vectors - 1) * good.lanes + (tail or good.lanes))
            ]
            assert pixels == list(range(columns))
            assert [f + i for f, count in good.passes for i in range(count)] == list(range(filters))
            assert all(count <= good.filters_tile for _, count in good.passes)


def test_depthwise_tiles_are_checked_and_read_each_column_for_every_tap_that_uses_it() -> None:
    good = kernel(DepthwiseKernel, Conv2D(20, (3, 3), (2, 2), groups=20, dilation=(1, 2)))
    good.verify()
    with pytest.raises(PlanError):
        replace(good, strips=good.strips[:-1]).verify()
    uses = [(column, pixel, tap) for column, pairs in good.columns_of(3) for pixel, tap in pairs]
    assert sorted((pixel, tap) for _, pixel, tap in uses) == [(p, t) for p in range(3) for t in range(3)]
    assert all(column == 2 * pixel + 2 * tap for column, pixel, tap in uses)


def test_verify_plan_looks_at_every_kernel() -> None:
    plan = planned(chain((1, 9, 13, 20), Conv2D(20, (3, 3), padding=SAME3)), "avx2-emulated")
    assert verify_plan(plan) is plan
    steps = []
    for step in plan.steps:
        calls = [
            replace(call, kernel=replace(call.kernel, blocks=call.kernel.blocks[:-1]))
            if isinstance(call.kernel, ConvKernel)
            else call
            for call in step.calls
        ]
        steps.append(replace(step, calls=tuple(calls)))
    with pytest.raises(PlanError):
        verify_plan(replace(plan, steps=tuple(steps)))


def test_verify_plan_looks_at_memory_and_parameters() -> None:
    plan = planned(chain((1, 6, 6, 4), Conv2D(4, (3, 3), padding=SAME3), Conv2D(4, (3, 3), padding=SAME3)), "scalar")
    assert len(plan.arena.buffers) == 2
    squeezed = tuple(replace(buffer, offset=0) for buffer in plan.arena.buffers)
    views = {name: view for name, view in plan.views.items() if name != "x"}

    def with_params(move: int) -> object:
        step = plan.steps[-1]
        call = replace(step.calls[-1], params=tuple(p + move for p in step.calls[-1].params))
        return replace(plan, steps=(*plan.steps[:-1], replace(step, calls=(*step.calls[:-1], call))))

    for damaged in (
        replace(plan, arena=Arena(squeezed, plan.arena.size, plan.arena.lower_bound)),
        replace(plan, blob_floats=plan.blob_floats - 16),
        replace(plan, views=views),
        with_params(8),
        with_params(-16),
    ):
        with pytest.raises(PlanError):
            verify_plan(damaged)  # type: ignore[arg-type]  # all are plans


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_planned_without_a_complaint(name: str, isa: str) -> None:
    plan = plan_graph(optimise(EXAMPLES[name]()), target(isa))
    symbols = list(plan.kernels.values())
    assert len(set(symbols)) == len(symbols)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", symbol) for symbol in symbols), symbols
    assert plan.arena.size >= plan.arena.lower_bound


def test_equal_layers_share_one_kernel() -> None:
    same = Conv2D(8, (3, 3), padding=SAME3)
    plan = planned(chain((1, 8, 8, 8), same, same, same, same), "avx2-emulated")
    assert sum(isinstance(found, ConvKernel) for found in plan.kernels) == 2, "the last one has no halo to write into"


def test_kernels_of_one_name_get_numbers() -> None:
    """Equal but for what the name does not say: dilation."""
    plan = planned(
        chain((1, 8, 8, 8), Conv2D(8, (3, 3), padding=SAME3), Conv2D(8, (3, 3), dilation=(2, 2), padding=(2, 2, 2, 2))),
        "scalar",
    )
    symbols = [symbol for found, symbol in plan.kernels.items() if isinstance(found, ConvKernel)]
    assert symbols[1] == f"{symbols[0]}_2"


# What templates print


@given(st.floats(width=32, allow_nan=False))
@settings(max_examples=500)
def test_literals_read_back_to_the_same_float(value: float) -> None:
    text = c_float(value)
    if np.isinf(value):
        assert text == ("INFINITY" if value > 0 else "-INFINITY")
        return
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text), text
    assert "." in text or "e" in text, "an integer with a suffix f is no C literal"
    assert np.float32(float(Fraction(text[:-1]))) == np.float32(value)


def test_literals_are_short() -> None:
    assert [c_float(x) for x in (0.0, 1.0, 0.1, -6.0, 1 / 3)] == ["0.0f", "1.0f", "0.1f", "-6.0f", "0.33333334f"]


def test_every_activation_is_a_call_of_the_vocabulary() -> None:
    text = (resources.templates_folder() / "c" / "simd" / "vector_math.h").read_text()
    for function in FUNCTIONS:
        call = Epilogue(Activation(function, 0.25, 0.5)).apply("a")
        name, arguments = re.fullmatch(r"(act_\w+)\((.*)\)", call).groups()  # type: ignore[union-attr]  # the assertion
        parameters = re.search(rf"static inline v_t {name}\((.*?)\)", text)
        assert parameters, f"{name} is not defined"
        assert len(parameters[1].split(", ")) == len(arguments.split(", ")), call
    assert Epilogue().apply("a") == "a"
    assert Epilogue().suffix == ""


@pytest.mark.parametrize(
    ("op", "clipped"),
    [
        (Pool2D("max", (2, 2), (2, 2)), False),
        (Pool2D("max", (3, 3), (2, 2), SAME3), True),
        (Pool2D("max", (2, 2), (2, 2), (0, 1, 0, 0)), True),
        (Pool2D("max", (2, 2), (2, 2), (0, 0, 0, 1)), True),
        (Pool2D("max", (3, 3), (2, 2), (0, 0, 1, 0)), True),
        # Padding at the end that no window reaches.
        (Pool2D("max", (3, 3), (2, 2), (0, 1, 0, 0)), False),
        (Pool2D("max", (2, 2), (2, 2), ceil_mode=True), True),
    ],
)
def test_pooling_is_clipped_only_where_a_window_leaves_the_image(op: Pool2D, clipped: bool) -> None:
    assert kernel(PoolKernel, op).clipped == clipped


def test_powers_of_a_quarter_need_no_logarithm() -> None:
    for beta, logarithm in ((0.5, False), (0.75, False), (1.0, False), (0.6, True)):
        text = kernel(LrnKernel, LRN(beta=beta)).normalised("x")
        assert ("v_log" in text) == logarithm, text


def test_no_template_reads_what_its_kernel_does_not_have() -> None:
    """Undefined names are errors: a kernel without `tail` cannot be printed by a template that asks for it."""
    found: AnyKernel = kernel(LrnKernel, LRN())
    template = environment("c").from_string("{{ k.no_such_field }}")
    with pytest.raises(jinja2.UndefinedError):
        template.render(k=found)


def test_tiles_cross_the_lines_of_an_image_only_where_every_thread_keeps_busy() -> None:
    """One block of channels and one row of tiles are a single unit of work: with two threads rows are shared."""
    graph = chain((1, 7, 7, 8), Conv2D(8, (3, 3), padding=SAME3))
    rows = {}
    for threads in (1, 2):
        plan = planned(graph, "avx2-emulated", threads)
        (found,) = (call.kernel for step in plan.steps for call in step.calls if isinstance(call.kernel, ConvKernel))
        rows[threads] = found.rows
    assert rows == {1: 1, 2: 7}
