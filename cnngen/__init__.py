"""cnngen compiles a convolutional network into native code made for that one network.

The stages, in order:

1. `cnngen.frontends` reads a spec and its weights into a `Graph` (`cnngen.ir`, `cnngen.ops`).
2. `cnngen.passes` rewrites the graph: folding, fusing, eliding.
3. `cnngen.backends.cpu.plan` decides kernels, tiles and memory (`cnngen.plan.memory`).
4. `cnngen.backends.cpu.emit` prints C from `templates/c`, `pack` orders the weights.
5. `cnngen.backends.cpu.toolchain` compiles it, `cnngen.cache` keeps it.
6. `cnngen.network.Network` runs it; `cnngen.verify` holds it against `cnngen.reference`.
"""

from cnngen._version import VERSION as __version__
from cnngen.errors import CnngenError
from cnngen.ir import Graph
from cnngen.network import Network
from cnngen.pipeline import compile, load_graph  # noqa: A004  # the public name
from cnngen.reference import reference
from cnngen.verify import verify

__all__ = ["CnngenError", "Graph", "Network", "__version__", "compile", "load_graph", "reference", "verify"]
