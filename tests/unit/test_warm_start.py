"""A network from the cache: what it imports, that it is the same network, and when it is not used."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen import cache, manifest, pipeline
from cnngen.cli import app
from cnngen.errors import CacheError, SpecError, WeightsError, WeightsWarning
from cnngen.frontends import load
from cnngen.ir import Array
from cnngen.manifest import Request
from cnngen.network import Network
from cnngen.own_code import own_code
from cnngen.report.stages import graph_text, plan_text
from tests.graphs import chain
from tests.source_trees import script
from tests.specs import write

SPEC = """\
cnngen: 1
name: tiny
input: {shape: [4, 4, 2]}
weights: {file: weights.npz, format: keras}
layers:
  - conv2d: {name: c, filters: 3, kernel: 3, activation: relu}
  - flatten
  - dense: {name: d, units: 5}
"""
WARM_MODULES = {
    "cnngen", "cnngen._version", "cnngen.backends", "cnngen.backends.cpu", "cnngen.backends.cpu.choices",
    "cnngen.backends.cpu.compiler", "cnngen.backends.cpu.huge_pages", "cnngen.backends.cpu.loader",
    "cnngen.backends.cpu.machine", "cnngen.backends.cpu.target", "cnngen.calls",
    "cnngen.digest", "cnngen.errors", "cnngen.feed", "cnngen.forks",
    "cnngen.frontends", "cnngen.frontends.files", "cnngen.frontends.record", "cnngen.interface", "cnngen.ir",
    "cnngen.manifest", "cnngen.network", "cnngen.own_code", "cnngen.pipeline", "cnngen.repeated", "cnngen.resources",
    "cnngen.store", "cnngen.tensors", "cnngen.tuning", "cnngen.weight_storage", "cnngen.workspace",
}  # fmt: skip
HEAVY = {"pydantic", "pydantic_core", "jinja2", "yaml", "safetensors", "subprocess", "tempfile", "concurrent",
         "platformdirs", "typer", "rich", "random", "secrets", "zipfile"}  # fmt: skip


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name in ("CNNGEN_CACHE_SIZE", "CNNGEN_CC", "CC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "xdg/cnngen"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    save_weights(tmp_path / "net", seed=0)
    return write(tmp_path / "net", SPEC)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every source that the pipeline read: a warm start adds none."""
    sources: list[object] = []
    load_graph = pipeline.load_graph

    def spy(source: pipeline.Source, **options: object) -> cnngen.Graph:
        sources.append(source)
        return load_graph(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "load_graph", spy)
    return sources


def save_weights(folder: Path, seed: int) -> Path:
    """Weights for SPEC; files of different seeds have the same size."""
    rng = np.random.default_rng(seed)
    shapes = {"c.weight": (3, 3, 2, 3), "c.bias": (3,), "d.weight": (12, 5), "d.bias": (5,)}
    np.savez(folder / "weights.npz", **{name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()})
    return folder / "weights.npz"


def image() -> Array:
    return np.random.default_rng(9).standard_normal((1, 4, 4, 2), np.float32)


