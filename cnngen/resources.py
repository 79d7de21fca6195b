"""Where the files that ship with cnngen lie: inside the installed wheel, or in the repository."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def templates_folder() -> Path:
    """The folder of code templates."""
    return _shipped("templates")


def specs_folder() -> Path:
    """The folder of shipped specs (`lenet.yaml`, ...)."""
    return _shipped("specs")


def _shipped(name: str) -> Path:
    """The folder `name`: a wheel holds it inside the package, an editable install beside it."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
