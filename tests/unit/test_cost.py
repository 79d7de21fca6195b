"""Costs by hand: multiply-accumulates, parameters, bytes, and the dense layer that a convolution replaces."""

from __future__ import annotations

import pytest

from cnngen.analysis.cost import LayerCost, graph_cost, total_cost
from cnngen.ops import Add, BatchNorm, Conv2D, Conv2DTranspose, Dense, Flatten, GlobalPool2D
from cnngen.passes import optimise
from tests.graphs import RELU, Builder, chain, inception, lenet


def test_convolution_by_hand() -> None:
    graph = chain((2, 10, 8, 6), Conv2D(12, (3, 5), (1, 2), groups=3))
    # Output 8x2x12 for each of two images; 3 x 5 x 6/3 taps.
    assert graph_cost(graph)["conv2d_0"] == LayerCost(
        macs=2 * 8 * 2 * 12 * 30,
        other=2 * 8 * 2 * 12,
        params=30 * 12 + 12,
        weight_bytes=4 * (30 * 12 + 12),
        bytes_in=4 * 2 * 10 * 8 * 6,
        bytes_out=4 * 2 * 8 * 2 * 12,
        dense_params=(10 * 8 * 6) * (8 * 2 * 12) + 8 * 2 * 12,
    )


def test_transposed_convolution_by_hand() -> None:
    """Each input element is multiplied by the whole kernel of its group, cropped or not."""
    graph = chain((2, 4, 3, 6), Conv2DTranspose(12, (3, 5), (2, 1), (1, 0, 0, 0), groups=3))
    # Output 8x7x12 for each of two images.
    assert graph_cost(graph)["conv2d_transpose_0"] == LayerCost(
        macs=2 * (4 * 3 * 6) * (3 * 5 * 4),
        other=2 * 8 * 7 * 12,
        params=3 * 5 * 2 * 12 + 12,
        weight_bytes=4 * (3 * 5 * 2 * 12 + 12),
        bytes_in=4 * 2 * 4 * 3 * 6,
        bytes_out=4 * 2 * 8 * 7 * 12,
        dense_params=(4 * 3 * 6) * (8 * 7 * 12) + 8 * 7 * 12,
    )


def test_dense_and_pointwise_layers_by_hand() -> None:
    costs = graph_cost(chain((1, 20), Dense(5, use_bias=False), RELU))
    assert costs["dense_0"] == LayerCost(macs=100, params=100, weight_bytes=400, bytes_in=80, bytes_out=20)
    assert costs["relu_1"] == LayerCost(other=5, bytes_in=20, bytes_out=20)


def test_dense_equivalent_is_the_size_of_the_matrix_of_the_convolution() -> None:
    """4x4 in, 2x2 out: a 16 by 4 matrix stands for 9 shared weights."""
    assert graph_cost(chain((1, 4, 4, 1), Conv2D(1, (3, 3), use_bias=False)))["conv2d_0"].dense_params == 64


def test_lenet_totals() -> None:
    total = total_cost(lenet())
    assert total.params == 156 + 2416 + 48120 + 1210
    assert total.macs == 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 10
    assert total.weight_bytes == 4 * total.params


def test_macs_do_not_change_when_layers_fuse() -> None:
    graph = chain((1, 6, 6, 3), Conv2D(4, (3, 3), use_bias=False), BatchNorm(), RELU)
    before, after = total_cost(graph), total_cost(optimise(graph))
    assert after.macs == before.macs
    assert after.params == before.params - 4 * 4 + 4
    assert after.bytes_in + after.bytes_out < before.bytes_in + before.bytes_out


def test_views_and_placed_slices_move_nothing() -> None:
    flat = graph_cost(chain((1, 3, 3, 2), GlobalPool2D("avg"), Flatten()))["flatten_1"]
    assert flat == LayerCost()
    graph = optimise(inception())
    costs = graph_cost(graph)
    assert (costs["fire"].bytes_in, costs["fire"].bytes_out) == (0, 0)
    assert costs["joined"].bytes_in == graph.types["x"].bytes  # the input cannot be placed


def test_residual_operand_is_read() -> None:
    net = Builder((1, 4, 4, 2))
    net.add(Add(), net.add(Conv2D(2, (1, 1)), "x"), "x")
    (fused,) = graph_cost(optimise(net.graph())).values()
    assert fused.bytes_in == 2 * 4 * 4 * 4 * 2
    assert fused.other == 2 * 4 * 4 * 2


def test_intensity_is_operations_per_byte() -> None:
    cost = LayerCost(macs=100, other=8, weight_bytes=40, bytes_in=8, bytes_out=4)
    assert cost.intensity == pytest.approx(208 / 52)
    assert LayerCost().intensity == 0
