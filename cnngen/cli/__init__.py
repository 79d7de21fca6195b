"""The command line: one module a command, each a thin shell around the public interface."""

from __future__ import annotations

from typing import Annotated

import typer

from cnngen._version import __version__
from cnngen.cli.bench import bench
from cnngen.cli.common import CnngenGroup, DebugOption
from cnngen.cli.compile import compile_
from cnngen.cli.doctor import doctor
from cnngen.cli.import_ import import_
from cnngen.cli.inspect import inspect
from cnngen.cli.run import run
from cnngen.cli.verify import verify

app = typer.Typer(
    name="cnngen",
    cls=CnngenGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 3 toolchain, 4 device.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"cnngen {__version__}")
        raise typer.Exit


@app.callback()
def cnngen(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    _debug: DebugOption = False,
) -> None:
    """Compiles a convolutional network into native code made for that one network.

    Start with [bold]cnngen compile lenet[/bold], then [bold]cnngen verify lenet[/bold].
    """


app.command("compile")(compile_)
app.command()(inspect)
app.command()(run)
app.command()(verify)
app.command()(bench)
app.command("import")(import_)
app.command()(doctor)


def main() -> None:
    """Entry point of the `cnngen` script and of ``python -m cnngen``."""
    app(prog_name="cnngen")


__all__ = ["app", "main"]
