"""Emission: prints a plan as CUDA. Templates loop over what the plan says and decide nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from cnngen.backends.cpu.target import ISAS, host_isas
from cnngen.backends.cuda.kernels import AnyKernel
from cnngen.backends.cuda.launches import describe
from cnngen.backends.cuda.plan import CudaPlan
from cnngen.backends.sources import AnyBlob, SourceTree, launches_file, weights_file
from cnngen.backends.text import behind, c_comment, c_identifier, environment, header, pointer
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
            _cast(behind("call.weights", offset), "float", kind)
            for kind, offset in zip(kernel.parameter_types, call.params, strict=True)
        )
        element = kernel.precision.element
        types = (*(kernel.read_type(position) for position in range(len(call.reads))), kernel.output_type)
        *reads, write = (
            _cast(pointer(view, "call."), element, kind) if view.space == "arena" else pointer(view, "call.")
            for view, kind in zip((*call.reads, call.write), types, strict=True)
        )
        arguments = (*params, *reads, write) if kernel.parameters_first else (*reads[:1], *params, *reads[1:], write)
        return LaunchText(symbol, launch.grid, launch.threads, launch.shared, arguments)


@dataclass(frozen=True)
class StepText:
    """A step as printed."""

    number: int
    title: str
    launches: tuple[LaunchText, ...]


def render_kernel(kernel: AnyKernel, symbol: str) -> str:
    """The CUDA text of one kernel."""
    text = environment("cuda").get_template(kernel.template).render(k=kernel, symbol=symbol)
    return re.sub(r"\n{3,}", "\n\n", text)


def emit_device(plan: CudaPlan, version: str) -> dict[str, str]:
    """The files that nvcc compiles: `<name>.cu` and its headers."""
    kernels = [render_kernel(kernel, symbol) for kernel, symbol in plan.kernels.items()]
    text = environment("cuda").get_template("network.cu.j2").render(banner=_banner(plan, version), kernels=kernels)
    return {f"{c_identifier(plan.name)}.cu": text, **{name: header(f"cuda/{name}") for name in HEADERS}}


def emit(plan: CudaPlan, blob: AnyBlob, version: str) -> SourceTree:
    """What a GPU gets, as a tree for nvcc: the kernels, the packed weights, and the launches."""
    name = c_identifier(plan.name)
    files = {**emit_device(plan, version), launches_file(name): describe(plan).to_json() + "\n"}
    architectures = tuple(architecture.name for architecture in plan.target.architectures)
    return SourceTree(
        name,
        MappingProxyType(files),
        MappingProxyType({weights_file(name): blob}),
        (f"{name}.cu",),
        (),
        standard="c++17",
        architectures=architectures,
    )


def emit_emulation(plan: CudaPlan, blob: AnyBlob, version: str) -> SourceTree:
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
    files["emulation.h"] = header("cuda/emulation.h")
    files[f"{name}_emulation.cpp"] = environment("cuda").get_template("emulation.cpp.j2").render(context)
    units, blobs = [f"{name}_emulation.cpp"], {}
    if plan.blob_floats:
        files[f"{name}_weights.S"] = environment("c").get_template("weights.S.j2").render(context)
        units.append(f"{name}_weights.S")
        blobs[weights_file(name)] = blob
    host = host_isas()[-1]
    # Every CPU with AVX2 converts float16 in one instruction; without the flag that is a call.
    halves = ("-mf16c",) if host in ("avx2", "avx512") else ()
    flags = (*ISAS[host].flags, *halves, "-O1", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas")
    links = ("-lstdc++", "-lm")
    return SourceTree(name, MappingProxyType(files), MappingProxyType(blobs), tuple(units), flags, links, "c++17")


def _cast(pointer: str, actual: str, wanted: str) -> str:
    """`pointer` to numbers of type `actual` as one to `wanted`; const is added where it is missing."""
    if actual == wanted:
        return pointer
    const = "const " if pointer.startswith("call.weights") else ""
    return f"reinterpret_cast<{const}{wanted} *>({pointer})"


def _banner(plan: CudaPlan, version: str) -> str:
    return f"Generated by cnngen {version} for {plan.target.name}. Do not edit."
