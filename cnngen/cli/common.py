"""What the commands share: the group that reports errors, options, progress, and finding a spec.

Nothing here imports NumPy or the compiler, so that `cnngen --help` answers at once; a command
imports what it needs when it runs.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cnngen.errors import CnngenError, SpecError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

INTERNAL_ERROR = 70
"""Exit code for a defect of cnngen itself, EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130

_DEBUG = "cnngen.debug"
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's base of all usage errors, which Typer does not export: BadParameter, UsageError, this."""


class CnngenGroup(TyperGroup):
    """The commands; turns every error into one message on stderr and its exit code.

    0 done, 1 a check failed, 2 bad usage or bad input, 3 toolchain, 4 device. With `--debug` the
    traceback is shown instead.
    """

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except (typer.Exit, typer.Abort, _UsageProblem):
                raise  # how a command ends on purpose, and bad usage, which Typer explains
            except (Exception, KeyboardInterrupt) as error:
                if ctx.meta.get(_DEBUG) or getattr(error, "errno", None) == errno.EPIPE:
                    raise
                fail(*_explain(error))


def fail(message: str, code: int) -> None:
    """Print to stderr and end the command with `code`."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """The message and the exit code for an error."""
    if isinstance(error, CnngenError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", CnngenError.exit_code
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}; use a smaller network or batch", 2
    kind = type(error).__name__
    return f"internal error: {kind}: {error}; run again with --debug and report the traceback", INTERNAL_ERROR


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)


def _set_debug(ctx: typer.Context, value: bool) -> None:
    if value:
        ctx.meta[_DEBUG] = True


DebugOption = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug, is_eager=True),
]
SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="A spec (.yaml), an ONNX model (.onnx), or a shipped spec's name such as lenet."
    ),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Weights in place of the ones that the spec names.")
]
ShapesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="NAME=SIZES",
        help="Shape of an input of an ONNX model, batch first, such as x=1,3,224,224; once for each.",
    ),
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        help="cpu; cuda (cuda:1 is the second GPU); or cuda-emulated: the CUDA kernels on this CPU, to check them.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="With CUDA: fp32, or tf32 or fp16, which use tensor cores and have sums in float32."
    ),
]
ArchitecturesOption = Annotated[
    str,
    typer.Option("--arch", metavar="LIST", help="With CUDA: such as sm_80,sm_90; native is the one of the GPU."),
]
IsaOption = Annotated[
    str, typer.Option("--isa", help="scalar, sse4.1, avx2, avx512, native, or an emulated one such as avx512-emulated.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of one run; all cores where not given.")
]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Images of one run.")]
NumericsOption = Annotated[
    str,
    typer.Option("--numerics", help="fast (some by Winograd), or reproducible: the same bits on every FMA ISA."),
]
WeightStorageOption = Annotated[
    str,
    typer.Option(
        "--weight-storage",
        help="Of large dense layers: fp32, or bf16 or fp16, which halve what batch 1 reads, and round the weights.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Weights that look wrong (NaN, infinity) are an error, not a warning.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data instead of a table.")]


def find_spec(spec: str) -> Path:
    """The file that `spec` names: a path, or the stem of a shipped spec.

    Raises `SpecError` where there is neither.
    """
    from cnngen.resources import specs_folder

    path = Path(spec)
    if path.exists():
        return path
    shipped = {file.stem: file for file in sorted(specs_folder().glob("*.yaml"))}
    if spec in shipped:
        return shipped[spec]
    known = f"; shipped specs: {', '.join(shipped)}" if shipped else ""
    raise SpecError(f"{spec}: no such file", remedy=f"give the path of a spec{known}")


def input_shapes(values: list[str] | None) -> dict[str, tuple[int, ...]] | None:
    """The shapes that ``--input-shape name=1,3,224,224`` gives, by name; None where there are none."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in values or ():
        name, equals, sizes = text.rpartition("=")
        if not equals or not all(size.strip().isascii() and size.strip().isdigit() for size in sizes.split(",")):
            raise typer.BadParameter(f"--input-shape {text!r}: write name=1,3,224,224")
        if name in shapes:
            raise typer.BadParameter(f"--input-shape gives {name!r} twice")
        shapes[name] = tuple(int(size) for size in sizes.split(","))
    return shapes or None


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; output that goes into a pipe or file is wide enough not to wrap."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 160
    return Console(stderr=stderr, width=width, soft_wrap=False, highlight=False)


class Spinner:
    """What a command shows on stderr while it works: the current step, or a bar in its place. Nothing in a pipe."""

    def __init__(self, screen: Console | None, what: str, status: Status | None) -> None:
        self._screen, self._what, self._status = screen, what, status

    def __call__(self, step: str) -> None:
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(f"{self._what}: {step}"))

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[str, int, int], None]]:
        """A progress bar while the block runs, by what is done next, how much is done and how much there is."""
        if self._screen is None or self._status is None:
            yield lambda *_: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._status.stop()
        try:
            with Progress(*columns, TextColumn("{task.fields[step]}", markup=False), console=self._screen) as progress:
                task = progress.add_task(what, total=None, step="")
                yield lambda step, done, count: progress.update(task, completed=done, total=count, step=step)
        finally:
            self._status.start()


@contextmanager
def working(what: str) -> Iterator[Spinner]:
    """Show a spinner with the current step on stderr while the block runs, only on a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield Spinner(None, what, None)
        return
    from rich.markup import escape

    with screen.status(escape(what)) as status:
        yield Spinner(screen, what, status)


def print_json(data: Any) -> None:
    """Strict JSON on stdout."""
    import json

    typer.echo(json.dumps(data, indent=2, allow_nan=False))


def quantity(number: float, unit: str = "") -> str:
    """`number` with a metric prefix and three digits: 1.23 M."""
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= scale:
            return f"{number / scale:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".rstrip()
