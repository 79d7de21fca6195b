"""The vector vocabulary, operation by operation: every header against NumPy float32, special values included.

The kernels' exactness rests on it: what a header promises in its comments holds for every ISA, and
the functions of vector_math.h stay within the errors that the ops' bounds assume.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from cnngen import resources
from cnngen.backends.cpu.kernels import Epilogue
from cnngen.backends.cpu.target import ISAS, host_isas
from cnngen.ir import Array
from cnngen.ops import FUNCTIONS, Activation, Bound, Power
from cnngen.ops.function import (
    ERF_ROUNDINGS,
    EXP_ROUNDINGS,
    EXPM1_ROUNDINGS,
    LOG1P_ROUNDINGS,
    LOG_ROUNDINGS,
    TAIL_ROUNDINGS,
)
from tests.native import WARNINGS, c_library, cc, target

SIMD = resources.templates_folder() / "c" / "simd"
HEADERS = (*(isa.header for isa in ISAS.values()), "emulated.h")
VOCABULARIES = (*host_isas(), "sse4.1-emulated", "avx2-emulated", "avx512-emulated")
HALVES = {"h_zero", "h_set1", "h_load", "h_store", "h_fma", "h_of", "h_widened"}
"""Of vectors of 16 lanes: with a test of their own below."""
HELPERS = {"v_mask_n", "v_or_nan", "v_float_of", "v_bits_of", "v_float_of_half"}
"""What some headers need for themselves; no template may use them."""

U = 2.0**-24
SMALLEST_NORMAL = 2.0**-126
LARGEST = float(np.finfo(np.float32).max)

FINITE = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 1 / 3, -0.1, 1e-45, -1e-45, 1e-40, SMALLEST_NORMAL,
    -SMALLEST_NORMAL, 1e-20, 8388607.5, 8388609.0, -16777215.0, 1e10, -1e30, LARGEST, -LARGEST,
]  # fmt: skip
SPECIAL = np.array([*FINITE, np.inf, -np.inf, np.nan], np.float32)

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "v_add": np.add,
    "v_sub": np.subtract,
    "v_mul": np.multiply,
    "v_div": np.divide,
    "v_max": lambda a, b: np.where(a > b, a, b),
    "v_min": lambda a, b: np.where(a < b, a, b),
    "v_max_nan": lambda a, b: np.where(np.isnan(a) | (a > b), a, b),
    "v_min_nan": lambda a, b: np.where(np.isnan(a) | (a < b), a, b),
}
UNARY: dict[str, Callable[[Array], Array]] = {"v_sqrt": np.sqrt, "v_round": np.rint}
ELSEWHERE = {
    "v_zero", "v_set1", "v_load", "v_store", "v_load_n", "v_store_n", "v_fma", "v_select_lt", "v_pow2",
    "v_pow2_shifted", "v_exponent", "v_mantissa", "v_reduce_max", "v_load_bf16", "v_load_f16", "v_max_pairs",
}  # fmt: skip
"""Operations with tests of their own below."""
ACTIVATIONS = (
    Activation("relu"),
    Activation("relu6"),
    Activation("clip", -0.5, 0.75),
    Activation("leaky_relu", 0.1),
    Activation("sigmoid"),
    Activation("tanh"),
    Activation("hard_sigmoid", 0.2, 0.5),
    Activation("hard_sigmoid", 3.0, -100.0),
    Activation("hard_swish"),
    Activation("silu"),
    Activation("elu", 1.0),
    Activation("elu", -0.7),
    Activation("selu"),
    Activation("gelu"),
    Activation("gelu_tanh"),
    Activation("mish"),
    Activation("softplus"),
    Activation("celu", 1.0),
    Activation("celu", 0.3),
    Activation("celu", 40.0),
    Activation("softsign"),
    Activation("thresholded_relu", 1.0),
    Activation("thresholded_relu", -0.5),
    Activation("swish", 1.702),
    Activation("swish", -0.4),
    Activation("swish", 0.0),
    Activation("clip", -np.inf, 0.75),
    Activation("clip", -0.75, np.inf),
    *(Activation(function) for function in ("exp", "log", "sqrt", "reciprocal", "square", "erf")),
    *(Activation(function) for function in ("abs", "neg", "floor", "ceil", "round", "sign")),
    *(Activation("pow", float(exponent)) for exponent in (-16, -3, -2, -1, 0, 1, 2, 3, 7, 11, 16, 17, 20, -33)),
    *(Activation("pow", exponent) for exponent in (0.5, -0.5, 1.7, -0.3, 1e3, 1e-3)),
)

FUNCTIONS_OF_ONE = (
    "v_exp", "v_log", "v_expm1", "v_log1p", "v_normal_tail", "v_erf", "v_log_any", "v_abs", "v_one_plus_exp_minus",
)  # fmt: skip
"""Functions of vector_math.h beside the activations."""

PREAMBLE = """#include <stddef.h>
#include "simd.h"
#include "vector_math.h"
int lanes(void);
int lanes(void) { return V_LANES; }
#if V_LANES == 16
/* half a vector of a[0] b + c, rounded once and twice */
void halves(const float *a, const float *b, const float *c, float *once, float *twice);
void halves(const float *a, const float *b, const float *c, float *once, float *twice)
{
    const h_t product = h_fma(h_set1(a[0]), h_load(b), h_zero());
    h_store(once, h_fma(h_of(v_set1(a[0])), h_load(b), h_of(v_load(c))));
    v_store_n(twice, v_add(h_widened(product), v_load_n(c, 8)), 8);
}
#endif
void v_reduce_max_(const float *a, float *r, ptrdiff_t n);
void v_reduce_max_(const float *a, float *r, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += V_LANES) r[i / V_LANES] = v_reduce_max(v_load(a + i));
}
void v_max_pairs_(const float *a, float *r, ptrdiff_t n);
void v_max_pairs_(const float *a, float *r, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += V_LANES)
        v_store(r + i, v_max_pairs(v_load(a + 2 * i), v_load(a + 2 * i + V_LANES)));
}
"""


def operations(header: str) -> set[str]:
    """Names of the functions that a header of the vocabulary defines."""
    return set(re.findall(r"static inline \w+ (v_\w+)\(", (SIMD / header).read_text())) - HELPERS


def flags(isa: str) -> list[str]:
    """Compiler options for one vocabulary."""
    return [*target(isa).flags, f"-I{SIMD}"]


def source(isa: str) -> str:
    """Each operation as a function over arrays `a`, `b`, `c` and result `r`, whose size is a multiple of 16.

    vector_math.h includes "simd.h", which a network's folder holds: here it is the ISA's header, read first.
    """
    calls = {name: f"{name}(A, B)" for name in BINARY} | {name: f"{name}(A)" for name in UNARY}
    calls |= {"v_fma": "v_fma(A, B, C)", "v_set1": "v_set1(a[0])", "v_zero": "v_zero()", "v_load": "v_load(a + i)"}
    calls |= {name: f"{name}((const uint16_t *)a + i)" for name in ("v_load_bf16", "v_load_f16")}
    calls |= {"v_pow": "v_pow(A, B)", "v_select_lt": "v_select_lt(A, B, C, v_set1(42.0f))"}
    calls |= {
        name: f"{name}(A)" for name in ("v_pow2", "v_pow2_shifted", "v_exponent", "v_mantissa", *FUNCTIONS_OF_ONE)
    }
    calls |= {f"act_{number}": Epilogue(activation).apply("A") for number, activation in enumerate(ACTIVATIONS)}
    text = PREAMBLE
    for name, call in calls.items():
        head = f"void {name}_(const float *a, const float *b, const float *c, float *r, ptrdiff_t n)"
        text += f"""{head};
{head}
{{
    (void)a, (void)b, (void)c;
    for (ptrdiff_t i = 0; i < n; i += V_LANES) {{
        const v_t A = v_load(a + i), B = v_load(b + i), C = v_load(c + i);
        (void)A, (void)B, (void)C;
        v_store(r + i, {call});
    }}
}}
"""
    return text


class Vocabulary:
    """The compiled functions of one ISA."""

    def __init__(self, isa: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "simd.h").write_text((SIMD / target(isa).header).read_text())
        self.isa, self.fused = isa, target(isa).isa.fused
        self.library = c_library(folder, source(isa), [*flags(isa), "-I."])
        self.lanes = int(self.library.lanes())

    def __call__(self, name: str, *arrays: Array) -> Array:
        """The operation on arrays of equal size, of which it takes as many as it needs."""
        size = arrays[0].size
        room = -(-size // 16) * 16
        padded = [np.resize(np.asarray(x, np.float32).ravel(), room) for x in arrays]
        padded += [padded[0]] * (3 - len(padded))
        result = np.full(room, np.nan, np.float32)
        pointer = ctypes.POINTER(ctypes.c_float)
        pointers = [x.ctypes.data_as(pointer) for x in (*padded, result)]
        getattr(self.library, f"{name}_")(*pointers, ctypes.c_ssize_t(room))
        return result[:size]


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(request.param, tmp_path_factory.mktemp("vocabulary") / request.param)


def assert_same_bits(actual: Array, expected: Array, what: str = "") -> None:
    """Equal, the sign of zero included; one NaN is as good as another."""
    expected = np.asarray(expected, np.float32)
    same = (actual.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(actual) & np.isnan(expected))
    wrong = np.flatnonzero(~same)
    assert not wrong.size, f"{what} at {wrong[:5]}: {actual[wrong[:5]]}, not {expected[wrong[:5]]}"


def nearest_float32(exact: Fraction) -> np.float32:
    """`exact` rounded once, to nearest, ties to even."""
    if abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103:
        return np.float32(np.inf if exact > 0 else -np.inf)
    guess = np.float32(float(exact))
    guess = guess if np.isfinite(guess) else np.float32(LARGEST if exact > 0 else -LARGEST)
    with np.errstate(over="ignore"):
        around = [np.nextafter(guess, np.float32(end)) for end in (-np.inf, np.inf)]
    candidates = [x for x in (guess, *around) if np.isfinite(x)]
    return min(candidates, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(np.uint32)) & 1))


def test_the_headers_define_one_vocabulary() -> None:
    found = {header: operations(header) for header in HEADERS}
    assert all(found[header] == found["scalar.h"] for header in HEADERS), found
    assert found["scalar.h"] == {*BINARY, *UNARY, *ELSEWHERE}, "an operation without a test"


def test_templates_use_nothing_but_the_vocabulary() -> None:
    allowed = operations("scalar.h") | {"v_abs", "v_exp", "v_log", "v_log_any", "v_t"}
    for template in sorted((SIMD.parent).glob("*.j2")):
        used = set(re.findall(r"\bv_[a-z]\w*", template.read_text()))
        assert used <= allowed, template.name
        assert set(re.findall(r"\bh_[a-z]\w*", template.read_text())) <= HALVES, template.name


def test_halves_are_those_of_vectors_of_sixteen_lanes() -> None:
    for header in HEADERS:
        found = set(re.findall(r"static inline \w+ (h_\w+)\(", (SIMD / header).read_text()))
        assert found == (HALVES if header in ("avx512.h", "emulated.h") else set()), header


def test_lanes_and_headers_are_those_of_the_target(vocabulary: Vocabulary) -> None:
    assert vocabulary.lanes == target(vocabulary.isa).isa.lanes


@pytest.mark.parametrize("header", HEADERS)
def test_headers_compile_without_a_warning(header: str, tmp_path: Path) -> None:
    """Also for an ISA that this machine cannot run."""
    isa = next((name for name, isa in ISAS.items() if isa.header == header), "avx512-emulated")
    (tmp_path / "simd.h").write_text((SIMD / header).read_text())
    (tmp_path / "functions.c").write_text(source(isa))
    for level in ("-O0", "-O3"):
        cc(tmp_path, "-std=c11", level, *WARNINGS, "-I.", *flags(isa), "-c", "functions.c", "-o", "functions.o")


@pytest.mark.parametrize("name", BINARY)
def test_binary_operations_on_special_values(vocabulary: Vocabulary, name: str) -> None:
    a, b = (x.ravel() for x in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        assert_same_bits(vocabulary(name, a, b), BINARY[name](a, b), name)


@pytest.mark.parametrize("name", UNARY)
def test_unary_operations_on_special_values(vocabulary: Vocabulary, name: str) -> None:
    ties = np.array([*np.arange(-6.5, 7.0), 4194304.5, -4194305.5, 2.0**31, -(2.0**40), 0.49999997], np.float32)
    x = np.concatenate([SPECIAL, ties])
    with np.errstate(all="ignore"):
        assert_same_bits(vocabulary(name, x), UNARY[name](x), name)


@functools.cache
def multiply_add_samples() -> tuple[list[Array], Array, Array]:
    """Operands a, b, c, and a b + c rounded once and twice; an exact zero counts as positive."""
    operands = [np.array(x, np.float32) for x in zip(*itertools.product(FINITE, repeat=3), strict=True)]
    # Products that a sum nearly cancels: two roundings are far from one.
    x, y = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    a, b, c = (np.concatenate(parts) for parts in zip(operands, (x, y, -(x * y)), strict=True))
    exact = (Fraction(float(p)) * Fraction(float(q)) + Fraction(float(r)) for p, q, r in zip(a, b, c, strict=True))
    with np.errstate(all="ignore"):
        twice = a * b + c
    return [a, b, c], np.array([nearest_float32(value) for value in exact], np.float32), twice


def test_multiply_add_rounds_once_where_it_is_fused(vocabulary: Vocabulary) -> None:
    operands, once, twice = multiply_add_samples()
    result = vocabulary("v_fma", *operands)
    assert_same_bits(result + np.float32(0), (once if vocabulary.fused else twice) + np.float32(0))
    assert np.sum(once != twice) > 1000, "the samples tell one rounding from two"


def test_multiply_add_of_infinities_and_nan(vocabulary: Vocabulary) -> None:
    few = np.array([0.0, 1.0, -2.0, np.inf, -np.inf, np.nan], np.float32)
    a, b, c = (x.ravel() for x in np.meshgrid(few, few, few))
    with np.errstate(all="ignore"):
        assert_same_bits(vocabulary("v_fma", a, b, c), a * b + c)


def test_halves(vocabulary: Vocabulary) -> None:
    """The first eight lanes of what whole vectors give, and nothing beyond them."""
    if vocabulary.lanes != 16:
        assert not hasattr(vocabulary.library, "halves")
        return
    pointer = ctypes.POINTER(ctypes.c_float)
    operands, once, twice = multiply_add_samples()
    a, b, c = operands
    for first in range(0, len(a) - 15, 8):
        results = np.full((2, 16), 7, np.float32)
        arrays = [np.full(16, a[first], np.float32), b[first : first + 16].copy(), c[first : first + 16].copy()]
        vocabulary.library.halves(*(x.ctypes.data_as(pointer) for x in (*arrays, *results)))
        lanes = slice(first, first + 8)
        same = a[lanes] == a[first]
        assert_same_bits(results[0, :8][same] + np.float32(0), once[lanes][same] + np.float32(0))
        assert_same_bits(results[1, :8][same] + np.float32(0), twice[lanes][same] + np.float32(0))
        assert np.all(results[:, 8:] == 7)


def test_select(vocabulary: Vocabulary) -> None:
    a, b = (x.ravel() for x in np.meshgrid(SPECIAL, SPECIAL))
    x = np.arange(a.size, dtype=np.float32)
    assert_same_bits(vocabulary("v_select_lt", a, b, x), np.where(a < b, x, np.float32(42)))


def test_moves(vocabulary: Vocabulary) -> None:
    x = np.resize(SPECIAL, 64)
    assert np.array_equal(vocabulary("v_load", x).view(np.uint32), x.view(np.uint32))
    assert_same_bits(vocabulary("v_zero", x), np.zeros(64))
    for value in SPECIAL:
        assert_same_bits(vocabulary("v_set1", np.full(16, value)), np.full(16, value))


def test_every_number_of_16_bits_becomes_the_float32_that_it_is(vocabulary: Vocabulary) -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    stored = np.concatenate([every, every]).view(np.float32)  # a function over floats reads the first half of it
    wide = vocabulary("v_load_bf16", stored)
    assert_same_bits(wide, (every.astype(np.uint32) << 16).view(np.float32), "bf16")
    assert_same_bits(vocabulary("v_load_f16", stored), every.view(np.float16).astype(np.float32), "fp16")


def test_powers_of_two_take_floats_apart_and_together(vocabulary: Vocabulary) -> None:
    n = np.arange(-126, 129, dtype=np.float32)
    powers = np.append(np.exp2(n[:-1].astype(np.float64)), np.inf)
    assert_same_bits(vocabulary("v_pow2", n), powers)
    assert_same_bits(vocabulary("v_pow2_shifted", n + np.float32(12583039)), powers)
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.ldexp(rng.uniform(1, 2, 254), np.arange(-126, 128)).astype(np.float32), [SMALLEST_NORMAL, 1.0, LARGEST]]
    )
    mantissa, exponent = np.frexp(x.astype(np.float64))
    assert_same_bits(vocabulary("v_exponent", x), exponent - 1)
    assert_same_bits(vocabulary("v_mantissa", x), 2 * mantissa)


def test_reduction_finds_the_largest_lane(vocabulary: Vocabulary) -> None:
    lanes = vocabulary.lanes
    rng = np.random.default_rng(0)
    # The largest in each lane once, among ordinary and among special values.
    x = np.repeat(-rng.uniform(1, 2, (1, lanes)), lanes, axis=0)
    np.fill_diagonal(x, [-0.5])
    x = np.concatenate([x, rng.choice(SPECIAL[:-1], (100, lanes))]).astype(np.float32)
    rows = -(-len(x) // 16) * 16
    x = np.resize(x, (rows, lanes))
    result = np.empty(rows, np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    vocabulary.library.v_reduce_max_(
        x.ctypes.data_as(pointer), result.ctypes.data_as(pointer), ctypes.c_ssize_t(x.size)
    )
    assert np.array_equal(result, x.max(axis=1))


def test_maxima_of_neighbours(vocabulary: Vocabulary) -> None:
    """Every pair of special values at every place of two vectors; NaN where either is NaN."""
    pairs = np.array(list(itertools.product(SPECIAL, SPECIAL)), np.float32).ravel()
    x = np.resize(pairs, -(-pairs.size // 32) * 32 + 32 * 16)
    result = np.empty(x.size // 2, np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    vocabulary.library.v_max_pairs_(
        x.ctypes.data_as(pointer), result.ctypes.data_as(pointer), ctypes.c_ssize_t(result.size)
    )
    np.testing.assert_array_equal(result, x.reshape(-1, 2).max(axis=1))


GUARD_PAGES = r"""
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "simd.h"

