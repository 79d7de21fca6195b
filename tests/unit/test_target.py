"""ISAs: which this machine runs, what is refused and with which advice, what the emulated ones are."""

from __future__ import annotations

import itertools
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from cnngen import resources
from cnngen.backends.cpu import machine, target
from cnngen.backends.cpu.target import ISAS, Target, available_cores, here, host_isas, resolve
from cnngen.errors import TargetError
from cnngen.resources import specs_folder
from tests.native import cc

Become = Callable[[str, str | None], None]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Become]:
    """A function that makes this machine one of another architecture, with other CPU flags."""

    def become(machine: str, cpuinfo: str | None) -> None:
        def read(path: Path, *_: object) -> str:
            if cpuinfo is None:
                raise FileNotFoundError(path)
            return cpuinfo

        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(Path, "read_text", read)
        host_isas.cache_clear()

    yield become
    monkeypatch.undo()
    host_isas.cache_clear()


AVX512 = "avx512f avx512vl avx512dq avx512bw"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", "processor: 0\nflags\t\t: fpu sse2\n", ("scalar",)),
        ("x86_64", "flags\t\t: sse2 sse4_1\n", ("scalar", "sse4.1")),
        ("x86_64", "flags\t\t: sse4_1 avx2 fma f16c\n", ("scalar", "sse4.1", "avx2")),
        ("AMD64", "flags\t\t: sse4_1 avx2 fma f16c\n", ("scalar", "sse4.1", "avx2")),
        ("x86_64", "flags\t\t: sse4_1 avx2 fma\n", ("scalar", "sse4.1")),
        ("x86_64", "flags\t\t: sse4_1 avx2\n", ("scalar", "sse4.1")),
        ("x86_64", f"flags\t\t: sse4_1 avx2 fma f16c {AVX512}\n", ("scalar", "sse4.1", "avx2", "avx512")),
        ("x86_64", "flags\t\t: sse4_1 avx2 fma f16c avx512f\n", ("scalar", "sse4.1", "avx2")),
        ("x86_64", "bugs: sse4_1 avx2 fma f16c\n", ("scalar",)),
        ("x86_64", None, ("scalar",)),
        ("aarch64", "flags\t\t: sse4_1 avx2 fma f16c\n", ("scalar",)),
    ],
)
def test_host_isas_follow_the_flags_of_the_cpu(
    host: Become, machine: str, cpuinfo: str | None, expected: tuple[str, ...]
) -> None:
    host(machine, cpuinfo)
    assert host_isas() == expected
    assert resolve("native", 1).name == expected[-1]


def test_host_isas_of_this_machine_are_known_and_begin_with_scalar() -> None:
    assert host_isas()[0] == "scalar"
    assert set(host_isas()) <= set(ISAS)


def test_refuses_an_isa_that_this_machine_lacks_with_two_ways_out(host: Become) -> None:
    host("x86_64", "flags : sse4_1 avx2 fma f16c\n")
    with pytest.raises(TargetError) as caught:
        resolve("avx512", 1)
    message = str(caught.value)
    assert "cannot run avx512" in message
    assert "scalar, sse4.1, avx2" in message
    assert "--emit-only" in message
    assert "isa='native'" in message
    assert "avx512-emulated" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("isa", ["", "AVX2", "avx1024", "neon", "-emulated", "native-emulated", "avx2 -emulated"])
def test_refuses_unknown_isas_and_names_the_known_ones(isa: str) -> None:
    with pytest.raises(TargetError) as caught:
        resolve(isa, 1)
    message = str(caught.value)
    assert repr(isa) in message
    assert all(name in message for name in (*ISAS, "native", "avx512-emulated"))


@pytest.mark.parametrize("threads", [0, -3])
def test_refuses_less_than_one_thread(threads: int) -> None:
    with pytest.raises(TargetError, match=f"threads is {threads}; use 1 or more"):
        resolve("scalar", threads)


