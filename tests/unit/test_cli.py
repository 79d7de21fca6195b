"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import cnngen
from cnngen import doctor as doctor_module
from cnngen._version import __version__
from cnngen.backends.cpu.target import host_isas
from cnngen.cli import app, common
from cnngen.cli.bench import measure
from cnngen.cli.common import quantity
from cnngen.errors import DeviceError, RunError, ToolchainError
from cnngen.pictures import load_picture

SPEC = """\
cnngen: 1
name: small
input: {shape: [8, 8, 1], layout: hwc}
weights: random
seed: 3
layers:
  - conv2d: {name: c1, filters: 4, kernel: 3, activation: relu}
  - max_pool: {kernel: 2}
  - flatten
  - dense: {name: scores, units: 3}
  - softmax
"""
COMMANDS = ("compile", "inspect", "run", "verify", "bench", "doctor")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small spec in an empty folder, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(SPEC)
    return file


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line(text: str) -> str:
    """The text of `text`, which must be a single line."""
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    return text[:-1]


# --- help, usage, start-up -------------------------------------------------------------------


def test_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"cnngen {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_its_options(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--debug" in result.stdout
    if command != "doctor":
        assert f"cnngen {command} " in result.stdout, "help without an example"


def test_help_lists_commands_and_exit_codes() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert all(command in result.stdout for command in COMMANDS)
    assert "3 toolchain" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile"],
        ["complie", "x.yaml"],
        ["compile", "small.yaml", "--bach", "2"],
        ["compile", "small.yaml", "--batch", "0"],
        ["bench", "small.yaml", "--rounds", "many"],
        ["run", "small.yaml"],
        ["inspect", "small.yaml", "--plan", "--json", "--target", "cuda-emulated"],
        ["inspect", "small.yaml", "--tensors", "--json"],
        ["inspect", "small.yaml", "--html", "small.html", "--json"],
        ["inspect", "small.yaml", "--html", "small.html", "--plan"],
    ],
)
def test_bad_usage_is_exit_2_and_says_how(spec: Path, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


def test_start_up_needs_neither_numpy_nor_the_compiler() -> None:
    code = (
        "import sys, cnngen.cli\n"
        "heavy = {'numpy', 'jinja2', 'pydantic', 'cffi', 'cnngen.pipeline'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_help_needs_neither_numpy_nor_the_compiler() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "cnngen", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"typer", "cnngen.cli"} <= imported, "or this test sees nothing"
    assert not {"numpy", "jinja2", "pydantic", "cffi", "cnngen.pipeline"} & imported


# --- errors ----------------------------------------------------------------------------------


def test_error_in_a_spec_is_one_line_with_file_line_layer_and_remedy(spec: Path) -> None:
    spec.write_text(SPEC.replace("kernel: 3,", "kernel: 30,"))
    result = invoke("compile", "small.yaml")
    assert result.exit_code == 2
    message = one_line(result.stderr)
    assert message.startswith("small.yaml:7: c1: kernel 30")
    assert "; use " in message
    assert not (spec.parent / "build").exists()


def test_missing_spec_names_the_shipped_ones(spec: Path) -> None:
    result = invoke("verify", "lenett")
    assert result.exit_code == 2
    message = one_line(result.stderr)
    assert message.startswith("lenett: no such file")
    assert "lenet" in message.partition("shipped specs:")[2]


def test_debug_shows_the_traceback_before_or_after_the_command(spec: Path) -> None:
    for arguments in (["--debug", "inspect", "nowhere.yaml"], ["inspect", "nowhere.yaml", "--debug"]):
        done = subprocess.run([sys.executable, "-m", "cnngen", *arguments], capture_output=True, text=True)
        assert "Traceback" in done.stderr
        assert "SpecError" in done.stderr
    done = subprocess.run([sys.executable, "-m", "cnngen", *arguments[:2]], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ToolchainError("the compiler failed", remedy="see the log"), 3, "the compiler failed; see the log"),
        (DeviceError("no GPU"), 4, "no GPU"),
        (FileNotFoundError(2, "No such file or directory", "gone.npy"), 2, "gone.npy: No such file or directory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "out of memory; use a smaller network or batch"),
        (ZeroDivisionError("division by zero"), 70, "internal error: ZeroDivisionError: division by zero"),
        (RuntimeError("odd"), 70, "internal error: RuntimeError: odd"),
    ],
)
def test_exit_codes(spec: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("cnngen.pipeline.load_graph", broken)
    result = invoke("compile", "small.yaml")
    assert result.exit_code == code
    assert one_line(result.stderr).startswith(message)
    assert result.stdout == ""


def test_no_compiler_is_exit_3(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNGEN_CC", str(spec.parent / "no-such-compiler"))
    result = invoke("compile", "small.yaml")
    assert result.exit_code == 3
    assert "no-such-compiler" in one_line(result.stderr)


@pytest.mark.parametrize("option", [["--isa", "mmx"], ["--target", "toaster"], ["--numerics", "sloppy"]])
def test_unknown_targets_are_exit_2(spec: Path, option: list[str]) -> None:
    result = invoke("compile", "small.yaml", *option)
    assert result.exit_code == 2
    assert option[1] in one_line(result.stderr)


# --- compile ---------------------------------------------------------------------------------


def test_compile_writes_every_stage_and_says_what_it_did(spec: Path) -> None:
    result = invoke("compile", "small.yaml", "--threads", 1)
    assert (result.exit_code, result.stderr) == (0, "")
    folder = spec.parent / "build" / "small"
    written = {path.name for path in folder.iterdir()}
    assert {"graph.txt", "plan.txt", "small.c", "small.h", "small.so", "command.txt", "build.log"} <= written
    assert f"small: {host_isas()[-1]}, 1 thread, fp32, batch 1" in result.stdout
    assert "151 parameters, 1.4 kMAC per image" in result.stdout
    assert "compile" in next(line for line in result.stdout.splitlines() if line.startswith("  time"))
    assert "written  build/small/:" in result.stdout


def test_emit_only_writes_sources_for_an_isa_that_this_machine_may_lack(spec: Path) -> None:
    result = invoke("compile", "small.yaml", "-o", "out", "--emit-only", "--isa", "avx512-emulated", "--batch", 2)
    assert result.exit_code == 0
    written = {path.name for path in (spec.parent / "out").iterdir()}
    assert "small.c" in written
    assert not [name for name in written if name.endswith((".so", ".o"))]
    assert "avx512-emulated" in (spec.parent / "out" / "plan.txt").read_text()


def test_compile_takes_the_name_of_a_shipped_spec(spec: Path) -> None:
    result = invoke("compile", "lenet", "--emit-only")
    assert result.exit_code == 0
    assert "61,706 parameters" in result.stdout
    assert (spec.parent / "build" / "lenet" / "lenet.c").exists()


# --- inspect ---------------------------------------------------------------------------------


def test_inspect_prints_layers_and_the_same_as_data(spec: Path) -> None:
    table = invoke("inspect", "small.yaml")
    assert table.exit_code == 0
    for text in ("c1", "scores", "softmax"):
        assert text in table.stdout
    data = json.loads(invoke("inspect", "small.yaml", "--json", "--isa", "scalar").stdout)
    assert data["layers"][0]["name"] == "c1"
    assert data["layers"][0]["kernels"][0].endswith("__scalar")
    assert data["layers"][0]["intensity"] > 0


def test_inspect_html_writes_a_page(spec: Path) -> None:
    result = invoke("inspect", "small.yaml", "--html", "small.html", "--isa", "scalar")
    assert (result.exit_code, result.stdout) == (0, "wrote small.html: open it in a browser\n")
    page = Path("small.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert "conv2d_3x3s1_c1_o4" in page


def test_inspect_html_says_where_it_cannot_write(spec: Path) -> None:
    result = invoke("inspect", "small.yaml", "--html", "nowhere/small.html")
    assert (result.exit_code, result.stderr) == (2, "nowhere/small.html: No such file or directory\n")


def test_inspect_tensors_lists_what_a_weights_file_holds(spec: Path) -> None:
    result = invoke("inspect", "small.yaml", "--tensors")
    assert result.exit_code == 0
    assert result.stdout.startswith("tensor")
    assert "c1.weight" in result.stdout


def test_inspect_plan_shows_algorithms_and_tiles(spec: Path) -> None:
    result = invoke("inspect", "small.yaml", "--plan", "--isa", "scalar")
    assert result.exit_code == 0
    assert "plan small: scalar" in result.stdout
    (row,) = (line.split() for line in result.stdout.splitlines() if line.startswith("c1 "))
    assert row[1] == "direct"
    assert re.fullmatch(r"\d+x\d+", row[2])
    wide = CliRunner().invoke(app, ["inspect", "small.yaml", "--plan", "--isa", "scalar"], env={"COLUMNS": "200"})
    assert "conv2d_3x3s1_c1_o4" in wide.stdout
    data = json.loads(invoke("inspect", "small.yaml", "--plan", "--isa", "avx2", "--json").stdout)
    assert data["isa"] == "avx2"
    assert data["machine"]["peak"] > 0
    layers = {layer["layer"]: layer for layer in data["layers"]}
    assert layers["c1"]["algorithm"] in ("direct", "planar")
    assert layers["c1"]["predicted_us"] > 0
    assert layers["c1"]["limit"] in ("FMA", "L2", "L3", "memory")
    assert sum(layer["predicted_us"] for layer in data["layers"]) == pytest.approx(data["predicted_us"], abs=0.1)


def test_inspect_plan_says_what_else_there_was(tmp_path: Path) -> None:
    spec = tmp_path / "wide.yaml"
    spec.write_text(
        "cnngen: 1\nname: wide\ninput: {shape: [28, 28, 64], layout: hwc}\nweights: random\n"
        "layers:\n  - conv2d: {name: c, filters: 64, kernel: 3, padding: same}\n"
    )
    fast, plain = (
        json.loads(invoke("inspect", str(spec), "--plan", "--isa", "avx2", "--json", *more).stdout)["layers"][-1]
        for more in ([], ["--numerics", "reproducible"])
    )
    assert fast["algorithm"] == "Winograd F(4x4, 3x3)"
    others = {other["algorithm"] for other in fast["alternatives"]}
    assert others == {
        *(f"Winograd F({tile}, 3x3)" for tile in ("2x2", "4x2", "2x4")),
        "Winograd F(4, 3) rows",
        "direct",
    }
    assert "saved" in fast["why"]
    assert plain["algorithm"] == "direct"
    assert "reproducible" in plain["why"]


# --- run -------------------------------------------------------------------------------------


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 8, 8, 1), np.float32)


def test_run_on_an_array_writes_what_the_network_computes(spec: Path) -> None:
    np.save("x.npy", images(3))
    result = invoke("run", "small.yaml", "x.npy", "-o", "y.npy")
    assert (result.exit_code, result.stderr) == (0, "")
    with cnngen.compile("small.yaml") as net:
        expected = net(images(3))
    assert np.array_equal(np.load("y.npy"), expected)
    best = expected.argmax(axis=1)
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:1] in (["0"], ["1"], ["2"])]
    assert [int(row[1]) for row in rows] == best.tolist()


