"""Runs networks between pages that nobody may touch, so that a read or write beyond an array is a fault.

    python -m tests.guarded ISA [--plant NAME]

One network holds every case of tests/op_cases.py and every network of `EXAMPLES`. Each input, each output, each
buffer of the working memory and the weights have pages of their own, with a guard page in front and one behind;
first every array ends where the guard begins, then every array begins where the guard ends. Arrays of the caller
are aligned to four bytes, which is all that the header asks for; the buffers of the arena, too, which is less than
the planner gives them. `cuda-emulated fp16` (or another precision) runs the CUDA kernels on the emulation; its buffers
in the arena begin at a multiple of 16 bytes, for it refuses vectors elsewhere. The step that runs is the last line
printed before a fault ends the process.

`--plant` makes one mistake on purpose: it must fault, or the guards would prove nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from unittest import mock

import numpy as np

from cnngen import pipeline
from cnngen.backends import pack_weights
from cnngen.backends.cpu import loader
from cnngen.backends.cpu import plan as planner
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.loader import FFI, Library
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.cuda import plan as cuda_planner
from cnngen.backends.cuda import target as cuda_target
from cnngen.backends.cuda.target import EMULATED, PRECISIONS
from cnngen.cache import library
from cnngen.ir import Array, Graph, Input, Node, Placement, TensorType, verify_graph
from cnngen.passes import optimise
from cnngen.plan import layout
from cnngen.plan.memory import Arena, Buffer
from cnngen.verify import relative_error, rounding_limits
from tests.graphs import EXAMPLES, feed
from tests.native import target
from tests.op_cases import CASES, build_graph

if TYPE_CHECKING:
    from cnngen.backends import AnyPlan

CUDA = tuple(f"{EMULATED} {precision}" for precision in PRECISIONS)
PAGE = mmap.PAGESIZE
PROT_NONE = 0
FLOATS = PAGE // 4
SLACK = 0x7FC0ABCD
"""Fills what is left of a page: a NaN that no arithmetic makes, so that a stray write shows."""
End = Literal["front", "back"]
PLANTS = {
    "input": "the caller's inputs lie one float nearer to the guard than they are long",
    "output": "the same for the outputs",
    "arena": "the same for every buffer of the arena",
    "weights": "the same for the weights, by a cache line",
    "load": "partial loads read a whole vector",
    "store": "partial stores write a whole vector",
    "before": "the first value that a tile reads is the one in front",
    "border": "a CUDA convolution takes the row below the image for a part of it",
    "last": "a CUDA convolution stores the pixels of its last tile that are none",
}
"""Those from `load` on change the text of kernels, the others move what the kernels are given."""
EDITS = {
    "load": (r"v_load_n\(((?:[^()]|\([^()]*\))*), \d+\)", r"v_load(\1)"),
    "store": (r"v_store_n\((.*), \d+\);", r"v_store(\1);"),
    "before": (r"v_set1\(x\[0\]\)", "v_set1(x[-1])"),
    "border": (r"unsigned\(h\) < IN_HEIGHT", "unsigned(h) <= IN_HEIGHT"),
    "last": (r"pixel >= PIXELS \|\| ", ""),
}


class Guarded:
    """Memory for arrays, each on pages of its own between guard pages."""

    def __init__(self, sizes: Sequence[int], end: End, shift: int = 0, align: int = 1) -> None:
        self.offsets, size = guarded_offsets(sizes, end, align)
        self.offsets = [offset + shift for offset in self.offsets]
        self._memory = mmap.mmap(-1, 4 * size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.floats = np.frombuffer(self._memory, np.float32)
        self._used = np.zeros(size, bool)
        self.floats.view(np.uint32)[:] = SLACK
        pages = np.zeros(size // FLOATS, bool)
        for start, count in zip(guarded_offsets(sizes, end, align)[0], sizes, strict=True):
            pages[start // FLOATS : -(-(start + count) // FLOATS)] = True
            self._used[start : start + count] = True
        self._open = np.repeat(pages, FLOATS)
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for page in np.flatnonzero(~pages):
            if protect(ctypes.c_void_p(self.address + int(page) * PAGE), ctypes.c_size_t(PAGE), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def pointer(self, index: int) -> object:
        return FFI.cast("void *", self.address + 4 * self.offsets[index])

    def view(self, index: int, count: int) -> Array:
        return self.floats[self.offsets[index] : self.offsets[index] + count]

    def check(self) -> None:
        """Raise AssertionError where something was written between an array and the end of its page."""
        around = np.flatnonzero(self._open & ~self._used)
        wrong = around[self.floats.view(np.uint32)[around] != SLACK]
        assert not wrong.size, f"floats {wrong[:5]} were written; arrays begin at {self.offsets}"


def guarded_offsets(sizes: Sequence[int], end: End, align: int = 1) -> tuple[list[int], int]:
    """Where arrays of so many floats begin, behind a first guard page, and the floats of everything together.

    They begin at multiples of `align` floats, a power of two.
    """
    offsets, page = [], 1
    for size in sizes:
        pages = max(-(-size // FLOATS), 1)
        offsets.append((page + pages) * FLOATS - -(-size // align) * align if end == "back" else page * FLOATS)
        page += pages + 1
    return offsets, page * FLOATS


def merged(graphs: Mapping[str, Graph]) -> Graph:
    """All graphs side by side in one, the names of each behind its own."""
    inputs: list[Input] = []
    nodes: list[Node] = []
    outputs: list[str] = []
    types: dict[str, TensorType] = {}
    placements: dict[str, Placement] = {}
    for name, graph in graphs.items():

        def own(tensor: str, prefix: str = name) -> str:
            return f"{prefix}/{tensor}"

        inputs += [Input(own(tensor.name), tensor.type) for tensor in graph.inputs]
        nodes += [replace(node, name=own(node.name), inputs=tuple(map(own, node.inputs))) for node in graph.nodes]
        outputs += map(own, graph.outputs)
        types |= {own(tensor): found for tensor, found in graph.types.items()}
        placements |= {own(t): Placement(own(p.host), p.channel) for t, p in graph.placements.items()}
    whole = Graph("guarded", tuple(inputs), tuple(nodes), tuple(outputs), MappingProxyType(types))
    return verify_graph(replace(whole, placements=MappingProxyType(placements)))


def all_cases() -> dict[str, Graph]:
    """Every op case as it is."""
    return {f"case {name}": build_graph(case)[0] for name, case in CASES.items()}


def everything() -> Graph:
    """Every op case, and every example behind all passes."""
    return merged(all_cases() | {f"example {name}": optimise(build()) for name, build in EXAMPLES.items()})


def guarded_plan(graph: Graph, isa: str, end: End) -> AnyPlan:
    """`graph` planned with every buffer of the arena on pages of its own."""
    cuda = cuda_target.resolve("native", isa.split()[1], emulated=True) if isa in CUDA else None
    element = cuda.precision.element_bytes if cuda else 4

    def offsets(buffers: Sequence[Buffer]) -> Arena:
        found, size = guarded_offsets([floats(buffer, element) for buffer in buffers], end, alignment(isa))
        placed = [replace(buffer, offset=4 * offset // element) for buffer, offset in zip(buffers, found, strict=True)]
        return Arena(tuple(placed), 4 * size // element, 0)

    with (
        mock.patch.object(layout, "assign_offsets", offsets),
        mock.patch.object(planner, "verify_arena"),
        mock.patch.object(cuda_planner, "verify_arena"),
    ):
        return cuda_planner.plan_graph(graph, cuda) if cuda else plan_graph(graph, target(isa))


def floats(buffer: Buffer, element: int) -> int:
    """The floats in which a buffer of elements of so many bytes has room."""
    return -(-buffer.size * element // 4)


def alignment(isa: str) -> int:
    """Floats that the offsets of buffers in the arena are multiples of."""
    return 4 if isa in CUDA else 1


def is_kernel(name: str) -> bool:
    """Whether this is a file with kernels."""
    return name.startswith("kernels/") or name.endswith(".cu")


def compiled(plan: AnyPlan, plant: str | None) -> Library:
    """The library, compiled without optimisation: every load and store happens as it is written."""
    tree = pipeline.sources(plan)
    files = dict(tree.files)
    if plant in EDITS:
        pattern, wrong = EDITS[plant]
        edited = {name: re.sub(pattern, wrong, text) for name, text in files.items() if is_kernel(name)}
        assert any(files[name] != text for name, text in edited.items()), f"{plant} changes nothing"
        files |= edited
    tree = replace(tree, files=MappingProxyType(files), flags=(*tree.flags, "-O0"))
    path = library(tree, find_compiler())
    checked = plan.target.name.startswith(EMULATED)
    return loader.load(path, tree.name, len(plan.graph.inputs), len(plan.graph.outputs), checked=checked)


def run(graph: Graph, isa: str, arena_end: End, ends: Sequence[End], plant: str | None) -> None:
    """Run every step with the caller's arrays at each of `ends`: the same bits, and the right values."""
    plan = guarded_plan(graph, isa, arena_end)
    native = compiled(plan, plant)
    blob = pack_weights(plan)
    element, align = plan.element.itemsize, alignment(isa)
    feeds = feed(graph)
    limits = rounding_limits(graph, feeds)
    sizes = {name: tensor.elements for name, tensor in graph.types.items()}
    before: dict[str, bytes] = {}
    for end in ends:
        sign = 1 if end == "back" else -1
        inputs = Guarded([sizes[t.name] for t in graph.inputs], end, sign * (plant == "input"))
        outputs = Guarded([sizes[name] for name in graph.outputs], end, sign * (plant == "output"))
        weights = Guarded([blob.size], end, sign * 16 * (plant == "weights"))
        arena = Guarded([floats(buffer, element) for buffer in plan.arena.buffers], arena_end, align=align)
        assert [4 * offset for offset in arena.offsets] == [element * buffer.offset for buffer in plan.arena.buffers]
        if plant is None:
            for index, tensor in enumerate(graph.inputs):
                inputs.view(index, sizes[tensor.name])[:] = feeds[tensor.name].ravel()
            weights.view(0, blob.size)[:] = blob
        shift = 4 * align * (plant == "arena") * (1 if arena_end == "back" else -1)
        arguments = (
            FFI.new("const void *[]", [inputs.pointer(i) for i in range(len(graph.inputs))]),
            FFI.new("void *[]", [outputs.pointer(i) for i in range(len(graph.outputs))]),
            FFI.cast("void *", arena.address + shift),
            weights.pointer(0),
        )
        for number, step in enumerate(plan.steps):
            print(f"{isa}, arrays at the {end} of their pages, arena at the {arena_end}: {step.title}", flush=True)
            native.run_steps(number, number + 1, *arguments)
        for memory in (inputs, outputs, weights, arena):
            memory.check()
        if plant is not None:
            continue
        for index, name in enumerate(graph.outputs):
            found = outputs.view(index, sizes[name])
            value, _, limit = limits[name]
            error = relative_error(found.reshape(value.shape), value)
            # What a precision does to the values of a whole network is the business of `cnngen.verify`.
            assert isa in CUDA or error <= limit, f"{name}: relative error {error:.2g}, limit {limit:.2g}"
            assert before.setdefault(name, found.tobytes()) == found.tobytes(), f"{name} depends on where arrays lie"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("isa")
    parser.add_argument("--arena", choices=("front", "back"), default="back")
    parser.add_argument("--end", choices=("front", "back"), action="append")
    parser.add_argument("--plant", choices=PLANTS)
    parser.add_argument("--case", action="append", help="this op case only; may be given several times")
    options = parser.parse_args()
    names = options.case or []
    cases = {"case" if len(names) == 1 else f"case {name}": build_graph(CASES[name])[0] for name in names}
    graph = merged(cases) if cases else everything()
    run(graph, options.isa, options.arena, options.end or ("back", "front"), options.plant)
    print("done", flush=True)


if __name__ == "__main__":
    main()
