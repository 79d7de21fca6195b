"""Where tensors lie: halos, staging, aliases, concatenation slices, outputs.

Each network is also run: its integers make float32 exact, so a tensor that lies in the wrong place, or
is overwritten too early, changes the result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from cnngen.backends.cpu.halo import halo_of, spare_of
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.cpu.target import ISAS, Target
from cnngen.ir import Graph, TensorType
from cnngen.ops import Activation, Add, Concat, Conv2D, Dense, Flatten, GlobalPool2D, Identity, Pool2D, Transpose
from cnngen.passes.elide_concat import elide_concat
from cnngen.plan.layout import Layout, lay_out
from cnngen.plan.memory import NO_HALO, View, as_image
from cnngen.reference import reference
from tests.graphs import RELU, SAME3, Builder, feed
from tests.native import RUNNABLE, native

SAME = Conv2D(4, (3, 3), padding=SAME3)
POINTWISE = Conv2D(4, (1, 1))
SHAPE = (1, 6, 7, 4)

HALO = partial(halo_of, target=Target(ISAS["avx2"], reproducible=True))
"""Of direct convolutions."""


def net(shape: tuple[int, ...] = SHAPE) -> Builder:
    return Builder(shape, weights="integers")


def run(graph: Graph, isa: str = "scalar") -> Plan:
    """The plan of `graph`, whose native code gives the reference's tensors bit for bit."""
    x = feed(graph, "integers")
    expected = reference(graph, x, keep=True)
    with native(graph, isa, flags=("-O0",)) as network:
        results = network(*x.values())
        for name, result in zip(graph.outputs, results if len(graph.outputs) > 1 else [results], strict=True):
            assert np.array_equal(result, expected[name]), name
        for name, tensor in network.trace(*x.values()).items():
            assert np.array_equal(tensor, expected[name]), name
        return network.plan


def steps(plan: Plan) -> list[str]:
    return [step.title.split(":")[0] for step in plan.steps]


def room(layout: Layout, name: str) -> tuple[int, int, int, int]:
    """The halo of the arena buffer that `name` lies in."""
    assert layout.views[name].space == "arena"
    return layout.buffers[layout.views[name].index].halo


# Halos


@pytest.mark.parametrize(
    ("op", "halo"),
    [
        (Conv2D(4, (3, 3)), (0, 0, 0, 0)),
        (Conv2D(4, (3, 3), padding=SAME3), (1, 1, 1, 1)),
        (Conv2D(4, (3, 3), padding=(2, 0, 0, 1)), (2, 0, 0, 1)),
        # The last window of a strided convolution may end before the padding does.
        (Conv2D(4, (3, 3), (2, 2), SAME3), (1, 0, 1, 1)),
        (Conv2D(4, (1, 1), (4, 4), (3, 3, 3, 3)), (3, 0, 3, 3)),
        (Conv2D(4, (3, 2), dilation=(2, 3), padding=(2, 2, 1, 2)), (2, 2, 1, 2)),
        (Pool2D("max", (3, 3), (2, 2), SAME3), NO_HALO),
    ],
)
def test_a_convolution_needs_the_padding_that_its_windows_reach(op: Conv2D, halo: tuple[int, int, int, int]) -> None:
    builder = net()
    graph = builder.graph(builder.add(op, "x"))
    assert HALO(graph, graph.nodes[0]) == halo


def test_a_buffer_has_the_largest_halo_of_its_readers_on_each_side() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x")
    low = builder.add(Conv2D(4, (3, 3), padding=(2, 0, 0, 1)), a)
    high = builder.add(Conv2D(4, (3, 3), padding=(0, 1, 2, 0)), a)
    pooled = builder.add(Pool2D("max", (2, 2), (2, 2)), a)
    graph = builder.graph(low, high, pooled)
    assert room(lay_out(graph, HALO), a) == (2, 1, 2, 1)
    run(graph)


def test_an_input_with_a_halo_is_staged_and_one_without_is_read_in_place() -> None:
    builder = Builder({"padded": SHAPE, "plain": SHAPE}, weights="integers")
    a, b = builder.add(SAME, "padded"), builder.add(POINTWISE, "plain")
    graph = builder.graph(a, b)
    layout = lay_out(graph, HALO)
    assert layout.staged == {"padded"}
    assert room(layout, "padded") == (1, 1, 1, 1)
    assert layout.views["plain"] == View.packed("input", 1, graph.types["plain"])
    assert steps(run(graph))[0] == "stage padded"


def test_the_residual_operand_needs_no_halo() -> None:
    builder = net()
    a, b = builder.add(POINTWISE, "x"), builder.add(POINTWISE, "x")
    graph = builder.graph(builder.add(Conv2D(4, (3, 3), padding=SAME3, residual=True), a, b))
    layout = lay_out(graph, HALO)
    assert room(layout, a) == (1, 1, 1, 1)
    assert room(layout, b) == NO_HALO
    run(graph)


