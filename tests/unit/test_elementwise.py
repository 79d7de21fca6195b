"""Broadcasting arithmetic and PReLU: shapes, what is refused, special values, fields, weights, fusion.

Their values are held against ONNX Runtime and PyTorch by tests/op_cases.py, their kernels by tests/differential.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen.analysis.lint import lint
from cnngen.analysis.receptive_field import receptive_fields
from cnngen.backends.cpu.kernels import ElementwiseKernel
from cnngen.backends.cpu.target import host_isas
from cnngen.errors import PlanError, ShapeError
from cnngen.frontends.layers import LAYERS, Options
from cnngen.frontends.weight_layouts import layouts
from cnngen.ir import Array, Graph, TensorType
from cnngen.ops import (
    Activation,
    Add,
    Conv2D,
    Div,
    Elementwise,
    GlobalPool2D,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Sub,
)
from cnngen.passes import optimise
from cnngen.reference import reference
from cnngen.report.inspect import field_text
from cnngen.report.inspect_data import field_row
from tests.graphs import RELU, SAME3, Builder, Shape, feed, squeeze_excitation
from tests.native import native, planned
from tests.specs import network, parse, refusal

NUMPY = {Add: np.add, Sub: np.subtract, Mul: np.multiply, Div: np.divide, Maximum: np.maximum, Minimum: np.minimum}
LARGEST = float(np.finfo(np.float32).max)
SPECIAL = [0.0, -0.0, 1.0, -3.0, 1e-45, -1e-40, 1e-30, 1e30, LARGEST, -LARGEST, np.inf, -np.inf, np.nan]


def binary(op: Elementwise, first: Shape, second: Shape) -> Graph:
    net = Builder({"a": first, "b": second})
    return net.graph(net.add(op, "a", "b", name="y"))


# ------------------------------------------------------------------------------------------------ shapes


@pytest.mark.parametrize(
    ("shapes", "output"),
    [
        ([(2, 3, 4, 5), (2, 1, 1, 5)], (2, 3, 4, 5)),
        ([(2, 1, 4, 1), (2, 3, 1, 5)], (2, 3, 4, 5)),
        ([(1, 3, 4, 5), (2, 3, 4, 1), (1, 1, 1, 1)], (2, 3, 4, 5)),
        ([(2, 7), (2, 1)], (2, 7)),
    ],
)
def test_shapes_broadcast_as_in_numpy(shapes: list[Shape], output: Shape) -> None:
    assert Mul().infer([TensorType(shape) for shape in shapes]) == TensorType(output)
    assert np.broadcast_shapes(*shapes) == output


@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Div(), Maximum(), Minimum()], ids=lambda op: op.kind)
def test_shapes_that_do_not_are_refused_with_the_facts(op: Elementwise) -> None:
    with pytest.raises(ShapeError, match=rf"{op.kind} takes .* 1x6x6x3 and 1x6x8x3 \(width 6 and 8\); match stride"):
        op.infer([TensorType((1, 6, 6, 3)), TensorType((1, 6, 8, 3))])
    with pytest.raises(ShapeError, match=r"1x6x6x3 and 1x6x6x4 \(channels 3 and 4\)"):
        op.infer([TensorType((1, 6, 6, 3)), TensorType((1, 6, 6, 4))])
    with pytest.raises(ShapeError, match=r"1x5 and 1x4 \(features 5 and 4\)"):
        op.infer([TensorType((1, 5)), TensorType((1, 4))])
    # In a spec an image and a vector are refused: the batch of the one would meet the width of the other.
    with pytest.raises(ShapeError, match="tensors of one rank, not 1x6x6x3 and 1x3; leave the flatten out"):
        LAYERS[op.kind]().lower([TensorType((1, 6, 6, 3)), TensorType((1, 3))], Options())
    with pytest.raises(ShapeError, match=r"4x6x6x3 and 5x3 \(width 6 and 5\); axes are aligned from the last"):
        op.infer([TensorType((4, 6, 6, 3)), TensorType((5, 3))])


def test_number_of_inputs(tmp_path: Path) -> None:
    for kind in ("add", "mul", "maximum", "minimum"):
        assert len(parse(tmp_path, network(f"{kind}: {{inputs: [input, input, input]}}")).nodes) == 1
    for kind in ("sub", "div"):
        layers = network(f"{kind}: {{name: y, inputs: [input, input, input]}}")
        refusal(tmp_path, layers, f"{kind} needs exactly 2 inputs, and has 3", line=5, layer="y", error=ShapeError)
        refusal(tmp_path, network(kind), f"{kind} needs at least two inputs, and has 1", line=5)


# -------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("isa", host_isas())
def test_special_values_as_in_numpy_float32(isa: str) -> None:
    """Division by zero, NaN on either side, infinities, denormals, overflow: bit for bit but for the sign of 0."""
    a, b = (np.array(x, np.float32) for x in zip(*product(SPECIAL, SPECIAL), strict=True))
    net = Builder({"a": (1, 1, 1, a.size), "b": (1, 1, 1, a.size), "one": (1, 1, 1, 1)})
    names = [net.add(op(), "a", "b", name=op.__name__) for op in NUMPY]
    names += [net.add(op(), "a", "one", name=f"{op.__name__}_one") for op in NUMPY]
    for value in SPECIAL:
        one = np.array(value, np.float32)
        with native(net.graph(*names), isa) as compiled, np.errstate(all="ignore"):
            results = dict(
                zip(names, compiled(a[None, None, None], b[None, None, None], one.reshape(1, 1, 1, 1)), strict=True)
            )
            for op, function in NUMPY.items():
                np.testing.assert_array_equal(results[op.__name__].ravel(), function(a, b), op.__name__)
                np.testing.assert_array_equal(results[f"{op.__name__}_one"].ravel(), function(a, one), op.__name__)


def test_the_reference_divides_by_zero_without_a_warning() -> None:
    graph = binary(Div(), (1, 3), (1, 3))
    y = reference(graph, [np.array([[1, -1, 0]], np.float32), np.zeros((1, 3), np.float32)])
    assert np.array_equal(y, [[np.inf, -np.inf, np.nan]], equal_nan=True)


def test_a_division_by_zero_is_verified() -> None:
    graph = binary(Div(), (1, 2, 2, 3), (1, 1, 1, 3))
    divisor = np.array([0, -0.0, 2], np.float32).reshape(1, 1, 1, 3)
    dividend = np.resize(np.array([1, 0, -1, 5], np.float32), (1, 2, 2, 3))
    with native(graph) as net:
        report = cnngen.verify(net, x={"a": dividend, "b": divisor})
    assert report.layers[0].status == "pass", report.summary()


def by_float32(op: Elementwise, xs: list[Array]) -> Array:
    """From left to right, every result rounded."""
    total = xs[0]
    for x in xs[1:]:
        total = NUMPY[type(op)](total, x)
    return total


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e-22, 1e-30], ids=str)
@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Div()], ids=lambda op: op.kind)
def test_arithmetic_in_float32_stays_within_the_limit(op: Elementwise, count: int, scale: float) -> None:
    """Down to denormal partial products, which the last factor makes large again."""
    if op.most is not None and count > op.most:
        count = op.most
    rng = np.random.default_rng(count)
    shapes = [(2, 9, 8, 12), (2, 1, 1, 12), (2, 9, 1, 12), (2, 9, 8, 1), (1, 1, 1, 1), (2, 9, 8, 12)]
    xs = [(scale * rng.standard_normal(shape)).astype(np.float32) for shape in shapes[:count]]
    xs[-1] = xs[-1] * np.float32(1e10 if count > 2 else 1)
    found = op.bound([x.astype(np.float64) for x in xs], {})
    error = np.abs(by_float32(op, xs).astype(np.float64) - found.value)
    assert (error <= found.limit).all()
    assert (found.alarm <= found.limit).all()


@pytest.mark.parametrize("op", [Sub(), Mul(), Div()], ids=lambda op: op.kind)
def test_one_more_rounding_is_above_the_limit(op: Elementwise) -> None:
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((1, 1000)).astype(np.float32) for _ in range(2)]
    found = op.bound([x.astype(np.float64) for x in xs], {})
    result = np.nextafter(np.nextafter(by_float32(op, xs), np.float32(9)), np.float32(9)).astype(np.float64)
    assert (np.abs(result - found.value) > found.limit).all()


def test_prelu_rounds_below_zero_only() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 5)).astype(np.float32)
    alpha = np.array([0.1, -0.3, 0.0, 2.0, 1e-30], np.float32)
    found = PRelu().bound([x.astype(np.float64)], {"alpha": alpha.astype(np.float64)})
    actual = np.where(x >= 0, x, alpha * x)
    assert (np.abs(actual - found.value) <= found.limit).all()
    assert (found.limit[x > 0] <= 2.0**-150).all()


# -------------------------------------------------------------------------- fields, lints, reports, passes


def test_a_gate_makes_everything_visible_and_mixes_no_jumps() -> None:
    net = Builder((1, 9, 9, 4))
    body = net.add(Conv2D(4, (3, 3), (2, 2), SAME3), "x", name="body")
    net.add(GlobalPool2D("avg"), body)
    gate = net.add(Conv2D(4, (1, 1)), name="gate")
    net.add(Mul(), body, gate, name="scaled")
    net.add(Conv2D(4, (3, 3), padding=SAME3), name="behind")
    graph = net.graph()
    fields = receptive_fields(graph)
    for name in ("gate", "scaled", "behind"):
        assert fields[name]["x"].sees_everything
    assert [path.jump for path in fields["scaled"]["x"].height.paths] == [0, 2]
    assert field_text(field_row(fields["scaled"]["x"])) == "all"
    assert lint(graph) == ()


def test_a_row_that_is_broadcast_is_seen_along_its_axis_only() -> None:
    net = Builder({"x": (1, 6, 7, 2), "row": (1, 1, 7, 2)})
    row = net.add(Conv2D(2, (1, 3), padding=(0, 0, 1, 1)), "row", name="filtered")
    graph = net.graph(net.add(Add(), "x", row, name="y"))
    field = receptive_fields(graph)["y"]["row"]
    assert [field.height.support(i) for i in range(6)] == [(0, 0)] * 6
    assert [field.width.support(i) for i in (0, 3, 6)] == [(0, 1), (2, 4), (5, 6)]
    assert field.height.jump == 0


def test_residual_sums_fuse_only_where_shapes_are_equal() -> None:
    for second, fused in (((1, 6, 6, 4), True), ((1, 1, 1, 4), False)):
        net = Builder({"x": (1, 6, 6, 3), "y": second})
        net.add(Conv2D(4, (1, 1)), "x")
        net.add(Add(), "conv2d_0", "y")
        net.add(RELU)
        (first, *rest) = optimise(net.graph()).nodes
        assert isinstance(first.op, Conv2D)
        assert first.op.residual == fused
        assert [node.op for node in rest] == ([] if fused else [Add(Activation("relu"))])


@pytest.mark.parametrize("isa", host_isas())
def test_squeeze_and_excitation_is_the_same_fused_and_unfused(isa: str) -> None:
    """Bit for bit: every epilogue does what the layer did."""
    graph = squeeze_excitation()
    fused = optimise(graph)
    assert len(fused.nodes) < len(graph.nodes)
    assert {"mul", "sub", "maximum", "div", "prelu"} <= {node.op.kind for node in fused.nodes}
    xs = feed(graph)
    with native(graph, isa) as one, native(fused, isa) as other:
        for a, b in zip(one(xs), other(xs), strict=True):
            np.testing.assert_array_equal(a, b)
    with cnngen.compile(graph, isa=isa, threads=1) as net:
        report = cnngen.verify(net)
    assert report.ok, report.summary()
    held = {layer.kind: layer.exactness for layer in report.layers}
    assert held["mul"] == held["prelu"] == held["sub"] == "exact"
    assert held["div"] == held["maximum"] == "activation", "behind them is a curved function"


# ------------------------------------------------------------------------------------- kernels and weights


def kernel(op: Elementwise, *shapes: Shape) -> ElementwiseKernel:
    net = Builder({f"x{i}": shape for i, shape in enumerate(shapes)})
    graph = net.graph(net.add(op, *(f"x{i}" for i in range(len(shapes)))))
    (found,) = planned(graph, "avx2-emulated").kernels
    assert isinstance(found, ElementwiseKernel)
    return found


def test_rows_of_pixels_are_one_run_where_memory_is() -> None:
    assert kernel(Add(), (2, 5, 6, 3), (2, 5, 6, 3)).shape == (2, 5, 1, 18)
    assert kernel(Add(), (2, 5, 6, 3), (2, 5, 1, 1)).shape == (2, 5, 1, 18), "a number a row"
    assert kernel(Add(), (2, 5, 6, 3), (2, 1, 6, 3)).shape == (2, 5, 1, 18), "one row for all"
    assert kernel(Add(), (2, 5, 6, 3), (2, 1, 1, 3)).shape == (2, 5, 6, 3)
    assert kernel(Add(), (2, 5, 6, 3), (2, 5, 6, 1)).shape == (2, 5, 6, 3)


def test_a_gate_is_held_in_registers_where_it_fits() -> None:
    assert kernel(Mul(), (1, 5, 6, 60), (1, 1, 1, 60)).held == (1,)
    assert kernel(Mul(), (1, 5, 6, 65), (1, 1, 1, 65)).held == (), "nine vectors"
    assert kernel(Mul(), (1, 5, 6, 40), (1, 1, 1, 40), (1, 5, 1, 40)).held == (), "ten of two operands"
    assert kernel(Mul(), (1, 5, 6, 60), (1, 1, 1, 1)).held == (), "a number is spread"


def test_a_damaged_kernel_is_refused() -> None:
    from dataclasses import replace

    good = kernel(Mul(), (1, 5, 6, 12), (1, 1, 1, 12))
    good.verify()
    for bad in (
        replace(good, operation="map"),
        replace(good, in_strides=good.in_strides[:1]),
        replace(good, out_strides=(360, 0, 12, 1)),
        replace(good, in_strides=((360, 72, 12, 5), good.in_strides[1])),
    ):
        with pytest.raises(PlanError):
            bad.verify()


def test_slopes_as_frameworks_store_them() -> None:
    slopes = np.arange(1, 5, dtype=np.float32)
    shared, single = np.reshape(slopes, (1, 1, 4)), np.array([0.25], np.float32)

    def read(source: str, array: Array) -> Array:
        (layout,) = (found for found in layouts(PRelu(), "alpha", (4,), source) if found.shape == array.shape)
        return layout.convert(array)

    for source in ("keras", "torch"):
        assert np.array_equal(read(source, slopes), slopes)
    assert np.array_equal(read("keras", shared), slopes)
    assert np.array_equal(read("torch", single), np.full(4, 0.25))


def test_prelu_in_a_spec_has_a_slope_for_each_channel(tmp_path: Path) -> None:
    graph = parse(tmp_path, network("conv2d: {filters: 5, kernel: 1}", "prelu: {name: p}"))
    assert graph.nodes[1].op == PRelu()
    assert graph.node("p").weights["alpha"].shape == (5,)
