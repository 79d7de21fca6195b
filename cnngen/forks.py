"""Networks with several threads in a process that was forked from the one that loaded them.

A fork copies the calling thread only. OpenMP's runtime (libgomp) keeps its worker threads in a pool that belongs to the
thread that calls it, and in the child waits for ever for those of the copied pool. A new thread gets a pool of its own,
with threads that exist: so in the child, native code that uses several threads is called from new ones.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from cnngen.backends.cpu.loader import Library

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Owner(Protocol):
    """Who calls a library."""

    def use(self, library: Library) -> None:
        """Call `library` from now on."""


_owners: weakref.WeakKeyDictionary[Owner, Library] = weakref.WeakKeyDictionary()
_callers: ThreadPoolExecutor | None = None
"""New threads, in a process that was forked; None in one that was not."""


def watch(owner: Owner, library: Library) -> None:
    """Have `owner` use the library in a way that works in this process, and in those forked from it."""
    _owners[owner] = library
    if _callers is not None:
        owner.use(_from_new_threads(library))


def forget(owner: Owner) -> None:
    """`owner` calls nothing any more."""
    _owners.pop(owner, None)


def _from_new_threads(library: Library) -> Library:
    def elsewhere(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            assert _callers is not None
            _callers.submit(function, *arguments).result()

        return call

    return library._replace(run=elsewhere(library.run), run_steps=elsewhere(library.run_steps))


def _after_fork() -> None:
    global _callers
    from concurrent.futures import ThreadPoolExecutor  # here: most processes are not forked

    _callers = ThreadPoolExecutor(thread_name_prefix="cnngen")
    for owner, library in _owners.items():
        owner.use(_from_new_threads(library))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
