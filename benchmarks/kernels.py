"""Convolution kernels against the machine's own limits, all measured in one interleaved run on one core.

    python benchmarks/kernels.py [--isa avx2] [--json kernels.json] [--core N] [--slices 40]

The limits are the multiply-add peak (independent accumulators in registers, nothing loaded) and the
read bandwidth of memory. Each layer is a network of one convolution; only its kernel is timed, on
packed weights and padded input as inside a larger network. Operations are those of the direct
convolution, a multiply-add counted as two.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

common.use_one_thread()

import cffi  # noqa: E402
import numpy as np  # noqa: E402

import cnngen  # noqa: E402
from cnngen import cache  # noqa: E402
from cnngen.backends.cpu.compiler import find_compiler  # noqa: E402
from cnngen.backends.cpu.target import Target, resolve  # noqa: E402
from cnngen.backends.sources import SourceTree  # noqa: E402
from cnngen.ir import Graph, Input, Node, TensorType  # noqa: E402
from cnngen.ops import Conv2D  # noqa: E402
from cnngen.passes.infer_shapes import infer_shapes  # noqa: E402
from cnngen.resources import templates_folder  # noqa: E402

PEAK_STEPS = 100_000
MEMORY_FLOATS = 1 << 26
"""256 MiB: far beyond every cache."""


@dataclass(frozen=True)
class Layer:
    """A square convolution with padding that keeps the size, and the share of the peak it should reach."""

    size: int
    channels: int
    filters: int
    kernel: int
    target: float

    @property
    def title(self) -> str:
        k, s = self.kernel, self.size
        return f"{k}x{k}, {s}x{s}x{self.channels} -> {self.filters}"

    @property
    def operations(self) -> int:
        return 2 * self.size**2 * self.channels * self.filters * self.kernel**2

    def graph(self) -> Graph:
        rng = np.random.default_rng(0)
        pad = self.kernel // 2
        op = Conv2D(self.filters, (self.kernel, self.kernel), padding=(pad,) * 4)
        shape = (self.kernel, self.kernel, self.channels, self.filters)
        weights = {
            "weight": rng.standard_normal(shape, np.float32),
            "bias": rng.standard_normal(self.filters, np.float32),
        }
        tensor = Input("x", TensorType((1, self.size, self.size, self.channels)))
        name = f"conv_{self.kernel}x{self.kernel}_{self.size}_{self.channels}_{self.filters}"
        return infer_shapes(Graph(name, (tensor,), (Node("conv", op, ("x",), weights),), ("conv",)))


LAYERS = [
    Layer(56, 64, 64, 3, 0.85),
    Layer(28, 128, 128, 3, 0.85),
    Layer(14, 256, 256, 3, 0.85),
    Layer(7, 512, 512, 3, 0.85),
    Layer(56, 64, 256, 1, 0.80),
    Layer(14, 1024, 256, 1, 0.80),
]
"""The shapes of ResNet's stages."""


def limits(target: Target) -> Any:
    """The library with `fma_peak(float *, steps)` and `read_all(const float *, floats)`, as a cffi handle.

    Both work in registers on as many accumulators as the ISA has registers to spare.
    """
    count = target.isa.registers - 4
    step = count * target.isa.lanes
    accumulators = range(count)
    declare = ", ".join(f"a{i} = v_set1({i + 1}.0f)" for i in accumulators)
    peak = " ".join(f"a{i} = v_fma(a{i}, x, y);" for i in accumulators)
    read = " ".join(f"a{i} = v_add(a{i}, v_load(p + {i * target.isa.lanes}));" for i in accumulators)
    total = " ".join(f"a0 = v_add(a0, a{i});" for i in accumulators if i)
    # The empty asm keeps the compiler from joining steps of the loop.
    text = f"""#include <stddef.h>
#include "simd.h"
__attribute__((visibility("default"))) void fma_peak(float *out, long steps)
{{
    v_t {declare};
    const v_t x = v_set1(out[0]), y = v_set1(out[1]);
    for (long i = 0; i < steps; ++i) {{ {peak} __asm__ volatile(""); }}
    {total}
    v_store(out, a0);
}}
__attribute__((visibility("default"))) void read_all(float *out, const float *p, long floats)
{{
    v_t {declare};
    for (const float *end = p + floats - {step}; p <= end; p += {step}) {{ {read} }}
    {total}
    v_store(out, a0);
}}
"""
    header = (templates_folder() / "c" / "simd" / target.header).read_text()
    tree = SourceTree("limits", {"simd.h": header, "limits.c": text}, {}, ("limits.c",), target.flags, ("-lm",))
    ffi = cffi.FFI()
    ffi.cdef("void fma_peak(float *, long); void read_all(float *, const float *, long);")
    return ffi, ffi.dlopen(str(cache.library(tree, find_compiler())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="native")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--core", type=int)
    parser.add_argument("--slices", type=int, default=40)
    args = parser.parse_args()
    core = common.pin(args.core)
    target = resolve(args.isa, 1)

    ffi, library = limits(target)
    scratch = np.zeros(64, np.float32)
    out = ffi.cast("float *", scratch.ctypes.data)
    memory = np.ones(MEMORY_FLOATS, np.float32)  # written: zeros that never were are all one page, in the cache
    pointer = ffi.cast("const float *", memory.ctypes.data)
    contenders: dict[str, Any] = {
        "peak": lambda: library.fma_peak(out, PEAK_STEPS),
        "memory": lambda: library.read_all(out, pointer, MEMORY_FLOATS),
    }
    for layer in LAYERS:
        net = cnngen.compile(layer.graph(), isa=args.isa, threads=1, numerics="reproducible")
        contenders[layer.title] = net.stepper("conv")
    timings = common.interleave(contenders, slices=args.slices)

    operations = 2 * (target.isa.registers - 4) * target.isa.lanes * PEAK_STEPS
    peak = operations / timings["peak"].median * 1e-9
    bandwidth = 4e-9 * MEMORY_FLOATS / timings["memory"].median
    print(f"{target.name}, core {core}: multiply-add peak {peak:.0f} GFLOP/s, memory read {bandwidth:.1f} GB/s\n")
    print(f"{'layer':28} {'ms':>8} {'GFLOP/s':>8} {'of peak':>8} {'target':>7}")
    rows = []
    for layer in LAYERS:
        speed = layer.operations / timings[layer.title].median * 1e-9
        # Slice by slice, so that both saw the same clock.
        pairs = zip(timings["peak"].slices, timings[layer.title].slices, strict=True)
        share = float(np.median([(layer.operations / kernel) / (operations / top) for top, kernel in pairs]))
        print(
            f"{layer.title:28} {1e3 * timings[layer.title].median:8.3f} {speed:8.1f} {share:8.1%} {layer.target:7.0%}"
            + ("" if share >= layer.target else "  below target")
        )
        rows.append({"layer": layer.title, "gflops": speed, "share_of_peak": share, "target": layer.target})
    if args.json:
        common.write_json(
            args.json,
            {
                "machine": common.machine_facts(),
                "isa": target.name,
                "peak_gflops": peak,
                "memory_gb_per_s": bandwidth,
                "layers": rows,
                "timings": {name: timing.as_json() for name, timing in timings.items()},
            },
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