/* Loads and stores of n floats at both ends of a page between two that must not be touched. */
int main(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), floats = page / sizeof(float);
    char *memory = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + page, page, PROT_READ | PROT_WRITE)) return 2;
    float *middle = (float *)(memory + page);
    for (int n = 0; n <= V_LANES - (V_LANES > 1); ++n) {
        float *ends[2] = { middle, middle + floats - n };
        for (int end = 0; end < 2; ++end) {
            for (size_t i = 0; i < floats; ++i) middle[i] = -7.0f;
            for (int i = 0; i < n; ++i) ends[end][i] = (float)(i + 1);
            float lanes[V_LANES];
            v_store(lanes, v_load_n(ends[end], n));
            for (int i = 0; i < V_LANES; ++i)
                if (lanes[i] != (i < n ? (float)(i + 1) : 0.0f))
                    return printf("load_n(%d): lane %d is %g\n", n, i, lanes[i]), 1;
            for (int i = 0; i < V_LANES; ++i) lanes[i] = (float)(100 + i);
            v_store_n(ends[end], v_load(lanes), n);
            for (size_t i = 0; i < floats; ++i) {
                const ptrdiff_t lane = middle + i - ends[end];
                const float expected = lane >= 0 && lane < n ? (float)(100 + lane) : -7.0f;
                if (middle[i] != expected)
                    return printf("store_n(%d): float %d is %g\n", n, (int)lane, middle[i]), 1;
            }
        }
    }
    return 0;
}
"""


@pytest.mark.parametrize("isa", VOCABULARIES)
def test_partial_loads_and_stores_touch_nothing_beyond(isa: str, tmp_path: Path) -> None:
    (tmp_path / "simd.h").write_text((SIMD / target(isa).header).read_text())
    (tmp_path / "guard.c").write_text(GUARD_PAGES)
    # -O0 keeps every load and store as written, -O2 is what a compiler makes of them.
    for level in ("-O0", "-O2"):
        cc(tmp_path, "-std=gnu11", level, "-I.", *flags(isa), "guard.c", "-o", "guard", "-lm")
        done = subprocess.run([tmp_path / "guard"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{level}: exit {done.returncode} (negative: a signal) {done.stdout}"


def sweep(low: float, high: float, count: int) -> Array:
    """Floats from `low` to `high`: evenly spaced, and as many over all binades of either sign."""
    rng = np.random.default_rng(0)
    size = min(abs(low), abs(high)) if low * high > 0 else 0.0
    exponents = rng.uniform(max(np.log2(size), -148) if size else -148, np.log2(max(abs(low), abs(high))), count)
    spread = np.exp2(exponents) * rng.choice([-1.0, 1.0], count)
    x = np.concatenate([np.linspace(low, high, count), spread]).astype(np.float32)
    return x[(x >= low) & (x <= high)]


def test_exp_is_as_accurate_as_softmax_assumes(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(-104, 89, 500_000), np.linspace(-1, 1, 500_000, dtype=np.float32)])
    # Next to odd multiples of ln 2 / 2 the range reduction leaves the largest arguments.
    halves = (np.arange(-299, 256, 2) * (np.log(2) / 2)).astype(np.float32).view(np.int32)
    x = np.concatenate([x, (halves[:, None] + np.arange(-200, 201, dtype=np.int32)).view(np.float32).ravel()])
    exact, result = np.exp(x.astype(np.float64)), vocabulary("v_exp", x).astype(np.float64)
    normal = (exact >= SMALLEST_NORMAL) & (exact <= LARGEST)
    relative = np.abs(result[normal] / exact[normal] - 1)
    worst = x[normal][relative.argmax()]
    assert relative.max() < EXP_ROUNDINGS * U, f"{relative.max() / U:.2f} u at {worst!r}"
    # Below, the only other rounding is that of the last product, to a multiple of 2^-149.
    small = exact < SMALLEST_NORMAL
    assert np.all(np.abs(result[small] - exact[small]) <= 2.0**-150 + EXP_ROUNDINGS * U * exact[small])
    assert np.all(np.isinf(result[exact > LARGEST * (1 + EXP_ROUNDINGS * U)]))


def test_exp_of_special_values(vocabulary: Vocabulary) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, LARGEST, -LARGEST, 1e-40, -1e-40, 89.0, -104.0, -500.0])
    assert_same_bits(vocabulary("v_exp", x), [1, 1, np.inf, 0, np.nan, np.inf, 0, 1, 1, np.inf, 0, 0])


def test_one_plus_exp_minus_is_as_accurate_as_silu_assumes(vocabulary: Vocabulary) -> None:
    halves = (np.arange(-255, 250, 2) * (np.log(2) / 2)).astype(np.float32).view(np.int32)
    x = np.concatenate([sweep(-88.3, 120, 500_000), np.linspace(-1, 1, 100_000, dtype=np.float32)])
    x = np.concatenate([x, (halves[:, None] + np.arange(-200, 201, dtype=np.int32)).view(np.float32).ravel()])
    x = x[x > -88.3]
    found = vocabulary("v_one_plus_exp_minus", x)
    assert_relative("1 + e^-x", x, found, 1 + np.exp(-x.astype(np.float64)), 9)
    ends = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, -89.0], np.float32)
    assert_same_bits(vocabulary("v_one_plus_exp_minus", ends), [1, np.inf, np.nan, 1, np.inf, np.inf])


def test_log_is_as_accurate_as_lrn_assumes(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(SMALLEST_NORMAL, LARGEST, 300_000), np.linspace(0.25, 4, 700_000, dtype=np.float32)])
    x = np.concatenate([x, np.nextafter(np.float32(1), [np.float32(0), np.float32(2)]), [SMALLEST_NORMAL, LARGEST]])
    x = x[x >= SMALLEST_NORMAL].astype(np.float32)
    exact, result = np.log(x.astype(np.float64)), vocabulary("v_log", x).astype(np.float64)
    error = np.abs(result - exact) / (U * (np.abs(exact) + LOG_ROUNDINGS))
    assert error.max() < 1, f"{error.max():.2f} of what is allowed at {x[error.argmax()]!r}"
    # Next to one, where the logarithm is small, its relative error counts: log1p's argument is exact.
    near = np.abs(exact) < 0.3
    relative = np.abs(result[near] - exact[near])
    assert np.all(relative <= 4.25 * U * np.abs(exact[near]))


def assert_relative(name: str, x: Array, result: Array, exact: Array, roundings: int) -> None:
    """So many roundings where the exact value is in the normal range; below, a few units of denormals besides."""
    result = result.astype(np.float64)
    excess = np.abs(result - exact) / (roundings * U * np.abs(exact) + (np.abs(exact) < SMALLEST_NORMAL) * 2.0**-146)
    excess = np.where(result == exact, 0.0, excess)
    assert excess.max() < 1, f"{name}: {roundings * excess.max():.2f} u at {x[excess.argmax()]!r}"


def test_expm1_is_accurate_next_to_zero_too(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(-120, 0, 500_000), np.linspace(-2, 0, 500_000, dtype=np.float32)])
    halves = (np.arange(-251, 0, 2) * (np.log(2) / 2)).astype(np.float32).view(np.int32)
    x = np.concatenate([x, (halves[:, None] + np.arange(-200, 201, dtype=np.int32)).view(np.float32).ravel()])
    assert_relative("expm1", x, vocabulary("v_expm1", x), np.expm1(x.astype(np.float64)), EXPM1_ROUNDINGS)
    ends = np.array([0.0, -0.0, -np.inf, np.nan, -LARGEST, -1e-45, -1e-40], np.float32)
    assert np.array_equal(vocabulary("v_expm1", ends), np.expm1(ends), equal_nan=True)


def test_log1p_is_accurate_next_to_zero_too(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(0, 1, 500_000), np.linspace(0, 1, 500_000, dtype=np.float32)])
    assert_relative("log1p", x, vocabulary("v_log1p", x), np.log1p(x.astype(np.float64)), LOG1P_ROUNDINGS)
    assert np.isnan(vocabulary("v_log1p", np.array([np.nan]))).all()


def test_normal_tail_is_accurate_far_out_too(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(0, 14.5, 500_000), np.linspace(0, 14.5, 500_000, dtype=np.float32)])
    exact = special.ndtr(-x.astype(np.float64))
    assert_relative("normal tail", x, vocabulary("v_normal_tail", x), exact, TAIL_ROUNDINGS)
    assert np.isnan(vocabulary("v_normal_tail", np.array([np.nan]))).all()


def test_every_activation_function_is_swept() -> None:
    assert {activation.function for activation in ACTIVATIONS} == set(FUNCTIONS)


@pytest.mark.parametrize("number", range(len(ACTIVATIONS)), ids=[f"{a}{i}" for i, a in enumerate(ACTIVATIONS)])
def test_activations_stay_within_their_claims(vocabulary: Vocabulary, number: int) -> None:
    activation = ACTIVATIONS[number]
    every = np.arange(0, 2**32, 20_011, dtype=np.uint32).view(np.float32)  # of all floats, NaN and denormals included
    x = np.concatenate([sweep(-120, 120, 60_000), sweep(-7, 7, 60_000), every, SPECIAL])
    with np.errstate(all="ignore"):
        result = vocabulary(f"act_{number}", x).astype(np.float64)
        bound = activation.bound(Bound.exact(x.astype(np.float64)))
        value = np.asarray(np.asarray(bound.value, np.float32), np.float64)
        same = (result == bound.value) | (result == value) | (np.isnan(result) & np.isnan(bound.value))
        error = np.where(same, 0.0, np.abs(result - bound.value))
        excess = np.where(same, 0.0, error / bound.limit)
    worst = int(np.nan_to_num(excess, nan=np.inf).argmax())
    assert excess[worst] <= 1, f"{activation}({x[worst]!r}) is {result[worst]!r}, not {bound.value[worst]!r}"


def test_the_error_function_is_accurate_next_to_zero_too(vocabulary: Vocabulary) -> None:
    x = np.concatenate([sweep(-15, 15, 500_000), np.linspace(-1, 1, 500_000, dtype=np.float32)])
    assert_relative("erf", x, vocabulary("v_erf", x), special.erf(x.astype(np.float64)), ERF_ROUNDINGS)
    assert_same_bits(vocabulary("v_erf", np.array([np.inf, -np.inf, np.nan, 0.0])), [1, -1, np.nan, 0])


def test_logarithm_of_denormals_zeros_and_negative_numbers(vocabulary: Vocabulary) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(1, 2**23, 100_000).astype(np.uint32).view(np.float32), [1e-45, SMALLEST_NORMAL]])
    x = x.astype(np.float32)
    exact = np.log(x.astype(np.float64))
    assert np.all(np.abs(vocabulary("v_log_any", x) - exact) <= U * (np.abs(exact) + LOG_ROUNDINGS))
    ends = np.array([0.0, -0.0, -1e-45, -1.0, -np.inf, np.inf, np.nan, 1.0], np.float32)
    with np.errstate(all="ignore"):
        assert_same_bits(vocabulary("v_log_any", ends), np.log(ends.astype(np.float64)))


def test_magnitudes_are_exact(vocabulary: Vocabulary) -> None:
    """Of infinities, NaN and -0 too: a reduction tells by them whether its largest element is finite."""
    assert_same_bits(vocabulary("v_abs", SPECIAL), np.abs(SPECIAL))


def test_powers_of_special_values_are_those_of_c(vocabulary: Vocabulary) -> None:
    """All pairs; -0 and odd exponents included. What is finite is held within the bound, the rest is exact."""
    few = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, -3.0, 1e-45, -1e-45, 1e-30, -1e30, 0.99999994, 16777215.0, 16777217.0]
    numbers = np.array([*few, np.inf, -np.inf, np.nan], np.float32)
    x, y = (side.ravel() for side in np.meshgrid(numbers, numbers))
    assert_powers(vocabulary, x, y)


def test_powers_within_their_bound(vocabulary: Vocabulary) -> None:
    rng = np.random.default_rng(0)
    x = np.exp2(rng.uniform(-20, 20, 200_000)).astype(np.float32)
    y = rng.uniform(-8, 8, x.size).astype(np.float32)
    whole = rng.random(x.size) < 0.5
    y[whole] = np.rint(y[whole])
    x[whole] *= rng.choice([-1, 1], x.size).astype(np.float32)[whole]
    assert_powers(vocabulary, x, y)


def assert_powers(vocabulary: Vocabulary, x: Array, y: Array) -> None:
    found = Power().bound([x.astype(np.float64), y.astype(np.float64)], {})
    result, value = vocabulary("v_pow", x, y).astype(np.float64), np.asarray(found.value)
    with np.errstate(all="ignore"):
        rounded = value.astype(np.float32).astype(np.float64)
        same = (result == value) | (result == rounded) | (np.isnan(result) & np.isnan(value))
        wrong = np.flatnonzero(~(same | (np.abs(result - value) <= found.limit)))
        assert not wrong.size, [(x[i], y[i], result[i], value[i]) for i in wrong[:5]]
        known = ~np.isnan(value)
        assert np.array_equal(np.signbit(result[known]), np.signbit(value[known]))
