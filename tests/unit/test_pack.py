"""Packed weights: each one where the kernel reads it, everything else zero."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from cnngen.backends.cpu.kernels import (
    AnyKernel,
    ConvKernel,
    DepthwiseKernel,
    ElementwiseKernel,
    PlanarConvKernel,
)
from cnngen.backends.cpu.pack import pack, pack_kernel
from cnngen.backends.cpu.plan import Plan
from cnngen.errors import PlanError
from cnngen.ir import Array, Graph, Node
from cnngen.ops import BatchNorm, Conv2D, Dense, Op
from cnngen.plan.memory import ALIGNMENT
from tests.graphs import RELU, SAME3, chain
from tests.native import RUNNABLE, planned


def numbered(graph: Graph, start: int = 1) -> Graph:
    """`graph` with weights that count from `start` (not 0, which is padding): each value has one place."""
    nodes = []
    for node in graph.nodes:
        weights = {}
        for role, array in node.weights.items():
            weights[role] = np.arange(start, start + array.size, dtype=np.float32).reshape(array.shape)
            start += array.size
        nodes.append(replace(node, weights=MappingProxyType(weights)))
    return replace(graph, nodes=tuple(nodes))


def packed(op: Op, shape: tuple[int, ...], isa: str) -> tuple[AnyKernel, Node, list[Array]]:
    """The kernel of a network of one layer, its node, and the parameter arrays as the blob holds them."""
    graph = numbered(chain(shape, op))
    plan = planned(graph, isa)
    blob = pack(plan)
    (call,) = (call for step in plan.steps for call in step.calls if call.params)
    sizes = call.kernel.parameter_sizes
    assert all(offset % ALIGNMENT == 0 for offset in call.params), "rows of weights begin on cache lines"
    outside = np.ones(blob.size, bool)
    for offset, size in zip(call.params, sizes, strict=True):
        outside[offset : offset + size] = False
    assert not blob[outside].any()
    arrays = [blob[offset : offset + size] for offset, size in zip(call.params, sizes, strict=True)]
    return call.kernel, graph.nodes[0], arrays


def assert_all_there(arrays: list[Array], node: Node) -> None:
    """Every weight once, and zeros."""
    expected = np.concatenate([array.ravel() for array in node.weights.values()])
    found = np.concatenate([array.ravel() for array in arrays])
    assert np.array_equal(np.sort(found[found != 0]), np.sort(expected))


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("filters", [1, 3, 8, 17, 33, 70])
def test_convolution_weights_follow_the_blocks(isa: str, groups: int, filters: int) -> None:
    """Kernel order: set of blocks, group, block, tap (row, column, input channel), lane."""
    op = Conv2D(groups * filters, (2, 3), groups=groups)
    kernel, node, (weights, bias) = packed(op, (1, 6, 5, 4 * groups), isa)
    assert isinstance(kernel, ConvKernel)
    assert_all_there([weights, bias], node)
    taps = 2 * 3 * 4
    position = bias_position = 0
    for block in kernel.blocks:
        for group in range(groups):
            for b in range(block.count):
                width = block.vectors * kernel.lanes
                first = block.first + b * width
                for lane in range(width):
                    channel = group * filters + first + lane
                    inside = first + lane < filters
                    column = weights[position + lane :: width][:taps]
                    expected = node.weights["weight"][..., channel].ravel() if inside else np.zeros(taps)
                    assert np.array_equal(column, expected)
                    assert bias[bias_position + lane] == (node.weights["bias"][channel] if inside else 0)
                position += taps * width
                bias_position += width
    assert (position, bias_position) == (weights.size, bias.size)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_the_offsets_that_the_template_prints_are_where_the_blocks_begin(isa: str) -> None:
    kernel, node, (weights, bias) = packed(Conv2D(70, (3, 3), groups=2), (1, 6, 5, 4), isa)
    assert isinstance(kernel, ConvKernel)
    for block in kernel.blocks:
        assert weights[kernel.weight_offset(block)] == node.weights["weight"][0, 0, 0, block.first]
        assert bias[kernel.bias_offset(block)] == node.weights["bias"][block.first]


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("units", [1, 10, 120])
def test_dense_weights_are_columns_of_vectors(isa: str, units: int) -> None:
    kernel, node, arrays = packed(Dense(units, use_bias=units != 10), (2, 37), isa)
    assert isinstance(kernel, ConvKernel)
    assert len(arrays) == (1 if units == 10 else 2)
    assert_all_there(arrays, node)
    assert np.array_equal(arrays[0][: min(units, kernel.lanes)], node.weights["weight"][0, : kernel.lanes])


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("channels", [3, 8, 17, 33])
def test_depthwise_weights_are_vectors_of_channels(isa: str, channels: int) -> None:
    """[channel vector][row][column][lane]."""
    kernel, node, (weights, bias) = packed(Conv2D(channels, (3, 2), groups=channels), (1, 6, 5, channels), isa)
    assert isinstance(kernel, DepthwiseKernel)
    assert_all_there([weights, bias], node)
    lanes = kernel.lanes
    cut = weights.reshape(-1, 3, 2, lanes)
    for channel in range(channels):
        assert np.array_equal(cut[channel // lanes, :, :, channel % lanes], node.weights["weight"][:, :, 0, channel])
    assert np.array_equal(bias[:channels], node.weights["bias"])


@pytest.mark.parametrize("isa", RUNNABLE[1:])
def test_planar_weights_follow_the_passes(isa: str) -> None:
    """[filter tile][tap][filter], without padding: they are read one by one."""
    kernel, node, (weights, bias) = packed(Conv2D(3, (5, 5)), (1, 12, 40, 1), isa)
    assert isinstance(kernel, PlanarConvKernel)
    assert weights.size == 25 * 3
    assert_all_there([weights, bias], node)
    kernel = replace(kernel, filters_tile=2)  # so that there are two passes
    weights, bias = pack_kernel(kernel, node)
    assert len(kernel.passes) == 2
    position = 0
    for first, count in kernel.passes:
        part = weights[position : position + 25 * count].reshape(5, 5, 1, count)
        assert np.array_equal(part, node.weights["weight"][..., first : first + count])
        position += 25 * count
    assert np.array_equal(bias, node.weights["bias"])


@pytest.mark.parametrize("isa", RUNNABLE)
def test_batch_norms_are_packed_as_scale_and_shift(isa: str) -> None:
    kernel, node, (scale, shift) = packed(BatchNorm(0.5), (1, 4, 4, 19), isa)
    assert isinstance(kernel, ElementwiseKernel)
    gamma, beta, mean, variance = (node.weights[r].astype(np.float64) for r in ("gamma", "beta", "mean", "variance"))
    expected = gamma / np.sqrt(variance + 0.5)
    assert np.array_equal(scale[:19], expected.astype(np.float32))
    assert np.array_equal(shift[:19], (beta - mean * expected).astype(np.float32))
    assert not scale[19:].any()
    assert not shift[19:].any()


def network() -> Plan:
    graph = chain((1, 6, 6, 3), Conv2D(9, (3, 3), padding=SAME3), RELU, Conv2D(4, (1, 1), use_bias=False))
    return planned(numbered(graph), "scalar")


def test_layers_of_a_network_do_not_share_a_place() -> None:
    plan = network()
    blob = pack(plan)
    weights = sum(array.size for node in plan.graph.nodes for array in node.weights.values())
    assert np.array_equal(np.sort(blob[blob != 0]), np.arange(1, weights + 1))
    assert blob.dtype == np.float32


def test_another_graph_of_the_same_structure_goes_to_the_same_places() -> None:
    plan = network()
    blob, other = pack(plan), pack(plan, numbered(plan.graph, 10_001))
    assert np.array_equal(other[blob != 0], blob[blob != 0] + 10_000)
    assert not other[blob == 0].any()


def test_weights_of_another_size_are_refused() -> None:
    plan = network()
    wrong = chain((1, 6, 6, 3), Conv2D(9, (3, 3), padding=SAME3), RELU, Conv2D(40, (1, 1), use_bias=False))
    with pytest.raises((PlanError, ValueError)):
        pack(plan, wrong)


def test_kernels_without_weights_pack_nothing() -> None:
    plan = planned(chain((1, 6, 6, 3), RELU), "scalar")
    assert plan.blob_floats == 0
    assert pack_kernel(plan.steps[0].calls[0].kernel, plan.graph.nodes[0]) == []
