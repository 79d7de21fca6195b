"""The tester tested: errors are planted in printed kernels, and the fuzzer has to find them and make them small."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz import campaign, document
from tests.fuzz.build_cuda import CUDA
from tests.fuzz.campaign import Edit, Found, Options

KINDS = ("conv2d", "max_pool", "relu", "concat", "global_avg_pool")
"""Few, so that few networks are enough to meet the error."""
FAST = Options(isas=("scalar",), kinds=KINDS, witnesses=(), flags=("-O0",), group=8, shrink_limit=60)


def first_failure(
    edit: Edit,
    networks: int = 32,
    kinds: tuple[str, ...] = KINDS,
    shrink_limit: float = 0,
    isas: tuple[str, ...] = FAST.isas,
) -> Found:
    """The first failure of a run with an error planted, which must have one."""

    class FoundOneError(Exception):
        pass

    caught: list[Found] = []

    def stop(found: Found) -> None:
        caught.append(found)
        raise FoundOneError

    options = replace(FAST, planted=(edit,), kinds=kinds, shrink_limit=shrink_limit, isas=isas, drawn=len(isas) > 1)
    with pytest.raises(FoundOneError):
        campaign.run(0, networks=networks, options=options, on_failure=stop)
    return caught[0]


def test_an_error_in_a_kernel_is_found_and_made_small(tmp_path: Path) -> None:
    edit = ("max_pool", r"v_max_nan\(", "v_min(")
    found = first_failure(edit, shrink_limit=120)
    layers = found.document.spec["layers"]
    assert len(layers) <= 2, found.document.text
    assert "max_pool" in str(layers)
    assert len(found.document.text) <= len(found.drawn.text)
    assert re.search(r"scalar.*max_pool", str(found.failures[0])), found.failures

    path = campaign.save(found, tmp_path / "saved")
    assert "python -m tests.fuzz --spec" in path.read_text()
    again = document.read(path)
    assert campaign.check_one(again, replace(FAST, planted=(edit,)))
    assert not campaign.check_one(again, FAST), "without the error it passes"


def test_a_write_beside_an_output_is_found() -> None:
    edit = ("avg_pool", r"(v_store\(([^;]*?), [^;]*\);)", r"\1 (\2)[1] = 1.0f;")
    found = first_failure(edit, kinds=("global_avg_pool", "relu"))
    assert any("beside" in failure.what for failure in found.failures), found.failures


@pytest.mark.parametrize(
    ("edit", "isas", "said"),
    [
        (("max_pool", r"max_nan\(", "min_nan("), CUDA[:1], "max_pool"),
        (("conv2d_", r"__syncthreads\(\);", ";"), CUDA, "conv2d"),
    ],
    ids=["wrong-function", "no-barrier"],
)
def test_an_error_in_a_cuda_kernel_is_found(edit: Edit, isas: tuple[str, ...], said: str) -> None:
    found = first_failure(edit, isas=isas)
    assert said in found.document.text
    assert found.failures[0].where.startswith("cuda-emulated "), found.failures


def test_a_crash_is_a_failure_of_one_network() -> None:
    found = first_failure(("max_pool", r"float \*y = ", "__builtin_trap(); float *y = "))
    assert "max_pool" in found.document.text
    assert "crashed: SIG" in str(found.failures[0])


def test_a_failure_of_the_compiler_is_blamed_on_its_network() -> None:
    found = first_failure(("max_pool", r"const float \*x = ", "const flaot *x = "))
    assert "the compiler failed" in str(found.failures[0])
    assert "max_pool" in found.document.text


def test_a_hang_ends() -> None:
    pooled = document.Document(
        {"cnngen": 1, "input": {"shape": [2, 2, 1]}, "weights": "random", "layers": [{"max_pool": {"kernel": 2}}]}
    )
    options = replace(FAST, planted=(("max_pool", r"float \*y = ", 'for (;;) {\n__asm__("");\n}\nfloat *y = '),))
    child = campaign._Child([pooled], options, limit=8)
    assert child.answer().crash == "took too long: it hangs"
    assert child.process.exitcode == -signal.SIGKILL


def test_a_run_without_failures_says_so() -> None:
    result = campaign.run(3, networks=4, options=FAST)
    assert result.networks == 4
    assert not result.found
    assert result.counts["batch 1"] + result.counts["batch 2"] >= 4
