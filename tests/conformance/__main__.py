"""The whole suite: every case on every ISA, then each compiled alone by ONNX's own runner; writes the page.

python -m tests.conformance              # all of it
python -m tests.conformance --page       # only what docs/onnx_support.md needs
"""

from __future__ import annotations

import argparse
import sys
import unittest

from tests.conformance.cases import load_cases
from tests.conformance.check import Outcome, counts, run_cases
from tests.conformance.report import PAGE, page
from tests.native import RUNNABLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="one ISA, and no runner")
    options = parser.parse_args()
    cases = load_cases()
    failed: list[tuple[str, Outcome]] = []
    for isa in ("native",) if options.page else RUNNABLE:
        outcomes = run_cases(cases, isa)
        failed += [(isa, one) for one in outcomes if one.status == "failed"]
        print(f"{isa}: {counts(outcomes)}", flush=True)
        if isa in ("native", RUNNABLE[0]):
            PAGE.write_text(page(outcomes), encoding="utf-8")
    for isa, one in failed:
        print(f"FAILED {isa}: {one.suite} {one.name}: {one.reason}")
    good = not failed
    if not options.page:
        good = by_the_runner({one.name for one in outcomes if one.status == "passed"}) and good
    sys.exit(0 if good else 1)


def by_the_runner(names: set[str]) -> bool:
    """ONNX's own runner on `cnngen.onnx_backend`, for the cases that are supported."""
    from onnx.backend.test.runner import Runner

    import cnngen.onnx_backend as backend

    runner = Runner(backend.CnngenBackend, __name__)
    for name in names:
        runner.include(f"^{name}_cpu$")
    result = unittest.TextTestRunner(verbosity=0).run(runner.test_suite)
    print(f"runner: {result.testsRun - len(result.skipped)} run, {len(result.failures) + len(result.errors)} failed")
    return result.wasSuccessful()


if __name__ == "__main__":
    main()
