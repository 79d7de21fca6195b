"""Instance, group and layer normalisation: the derived bound, numbers far from zero, fields, fusion, messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnngen.analysis.receptive_field import receptive_fields
from cnngen.errors import ShapeError
from cnngen.ir import Array, TensorType
from cnngen.ops import Activation, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, StatisticsNorm
from cnngen.passes import optimise
from cnngen.reference import reference
from tests.graphs import RELU, Builder, chain
from tests.native import native
from tests.specs import network, parse, refusal

F32 = np.float32
OPS: dict[str, StatisticsNorm] = {
    "instance": InstanceNorm(),
    "groups": GroupNorm(1e-3, groups=2),
    "one group": GroupNorm(groups=1, center=False),
    "channels": LayerNorm(activation=Activation("silu")),
    "image": LayerNorm(axes="image"),
}
VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "far from zero": lambda rng, shape: 1e4 + rng.standard_normal(shape),
    "nearly constant": lambda rng, shape: 7 + 1e-6 * rng.standard_normal(shape),
    "constant": lambda rng, shape: np.full(shape, 1 / 3),
    "wide": lambda rng, shape: rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape),
    "denormal": lambda rng, shape: 1e-40 * rng.standard_normal(shape),
}


def in_float32(op: StatisticsNorm, x: Array, weights: dict[str, Array], order: str) -> Array:
    """The kernels' algorithm, every intermediate result rounded; sums from left to right, backwards or pairwise."""
    shape, axes = op.sets(x.shape)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    moved = x.reshape(shape).transpose(*kept, *axes)
    rows = moved.reshape(int(np.prod([shape[axis] for axis in kept])), -1)

    def total(values: Array) -> Array:
        if order == "pairwise":
            return values.sum(axis=1, dtype=F32)
        result = np.zeros(len(values), F32)
        for column in (values if order == "left to right" else values[:, ::-1]).T:
            result = result + column
        return result

    count = F32(rows.shape[1])
    centred = rows - (total(rows) / count)[:, None]
    rest = total(centred) / count
    variance = np.maximum(total(centred * centred) / count - rest * rest, F32(0))
    factor = F32(1) / np.sqrt(variance + F32(op.epsilon))
    normal = centred * factor[:, None] - (rest * factor)[:, None]
    back = np.argsort([*kept, *axes])
    y = normal.reshape(moved.shape).transpose(*back).reshape(x.shape)
    y = y * weights.get("gamma", F32(1)) + weights.get("beta", F32(0))
    return y if op.activation is None else np.asarray(op.activation.evaluate(y), F32)


def drawn(op: StatisticsNorm, kind: str) -> tuple[Array, dict[str, Array]]:
    rng = np.random.default_rng(5)
    x = VALUES[kind](rng, (2, 9, 7, 12)).astype(F32)
    shapes = op.weight_shapes([TensorType(x.shape)])
    return x, {role: (rng.standard_normal(shape) + (role == "gamma")).astype(F32) for role, shape in shapes.items()}


@pytest.mark.parametrize("order", ["left to right", "backwards", "pairwise"])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", OPS)
def test_float32_stays_within_the_bound_in_any_order(name: str, kind: str, order: str) -> None:
    op = OPS[name]
    x, weights = drawn(op, kind)
    found = op.bound([x.astype(np.float64)], {role: a.astype(np.float64) for role, a in weights.items()})
    error = np.abs(in_float32(op, x, weights, order).astype(np.float64) - found.value)
    assert (error <= found.limit).all()
    assert (found.alarm <= found.limit).all()


@pytest.mark.parametrize("kind", ["normal", "far from zero"])
@pytest.mark.parametrize("name", OPS)
def test_a_wrong_divisor_of_the_variance_is_above_the_bound(name: str, kind: str) -> None:
    op = OPS[name]
    x, weights = drawn(op, kind)
    found = op.bound([x.astype(np.float64)], {role: a.astype(np.float64) for role, a in weights.items()})
    shape, axes = op.sets(x.shape)
    count = np.prod([shape[axis] for axis in axes])
    unbiased = in_float32(op, np.asarray(x), weights, "pairwise")
    if "beta" in weights or op.activation:
        weights = {role: array for role, array in weights.items() if role != "beta"}
        op = type(op)(op.epsilon, center=False, **{k: v for k, v in vars(op).items() if k in ("groups", "axes")})
        found = op.bound([x.astype(np.float64)], {role: a.astype(np.float64) for role, a in weights.items()})
        unbiased = in_float32(op, x, weights, "pairwise")
    unbiased = unbiased * np.sqrt(F32((count - 1) / count))
    assert (np.abs(unbiased - found.value) > found.limit).mean() > 0.5


