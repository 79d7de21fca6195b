"""Nothing is read or written beyond an array: every op case and example on every ISA, between guard pages.

tests/guarded.py runs in a process of its own, so that a fault is a failed test that names the step.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnngen.backends.cpu.target import host_isas
from tests.guarded import FLOATS, PLANTS, SLACK, Guarded, guarded_offsets
from tests.native import RUNNABLE

ROOT = Path(__file__).resolve().parents[2]
NATIVE = host_isas()[-1]
AVX2 = "avx2" if "avx2" in host_isas() else "avx2-emulated"
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect and its signals as on Linux")


def run(*arguments: str) -> tuple[int, str]:
    """Exit code (negative: a signal) and the end of what it said."""
    command = [sys.executable, "-m", "tests.guarded", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    said = "\n".join([*done.stdout.splitlines()[-1:], *done.stderr.splitlines()[-15:]])
    return done.returncode, said


@pytest.mark.parametrize(
    ("isa", "arena"), [*((isa, "back") for isa in RUNNABLE), (NATIVE, "front")], ids=lambda value: str(value)
)
def test_no_step_touches_what_is_not_its_own(isa: str, arena: str) -> None:
    code, said = run(isa, "--arena", arena)
    assert code == 0, f"ended with {signal.Signals(-code).name if code < 0 else code} in\n{said}"
    assert said == "done"


@pytest.mark.parametrize(
    ("plant", "case", "end", "step"),
    [
        ("input", "conv_1x1", "back", "conv2d case/y"),
        ("input", "conv_1x1", "front", "conv2d case/y"),
        ("output", "conv_1x1", "back", "conv2d case/y"),
        ("output", "max_pool", "front", "max_pool case/y"),
        ("arena", "conv_3x3_same", "back", "stage case/x0"),
        ("arena", "conv_3x3_same", "front", "stage case/x0"),
        ("weights", "conv_3x3_same", "back", "conv2d case/y"),
        ("weights", "dense", "front", "dense case/y"),
        ("load", "global_max_pool", "back", "global_max_pool case/y"),
        ("store", "max_pool", "back", "max_pool case/y"),
        ("before", "conv_1x1", "front", "conv2d case/y"),
    ],
)
def test_a_planted_access_is_caught_in_its_step(plant: str, case: str, end: str, step: str) -> None:
    arena = ("--arena", end) if plant == "arena" else ()
    code, said = run(AVX2, "--plant", plant, "--case", case, "--end", end, *arena)
    assert code in (-signal.SIGSEGV, -signal.SIGBUS), f"{PLANTS[plant]}: not caught\n{said}"
    assert step in said.splitlines()[0], said


CUDA_CASES = (
    "conv_1x1", "conv_3x3_same", "conv_asymmetric_padding", "conv_groups", "conv_depthwise", "transposed_groups",
    "max_pool_ceil", "global_avg_pool", "dense", "lrn", "add_channels", "softmax_of_image", "pad_reflect",
    "upsample_bilinear_odd", "concat",
)  # fmt: skip
"""Kernels of every form; `make verify-cuda` runs all cases."""


def test_no_cuda_kernel_touches_what_is_not_its_own() -> None:
    cases = [word for name in CUDA_CASES for word in ("--case", name)]
    assert run("cuda-emulated fp16", *cases) == (0, "done")


@pytest.mark.parametrize(
    ("plant", "end", "step"),
    [
        ("arena", "back", "case/"),
        ("border", "back", "conv2d case/y"),
        ("last", "back", "conv2d case/y"),
    ],
)
def test_an_access_planted_in_cuda_is_caught_in_its_step(plant: str, end: str, step: str) -> None:
    arena = ("--arena", end)
    code, said = run("cuda-emulated fp16", "--plant", plant, "--case", "conv_3x3_same", "--end", end, *arena)
    assert code in (-signal.SIGSEGV, -signal.SIGBUS), f"{PLANTS[plant]}: not caught\n{said}"
    assert step in said.splitlines()[0], said


def test_the_same_cases_without_a_plant_end_well() -> None:
    for case in ("conv_1x1", "max_pool"):
        assert run(AVX2, "--case", case) == (0, "done")


def test_a_write_into_the_rest_of_a_page_is_caught_too() -> None:
    for end, beside in (("back", -1), ("front", 5)):
        memory = Guarded([5, FLOATS, 7], end)  # type: ignore[arg-type]  # a literal
        memory.view(0, 5)[:] = 1
        memory.check()
        assert memory.floats.view(np.uint32)[memory.offsets[0] + beside] == SLACK
        memory.floats[memory.offsets[0] + beside] = 0
        with pytest.raises(AssertionError, match="were written"):
            memory.check()


def test_arrays_lie_flush_against_the_guards() -> None:
    sizes = [1, FLOATS - 1, FLOATS, FLOATS + 1]
    for end in ("front", "back"):
        offsets, size = guarded_offsets(sizes, end)  # type: ignore[arg-type]  # a literal
        for offset, count in zip(offsets, sizes, strict=True):
            assert (offset if end == "front" else offset + count) % FLOATS == 0
        assert size == (1 + 2 + 2 + 2 + 3) * FLOATS
