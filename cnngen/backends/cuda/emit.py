"""Emission: prints a plan as CUDA. Templates loop over what the plan says and decide nothing."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from types import MappingProxyType

import jinja2

from cnngen import resources
from cnngen.backends.cpu.emit import c_comment, c_identifier, render
from cnngen.backends.cpu.target import ISAS, host_isas
from cnngen.backends.cuda.kernels import AnyKernel
from cnngen.backends.cuda.plan import CudaPlan
from cnngen.backends.sources import SourceTree
from cnngen.cache import private_folder
from cnngen.ir import Array
from cnngen.plan.memory import View
from cnngen.plan.steps import Call

HEADERS = ("device.cuh", "activations.cuh")


@dataclass(frozen=True)
class LaunchText:
    """A kernel launch as printed."""

    symbol: str
    grid: tuple[int, int, int]
    threads: int
    shared: int
    arguments: tuple[str, ...]

    @staticmethod
    def of(call: Call[AnyKernel], symbol: str) -> LaunchText:
        kernel, launch = call.kernel, call.kernel.launch
        params = tuple(
            _cast(_behind("call.weights", offset), "float", kind)
            for kind, offset in zip(kernel.parameter_types, call.params, strict=True)
        )
        element = kernel.precision.element
        reads = tuple(
            _cast(_pointer(view), element, kernel.read_type(position)) if view.space == "arena" else _pointer(view)
            for position, view in enumerate(call.reads)
        )
        write = _pointer(call.write)
        if call.write.space == "arena":
            write = _cast(write, element, kernel.output_type)
        arguments = (*params, *reads, write) if kernel.parameters_first else (*reads[:1], *params, *reads[1:], write)
        return LaunchText(symbol, launch.grid, launch.threads, launch.shared, arguments)


@dataclass(frozen=True)
class StepText:
    """A step as printed."""

    number: int
    title: str
    launches: tuple[LaunchText, ...]


@functools.cache
def environment() -> jinja2.Environment:
    """As the CPU's: templates fail on anything that the plan does not say."""
    bytecode = private_folder("templates")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_folder() / "cuda"),
        bytecode_cache=jinja2.FileSystemBytecodeCache(str(bytecode)) if bytecode else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render_kernel(kernel: AnyKernel, symbol: str) -> str:
    """The CUDA text of one kernel."""
    text = environment().get_template(kernel.template).render(k=kernel, symbol=symbol)
    return re.sub(r"\n{3,}", "\n\n", text)


def emit_device(plan: CudaPlan, version: str) -> dict[str, str]:
    """The files that nvcc compiles: `<name>.cu` and its headers."""
    kernels = [render_kernel(kernel, symbol) for kernel, symbol in plan.kernels.items()]
    text = environment().get_template("network.cu.j2").render(banner=_banner(plan, version), kernels=kernels)
    return {f"{c_identifier(plan.name)}.cu": text, **{header: _header(header) for header in HEADERS}}


def emit_emulation(plan: CudaPlan, blob: Array, version: str) -> SourceTree:
    """The same kernels with a host that runs them on a CPU, as a tree for the C++ compiler."""
    name = c_identifier(plan.name)
    symbols = plan.kernels
    steps = [
        StepText(number, c_comment(step.title), tuple(LaunchText.of(call, symbols[call.kernel]) for call in step.calls))
        for number, step in enumerate(plan.steps)
    ]
    inputs = [f"input{index}" for index in range(len(plan.graph.inputs))]
    outputs = [f"output{index}" for index in range(len(plan.graph.outputs))]
    context = {
        "banner": _banner(plan, version),
        "name": name,
        "steps": steps,
        "element": plan.target.precision.element,
        "inputs": inputs,
        "outputs": outputs,
        "signature": ", ".join(
            [*(f"const float *{i}" for i in inputs), *(f"float *{o}" for o in outputs), "void *arena"]
        ),
        "arena_bytes": plan.arena_bytes,
        "weight_floats": plan.blob_floats,
    }
    files = emit_device(plan, version)
    files["emulation.h"] = _header("emulation.h")
    files[f"{name}_emulation.cpp"] = environment().get_template("emulation.cpp.j2").render(context)
    units, blobs = [f"{name}_emulation.cpp"], {}
    if plan.blob_floats:
        files[f"{name}_weights.S"] = render("weights.S.j2", context)
        units.append(f"{name}_weights.S")
        blobs[f"{name}_weights.bin"] = blob
    flags = (*ISAS[host_isas()[-1]].flags, "-O1", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas")
    links = ("-lstdc++", "-lm")
    return SourceTree(name, MappingProxyType(files), MappingProxyType(blobs), tuple(units), flags, links, "c++17")


def _cast(pointer: str, actual: str, wanted: str) -> str:
    """`pointer` to numbers of type `actual` as one to `wanted`; const is added where it is missing."""
    if actual == wanted:
        return pointer
    const = "const " if pointer.startswith("call.weights") else ""
    return f"reinterpret_cast<{const}{wanted} *>({pointer})"


def _pointer(view: View) -> str:
    base = {
        "arena": "call.arena",
        "input": f"call.inputs[{view.index}]",
        "output": f"call.outputs[{view.index}]",
    }[view.space]
    return _behind(base, view.offset)


def _behind(base: str, offset: int) -> str:
    """The expression for a pointer `offset` numbers behind `base`."""
    return f"{base} + {offset}" if offset else base


def _banner(plan: CudaPlan, version: str) -> str:
    return f"Generated by cnngen {version} for {plan.target.name}. Do not edit."


@functools.cache
def _header(name: str) -> str:
    return (resources.templates_folder() / "cuda" / name).read_text()
