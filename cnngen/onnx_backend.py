"""cnngen behind ONNX's backend interface, so that what runs on any backend, the official test suite too, runs here.

    import cnngen.onnx_backend as backend
    prepared = backend.prepare(onnx.load("model.onnx"))
    (y,) = prepared.run([x])

A network is compiled for its weights and shapes. A model may take them as inputs, as the tests of single ops do: such
an input (whatever is no float, and what an op needs to know before it can be compiled) is bound when the model is
run, and the network is compiled for the values that it has then. Other values compile another network. Outputs get
the type that the model gives them; all computing is in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from cnngen.errors import RunError, inert
from cnngen.frontends.onnx import open_model
from cnngen.frontends.onnx.conversion import Converted, UnsupportedModelError
from cnngen.frontends.onnx.inputs import FLOATS, TYPES
from cnngen.frontends.onnx.node import UnsupportedError
from cnngen.frontends.onnx.tensors import dtype_of
from cnngen.frontends.record import Record
from cnngen.ir import Array
from cnngen.network import Network

FLOAT_MAX = float(np.finfo(np.float32).max)
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Binding:
    """A model for inputs of certain shapes: what it became, and which of its inputs are parameters."""

    converted: Converted
    parameters: Mapping[str, Array]

    def fits(self, fed: Mapping[str, Array]) -> bool:
        """Whether it is the network for these inputs."""
        graph = self.converted.graph
        shapes = {} if graph is None else {tensor.name: tensor.type.shape for tensor in graph.inputs}
        same = all(
            array.dtype == fed[name].dtype and array.shape == fed[name].shape and np.array_equal(array, fed[name])
            for name, array in self.parameters.items()
        )
        return same and all(shapes.get(own) == fed[name].shape for name, own in self.converted.inputs.items())


@dataclass
class CnngenRep(BackendRep):
    """A model that is ready to run; compiled at its first run, and again for other parameters or shapes."""

    model: onnx.ModelProto
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        initialised = {tensor.name for tensor in self.model.graph.initializer}
        self.inputs = [value for value in self.model.graph.input if value.name not in initialised]
        self._bound: list[tuple[Binding, Network | None]] = []

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """The outputs, a named tuple, for `inputs` in the model's order or by name. Raises `CnngenError`."""
        fed = self._by_name(inputs)
        found = next(((binding, network) for binding, network in self._bound if binding.fits(fed)), None)
        if found is None:
            new = self.bind(fed)
            graph = new.converted.graph
            found = new, None if graph is None else self._compiled(graph)
            self._bound.append(found)
        binding, network = found
        results = dict(binding.converted.constants)
        if network is not None:
            results.update(self._called(network, binding, fed))
        names = [value.name for value in self.model.graph.output]
        outputs = [_typed(results[value.name], value) for value in self.model.graph.output]
        return tuple(namedtupledict("Outputs", names)(*outputs))

    def bind(self, fed: Mapping[str, Array]) -> Binding:
        """The network for these inputs. Raises `ModelError` where it cannot be one."""
        parameters = {v.name: fed[v.name] for v in self.inputs if not _is_float(v)}
        while True:
            computed = {name: array.shape for name, array in fed.items() if name not in parameters}
            if not computed:
                types = ", ".join(sorted({str(array.dtype) for array in fed.values()})) or "nothing"
                raise UnsupportedError(f"no input is computed with: the model takes {types}", reason=TYPES)
            try:
                converted = open_model(
                    self.model, input_shapes=computed, constants=parameters, record=Record(digests=False, silent=True)
                )
                return Binding(converted, parameters)
            except UnsupportedModelError as error:
                needed = {name for problem in error.problems for name in problem.needs} & set(computed)
                if not needed or len(needed) == len(computed):
                    raise
                parameters.update({name: fed[name] for name in needed})

    def _compiled(self, graph: Any) -> Network:
        from cnngen import pipeline

        return pipeline.compile(graph, **self.options)

    def _called(self, network: Network, binding: Binding, fed: Mapping[str, Array]) -> dict[str, Array]:
        arrays = {own: fed[name] for name, own in binding.converted.inputs.items()}
        xs = [np.array(arrays[name], np.float32, order="C") for name in network.input_names]
        outs = [np.empty(shape, np.float32) for shape in network.output_shapes]
        network.run(*xs, out=outs)
        return dict(zip(binding.converted.outputs, outs, strict=True))

    def _by_name(self, inputs: Any) -> dict[str, Array]:
        names = [value.name for value in self.inputs]
        if isinstance(inputs, Mapping):
            given = dict(inputs)
        elif len(names) == 1 and isinstance(inputs, np.ndarray):
            given = {names[0]: inputs}
        else:
            given = dict(zip(names, inputs, strict=False))
            if len(inputs) != len(names):
                raise RunError(f"{len(inputs)} inputs were given, the model has {len(names)}")
        if set(given) != set(names):
            raise RunError(f"inputs {sorted(map(inert, given))} were given, the model has {sorted(map(inert, names))}")
        for name, array in given.items():
            if not isinstance(array, np.ndarray | np.generic):
                raise RunError(f"input {inert(name)} is a {type(array).__name__}, not a NumPy array")
            values = np.asarray(array)
            if values.dtype == np.float64 and (np.abs(values[np.isfinite(values)]) > FLOAT_MAX).any():
                problem = f"input {inert(name)} has numbers that float32 cannot hold"
                raise UnsupportedError(problem, reason="numbers beyond float32")
        return {name: np.asarray(given[name]) for name in names}


class CnngenBackend(Backend):
    """See the module."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:  # noqa: ARG003
        """Whether the device is there. Whether all ops are supported `prepare` and the first run tell, with reasons."""
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> CnngenRep:
        """`model`, ready to run. `options` are those of `cnngen.compile`; others of the caller are not looked at."""
        if not cls.supports_device(device):
            raise RunError(f"the device {device!r} is not supported", remedy="use CPU")
        known = ("isa", "threads", "numerics", "weight_storage", "cache", "build_dir", "name")
        return CnngenRep(model, {key: options[key] for key in known if key in options})

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **options: Any) -> tuple[Any, ...]:
        """Run `model` once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,  # noqa: ARG003
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run one node; `opset_version` among the `options` is that of the node, by default the newest."""
        version = options.pop("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in node.input if name]
        arrays = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "node", values, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
        return cls.run_model(model, [np.asarray(array) for array in arrays], device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The CPU only."""
        return device.partition(":")[0] == "CPU"


def _is_float(value: onnx.ValueInfoProto) -> bool:
    dtype = dtype_of(value.type.tensor_type.elem_type) if value.type.HasField("tensor_type") else None
    return dtype is not None and dtype.name in FLOATS


def _typed(array: Array, value: onnx.ValueInfoProto) -> Array:
    """`array` in the type that the model gives to an output."""
    code = value.type.tensor_type.elem_type
    return np.asarray(array) if dtype_of(code) is None else np.asarray(array, helper.tensor_dtype_to_np_dtype(code))


prepare = CnngenBackend.prepare
run_model = CnngenBackend.run_model
run_node = CnngenBackend.run_node
supports_device = CnngenBackend.supports_device
is_compatible = CnngenBackend.is_compatible

__all__ = ["CnngenBackend", "CnngenRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]
