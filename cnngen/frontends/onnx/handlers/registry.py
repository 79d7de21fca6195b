"""Which function makes ops of a node: one for each op of ONNX, entered by a decorator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnngen.frontends.onnx.node import NodeReader
from cnngen.frontends.onnx.values import Value

Handler = Callable[[NodeReader], "Value | Sequence[Value]"]
"""Adds ops for a node; returns its output, or all of them. Raises `ModelError`."""

HANDLERS: dict[str, Handler] = {}
"""By the name of the op in ONNX's own domain."""


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Enter a handler for the ops `kinds`."""

    def enter(handler: Handler) -> Handler:
        for kind in kinds:
            assert kind not in HANDLERS, kind
            HANDLERS[kind] = handler
        return handler

    return enter
