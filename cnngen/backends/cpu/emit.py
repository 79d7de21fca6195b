"""Emission: prints a plan as C. Templates loop over what the plan says and decide nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cnngen.backends.cpu.kernels import AnyKernel, PlanarRowsKernel, WinogradKernel, WinogradRowsKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.cpu.wrap import wrap
from cnngen.backends.sources import AnyBlob, SourceTree
from cnngen.backends.text import behind, c_comment, c_identifier, environment, header, pointer
from cnngen.errors import SpecError
from cnngen.interface import repeated
from cnngen.ir import TensorType
from cnngen.plan.steps import Call, Step
from cnngen.weight_storage import phrase

LINES_PER_UNIT = 1200
"""Kernel lines in one compilation unit: more units compile in parallel, each one parses the headers."""
MAX_UNITS = 4
MAX_SOURCE = 30_000_000
"""Characters of all kernels together: a bound on what a spec can make the compiler read."""


@dataclass(frozen=True)
class Parameter:
    """A tensor in the signature of the generated function. `image_floats`: what the plan reads or writes at a time."""

    parameter: str
    label: str
    floats: int
    shape: str
    image_floats: int


@dataclass(frozen=True)
class CallText:
    """A kernel call as printed."""

    symbol: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class StepText:
    """A step as printed."""

    number: int
    title: str
    calls: tuple[CallText, ...]


def render_kernel(kernel: AnyKernel, symbol: str) -> str:
    """The C text of one kernel."""
    text = environment("c").get_template(kernel.template).render(k=kernel, symbol=symbol)
    return wrap(re.sub(r"\n{3,}", "\n\n", text))


def emit(plan: Plan, blob: AnyBlob, version: str) -> SourceTree:
    """Print `plan` as a tree of C sources with the packed weights `blob` beside them."""
    name = c_identifier(plan.name)
    symbols = plan.kernels
    texts: dict[str, str] = {}
    size = 0
    for kernel, symbol in symbols.items():
        texts[symbol] = render_kernel(kernel, symbol)
        size += len(texts[symbol])
        if size > MAX_SOURCE:
            raise SpecError(
                f"{plan.name}: its {len(symbols):,} different kernels take more than {MAX_SOURCE:,} bytes of C",
                remedy="use fewer layers that differ from each other",
            )
    context = _context(plan, name, version)
    files = {
        f"{name}.h": render("network.h.j2", context),
        f"{name}_internal.h": render("internal.h.j2", context),
        f"{name}.c": render("network.c.j2", context),
        "simd.h": header(f"c/simd/{plan.target.header}"),
        "vector_math.h": header("c/simd/vector_math.h"),
    }
    winograd = any(isinstance(kernel, WinogradKernel | WinogradRowsKernel | PlanarRowsKernel) for kernel in symbols)
    if winograd:
        files["winograd.h"] = header("c/simd/winograd.h")
    units = [f"{name}.c"]
    for symbol, text in texts.items():
        files[f"kernels/{symbol}.c"] = text
    for number, steps in enumerate(partition(plan, symbols, texts)):
        used = list(dict.fromkeys(call.symbol for step in steps for call in step.calls))
        unit = f"{name}_steps_{number}.c"
        files[unit] = render("steps.c.j2", context | {"kernels": used, "steps": steps, "winograd": winograd})
        units.append(unit)
    blobs: dict[str, AnyBlob] = {}
    if plan.blob_floats:
        files[f"{name}_weights.S"] = render("weights.S.j2", context)
        units.append(f"{name}_weights.S")
        blobs[f"{name}_weights.bin"] = blob
    links = ("-fopenmp", "-lm") if plan.target.threads > 1 else ("-lm",)
    return SourceTree(name, MappingProxyType(files), MappingProxyType(blobs), tuple(units), plan.target.flags, links)


def partition(plan: Plan, symbols: dict[AnyKernel, str], texts: dict[str, str]) -> list[list[StepText]]:
    """Steps by compilation unit: steps that share their main kernel stay together, units are of like size."""
    steps = [_step_text(number, step, symbols) for number, step in enumerate(plan.steps)]
    groups: dict[str, list[StepText]] = {}
    for step in steps:
        groups.setdefault(step.calls[-1].symbol, []).append(step)
    lines = {symbol: text.count("\n") for symbol, text in texts.items()}
    count = min(max(sum(lines.values()) // LINES_PER_UNIT, 1), MAX_UNITS)
    units: list[list[StepText]] = [[] for _ in range(count)]
    load = [0] * count
    for symbol, group in sorted(groups.items(), key=lambda item: -lines[item[0]]):
        lightest = load.index(min(load))
        load[lightest] += lines[symbol]
        units[lightest] += group
    return [sorted(unit, key=lambda step: step.number) for unit in units if unit]


def _step_text(number: int, step: Step[AnyKernel], symbols: dict[AnyKernel, str]) -> StepText:
    return StepText(number, c_comment(step.title), tuple(_call_text(call, symbols[call.kernel]) for call in step.calls))


def _call_text(call: Call[AnyKernel], symbol: str) -> CallText:
    params = tuple(behind("call->weights", offset) for offset in call.params)
    written = [call.write, *([call.scratch] if call.scratch else [])]
    behind_params = [pointer(view, "call->") for view in written]
    return CallText(symbol, (*(pointer(view, "call->") for view in call.reads), *params, *behind_params))


def _context(plan: Plan, name: str, version: str) -> dict[str, object]:
    graph = plan.graph
    types = {tensor: repeated(one, plan.repeats) for tensor, one in graph.types.items()}
    inputs = _parameters("input", [tensor.name for tensor in graph.inputs], types, plan.repeats)
    outputs = _parameters("output", graph.outputs, types, plan.repeats)
    pointers = [f"const float *{tensor.parameter}" for tensor in inputs]
    pointers += [f"float *{tensor.parameter}" for tensor in outputs]
    threads = plan.target.threads
    made_for = f"{plan.target.name}, threads {threads}{phrase(plan.weight_storage)}"
    banner = f"Generated by cnngen {version} for {made_for}. Do not edit."
    return {
        "banner": banner,
        "name": name,
        "guard": f"CNNGEN_NETWORK_{name.upper()}_H",
        "inputs": inputs,
        "outputs": outputs,
        "signature": ", ".join([*pointers, "void *arena"]),
        "steps": [StepText(number, c_comment(step.title), ()) for number, step in enumerate(plan.steps)],
        "threads": threads,
        "repeats": plan.repeats,
        "arena_bytes": 4 * plan.arena.size,
        "weight_floats": plan.blob_floats,
    }


def _parameters(word: str, names: Sequence[str], types: Mapping[str, TensorType], repeats: int) -> list[Parameter]:
    parameters = []
    for index, name in enumerate(names):
        tensor = types[name]
        parameter = word if len(names) == 1 else f"{word}{index}"
        floats = tensor.elements
        parameters.append(Parameter(parameter, c_comment(name), floats, str(tensor), floats // repeats))
    return parameters


def render(template: str, context: dict[str, object]) -> str:
    return wrap(environment("c").get_template(template).render(context))
