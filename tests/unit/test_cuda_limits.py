"""Networks beyond what CUDA kernels can address are refused when they are planned; nothing here allocates them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cnngen.backends.cuda.kernels import GemmConvKernel
from cnngen.backends.cuda.limits import GRID_LIMITS
from cnngen.errors import TargetError
from cnngen.ir import Graph, Input, Node, TensorType
from cnngen.ops import Activate, Activation, Conv2D, Dense, GlobalPool2D, Op
from cnngen.passes.infer_shapes import infer_shapes
from cnngen.pipeline import cuda_plan_for


def graph(shape: tuple[int, ...], op: Op) -> Graph:
    """One layer, whose weights are all zero and take no memory."""
    x = Input("x", TensorType(shape))
    shapes = op.weight_shapes([x.type])
    weights = {name: np.broadcast_to(np.float32(0), size) for name, size in shapes.items()}
    return infer_shapes(Graph("large", (x,), (Node("layer", op, ("x",), weights),), ("layer",)))


def refused(made: Graph, message: str, precision: str = "fp32") -> None:
    with pytest.raises(TargetError, match=message) as caught:
        cuda_plan_for(made, target="cuda", precision=precision)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    assert str(caught.value).startswith(("layer: ", "x: "))


LAYERS = [
    Activate(Activation("relu")),
    Conv2D(64, (3, 3)),
    Conv2D(64, (3, 3), groups=64),
    Conv2D(64, (3, 3), groups=4),
]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("op", LAYERS, ids=["relu", "conv2d", "depthwise", "grouped"])
def test_tensors_of_2_to_the_31_elements(op: Op, precision: str) -> None:
    elements = 64 * 1024 * 1024
    if isinstance(op, Activate):  # the convolutions refuse it whatever the target
        made = graph((32, 1024, 1024, 64), op)
        refused(made, rf"a tensor of {32 * elements:,} elements is beyond the 2\^31", precision)
    # Just below it is fine, although it is more than 2^31 bytes.
    plan = cuda_plan_for(graph((31, 1024, 1024, 64), op), target="cuda", precision=precision)
    for step in plan.steps:
        for call in step.calls:
            assert call.kernel.launch.grid[0] * call.kernel.launch.threads < 1 << 31


def test_outputs_that_are_larger_than_their_inputs() -> None:
    refused(graph((1, 4096, 4096, 8), Conv2D(160, (1, 1))), r"layer: a tensor of 2,684,354,560 elements")


def test_weights_of_2_to_the_31_elements() -> None:
    made = graph((1, 70_000), Dense(40_000))
    refused(made, r"layer: an array of weights of 2,800,000,000 elements .*; use a smaller layer, or target='cpu'")


def test_grids_have_limits_of_their_own() -> None:
    made = graph((GRID_LIMITS[1] + 1, 2, 2, 8), GlobalPool2D("avg"))
    refused(made, r"layer: 65,536 blocks along y of the grid of a kernel, a GPU takes 65,535; use a smaller batch")
    plan = cuda_plan_for(graph((GRID_LIMITS[1], 2, 2, 8), GlobalPool2D("avg")), target="cuda")
    assert max(call.kernel.launch.grid[1] for step in plan.steps for call in step.calls) == GRID_LIMITS[1]


def test_parts_of_groups_stay_within_the_grid() -> None:
    """So many groups that parts of the taps would go beyond it, if the tile did not respect it."""
    op = Conv2D(20_000 * 2, (9, 9), groups=20_000)
    made = graph((1, 9, 9, 20_000 * 8), op)
    plan = cuda_plan_for(made, target="cuda", precision="fp16")
    kernels = [call.kernel for step in plan.steps for call in step.calls]
    assert any(isinstance(kernel, GemmConvKernel) for kernel in kernels)
    assert all(kernel.launch.grid[2] <= GRID_LIMITS[2] for kernel in kernels)
    too_many = graph((1, 3, 3, 2 * 70_000), Conv2D(2 * 70_000, (3, 3), groups=70_000))
    refused(too_many, re.escape("70,000 blocks along z of the grid"))
