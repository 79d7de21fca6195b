"""`target="cuda"` from a spec to results: with a false nvcc, and a driver without a GPU (tests/cuda_stub)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import cnngen
from cnngen import cache, cli, pipeline
from cnngen.backends.cuda import compiler as compilers
from cnngen.backends.cuda import fatbin, launcher
from cnngen.errors import CacheError, DeviceError, TargetError
from cnngen.resources import specs_folder
from tests import cuda_stub
from tests.cuda_compilers import PTX, image, nvcc
from tests.specs import network, write

linux = pytest.mark.skipif(sys.platform != "linux", reason="the driver for tests is written for Linux")
NVCC = shutil.which("nvcc")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where there is a GPU


TEXT = network("conv2d: {filters: 2, kernel: 3}")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Fatbins of the spec for the driver without a GPU, by precision; compiled once, in the cache of all tests."""
    cuda_stub.install()
    spec, made = write(tmp_path_factory.mktemp("images"), TEXT), {}
    for precision in ("fp32", "fp16"):
        graph = cnngen.load_graph(spec)
        plan = pipeline.cuda_plan_for(graph, target="cuda", architectures="sm_90", precision=precision)
        codes = [fatbin.Code("cubin", 90, cuda_stub.image(plan)), fatbin.Code("ptx", 90, PTX)]
        made[precision] = fatbin.write(codes)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return write(tmp_path, TEXT)


