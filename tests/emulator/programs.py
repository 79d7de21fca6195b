"""Static programs that print hashes of what kernels compute: the same text wherever they compute the same bits."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cnngen
from cnngen import pipeline, resources
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.cpu.toolchain import BASE_FLAGS
from cnngen.ir import Array, Graph
from cnngen.verify import rounding_limits
from tests.differential.networks import NETWORKS
from tests.graphs import EXAMPLES, Builder, feed
from tests.native import cc, target, write_tree
from tests.op_cases import CASES, Case
from tests.unit import test_vocabulary as vocabulary

HERE = Path(__file__).parent
SPECS = ("lenet", "squeezenet", "mobilenet_v2", "alexnet", "resnet18", "resnet50", "vgg16")
STATIC = ("-static", "-s")


@dataclass(frozen=True)
class Program:
    """Something to run. `build(isa, folder)` compiles it in an empty folder and returns the executable.

    `graph` is the network that it runs on the inputs `feed`, where it runs one.
    """

    name: str
    build: Callable[[str, Path], Path]
    graph: Callable[[], Graph] | None = None


def programs(threads: int = 1) -> dict[str, Program]:
    """All programs by name, small ones first; networks compiled for so many threads."""
    graphs: dict[str, Callable[[], Graph]] = {f"op-{name}": _one_op(name, case) for name, case in CASES.items()}
    graphs |= {f"graph-{name}": build for name, build in EXAMPLES.items()}
    graphs |= {f"edge-{name}": build for name, build in NETWORKS.items()}
    graphs |= {f"spec-{name}": _spec(name) for name in SPECS}
    found = [Program("vocabulary", build_vocabulary), Program("guard-pages", build_guard_pages)]
    found += [Program(name, _network_builder(graph, threads), graph) for name, graph in graphs.items()]
    return {program.name: program for program in found}


def check_against_reference(graph: Graph, outputs: Path) -> tuple[float, float]:
    """Relative error (L2 norms) and limit of the output that comes closest to its limit, or is furthest beyond it."""
    values = np.fromfile(outputs, np.float32)
    limits = rounding_limits(graph, feed(graph))
    ends = np.cumsum([math.prod(graph.types[name].shape) for name in graph.outputs])
    found = []
    for part, (value, _, limit) in zip(np.split(values, ends[:-1]), limits.values(), strict=True):
        error = float(np.linalg.norm(part - value.ravel()) / (np.linalg.norm(value) or 1.0))
        found.append((error if np.isfinite(error) else np.inf, limit))
    return max(found, key=lambda pair: pair[0] / pair[1])


def _one_op(name: str, case: Case) -> Callable[[], Graph]:
    def graph() -> Graph:
        net = Builder({f"x{i}": shape for i, shape in enumerate(case.shapes)}, name=name)
        net.add(case.op, *(f"x{i}" for i in range(len(case.shapes))), name="y")
        return net.graph()

    return graph


def _spec(name: str) -> Callable[[], Graph]:
    return lambda: cnngen.load_graph(resources.specs_folder() / f"{name}.yaml")


def _network_builder(graph: Callable[[], Graph], threads: int) -> Callable[[str, Path], Path]:
    return lambda isa, folder: build_network(graph(), isa, threads, folder)


def build_network(graph: Graph, isa: str, threads: int, folder: Path) -> Path:
    """The network with the driver: every step apart, then all at once."""
    plan = pipeline.plan_for(graph, isa=isa, threads=threads, run_here=False)
    tree = pipeline.sources(plan)
    folder.mkdir(parents=True)
    write_tree(tree, folder)
    (folder / "case.h").write_text(case_header(plan, tree.name))
    feeds = feed(graph)
    np.concatenate([feeds[tensor.name].ravel() for tensor in plan.graph.inputs]).tofile(folder / "inputs.bin")
    sources = [*tree.units, str(HERE / "driver.c")]
    cc(folder, *BASE_FLAGS, *tree.flags, *STATIC, *sources, "-o", "program", *tree.links)
    return folder / "program"


def case_header(plan: Plan, name: str) -> str:
    """What the driver wants to know about a network."""
    types = plan.graph.types
    inputs = [math.prod(tensor.type.shape) for tensor in plan.graph.inputs]
    outputs = [math.prod(types[output].shape) for output in plan.graph.outputs]
    pointers = [f"(in)[{i}]" for i in range(len(inputs))] + [f"(out)[{i}]" for i in range(len(outputs))]
    return f"""#include "{name}.h"
