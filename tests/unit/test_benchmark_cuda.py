"""`benchmarks/cuda.py` without a GPU: arguments, comparisons, ratios, what is written; on a device that is made up."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import common, cuda
from benchmarks.gpu import Contender

REPOSITORY = Path(__file__).parents[2]
MICROSECONDS = {"cnngen": 10.0, "cudnn-graph": 25.0, "torch.compile": 20.0}


class MadeUp:
    """A GPU on which every contender takes a time that is given, and gives the answer with an error that is given."""

    def __init__(self, **errors: float) -> None:
        self.errors = errors
        self.seconds: dict[Callable[[], object], float] = {}
        self.order: list[str] = []
        self.closed: list[str] = []

    def facts(self) -> dict[str, Any]:
        return {"device": "Made-up GPU 9000"}

    def input(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.ones(shape, np.float32)

    def reference(self, model: object, x: np.ndarray) -> np.ndarray:
        return np.arange(1.0, 11.0)

    def contenders(
        self, model: object, x: np.ndarray, precision: str, names: tuple[str, ...]
    ) -> Iterator[tuple[str, Contender | str]]:
        for name in names:
            error = self.errors.get(name, 1e-7)
            if error < 0:
                yield name, "RuntimeError: no Triton\nand more"
                continue

            def run(name: str = name) -> None:
                self.order.append(name)

            self.seconds[run] = MICROSECONDS[name] * 1e-6
            result = self.reference(model, x) * (1 + error)
            yield name, Contender(run, lambda y=result: y, 0.5, lambda name=name: self.closed.append(name))

    def measure(self, call: Callable[[], object], calls: int) -> float:
        for _ in range(calls):
            call()
        return self.seconds[call]

    def latency(self, call: Callable[[], object], calls: int) -> float:
        return 2 * self.seconds[call]

    def release(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "model_of", lambda name: name)


def run(folder: Path, *values: str, gpu: MadeUp | None = None) -> tuple[int, dict[str, Any]]:
    path = folder / "made-up.json"
    short = ("--slices", "3", "--slice-seconds", "0.0001", "--json", str(path))
    code = cuda.main([*values, *short], gpu or MadeUp())
    return code, json.loads(path.read_text())


def test_all_races_are_run_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu = MadeUp()
    code, written = run(tmp_path, gpu=gpu)
    assert code == 0
    races = {(each["network"], each["batch"], each["precision"]) for each in written["races"]}
    assert races == {(name, batch, kind) for name in cuda.NETWORKS for batch in (1, 8, 64) for kind in ("fp16", "tf32")}
    for each in written["races"]:
        entry = each["contenders"]["cnngen"]
        assert entry["median_s"] == pytest.approx(10e-6)
        assert (entry["latency_s"], entry["images_s"]) == (pytest.approx(20e-6), pytest.approx(each["batch"] / 10e-6))
        assert each["ratio"] == pytest.approx(2.0)  # the better of the others takes 20 us
        assert each["valid"]
    assert [(s["precision"], s["batch"], s["wanted"]) for s in written["summary"]] == [
        (kind, batch, wanted) for kind in ("fp16", "tf32") for batch, wanted in ((1, 1.5), (8, None), (64, 0.9))
    ]
    assert {"commit", "date", "python"} <= set(written["machine"])
    assert len(gpu.closed) == 3 * len(races)
    said = capsys.readouterr().out
    assert "fp16, batch 1: 2.00 times the better of the others (geometric mean of 6, lowest 2.00), wanted 1.5" in said


def test_contenders_take_turns(tmp_path: Path) -> None:
    gpu = MadeUp()
    run(tmp_path, "lenet", "--batch", "1", "--precision", "fp32", gpu=gpu)
    turns = [name for name, before in zip(gpu.order, [None, *gpu.order], strict=False) if name != before]
    for three in zip(turns[3:], turns[4:], turns[5:], strict=False):
        assert len(set(three)) >= 2
    assert {name: turns.count(name) for name in MICROSECONDS}.keys() == MICROSECONDS.keys()
    assert min(turns.count(name) for name in MICROSECONDS) >= 3


def test_a_race_between_answers_that_disagree_is_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, written = run(tmp_path, "lenet", "--batch", "8", "--precision", "fp16", gpu=MadeUp(cnngen=0.01))
    (only,) = written["races"]
    assert code == 1
    assert not only["valid"]
    assert "ratio" not in only
    assert "median_s" not in only["contenders"]["cnngen"]
    assert "VOID" in capsys.readouterr().out
    # Where PyTorch is as far off in this precision, it is the precision.
    worse = MadeUp(**{"cnngen": 0.01, "cudnn-graph": 0.005})
    assert run(tmp_path, "lenet", "--batch", "8", "--precision", "fp16", gpu=worse)[0] == 0
    nothing = MadeUp(**{"cnngen": float("nan"), "cudnn-graph": float("inf")})
    assert run(tmp_path, "lenet", "--batch", "8", "--precision", "fp16", gpu=nothing)[0] == 1


def test_who_cannot_take_part_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lame = MadeUp(**{"torch.compile": -1})
    code, written = run(tmp_path, "lenet", "--batch", "1", "--precision", "tf32", gpu=lame)
    (only,) = written["races"]
    assert code == 0
    assert only["ratio"] == pytest.approx(2.5)
    assert only["contenders"]["torch.compile"] == {"failed": "RuntimeError: no Triton\nand more"}
    assert "torch.compile cannot take part: RuntimeError: no Triton\n" in capsys.readouterr().out
    assert run(tmp_path, "lenet", "--batch", "1", gpu=MadeUp(cnngen=-1))[0] == 1


def test_a_second_run_does_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "lenet", "--batch", "1", "--precision", "fp16")
    code, written = run(tmp_path, "lenet", "--batch", "1", "--batch", "8", "--precision", "fp16", "--resume")
    assert code == 0
    assert [each["batch"] for each in written["races"]] == [1, 8]
    before = json.loads((tmp_path / "made-up.json").read_text())
    before["gpu"]["device"] = "another"
    (tmp_path / "made-up.json").write_text(json.dumps(before))
    code, written = run(tmp_path, "lenet", "--batch", "8", "--precision", "fp16", "--resume")
    assert [each["batch"] for each in written["races"]] == [8]
    capsys.readouterr()
    short = ["lenet", "--json", str(tmp_path / "none.json"), "--seconds", "-1"]
    assert cuda.main(short, MadeUp()) == 1
    assert "6 races were left out for want of time" in capsys.readouterr().out


@pytest.mark.parametrize(
    "values", [["alexnet"], ["--batch", "0"], ["--precision", "fp8"], ["--slices", "1"], ["--contender", "onnx"]]
)
def test_bad_arguments(values: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cuda.main(values, MadeUp())
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_results_go_to_the_folder_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    assert cuda.main(["lenet", "--slices", "2", "--slice-seconds", "0.0001"], MadeUp()) == 0
    assert (tmp_path / "results/cuda-made-up-gpu-9000.json").exists()


def test_its_name_hides_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import cuda` has to find cuda-bindings, also where the script's own folder came first."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    importlib.reload(cuda)
    assert str(REPOSITORY / "benchmarks") not in sys.path
    assert sys.path[0] == str(REPOSITORY)


def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, REPOSITORY / "benchmarks/cuda.py", "lenet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"CUDA_VISIBLE_DEVICES": ""})
    if importlib.util.find_spec("torch") is None:
        assert (done.returncode, "PyTorch cannot be imported" in done.stderr) == (3, True), done.stderr
    else:
        assert (done.returncode, "not run: " in done.stderr) == (4, True), done.stderr
    assert not done.stdout