@pytest.mark.parametrize("name", ISAS)
def test_every_isa_can_be_emulated_everywhere(name: str, host: Become) -> None:
    host("riscv64", None)
    emulated = resolve(f"{name}-emulated", 2)
    assert emulated == Target(ISAS[name], 2, emulated=True)
    assert emulated.name == f"{name}-emulated"
    assert emulated.header == "emulated.h"
    assert not [flag for flag in emulated.flags if flag.startswith("-mavx")], "flags that this machine cannot run"


def test_a_target_has_its_header_and_flags() -> None:
    for isa in ISAS.values():
        assert (resources.templates_folder() / "c" / "simd" / isa.header).is_file()
        assert Target(isa).header == isa.header
        assert Target(isa).flags == isa.flags
        assert Target(isa, 2).flags == (*isa.flags, "-fopenmp")


def test_isas_go_from_the_most_portable_to_the_fastest() -> None:
    isas = list(ISAS.values())
    for slower, faster in itertools.pairwise(isas):
        assert slower.lanes < faster.lanes
        assert slower.registers <= faster.registers
        assert slower.features < faster.features
        assert slower.fused <= faster.fused


def macros(flags: Iterable[str]) -> set[str]:
    """What the compiler says that it may use with these options."""
    done = cc(Path.cwd(), *flags, "-dM", "-E", "-x", "c", os.devnull)
    return set(re.findall(r"#define __(SSE\w*|AVX\w*|FMA)__ ", done.stdout))


def test_the_compiler_may_use_what_an_isa_has_and_nothing_beyond() -> None:
    """Whatever the compiler is set to on top."""
    allowed = {isa.name: macros(isa.flags) for isa in ISAS.values()}
    assert "SSE4_1" in allowed["sse4.1"]
    assert not any(name.startswith(("AVX", "FMA")) for name in allowed["sse4.1"] | allowed["scalar"])
    assert {"AVX2", "FMA"} <= allowed["avx2"]
    assert {"AVX512F", "AVX512VL", "AVX512DQ", "AVX512BW"} <= allowed["avx512"]
    for slower, faster in itertools.pairwise(ISAS):
        assert allowed[slower] < allowed[faster]
    assert "AVX" not in macros(("-march=haswell", *ISAS["sse4.1"].flags))


def test_available_cores_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cores() >= 1
    monkeypatch.setattr(target.os, "sched_getaffinity", lambda pid: {1, 4, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(target.os, "sched_getaffinity")
    monkeypatch.setattr(target.os, "cpu_count", lambda: None)
    assert available_cores() == 1


class TestMachine:
    """What the planner knows of the processor."""

    def test_measured_figures_are_kept_and_part_of_every_request(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cnngen import manifest
        from cnngen.backends.cpu import measure

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        spec = specs_folder() / "lenet.yaml"
        options = {"weights": None, "name": None, "batch": 1, "isa": "sse4.1", "threads": 1, "numerics": "fast"}
        before = manifest.ask(spec, **options)
        assert machine.known("sse4.1") == machine.DEFAULTS["sse4.1"]
        found = measure.measure_machine("sse4.1")
        assert found.measured
        assert found.peak > 1
        assert found.l2_rate >= found.l3_rate >= found.memory_rate > 0.1
        assert machine.known("sse4.1") == found
        after = manifest.ask(spec, **options)
        assert before is not None
        assert after is not None
        assert before.circumstances != after.circumstances
        # Emulated code is not run as it is planned, and nobody else's file is believed.
        assert here(resolve("sse4.1-emulated", 1)).machine == machine.DEFAULTS["sse4.1"]
        file = machine.figures_file("sse4.1")
        for text in (
            "",
            "{}",
            file.read_text().replace('"peak": ', '"peak": -'),
            file.read_text().replace("cpu", "CPU"),
        ):
            file.write_text(text)
            assert machine.known("sse4.1") == machine.DEFAULTS["sse4.1"]

    def test_rates_are_those_of_the_cache_that_holds_the_data(self) -> None:
        one = machine.DEFAULTS["avx2"]
        rates = [one.rate_behind(size) for size in (1 << 10, one.l2_bytes + 1, one.l3_bytes + 1)]
        assert rates == [1e9 * one.l2_rate, 1e9 * one.l3_rate, 1e9 * one.memory_rate]
