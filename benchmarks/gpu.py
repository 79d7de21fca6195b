"""The contenders of `cuda.py` on a GPU, and how the GPU times them. PyTorch is imported when something is called.

cnngen takes float32 in PyTorch's own layout (NCHW) and converts it in its first kernel; PyTorch gets its input as it
likes it best, channels last and in the precision of the race.
"""

from __future__ import annotations

import copy
import gc
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM_UP = 3
"""Calls before a capture: cudnn.benchmark tries its algorithms in the first one."""
FACTS = ("name", "driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit", "persistence_mode")


@dataclass(frozen=True)
class Contender:
    """`run` queues one inference in the current stream; `result` runs once and gives the answer in float64.

    `seconds` is what it took to build.
    """

    run: Callable[[], object]
    result: Callable[[], np.ndarray]
    seconds: float = 0.0
    close: Callable[[], object] = lambda: None


class Gpu:
    """The first GPU, through PyTorch. Its streams, events and arrays are used by all contenders."""

    def __init__(self, target: str = "cuda", *, tune: bool = False) -> None:
        import torch

        self.target, self.tune = target, tune
        self.place = "cuda" if target.startswith("cuda:") or target == "cuda" else "cpu"
        self.stream = torch.cuda.Stream() if self.place == "cuda" else None

    def facts(self) -> dict[str, Any]:
        """What a reader needs to judge the numbers."""
        import torch

        found = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(FACTS)}", "--format=csv,noheader"]
        try:
            line = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
            said = dict(zip(FACTS, (part.strip() for part in line.split(",")), strict=False))
        except (OSError, subprocess.SubprocessError):
            said = {}
        return {
            "device": found.name,
            "capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "memory_bytes": found.total_memory,
            "nvidia_smi": said,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }

    def contenders(
        self, model: Any, x: Any, precision: str, names: tuple[str, ...]
    ) -> Iterator[tuple[str, Contender | str]]:
        """Each contender by name, or why there is none."""
        import torch

        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        builders = {"cnngen": self._cnngen, "cudnn-graph": self._eager, "torch.compile": self._compiled}
        for name in names:
            start = time.perf_counter()
            try:
                made = builders[name](model, x, precision)
                made.result()
            except Exception as error:  # whatever another library raises: the others can still race
                yield name, f"{type(error).__name__}: {str(error).strip()[:500]}"
                continue
            yield name, Contender(made.run, made.result, time.perf_counter() - start, made.close)

    def input(self, shape: tuple[int, ...]) -> Any:
        """Images of float32 in NCHW on the GPU, the same each time."""
        import torch

        return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(self.place)

    def reference(self, model: Any, x: Any) -> np.ndarray:
        """The answer in float64."""
        import torch

        with torch.no_grad():
            return np.asarray(copy.deepcopy(model).double().to(self.place)(x.double()).cpu().numpy())

    def measure(self, call: Callable[[], object], calls: int) -> float:
        """Seconds per call: from an event before the first to one behind the last, all in one stream."""
        import torch

        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(self.stream):
            first.record()
            for _ in range(calls):
                call()
            last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) * 1e-3 / calls

    def latency(self, call: Callable[[], object], calls: int) -> float:
        """Seconds from one call to its result on the GPU, as the host sees it; the median."""
        import torch

        taken = []
        with torch.cuda.stream(self.stream):
            for _ in range(calls):
                start = time.perf_counter()
                call()
                self._synchronize()
                taken.append(time.perf_counter() - start)
        return float(np.median(taken))

    def release(self) -> None:
        """Give back what a race has used."""
        import torch

        gc.collect()
        torch.compiler.reset()
        if self.place == "cuda":
            torch.cuda.empty_cache()

    # The contenders

    def _cnngen(self, model: Any, x: Any, precision: str) -> Contender:
        import torch

        import cnngen

        net = cnngen.compile(
            copy.deepcopy(model).cpu(), tuple(x.shape), target=self.target, precision=precision, tune=self.tune
        )
        (shape,) = net.output_shapes
        y = torch.empty(shape, device=self.place)
        run = (lambda: net.run(x, out=y, stream=self.stream)) if self.stream else (lambda: net.run(x, out=y))

        def result() -> np.ndarray:
            run()
            self._synchronize()
            return np.asarray(y.double().cpu().numpy())

        return Contender(run, result, close=net.close)

    def _eager(self, model: Any, x: Any, precision: str) -> Contender:
        """channels_last, cudnn.benchmark, a CUDA graph of the whole network."""
        import torch

        module, given = self._prepared(model, x, precision)
        kept = {}
        with torch.no_grad(), torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                kept["y"] = module(given)
            self._synchronize()
            if self.stream is None:
                return self._from(lambda: kept.update(y=module(given)), lambda: kept["y"])
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                kept["y"] = module(given)
        return self._from(graph.replay, lambda: kept["y"], keep=(module, given))

    def _compiled(self, model: Any, x: Any, precision: str) -> Contender:
        """torch.compile with max-autotune, which captures CUDA graphs by itself."""
        import torch

        module, given = self._prepared(model, x, precision)
        compiled = torch.compile(module, mode="max-autotune" if self.place == "cuda" else None)
        kept = {}

        def run() -> None:
            with torch.no_grad():
                kept["y"] = compiled(given)

        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                run()
            self._synchronize()
        return self._from(run, lambda: kept["y"])

    def _prepared(self, model: Any, x: Any, precision: str) -> tuple[Any, Any]:
        import torch

        kind = torch.float16 if precision == "fp16" else torch.float32
        order = torch.channels_last
        module = copy.deepcopy(model).to(self.place, kind, memory_format=order)
        return module, x.to(kind).to(memory_format=order)

    def _from(self, run: Callable[[], object], output: Callable[[], Any], keep: object = None) -> Contender:
        import torch

        def result(_keep: object = keep) -> np.ndarray:
            with torch.cuda.stream(self.stream):
                run()
                self._synchronize()
                return np.asarray(output().detach().double().cpu().numpy())

        return Contender(run, result)

    def _synchronize(self) -> None:
        if self.stream is not None:
            self.stream.synchronize()
