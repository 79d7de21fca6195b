"""Case 84: the caller's floating-point mode is obeyed and left alone, and special values go through every op."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator

import numpy as np
import pytest

from cnngen.ir import Array
from cnngen.ops import Conv2D, Softmax
from cnngen.reference import reference
from cnngen.workspace import Workspace
from tests.graphs import RELU, chain, feed
from tests.guarded import all_cases, merged
from tests.native import RUNNABLE, c_library, native

FLUSH, TO_ZERO, UPWARD, USUAL = 0x8040 | 0x1F80, 0x6000 | 0x1F80, 0x4000 | 0x1F80, 0x1F80
"""MXCSR with all exceptions masked: flush-to-zero with denormals-are-zero, two rounding modes, none of it."""
STICKY = 0x3F

MXCSR = """
#include <xmmintrin.h>
unsigned get(void);
void set(unsigned mode);
unsigned get(void) { return _mm_getcsr(); }
void set(unsigned mode) { _mm_setcsr(mode); }
"""


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("MXCSR is a register of x86")
    found = c_library(tmp_path_factory.mktemp("mxcsr"), MXCSR)
    found.get.restype, found.set.argtypes = ctypes.c_uint, [ctypes.c_uint]
    before = found.get()
    yield found
    found.set(before)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_case_84_the_callers_mode_is_obeyed_and_kept(isa: str, register: ctypes.CDLL) -> None:
    graph = chain((1, 4, 4, 9), Conv2D(9, (1, 1), use_bias=False), RELU, name="mode", weights="integers")
    x = feed(graph, "integers")["x"]
    tiny, thirds = x * np.float32(1e-41), x / np.float32(3)
    results: dict[int, tuple[Array, Array]] = {}
    for mode in (USUAL, FLUSH, TO_ZERO, UPWARD, USUAL):
        register.set(mode)
        try:
            with native(graph, isa, flags=("-O1",)) as net:  # also loaded in that mode
                assert register.get() & ~STICKY == mode
                results[mode] = net(tiny), net(thirds)
                assert register.get() & ~STICKY == mode
            assert register.get() & ~STICKY == mode
        finally:
            register.set(USUAL)
    assert np.any(results[USUAL][0]), "denormals are kept"
    assert not np.any(results[FLUSH][0]), "denormals are flushed, as the caller wants"
    assert np.any(results[TO_ZERO][1] < results[UPWARD][1])


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("kind", ["nan", "infinities", "zeros and denormals"])
def test_case_84_special_values_go_through_every_op_as_in_numpy(kind: str, isa: str) -> None:
    """NaN and infinities come out where they do in the reference, and nowhere else; zeros of either sign are zeros."""
    special = {"nan": [np.nan], "infinities": [np.inf, -np.inf], "zeros and denormals": [0.0, -0.0, 1e-45, -1e-40]}
    graph = merged(all_cases())
    rng = np.random.default_rng(0)
    feeds = {
        name: np.where(rng.random(x.shape) < 0.04, rng.choice(special[kind], x.shape), x).astype(np.float32)
        for name, x in feed(graph).items()
    }
    with np.errstate(all="ignore"):
        expected = {
            name: value.astype(np.float32) for name, value in zip(graph.outputs, reference(graph, feeds), strict=True)
        }
    with native(graph, isa, flags=("-O0",)) as net:
        workspace = Workspace(net.plan, net._loaded(), list(feeds.values()))
        workspace.stepper(range(len(net.plan.steps)))()
        wrong = []
        for name, value in expected.items():
            found = workspace.read(name)
            finite = np.isfinite(value)
            same = np.array_equal(np.isnan(found), np.isnan(value))
            same &= np.array_equal(found[np.isinf(value)], value[np.isinf(value)])
            same &= np.allclose(found[finite], value[finite], rtol=1e-4, atol=1e-5)
            if not same:
                wrong.append(name)
    assert not wrong


def test_case_84_softmax_of_infinities_is_nan_as_in_numpy() -> None:
    graph = chain((1, 1, 1, 5), Softmax(), name="soft")
    x = np.array([[[[1, np.inf, 2, 3, -np.inf]]]], np.float32)
    with np.errstate(all="ignore"), native(graph, "scalar", flags=("-O0",)) as net:
        assert np.array_equal(np.isnan(net(x)), np.isnan(reference(graph, x)))
