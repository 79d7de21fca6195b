"""Runs the command line in a process of its own, with limits, and measures it.

Starting Python and importing NumPy takes longer than refusing a spec does. So one process imports everything and
stays, and a child of it is forked for each run: a process like any other, with its own limits, working folder,
environment and exit code.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]

SECONDS = 5.0
MEMORY = 10**9
"""Bytes. What a run on bad input may take at most, with Python and its libraries."""

PATIENCE = 60.0
"""Seconds of the clock after which a run is killed: more than its processor time, because tests share machines."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: `code` is negative where a signal did it; seconds of processor time, bytes resident."""

    code: int
    stdout: str
    stderr: str
    cpu: float
    memory: int


class CommandLine:
    """Runs of `cnngen`, one at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def __call__(
        self, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, memory: int = MEMORY
    ) -> Ended:
        """Run `cnngen` with `arguments` in `cwd`; `env` is on top of this process's; `memory` limits its addresses."""
        out, err = self._folder / "stdout", self._folder / "stderr"
        request = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": dict(env or {}),
            "memory": memory,
            "files": [str(out), str(err)],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ended(stdout=out.read_text(), stderr=err.read_text(), **answer)


@contextmanager
def command_line(folder: Path) -> Iterator[CommandLine]:
    """A `CommandLine`; `folder` is for its own files."""
    # The address space that a library reserves for its threads would count as memory.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.command_line"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=env,
    ) as process:  # fmt: skip
        try:
            yield CommandLine(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=PATIENCE)


def _serve() -> None:
    """Answer requests until stdin ends."""
    import cnngen.cli
    import cnngen.frontends.yaml_spec
    import cnngen.pipeline
    import cnngen.report.stages  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _child(request)
        status, usage = _wait(child, started + PATIENCE)
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "cpu": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
        print(json.dumps(answer), flush=True)


def _wait(child: int, deadline: float) -> tuple[int, resource.struct_rusage]:
    while time.monotonic() < deadline:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return status, usage


def _child(request: dict[str, Any]) -> None:
    """Become the run; does not return."""
    code = 99
    try:
        for descriptor, name in enumerate((os.devnull, *request["files"])):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC if descriptor else os.O_RDONLY, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        # Seconds of processor time: the system kills what takes more.
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
        sys.argv = ["cnngen", *request["arguments"]]
        try:
            sys.modules["cnngen.cli"].main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
