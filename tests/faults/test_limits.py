"""The command line on bad input: one message, the documented exit code, within 5 s and 1 GB, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.command_line import MEMORY, REPOSITORY, SECONDS, CommandLine, Ended, command_line
from tests.source_trees import script
from tests.specs import network

CONV = "conv2d: {name: c, filters: 4, kernel: 1}"
LONGEST = 1500
"""Characters of a message: a screen."""


@pytest.fixture(scope="module")
def cnngen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    with command_line(tmp_path_factory.mktemp("command-line")) as run:
        yield run


def refused(ended: Ended, place: str, *fragments: str, code: int = 2) -> None:
    """One message that begins with `place` (a pattern), within all limits."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("  ", "warning: "))]
    assert len(lines) == 1, ended.stderr
    assert re.match(place, lines[0]), ended.stderr
    assert len(ended.stderr) <= LONGEST
    assert ended.stderr.rstrip("\n").replace("\n", "").isprintable()
    for fragment in fragments:
        assert fragment in ended.stderr, ended.stderr
    assert ended.cpu < SECONDS
    assert ended.memory < MEMORY


# Specs: name, text, the line of the message, and words of it

LONG = "x" * 900_000
BLOCK = "blocks:\n  b:\n    parameters: [n]\n    layers:\n      - dense:\n          units: "
USE = network("flatten", "b: {n: 3}") + BLOCK
SAME_BUT_ONE = [f"relu: {{name: {'x' * 60}{number}}}" for number in range(4_900)]
ONE_PIXEL = "cnngen: 1\ninput: {shape: [3, 3, 1]}\nweights: random\n"

