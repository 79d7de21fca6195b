"""What can go wrong, one class per stage, each with the exit code of the command line.

Every message has the form ``place: layer: facts; remedy``. A caller that knows the place better
than the code that noticed the problem adds it with `CnngenError.at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

QUOTED = 60
"""Characters of somebody else's text that a message quotes."""


def brief(text: str) -> str:
    """`text` for a message: its beginning where it is long."""
    return text if len(text) <= QUOTED else text[: QUOTED - 3] + "..."


def inert(text: str) -> str:
    """`text` for a message without quotes: brief, and nothing that a terminal would obey."""
    return brief(text) if text.isprintable() else repr(brief(text))[1:-1]


@dataclass(frozen=True)
class Source:
    """A place in a file that a person wrote; `line` counts from 1."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


class CnngenError(Exception):
    """Base of every error that cnngen raises on purpose.

    `problem` states the facts, `remedy` what to do about them; `source` and `layer` say where.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        remedy: str | None = None,
        source: Source | None = None,
        layer: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.source = source
        self.layer = layer

    def at(self, source: Source | None = None, layer: str | None = None) -> Self:
        """Fill in the place where it is not known yet; returns the same error."""
        self.source = self.source or source
        self.layer = self.layer or layer
        return self

    def __str__(self) -> str:
        place = "".join(f"{part}: " for part in (self.source, self.layer) if part)
        return place + self.problem + (f"; {self.remedy}" if self.remedy else "")


class SpecError(CnngenError):
    """The YAML spec, or the network it describes, is not valid."""


class ShapeError(SpecError):
    """An op cannot take inputs of these shapes; raised without a place, which the caller adds."""


class WeightsError(CnngenError):
    """A weight file cannot be read, or does not fit the network."""


class ModelError(CnngenError):
    """An ONNX or PyTorch model cannot be read, or uses something that is not supported."""


class GraphError(CnngenError):
    """A graph breaks an invariant that the next stage relies on: a defect of the stage before."""


class PlanError(CnngenError):
    """A plan breaks an invariant: a defect of the planner, never of the input."""


class TargetError(CnngenError):
    """The target or ISA is unknown, or this machine cannot run it."""


class TuningError(CnngenError):
    """A file of tuned choices cannot be read or written, or holds what is none."""


class RunError(CnngenError):
    """A network was called with arrays that it cannot take, or after it was closed."""


class ToolchainError(CnngenError):
    """No compiler, or the compiler failed; the message ends with its last lines."""

    exit_code = 3


class CacheError(CnngenError):
    """The cache folder is not safe to load code from, or its settings make no sense."""


class DeviceError(CnngenError):
    """A GPU or its driver is missing or failed."""

    exit_code = 4


class CacheWarning(UserWarning):
    """A cached artefact could not be used or stored; the result is right, only slower to get."""


class WeightsWarning(UserWarning):
    """Weights that load but look wrong, such as NaN."""