@pytest.mark.parametrize("isa", ["scalar", "native"])
def test_numbers_far_from_zero_lose_nothing(isa: str) -> None:
    """The textbook formula, mean of squares less square of the mean, has no digit left here."""
    net = Builder((2, 14, 13, 12), name="far")
    names = [net.add(op, "x", name=name.replace(" ", "_")) for name, op in OPS.items()]
    graph = net.graph(*names)
    x = (1e4 + np.random.default_rng(0).standard_normal((2, 14, 13, 12))).astype(F32)
    expected = reference(graph, x)
    with native(graph, isa) as compiled:
        for y, wanted in zip(compiled(x), expected, strict=True):
            assert np.abs(y - wanted).max() < 2e-5
    textbook = np.mean(x * x, axis=(1, 2), dtype=F32) - np.square(np.mean(x, axis=(1, 2), dtype=F32))
    assert np.abs(textbook - np.var(x.astype(np.float64), axis=(1, 2))).min() > 0.1


def test_a_constant_image_becomes_beta() -> None:
    graph = chain((1, 6, 5, 3), GroupNorm(groups=1))
    y = reference(graph, np.full((1, 6, 5, 3), 1e4 / 3, F32))
    assert np.allclose(y, graph.nodes[0].weights["beta"], atol=1e-8)


SEES_ALL = {"instance": True, "groups": True, "one group": True, "channels": False, "image": True}


@pytest.mark.parametrize("name", OPS)
def test_fields_are_what_a_moved_pixel_moves(name: str) -> None:
    graph = chain((1, 4, 5, 6), OPS[name])
    field = receptive_fields(graph)[graph.nodes[0].name]["x"]
    assert field.sees_everything == SEES_ALL[name]
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 6))
    moved = np.array(x)
    moved[0, 1, 2, 3] += 0.1
    changed = np.any(reference(graph, moved) != reference(graph, x), axis=(0, 3))
    assert changed.all() if SEES_ALL[name] else changed.sum() == 1


def test_activations_are_fused_behind_every_normalisation() -> None:
    net = Builder((1, 4, 4, 6), name="fused")
    for op in (BatchNorm(), InstanceNorm(), GroupNorm(groups=3), LayerNorm(), LayerNorm(axes="image")):
        net.add(op)
        net.add(RELU)
    graph = optimise(net.graph())
    assert [node.op.kind for node in graph.nodes] == [
        "batch_norm", "instance_norm", "group_norm", "layer_norm", "layer_norm"
    ]  # fmt: skip
    assert all(node.op.activation == RELU.activation for node in graph.nodes)  # type: ignore[union-attr]
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 6))
    assert np.array_equal(reference(graph, x), reference(net.graph(), x))


def test_costs() -> None:
    image = [TensorType((2, 4, 5, 6))]
    assert LayerNorm(axes="image").cost(image, image[0]).params == 2 * 120
    assert GroupNorm(groups=2, center=False).cost(image, image[0]).params == 6
    assert InstanceNorm(scale=False, center=False).cost(image, image[0]).other == 5 * 240


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    refusal(
        tmp_path, network("group_norm: {name: g, groups: 2}"), "2 groups do not divide the 3 channels", error=ShapeError
    )
    refusal(tmp_path, network("flatten", "instance_norm"), "takes a tensor of rank 4", error=ShapeError)
    refusal(tmp_path, network("group_norm"), "groups")
    refusal(tmp_path, network("layer_norm: {axes: rows}"), "axes")


def test_weights_over_the_image_are_stored_as_frameworks_do(tmp_path: Path) -> None:
    """Keras (height, width, channels), PyTorch (channels, height, width)."""
    rng = np.random.default_rng(0)
    gamma, beta = rng.standard_normal((2, 4, 5, 3)).astype(F32)
    x = rng.standard_normal((1, 4, 5, 3))
    results = []
    for form, order in (("keras", (0, 1, 2)), ("torch", (2, 0, 1))):
        np.savez(tmp_path / f"{form}.npz", **{"n.gamma": gamma.transpose(order), "n.beta": beta.transpose(order)})
        header = f"cnngen: 1\ninput: {{shape: [4, 5, 3]}}\nweights: {{file: {form}.npz, format: {form}}}\n"
        graph = parse(tmp_path, network("layer_norm: {name: n, axes: image}", header=header))
        results.append(reference(graph, x))
    assert np.array_equal(*results)
