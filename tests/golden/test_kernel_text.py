"""The emitted text of a few small kernels, to be reviewed as code; the same kernels are run against the reference.

A case's text is in `tests/golden/<case>/<symbol>.c`. After a change of templates or planning:

    pytest tests/golden --update-golden

rewrites the files; the diff of the commit then shows what the change does to the code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnngen import pipeline
from cnngen.backends.cpu.target import host_isas
from cnngen.ir import Graph
from cnngen.ops import (
    LRN,
    Activate,
    Activation,
    Add,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Mul,
    Op,
    Pad,
    Pool2D,
    PRelu,
    Resize,
    Softmax,
    Transpose,
    Upsample,
    UpsampleBilinear,
)
from cnngen.ops.resampling import Resampling
from tests.exactness import assert_every_layer
from tests.graphs import SAME3, Builder, chain, feed
from tests.native import native, planned

FOLDER = Path(__file__).parent
FUSED = Activation("relu")


def layer(op: Op, *shape: int) -> Callable[[], Graph]:
    """A network of one layer."""
    return lambda: chain(shape, op, weights="integers")


def residual() -> Graph:
    """A 3x3 convolution with a second operand, two and a half vectors of channels."""
    net = Builder({"x": (1, 9, 9, 8), "shortcut": (1, 9, 9, 20)}, weights="integers")
    return net.graph(net.add(Conv2D(20, (3, 3), padding=SAME3, residual=True, activation=FUSED), "x", "shortcut"))


def addition() -> Graph:
    net = Builder({"x": (1, 5, 6, 12), "y": (1, 5, 6, 12)}, weights="integers")
    return net.graph(net.add(Add(FUSED), "x", "y"))


def gated(channels: int) -> Callable[[], Graph]:
    """An image times a number for each channel and a number for each pixel."""
    shapes = {"x": (1, 5, 6, channels), "gate": (1, 1, 1, channels), "mask": (1, 5, 6, 1)}

    def build() -> Graph:
        net = Builder(shapes, weights="integers")
        return net.graph(net.add(Mul(), *shapes))

    return build


CASES: dict[str, tuple[str, str, Callable[[], Graph]]] = {
    "conv2d_3x3_residual_relu": ("avx2", "conv2d", residual),
    "conv2d_grouped": ("avx2", "conv2d", layer(Conv2D(12, (3, 3), groups=2), 1, 6, 7, 8)),
    "conv2d_crossing_lines": ("avx2", "conv2d", layer(Conv2D(16, (3, 3), padding=SAME3), 1, 7, 7, 8)),
    "conv2d_1x1": ("avx512", "conv2d", layer(Conv2D(64, (1, 1)), 1, 4, 14, 32)),
    "conv2d_1x1_half_vector": ("avx512", "conv2d", layer(Conv2D(24, (1, 1), activation=FUSED), 1, 2, 5, 16)),
    "conv2d_planar": ("avx512", "conv2d", layer(Conv2D(3, (5, 5), activation=FUSED), 1, 12, 24, 1)),
    "conv2d_depthwise_stride_2": ("avx2", "dwconv2d", layer(Conv2D(12, (3, 3), (2, 2), SAME3, groups=12), 1, 9, 9, 12)),
    "conv2d_transpose": ("avx2", "conv2dt", layer(Conv2DTranspose(20, (2, 2), (2, 2), activation=FUSED), 1, 5, 6, 8)),
    "conv2d_transpose_gaps": (
        "avx2",
        "fill",
        layer(Conv2DTranspose(12, (1, 1), (1, 2), output_padding=(0, 1)), 1, 4, 5, 8),
    ),
    "dense": ("avx2", "dense", layer(Dense(19), 2, 37)),
    "max_pool": ("avx2", "max_pool", layer(Pool2D("max", (2, 2), (2, 2)), 1, 8, 8, 12)),
    "avg_pool_clipped": ("avx2", "avg_pool", layer(Pool2D("avg", (3, 3), (2, 2), SAME3), 1, 9, 9, 12)),
    "lrn": ("avx2", "lrn", layer(LRN(), 1, 5, 6, 12)),
    "softmax": ("avx2", "softmax", layer(Softmax(), 2, 10)),
    "prelu": ("avx2", "prelu", layer(PRelu(), 1, 5, 6, 12)),
    "batch_norm": ("avx2", "affine", layer(BatchNorm(), 1, 5, 6, 12)),
    "activation": ("avx2", "map", layer(Activate(Activation("leaky_relu", 0.1)), 1, 5, 6, 12)),
    "add_relu": ("avx2", "add", addition),
    "mul_gate": ("avx2", "mul", gated(12)),
    "mul_wide_gate": ("avx2", "mul", gated(140)),
    "copy_transposed": ("avx2", "strided_copy", layer(Transpose((0, 2, 3, 1)), 1, 3, 5, 6)),
    "copy_in_squares": ("avx2", "strided_copy", layer(Transpose((0, 3, 1, 2)), 2, 7, 6, 24)),
    "upsample": ("avx2", "upsample", layer(Upsample((2, 3)), 1, 5, 6, 12)),
    "upsample_bilinear": ("avx2", "bilinear", layer(UpsampleBilinear((2, 3)), 1, 5, 6, 12)),
    "resize_nearest": ("avx2", "resize", layer(Resize((3, 8)), 1, 5, 6, 12)),
    "resize_linear": ("avx2", "resize", layer(Resize((8, 4), Resampling("linear")), 1, 5, 6, 12)),
    "resize_region": (
        "avx2",
        "resize",
        layer(Resize((4, 3), Resampling("cubic", "tf_crop_and_resize"), None, (0.0, -0.5, 1.0, 0.5), 1.0), 1, 5, 6, 8),
    ),
    "pad_wrap": ("avx2", "pad", layer(Pad((1, 2, 0, 3), "wrap"), 1, 5, 6, 12)),
    "pad_reflect": ("avx2", "pad", layer(Pad((1, 2, 0, 3), "reflect"), 1, 5, 6, 12)),
    "pad_constant": ("avx2", "pad", layer(Pad((1, 2, 0, 3), value=-0.5), 1, 5, 6, 8)),
    "halo": ("avx2", "halo", layer(Conv2D(8, (3, 3), padding=(1, 0, 0, 2)), 1, 6, 7, 8)),
}
"""ISA, beginning of the kernel's name, and network of every case."""


