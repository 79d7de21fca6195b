"""Every kernel on every ISA and thread count, on shapes that fit nothing: exact on integers, bounded on floats.

Each network has many short branches, so that few compilations cover many shapes. It is run through the
front door, and each layer is held against the reference on the native inputs of that layer. Weights
are small integers: with integer inputs sums are exact, with real ones they round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import cycle
from typing import get_args

import numpy as np
import pytest

from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ArgReduceKernel,
    Arithmetic,
    ConvKernel,
    CopyKernel,
    DepthwiseKernel,
    ElementwiseKernel,
    FillKernel,
    MatMulKernel,
    PlanarConvKernel,
    PlanarRowsKernel,
    PoolKernel,
    ReduceKernel,
    ResizeKernel,
    WinogradKernel,
    WinogradRowsKernel,
)
from cnngen.backends.cpu.target import EMULATED_SUFFIX, host_isas
from cnngen.ir import Graph
from cnngen.network import Network
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthToSpace,
    Div,
    Flatten,
    GlobalPool2D,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LogSoftmax,
    Maximum,
    Minimum,
    Mul,
    Pad,
    Pool2D,
    Power,
    PRelu,
    Reshape,
    Resize,
    Softmax,
    SpaceToDepth,
    Sub,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.resampling import Resampling
from cnngen.passes.elide_concat import elide_concat
from tests.exactness import assert_every_layer
from tests.graphs import RELU, SAME3, Builder, feed
from tests.native import RUNNABLE, native, planned, target

CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33)
SAME5 = (2, 2, 2, 2)
FUSED = Activation("relu")
NATIVE = host_isas()[-1]
TARGETS = [*((isa, 1) for isa in RUNNABLE), (NATIVE, 2)]


def widths(batch: int) -> Graph:
    """Widths 1 to 20 with all numbers of channels on both sides: every tile, strip and tail."""
    shapes = {f"x{w}": (batch, 1 + w % 4, w, c) for w, c in zip(range(1, 21), cycle(CHANNELS), strict=False)}
    net = Builder(shapes, weights="integers", name=f"widths{batch}")
    outputs = []
    for index, (name, filters) in enumerate(zip(shapes, cycle(CHANNELS[::-1]), strict=False)):
        op = Conv2D(filters, (3, 3), padding=SAME3, activation=FUSED if index % 3 else None, use_bias=index % 4 != 3)
        outputs.append(net.add(op, name))
    outputs += [
        net.add(Conv2D(filters, (1, 1)), name) for name, filters in zip(shapes, (16, 1, 33, 5, 64), strict=False)
    ]
    return net.graph(*outputs)


def windows() -> Graph:
    """Strides beyond the kernel, dilations, halos that differ on every side; one channel and several."""
    net = Builder({"x": (3, 11, 13, 5), "grey": (3, 12, 21, 1)}, weights="integers", name="windows")
    cases = [
        Conv2D(9, (1, 1), (3, 4)),
        Conv2D(6, (2, 2), (3, 5), (1, 0, 0, 1)),
        Conv2D(17, (3, 3), (2, 2), (0, 1, 0, 1)),
        Conv2D(7, (5, 3), padding=(0, 4, 2, 0)),
        Conv2D(8, (3, 2), dilation=(2, 3), padding=(1, 3, 0, 2)),
        Conv2D(5, (3, 3), (2, 3), dilation=(3, 2), padding=(3, 3, 2, 2)),
        Conv2D(4, (2, 2), padding=(3, 0, 0, 5)),
        Conv2D(33, (11, 13)),
        Conv2D(3, (1, 7), padding=(0, 0, 3, 3), activation=FUSED),
        Conv2D(16, (7, 1), (2, 1), use_bias=False),
    ]
    outputs = [net.add(op, "x") for op in cases]
    planar = [
        Conv2D(1, (3, 3), padding=SAME3),
        Conv2D(3, (5, 5), padding=SAME5, activation=FUSED),
        Conv2D(3, (5, 5), (2, 1), use_bias=False),
        Conv2D(2, (2, 5), dilation=(3, 2)),
        Conv2D(3, (12, 1)),
        Conv2D(6, (5, 5), (2, 2)),
    ]
    outputs += [net.add(op, "grey") for op in planar]
    return net.graph(*outputs)


def groups() -> Graph:
    """Groups of odd sizes; depthwise over every number of channels, with multipliers."""
    shapes = {f"d{c}": (2, 6, 5 + c % 7, c) for c in CHANNELS if c > 1}
    shapes |= {"g": (2, 7, 9, 42)}
    net = Builder(shapes, weights="integers", name="groups")
    steps = cycle([((1, 1), SAME3), ((2, 2), (0, 1, 0, 1)), ((1, 3), (2, 0, 1, 3))])
    outputs = []
    for (name, shape), (stride, padding) in zip(list(shapes.items())[:-1], steps, strict=False):
        activation = Activation("relu6") if shape[3] % 2 else None
        op = Conv2D(shape[3], (3, 3), stride, padding, groups=shape[3], activation=activation)
        outputs.append(net.add(op, name))
    outputs += [
        net.add(Conv2D(17, (5, 4), (4, 3), groups=17, padding=(1, 1, 0, 2), use_bias=False), "d17"),
        net.add(Conv2D(9, (2, 3), dilation=(2, 1), groups=9), "d9"),
        net.add(Conv2D(33, (3, 3), padding=SAME3, groups=33, residual=True, activation=FUSED), "d33", "d33"),
        net.add(Conv2D(34, (3, 3), padding=SAME3, groups=17), "d17"),
        net.add(Conv2D(15, (2, 2), groups=5, use_bias=False), "d5"),
    ]
    for count, filters in ((2, 10), (3, 27), (6, 54), (7, 7), (14, 28), (21, 42)):
        op = Conv2D(filters, (3, 2), (1 + count % 2, 1), (1, 0, 0, 1), groups=count, activation=FUSED)
        outputs.append(net.add(op, "g"))
    return net.graph(*outputs)


def transposed() -> Graph:
    """Transposed convolutions: phases with equal, different and no taps over every number of channels."""
    shapes = {f"t{c}": (2, 3, 4 + c % 3, c) for c in CHANNELS} | {"sum": (2, 6, 8, 9)}
    net = Builder(shapes, weights="integers", name="transposed")
    cases = [
        Conv2DTranspose(16, (2, 2), (2, 2), activation=FUSED),
        Conv2DTranspose(7, (3, 3), (2, 2), SAME3, output_padding=(1, 1)),
        Conv2DTranspose(1, (4, 5), (1, 2), (0, 3, 2, 0), use_bias=False),
        Conv2DTranspose(9, (1, 2), (3, 3), output_padding=(2, 1), activation=FUSED),
        Conv2DTranspose(33, (3, 3), (2, 4), dilation=(2, 2), use_bias=False),
        Conv2DTranspose(8, (3, 2), (2, 3), (1, 2, 3, 0), dilation=(3, 2)),
        Conv2DTranspose(3, (2, 2), (2, 1), (3, 0, 1, 2)),
    ]
    outputs = [net.add(op, f"t{c}") for op, c in zip(cases, CHANNELS[::-1], strict=False)]
    outputs += [net.add(op, f"t{c}") for op, c in zip(cases, CHANNELS, strict=False)]
    for c in (2, 9, 17, 33):
        outputs.append(net.add(Conv2DTranspose(c, (3, 3), (2, 2), (1, 0, 0, 1), groups=c, activation=FUSED), f"t{c}"))
    outputs += [
        net.add(Conv2DTranspose(34, (2, 3), (2, 2), groups=17), "t17"),
        net.add(
            Conv2DTranspose(9, (2, 1), (2, 2), output_padding=(0, 1), residual=True, activation=FUSED), "t3", "sum"
        ),
        net.add(Conv2DTranspose(9, (2, 1), (2, 2), output_padding=(0, 1), residual=True, use_bias=False), "t3", "sum"),
    ]
    half = net.add(Conv2DTranspose(6, (2, 2), (2, 2)), "t3", name="half")
    other = net.add(Conv2DTranspose(5, (3, 3), (2, 2), (0, 1, 0, 1)), "t3", name="other")
    joined = net.add(Concat(), half, other, name="joined")
    outputs.append(net.add(Conv2D(4, (3, 3), padding=SAME3), joined))
    return elide_concat(net.graph(*outputs, net.add(Conv2DTranspose(3, (3, 3), (2, 1), SAME3), half)))


def pools() -> Graph:
    """Windows inside the image and beyond it, unrolled and not, over every number of channels."""
    shapes = {f"p{c}": (3, 7, 6, c) for c in CHANNELS}
    net = Builder(shapes, weights="integers", name="pools")
    cases = [
        Pool2D("max", (2, 2), (2, 2)),
        Pool2D("max", (3, 3), (2, 2), SAME3),
        Pool2D("max", (5, 4), (1, 1)),
        Pool2D("max", (2, 3), (3, 1), (0, 1, 2, 0), dilation=(2, 2)),
        Pool2D("max", (3, 3), (2, 2), ceil_mode=True),
        Pool2D("max", (1, 1), (3, 4)),
        Pool2D("avg", (2, 2), (1, 2)),
        Pool2D("avg", (3, 3), (2, 2), SAME3),
        Pool2D("avg", (3, 3), (2, 1), (2, 0, 1, 2), count_include_pad=True),
        Pool2D("avg", (5, 5), (2, 2), ceil_mode=True, count_include_pad=True, padding=(1, 2, 2, 1)),
        Pool2D("avg", (2, 2), (2, 2), dilation=(3, 2)),
        Pool2D("avg", (7, 6), (1, 1)),
        GlobalPool2D("max"),
        GlobalPool2D("avg"),
        Pool2D("lp", (2, 2), (1, 2)),
        Pool2D("lp", (3, 3), (2, 2), SAME3, order=3),
        Pool2D("lp", (3, 2), (2, 1), (1, 0, 1, 1), order=1, ceil_mode=True),
        GlobalPool2D("lp", 4),
    ]
    # Each case on two numbers of channels, each number in several cases.
    outputs = [net.add(op, name) for op, name in zip(cases, cycle(shapes), strict=False)]
    outputs += [net.add(op, name) for op, name in zip(cases, cycle(list(shapes)[::-1]), strict=False)]
    return net.graph(*outputs)


def pointwise() -> Graph:
    """Dense layers, sums, norms, softmax, activations, copies in all orders."""
    shapes = {f"c{c}": (3, 3, 4, c) for c in CHANNELS} | {f"v{c}": (3, c) for c in (1, 7, 33)}
    net = Builder(shapes, weights="integers", name="pointwise")
    out = [net.add(Dense(units), "v33") for units in CHANNELS]
    out += [net.add(Dense(17, use_bias=False, activation=FUSED), name) for name in ("v1", "v7")]
    for c in CHANNELS:
        name = f"c{c}"
        out.append(net.add(Softmax() if c % 2 else LogSoftmax(), name))
        out.append(net.add(LRN(1 + c % 6, alpha=0.5, beta=(0.5, 0.75, 1.0, 0.6)[c % 4], bias=2.0), name))
        out.append(net.add(Add(FUSED if c % 2 else None), name, name, *[name] * (c % 3)))
    for c, function in zip(CHANNELS, ("sigmoid", "tanh", "hard_swish", "silu", "leaky_relu", "relu6"), strict=False):
        out.append(net.add(Activate(Activation(function, 0.25)), f"c{c}"))
        out.append(net.add(BatchNorm(0.5), f"c{CHANNELS[-1 - CHANNELS.index(c)]}"))
    for c, groups in zip(CHANNELS, (1, 2, 1, 5, 7, 4, 3, 5, 2, 17, 31, 11), strict=True):
        out.append(net.add(GroupNorm(groups=groups, activation=FUSED if c % 2 else None), f"c{c}"))
        norm = LayerNorm(axes="image" if c % 3 else "channels", scale=c % 4 != 1, center=c % 4 != 2)
        out.append(net.add(norm if c % 5 else InstanceNorm(activation=FUSED), f"c{c}"))
    for c, axes in ((5, (0, 3, 1, 2)), (7, (0, 2, 1, 3)), (9, (0, 3, 2, 1)), (3, (0, 2, 3, 1))):
        out.append(net.add(Transpose(axes), f"c{c}"))
    out += [net.add(Flatten("chw"), "c17"), net.add(Flatten("hwc"), "c15"), net.add(Identity(), "c16")]
    out += [net.add(Upsample((2, 3)), "c17"), net.add(Upsample((1, 2)), "c8"), net.add(Softmax(), "v33")]
    out += [net.add(UpsampleBilinear(scale), f"c{c}") for scale, c in (((2, 2), 17), ((3, 1), 8), ((1, 4), 3))]
    out += [net.add(Pad((1, 2, 0, 3), value=1.5), "c17"), net.add(Pad((2, 0, 1, 3), "reflect"), "c8")]
    out += [net.add(Pad((1, 4, 5, 0), "edge"), "c3"), net.add(Pad((1, 0, 7, 2), "wrap"), "c17")]
    out += [net.add(Pad((0, 1, -1, 0), value=2.5, channels=(2, 9)), "c17"), net.add(ChannelShuffle(3), "c9")]
    out += [net.add(DepthToSpace(2, "CRD"), "c16"), net.add(SpaceToDepth(2), net.add(Pad((0, 1, 0, 0)), "c5"))]
    linear, region = Resampling("linear"), (-0.5, 0.25, 0.75, 1.0)
    out += [net.add(Resize(size, linear), f"c{c}") for size, c in (((5, 3), 17), ((3, 7), 8), ((4, 4), 3))]
    out += [net.add(Resize((5, 3)), "c17"), net.add(Resize((2, 7), Resampling("cubic")), "c9")]
    out += [net.add(Resize((4, 3), Resampling("linear", "tf_crop_and_resize"), None, region, 2.0), "c17")]
    out += [net.add(Reshape((3, 17, 4), order), "c17") for order in ("hwc", "chw")]
    out += [net.add(Reshape((3, 11, 1), "chw"), "v33")]
    return net.graph(*out)


def broadcasting() -> Graph:
    """Arithmetic of all kinds on operands that lack axes, over every number of channels; slopes of each channel."""
    shapes = {f"x{c}": (2, 3, 4, c) for c in CHANNELS}
    shapes |= {f"gate{c}": (2, 1, 1, c) for c in CHANNELS} | {f"row{c}": (2, 1, 4, c) for c in CHANNELS}
    shapes |= {"mask": (2, 3, 4, 1), "column": (2, 3, 1, 1), "number": (2, 1, 1, 1), "long": (2, 3, 4, 275)}
    shapes |= {"long_gate": (2, 1, 1, 275), "v": (2, 33), "w": (2, 1)}
    net = Builder(shapes, weights="integers", name="broadcasting")
    kinds = cycle([Mul(), Add(FUSED), Sub(), Maximum(), Div(), Minimum(FUSED)])
    partners = cycle([("gate{}",), ("mask",), ("column",), ("row{}",), ("number",)])
    out = []
    for c in CHANNELS:
        for _ in range(2):
            names = [f"x{c}", *(name.format(c) for name in next(partners))]
            out.append(net.add(next(kinds), *(names if c % 3 else names[::-1])))
        out.append(net.add(Add(), f"row{c}", "column", f"gate{c}"))
        out.append(net.add(PRelu(), f"x{c}"))
    out += [net.add(Mul(), "long", "long_gate"), net.add(Minimum(), "long_gate", "long", "column")]
    out += [net.add(Power(), "v", "w"), net.add(Power(FUSED), "x9", "row9")]
    out += [net.add(Div(), "v", "w"), net.add(Sub(FUSED), "w", "v"), net.add(Mul(), "v", "v"), net.add(PRelu(), "v")]
    return net.graph(*out)


def slices() -> Graph:
    """Every kernel reading from and writing into slices of concatenations that have halos."""
    net = Builder({"x": (2, 5, 17, 5), "grey": (2, 5, 17, 1)}, weights="integers", name="slices")
    base = net.add(Conv2D(9, (3, 3), padding=SAME3, activation=FUSED), "x", name="base")
    # Written side by side into one buffer, which convolutions behind give a halo.
    parts = [
        base,
        net.add(Conv2D(3, (5, 5), padding=SAME5), "grey", name="planar"),
        net.add(Conv2D(9, (3, 3), padding=SAME3, groups=9), base, name="depthwise"),
        net.add(Pool2D("max", (3, 3), (1, 1), SAME3), base, name="pooled"),
        net.add(Pool2D("avg", (3, 3), (1, 1), SAME3), base, name="averaged"),
        net.add(Add(), base, "depthwise", name="sum"),
        net.add(LRN(5, alpha=0.5, bias=2.0), base, name="normalised"),
        net.add(Softmax(), base, name="soft"),
        net.add(BatchNorm(), base, name="scaled"),
        net.add(Conv2D(9, (1, 1), residual=True, activation=FUSED), base, "pooled", name="shortcut"),
        net.add(Conv2D(9, (3, 3), padding=(2, 0, 0, 2), groups=9, residual=True), "pooled", base, name="deep"),
        net.add(Conv2D(3, (5, 5), padding=SAME5, residual=True, activation=FUSED), "grey", "planar", name="plane"),
        net.add(Upsample((1, 1)), "pooled", name="copied"),
        net.add(UpsampleBilinear((1, 1)), "pooled", name="interpolated"),
        net.add(Pad((0, 0, 0, 0)), "pooled", name="unpadded"),
        net.add(Mul(), base, net.add(GlobalPool2D("max"), base, name="gate"), name="gated"),
        net.add(PRelu(), "depthwise", name="bent"),
    ]
    wide = net.add(Concat(), "x", *parts, name="wide")
    read = [
        net.add(Conv2D(17, (3, 3), (2, 2), SAME3), wide),
        net.add(Conv2D(8, (2, 3), padding=(1, 0, 2, 0)), "plane"),
        net.add(Pool2D("max", (2, 2), (2, 2)), "deep"),
        net.add(Softmax(), "shortcut"),
        net.add(LRN(3), "depthwise"),
        net.add(Activate(Activation("relu6")), "sum"),
        net.add(GlobalPool2D("avg"), wide),
        net.add(Upsample((2, 2)), "planar"),
        net.add(UpsampleBilinear((2, 3)), "planar"),
        net.add(Pad((1, 2, 0, 3), "reflect"), "deep"),
        net.add(Transpose((0, 3, 1, 2)), "averaged"),
    ]
    nested = net.add(Concat(), net.add(Concat(), net.add(RELU, "scaled"), net.add(RELU, "soft")), net.add(RELU, base))
    return elide_concat(net.graph(nested, net.add(Conv2D(5, (3, 3), padding=(0, 2, 2, 0)), nested), *read))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "widths1": lambda: widths(1),
    "widths3": lambda: widths(3),
    "windows": windows,
    "groups": groups,
    "transposed": transposed,
    "pools": pools,
    "pointwise": pointwise,
    "broadcasting": broadcasting,
    "slices": slices,
}
graph_of = functools.cache(lambda name: NETWORKS[name]())


def compiled(name: str, isa: str, threads: int) -> Network:
    """Optimised as little as keeps the file fast; what compilers make of the full level is tested elsewhere."""
    return native(graph_of(name), isa, threads, flags=("-O0" if isa.endswith(EMULATED_SUFFIX) else "-O1",))


@functools.cache
def outputs_of(name: str, isa: str, threads: int) -> tuple[bytes, ...]:
    """The bits of all outputs on real inputs."""
    with compiled(name, isa, threads) as net:
        return tuple(y.tobytes() for y in net(feed(net.graph, "random")))


@pytest.mark.parametrize(("isa", "threads"), TARGETS, ids=[f"{isa}-{threads}" for isa, threads in TARGETS])
@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_equal_the_reference(name: str, isa: str, threads: int) -> None:
    graph = graph_of(name)
    with compiled(name, isa, threads) as net:
        for kind in ("integers", "random"):
            x = feed(graph, kind)
            tensors = {**x, **net.trace(list(x.values()))}
            exact = assert_every_layer(graph, tensors)
            if kind == "integers" and name in ("widths1", "widths3", "windows", "groups"):
                assert exact == len(graph.nodes)
            if kind == "integers" and name == "transposed":
                assert exact >= len(graph.nodes) - 3  # those that read what others computed may exceed the integers
            # The run in one piece, which the caller sees, gives the same bits as the steps one by one.
            for output, result in zip(graph.outputs, net(x), strict=True):
                assert np.array_equal(result, tensors[output], equal_nan=True), output


@pytest.mark.parametrize("name", NETWORKS)
def test_threads_do_not_change_a_bit(name: str) -> None:
    one = outputs_of(name, NATIVE, 1)
    for threads in (2, 3) if name in ("windows", "slices") else (2,):
        assert outputs_of(name, NATIVE, threads) == one


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_isas_do_not_change_a_bit(name: str) -> None:
    """Tiles and vectors differ, the order of every sum does not."""
    fused = [isa for isa in RUNNABLE if target(isa).isa.fused]
    assert len(fused) == 2
    assert outputs_of(name, fused[0], 1) == outputs_of(name, fused[1], 1)


def test_an_emulated_isa_gives_the_bits_of_the_real_one() -> None:
    if NATIVE == "scalar":
        pytest.skip("this machine has no ISA to emulate")
    assert outputs_of("slices", f"{NATIVE}-emulated", 1) == outputs_of("slices", NATIVE, 1)


def test_the_networks_use_every_kernel_in_all_its_forms() -> None:
    """What no network here uses, no test here holds."""
    found = [kernel for name in NETWORKS for kernel in planned(graph_of(name), "avx512-emulated").kernels]
    # test_winograd.py, test_winograd_rows.py, test_fused_pools.py and test_reductions.py
    elsewhere = {WinogradKernel, WinogradRowsKernel, PlanarRowsKernel, ReduceKernel, ArgReduceKernel, MatMulKernel}
    assert {type(kernel) for kernel in found} | elsewhere == set(get_args(AnyKernel))
    forms: dict[type, set[tuple[bool | str, ...]]] = {}
    for kernel in found:
        match kernel:
            case ConvKernel():
                tails = any(block.tail for block in kernel.blocks), any(not block.tail for block in kernel.blocks)
                form = (kernel.has_bias, kernel.groups > 1, kernel.rows > 1, *tails)
            case DepthwiseKernel() | PlanarConvKernel():
                form = (kernel.has_bias, kernel.has_residual)
            case PoolKernel():
                form = (kernel.reduction == "max", kernel.clipped, kernel.unrolled, bool(kernel.tail))
            case ElementwiseKernel():
                operands = range(len(kernel.in_strides))
                spread = any(map(kernel.spread, operands))
                form = (
                    kernel.operation,
                    bool(kernel.held),
                    spread,
                    any(map(kernel.still, operands)),
                    bool(kernel.tail),
                )
            case CopyKernel():
                form = (kernel.runs,)
            case ResizeKernel():
                rows, columns = kernel.tables
                form = (rows.copies, columns.copies)
            case FillKernel():
                form = (kernel.has_bias, kernel.residual_strides is not None)
            case _:
                form = (bool(getattr(kernel, "tail", 0)),)
        forms.setdefault(type(kernel), set()).add(form)
    for kind in (DepthwiseKernel, PlanarConvKernel):
        assert {(True, False), (False, False), (True, True)} <= forms[kind], kind
    for position in range(5):
        assert {form[position] for form in forms[ConvKernel]} == {True, False}, position
    assert any(kernel.has_residual for kernel in found if isinstance(kernel, ConvKernel))
    for maximum in (True, False):
        assert {form[1:3] for form in forms[PoolKernel] if form[0] == maximum} == {
            (True, False), (False, True), (False, False),
        }  # fmt: skip
    assert forms[FillKernel] == {(True, False), (False, False), (True, True), (False, True)}
    assert forms[ResizeKernel] == {(True, True), (True, False), (False, True), (False, False)}
    assert any(kernel.extrapolates for kernel in found if isinstance(kernel, ResizeKernel))
    assert forms[CopyKernel] == {(True,), (False,)}
    assert {form[0] for form in forms[ElementwiseKernel]} == set(get_args(Arithmetic)) | {"map", "affine", "prelu"}
    # Held in registers, or too long for that; spread over channels in each pixel and once a row; tails of all.
    assert {form[1:4] for form in forms[ElementwiseKernel] if form[3]} == {
        (True, False, True), (False, False, True), (False, True, True), (True, True, True)
    }  # fmt: skip
    for held in (True, False):
        assert {form[4] for form in forms[ElementwiseKernel] if form[1] == held} == {True, False}
