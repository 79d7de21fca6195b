"""cnngen compiles a convolutional network into native code made for that one network.

The stages, in order:

1. `cnngen.frontends` reads a spec and its weights into a `Graph` (`cnngen.ir`, `cnngen.ops`).
2. `cnngen.passes` rewrites the graph: folding, fusing, eliding.
3. `cnngen.backends.cpu.plan` decides kernels, tiles and memory (`cnngen.plan.memory`).
4. `cnngen.backends.cpu.emit` prints C from `templates/c`, `pack` orders the weights.
5. `cnngen.backends.cpu.toolchain` compiles it, `cnngen.cache` keeps it.
6. `cnngen.network.Network` runs it; `cnngen.verify` holds it against `cnngen.reference`.
"""

import importlib
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cnngen._version import __version__

if TYPE_CHECKING:
    from cnngen.errors import CnngenError
    from cnngen.ir import Graph
    from cnngen.network import Network
    from cnngen.pipeline import compile, load_graph
    from cnngen.reference import reference
    from cnngen.verify import verify

IMPORTED_AT = time.time()
"""Seconds since the epoch; no module of cnngen was read by this process before."""

__all__ = ["CnngenError", "Graph", "Network", "__version__", "compile", "load_graph", "reference", "verify"]

_HOMES = {
    "CnngenError": "cnngen.errors",
    "Graph": "cnngen.ir",
    "Network": "cnngen.network",
    "compile": "cnngen.pipeline",
    "load_graph": "cnngen.pipeline",
    "reference": "cnngen.reference",
    "verify": "cnngen.verify",
}


class _Package(ModuleType):
    """Imports a public name when it is first used, so that the command line can start without NumPy.

    `reference` and `verify` are functions, and modules of the same name hold them: importing such a
    module binds it here under that name, which `__setattr__` undoes.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'cnngen' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
