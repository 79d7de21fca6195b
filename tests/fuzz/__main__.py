"""``python -m tests.fuzz``: random networks, for as long as asked; ``make fuzz`` calls it.

Exit status: 0 where every network passed, 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Threads that wait must not keep the others from running: there may be more of them than cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from cnngen.backends.cuda.target import EMULATED
from tests.fuzz import campaign, coverage, document
from tests.fuzz.build_cuda import CUDA
from tests.fuzz.check import check_group
from tests.native import RUNNABLE


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    isas = tuple(options.isa or (CUDA if options.target == EMULATED else RUNNABLE))
    if options.spec:
        return _again(options.spec, isas)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    seconds = options.seconds
    if seconds is None and options.networks is None:
        seconds = 600.0
    limits = [f"{options.networks:,} networks" if options.networks else "", f"{seconds:.0f} s" if seconds else ""]
    ways = "blocks and threads in either order" if options.target == EMULATED else "1 and 2 threads"
    print(f"seed {seed}; {' or '.join(filter(None, limits))}; {', '.join(isas)}; {ways}", flush=True)
    shown = [time.monotonic()]

    def progress(result: campaign.Result) -> None:
        if time.monotonic() - shown[0] > 10:
            shown[0] = time.monotonic()
            print(_line(result), flush=True)

    def failed(found: campaign.Found) -> None:
        path = campaign.save(found, options.out)
        print(f"FAILED: {path}\n{found.document.text}{found.failures[0]}", flush=True)

    result = campaign.run(
        seed,
        networks=options.networks,
        seconds=seconds,
        options=campaign.Options(
            isas=isas,
            drawn=options.target == EMULATED,
            workers=options.workers,
            flags=("-O1",) if options.quick else (),
        ),
        report=progress,
        on_failure=failed,
        on_first_sight=lambda failure: print(f"a network fails and is made small: {failure}", flush=True),
    )
    print(coverage.table(result.counts))
    print(f"seed {seed}: {_line(result)}")
    return 1 if result.found else 0


def _line(result: campaign.Result) -> str:
    tally = result.tally
    rate = result.seconds / result.networks if result.networks else 0.0
    return (
        f"{result.networks:,} networks in {result.seconds:.0f} s ({rate:.2f} s each), {tally.variants:,} builds, "
        f"{tally.layers:,} layers ({tally.exact:,} bit for bit), {tally.warnings} warnings, "
        f"{len(result.found)} failures"
    )


def _again(specs: list[Path], isas: tuple[str, ...]) -> int:
    """Check saved networks again; weights files lie beside them."""
    status = 0
    for path in specs:
        folder = Path(tempfile.mkdtemp(prefix="cnngen-fuzz-"))
        try:
            found = check_group([document.read(path)], folder, isas=isas)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        status = status or int(bool(found))
        print(f"{path}: {'FAILED' if found else 'passed'}")
        for failure in found.get(0, []):
            print(f"  {failure}")
    return status


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Random networks against the reference.")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds (600 if nothing is said)")
    parser.add_argument("--networks", type=int, help="stop after so many networks")
    parser.add_argument("--seed", type=int, help="the same networks again; by default another one each time")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes, one a core")
    parser.add_argument(
        "--target", choices=("cpu", EMULATED), default="cpu", help="cuda-emulated: each network in a drawn precision"
    )
    parser.add_argument(
        "--isa", action="append", help=f"only this ISA ({', '.join((*RUNNABLE, *CUDA))}); may be given several times"
    )
    parser.add_argument("--quick", action="store_true", help="compile with -O1, not with the flags of every build")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failures are saved")
    parser.add_argument("--spec", type=Path, nargs="+", help="check these saved networks instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
