"""What the kernels of both backends that normalise by their input's mean and variance have in common."""

from __future__ import annotations

import math
from abc import abstractmethod

from cnngen.backends.text import c_float


class NormForm:
    """Gamma with `scale`, beta with `center`, then an epilogue, whose part of a kernel's name is `ending`."""

    shape: tuple[int, int, int, int]
    epsilon: float
    scale: bool
    center: bool

    @property
    @abstractmethod
    def ending(self) -> str:
        """What the epilogue adds to the label."""

    @property
    @abstractmethod
    def affine_elements(self) -> int:
        """Elements of gamma and of beta."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameter arrays."""
        return ("gamma",) * self.scale + ("beta",) * self.center

    @property
    def parameter_sizes(self) -> tuple[int, ...]:
        return (self.affine_elements,) * len(self.parameters)

    @property
    def epsilon_literal(self) -> str:
        return c_float(self.epsilon)

    @property
    def suffix(self) -> str:
        """Part of the label: what is left out, and the activation."""
        return ("" if self.scale else "_noscale") + ("" if self.center else "_nocenter") + self.ending


class ImageNormForm(NormForm):
    """Over all pixels of the channels of a group; with `per_element` gamma and beta have the shape of the image."""

    groups: int
    per_element: bool

    @property
    def label(self) -> str:
        n, h, w, c = self.shape
        form = "_each" if self.per_element else ""
        return f"norm_{h}x{w}_c{c}_g{self.groups}_n{n}{form}{self.suffix}"

    @property
    def affine_elements(self) -> int:
        return math.prod(self.shape[1:]) if self.per_element else self.shape[3]

    @property
    def group_channels(self) -> int:
        return self.shape[3] // self.groups

    @property
    def count(self) -> int:
        """Elements of a set."""
        return self.shape[1] * self.shape[2] * self.group_channels
