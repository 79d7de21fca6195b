"""``python -m tests.cuda_registers``: nvcc compiles every kernel of the shipped networks; which ones spill registers?

At full size, for several architectures, in every precision; a kernel that several networks share is compiled once. No
GPU is needed. Exit status: 0 where no convolution and no dense layer spills and nvcc has nothing to say, else 1.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cnngen
from cnngen.backends.cuda import kernel_report
from cnngen.backends.cuda.emit import HEADERS, render_kernel
from cnngen.backends.cuda.kernel_report import KernelUse
from cnngen.backends.cuda.kernels import AnyKernel, DenseKernel, DepthwiseKernel, GemmConvKernel
from cnngen.backends.cuda.target import PRECISIONS
from cnngen.backends.text import environment, header
from cnngen.pipeline import cuda_plan_for
from cnngen.resources import specs_folder

NETWORKS = tuple(sorted(path.stem for path in specs_folder().glob("*.yaml")))
ARCHITECTURES = "sm_80,sm_90"
FILE_KERNELS = 12
"""Kernels that nvcc gets at a time."""
MAIN = (GemmConvKernel, DenseKernel, DepthwiseKernel)
"""Kernels in which a spill is a failure."""


def kernels(networks: Iterable[str], precision: str, architectures: str, batch: int) -> dict[AnyKernel, str]:
    """All kernels of these networks, with names that tell them apart."""
    found: dict[AnyKernel, None] = {}
    for name in networks:
        graph = cnngen.load_graph(specs_folder() / f"{name}.yaml", batch=batch)
        plan = cuda_plan_for(graph, target="cuda", architectures=architectures, precision=precision)
        found.update(dict.fromkeys(plan.kernels))
    return {kernel: f"{kernel.label}__{precision}_{number}" for number, kernel in enumerate(found)}


def uses(symbols: dict[AnyKernel, str], architectures: Sequence[str], folder: Path) -> Iterator[KernelUse]:
    """What each kernel takes on each architecture. Raises `RuntimeError` with what nvcc says where it fails."""
    for name in HEADERS:
        (folder / name).write_text(header(f"cuda/{name}"))
    template = environment("cuda").get_template("network.cu.j2")

    def compile_one(job: tuple[int, tuple[tuple[AnyKernel, str], ...], str]) -> list[KernelUse]:
        number, chunk, architecture = job
        source = folder / f"kernels{number}.cu"
        texts = [render_kernel(kernel, symbol) for kernel, symbol in chunk]
        source.write_text(template.render(banner="Kernels of the shipped networks.", kernels=texts))
        command = ["nvcc", f"-arch={architecture}", "-cubin", "-std=c++17", "-fmad=false", "-Werror", "all-warnings"]
        command += ["-Xptxas", "-v", source.name, "-o", f"kernels{number}.{architecture}.cubin"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return kernel_report.parse(done.stdout + done.stderr)

    items = list(symbols.items())
    chunks = [tuple(items[first : first + FILE_KERNELS]) for first in range(0, len(items), FILE_KERNELS)]
    jobs = [(number, chunk, name) for number, chunk in enumerate(chunks) for name in architectures]
    with ThreadPoolExecutor() as pool:
        for found in pool.map(compile_one, jobs):
            yield from found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cuda_registers", description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--precision", action="append", choices=tuple(PRECISIONS), help="default: all")
    parser.add_argument("--arch", default=ARCHITECTURES, metavar="LIST", help=f"default: {ARCHITECTURES}")
    parser.add_argument("--batch", type=int, default=1, help="images of one run (default 1)")
    parser.add_argument("--report", type=Path, help="write the registers of every kernel to this file")
    options = parser.parse_args()
    if shutil.which("nvcc") is None:
        print("there is no nvcc on the PATH", file=sys.stderr)
        return 3
    failed, tables = False, []
    print("| precision | kernels | architectures | spilling | of these convolutions and dense layers | s |")
    print("|---|---|---|---|---|---|", flush=True)
    for precision in options.precision or PRECISIONS:
        start = time.monotonic()
        symbols = kernels(options.networks or NETWORKS, precision, options.arch, options.batch)
        main_symbols = {symbol for kernel, symbol in symbols.items() if isinstance(kernel, MAIN)}
        with tempfile.TemporaryDirectory() as folder:
            found = list(uses(symbols, options.arch.split(","), Path(folder)))
        spilling = kernel_report.spilling(found)
        bad = [use for use in spilling if use.kernel in main_symbols]
        missing = len(symbols) * len(options.arch.split(",")) - len(found)
        failed |= bool(bad) or missing != 0
        seconds = f"{time.monotonic() - start:.0f}"
        cells = [precision, str(len(symbols)), options.arch, str(len(spilling)), str(len(bad)), seconds]
        print(f"| {' | '.join(cells)} |", flush=True)
        for use in spilling:
            print(f"  {use.kernel} on {use.architecture}: {use.registers} registers, "
                  f"{use.spill_stores} + {use.spill_loads} bytes spilled", flush=True)  # fmt: skip
        if missing:
            print(f"  {missing} kernels are missing in the assembler's report", flush=True)
        tables.append(kernel_report.table(found))
    if options.report:
        options.report.write_text("\n".join(tables))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
