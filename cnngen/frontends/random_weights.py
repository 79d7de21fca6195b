"""Random weights for benchmarks and tests: reproducible, not the identity, and of moderate results."""

from __future__ import annotations

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnngen.frontends.weights import attach, needed_tensors
from cnngen.ir import Array, Graph, Node
from cnngen.ops import Activate, Add, BatchNorm, Conv2D, Conv2DTranspose, Dense, Identity, Mul, PRelu, Sub

WORTH_THREADS = 1_000_000
"""Numbers from which on they are drawn on several cores: each tensor has its own generator, which needs no GIL."""


def random_weights(graph: Graph, seed: int = 0) -> Graph:
    """`graph`, whose types are inferred, with weights that depend on `seed` and the tensor's name only.

    Kernels are normal with variance 2 / fan_in (He et al., Delving Deep into Rectifiers, 2015,
    equation 10), which keeps the magnitude of activations. Where an addition follows, the kernel is
    divided by the square root of the number of additions, so that a deep residual network does not
    grow with its depth (Zhang et al., Fixup Initialization, 2019). Batch norm: gamma and variance
    uniform in [0.5, 1.5], beta and mean normal with deviation 0.1.
    """
    summed = _before_additions(graph)
    damping = 1 / math.sqrt(max(sum(isinstance(node.op, Add | Sub) for node in graph.nodes), 1))
    needed = needed_tensors(graph)

    def draw(name: str) -> Array:
        node, role, shape = needed[name]
        return _draw(name, node, role, shape, seed, damping if node.name in summed else 1.0)

    if sum(math.prod(shape) for _, _, shape in needed.values()) < WORTH_THREADS:
        return attach(graph, {name: draw(name) for name in needed})
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return attach(graph, dict(zip(needed, pool.map(draw, needed), strict=True)))


def _draw(name: str, node: Node, role: str, shape: tuple[int, ...], seed: int, scale: float) -> Array:
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    match role:
        case "gamma" | "variance":
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        case "weight":
            assert isinstance(node.op, Conv2D | Conv2DTranspose | Dense)
            fan_in = math.prod(shape[:-1])
            if isinstance(node.op, Conv2DTranspose):  # an output meets one in so many taps
                fan_in = max(fan_in // math.prod(node.op.stride), 1)
            deviation = scale * math.sqrt(2 / fan_in)
        case _:
            deviation = 0.1
    array = rng.standard_normal(shape, dtype=np.float32)
    array *= np.float32(deviation)
    return array


def _before_additions(graph: Graph) -> set[str]:
    """The convolutions and dense layers whose result reaches an addition through elementwise ops only."""
    nodes = {node.name: node for node in graph.nodes}
    found: set[str] = set()
    pending = [name for node in graph.nodes if isinstance(node.op, Add | Sub) for name in node.inputs]
    while pending:
        node = nodes.get(pending.pop())
        if node is None:
            continue
        if isinstance(node.op, Conv2D | Conv2DTranspose | Dense):
            found.add(node.name)
        elif isinstance(node.op, BatchNorm | Activate | PRelu | Mul | Identity):
            pending += node.inputs
    return found
