"""The CUDA kernels, run on this machine's CPU by the emulation, against the reference.

The same generated file goes through nvcc where there is one: it compiles without a warning for every
architecture, and the main kernels keep everything in registers. Nothing here needs a GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen.backends.cuda.architectures import ARCHITECTURES
from cnngen.backends.cuda.emit import emit_device
from cnngen.backends.cuda.plan import plan_graph
from cnngen.backends.cuda.target import PRECISIONS, resolve
from cnngen.ir import Graph
from cnngen.ops import (
    Activate,
    Activation,
    Add,
    ChannelShuffle,
    Conv2D,
    Dense,
    DepthToSpace,
    Pad,
    Reshape,
    Resize,
    SpaceToDepth,
    Sub,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.resampling import Resampling
from cnngen.passes import optimise
from cnngen.resources import specs_folder
from tests.differential.test_kernels import NETWORKS
from tests.differential.test_reductions import products, reductions
from tests.fuzz.check import guarded_run
from tests.graphs import EXAMPLES, SAME3, Builder, feed
from tests.verify_cuda import check, small

COVERED = [
    *(("fp32", name) for name in ("windows", "broadcasting")),
    ("tf32", "groups"),
    *(("fp16", name) for name in ("transposed", "pools", "pointwise", "slices")),
]
NVCC = shutil.which("nvcc")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="there is no nvcc on the PATH")


def moves() -> Graph:
    """Everything that moves or interpolates elements, on channels that fill vectors and on some that do not."""
    net = Builder({"x": (2, 5, 6, 8), "y": (2, 4, 4, 3)}, name="moves")
    ops = (
        Pad((1, 2, 0, 3), "constant", 1.5),
        Pad((2, 1, 3, 1), "reflect"),
        Pad((2, 0, 7, 1), "edge"),
        UpsampleBilinear((2, 3)),
        UpsampleBilinear((3, 1)),
        Upsample((2, 2)),
        Pad((2, 1, 9, 0), "wrap"),
        Pad((1, -1, -2, 0), value=0.5, channels=(3, 2)),
        Resize((7, 3)),
        Resize((3, 9), Resampling("linear")),
        Resize((6, 5), Resampling("cubic", antialias=True)),
        Resize((4, 4), Resampling("linear", "tf_crop_and_resize"), None, (-0.5, 0.25, 0.75, 1.0), 2.0),
    )
    outputs = [net.add(op, name) for op in ops for name in ("x", "y")]
    outputs += [net.add(Reshape(*shape), "x") for shape in (((3, 10, 8),), ((8, 6, 5), "chw"), ((2, 3, 40), "chw"))]
    outputs += [
        net.add(op, name) for op, name in ((DepthToSpace(2), "x"), (SpaceToDepth(2), "y"), (ChannelShuffle(4), "x"))
    ]
    return net.graph(*outputs)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_moves_equal_the_reference(precision: str) -> None:
    with cnngen.compile(moves(), target="cuda-emulated", precision=precision) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


@pytest.mark.parametrize(("precision", "name"), COVERED, ids=["-".join(pair) for pair in COVERED])
def test_kernels_equal_the_reference(precision: str, name: str) -> None:
    with cnngen.compile(NETWORKS[name](), target="cuda-emulated", precision=precision) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_lenet_is_right(precision: str) -> None:
    graph = EXAMPLES["lenet"]()
    with cnngen.compile(graph, target="cuda-emulated", precision=precision) as net:
        report = cnngen.verify(net)
        assert report.ok, report.summary()
        assert f"cuda-emulated {precision}" in report.summary()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_trained_lenet_is_right(precision: str) -> None:
    """Its softmax depends on the difference of two numbers: few roundings decide how large the error is."""
    with cnngen.compile(specs_folder() / "lenet.yaml", target="cuda-emulated", precision=precision) as net:
        for seed in range(4):
            report = cnngen.verify(net, seed=seed)
            assert report.ok, report.summary()


@pytest.mark.parametrize(("name", "precision"), [("squeezenet", "tf32"), ("mobilenet_v2", "fp16")])
def test_shipped_networks_made_small_are_right(name: str, precision: str) -> None:
    """Two of those that `make verify-cuda` runs."""
    passed, row = check(small(name, divisor=8, pixels=32), precision)
    assert passed, row


def long_sum(name: str) -> Graph:
    """So few pixels and so many taps that several blocks share the taps of a tile."""
    net = Builder((1, 4, 4, 96), weights="integers", name=name)
    residual = net.add(Conv2D(40, (1, 1)), "x")
    net.add(Conv2D(40, (3, 3), padding=SAME3, activation=Activation("relu"), residual=True), "x", residual)
    net.add(Conv2D(24, (3, 3), padding=SAME3, use_bias=False))
    return net.graph()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_split_sums_are_added_in_order(precision: str) -> None:
    with cnngen.compile(long_sum(f"long_sum_{precision}"), target="cuda-emulated", precision=precision) as net:
        labels = [kernel.label for kernel in net.plan.kernels]
        assert any(label.startswith("reduce_k") for label in labels), labels
        assert cnngen.verify(net).ok
        x = feed(net.graph, "random")["x"]
        assert net(x).tobytes() == net(x).tobytes()


def test_an_input_that_is_an_output_is_stored_on_its_way(tmp_path: Path) -> None:
    """And so rounded, which is no error: also where nothing else is in the network."""
    layers = "layers:\n  - relu: {name: y}\n"
    for outputs in ("[input]", "[input, y]"):
        (tmp_path / "net.yaml").write_text(
            f"cnngen: 1\ninput: {{shape: [4]}}\nweights: random\n{layers}outputs: {outputs}\n"
        )
        with cnngen.compile(tmp_path / "net.yaml", target="cuda-emulated", precision="fp16") as net:
            report = cnngen.verify(net)
            assert report.ok, report.summary()
            x = np.array([[0.1, 1.0, -2.0, 1e-9]], np.float32)
            found = net(x)
            y = found[0] if isinstance(found, list) else found
            assert np.array_equal(y, x.astype(np.float16).astype(np.float32))
            assert np.array_equal(net.trace(x)["input"], y)


COMPILED = {"fp32": ("sm_75", "sm_120"), "tf32": ("sm_80", "sm_100"), "fp16": ("sm_75", "sm_86", "sm_89", "sm_90")}
"""Each architecture, and each precision on an old and a new one."""


@pytest.mark.parametrize("precision", PRECISIONS)
def test_arrays_of_the_caller_may_lie_anywhere(precision: str) -> None:
    """The emulation refuses a vector at an address that its size does not divide: they are for the arena only."""
    network = Builder((2, 3, 5, 8), name="anywhere")
    network.add(Activate(Activation("relu")), "x", name="between")
    network.add(Add(), "between", "x", name="sum")
    network.add(Activate(Activation("abs")), "between", name="z")
    graph = network.graph("sum", "z")
    x = np.rint(feed(graph)["x"] * 8)
    with cnngen.compile(graph, target="cuda-emulated", precision=precision) as net:
        (total, z), complaints = guarded_run(net, [x])
    assert not complaints
    np.testing.assert_array_equal(total, np.maximum(x, 0) + x)
    np.testing.assert_array_equal(z, np.maximum(x, 0))


def test_every_architecture_is_compiled_for() -> None:
    assert set().union(*COMPILED.values()) == set(ARCHITECTURES)


@needs_nvcc
@pytest.mark.parametrize("precision", PRECISIONS)
def test_nvcc_compiles_without_warnings_or_spills(precision: str, tmp_path: Path) -> None:
    net = Builder((1, 28, 28, 64), name="kernels")
    net.add(Conv2D(64, (3, 3), padding=SAME3, activation=Activation("relu")))
    net.add(Conv2D(130, (3, 3), stride=(2, 2), padding=SAME3))
    net.add(Conv2D(7, (28, 28), padding=(7, 7, 7, 7)))
    assert_nvcc_is_content(net.graph(), precision, COMPILED[precision], tmp_path)


@needs_nvcc
@pytest.mark.parametrize("build", [reductions, products])
def test_nvcc_compiles_reductions_and_products_without_warnings_or_spills(
    build: Callable[[], Graph], tmp_path: Path
) -> None:
    assert_nvcc_is_content(build(), "fp16", ("sm_75",), tmp_path)


def assert_nvcc_is_content(graph: Graph, precision: str, architectures: tuple[str, ...], tmp_path: Path) -> None:
    """No warning, and every kernel of `graph` keeps its values in registers."""
    files = emit_device(plan_graph(optimise(graph), resolve(",".join(architectures), precision)), "test")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for architecture in architectures:
        command = [NVCC, f"-arch={architecture}", "-cubin", "-std=c++17", "-Werror", "all-warnings"]
        command += ["-Xptxas", "-v", f"{graph.name}.cu", "-o", f"{architecture}.cubin"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stdout + done.stderr)
        assert set(spills) == {("0", "0")}, (architecture, done.stderr)


def test_a_precision_that_an_architecture_lacks_is_refused() -> None:
    with pytest.raises(cnngen.CnngenError, match=r"sm_75 has no tf32; use fp32 or fp16"):
        cnngen.compile(EXAMPLES["lenet"](), target="cuda-emulated", architectures="sm_75", precision="tf32")
    with pytest.raises(cnngen.CnngenError, match=r"unknown GPU architecture 'sm_12'; use sm_75, "):
        cnngen.compile(EXAMPLES["lenet"](), target="cuda-emulated", architectures="sm_12")
    with pytest.raises(cnngen.CnngenError, match=r"precision 'fp16' is not available on the CPU"):
        cnngen.compile(EXAMPLES["lenet"](), precision="fp16")


def test_sums_beyond_half_precision_become_infinite() -> None:
    """As in NumPy's float16, not a wrong finite number."""
    net = Builder((1, 8), weights="integers", name="overflow")
    net.add(Dense(3))
    graph = net.graph()
    weight = graph.nodes[0].weights["weight"]
    x = np.full((1, 8), 2.0**15, np.float32)
    with cnngen.compile(graph, target="cuda-emulated", precision="fp16") as compiled:
        exact = 2.0**15 * weight.sum(axis=0) + graph.nodes[0].weights["bias"]
        with np.errstate(over="ignore"):
            expected = exact.astype(np.float16).astype(np.float32)
        assert np.isinf(expected).any()
        assert np.array_equal(compiled(x).reshape(-1), expected)


def test_a_single_element_declares_nothing_that_it_does_not_use() -> None:
    """nvcc and the emulation's compiler take unused variables for errors."""
    net = Builder({"x": (1, 3), "y": (1, 1)}, name="single")
    net.add(Sub(), "x", "y")
    plan = plan_graph(net.graph(), resolve("sm_80", "fp32"))
    text = emit_device(plan, "test")["single.cu"]
    kernel = text[text.index("sub2") :]
    for name in "nhw":
        assert (f" {name} = pixel" in kernel) == (f"+ {name} *" in kernel), kernel
