"""What every model must keep before anything is made of it: versions, names, order, no unread parts."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from cnngen.errors import ModelError, Source, brief, inert

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 6
STANDARD = ("", "ai.onnx")
"""The names of ONNX's own domain."""
MAX_NODES = 100_000


def check_structure(model: onnx.ModelProto, constants: Collection[str], source: Source) -> int:
    """The version of the standard opset. `constants` names the tensors whose values are known.

    Raises `ModelError` where the model is no single-assignment graph in topological order, or of a version
    that is not read.
    """
    version = opset_of(model, source)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"has {len(graph.node):,} nodes, more than {MAX_NODES:,}", source=source)
    if not len(graph.output):
        raise ModelError("has no outputs", remedy="export the model again", source=source)
    inputs = [value.name for value in graph.input]
    for names, what in ((inputs, "inputs"), ([value.name for value in graph.output], "outputs")):
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None or "" in names:
            problem = f"two {what} are called {inert(twice)!r}" if twice else f"one of the {what} has no name"
            raise ModelError(problem, remedy="export the model again", source=source)
    known = {*inputs, *constants, ""}
    produced: set[str] = set()
    for node in graph.node:
        for name in node.output:
            if name and (name in produced or name in known):
                problem = f"the tensor {inert(name)!r} is assigned twice"
                raise ModelError(problem, remedy="export the model again", source=source, layer=label(node))
            produced.add(name)
    for node in graph.node:
        missing = [name for name in node.input if name not in known]
        if missing:
            raise _unordered(graph, node, missing[0], produced, source)
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            problem = f"the output {inert(value.name)!r} is computed by no node"
            raise ModelError(problem, remedy="export the model again", source=source)
    return version


def opset_of(model: onnx.ModelProto, source: Source) -> int:
    """The version of ONNX's own opset. Raises `ModelError` for one that is not read, or none."""
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    own = [version for domain, version in versions.items() if domain in STANDARD]
    newest = onnx.defs.onnx_opset_version()
    if not own:
        domains = ", ".join(inert(domain) for domain in versions) or "none"
        raise ModelError(f"imports no ONNX opset, but {domains}", remedy="export the model again", source=source)
    version = max(own)
    if not OLDEST_OPSET <= version <= newest:
        remedy = "install a newer onnx" if version > newest else "convert it: onnx.version_converter.convert_version"
        problem = f"uses opset {version}; {OLDEST_OPSET} to {newest} are read with onnx {onnx.__version__}"
        raise ModelError(problem, remedy=remedy, source=source)
    return int(version)


def label(node: onnx.NodeProto) -> str:
    """How messages call a node: its name, or the tensor that it computes."""
    own = node.name or next((name for name in node.output if name), "")
    return inert(own) or node.op_type or "unnamed node"


def check_node(node: onnx.NodeProto, version: int) -> None:
    """Raise `ModelError` where a node of a standard op has other attributes or inputs than ONNX gives it."""
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return  # an unknown op is reported with all the others
    given: dict[str, int] = {}
    for attribute in node.attribute:
        if attribute.name in given:
            raise ModelError(f"{node.op_type} has the attribute {inert(attribute.name)!r} twice")
        given[attribute.name] = attribute.type
        rule = schema.attributes.get(attribute.name)
        if rule is None:
            known = ", ".join(sorted(schema.attributes)) or "none"
            problem = f"{node.op_type} of opset {version} has no attribute {inert(attribute.name)!r}"
            raise ModelError(problem, remedy=f"its attributes are {known}")
        wanted = int(rule.type)  # type: ignore[call-overload]  # an enumeration of a C++ module
        if attribute.type != wanted or attribute.ref_attr_name:
            kind = str(rule.type).rpartition(".")[2]
            raise ModelError(f"the attribute {attribute.name} of {node.op_type} is not of type {kind}")
    for name, rule in schema.attributes.items():
        if rule.required and name not in given:
            raise ModelError(f"{node.op_type} lacks the attribute {name}", remedy="export the model again")
    for what, count, least, most in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ModelError(f"{node.op_type} has {count} {what}, and takes {wanted}")


def _unordered(
    graph: onnx.GraphProto, node: onnx.NodeProto, name: str, produced: Collection[str], source: Source
) -> ModelError:
    """Why `node` reads `name` before it is there: a cycle, a wrong order, or nobody computes it."""
    if name not in produced:
        problem, remedy = f"reads {inert(name)!r}, which nothing computes", "export the model again"
    else:
        maker = {out: other for other in graph.node for out in other.output}
        seen: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current not in seen and current in maker:
                seen.add(current)
                pending.extend(maker[current].input)
        if any(out in seen for out in node.output):
            problem, remedy = f"reads {inert(name)!r}, which depends on this node: a cycle", "break the cycle"
        else:
            problem = f"reads {inert(name)!r}, which a later node computes"
            remedy = "nodes must be in topological order: export the model again"
    return ModelError(problem, remedy=remedy, source=source, layer=label(node))


__all__ = ["OLDEST_OPSET", "STANDARD", "brief", "check_node", "check_structure", "label", "opset_of"]