#define NETWORK(part) {name}_##part
#define STEPS {len(plan.steps)}
#define RUN(in, out, arena) {name}_run({", ".join(pointers)}, arena)
static const size_t input_floats[] = {{ {", ".join(map(str, inputs))} }};
static const size_t output_floats[] = {{ {", ".join(map(str, outputs))} }};
"""


def operands() -> Mapping[str, Array]:
    """Arrays of equal size: all triples of special values, any bits, and values of like magnitude."""
    rng = np.random.default_rng(0)
    ties = np.array([0.49999997, 3.5, -4.5, 4194304.5, -4194305.5, 2.0**31, 88.7, -87.4, 104.0], np.float32)
    special = np.concatenate([vocabulary.SPECIAL, ties])
    triples = np.array(list(itertools.product(special, repeat=3)), np.float32).T
    bits = rng.integers(0, 2**32, (3, 100_000), np.uint32).view(np.float32)
    near = rng.standard_normal((3, 100_000)).astype(np.float32)
    near[2, ::2] = -near[0, ::2] * near[1, ::2]  # sums that cancel but for the rounding of the product
    abc = np.concatenate([triples, bits, near], axis=1)
    count = -(-abc.shape[1] // 16) * 16
    a, b, c = (np.resize(x, count) for x in abc)
    integral = np.resize(np.arange(-126, 128, dtype=np.float32), count)
    return {"a": a, "b": b, "c": c, "integral": integral, "ordered": np.where(np.isnan(a), np.float32(-1), a)}


def build_vocabulary(isa: str, folder: Path) -> Path:
    """Every operation, exp, log and all activations, over the arrays of `operands`."""
    folder.mkdir(parents=True)
    arrays = operands()
    np.stack([*arrays.values()]).astype(np.float32, copy=False).tofile(folder / "operands.bin")
    text = vocabulary.source(isa)
    names = sorted(set(re.findall(r"^void (\w+)_\(.*\)$", text, re.MULTILINE)) - {"v_reduce_max"})
    (folder / "simd.h").write_text((vocabulary.SIMD / target(isa).header).read_text())
    (folder / "functions.c").write_text(text)
    table = "".join(f'    {{ "{name}", {name}_ }},\n' for name in names)
    arguments = "(const float *a, const float *b, const float *c, float *r, ptrdiff_t n)"
    declarations = "".join(f"void {name}_{arguments};\n" for name in names)
    (folder / "operations.h").write_text(
        f"#include <stddef.h>\n#define COUNT {arrays['a'].size}\nint lanes(void);\n{declarations}"
        "void v_reduce_max_(const float *a, float *r, ptrdiff_t n);\n"
        f"static const struct {{\n    const char *name;\n    void (*run){arguments};\n}} operations[] = {{\n"
        f"{table}}};\n"
    )
    sources = ["functions.c", str(HERE / "vocabulary.c")]
    cc(folder, *BASE_FLAGS, *vocabulary.flags(isa), *STATIC, *sources, "-o", "program", "-lm")
    return folder / "program"


def build_guard_pages(isa: str, folder: Path) -> Path:
    """Partial loads and stores, every count, at both ends of a page between two that must not be touched."""
    folder.mkdir(parents=True)
    (folder / "simd.h").write_text((vocabulary.SIMD / target(isa).header).read_text())
    (folder / "guard.c").write_text(vocabulary.GUARD_PAGES)
    flags = ["-std=gnu11", "-O2", "-I.", *vocabulary.flags(isa), *STATIC]
    cc(folder, *flags, "guard.c", "-o", "program", "-lm")
    return folder / "program"


def build_init(folder: Path) -> Path:
    """The guest's first process."""
    folder.mkdir(parents=True)
    cc(folder, "-std=gnu11", "-O2", "-Wall", "-Wextra", *STATIC, str(HERE / "init.c"), "-o", "init")
    return folder / "init"


def run_here(executable: Path, *arguments: str) -> str:
    """What the program prints on this machine, and its exit status."""
    command = [str(executable), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    return done.stdout + f"exit {done.returncode}\n"