def test_halos_are_zero_although_their_memory_was_used_before() -> None:
    """Buffers of a long chain alternate between few places; each halo has to be cleared again."""
    builder = net((2, 6, 7, 4))
    for number in range(6):
        builder.add(Conv2D(4, (3, 3), padding=(number % 3, 2 - number % 3, 1, 1)))
    plan = run(builder.graph())
    assert len(plan.arena.buffers) == 6
    assert plan.arena.size == plan.arena.lower_bound


# Aliases


def test_flatten_and_identity_of_a_dense_tensor_are_views() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x")
    same = builder.add(Identity(), a)
    flat = builder.add(Flatten(), same)
    builder.add(Dense(3), flat)
    graph = builder.graph()
    layout = lay_out(graph, HALO)
    assert layout.aliases == {same, flat}
    assert layout.views[flat].shape == (1, 1, 1, 6 * 7 * 4)
    assert (layout.views[flat].space, layout.views[flat].offset) == (layout.views[a].space, layout.views[a].offset)
    run(graph)


def with_halo(builder: Builder) -> list[str]:
    a = builder.add(POINTWISE, "x")
    return [builder.add(Flatten(), a), builder.add(SAME, a)]


def of_an_input_with_halo(builder: Builder) -> list[str]:
    return [builder.add(Flatten(), "x"), builder.add(SAME, "x")]


def of_an_identity_with_halo(builder: Builder) -> list[str]:
    a = builder.add(Identity(), builder.add(POINTWISE, "x"))
    return [builder.add(Flatten(), a), builder.add(SAME, a)]


def in_another_order(builder: Builder) -> list[str]:
    return [builder.add(Flatten("chw"), builder.add(POINTWISE, "x"))]


@pytest.mark.parametrize("build", [with_halo, of_an_input_with_halo, of_an_identity_with_halo, in_another_order])
def test_a_flatten_is_a_copy_where_the_elements_do_not_lie_in_its_order(build: Callable[[Builder], list[str]]) -> None:
    builder = net()
    names = build(builder)
    graph = builder.graph(builder.add(Dense(3), names[0]), *names[1:])
    assert names[0] not in lay_out(graph, HALO).aliases
    run(graph)


@pytest.mark.parametrize("shape", [(2, 1, 1, 9), (2, 5, 4, 1)])
def test_a_flatten_of_one_pixel_or_one_channel_is_a_view_in_any_order(shape: tuple[int, ...]) -> None:
    builder = net(shape)
    flat = builder.add(Flatten("chw"), "x")
    graph = builder.graph(builder.add(Dense(3), flat))
    assert flat in lay_out(graph, HALO).aliases
    run(graph)


# Spare floats between pixels


@pytest.mark.parametrize(
    ("op", "channels", "spare"),
    [
        (POINTWISE, 1024, 16),
        (POINTWISE, 2048, 16),
        (Conv2D(4, (3, 3), padding=SAME3), 3072, 16),
        (Conv2D(4, (1, 1), (1, 2)), 512, 16),
        (POINTWISE, 512, 0),
        (Conv2D(4, (1, 1), (2, 1)), 512, 0),
        (POINTWISE, 1023, 0),
        (Pool2D("max", (2, 2), (2, 2)), 1024, 0),
    ],
)
def test_pixels_that_a_convolution_reads_4_kib_apart_get_another_line(op: Conv2D, channels: int, spare: int) -> None:
    builder = net((1, 3, 4, channels))
    graph = builder.graph(builder.add(op, "x"))
    assert spare_of(graph, graph.nodes[0]) == spare


def test_a_row_of_one_pixel_needs_no_spare_floats() -> None:
    builder = net((1, 3, 1, 1024))
    graph = builder.graph(builder.add(POINTWISE, "x"))
    assert spare_of(graph, graph.nodes[0]) == 0


def wide_read(builder: Builder) -> list[str]:
    """By convolutions with and without a halo, element by element, as a residual, by a pool and by a copy."""
    a = builder.add(Conv2D(1024, (1, 1), activation=Activation("relu")), "x", name="wide")
    b = builder.add(Conv2D(1024, (1, 1), residual=True), "x", a)
    summed = builder.add(Add(), a, b)
    pooled = builder.add(Pool2D("max", (2, 2), (2, 2)), summed)
    return [
        builder.add(SAME, a),
        builder.add(Conv2D(4, (1, 1), (2, 2)), a),
        builder.add(POINTWISE, summed),
        builder.add(Flatten(), a),
        builder.add(Flatten("chw"), a),
        builder.add(POINTWISE, pooled),
        builder.add(GlobalPool2D("max"), b),
    ]


