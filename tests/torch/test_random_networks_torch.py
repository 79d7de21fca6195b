"""Random networks: every layer of the reference against PyTorch in float64, on the same inputs, and the whole network.

Both round to 53 bits: they may differ by twice the error bound of a float32 kernel, scaled from 2^-24 to 2^-53.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnngen.ir import Array, Graph, Node
from cnngen.ops import LRN, Bound, InstanceNorm, Pad, Pool2D, Resize
from cnngen.ops.activation import activated
from cnngen.ops.statistics_norm import StatisticsNorm
from cnngen.reference import bound, evaluate, reference
from tests.fuzz import campaign
from tests.fuzz.check import LIBRARY_ROUNDINGS, feed, other_terms
from tests.torch.test_reference_ops_torch import INTERPOLATIONS, chw, hwc, torch_result

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")


pytestmark = pytest.mark.torch

SEED = 2
NETWORKS = 200
SCALE = 2.0**-29


def layer(node: Node, inputs: list[Array], output: tuple[int, ...]) -> Array:
    """One layer by PyTorch, in the layout of cnngen."""
    tensors = [torch.from_numpy(np.array(x, np.float64)) for x in inputs]
    op = node.op
    if isinstance(op, Pool2D) and not _pools_alike(op):
        return np.asarray(_pooled(op, tensors[0], output))
    if isinstance(op, LRN) and op.size % 2 == 0:  # the extra channel is on the other side
        return np.asarray(torch_result(node, [tensors[0].flip(-1)]).flip(-1))
    return np.asarray(torch_result(node, tensors))


def _pools_alike(op: Pool2D) -> bool:
    """Whether PyTorch has this pooling: symmetric padding of at most half the kernel; averages are not dilated."""
    top, bottom, left, right = op.padding
    symmetric = (top, left) == (bottom, right)
    return (
        symmetric
        and 2 * top <= op.kernel[0]
        and 2 * left <= op.kernel[1]
        and not (op.reduction == "avg" and op.dilation != (1, 1))
    )


def _pooled(op: Pool2D, x: Any, output: tuple[int, ...]) -> Any:
    """Pooling by `unfold`, which takes every window apart, of an image with its padding put around it."""
    _, height, width, _ = x.shape
    _, rows, columns, _ = output
    top, bottom, left, right = op.padding
    below = (rows - 1) * op.stride[0] + op.dilation[0] * (op.kernel[0] - 1) + 1 - top - height
    beside = (columns - 1) * op.stride[1] + op.dilation[1] * (op.kernel[1] - 1) + 1 - left - width

    def windows(image: Any, sides: tuple[int, int, int, int], fill: float) -> Any:
        padded = torch.nn.functional.pad(image, sides, value=fill)
        taps = torch.nn.functional.unfold(padded, op.kernel, op.dilation, 0, op.stride)
        return taps.reshape(len(image), image.shape[1], -1, rows, columns)

    around = (left, beside, top, below)
    if op.reduction == "max":
        return hwc(windows(chw(x), around, -torch.inf).amax(2))
    counted = torch.ones((1, 1, height, width), dtype=torch.float64)
    if op.count_include_pad:
        counted = torch.nn.functional.pad(counted, (left, right, top, bottom), value=1.0)
        share = windows(counted, (0, beside - right, 0, below - bottom), 0.0)
    else:
        share = windows(counted, around, 0.0)
    return hwc(windows(chw(x), around, 0.0).sum(2) / share.sum(2))


def defined_alike(node: Node, inputs: list[Array]) -> bool:
    """Whether PyTorch has this layer; tests/fuzz holds the others against ONNX Runtime."""
    op = node.op
    if isinstance(op, Resize):
        how = op.how
        known = (how.mode, how.coordinates, how.rounding) in INTERPOLATIONS
        return known and not (how.antialias or how.exclude_outside or how.mode == "cubic")
    if isinstance(op, Pad):
        return op.mode != "wrap" or all(
            side <= size for side, size in zip(op.borders, np.repeat(inputs[0].shape[1:3], 2), strict=True)
        )
    if isinstance(op, Pool2D) and op.reduction == "lp":
        return _pools_alike(op) and op.dilation == (1, 1)
    return not (isinstance(op, InstanceNorm) and math.prod(inputs[0].shape[1:3]) == 1)  # PyTorch refuses one pixel


def statistics_roundings(node: Node, inputs: list[Array]) -> Array | float:
    """What both sides may lose in float64 where a mean is taken off that is large beside the deviation.

    The float32 kernels, and so their bound, correct it; NumPy and PyTorch do not. A mean of n terms is off by n + 2
    roundings of mean|x|, so every difference from it is, and the deviation by as much relative to itself.
    """
    op = node.op
    if not isinstance(op, StatisticsNorm):
        return 0.0
    x = np.asarray(inputs[0], np.float64)
    shape, axes = op.sets(x.shape)
    grouped = x.reshape(shape)
    size = np.abs(grouped).mean(axis=axes, keepdims=True)
    deviation = np.sqrt(grouped.var(axis=axes, keepdims=True) + op.epsilon)
    lost = (grouped.size // size.size + 2) * 2.0**-53 * size / deviation
    normalised = np.abs(grouped - grouped.mean(axis=axes, keepdims=True)) / deviation
    gamma = np.abs(np.asarray(node.weights.get("gamma", 1.0), np.float64))
    error = 2 * np.asarray((lost * (1 + normalised)).reshape(x.shape)) * gamma
    before = evaluate(replace(node, op=replace(op, activation=None)), inputs)
    return activated(Bound(before, error, error), op.activation).limit


def differences(graph: Graph, xs: dict[str, Array]) -> list[str]:
    """Layers on which the reference and PyTorch differ by more than float64 arithmetic explains."""
    tensors: dict[str, Array] = {name: np.asarray(x, np.float64) for name, x in xs.items()}
    found = []
    for node in graph.nodes:
        inputs = [tensors[name] for name in node.inputs]
        expected = bound(node, inputs)
        alike = defined_alike(node, inputs)
        actual = layer(node, inputs, expected.value.shape) if alike else np.asarray(expected.value)
        tensors[node.name] = actual
        roundings = LIBRARY_ROUNDINGS * 2.0**-53 * (np.abs(expected.value) + other_terms(node, inputs))
        roundings = roundings + statistics_roundings(node, inputs)
        same = (actual == expected.value) | (np.isnan(actual) & np.isnan(expected.value))
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            wrong = ~(same | (np.abs(actual - expected.value) <= 2 * SCALE * expected.limit + roundings))
        if actual.shape != expected.value.shape or wrong.any():
            found.append(f"{node.name} {node.op}: {np.abs(actual - expected.value).max()}")
    return found


@pytest.mark.parametrize("first", range(0, NETWORKS, 20))
def test_reference_agrees_with_pytorch(first: int, tmp_path: Path) -> None:
    for number in range(first, first + 20):
        drawn = campaign.draw(SEED, number)
        folder = tmp_path / str(number)
        drawn.write(folder)
        graph = drawn.graph(folder, drawn.batches[-1])
        xs = feed(graph, seed=number)
        assert not differences(graph, xs), drawn.text
        assert set(reference(graph, xs, keep=True)) == {*graph.types}
