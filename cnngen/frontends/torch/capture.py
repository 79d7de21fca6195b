"""What `torch.export` makes of a module, and the checks before and after.

The graph is PyTorch's own ATen ops before any decomposition: there a group norm is still a group norm. Ops that have no
handler are decomposed, and only those.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from cnngen.errors import ModelError
from cnngen.frontends.torch.lowering import HANDLERS

FRESH = frozenset(
    (
        *("conv1d", "conv2d", "conv_transpose2d", "convolution", "linear", "addmm"),
        *("batch_norm", "_native_batch_norm_legit_no_training", "group_norm", "layer_norm", "max_pool2d", "avg_pool2d"),
        *("relu", "relu6", "leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "gelu"),
        *("elu", "selu", "mish", "softplus", "add", "sub", "mul", "div", "cat"),
    )
)
"""Ops whose result is never memory of their arguments."""

IGNORED = frozenset(
    ("aten._assert_async", "aten._assert_scalar", "aten._assert_tensor_metadata", "aten.sym_constrain_range_for_size")
)

DROPOUT = frozenset(
    f"aten.{name}.default" for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)
CAST = ".float()"


def is_module(source: object) -> bool:
    """Whether `source` is something that `load_module` takes."""
    return isinstance(source, torch.nn.Module | torch.export.ExportedProgram)


def capture(
    module: torch.nn.Module | torch.export.ExportedProgram, example: Any, batch: int | None
) -> torch.export.ExportedProgram:
    """The module as a graph of ATen ops without mutation, for inputs like `example`.

    `example` is a tensor, an array or a shape, or a tuple of them, or a dictionary of keyword arguments; `batch`
    replaces its first size. Raises `ModelError` for a module in training mode, on another device than the CPU, of
    another type than float32, or that `torch.export` cannot trace.
    """
    if isinstance(module, torch.export.ExportedProgram):
        program = module
        if example is not None or batch is not None:
            raise ModelError(
                "an ExportedProgram has its input sizes already",
                remedy="leave example and batch out, or give the module itself",
            )
    else:
        verify_module(module)
        args, kwargs = arguments(example, batch)
        program = trace(module, args, kwargs)
    return simplified(program)


def trace(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> torch.export.ExportedProgram:
    """`torch.export.export`, its errors as `ModelError`."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _without_dropout(torch.export.export(module, args, kwargs, strict=False))
    except Exception as error:  # whatever the module's own code or the tracer raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        problem = (
            f"{type(module).__name__} cannot be traced by torch.export: {lines[0] if lines else type(error).__name__}"
        )
        remedy = "check that module(example) runs, and that control flow does not depend on values of tensors"
        raise ModelError(problem, remedy=remedy) from error


def _without_dropout(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Dropout that drops nothing gives its input itself, which a mutation behind it changes; traced, it is a copy."""
    for node in list(program.graph.nodes):
        if str(node.target) in DROPOUT and not node.args[2]:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    return program


def verify_module(module: torch.nn.Module) -> None:
    """Raise `ModelError` unless the module is ready for inference in float32 on the CPU."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError("a ScriptModule cannot be traced by torch.export", remedy="give the module it was made from")
    training = [path or "the module itself" for path, part in module.named_modules() if part.training]
    if training:
        shown = ", ".join(training[:3]) + (f" and {len(training) - 3} more" if len(training) > 3 else "")
        raise ModelError(
            f"{type(module).__name__} is in training mode ({shown}), where dropout and batch norm do something else",
            remedy="call .eval() on it first",
        )
    tensors = [*module.named_parameters(), *module.named_buffers()]
    elsewhere = [f"{name} ({tensor.device})" for name, tensor in tensors if tensor.device.type != "cpu"]
    if elsewhere:
        raise ModelError(f"tensors are not in the memory of the CPU: {_some(elsewhere)}", remedy="call .cpu() first")
    other = [
        f"{name} ({str(tensor.dtype).removeprefix('torch.')})"
        for name, tensor in tensors
        if tensor.dtype != torch.float32 and (tensor.is_floating_point() or tensor.is_complex())
    ]
    if other:
        raise ModelError(f"tensors are not float32: {_some(other)}", remedy=f"call {CAST} first")


def arguments(example: Any, batch: int | None) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Positional and keyword arguments of the module's `forward`, made from what the caller gave as `example`."""
    if example is None:
        raise ModelError(
            "a PyTorch module does not know the size of its input", remedy="give an example: example=(1, 3, 224, 224)"
        )
    if isinstance(example, dict):
        return (), {str(name): _tensor(value, batch, str(name)) for name, value in example.items()}
    values = example if isinstance(example, list | tuple) and not _is_shape(example) else (example,)
    return tuple(_tensor(value, batch, f"input {number}") for number, value in enumerate(values)), {}


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(type(size) is int for size in value)


def _tensor(value: Any, batch: int | None, what: str) -> torch.Tensor:
    if _is_shape(value):
        if min(value) < 1:
            raise ModelError(f"the example for {what} has the shape {tuple(value)}", remedy="give sizes of 1 or more")
        value = torch.empty(tuple(value), device="meta")
    elif isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, torch.Tensor):
        raise ModelError(
            f"the example for {what} is a {type(value).__name__}", remedy="give a tensor, an array or a shape"
        )
    if value.dtype != torch.float32:
        raise ModelError(
            f"the example for {what} is {str(value.dtype).removeprefix('torch.')}, networks take float32",
            remedy=f"call {CAST} on it",
        )
    if value.device.type not in ("cpu", "meta"):
        raise ModelError(f"the example for {what} is on {value.device}", remedy="call .cpu() on it")
    if value.ndim == 0:
        raise ModelError(f"the example for {what} has no batch axis", remedy="give it one")
    shape = tuple(value.shape) if batch is None else (batch, *value.shape[1:])
    if math.prod(shape) == 0:
        raise ModelError(f"the example for {what} has the shape {shape}", remedy="give sizes of 1 or more")
    # Sizes are all that tracing needs, and code that looks at values should find finite ones.
    return torch.zeros(shape) if value.device.type == "meta" or shape != tuple(value.shape) else value.detach()


