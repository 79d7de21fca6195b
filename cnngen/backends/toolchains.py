"""The toolchains of the backends under one name: what compiles a source tree depends on the compiler only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnngen.backends.building import time_limit
from cnngen.backends.cpu.compiler import Compiler
from cnngen.backends.sources import SourceTree

if TYPE_CHECKING:
    from cnngen.backends.cuda.compiler import CudaCompiler

    AnyCompiler = Compiler | CudaCompiler

__all__ = ["AnyCompiler", "build", "command_words", "time_limit"]


def build(
    tree: SourceTree,
    compiler: AnyCompiler,
    folder: Path,
    *,
    timeout: float | None = None,
    keep_log_in: Path | None = None,
) -> Path:
    """Compile `tree` in `folder`; returns the file that is loaded. See `building.carry_out`."""
    if isinstance(compiler, Compiler):
        from cnngen.backends.cpu import toolchain

        return toolchain.build(tree, compiler, folder, timeout=timeout, keep_log_in=keep_log_in)
    from cnngen.backends.cuda import toolchain as cuda_toolchain

    return cuda_toolchain.build(tree, compiler, folder, timeout=timeout, keep_log_in=keep_log_in)


def command_words(tree: SourceTree, compiler: AnyCompiler) -> list[str]:
    """Every word of every command, with an empty one after each command."""
    if isinstance(compiler, Compiler):
        from cnngen.backends.cpu import toolchain

        compilations, link = toolchain.commands(tree, compiler)
        todo = [*compilations, link]
    else:
        from cnngen.backends.cuda import toolchain as cuda_toolchain

        todo = [command for stage in cuda_toolchain.commands(tree, compiler) for command in stage]
    return [word for command in todo for word in (*command, "")]