@pytest.mark.parametrize("case", CASES)
def test_text(case: str, pytestconfig: pytest.Config) -> None:
    isa, prefix, graph = CASES[case]
    tree = pipeline.sources(planned(graph(), isa))
    emitted = {Path(name).name: text for name, text in tree.files.items() if name.startswith(f"kernels/{prefix}")}
    assert len(emitted) == 1, f"one kernel of {sorted(tree.files)}"
    (name, text) = emitted.popitem()
    golden = FOLDER / case / name
    if pytestconfig.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        for old in golden.parent.iterdir():
            old.unlink()
        golden.write_text(text, encoding="utf-8")
    found = sorted(path.name for path in golden.parent.glob("*.c"))
    assert found == [name], f"the kernel is now {name}; see --update-golden"
    assert text == golden.read_text(encoding="utf-8"), "see --update-golden"


@pytest.mark.parametrize("case", CASES)
def test_the_same_kernel_equals_the_reference(case: str) -> None:
    isa, prefix, graph = CASES[case]
    emulated = isa if isa in host_isas() else f"{isa}-emulated"
    with native(graph(), emulated) as net:
        assert any(symbol.startswith(prefix) for symbol in net.plan.kernels.values())
        for kind in ("integers", "random"):
            x = feed(net.graph, kind)
            tensors = {**x, **net.trace(list(x.values()))}
            assert_every_layer(net.graph, tensors)
            assert np.array_equal(net(*x.values()), tensors[net.output_names[0]])


def test_every_folder_belongs_to_a_case() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_text_is_laid_out_as_a_person_would(case: str) -> None:
    """Four spaces a level, no trailing blanks, no empty line at an end of a block."""
    isa, _, graph = CASES[case]
    files = pipeline.sources(planned(graph(), isa)).files
    for name, text in files.items():
        if not name.endswith((".c", ".h")) or name.startswith(("simd", "vector_math")):
            continue
        lines = text.splitlines()
        depth = 0
        for number, line in enumerate(lines, 1):
            place = f"{name}:{number}: {line!r}"
            assert line == line.rstrip(), place
            assert "\t" not in line, place
            assert not (line == "" and number > 1 and lines[number - 2].endswith("{")), f"{place} begins a block"
            assert not (line.strip() == "}" and lines[number - 2] == ""), f"{place} after an empty line"
            assert not (line == "" and number > 1 and lines[number - 2] == ""), f"{place} is the second empty line"
            code = line.split("/*")[0]
            closing = code.strip().startswith("}")
            if (
                line.strip()
                and not line.lstrip().startswith(("#", "/*", "*"))
                and lines[number - 2][-1:] in ("{", "}", ";", "")
            ):
                indent = len(line) - len(line.lstrip())
                expected = 4 * (depth - closing)
                assert indent >= expected, f"{place} is indented by {indent} in a block of {expected}"
            depth += code.count("{") - code.count("}")
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
