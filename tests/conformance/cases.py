"""The cases of `onnx.backend.test`: models with inputs and the outputs that they should give."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
CACHE = Path(__file__).parents[2] / "build" / "conformance"
"""The suite computes the expected outputs of single ops when it is imported, which takes half a minute."""
SUITES = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")


@dataclass(frozen=True, eq=False)
class Case:
    """One test: `model` serialised, and sets of inputs with their outputs."""

    suite: str
    name: str
    model: bytes
    data: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...]
    rtol: float
    atol: float

    @property
    def expanded(self) -> bool:
        """Whether the op is replaced by its definition in terms of others."""
        return "_expanded" in self.name

    def proto(self) -> onnx.ModelProto:
        return onnx.load_model_from_string(self.model)


def load_cases(*suites: str) -> list[Case]:
    """All cases of these suites, by default of all."""
    chosen = suites or SUITES
    found = [case for suite in chosen if suite == "node" for case in _nodes()]
    return found + [case for suite in chosen if suite != "node" for case in _files(suite)]


def _nodes() -> list[Case]:
    path = CACHE / f"node-{onnx.__version__}-{np.__version__}.pickle"
    if path.exists():
        cases: list[Case] = pickle.loads(path.read_bytes())
        return cases
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = load_node_model_tests()
    cases = [
        Case(
            "node",
            test.name,
            test.model.SerializeToString(),
            tuple((tuple(map(_array, xs)), tuple(map(_array, ys))) for xs, ys in test.data_sets),
            test.rtol,
            test.atol,
        )
        for test in tests
    ]
    CACHE.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(cases))
    return cases


def _files(suite: str) -> list[Case]:
    if suite == "light":
        return [_light(path) for path in sorted((DATA / suite).glob("light_*.onnx"))]
    cases = []
    for folder in sorted(path for path in (DATA / suite).iterdir() if path.is_dir()):
        model = onnx.load(folder / "model.onnx")
        data = tuple(
            (
                tuple(_protos(part, "input", model.graph.input)),
                tuple(_protos(part, "output", model.graph.output)),
            )
            for part in sorted(folder.glob("test_data_set*"))
        )
        cases.append(Case(suite, folder.name, model.SerializeToString(), data, 1e-3, 1e-7))
    return cases


def _light(path: Path) -> Case:
    """A network whose weights are made by ConstantOfShape, on the runner's inputs, with the output that is shipped."""
    from onnx.backend.test.runner import Runner

    model = onnx.load(path)
    given = {tensor.name for tensor in model.graph.initializer}
    xs = tuple(Runner.generate_dummy_data(value) for value in model.graph.input if value.name not in given)
    shipped = sorted(path.parent.glob(f"{path.stem}_output_*.pb"), key=_number)
    ys = tuple(numpy_helper.to_array(onnx.load_tensor(file)) for file in shipped)
    return Case("light", path.stem, model.SerializeToString(), ((xs, ys),), 1e-3, 1e-7)


def _protos(folder: Path, kind: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    found = []
    for path in sorted(folder.glob(f"{kind}_*.pb"), key=_number):
        message = path.read_bytes()
        if values[_number(path)].type.HasField("sequence_type"):
            sequence = onnx.SequenceProto()
            sequence.ParseFromString(message)
            found.append(numpy_helper.to_list(sequence))
        else:
            tensor = onnx.TensorProto()
            tensor.ParseFromString(message)
            found.append(numpy_helper.to_array(tensor))
    return found


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