@pytest.fixture
def compiler(images: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvcc whose fatbins hold what the driver without a GPU takes in place of a cubin."""
    for precision, data in images.items():
        (tmp_path / f"{precision}.made").write_bytes(data)
    body = (
        f'grep -q __fp16 *.cu && made=fp16 || made=fp32; echo run >> {tmp_path}/runs; cp {tmp_path}/$made.made "$out"'
    )
    path = nvcc(tmp_path / "bin/nvcc", body)
    monkeypatch.setenv("CNNGEN_NVCC", str(path))
    load = launcher.load

    def unpack(code: Path, *arguments: object) -> object:
        return load(fatbin.read(code.read_bytes())[0].data, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(launcher, "load", unpack)
    return path


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text().split())


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


X = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)


@linux
@pytest.mark.usefixtures("gpu")
class TestOnAGpu:
    @pytest.fixture(autouse=True)
    def _visible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_results(self, spec: Path, compiler: Path, precision: str) -> None:
        with cnngen.compile(spec, target="cuda", precision=precision) as net:
            assert (net.isa, net.precision) == (f"cuda {precision}", precision)
            assert [architecture.name for architecture in net.plan.target.architectures] == ["sm_90"]
            report = cnngen.verify(net)
            assert report.ok, report.summary()
            with cnngen.compile(spec, target="cuda-emulated", precision=precision) as emulated:
                assert net(X).tobytes() == emulated(X).tobytes()

    def test_a_warm_start_plans_nothing_and_runs_no_compiler(
        self, spec: Path, compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with cnngen.compile(spec, target="cuda") as net:
            y = net(X)
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "load_graph", lambda *_, **__: pytest.fail("the spec was read"))
            patch.setattr(compilers, "_run", lambda *_: pytest.fail("the compiler was asked"))
            with cnngen.compile(spec, target="cuda:0") as net:
                assert net(X).tobytes() == y.tobytes()
        with cnngen.compile(spec, target="cuda") as net:
            assert net.plan.name == net.name
        assert runs(tmp_path) == 1
        with cnngen.compile(spec, target="cuda", precision="fp16") as net:
            assert net.precision == "fp16"
        assert runs(tmp_path) == 2

    def test_another_compiler_is_another_network(self, spec: Path, compiler: Path, tmp_path: Path) -> None:
        cnngen.compile(spec, target="cuda").close()
        compiler.write_text(compiler.read_text() + "# changed\n")
        cnngen.compile(spec, target="cuda").close()
        assert runs(tmp_path) == 2

    def test_a_spec_that_changes_afterwards(self, spec: Path, compiler: Path) -> None:
        cnngen.compile(spec, target="cuda").close()
        with cnngen.compile(spec, target="cuda") as net:
            spec.write_text(network("conv2d: {filters: 3, kernel: 3}"))
            with pytest.raises(CacheError, match="have changed since it was compiled"):
                _ = net.plan

    def test_a_gpu_that_does_not_exist(self, spec: Path, compiler: Path) -> None:
        with pytest.raises(DeviceError, match=r"there is no GPU 7; use one of cuda:0 .*cuda-emulated"):
            cnngen.compile(spec, target="cuda:7")

    def test_the_command_line(self, spec: Path, compiler: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", X)
        code, out, err = invoke("compile", spec, "--target", "cuda", "-o", tmp_path / "out")
        assert (code, err) == (0, "")
        assert "net: cuda fp32 for sm_90, batch 1" in out
        assert "not run" not in out
        code, out, _ = invoke("run", spec, tmp_path / "x.npy", "--target", "cuda", "--precision", "fp16")
        assert code == 0
        assert "net: cuda fp16" in out
        code, out, _ = invoke("verify", spec, "--target", "cuda")
        assert code == 0
        assert "verify, cuda fp32" in out
        code, out, _ = invoke("bench", spec, "--target", "cuda", "--rounds", 2)
        assert code == 0
        assert "net: cuda fp32, batch 1" in out


class TestWithoutAGpu:
    def test_compile_says_that_nothing_was_run(
        self, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CNNGEN_NVCC", str(nvcc(tmp_path / "bin/nvcc")))
        code, out, err = invoke("compile", spec, "--target", "cuda", "--arch", "sm_80,sm_90", "-o", tmp_path / "out")
        assert (code, err) == (0, "")
        assert "net: cuda fp32 for sm_80, sm_90, batch 1" in out
        assert re.search(r"not run: .*(GPU|driver)", out)
        assert "2 kernels, 1 with spills" in out
        written = {path.name for path in (tmp_path / "out").iterdir()}
        assert written == {
            *("graph.txt", "plan.txt", "net.cu", "device.cuh", "activations.cuh", "net_weights.bin"),
            *("net_launches.json", "net.fatbin", "command.txt", "build.log", "kernels.txt"),
        }
        assert (tmp_path / "out/net.fatbin").read_bytes() == image()

    def test_emit_only_needs_no_compiler(self, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CNNGEN_NVCC", "/nowhere/nvcc")
        arguments = ("compile", spec, "--target", "cuda", "--precision", "fp16", "-o", tmp_path / "out")
        code, out, _ = invoke(*arguments, "--emit-only")
        assert code == 0
        assert "cuda fp16 for sm_75, sm_80, sm_86, sm_89, sm_90" in out
        assert 'extern "C" __global__' in (tmp_path / "out/net.cu").read_text()
        code, _, err = invoke(*arguments)
        assert code == 3
        assert "there is no program /nowhere/nvcc" in err

    @pytest.mark.parametrize("command", ["run", "verify", "bench"])
    def test_what_needs_a_gpu_says_so(self, command: str, spec: Path, tmp_path: Path) -> None:
        """In a process of its own: other tests may have loaded a driver."""
        np.save(tmp_path / "x.npy", X)
        words = [command, spec, *([tmp_path / "x.npy"] if command == "run" else []), "--target", "cuda"]
        done = subprocess.run(
            [sys.executable, "-m", "cnngen", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 4
        assert re.search(r"there is no NVIDIA driver|no GPU was found|no package that calls", done.stderr)
        assert "target='cuda-emulated' checks the CUDA kernels without a GPU" in done.stderr
        assert not cache.entries()

    def test_the_emulation_starts_warm(self, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with cnngen.compile(spec, target="cuda-emulated", precision="tf32") as net:
            y = net(X)
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "load_graph", lambda *_, **__: pytest.fail("the spec was read"))
            with cnngen.compile(spec, target="cuda-emulated", precision="tf32") as net:
                assert net(X).tobytes() == y.tobytes()
                assert net.isa == "cuda-emulated tf32"
        with cnngen.compile(spec, target="cuda-emulated", precision="tf32") as net:
            assert cnngen.verify(net).ok  # which needs the plan
        with cnngen.compile(spec, target="cuda-emulated", precision="fp32") as net:
            assert net.isa == "cuda-emulated fp32"
        with cnngen.compile(spec) as net:
            assert not net.isa.startswith("cuda")

    def test_inspect(self, spec: Path) -> None:
        code, out, _ = invoke("inspect", spec, "--plan", "--target", "cuda", "--precision", "fp16", "--arch", "sm_90")
        assert code == 0
        assert out.startswith("plan net: cuda fp16")
        code, _, err = invoke("inspect", spec, "--html", "x.html", "--target", "cuda")
        assert code == 2
        assert "draws what the CPU gets" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "cuda:"}, "unknown target 'cuda:'"),
        ({"target": "cuda:-1"}, "unknown target 'cuda:-1'; use one of cpu, cuda, cuda-emulated, or cuda:1"),
        ({"target": "cpu:0"}, "unknown target 'cpu:0'"),
        ({"target": "gpu"}, "unknown target 'gpu'"),
        ({"target": "cuda-emulated", "isa": "avx2"}, "isa 'avx2' is for CPUs, and the target is cuda-emulated"),
        ({"target": "cuda-emulated", "threads": 2}, "2 threads are for CPUs"),
        ({"architectures": "sm_80"}, "'sm_80' names GPU architectures; use target='cuda'"),
        ({"target": "cuda-emulated", "architectures": ","}, "no GPU architecture is named"),
        ({"target": "cuda-emulated", "precision": "bf16"}, "unknown precision 'bf16'; use one of fp32, tf32, fp16"),
    ],
)
def test_options_that_do_not_go_together(spec: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(TargetError, match=re.escape(said)):
        cnngen.compile(spec, **options)  # type: ignore[arg-type]


@pytest.mark.skipif(NVCC is None, reason="there is no nvcc on the PATH")
def test_lenet_with_the_real_nvcc(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--target", "cuda", "--precision", "fp16", "--arch", "sm_90", "-o", out)
    code, said, err = invoke("compile", specs_folder() / "lenet.yaml", *arguments)
    assert (code, err) == (0, "")
    assert "10 kernels, none with spills" in said
    assert {code.name for code in fatbin.read((out / "lenet.fatbin").read_bytes())} == {"sm_90", "compute_90"}