def simplified(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """`program` without mutation, and with ops that have no handler decomposed as far as PyTorch knows how."""
    if not all(_replaceable(node) for node in calls(program) if mutates(node)) or _has_subgraphs(program):
        program = _decomposed(program, {})
    missing = {node.target for node in calls(program) if not known(node)}
    if missing:
        table = torch.export.default_decompositions()
        chosen = {op: table[op] for op in missing if op in table}
        if chosen:
            program = _decomposed(program, chosen)
    return program


def _decomposed(program: torch.export.ExportedProgram, table: dict[Any, Any]) -> torch.export.ExportedProgram:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program.run_decompositions(table)


def calls(program: torch.export.ExportedProgram) -> Iterator[torch.fx.Node]:
    """The nodes that compute something."""
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target).rpartition(".")[0] not in IGNORED:
            yield node


def key(node: torch.fx.Node) -> str:
    """What the handler of this node is registered under; a replaceable mutation has that of its twin without."""
    name = str(node.target).removeprefix("aten.")
    if mutates(node):
        base, _, overload = name.partition(".")
        return f"{base.removesuffix('_')}.{overload}"
    return name


def known(node: torch.fx.Node) -> bool:
    """Whether there is a handler, or none is needed."""
    return not isinstance(node.target, torch._ops.OpOverload) or key(node) in HANDLERS


def mutates(node: torch.fx.Node) -> bool:
    """Whether the op writes to one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _replaceable(node: torch.fx.Node) -> bool:
    """Whether nobody can tell the in-place op from its twin without mutation.

    It has to write to a tensor that was just made, that shares its memory with no other, and that nobody reads
    later.
    """
    target = node.args[0] if node.args else None
    if key(node) not in HANDLERS or not isinstance(target, torch.fx.Node) or not _fresh(target):
        return False
    return all(user is node or (user < node and _fresh(user)) for user in target.users)


def _fresh(node: torch.fx.Node) -> bool:
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    return key(node).partition(".")[0] in FRESH and (not mutates(node) or _replaceable(node))


def shares_memory(program: torch.export.ExportedProgram) -> bool:
    """Whether an output is a view of an input, or of what another output is a view of."""
    (end,) = (node for node in program.graph.nodes if node.op == "output")
    bases = [_base(node) for node in end.args[0] if isinstance(node, torch.fx.Node)]
    return len(set(bases)) < len(bases) or any(base.op == "placeholder" for base in bases)


def _base(node: torch.fx.Node) -> torch.fx.Node:
    """The node whose memory this one shares, by the schemas of the ops; itself where it has its own."""
    while node.op == "call_function":
        if isinstance(node.target, torch._ops.OpOverload):
            returns = node.target._schema.returns
            if mutates(node) or not returns or returns[0].alias_info is None:
                break
        elif node.target is not operator.getitem:
            break
        node = node.all_input_nodes[0]
    return node


def _has_subgraphs(program: torch.export.ExportedProgram) -> bool:
    """Whether parts were traced as functions of their own, for example those under `torch.no_grad`."""
    return any(isinstance(node.target, torch._ops.HigherOrderOperator) for node in calls(program))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
