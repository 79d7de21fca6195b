"""The handlers of ATen ops, one family a file; importing them fills the table."""

from cnngen.frontends.torch.handlers import activation, elementwise, linear, normalise, pool, resize, shape

__all__ = ["activation", "elementwise", "linear", "normalise", "pool", "resize", "shape"]
