"""Runs commands under one deadline, none of which outlives it or a Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OUTPUT_LIMIT = 1 << 20
"""Bytes of a command's output that are kept; the middle of a longer one is left out."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended; `output` is its stdout and stderr in the order of writing."""

    command: tuple[str, ...]
    code: int
    output: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and said so."""
        return self.code == 0 and not self.timed_out

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.timed_out:
            return f"stopped at the time limit after {self.seconds:.1f} s"
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


class StoppedError(Exception):
    """The command was not started, or was killed, because another one had failed."""


class Processes:
    """Commands that share a folder, an environment and a deadline.

    Each runs without a shell, in a process group of its own: whatever it has started dies with it
    at the deadline and when the caller is interrupted. Output goes to unnamed files rather than
    pipes, so that a background process that inherits them (a compiler-cache server) delays nobody.
    """

    def __init__(self, *, seconds: float, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self._deadline = time.monotonic() + seconds
        self._cwd = cwd
        self._env = env
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._expired: set[subprocess.Popen[bytes]] = set()
        self._cancelled = False

    def run_all(self, commands: Sequence[Sequence[str]], jobs: int) -> list[Finished]:
        """Run `commands`, up to `jobs` at a time; results in the order given.

        The first failure stops the others, whose results are left out. A command that cannot be started raises
        OSError. Any exception, KeyboardInterrupt included, first kills what runs.
        """
        with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(commands)))) as pool:
            futures = [pool.submit(self.run, command) for command in commands]
            try:
                for future in as_completed(futures):
                    error = future.exception()
                    if error is None and future.result().ok:
                        continue
                    self.cancel()
                    if error is not None and not isinstance(error, StoppedError):
                        raise error
            except BaseException:
                self.cancel()
                raise
        return [future.result() for future in futures if future.exception() is None]

    def run(self, command: Sequence[str]) -> Finished:
        """Run one command to its end; raises OSError where it cannot be started, StoppedError after `cancel`."""
        with tempfile.TemporaryFile() as output:
            started = time.monotonic()
            with self._lock:
                if self._cancelled:
                    raise StoppedError
                process = subprocess.Popen(
                    command,
                    cwd=self._cwd,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            timer = threading.Timer(max(0.0, self._deadline - started), self._expire, [process])
            timer.daemon = True
            timer.start()
            try:
                _await_end(process)
            except BaseException:
                self._kill(process)
                raise
            finally:
                with self._lock:
                    # From here on the process id may be given to another process: nobody may signal it.
                    self._running.discard(process)
                timer.cancel()
                process.wait()
            if self._cancelled and process.returncode == -signal.SIGKILL:
                raise StoppedError
            return Finished(
                tuple(command),
                process.returncode,
                _read_output(output),
                time.monotonic() - started,
                process in self._expired,
            )

    def cancel(self) -> None:
        """Kill every process group that runs, and start no more."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for process in running:
            self._kill(process)

    def _expire(self, process: subprocess.Popen[bytes]) -> None:
        self._expired.add(process)
        if not self._kill(process):
            self._expired.discard(process)

    def _kill(self, process: subprocess.Popen[bytes]) -> bool:
        """Kill the group of a process that has not been reaped; whether it was there to kill."""
        with self._lock:
            if process not in self._running:
                return False
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return True


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Block until the process has ended, leaving it unreaped where the system can, so that its id stays its own."""
    if hasattr(os, "waitid"):
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _read_output(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(0)
    if size <= OUTPUT_LIMIT:
        return output.read().decode(errors="replace")
    half = OUTPUT_LIMIT // 2
    head = output.read(half).decode(errors="replace")
    output.seek(size - half)
    return f"{head}\n[... {size - 2 * half} bytes left out ...]\n" + output.read().decode(errors="replace")