def test_run_takes_npz_by_name_and_labels(spec: Path) -> None:
    np.savez("x.npz", anything=images(1))
    Path("labels.txt").write_text("circle\nsquare\nstar\n")
    result = invoke("run", "small.yaml", "x.npz", "--labels", "labels.txt", "-o", "y.npz")
    assert result.exit_code == 0
    with cnngen.compile("small.yaml") as net:
        best = int(net(images(1)).argmax())
        (output,) = net.output_names
    assert result.stdout.splitlines()[2].split()[1] == ["circle", "square", "star"][best]
    assert np.load("y.npz")[output].shape == (1, 3)


def test_run_on_a_picture(spec: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
    image.fromarray(pixels).save("x.png")
    result = invoke("run", "small.yaml", "x.png", "-o", "y.npy", "--mean", "0.5", "--std", "0.25")
    assert result.exit_code == 0
    with cnngen.compile("small.yaml") as net:
        expected = net(((pixels / 255.0 - 0.5) / 0.25).astype(np.float32)[None, :, :, None])
    assert np.allclose(np.load("y.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", np.zeros((1, 8, 8, 1)), "not float32"),
        ("x.npy", np.zeros((1, 9, 8, 1), np.float32), "(1, 9, 8, 1)"),
        ("x.npy", np.array([None]), "cannot be read as an array"),
        ("x.npy", b"garbage", "cannot be read as an array"),
        ("x.npz", b"PK garbage", "cannot be read as an array"),
        ("x.csv", b"1,2", "unknown kind of input"),
        ("x.png", b"garbage", "picture"),
    ],
)
def test_run_refuses_input_that_does_not_fit(spec: Path, name: str, content: object, message: str) -> None:
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    else:
        np.save(name, content, allow_pickle=True)
    result = invoke("run", "small.yaml", name, "-o", "y.npy")
    assert result.exit_code == 2
    assert message in one_line(result.stderr)
    assert not Path("y.npy").exists()


