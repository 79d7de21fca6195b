"""Tuning: plans for single layers, measured on this machine, with the winners in a file that can be read and shared.

`tuned_choices` is what `cnngen.compile(tune=...)` calls: layers that the file knows for this device take its choice,
the others are measured within a budget of seconds. A backend brings a module with a function

    tune(graph, target, file, seconds, progress) -> Tuned

where `graph` is optimised, and a layer key says all that makes two layers the same to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cnngen.ir import Graph

BUDGET = 60.0
"""Seconds that tuning may take, unless it is told otherwise."""

Fields = Mapping[str, Any]
"""A choice as it stands in the file."""


class Tuned(NamedTuple):
    """What tuning chose on a `device`: fields by layer key, without any where the plan's own is best.

    `complete`: every layer that can be tuned was measured, now or before. Not `faster`: the whole network was measured,
    and is no faster with these choices.
    """

    device: str = ""
    choices: Mapping[str, Fields] = MappingProxyType({})
    complete: bool = True
    faster: bool = True

    @property
    def used(self) -> Mapping[str, Fields]:
        """The choices that the network is planned with."""
        return self.choices if self.faster else {}


Progress = Callable[[str, int, int], None]
"""Called with the layer that is measured next, how many are done and how many there are."""


def path_of(tune: bool | str | Path) -> Path | None:
    """The file that the option `tune` means: none, the user's own for `True`, or the one that is named.

    Raises `TuningError` where there is no place for one's own.
    """
    if tune is False:
        return None
    if tune is not True:
        return Path(tune).absolute()
    from cnngen.tuning.file import default_file

    return default_file()


def tuned_choices(
    source_graph: Graph,
    file: Path,
    *,
    target: str = "cpu",
    isa: str = "native",
    threads: int | None = None,
    numerics: str = "fast",
    weight_storage: str = "fp32",
    precision: str = "fp32",
    architectures: str = "native",
    device: int = 0,
    seconds: float = BUDGET,
    progress: Progress | None = None,
    cache: bool = True,
) -> Tuned:
    """The choices for the layers of a network as it was read: from `file`, and measured where that has none.

    On a CPU the whole network is then measured with and without them, unless `file` knows how that ended (or nothing is
    to be measured: `seconds` is 0); both are kept in the `cache` of libraries, if that is used.

    Raises `TuningError` for a file that is none, and `TargetError` for a target that cannot be tuned.
    """
    from cnngen.errors import TargetError
    from cnngen.tuning.file import TuningFile

    if target not in ("cpu", "cuda"):
        raise TargetError(f"tuning is not available for {target}", remedy="leave tune out")
    from cnngen import pipeline
    from cnngen.passes import optimise

    if target == "cuda":
        from cnngen.backends.cuda.target import resolve
        from cnngen.tuning import cuda

        own, gpu = pipeline.planned_for(device, "native")
        if architectures not in ("native", own):
            raise TargetError(
                f"tuning measures on the GPU that is there, which has {own}, and the code is for {architectures}",
                remedy=f"leave tune out, or compile for {own}",
            )
        chosen = resolve(own, precision, gpu=gpu)
        tell = progress or (lambda *_: None)
        return cuda.tune(optimise(source_graph), chosen, TuningFile(file), seconds, tell, device)
    from cnngen.batching import compiled_graph
    from cnngen.tuning import cpu

    resolved = pipeline.cpu_target_for(
        source_graph, isa=isa, threads=threads, numerics=numerics, weight_storage=weight_storage
    )
    graph, _ = compiled_graph(source_graph, resolved)
    tell = progress or (lambda *_: None)
    tuned = cpu.tune(graph, resolved, TuningFile(file), seconds, tell)
    return cpu.judge(tuned, graph, resolved, TuningFile(file), tell, measures=seconds > 0, cache=cache)
