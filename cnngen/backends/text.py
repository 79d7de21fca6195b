"""Pieces of generated C and CUDA: literals, identifiers, comments, pointers, and the environment of the templates."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnngen.ops import Activation
from cnngen.ops.elementary import whole_exponent
from cnngen.plan.memory import View

if TYPE_CHECKING:
    import jinja2

RESERVED_NAMES = ("simd", "vector_math", "winograd")
"""Headers that every network for a CPU has: one of its own by that name would replace them."""


_KEPT: ContextVar[bool] = ContextVar("templates are kept", default=True)


@contextmanager
def keeping_templates(kept: bool) -> Iterator[None]:
    """Within it, `environment` reads and writes what is kept of templates, or does without."""
    before = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(before)


def environment(language: str) -> jinja2.Environment:
    """The templates in this folder of `templates/`; they fail on anything that they are not given.

    What Jinja makes of a template is kept in the cache folder, because it takes longer than all the rest, unless
    `keeping_templates` says otherwise.
    """
    return _environment(language, _KEPT.get())


@functools.cache
def _environment(language: str, kept: bool) -> jinja2.Environment:
    import jinja2

    from cnngen import resources
    from cnngen.cache import private_folder

    bytecode = private_folder("templates") if kept else None
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates_folder() / language),
        bytecode_cache=jinja2.FileSystemBytecodeCache(str(bytecode)) if bytecode else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


@functools.cache
def header(path: str) -> str:
    """A header that is copied as it is, by its path below `templates/`."""
    from cnngen import resources

    return (resources.templates_folder() / path).read_text()


def c_identifier(name: str) -> str:
    """A C identifier and file name for a network: letters, digits and underscores, at most 40."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_")
    usable = cleaned and not cleaned[0].isdigit() and cleaned not in RESERVED_NAMES
    return cleaned if usable else f"net_{cleaned}".rstrip("_")


def c_comment(text: str) -> str:
    """`text` without anything that could end a comment, continue a line or form a trigraph."""
    return re.sub(r"[^A-Za-z0-9 _.,:()\[\]>=+/-]", "_", text)[:160]


def c_float(value: float) -> str:
    """`value` as a C literal that reads back to the same float32."""
    number = np.float32(value)
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = f"{number:.9g}"
    with np.errstate(over="ignore"):  # the largest float has no shorter text: rounded up it is infinite
        shortest = next((t for p in range(1, 9) if np.float32(t := f"{number:.{p}g}") == number), text)
    return (shortest if any(c in shortest for c in ".e") else shortest + ".0") + "f"


def called(activation: Activation, variable: str, constant: Callable[[float], str]) -> str:
    """The call of the function `act_<name>` on `variable`; `constant` writes a parameter.

    Powers whose exponents are small whole numbers or halves have functions of their own.
    """
    if activation.function == "pow":
        whole = whole_exponent(activation.alpha)
        if whole is not None:
            return f"act_pow_whole({variable}, {whole})"
        if abs(activation.alpha) == 0.5:
            return f"act_pow_{'half' if activation.alpha > 0 else 'minus_half'}({variable})"
    arguments = [variable, *map(constant, activation.parameters)]
    return f"act_{activation.function}({', '.join(arguments)})"


def several(count: int, noun: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def pointer(view: View, call: str) -> str:
    """The pointer to a view's first element; `call` is the C expression, with `.` or `->`, that has the arrays."""
    base = {
        "arena": f"{call}arena",
        "input": f"{call}inputs[{view.index}]",
        "output": f"{call}outputs[{view.index}]",
        "weights": f"{call}weights",
    }[view.space]
    return behind(base, view.offset)


def behind(base: str, offset: int) -> str:
    """The expression for a pointer `offset` numbers behind `base`."""
    return f"{base} {'+' if offset > 0 else '-'} {abs(offset)}" if offset else base


def replaces_best(function: Literal["max", "min"], select_last: bool) -> str:
    """The C condition under which `v` replaces `best`; NaN beats all, and the first (or last) of equal ones stands."""
    sign = ">" if function == "max" else "<"
    if select_last:
        return f"v != v || (best == best && v {sign}= best)"
    return f"v {sign} best || (v != v && best == best)"