SPECS: dict[str, tuple[str | bytes, int | None, str]] = {
    "01 empty": ("", None, "is empty"),
    "02 malformed": ("cnngen: 1\ninput: {shape: [1\n", 3, "check the indentation"),
    "03 a list": ("- a\n", 1, "not a mapping"),
    "04 unknown key": (network("conv2d: {filter: 4, kernel: 3}"), 5, "did you mean 'filters'?"),
    "04 30,000 unknown keys": (
        network("relu: {" + ", ".join(f"k{number}: 1" for number in range(30_000)) + "}"), 5, "unknown key 'k0'",
    ),
    "05 missing key": ("cnngen: 1\nweights: random\nlayers: [relu]\n", 1, "add for example `input:"),
    "06 duplicate key": (network(CONV) + "name: a\nname: b\n", 7, "remove one"),
    "07 octal": (network("dense: {units: 010}"), 5, "drop the zero"),
    "07 octal of 900 kB": (network(f"dense: {{units: 0{'9' * 900_000}}}"), 5, "drop the zero"),
    "11 kernel too large": (network("conv2d: {name: c, filters: 4, kernel: 11}"), 5, "padding"),
    "15 unknown of 5,000 names": (network(*SAME_BUT_ONE, f"relu: {{inputs: [{'x' * 60}q1]}}"), 4_905, "did you mean"),
    "16 shapes": (network(CONV, "add: {inputs: [c, input]}"), 6, "match stride and filters"),
    "17 layer of 900 kB": (network("r" * 900_000), 5, "layers are"),
    "17 activation of 900 kB": (network(f"conv2d: {{filters: 4, kernel: 3, activation: {LONG}}}"), 5, "functions are"),
    "18 epsilon of 900 kB": (network(f"batch_norm: {{epsilon: 1e{'9' * 900_000}}}"), 5, "must be a finite number"),
    "19 UTF-16": (network(CONV).encode("utf-16"), 1, "save the file as UTF-8"),
    "20 tag": ("a: !!python/object/apply:os.system ['touch pwned']\n", 1, "write the plain value"),
    "20 tag of 900 kB": (f"a: !!{LONG} 1\n", 1, "write the plain value"),
    "21 alias bomb": (
        "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 99)]),
        6, "use blocks",
    ),
    "21 alias of 900 kB": (f"a: *{LONG}\n", 1, "define the anchor above"),
    "22 brackets": ("a: " + "[" * 900_000, 1, "nested deeper than 50"),
    "22 brackets in an expression": (f"{USE}{'(' * 50_000}$n{')' * 50_000}\n", 12, "at most 200"),
    "23 100 MB": (b"a" * 100_000_000, None, "put them into a weights file"),
    "25 control characters": ('"\\e[31mred\\n": 1\n', 1, "\\x1b[31mred"),
    "27 name of 900 kB": (network(f"relu: {{name: {LONG}}}"), 5, "at most 200"),
    "28 weights elsewhere": (network(CONV).replace("random", "{file: ../w.npz, format: keras}"), 3, "lies outside"),
    "29 8 GB of weights": (
        "cnngen: 1\ninput: {shape: [1000]}\nweights: random\nlayers: [{dense: {units: 2000000}}]\n", None,
        "use a smaller network",
    ),
    "29 2^31 positions": (
        ONE_PIXEL + "layers: [{max_pool: {kernel: 2147483647, stride: 2147483647, padding: 2147483646}}]\n", 4,
        "use less padding",
    ),
    "29 a halo of 10^16": (
        ONE_PIXEL + "layers: [{conv2d: {filters: 1, kernel: 1, stride: 99999, padding: 99999999}}]\n", 4,
        "use less padding",
    ),
    "30 100,000 layers": (network(*["relu"] * 100_000), 10_005, "use fewer layers"),
    "30 nested repetition": (
        network("b9") + "blocks:\n  b0: {layers: [relu]}\n"
        + "".join(f"  b{n}: {{layers: [b{n - 1}: {{repeat: 10000}}]}}\n" for n in range(1, 10)), 7, "use fewer layers",
    ),
    "30 layers that are left out": (
        network(*["b"] * 40) + "blocks:\n  b:\n    layers:\n" + "      - relu: {when: false}\n" * 9_000,
        48, "smaller blocks",
    ),
    "30 50,000 inputs of a layer": (
        network(f"concat: {{inputs: [{', '.join(['input'] * 50_000)}]}}"), 5, "join some of them before",
    ),
    "30 20,000 inputs": (
        "cnngen: 1\nweights: random\nlayers: [relu]\ninput:\n"
        + "".join(f"  i{number}: {{shape: [1]}}\n" for number in range(20_000)), 4, "more than 100",
    ),
    "31 flags": (network(CONV) + "cflags: [-fplugin=x.so]\n", 6, "known keys are"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_a_bad_spec_is_refused_within_the_limits(cnngen: CommandLine, tmp_path: Path, name: str) -> None:
    text, line, words = SPECS[name]
    (tmp_path / "net.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    ended = cnngen("compile", "net.yaml", cwd=tmp_path)
    place = f"net\\.yaml:{line}: " if line else "out of memory: " if "GB of weights" in name else "net\\.yaml: "
    refused(ended, place, words, "" if words.startswith(("must be", "\\x")) else ";")
    assert {path.name for path in tmp_path.iterdir()} == {"net.yaml"}


# Weight files: what makes them, and words of the message


def tensors(header: str, size: int = 16) -> Callable[[Path], None]:
    """A safetensors file with this header and `size` bytes of data."""
    data = header.encode()

    def make(path: Path) -> None:
        path.with_suffix(".safetensors").write_bytes(struct.pack("<Q", len(data)) + data + bytes(size))

    return make


def array(shape: str = "(4,)", padding: int = 0) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * padding
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + bytes(16)


def members(count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path.with_suffix(".npz"), "w") as archive:
            for number in range(count):
                archive.writestr(f"{number}.npy", array())

    return make


def long_header(path: Path) -> None:
    """The header of one array is 128 MB of spaces, the file a thousandth of that."""
    with (
        zipfile.ZipFile(path.with_suffix(".npz"), "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("c.weight.npy", "w", force_zip64=True) as member,
    ):
        member.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**27))
        for _ in range(8):
            member.write(b" " * 2**24)


def long_directory(path: Path) -> None:
    """The end of the archive says that its table of contents is 4 GB long."""
    members(1)(path)
    file = path.with_suffix(".npz")
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x05\x06") + 12
    data[at : at + 4] = struct.pack("<I", 2**32 - 2)
    file.write_bytes(data)


def names(count: int) -> str:
    return json.dumps({f"c_{n}.weigth": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(count)})


WEIGHTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "33 other names": (tensors(names(900), 0), "and 882 more"),
    "33 60,000 tensors": (tensors(names(60_000)), "give the weights of this network"),
    "33 20,000 arrays": (members(20_000), "give the weights of this network"),
    "37 no bytes": (lambda path: path.with_suffix(".npz").touch(), "no zip archive"),
    "38 a shape of huge numbers": (
        tensors(f'{{"a": {{"dtype": "F32", "shape": [{", ".join(["9" * 4000] * 30)}], "data_offsets": [0, 16]}}}}'),
        "is no shape",
    ),
    "38 a shape of 10^6 numbers": (
        tensors(f'{{"a": {{"dtype": "F32", "shape": [{", ".join(["9"] * 10**6)}], "data_offsets": [0, 16]}}}}'),
        "is no shape",
    ),
    "38 huge offsets": (
        tensors(f'{{"a": {{"dtype": "F32", "shape": [4], "data_offsets": [0, {"9" * 4000}]}}}}'), "offsets",
    ),
    "39 a header of 128 MB": (long_header, "expected 134217728 bytes got 11988"),
    "40 a table of contents of 4 GB": (long_directory, "no zip archive"),
    "40 control characters in a name": (tensors('{"\\u001b[31mred\\n": 1}'), "\\x1b[31mred\\n: the header entry"),
    "42 the same name at the end of many": (
        tensors("{" + ", ".join(f'"{n}": 1' for n in range(300_000)) + ', "x": 1, "x": 1}'),
        "names the tensor 'x' twice",
    ),
    "42 a million objects": (tensors(f'{{"a": [{", ".join(["{}"] * 10**6)}]}}'), "the header entry"),
    "42 nested": (tensors('{"a":' * 10**6), "no JSON"),
    "43 pickle": (lambda path: path.with_suffix(".pt").touch(), "save_file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights_are_refused_within_the_limits(cnngen: CommandLine, tmp_path: Path, name: str) -> None:
    make, words = WEIGHTS[name]
    make(tmp_path / "w")
    (file,) = [path.name for path in tmp_path.iterdir()]
    (tmp_path / "net.yaml").write_text(network(CONV).replace("random", f"{{file: {file}, format: keras}}"))
    refused(cnngen("compile", "net.yaml", cwd=tmp_path), f".*/{re.escape(file)}: ", words)
    assert {path.name for path in tmp_path.iterdir()} == {"net.yaml", file}


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_case_47_no_regular_file_at_the_command_line(cnngen: CommandLine, tmp_path: Path, kind: str) -> None:
    for path in (tmp_path / "odd.yaml", tmp_path / "w.npz"):
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to("/dev/zero")
    (tmp_path / "net.yaml").write_text(network(CONV).replace("random", "{format: keras}"))
    refused(cnngen("compile", "odd.yaml", cwd=tmp_path), r"odd\.yaml: is a ", "give the path of a regular file")
    refused(cnngen("compile", "net.yaml", "--weights", "w.npz", cwd=tmp_path), r"w\.npz: ", "is a ", "regular file")
    assert not (tmp_path / "build").exists()


# The toolchain and the cache


def test_case_61_and_62_exit_codes_of_the_toolchain(cnngen: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(network(CONV))
    fails = script(tmp_path / "cc", 'case "$*" in *-v) exec gcc -v;; *) echo "cc: no way" >&2; exit 1;; esac')
    for compiler, place, words in (
        ("no-such-compiler", "CC='no-such-compiler': there is no program", "or unset it"),
        ("false", "CC='false': ", "exit code 1"),
        (str(fails), "the compiler failed: exit code 1: ", "| cc: no way"),
    ):
        ended = cnngen("compile", "net.yaml", "-o", "out", cwd=tmp_path, env={"CC": compiler, "CNNGEN_CC": ""})
        refused(ended, place, words, code=3)
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".so", ".o")]


def test_case_77_exit_code_of_an_unsafe_cache(cnngen: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(network(CONV))
    (tmp_path / "cnngen").mkdir()
    (tmp_path / "cnngen").chmod(0o777)
    ended = cnngen("compile", "net.yaml", "-o", "out", cwd=tmp_path, env={"XDG_CACHE_HOME": str(tmp_path)})
    refused(ended, "the cache folder ", "can be written by others", "chmod 700")
    assert not list(tmp_path.rglob("*.so"))


def test_case_85_out_of_memory_is_a_message(cnngen: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(
        "cnngen: 1\ninput: {shape: [1000]}\nweights: random\nlayers: [{dense: {units: 200000}}]\n"
    )
    refused(cnngen("compile", "net.yaml", cwd=tmp_path, memory=7 * 10**8), "out of memory: ", "use a smaller network")


def test_the_measured_command_line_is_the_real_one(cnngen: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(network("conv2d: {filter: 4, kernel: 3}"))
    process = [sys.executable, "-m", "cnngen", "compile", "net.yaml"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    real = subprocess.run(process, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    ended = cnngen("compile", "net.yaml", cwd=tmp_path)
    assert (real.returncode, real.stdout, real.stderr) == (ended.code, ended.stdout, ended.stderr)
    assert ended.code == 2


def test_the_limits_are_enforced(cnngen: CommandLine, tmp_path: Path) -> None:
    """A run that takes too much is seen: the tests above can fail."""
    (tmp_path / "net.yaml").write_text(network(CONV))
    hungry = cnngen("compile", "net.yaml", "-o", "out", cwd=tmp_path, memory=10**8)
    assert hungry.code != 0
    good = cnngen("compile", "net.yaml", "-o", "out", cwd=tmp_path)
    assert good.code == 0
    assert 0.05 < good.cpu < 60
    assert good.memory > 10**7
