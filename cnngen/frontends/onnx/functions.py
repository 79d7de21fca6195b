"""Functions: those that a model brings along, and ops that ONNX defines by others. Both are replaced by their nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cnngen.errors import ModelError, Source, inert
from cnngen.frontends.onnx.structure import MAX_NODES, label
from cnngen.frontends.onnx.values import Value
from cnngen.passes.rewrite import fresh

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 100
"""Of functions within functions."""
BY_DEFINITION = frozenset(
    [
        "CausalConvWithState",
        "CenterCropPad",
        "RMSNormalization",
        "RotaryEmbedding",
        "SwiGLU",
    ]
)
"""Ops that ONNX defines by others, which have kernels."""

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


def definition_of(
    node: onnx.NodeProto, inputs: Sequence[Value | None], version: int, taken: Collection[str]
) -> list[onnx.NodeProto] | None:
    """The nodes by which ONNX defines the op of `node`, one of `BY_DEFINITION`, for these inputs.

    What they compute on the way has names that are not `taken`. None where they do not say what the op is.
    """
    import onnx
    from onnx import helper
    from onnx.inliner import inline_selected_functions

    own = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    described = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in own.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "definition", described, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=onnx.IR_VERSION)
    try:
        found = inline_selected_functions(model, [("", node.op_type)], inline_schema_functions=True)
    except Exception:  # whatever the C++ library cannot find out
        return None
    nodes = list(found.graph.node)
    if any(inner.op_type == node.op_type for inner in nodes):
        return None
    names = {name: name for name in ("", *node.input, *node.output)}
    for inner in nodes:
        for name in inner.output:
            if name not in names:
                names[name] = fresh(f"{label(node)}/{name}", {*taken, *names.values()})
    for inner in nodes:
        inner.name = f"{label(node)}/{inner.op_type}"
        inner.input[:] = [names[name] for name in inner.input]
        inner.output[:] = [names[name] for name in inner.output]
    return nodes


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