def compiled(spec: Path, **options: object) -> Network:
    """Compiled without any warning, for the ISA that compiles quickest."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cnngen.compile(spec, **{"isa": "scalar", **options})  # type: ignore[arg-type]


def expected(spec: Path, **options: object) -> Array:
    """What the network in `spec` gives now, by a way that knows no cache."""
    return np.asarray(cnngen.reference(load(spec, **options), image()))  # type: ignore[arg-type]


def close(net: Network, y: Array) -> bool:
    return np.allclose(net(image()), y, rtol=1e-4, atol=1e-5)


class TestWarm:
    def test_the_second_start_reads_nothing_and_gives_the_same(self, spec: Path, read: list[object]) -> None:
        cold = compiled(spec)
        assert read == [spec]
        warm = compiled(spec)
        assert read == [spec]
        assert np.array_equal(cold(image()), warm(image()))
        assert close(warm, expected(spec))
        for name in ("name", "isa", "threads", "batch", "arena_bytes", "channels_first", "input_names",
                     "output_names", "input_shapes", "output_shapes"):  # fmt: skip
            assert getattr(warm, name) == getattr(cold, name), name
        assert repr(warm) == repr(cold)

    def test_several_inputs_and_outputs_channels_first(self, tmp_path: Path, read: list[object]) -> None:
        text = """\
            cnngen: 1
            input:
              left: {shape: [2, 4, 6], layout: chw}
              right: {shape: [2, 4, 6], layout: chw}
            weights: random
            layers:
              - add: {name: sum, inputs: [left, right]}
              - conv2d: {name: c, filters: 3, kernel: 3}
            outputs: [c, sum]
            """
        path = write(tmp_path, text)
        cold, warm = compiled(path, batch=2), compiled(path, batch=2)
        assert len(read) == 1
        x = [np.random.default_rng(i).standard_normal((3, 2, 4, 6), np.float32) for i in range(2)]
        assert all(np.array_equal(a, b) for a, b in zip(cold(x), warm(left=x[0], right=x[1]), strict=True))
        assert warm.channels_first
        assert warm.input_shapes == ((2, 2, 4, 6), (2, 2, 4, 6))
        assert not compiled(
            write(tmp_path, SPEC.replace("{file: weights.npz, format: keras}", "random"))
        ).channels_first

    def test_stages_are_made_when_they_are_asked_for(self, spec: Path, read: list[object]) -> None:
        cold, warm = compiled(spec), compiled(spec)
        assert graph_text(warm.source_graph) == graph_text(cold.source_graph)
        assert plan_text(warm.plan) == plan_text(cold.plan)
        assert read == [spec, spec], "once for all of them"
        assert cnngen.verify(warm).ok
        assert [layer.name for layer in warm.profile(rounds=2)] == [layer.name for layer in cold.profile(rounds=2)]
        traces = cold.trace(image()), warm.trace(image())
        assert traces[0].keys() == traces[1].keys()
        assert all(np.array_equal(traces[0][name], traces[1][name]) for name in traces[0])
        assert np.array_equal(warm.pack(warm.graph), cold.pack(cold.graph))

    def test_a_large_network_reads_them_again(
        self, spec: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its weights are in the library; a graph holds them a second time."""
        monkeypatch.setattr(pipeline, "KEPT_WEIGHTS", 4)
        cold = compiled(spec)
        y = cold(image())
        assert read == [spec]
        assert cnngen.verify(cold).ok
        assert read == [spec, spec]
        apart = compiled(spec, cache=False)
        assert cnngen.verify(apart).ok
        assert read == [spec] * 3, "without the cache it cannot be asked for again"
        np.testing.assert_array_equal(apart(image()), y)

    def test_stages_of_a_spec_that_has_changed_since(self, spec: Path) -> None:
        compiled(spec)
        warm, gone = compiled(spec), compiled(spec)
        y = warm(image())
        spec.write_text(SPEC.replace("units: 5", "units: 5, bias: true, activation: relu"))
        with pytest.raises(CacheError, match="changed since it was compiled; compile it again"):
            _ = warm.graph
        assert np.array_equal(warm(image()), y), "the code is still that of the old spec"
        spec.unlink()
        with pytest.raises(SpecError, match="does not exist"):
            cnngen.verify(gone)

    def test_stages_after_a_change_of_the_folder(self, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(spec.parent)
        options = {"weights": "weights.npz"}
        compiled(Path(spec.name), **options)
        warm = compiled(Path(spec.name), **options)
        monkeypatch.chdir("/")
        assert len(warm.source_graph.nodes) == 3

    def test_warnings_are_repeated(self, spec: Path, read: list[object]) -> None:
        arrays = dict(np.load(spec.with_name("weights.npz")))
        arrays["d.bias"][2] = np.nan
        np.savez(spec.with_name("weights.npz"), **arrays)
        for _ in range(2):
            with pytest.warns(WeightsWarning, match=r"NaN or infinity in d.bias \(1\)") as caught:
                net = cnngen.compile(spec, isa="scalar")
            assert len(caught) == 1
        assert len(read) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(net.source_graph.node("d").weights["bias"][2]), "not a third time"

    def test_every_warning_of_a_front_end_is_recorded(self) -> None:
        """A `warnings.warn` elsewhere would be silent on a warm start."""
        places = []
        for path in sorted((Path(cnngen.__file__).parent / "frontends").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "warn"):
                    places.append(path.name)
        assert places == ["record.py"]


class TestImports:
    def run(self, code: str) -> set[str]:
        """The modules that a fresh process has after `code`."""
        text = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        return set(json.loads(done.stdout.splitlines()[-1]))

    def test_importing_the_package(self) -> None:
        modules = self.run("import cnngen")
        assert {name for name in modules if name.startswith("cnngen")} == {"cnngen", "cnngen._version"}
        assert "numpy" not in modules

    def test_a_warm_start(self, spec: Path, tmp_path: Path) -> None:
        code = (
            "import cnngen, numpy as np\n"
            f"net = cnngen.compile({str(spec)!r}, isa='scalar')\n"
            f"np.save({str(tmp_path)!r} + '/%s.npy', net(np.ones(net.input_shapes[0], 'f4')))"
        )
        cold, warm = self.run(code % "cold"), self.run(code % "warm")
        assert {"pydantic", "jinja2", "yaml", "subprocess", "cnngen.passes"} <= cold, "or this test sees nothing"
        assert {name for name in warm if name.partition(".")[0] == "cnngen"} == WARM_MODULES
        assert not {name.partition(".")[0] for name in warm} & HEAVY
        assert np.array_equal(np.load(tmp_path / "cold.npy"), np.load(tmp_path / "warm.npy"))


class TestAnotherNetwork:
    """Whatever may give another network is noticed."""

    def test_one_byte_of_the_spec(self, tmp_path: Path, read: list[object]) -> None:
        text = SPEC.replace("{file: weights.npz, format: keras}", "random\nseed: 1")
        spec = write(tmp_path, text)
        first = compiled(spec)(image())
        spec.write_text(text.replace("seed: 1", "seed: 2"))
        second = compiled(spec)
        assert close(second, expected(spec))
        assert not np.allclose(second(image()), first)
        spec.write_text(text)
        assert np.array_equal(compiled(spec)(image()), first)
        assert len(read) == 2

    def test_weights_of_the_same_size_and_time(self, spec: Path, read: list[object]) -> None:
        weights = spec.with_name("weights.npz")
        before = compiled(spec)(image())
        status = weights.stat()
        save_weights(spec.parent, seed=1)
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        after = compiled(spec)
        assert close(after, expected(spec))
        assert not np.allclose(after(image()), before)
        assert np.array_equal(compiled(spec)(image()), after(image()))

    def test_weights_that_are_given(self, spec: Path, tmp_path: Path, read: list[object]) -> None:
        compiled(spec)
        other = save_weights(tmp_path, seed=2)
        for _ in range(2):
            assert close(compiled(spec, weights=other), expected(spec, weights=other))
        assert [source for source in read if source is spec] == read
        save_weights(tmp_path, seed=3)
        assert close(compiled(spec, weights=other), expected(spec, weights=other))

    def test_weights_that_are_gone(self, spec: Path) -> None:
        compiled(spec)
        spec.with_name("weights.npz").unlink()
        with pytest.raises(WeightsError, match="does not exist"):
            compiled(spec)

    def test_weights_that_became_a_link_out_of_the_folder(self, spec: Path, tmp_path: Path) -> None:
        compiled(spec)
        spec.with_name("weights.npz").rename(tmp_path / "elsewhere.npz")
        spec.with_name("weights.npz").symlink_to(tmp_path / "elsewhere.npz")
        with pytest.raises(SpecError, match="link out of the folder"):
            compiled(spec)

    def test_weights_that_became_a_link_to_another_format(self, spec: Path) -> None:
        compiled(spec)
        spec.with_name("weights.npz").rename(spec.with_name("weights.pt"))
        spec.with_name("weights.npz").symlink_to(spec.with_name("weights.pt"))
        with pytest.raises(WeightsError, match="pickles"):
            compiled(spec)

    def test_weights_that_became_a_named_pipe(self, spec: Path) -> None:
        compiled(spec)
        spec.with_name("weights.npz").unlink()
        os.mkfifo(spec.with_name("weights.npz"))
        with pytest.raises(WeightsError, match="named pipe"):
            compiled(spec)

    def test_shipped_weights_until_there_are_own_ones(self, tmp_path: Path, read: list[object]) -> None:
        shipped = cnngen.resources.specs_folder()  # type: ignore[attr-defined]
        spec = write(tmp_path, (shipped / "lenet.yaml").read_bytes(), "lenet.yaml")
        for _ in range(2):
            with pytest.warns(WeightsWarning, match="using the one that cnngen ships"):
                cnngen.compile(spec, isa="scalar", threads=1)
        assert len(read) == 1
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/lenet.safetensors").write_bytes((shipped / "weights/lenet.safetensors").read_bytes())
        compiled(spec, threads=1)
        assert len(read) == 2

    def test_a_spec_that_is_none_any_more(self, spec: Path) -> None:
        compiled(spec)
        text = spec.read_text()
        spec.write_text(text + "#" * 1_000_000)
        with pytest.raises(SpecError, match="larger than"):
            compiled(spec)
        spec.unlink()
        with pytest.raises(SpecError, match="does not exist"):
            compiled(spec)

    @pytest.mark.parametrize(
        "options",
        [{"isa": "avx2-emulated"}, {"threads": 2}, {"batch": 3}, {"name": "other"}, {"numerics": "reproducible"}],
    )
    def test_an_option(self, spec: Path, read: list[object], options: dict[str, object]) -> None:
        first = compiled(spec)
        other = compiled(spec, **options)
        assert read == [spec, spec]
        again = compiled(spec, **options)
        assert read == [spec, spec]
        assert repr(again) == repr(other)
        assert again.batch == other.batch == options.get("batch", 1)
        assert close(again, expected(spec))
        assert repr(compiled(spec)) == repr(first)
        assert plan_text(again.plan) == plan_text(other.plan), "made again with the same options"

    @pytest.mark.parametrize(
        ("module", "name", "value"),
        [
            (manifest, "own_code", lambda: own_code()._replace(digest="another")),
            (manifest, "__version__", "999"),
            (manifest, "available_cores", lambda: 77),
            (np, "__version__", "999"),
            (sys, "version", "999"),
            (manifest, "DEPENDENCIES", ("jinja2",)),
            (manifest, "FORMAT", 999),
        ],
    )
    def test_other_circumstances(
        self, spec: Path, read: list[object], monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: object
    ) -> None:
        compiled(spec)
        monkeypatch.setattr(module, name, value)
        compiled(spec)
        assert len(read) == 2

    def test_other_cores_where_the_threads_are_given(
        self, spec: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiled(spec, threads=1)
        monkeypatch.setattr(manifest, "available_cores", lambda: 77)
        compiled(spec, threads=1)
        assert len(read) == 1


class TestCompiler:
    def test_another_compiler(
        self, spec: Path, tmp_path: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = pipeline.find_compiler().command[0]
        compiled(spec)
        cc = script(tmp_path / "bin/mycc", f'exec {real} "$@"')
        monkeypatch.setenv("CC", str(cc))
        for count in (2, 2):
            compiled(spec)
            assert len(read) == count
        status = cc.stat()
        script(cc, f'exec {real} "$@" ')
        os.utime(cc, ns=(status.st_atime_ns, status.st_mtime_ns))  # but not of the same size
        compiled(spec)
        assert len(read) == 3
        monkeypatch.setenv("CC", f"{cc} -fno-unroll-loops")
        compiled(spec)
        assert len(read) == 4
        monkeypatch.setenv("CPATH", str(tmp_path))
        compiled(spec)
        assert len(read) == 5

    def test_another_gcc_first_on_the_path(
        self, spec: Path, tmp_path: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = pipeline.find_compiler().command[0]
        compiled(spec)
        script(tmp_path / "bin/gcc", f'exec {real} "$@"')
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        compiled(spec)
        assert len(read) == 2
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/nowhere")
        compiled(spec)
        assert len(read) == 3, "a script may start what it finds there"

    def test_another_program_behind_the_same_driver(
        self, spec: Path, tmp_path: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = pipeline.find_compiler().command[0]
        cc1 = script(tmp_path / "cc1", "first")
        ask = f'case "$*" in *-print-prog-name=*) echo {cc1};; *) exec {real} "$@";; esac'
        monkeypatch.setenv("CC", str(script(tmp_path / "bin/gcc", ask)))
        for _ in range(2):
            compiled(spec)
        assert len(read) == 1
        script(cc1, "the second one")
        compiled(spec)
        assert len(read) == 2

    def test_no_compiler_any_more(self, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiled(spec)
        monkeypatch.setenv("CC", "/nowhere/cc")
        with pytest.raises(cnngen.CnngenError, match="there is no program"):
            compiled(spec)


class TestOwnCode:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "package/sub").mkdir(parents=True)
        (tmp_path / "package/sub/a.py").write_text("one")
        (tmp_path / "package/b.py").write_text("two")
        return tmp_path / "package"

    def change(self, path: Path, text: str) -> None:
        path.write_text(text)
        os.utime(path, (1, 1))

    @pytest.mark.parametrize(
        ("change", "noticed"),
        [
            (lambda folder: (folder / "sub/a.py").write_text("two"), True),
            (lambda folder: (folder / "sub/a.py").rename(folder / "a.py"), True),
            (lambda folder: (folder / "sub/c.py").touch(), True),
            (lambda folder: os.utime(folder / "b.py"), False),
            (lambda folder: (folder / "sub/.a.py.swp").touch(), False),
            (lambda folder: ((folder / "__pycache__").mkdir(), (folder / "__pycache__/b.pyc").touch()), False),
        ],
    )
    def test_digest(self, folder: Path, change: Callable[[Path], object], noticed: bool) -> None:
        before = own_code([folder])
        change(folder)
        assert (own_code([folder]).digest != before.digest) is noticed

    def test_a_change_shows_whatever_time_it_claims(self, folder: Path) -> None:
        before = own_code([folder])
        while own_code([folder]).changed == before.changed:
            self.change(folder / "b.py", "one")
        assert own_code([folder]).changed > before.changed

    def test_code_that_changed_under_this_process_is_not_vouched_for(
        self, spec: Path, read: list[object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Modules that were imported before the change may have made the network."""
        monkeypatch.setattr(cnngen, "IMPORTED_AT", own_code().changed)
        compiled(spec)
        compiled(spec)
        assert len(read) == 2


class TestWithoutTheCache:
    def test_cache_false_neither_reads_nor_writes(self, spec: Path, root: Path, read: list[object]) -> None:
        compiled(spec, cache=False)
        assert not root.exists()
        compiled(spec)
        before = sorted(root.rglob("*"))
        compiled(spec, cache=False)
        assert len(read) == 3
        assert sorted(root.rglob("*")) == before

    def test_a_build_folder_gets_every_stage(self, spec: Path, tmp_path: Path, read: list[object]) -> None:
        for name in ("cold", "warm"):
            compiled(spec, build_dir=tmp_path / name)
        files = [{path.name for path in (tmp_path / name).iterdir()} for name in ("cold", "warm")]
        assert files[0] == files[1] >= {"graph.txt", "plan.txt", "tiny.c", "tiny.so", "build.log", "command.txt"}
        compiled(spec)
        assert len(read) == 2, "the third start profits from the first"

    def test_the_command_line_prepares_a_warm_start(self, spec: Path, tmp_path: Path, read: list[object]) -> None:
        command = ["compile", str(spec), "--isa", "scalar", "-o", str(tmp_path / "out")]
        with pytest.raises(SystemExit, match="0"):
            app(command)
        assert read == [spec]
        compiled(spec)
        assert read == [spec]
        with pytest.raises(SystemExit, match="0"):
            app([*command, "--isa", "sse4.1", "--emit-only"])
        compiled(spec, isa="sse4.1-emulated")
        assert len(read) == 3

    def test_a_graph(self, root: Path, read: list[object]) -> None:
        from cnngen.ops import Flatten

        compiled(chain((1, 2, 2, 1), Flatten()))  # type: ignore[arg-type]
        compiled(chain((1, 2, 2, 1), Flatten()))  # type: ignore[arg-type]
        assert len(read) == 2
        assert not (root / "manifests").exists()

    def test_no_cache_folder(self, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cnngen.store.cache_folder", lambda: None)
        with pytest.warns(cnngen.errors.CacheWarning, match="no home folder"):  # type: ignore[attr-defined]
            assert close(cnngen.compile(spec, isa="scalar"), expected(spec))


def request_for(spec: Path, **options: object) -> Request:
    """The request of `compiled`."""
    defaults = {"weights": None, "name": None, "batch": 1, "isa": "scalar", "threads": None, "numerics": "fast"}
    found = manifest.ask(spec, **{**defaults, **options})  # type: ignore[arg-type]
    assert found is not None
    return found


class TestLife:
    def test_it_goes_with_its_library(self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compiled(spec)
        spec.write_text(SPEC + "# a comment\n")
        compiled(spec)
        assert len(list((root / "manifests").iterdir())) == 2
        assert len(cache.entries()) == 1
        assert manifest.find(request_for(spec)) is not None
        library = cache.entries()[0].library
        os.utime(library.with_name("entry.json"), (1, 1))
        monkeypatch.setenv("CNNGEN_CACHE_SIZE", "1")
        compiled(spec, batch=2)
        assert not library.exists()
        assert len(list((root / "manifests").iterdir())) == 1
        assert cache.clear() > 0
        assert not (root / "manifests").exists()
        assert manifest.find(request_for(spec, batch=2)) is None

    def test_they_do_not_grow_for_ever(self, spec: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cnngen.store.KEPT_MANIFESTS", 3)
        for number in range(6):
            spec.write_text(f"{SPEC}# {number}\n")
            compiled(spec)
        compiled(spec, batch=2)
        assert len(list((root / "manifests").iterdir())) == 4, "three, and the one of the build that swept"
