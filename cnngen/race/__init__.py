"""Races: cnngen against other runtimes on one network, in one run, so that a machine's noise meets all alike.

Every contender has a process of its own, bound to the same cores; they take turns in short slices, and medians count.
Their outputs on one input are compared: where one disagrees its race is void.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cnngen.errors import RunError

if TYPE_CHECKING:
    from cnngen.ir import Array

PEERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "onnxruntime": (("onnxruntime",), "pip install onnxruntime"),
    "openvino": (("openvino",), "pip install openvino"),
    "ncnn": (("ncnn", "pnnx"), "pip install ncnn pnnx"),
    "torch": (("torch",), "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
}
"""What cnngen can race against: the modules that are needed, and the command that installs them."""
AGREEMENT = 1e-3
"""L2-relative difference of outputs above which a race is void: rounding differs, and Winograd's too, by far less."""
PAUSE = 0.05
"""Seconds between two contenders, for spinning threads of the one before to settle."""


@dataclass(frozen=True)
class Lane:
    """One contender: its slices' median seconds a run, or the `problem` that kept it from running."""

    system: str
    version: str = ""
    slices: tuple[float, ...] = ()
    difference: float = 0.0
    """L2-relative, of its outputs to cnngen's."""
    problem: str = ""

    @property
    def seconds(self) -> float:
        """The median over all slices."""
        return float(np.median(self.slices)) if self.slices else float("nan")

    @property
    def valid(self) -> bool:
        return bool(self.slices) and self.difference <= AGREEMENT


