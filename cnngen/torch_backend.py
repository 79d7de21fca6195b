"""The backend for ``torch.compile(module, backend="cnngen")``; PyTorch finds it by the package's entry point.

Each graph that TorchDynamo captures becomes a network, with the weights that it has then. Where that is not possible
the graph runs in PyTorch, and the logger `cnngen.torch` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cnngen.errors import CnngenError, ModelError, TargetError
from cnngen.frontends.torch.capture import capture, shares_memory
from cnngen.frontends.torch.module import lower
from cnngen.network import Network
from cnngen.pipeline import compile as compile_network

logger = logging.getLogger("cnngen.torch")

MAX_SHAPES = 8
"""Networks that one graph is compiled to, for inputs of different shapes; others run in PyTorch."""
MAX_RECOMPILATIONS = 8
"""How often a graph is compiled again because its weights have changed; after that it runs in PyTorch."""
OPTIONS = ("isa", "threads", "numerics", "weight_storage", "cache", "build_dir", "fallback")

Run = Callable[..., Sequence[Any]]
Stamp = tuple[tuple[int, int], ...]
"""Address and version of each weight: PyTorch counts the writes to a tensor."""


def compile_graph(
    module: torch.fx.GraphModule, inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None, **_: Any
) -> Run:
    """A function that computes what the captured graph `module` does; for TorchDynamo.

    `options` are those of `torch.compile`: `isa`, `threads`, `numerics`, `cache` and `build_dir` as for
    `cnngen.compile`, and ``fallback=False`` to raise what is wrong with a graph in place of running it in PyTorch.
    Weights are packed when a graph is compiled; when they have been written to since (an optimiser's step,
    `load_state_dict`), it is compiled again. Graphs that need gradients run in PyTorch.
    """
    chosen = dict(options or {})
    unknown = sorted(set(chosen) - set(OPTIONS))
    if unknown:
        raise TargetError(f"unknown options {', '.join(unknown)}", remedy=f"there are {', '.join(OPTIONS)}")
    fallback = bool(chosen.pop("fallback", True))
    graph = _Graph(module, _weights(module, inputs), chosen, fallback)
    graph.network(inputs)
    return graph


def _weights(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> tuple[int, ...]:
    """Which inputs of a captured graph are parameters and buffers of the module that it comes from."""
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    return tuple(
        number
        for number, (node, value) in enumerate(zip(nodes, inputs, strict=True))
        if isinstance(value, torch.nn.Parameter) or "_dynamo_static_input_type" in node.meta.get("tensor_dict", {})
    )


@dataclass
class _Compiled:
    """A network, for inputs of certain shapes and weights in a certain state; None where PyTorch has to do it."""

    network: Network | None
    weights: Stamp
    recompilations: int = 0


class _Graph:
    """What TorchDynamo calls in place of the graph: networks for it, by the shapes of its inputs."""

    def __init__(
        self, module: torch.fx.GraphModule, weights: tuple[int, ...], options: dict[str, Any], fallback: bool
    ) -> None:
        self._module = module
        self._weights = weights
        self._options = options
        self._fallback = fallback
        self._compiled: dict[tuple[Any, ...], _Compiled] = {}

    def __call__(self, *args: Any) -> Sequence[Any]:
        network = self.network(args)
        if network is None:
            results: Sequence[Any] = self._module(*args)
            return results
        result = network(*map(_as_it_lies, self._activations(args)))
        return result if isinstance(result, list) else [result]

    def network(self, args: Sequence[Any]) -> Network | None:
        """The network for these arguments, compiled where there is none that fits; None where PyTorch has to do it."""
        key = tuple(
            (tuple(arg.shape), arg.requires_grad, channels_last(arg)) if isinstance(arg, torch.Tensor) else int(arg)
            for arg in self._without_weights(args)
        )
        found = self._compiled.get((key, torch.is_grad_enabled()))
        stamp = tuple(map(_stamp, (args[number] for number in self._weights)))
        if found is not None and (found.network is None or found.weights == stamp):
            return found.network
        recompilations = 0 if found is None else found.recompilations + 1
        if found is not None:
            logger.info("weights have changed: the graph is compiled again")
        network = None
        try:
            if found is None and len(self._compiled) >= MAX_SHAPES:
                raise ModelError(f"it was called with more than {MAX_SHAPES} shapes of inputs")
            if recompilations > MAX_RECOMPILATIONS:
                raise ModelError(f"its weights have changed more than {MAX_RECOMPILATIONS} times")
            network = self._compile(args)
        except CnngenError as error:
            if not self._fallback:
                raise
            logger.warning("a graph runs in PyTorch: %s", error)
        self._compiled[key, torch.is_grad_enabled()] = _Compiled(network, stamp, recompilations)
        return network

    def _without_weights(self, args: Sequence[Any]) -> list[Any]:
        return [arg for number, arg in enumerate(args) if number not in self._weights]

    def _activations(self, args: Sequence[Any]) -> list[torch.Tensor]:
        return [arg for arg in self._without_weights(args) if isinstance(arg, torch.Tensor)]

    def _compile(self, args: Sequence[Any]) -> Network:
        """Raises `CnngenError` where the graph cannot become a network."""
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise ModelError(
                "gradients are wanted, which a compiled network does not have",
                remedy="call the module under torch.no_grad() or torch.inference_mode()",
            )
        activations = tuple(map(_as_it_lies, self._activations(args)))
        if not activations:
            raise ModelError("it has no input but weights")
        program = capture(_Frozen(self._module, args, self._weights).eval(), activations, None)
        if shares_memory(program):
            raise ModelError("an output shares memory with an input or another output")
        return compile_network(lower(program, name="graph"), **self._options)


class _Frozen(torch.nn.Module):
    """The captured graph as a module that has its weights as its own, and takes the other tensors as they lie."""

    def __init__(self, module: torch.fx.GraphModule, args: Sequence[Any], weights: tuple[int, ...]) -> None:
        super().__init__()
        self.graph = module
        self.weights = weights
        self.numbers = {
            number: int(arg)
            for number, arg in enumerate(args)
            if number not in weights and not isinstance(arg, torch.Tensor)
        }
        for number in weights:
            self.register_buffer(f"weight_{number}", args[number].detach())
        self.permuted = [isinstance(arg, torch.Tensor) and channels_last(arg) for arg in args]

    def forward(self, *activations: torch.Tensor) -> Any:
        rest = iter(activations)
        args: list[Any] = []
        for number, permuted in enumerate(self.permuted):
            if number in self.weights:
                args.append(getattr(self, f"weight_{number}"))
            elif number in self.numbers:
                args.append(self.numbers[number])
            else:
                args.append(next(rest).permute(0, 3, 1, 2) if permuted else next(rest))
        return self.graph(*args)


def channels_last(tensor: torch.Tensor) -> bool:
    """Whether an image has its channels last in memory, which is how networks have them inside."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def _as_it_lies(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with its axes in the order in which they lie in memory: networks read that without a copy."""
    return tensor.permute(0, 2, 3, 1) if channels_last(tensor) else tensor


def _stamp(weight: torch.Tensor) -> tuple[int, int]:
    """Address and version; tensors made in inference mode have no version, and are not written to outside of it."""
    return weight.data_ptr(), -1 if weight.is_inference() else weight._version
