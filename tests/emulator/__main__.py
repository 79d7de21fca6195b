"""Run an ISA's programs on an emulated CPU and compare with the emulated vocabulary run here.

    python -m tests.emulator [--list] [--threads N] [--cpu MODEL] [--root FOLDER] [--folder FOLDER] [NAME ...]

A NAME may be a pattern, such as 'op-*'. Exit status 1 where any result differs.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import sys
import tempfile
import time
from pathlib import Path

from cnngen.backends.cpu.target import EMULATED_SUFFIX
from tests.emulator.machine import Machine
from tests.emulator.programs import Program, build_init, check_against_reference, programs, run_here

SECTION = re.compile(r"^@ run /programs/(\S+)\n(.*?)^@ (exit -?\d+)$", re.MULTILINE | re.DOTALL)


def main() -> int:
    arguments = parse()
    found = programs(arguments.threads)
    chosen = [found[name] for name in found if any(fnmatch.fnmatch(name, p) for p in arguments.names)]
    if arguments.list or not chosen:
        print("\n".join(found))
        return 0 if arguments.list else 2
    with tempfile.TemporaryDirectory(prefix="cnngen-emulator-") as temporary:
        folder = arguments.folder or Path(temporary)
        return compare(chosen, folder, arguments)


def compare(chosen: list[Program], folder: Path, arguments: argparse.Namespace) -> int:
    """Build and run everything, print a line for each program; 1 where one is wrong, else 0."""
    expected, notes, executables, wrong = {}, {}, {}, set()
    for program in chosen:
        emulated = program.build(arguments.isa + EMULATED_SUFFIX, folder / "emulated" / program.name)
        outputs = emulated.parent / "outputs.bin"
        expected[program.name] = run_here(emulated, str(outputs))
        if program.graph and arguments.reference:
            error, limit = check_against_reference(program.graph(), outputs)
            notes[program.name] = (
                f"{'within' if error <= limit else 'BEYOND'} {limit:.1e} of the reference: {error:.1e}"
            )
            wrong |= set() if error <= limit else {program.name}
        executables[program.name] = program.build(arguments.isa, folder / arguments.isa / program.name)
        print(f"built {program.name}", flush=True)
    machine = Machine(arguments.cpu, arguments.memory, arguments.root)
    start = time.perf_counter()
    serial = machine.run(folder / "machine", build_init(folder / "init"), executables, timeout=arguments.timeout)
    seconds = time.perf_counter() - start
    features = set(next((line for line in serial.splitlines() if line.startswith("flags")), "").split())
    print(f"{arguments.cpu}: {', '.join(sorted(f for f in features if arguments.isa in f)) or f'no {arguments.isa}'}")
    actual = {name: text + status + "\n" for name, text, status in SECTION.findall(serial)}
    for name, text in expected.items():
        problem = difference(actual.get(name, ""), text)
        wrong |= {name} if problem else set()
        verdict = problem or f"equal ({len(text.splitlines())} lines)"
        print(f"{name}: {verdict} {notes.get(name, '')}".rstrip())
    print(f"{len(expected) - len(wrong)} of {len(expected)} programs right, {seconds:.0f} s in the emulator")
    return int(bool(wrong))


def difference(actual: str, expected: str) -> str:
    """The first line that differs, or "" where none does and the program succeeded."""
    if not actual:
        return "DID NOT RUN"
    for line, wanted in zip(actual.splitlines(), expected.splitlines(), strict=False):
        if line != wanted:
            return f"DIFFERS: {line!r}, not {wanted!r}"
    return "" if actual == expected and actual.endswith("exit 0\n") else "FAILED"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=["vocabulary", "guard-pages", "op-*", "graph-*", "edge-*", "spec-lenet"]
    )
    parser.add_argument("--isa", default="avx512")
    parser.add_argument("--threads", type=int, default=1, help="of the networks; the emulated CPU runs them in turn")
    parser.add_argument("--cpu", default="corei7_skylake_x", help="a CPU model of Bochs that has the ISA")
    parser.add_argument("--memory", type=int, default=1024, help="of the emulated machine, in MiB")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where kernel and isolinux are installed")
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds for the emulated machine")
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--list", action="store_true", help="only list the names")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