def test_run_names_the_missing_file_and_the_wrong_output(spec: Path) -> None:
    assert "nothing.npy: no such file" in one_line(invoke("run", "small.yaml", "nothing.npy").stderr)
    np.save("x.npy", images(1))
    assert "y.csv: outputs are written as" in one_line(invoke("run", "small.yaml", "x.npy", "-o", "y.csv").stderr)


def test_pictures_are_resized_made_grey_and_scaled(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    file = tmp_path / "red.png"
    image.fromarray(red).save(file)
    assert load_picture(file, 4, 6, 3).shape == (4, 6, 3)
    assert np.allclose(load_picture(file, 4, 6, 3), [1, 0, 0])
    assert np.allclose(load_picture(file, 4, 6, 1), 0.299, atol=2 / 255)
    assert np.allclose(load_picture(file, 4, 6, 1, invert=True), 0.701, atol=2 / 255)
    with pytest.raises(RunError, match="1 or 3 channels"):
        load_picture(file, 4, 6, 2)
    with pytest.raises(RunError, match="std contains 0"):
        load_picture(file, 4, 6, 1, std=(0.0,))


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    file = tmp_path / "clear.png"
    image.fromarray(pixels).save(file)
    assert load_picture(file, 2, 2, 1)[..., 0].tolist() == [[0, 0], [1, 1]]


# --- verify, bench, doctor -------------------------------------------------------------------


def test_verify_passes_and_prints_one_line_a_layer(spec: Path) -> None:
    result = invoke("verify", "small.yaml", "--isa", "scalar", "--threads", 2, "--seed", 9)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "small: verify, scalar, 2 threads, batch 1, seed 9" in result.stdout
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("ok ")][:1] == ["c1"]
    assert "passed: " in result.stdout