def wide_of_slices(builder: Builder) -> list[str]:
    parts = [builder.add(Conv2D(count, (1, 1)), "x") for count in (1000, 24)]
    joined = builder.add(Concat(), *parts, name="wide")
    return [builder.add(POINTWISE, joined), builder.add(POINTWISE, parts[1]), builder.add(Flatten(), parts[0])]


def wide_under_another_name(builder: Builder) -> list[str]:
    a = builder.add(Conv2D(1024, (1, 1)), "x", name="wide")
    same = builder.add(Identity(), a)
    return [builder.add(POINTWISE, same), builder.add(Flatten(), same), builder.add(GlobalPool2D("max"), a)]


@pytest.mark.parametrize("isa", RUNNABLE)
def test_an_input_whose_pixels_lie_4_kib_apart_is_staged(isa: str) -> None:
    builder = net((1, 3, 4, 1024))
    graph = builder.graph(builder.add(POINTWISE, "x"))
    layout = lay_out(graph, HALO, spare_of)
    assert layout.staged == {"x"}
    assert layout.views["x"].strides[2] == 1024 + 16
    run(graph, isa)


@pytest.mark.parametrize("build", [wide_read, wide_of_slices, wide_under_another_name])
@pytest.mark.parametrize("isa", RUNNABLE)
def test_every_reader_finds_pixels_with_spare_floats_between(build: Callable[[Builder], list[str]], isa: str) -> None:
    builder = net((2, 4, 3, 5))
    plan = run(elide_concat(builder.graph(*build(builder))), isa)
    n, h, w, c = plan.views["wide"].shape
    assert plan.views["wide"].strides[2] == 1024 + 16
    assert (n, h, w, c) == (2, 4, 3, 1024)


# Concatenation


def test_producers_write_into_their_slice_of_a_concatenation() -> None:
    builder = net()
    parts = [builder.add(Conv2D(count, (1, 1)), "x") for count in (3, 1, 5)]
    joined = builder.add(Concat(), *parts)
    graph = elide_concat(builder.graph(builder.add(SAME, joined)))
    layout = lay_out(graph, HALO)
    assert room(layout, joined) == (1, 1, 1, 1)
    first = 0
    for name, count in zip(parts, (3, 1, 5), strict=True):
        assert layout.views[name] == layout.views[joined].slice_channels(first, count)
        first += count
    assert len(run(graph).steps) == 4, "nothing is copied"


def test_what_cannot_lie_in_the_concatenation_is_copied() -> None:
    """The caller's input, an output, a tensor that occurs twice, a view."""
    builder = net()
    out = builder.add(POINTWISE, "x", name="out")
    twice = builder.add(Conv2D(2, (1, 1)), "x", name="twice")
    view = builder.add(Identity(), builder.add(Conv2D(1, (1, 1)), "x"), name="view")
    inside = builder.add(Conv2D(5, (3, 3), padding=SAME3), "x", name="inside")
    joined = builder.add(Concat(), "x", out, twice, inside, twice, view, name="joined")
    graph = elide_concat(builder.graph(out, builder.add(RELU, joined)))
    assert set(graph.placements) == {inside}
    plan = run(graph)
    (step,) = (step for step in plan.steps if step.node == joined)
    assert len(step.calls) == 5


def test_concatenations_nest_as_in_a_densenet() -> None:
    """Each layer reads everything before it, inside the one buffer that the last concatenation fills."""
    builder = net()
    state = builder.add(POINTWISE, "x", name="start")
    states = []
    for number in range(3):
        new = builder.add(Conv2D(2, (3, 3), padding=SAME3), state, name=f"new{number}")
        state = builder.add(Concat(), state, new, name=f"state{number}")
        states.append(state)
    graph = elide_concat(builder.graph(builder.add(GlobalPool2D("max"), state)))
    layout = lay_out(graph, HALO)
    host = layout.views["state2"]
    assert [layout.views[name] for name in states] == [host.slice_channels(0, count) for count in (6, 8, 10)]
    assert layout.views["new2"] == host.slice_channels(8, 2)
    assert room(layout, "start") == (1, 1, 1, 1), "readers of any slice decide the halo"
    plan = run(graph)
    assert not [step for step in plan.steps if step.node in states]


def test_a_flatten_of_a_slice_is_a_copy_and_the_slice_stays_elided_elsewhere() -> None:
    builder = net()
    a, b = builder.add(POINTWISE, "x", name="a"), builder.add(POINTWISE, "x", name="b")
    joined = builder.add(Concat(), a, b)
    flat = builder.add(Flatten(), builder.add(RELU, b))
    graph = elide_concat(builder.graph(joined, builder.add(Dense(2), flat), builder.add(Flatten(), b)))
    assert set(graph.placements) == {a}, "b is viewed as one piece"
    run(graph)


