"""Emission: prints a plan as C. Templates loop over what the plan says and decide nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import jinja2

from cnngen import resources
from cnngen.backends.cpu.kernels import AnyKernel
from cnngen.backends.cpu.plan import Plan
from cnngen.backends.cpu.wrap import wrap
from cnngen.backends.sources import SourceTree
from cnngen.cache import private_folder
from cnngen.errors import SpecError
from cnngen.ir import Array, TensorType
from cnngen.plan.memory import View
from cnngen.plan.steps import Call, Step

LINES_PER_UNIT = 1200
"""Kernel lines in one compilation unit: more units compile in parallel, each one parses the headers."""
MAX_UNITS = 4
MAX_SOURCE = 30_000_000
"""Characters of all kernels together: a bound on what a spec can make the compiler read."""
RESERVED_NAMES = ("simd", "vector_math")
"""Headers that every network has: one of its own by that name would replace them."""


@dataclass(frozen=True)
class Parameter:
    """A tensor in the signature of the generated function."""

    parameter: str
    label: str
    floats: int
    shape: str


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


@functools.cache
def environment() -> jinja2.Environment:
    """Templates fail on anything that the plan does not say, and see nothing but what they are given.

    What Jinja makes of a template is kept in the cache folder: it takes longer than all the rest.
    """
    bytecode = private_folder("templates")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_folder() / "c"),
        bytecode_cache=jinja2.FileSystemBytecodeCache(str(bytecode)) if bytecode else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def c_identifier(name: str) -> str:
    """A C identifier and file name for a network: letters, digits and underscores, at most 40."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_")
    usable = cleaned and not cleaned[0].isdigit() and cleaned not in RESERVED_NAMES
    return cleaned if usable else f"net_{cleaned}".rstrip("_")


def c_comment(text: str) -> str:
    """`text` without anything that could end a comment, continue a line or form a trigraph."""
    return re.sub(r"[^A-Za-z0-9 _.,:()\[\]>=+/-]", "_", text)[:160]


def render_kernel(kernel: AnyKernel, symbol: str) -> str:
    """The C text of one kernel."""
    text = environment().get_template(kernel.template).render(k=kernel, symbol=symbol)
    return wrap(re.sub(r"\n{3,}", "\n\n", text))


def emit(plan: Plan, blob: Array, version: str) -> SourceTree:
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
        "simd.h": _vocabulary(plan.target.header),
        "vector_math.h": _vocabulary("vector_math.h"),
    }
    units = [f"{name}.c"]
    for symbol, text in texts.items():
        files[f"kernels/{symbol}.c"] = text
    for number, steps in enumerate(partition(plan, symbols, texts)):
        used = list(dict.fromkeys(call.symbol for step in steps for call in step.calls))
        unit = f"{name}_steps_{number}.c"
        files[unit] = render("steps.c.j2", context | {"kernels": used, "steps": steps})
        units.append(unit)
    blobs: dict[str, Array] = {}
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
    params = tuple(_behind("call->weights", offset) for offset in call.params)
    return CallText(symbol, (*map(_pointer, call.reads), *params, _pointer(call.write)))


def _pointer(view: View) -> str:
    base = {
        "arena": "call->arena",
        "input": f"call->inputs[{view.index}]",
        "output": f"call->outputs[{view.index}]",
    }[view.space]
    return _behind(base, view.offset)


def _behind(base: str, offset: int) -> str:
    """The C expression for a pointer `offset` floats behind `base`."""
    return f"{base} {'+' if offset > 0 else '-'} {abs(offset)}" if offset else base


def _context(plan: Plan, name: str, version: str) -> dict[str, object]:
    graph = plan.graph
    inputs = _parameters("input", [tensor.name for tensor in graph.inputs], graph.types)
    outputs = _parameters("output", graph.outputs, graph.types)
    pointers = [f"const float *{tensor.parameter}" for tensor in inputs]
    pointers += [f"float *{tensor.parameter}" for tensor in outputs]
    threads = plan.target.threads
    banner = f"Generated by cnngen {version} for {plan.target.name}, threads {threads}. Do not edit."
    return {
        "banner": banner,
        "name": name,
        "guard": f"CNNGEN_NETWORK_{name.upper()}_H",
        "inputs": inputs,
        "outputs": outputs,
        "signature": ", ".join([*pointers, "void *arena"]),
        "steps": [StepText(number, c_comment(step.title), ()) for number, step in enumerate(plan.steps)],
        "threads": threads,
        "arena_bytes": 4 * plan.arena.size,
        "weight_floats": plan.blob_floats,
    }


def _parameters(word: str, names: Sequence[str], types: Mapping[str, TensorType]) -> list[Parameter]:
    parameters = []
    for index, name in enumerate(names):
        tensor = types[name]
        parameter = word if len(names) == 1 else f"{word}{index}"
        parameters.append(Parameter(parameter, c_comment(name), tensor.elements, str(tensor)))
    return parameters


def render(template: str, context: dict[str, object]) -> str:
    return wrap(environment().get_template(template).render(context))


@functools.cache
def _vocabulary(header: str) -> str:
    return (resources.templates_folder() / "c" / "simd" / header).read_text()
