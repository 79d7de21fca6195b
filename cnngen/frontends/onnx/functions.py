"""Functions that a model brings along: replaced by their nodes, once it is certain that this comes to an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnngen.errors import ModelError, Source, inert
from cnngen.frontends.onnx.structure import MAX_NODES

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 100
"""Of functions within functions."""

Key = tuple[str, str, str]
"""Domain, name and overload of a function."""


def inline_functions(model: onnx.ModelProto, source: Source) -> onnx.ModelProto:
    """`model` without functions. Raises `ModelError` where they call each other in a circle, or are too many nodes."""
    if not len(model.functions):
        return model
    functions: dict[Key, onnx.FunctionProto] = {}
    for function in model.functions:
        key = (function.domain, function.name, getattr(function, "overload", ""))
        if key in functions:
            raise ModelError("two functions carry this name", source=source, layer=inert(function.name))
        functions[key] = function
    sizes: dict[Key, int] = {}
    total = sum(_size(node, functions, sizes, (), source) for node in model.graph.node)
    if total > MAX_NODES:
        raise ModelError(f"its functions expand to {total:,} nodes, more than {MAX_NODES:,}", source=source)
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:  # whatever the C++ library finds wrong with them
        raise ModelError(f"its functions cannot be inlined ({inert(str(error))})", source=source) from None


def _size(
    node: onnx.NodeProto,
    functions: dict[Key, onnx.FunctionProto],
    sizes: dict[Key, int],
    callers: tuple[Key, ...],
    source: Source,
) -> int:
    """How many nodes `node` becomes."""
    key = (node.domain, node.op_type, getattr(node, "overload", ""))
    if key not in functions:
        return 1
    if key in callers:
        circle = " > ".join(inert(name) for _, name, _ in (*callers[callers.index(key) :], key))
        raise ModelError(f"a function calls itself: {circle}", remedy="export the model again", source=source)
    if len(callers) >= MAX_DEPTH:
        raise ModelError(f"functions are nested deeper than {MAX_DEPTH} levels", source=source)
    if key not in sizes:
        inner = (*callers, key)
        sizes[key] = sum(_size(other, functions, sizes, inner, source) for other in functions[key].node)
    return sizes[key]
