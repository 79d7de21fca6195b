"""Carries out the commands that turn a source tree into something that can be loaded, whichever compiler they call.

No shell, relative file names, the build folder as the working directory: the commands are the same text wherever the
folder lies, and `command.txt` in it runs them again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cnngen.backends.files import FolderError, make_folder, put, write_tree
from cnngen.backends.process import Finished, Processes
from cnngen.backends.sources import SourceTree
from cnngen.errors import ToolchainError

TIME_LIMIT_VARIABLE = "CNNGEN_BUILD_TIMEOUT"
TIME_LIMIT = 600.0
TAIL_LINES = 15

DISK_FULL = r"No space left on device|Disk quota exceeded"
MEMORY_HINT = "it most likely ran out of memory: free some, or compile a smaller network"
HINTS = (
    (DISK_FULL, "free some disk space"),
    (r"out of memory|Cannot allocate memory|memory exhausted|Killed signal|Killed$", MEMORY_HINT),
)

Command = tuple[str, ...]
Hints = Sequence[tuple[str, str]]
"""Patterns of what a compiler says, each with what to do then; the first that is found counts."""


@dataclass(frozen=True)
class Recipe:
    """How a compiler makes a file out of those in a folder.

    `stages` run one after the other, the commands of a stage side by side. The last word of a command is the file
    that it makes, and the last one makes the product. `script` is the text of `command.txt`, `install` says what to do
    where the compiler cannot be started.
    """

    stages: tuple[tuple[Command, ...], ...]
    script: str
    install: str
    hints: Hints

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(command[-1] for stage in self.stages for command in stage)


def no_check(processes: Processes, scratch: Path) -> None:
    """Nothing has to be known about the compiler before it is run."""


def accept(finished: Sequence[Finished]) -> None:
    """What the commands made is good."""


def carry_out(
    recipe: Recipe,
    tree: SourceTree,
    folder: Path,
    *,
    environment: Callable[[Path], Mapping[str, str]],
    timeout: float | None = None,
    jobs: int | None = None,
    keep_log_in: Path | None = None,
    before: Callable[[Processes, Path], None] = no_check,
    after: Callable[[Sequence[Finished]], None] = accept,
) -> Path:
    """Write `tree` to `folder`, run the commands of `recipe` there, and return the path of the product.

    `command.txt` and `build.log` (what the compiler said, with times) stay beside it. `timeout` is in seconds for
    everything together (default: `$CNNGEN_BUILD_TIMEOUT`, or 600). Where the folder will not outlive a failure,
    `keep_log_in` names one that gets a copy of the two files then. `environment` gets a scratch folder, which is
    deleted at the end; `before` the processes, too; `after` what has run, and raises where it made the wrong thing.

    Raises ToolchainError, with the command, how it ended, the end of what it said, and where the log is; FolderError
    where the folder cannot be written. After any failure, KeyboardInterrupt included, nothing that was made is left.
    """
    product = folder / recipe.outputs[-1]
    outputs = [folder / name for name in recipe.outputs]
    write_tree(tree, folder)
    scratch: Path | None = None
    try:
        try:
            for path in outputs:  # also where a link or an earlier product stands: never written through
                path.unlink(missing_ok=True)
            put(folder / "build.log", memoryview(b""))
            put(folder / "command.txt", memoryview(recipe.script.encode()))
            scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder.absolute()))
        except OSError as error:
            raise FolderError.of(folder, error) from error
        processes = Processes(
            seconds=time_limit() if timeout is None else timeout, cwd=folder, env=environment(scratch)
        )
        logs = folder if keep_log_in is None else keep_log_in
        try:
            before(processes, scratch)
            finished: list[Finished] = []
            for stage in recipe.stages:
                finished += _run(processes, recipe, stage, _cpus() if jobs is None else jobs, folder, logs)
            after(finished)
        except ToolchainError:
            if keep_log_in is not None:
                _keep_logs(folder, keep_log_in)
            raise
    except BaseException:
        with suppress(OSError):
            product.unlink(missing_ok=True)
        raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for path in outputs[:-1]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return product


def time_limit() -> float:
    """Seconds that a build may take: `$CNNGEN_BUILD_TIMEOUT`, or 600. Raises ToolchainError where it is no number."""
    text = os.environ.get(TIME_LIMIT_VARIABLE, "").strip()
    try:
        seconds = float(text) if text else TIME_LIMIT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ToolchainError(
            f"{TIME_LIMIT_VARIABLE}={text!r} is not a number of seconds", remedy=f"use for example {TIME_LIMIT:.0f}"
        )
    return seconds


def run_one(processes: Processes, command: Command, install: str) -> Finished:
    """Run a command. Raises ToolchainError, with `install` as the remedy, where it cannot be started."""
    try:
        return processes.run(command)
    except OSError as error:
        raise _cannot_start(command, error, install) from error


def failure(finished: Finished, ending: str, logs: Path, hints: Hints = ()) -> ToolchainError:
    """The error for a command that failed, or that did not make what it should."""
    if finished.timed_out:
        remedy = f"raise {TIME_LIMIT_VARIABLE}"
    elif finished.code == -signal.SIGKILL:
        remedy = MEMORY_HINT
    else:
        found = (hint for pattern, hint in (*HINTS, *hints) if re.search(pattern, finished.output, re.MULTILINE))
        remedy = next(found, "see what it said")
    kind = FolderError if re.search(DISK_FULL, finished.output) else ToolchainError
    return kind(
        f"the compiler failed: {ending}: `{shlex.join(finished.command)}`",
        remedy=f"{remedy}; the whole log is {logs / 'build.log'}{tail(finished)}",
    )


def tail(finished: Finished) -> str:
    """The last lines of what a command said, as they end a message."""
    return "".join(f"\n  | {line}" for line in finished.output.splitlines()[-TAIL_LINES:])


def output_problem(path: Path) -> str | None:
    """What is wrong with a file that a command should have made."""
    try:
        empty = path.stat().st_size == 0
    except OSError:
        return f"{path.name} is missing"
    return f"{path.name} is empty" if empty else None


def _run(
    processes: Processes, recipe: Recipe, todo: Sequence[Command], jobs: int, folder: Path, logs: Path
) -> list[Finished]:
    """Run commands whose last word is their output; raises ToolchainError for the first that fails."""
    try:
        done = processes.run_all(todo, jobs)
    except OSError as error:
        raise _cannot_start(todo[0], error, recipe.install) from error
    try:
        with (folder / "build.log").open("a", encoding="utf-8") as log:
            for finished in done:
                log.write(f"$ {shlex.join(finished.command)}\n{finished.output}")
                log.write(f"# {finished.ending}, {finished.seconds:.3f} s\n")
    except OSError as error:
        if all(finished.ok for finished in done):
            raise FolderError.of(folder, error) from error
    for finished in done:
        if not finished.ok:
            raise failure(finished, finished.ending, logs, recipe.hints)
        if problem := output_problem(folder / finished.command[-1]):
            raise failure(finished, f"exit code 0, but {problem}", logs, recipe.hints)
    return done


def _cannot_start(command: Sequence[str], error: OSError, install: str) -> ToolchainError:
    return ToolchainError(f"`{shlex.join(command)}` cannot be run: {error.strerror}", remedy=install)


def _keep_logs(folder: Path, destination: Path) -> None:
    with suppress(OSError, FolderError):
        make_folder(destination)
        for name in ("command.txt", "build.log"):
            put(destination / name, memoryview((folder / name).read_bytes()))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