def test_verify_json(spec: Path) -> None:
    result = invoke("verify", "small.yaml", "--json", "--batch", 2)
    data = json.loads(result.stdout)
    assert (data["ok"], data["batch"]) == (True, 2)
    assert {layer["name"] for layer in data["layers"]} >= {"c1", "scores"}


def test_verify_fails_with_exit_1_and_names_the_layer(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command on a network whose convolution returns its first element one too large."""
    run_layer = cnngen.Network.run_layer

    def broken(self: cnngen.Network, name: str, inputs: object, weights: object = None) -> np.ndarray:
        y = run_layer(self, name, inputs, weights)  # type: ignore[arg-type]
        if name == "c1":
            y[0, 0, 0, 0] += 1
        return y

    monkeypatch.setattr(cnngen.Network, "run_layer", broken)
    result = invoke("verify", "small.yaml")
    assert result.exit_code == 1
    assert "FAIL small.yaml:7: c1 on integers: 1 of 144 elements wrong" in result.stdout
    assert "FAILED: c1" in result.stdout


def test_bench_says_of_each_layer_what_it_reaches(spec: Path, tmp_path: Path) -> None:
    picture = tmp_path / "small.png"
    data = json.loads(invoke("bench", "small.yaml", "--rounds", 2, "--plot", picture, "--json").stdout)
    (conv,) = (layer for layer in data["layers"] if layer["name"] == "c1")
    assert conv["algorithm"] in ("direct", "planar")
    assert 0 < conv["of_roofline"] < 2
    assert not conv["effective"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = invoke("bench", "small.yaml", "--rounds", 1, "--plot", tmp_path / "small.xyz")
    assert result.exit_code == 2
    assert "end its name with .png" in result.stderr


def test_bench_against_another_runtime(spec: Path) -> None:
    result = invoke("bench", "small.yaml", "--rounds", 2, "--against", "onnxruntime", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    own, other = data["lanes"]
    assert (own["system"], other["system"]) == ("cnngen", "onnxruntime")
    assert own["slices"] == other["slices"] == 2
    assert 0 < other["difference"] < 1e-5
    assert data["ratio"] == pytest.approx(other["median_ms"] / own["median_ms"])


def test_bench_against_what_is_not_there(spec: Path) -> None:
    result = invoke("bench", "small.yaml", "--against", "tensorflow")
    assert result.exit_code == 2
    assert "there are onnxruntime, openvino, ncnn, torch" in result.stderr
    assert invoke("bench", "small.yaml", "--against", "onnxruntime", "--batch", 2).exit_code == 2


def test_bench_prints_times_and_layers(spec: Path) -> None:
    mask = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        result = invoke("bench", "small.yaml", "--rounds", 3)
        data = json.loads(invoke("bench", "small.yaml", "--rounds", 3, "--json", "--batch", 2).stdout)
    finally:
        if mask is not None:
            os.sched_setaffinity(0, mask)
    assert result.exit_code == 0
    assert "GFLOP/s at the median (1.4 kMAC per image)" in result.stdout
    assert "c1" in result.stdout
    assert 0 < data["min_ms"] <= data["median_ms"] <= data["p90_ms"]
    assert data["macs"] == 6 * 6 * 9 * 4 + 36 * 3
    assert data["gflops"] == pytest.approx(2 * data["macs"] / data["median_ms"] * 1e-6)
    assert sum(layer["share"] for layer in data["layers"]) == pytest.approx(1)


def test_measure_gives_seconds_per_call() -> None:
    seconds = measure(lambda: time.sleep(0.02), 2)
    assert len(seconds) == 2
    assert all(0.019 < value < 0.2 for value in seconds)


def test_doctor_reports_this_machine() -> None:
    result = invoke("doctor", "--json")
    assert result.exit_code == 0
    checks = {(check["name"], check["status"]): check for check in json.loads(result.stdout)}
    assert ("compiler", "ok") in checks
    assert ("build", "ok") in checks
    assert host_isas()[-1] in checks["isa", "ok"]["detail"]
    for check in checks.values():
        assert check["status"] == "ok" or check["remedy"], "something missing comes with its remedy"
    table = invoke("doctor")
    assert table.exit_code == 0
    assert "compiles, links and loads a program" in table.stdout


def test_doctor_without_a_compiler_is_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNGEN_CC", "/nowhere/cc")
    result = invoke("doctor")
    assert result.exit_code == 3
    assert "missing" in result.stdout
    assert "CNNGEN_CC" in result.stdout


def test_doctor_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "EXTRAS", {"image": ("no_such_module", "pictures")})
    check = doctor_module.examine()[-1]
    assert (check.status, check.remedy) == ("optional", "pip install 'cnngen[image]'")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1550, "1.55 kB"), (4.1e9, "4.1 GB"), (2e12, "2 TB")]
)
def test_quantity(number: float, text: str) -> None:
    assert quantity(number, "B") == text


def test_a_progress_bar_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        text = io.StringIO()
        screen = Console(file=text, force_terminal=terminal, width=120)
        monkeypatch.setattr(common, "console", lambda *, stderr=False, screen=screen: screen)
        with common.working("Compiling net.yaml") as say:
            say("reading")
            with say.bar("Tuning") as bar:
                bar("conv[1]", 1, 4)
            say("planning")
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
        assert ("Tuning" in shown and "1/4" in shown and "conv[1]" in shown) == terminal
        assert bool(shown) == terminal
