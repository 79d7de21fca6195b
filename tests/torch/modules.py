"""Small PyTorch modules, and cnngen's reading of them against PyTorch itself in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

import cnngen
from cnngen.ir import Graph


class Of(torch.nn.Module):
    """A module whose forward is the given function."""

    def __init__(self, function: Any, **parts: torch.nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *xs: torch.Tensor) -> Any:
        return self.function(self, *xs)


def seeded(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """`module` in eval mode, with random statistics and scales in its norms, whose defaults are the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if not tensor.is_floating_point():
                continue
            low, high = (0.5, 1.5) if name.endswith(("running_var", "weight")) and tensor.ndim == 1 else (-0.5, 0.5)
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return module.eval()


def inputs(*shapes: tuple[int, ...], seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def expected(module: torch.nn.Module, xs: list[torch.Tensor]) -> list[np.ndarray]:
    """What PyTorch computes in float64."""
    with torch.no_grad():
        result = copy.deepcopy(module).double()(*(x.double() for x in xs))
    results = result if isinstance(result, list | tuple) else [result]
    return [one.numpy() for one in results]


def verify_reading(module: torch.nn.Module, xs: list[torch.Tensor], *, rtol: float = 1e-11) -> Graph:
    """The graph of `module`, after its meaning in float64 was found to be PyTorch's."""
    graph = cnngen.load_graph(module, tuple(xs))
    tensors = cnngen.reference(graph, [x.numpy() for x in xs], keep=True)
    wanted = expected(module, xs)
    assert len(graph.outputs) == len(wanted)
    for name, value in zip(graph.outputs, wanted, strict=True):
        assert tensors[name].shape == value.shape
        np.testing.assert_allclose(tensors[name], value, rtol=rtol, atol=rtol * max(1.0, np.abs(value).max(initial=0)))
    return graph