def test_a_concatenation_that_is_the_output_is_written_by_its_producers() -> None:
    builder = net()
    a, b = builder.add(Conv2D(3, (1, 1)), "x"), builder.add(Conv2D(2, (1, 1)), "x")
    graph = elide_concat(builder.graph(builder.add(Concat(), a, b, name="joined")))
    plan = run(graph)
    assert {call.write.space for step in plan.steps for call in step.calls} == {"output"}
    assert plan.arena.size == 0


# Outputs


def test_an_output_is_computed_in_the_callers_array() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x")
    graph = builder.graph(builder.add(RELU, a))
    layout = lay_out(graph, HALO)
    assert layout.views[graph.outputs[0]] == View.packed("output", 0, graph.types[graph.outputs[0]])
    assert not layout.copied_outputs
    assert len(run(graph).steps) == 2


def test_an_output_that_others_read_is_read_from_the_callers_array() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x")
    graph = builder.graph(a, builder.add(Conv2D(3, (2, 2)), a))
    layout = lay_out(graph, HALO)
    assert layout.views[a].space == "output"
    plan = run(graph)
    assert plan.steps[1].calls[0].reads[0].space == "output"


def test_an_output_with_a_halo_is_copied_at_the_end() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x", name="a")
    graph = builder.graph(a, builder.add(SAME, a, name="b"))
    layout = lay_out(graph, HALO)
    assert layout.copied_outputs == {0}
    plan = run(graph)
    assert steps(plan)[-1] == "output a"
    assert plan.steps[-1].node == "output 0"


def test_an_output_named_twice_is_computed_once_and_copied() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x", name="a")
    graph = builder.graph(a, a, a)
    assert lay_out(graph, HALO).copied_outputs == {1, 2}
    assert steps(run(graph)) == ["conv2d a", "output a", "output a"]


@pytest.mark.parametrize("padded", [False, True])
def test_an_input_that_is_an_output_is_copied(padded: bool) -> None:
    builder = net()
    a = builder.add(SAME if padded else POINTWISE, "x")
    graph = builder.graph("x", a, "x")
    layout = lay_out(graph, HALO)
    assert layout.copied_outputs == {0, 2}
    assert layout.staged == ({"x"} if padded else set())
    run(graph)


def test_outputs_that_view_one_tensor_share_its_first_array() -> None:
    builder = net()
    a = builder.add(POINTWISE, "x", name="a")
    flat = builder.add(Flatten(), a, name="flat")
    for outputs in ((flat, a), (a, flat), (flat, flat), (flat,)):
        graph = builder.graph(*outputs)
        layout = lay_out(graph, HALO)
        assert layout.views[a].space == "output"
        assert layout.copied_outputs == set(range(1, len(outputs)))
        run(graph)


def test_an_input_that_is_flattened_into_an_output_is_copied() -> None:
    builder = net()
    builder.add(Flatten(), "x", name="flat")
    graph = builder.graph("flat")
    assert lay_out(graph, HALO).copied_outputs == {0}
    assert steps(run(graph)) == ["output flat"]


def test_channels_first_networks_turn_their_border_into_copies() -> None:
    builder = net((2, 3, 6, 5))
    builder.add(Transpose((0, 2, 3, 1)))
    body = builder.add(SAME)
    builder.add(Transpose((0, 3, 1, 2)), body, name="maps")
    plan = run(builder.graph("maps"))
    assert [call.write.space for step in plan.steps for call in step.calls][-1] == "output"
    assert plan.steps[0].calls[-1].reads[0].space == "input"


# Lifetimes


def test_an_early_tensor_survives_until_its_last_reader() -> None:
    builder = net()
    early = builder.add(POINTWISE, "x", name="early")
    name = early
    for number in range(4):
        name = builder.add(Pool2D("max", (3, 3), (1, 1), SAME3), name, name=f"middle{number}")
    graph = builder.graph(builder.add(Add(), early, name))
    plan = run(graph)
    (buffer,) = (b for b in plan.arena.buffers if b.index == plan.views[early].index)
    assert (buffer.first, buffer.last) == (0, 5)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((), (1, 1, 1, 1)),
        ((5,), (1, 1, 1, 5)),
        ((2, 5), (2, 1, 1, 5)),
        ((2, 3, 5), (2, 1, 3, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 4, 5, 6), (2, 12, 5, 6)),
    ],
)
def test_a_tensor_of_any_rank_is_an_image_of_its_last_axis(shape: tuple[int, ...], image: tuple[int, ...]) -> None:
    assert as_image(TensorType(shape)) == image