@dataclass(frozen=True)
class Race:
    """The result for one network; the first lane is cnngen."""

    network: str
    threads: int
    numerics: str
    lanes: tuple[Lane, ...]

    @property
    def best_peer(self) -> Lane | None:
        """The fastest of the others that ran and agreed."""
        return min((lane for lane in self.lanes[1:] if lane.valid), key=lambda lane: lane.seconds, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best peer cnngen is; None where the race is void."""
        best = self.best_peer
        return best.seconds / self.lanes[0].seconds if best and self.lanes[0].slices else None

    def as_json(self) -> dict[str, Any]:
        lanes = []
        for lane in self.lanes:
            if lane.slices:
                p10, p90 = (1e3 * float(np.quantile(lane.slices, share)) for share in (0.1, 0.9))
                times = {"median_ms": 1e3 * lane.seconds, "p10_ms": p10, "p90_ms": p90, "slices": len(lane.slices)}
                lanes.append({"system": lane.system, "version": lane.version, **times, "difference": lane.difference})
            else:
                lanes.append({"system": lane.system, "problem": lane.problem})
        return {
            "network": self.network,
            "threads": self.threads,
            "numerics": self.numerics,
            "lanes": lanes,
            "best_peer": self.best_peer.system if self.best_peer else None,
            "ratio": self.ratio,
        }


def install_command(system: str) -> str | None:
    """The command that installs what a peer needs; None where all of it is there. Raises `RunError` for an unknown."""
    if system not in PEERS:
        raise RunError(f"unknown contender {system!r}", remedy=f"there are {', '.join(PEERS)}")
    modules, command = PEERS[system]
    return None if all(importlib.util.find_spec(module) is not None for module in modules) else command


def race(
    source: str | Path,
    against: Sequence[str],
    *,
    threads: int = 1,
    numerics: str = "fast",
    isa: str = "native",
    rounds: int = 9,
    slice_seconds: float = 0.3,
    say: Callable[[str], None] = lambda text: None,
) -> Race:
    """Race cnngen on a spec or an ONNX file against the runtimes named in `against` (of `PEERS`).

    Those that are not installed, or fail, are lanes with a `problem`. `say` is told what happens. Raises `RunError`
    for an unknown name, and what reading the network raises.
    """
    missing = {name: install_command(name) for name in against}
    with tempfile.TemporaryDirectory(prefix="cnngen-race-") as name:
        folder = Path(name)
        network = _prepare(Path(source), folder, against=any(command is None for command in missing.values()))
        entrants: list[_Entrant | Lane] = []
        try:
            for system in ("cnngen", *against):
                if missing.get(system):
                    entrants.append(Lane(system, problem=f"not installed: {missing[system]}"))
                    continue
                say(f"starting {system}")
                job = {"source": str(Path(source).absolute()), "threads": threads, "numerics": numerics, "isa": isa}
                entrants.append(_Entrant.start(system, job, folder))
            running = [entrant for entrant in entrants if isinstance(entrant, _Entrant)]
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                for turn in range(len(running)):
                    running[(number + turn) % len(running)].run(slice_seconds)
        finally:
            for entrant in entrants:
                if isinstance(entrant, _Entrant):
                    entrant.stop()
        lanes = [entrant if isinstance(entrant, Lane) else entrant.lane for entrant in entrants]
        return Race(network, threads, numerics, _compared(lanes, folder))


def _prepare(source: Path, folder: Path, *, against: bool) -> str:
    """Write what contenders read: the inputs, and an ONNX file where the source is none. Returns the network's name."""
    from cnngen import pipeline
    from cnngen.frontends import ONNX_SUFFIXES

    graph = pipeline.load_graph(source)
    if source.suffix.lower() in ONNX_SUFFIXES:
        (folder / "model.onnx").symlink_to(source.absolute())
    elif against:
        from cnngen.onnx_writer import onnx_model

        (folder / "model.onnx").write_bytes(onnx_model(graph).SerializeToString())
    rng = np.random.default_rng(0)
    inputs = {tensor.name: rng.standard_normal(tensor.type.shape, np.float32) for tensor in graph.inputs}
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # the stubs take the names for options
    return graph.name


def _compared(lanes: Sequence[Lane], folder: Path) -> tuple[Lane, ...]:
    """With the difference of each lane's outputs to cnngen's."""
    result = []
    for lane in lanes:
        path, own = folder / f"{lane.system}.npz", folder / "cnngen.npz"
        if lane.slices and path.exists() and own.exists():
            lane = replace(lane, difference=_difference(_arrays(path), _arrays(own)))
        result.append(lane)
    return tuple(result)


def _arrays(path: Path) -> list[Array]:
    with np.load(path) as file:
        return [np.asarray(file[name], np.float64) for name in file.files]


def _difference(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    if len(ours) != len(theirs) or any(a.size != b.size for a, b in zip(ours, theirs, strict=True)):
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        norm = float(np.linalg.norm(b))
        difference = float(np.linalg.norm(a.reshape(-1) - b.reshape(-1)))
        relative = difference / norm if norm else float(difference > 0)
        worst = max(worst, relative if np.isfinite(relative) else float("inf"))
    return worst


class _Entrant:
    """A contender's process: it answers each line (seconds of a slice) with the median seconds of a run."""

    def __init__(self, system: str, process: subprocess.Popen[str], log: IO[str]) -> None:
        self.lane = Lane(system)
        self._process, self._log = process, log

    @classmethod
    def start(cls, system: str, job: Mapping[str, Any], folder: Path) -> _Entrant:
        """Start the process and wait until it has run once."""
        log = (folder / f"{system}.log").open("w+")
        threads = str(job["threads"])
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-m", "cnngen.race.worker", system, json.dumps(dict(job)), str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        entrant = cls(system, process, log)
        answer = entrant._answer()
        entrant.lane = replace(entrant.lane, version=str(answer["version"])) if answer else entrant.lane
        return entrant

    def run(self, seconds: float) -> None:
        """One slice, unless the process has failed."""
        if self.lane.problem:
            return
        time.sleep(PAUSE)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says so
        answer = self._answer()
        if answer:
            self.lane = replace(self.lane, slices=(*self.lane.slices, float(answer["seconds"])))

    def stop(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self._process.wait()
        self._log.flush()
        self._log.seek(0)
        said = [text for text in self._log.read().splitlines() if text.strip()]
        problem = said[-1].strip() if said else f"exit code {self._process.returncode}"
        self.lane = replace(self.lane, slices=(), problem=f"failed: {problem}")
        return None
