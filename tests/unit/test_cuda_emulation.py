"""The emulation of a GPU finds what it is there to find: each test runs a kernel with one error in it."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cnngen import resources

HOST = """
#define CNNGEN_EMULATION
#include "device.cuh"
#include <stdlib.h>

static float memory[64];

%s

extern "C" const char *run(void)
{
    for (int i = 0; i < 64; ++i) memory[i] = float(i);
    emulation::machine.error[0] = 0;
    emulation::launch({2}, {64}, 256, [&] { kernel(memory); });
    return emulation::machine.error;
}
extern "C" float value(int i) { return memory[i]; }
"""


def run(body: str, folder: Path) -> tuple[str, list[float]]:
    """What the emulation says of a kernel with this body, and the memory that it leaves."""
    headers = resources.templates_folder() / "cuda"
    for name in ("device.cuh", "emulation.h"):
        shutil.copy(headers / name, folder)
    text = HOST % f"__global__ void kernel(float *memory)\n{{\nconst int thread = threadIdx.x;\n{body}\n}}"
    (folder / "kernel.cpp").write_text(text)
    command = ["g++", "-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas", "-shared", "-fPIC"]
    subprocess.run([*command, "kernel.cpp", "-o", "kernel.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "kernel.so"))
    library.run.restype, library.value.restype = ctypes.c_char_p, ctypes.c_float
    said = library.run().decode()
    return said, [library.value(i) for i in range(64)]


def test_threads_exchange_through_shared_memory(tmp_path: Path) -> None:
    said, memory = run(
        """
        SHARED_MEMORY(bytes);
        float *shared = reinterpret_cast<float *>(bytes);
        shared[thread] = memory[thread];
        __syncthreads();
        if (blockIdx.x == 0) memory[thread] = shared[63 - thread];
        """,
        tmp_path,
    )
    assert said == ""
    assert memory == [float(63 - i) for i in range(64)]


def test_lanes_exchange_within_their_warp(tmp_path: Path) -> None:
    said, memory = run("if (blockIdx.x == 0) memory[thread] = shuffle_xor(memory[thread], 1);", tmp_path)
    assert said == ""
    assert memory == [float(i ^ 1) for i in range(64)]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("if (thread < 32) __syncthreads();", "waits at line .*, where others never arrive"),
        ("if (thread % 2)\n__syncthreads();\nelse\n__syncthreads();", "waits at line .*, where others never arrive"),
        ("if (thread % 2) memory[thread] = shuffle_xor(memory[thread], 1);", "where others never arrive"),
        ("SHARED_MEMORY(bytes);\nbytes[256 + thread % 4] = 0;", "wrote beside its 256 bytes of shared memory"),
        (
            "if (thread == 3) load<4>(memory + thread);",
            "thread 3 .* 16 bytes at an address that they do not",
        ),
        ("float two[2] = {};\nif (thread == 1) store(memory + 1, two);", "thread 1 .* reads or writes 8 bytes"),
        (
            "SHARED_MEMORY(bytes);\nif (thread == 1) copy_async<8>(bytes + 8, memory + 1, true);",
            "thread 1 .* reads or writes 8 bytes",
        ),
        ("SHARED_MEMORY(bytes);\nbytes[-1 - thread % 4] = 0;", "wrote beside its 256 bytes of shared memory"),
    ],
    ids=["part-of-a-block", "two-barriers", "part-of-a-warp", "behind", "load", "store", "copy", "before"],
)
def test_what_is_wrong_is_said(body: str, problem: str, tmp_path: Path) -> None:
    said, _ = run(body, tmp_path)
    assert re.search(problem, said), said


def test_a_copy_that_nobody_waited_for_has_not_happened(tmp_path: Path) -> None:
    copy = """
        SHARED_MEMORY(bytes);
        float *shared = reinterpret_cast<float *>(bytes);
        copy_async<4>(shared + thread, memory + thread, thread %% 2 == 0);
        copy_async_commit();
        %s
        __syncthreads();
        if (blockIdx.x == 0) memory[thread] = shared[thread];
        """
    (tmp_path / "waited").mkdir()
    (tmp_path / "forgotten").mkdir()
    _, waited = run(copy % "copy_async_wait<0>();", tmp_path / "waited")
    assert waited == [float(i) if i % 2 == 0 else 0.0 for i in range(64)]
    _, forgotten = run(copy % "copy_async_wait<1>();", tmp_path / "forgotten")
    assert all(x != x for x in forgotten)  # still the NaN that shared memory holds at first
