"""Faults in ONNX models, by number."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnngen
from cnngen.cli import app
from cnngen.errors import ModelError
from cnngen.frontends.onnx import graph_of, reading
from cnngen.ir import Graph
from cnngen.reference import reference
from tests.onnx_models import convolution, model_of


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refusal(path: Path, *fragments: str) -> ModelError:
    """The error that the model is refused with, which names the file and all `fragments`."""
    with pytest.raises(ModelError) as caught:
        cnngen.load_graph(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: "), message
    for fragment in fragments:
        assert fragment in message, message
    assert caught.value.exit_code == 2
    return caught.value


def external(folder: Path, *, location: str = "weights.bin", **entries: str) -> Path:
    """A model whose kernel lies in a file beside it; `entries` replace those of the tensor."""
    model = convolution()
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    (folder / "weights.bin").write_bytes(b"\0" * 8 + tensor.raw_data)
    entries = {"location": location, "offset": "8", "length": str(len(tensor.raw_data)), **entries}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        if value != "<none>":
            tensor.external_data.add(key=key, value=value)
    return save(model, folder)


def first(graph: Graph) -> np.ndarray:
    return graph.nodes[1].weights["weight"]


@pytest.mark.parametrize("data", [b"", b"\0", b"garbage" * 100, b"\x08\x07", b"PK\x03\x04", bytes(range(256))])
def test_case_49_no_protobuf(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    refusal(path, "ONNX")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_case_49_truncated(part: float, tmp_path: Path) -> None:
    data = convolution().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: int(part * len(data))])
    refusal(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing"])
def test_case_49_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    refusal(path)


def test_case_49_on_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    for command in ("compile", "inspect", "verify", "import"):
        done = CliRunner().invoke(app, [command, str(path)])
        assert done.exit_code == 2
        assert str(path) in done.output
        assert "Traceback" not in done.output


def test_case_50_external_data_is_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    np.testing.assert_array_equal(first(cnngen.load_graph(path)), first(graph_of(convolution())))


@pytest.mark.parametrize(
    "location", ["../outside.bin", "/etc/passwd", "a/../../outside.bin", "", ".", "..", "a\0b", "a\\b", "missing.bin"]
)
def test_case_50_external_data_outside(location: str, tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(b"\0" * 10_000)
    folder = tmp_path / "folder"
    folder.mkdir()
    refusal(external(folder, location=location))


def test_case_50_external_data_by_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = external(folder)
    (folder / "weights.bin").rename(tmp_path / "outside.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "outside.bin")
    refusal(path, "link")


def test_case_50_external_data_in_a_linked_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    path = external(folder, location="data/weights.bin")
    (folder / "weights.bin").rename(outside / "weights.bin")
    (folder / "data").symlink_to(outside)
    refusal(path, "link")


def test_case_50_external_data_by_a_hard_link(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = external(folder)
    os.link(folder / "weights.bin", tmp_path / "outside.bin")
    refusal(path, "hard link")


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-1"},
        {"length": "-4"},
        {"offset": "9" * 30},
        {"offset": "1e3"},
        {"offset": " 8"},
        {"offset": "٣"},
        {"length": "4"},
        {"offset": "1000000000000"},
        {"surprise": "1"},
        {"location": "<none>"},
        {"offset": "12"},
    ],
)
def test_case_51_entries_of_external_data(entries: dict[str, str], tmp_path: Path) -> None:
    refusal(external(tmp_path, **entries), "w:")


def test_case_51_an_entry_twice(tmp_path: Path) -> None:
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    tensor.external_data.add(key="offset", value="0")
    refusal(save(model, tmp_path), "'offset', twice")


def test_case_52_unsupported_ops_are_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Thing", ["a"], ["b"], name="second", domain="com.example"),
        helper.make_node("NoSuchOp", ["b"], ["y"], name="third"),
    ]
    model = model_of(nodes, {"x": (1, 1, 3, 3)}, ["y"])
    refusal(save(model, tmp_path), "3 nodes", "Det", "first", "com.example.Thing", "second", "NoSuchOp", "third")


@pytest.mark.parametrize(("opset", "what"), [(5, "opset 5"), (1000, "install a newer onnx")])
def test_case_52_unsupported_opset(opset: int, what: str, tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3)}, ["y"], opset=opset)
    refusal(save(model, tmp_path), what)


def test_case_52_no_opset(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3)}, ["y"])
    del model.opset_import[:]
    refusal(save(model, tmp_path), "imports no ONNX opset")


def test_case_52_attributes_that_the_op_does_not_have(tmp_path: Path) -> None:
    for attributes in ({"alpha": 1.0}, {"kernel_shape": 3}):
        kind = "Relu" if "alpha" in attributes else "MaxPool"
        model = model_of([helper.make_node(kind, ["x"], ["y"], **attributes)], {"x": (1, 1, 3, 3)}, ["y"])
        refusal(save(model, tmp_path), next(iter(attributes)))


def test_case_53_open_sizes_are_named_with_the_option(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 3, "rows", None)}, ["y"])
    refusal(save(model, tmp_path), "axis 2 ('rows') of x", "axis 3 of x", "--input-shape x=1,3,")


def test_case_53_no_shape_at_all(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3)}, ["y"])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    path = save(model, tmp_path)
    refusal(path, "x has no shape", "--input-shape")
    assert cnngen.load_graph(path, input_shapes={"x": (2, 7)}).types["y"].shape == (2, 7)


def test_case_53_sizes_that_are_none(tmp_path: Path) -> None:
    for size in (-3, 0):
        model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3)}, ["y"])
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = size
        refusal(save(model, tmp_path))


@pytest.mark.parametrize("change", ["dims", "negative", "huge", "short", "long", "type", "fields"])
def test_case_54_initialiser_that_does_not_fit(change: str, tmp_path: Path) -> None:
    model = convolution()
    tensor = next(t for t in model.graph.initializer if t.name == "w")
    match change:
        case "dims":
            tensor.dims[0] = 5
        case "negative":
            tensor.dims[0] = -4
        case "huge":
            tensor.dims[0] = 2**62
        case "short":
            tensor.raw_data = tensor.raw_data[:-4]
        case "long":
            tensor.raw_data += b"\0" * 4
        case "type":
            tensor.data_type = 8
        case "fields":
            tensor.ClearField("raw_data")
            tensor.float_data.extend([1.0] * 7)
    tracemalloc.start()
    try:
        refusal(save(model, tmp_path), "w:")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_case_54_weights_of_another_shape_than_the_layer(tmp_path: Path) -> None:
    model = convolution()
    for name, shape in (("w", (4, 2, 3, 3)), ("b", (5,)), ("variance", (3,)), ("d", (5, 63))):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        tensor = next(t for t in changed.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ones(shape, np.float32), name))
        refusal(save(changed, tmp_path))


def test_case_54_a_name_twice(tmp_path: Path) -> None:
    model = convolution()
    model.graph.initializer.append(model.graph.initializer[0])
    refusal(save(model, tmp_path), "two initialisers carry this name")


def test_case_55_initialiser_that_is_an_input_too(tmp_path: Path) -> None:
    model = convolution()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 3, 3, 3)))
    graph = cnngen.load_graph(save(model, tmp_path))
    assert [tensor.name for tensor in graph.inputs] == ["x"]


def two_nodes(**changes: list[str]) -> onnx.ModelProto:
    """``y = relu(a)``, ``a = relu(x)``, with other inputs or outputs of the nodes `first` and `second`."""
    nodes = [
        helper.make_node("Relu", changes.get("first", ["x"]), changes.get("first_out", ["a"]), name="first"),
        helper.make_node("Relu", changes.get("second", ["a"]), changes.get("second_out", ["y"]), name="second"),
    ]
    return model_of(nodes, {"x": (1, 3)}, ["y"])


@pytest.mark.parametrize(
    ("model", "fragment"),
    [
        (two_nodes(first=["y"]), "cycle"),
        (two_nodes(first=["a"]), "cycle"),
        (two_nodes(first=["y"], second=["x"]), "a later node computes"),
        (two_nodes(first=["nothing"]), "which nothing computes"),
        (two_nodes(second_out=["a"]), "assigned twice"),
        (two_nodes(first_out=["x"]), "assigned twice"),
        (two_nodes(second_out=["z"]), "computed by no node"),
    ],
)
def test_case_56_cycle_order_and_names(model: onnx.ModelProto, fragment: str, tmp_path: Path) -> None:
    refusal(save(model, tmp_path), fragment)


def test_case_56_a_long_chain_is_read(tmp_path: Path) -> None:
    """No recursion over nodes."""
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    graph = cnngen.load_graph(save(model_of(nodes, {"t0": (1, 3)}, ["t3000"]), tmp_path))
    assert len(graph.nodes) == 3000


def test_case_57_subgraphs(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "branch", [], [helper.make_empty_tensor_value_info("z")]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)]
    model = model_of(nodes, {"x": (1, 3)}, ["y"], {"c": np.array(True)})
    refusal(save(model, tmp_path), "choice", "If")


def with_functions(*functions: tuple[str, list[onnx.NodeProto]]) -> onnx.ModelProto:
    model = model_of([helper.make_node("f", ["x"], ["y"], domain="own")], {"x": (1, 3)}, ["y"])
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    for name, nodes in functions:
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], nodes, opsets))
    return model


def test_case_57_functions_are_inlined(tmp_path: Path) -> None:
    inner = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    outer = [helper.make_node("g", ["a"], ["t"], domain="own"), helper.make_node("g", ["t"], ["b"], domain="own")]
    graph = cnngen.load_graph(save(with_functions(("f", outer), ("g", inner)), tmp_path))
    x = np.array([[-1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(reference(graph, x), [[0.0, 0.0, 0.0]])


def test_case_57_functions_that_call_themselves(tmp_path: Path) -> None:
    itself = [helper.make_node("f", ["a"], ["b"], domain="own")]
    refusal(save(with_functions(("f", itself)), tmp_path), "calls itself: f > f")
    there = [helper.make_node("g", ["a"], ["b"], domain="own")]
    refusal(save(with_functions(("f", there), ("g", itself)), tmp_path), "f > g > f")


def test_case_57_functions_that_double_and_double(tmp_path: Path) -> None:
    """Thirty functions, each of which calls the next one twice, are a billion nodes."""

    def twice(name: str) -> list[onnx.NodeProto]:
        return [helper.make_node(name, ["a"], ["t"], domain="own"), helper.make_node(name, ["t"], ["b"], domain="own")]

    names = ["f", *(f"f{number}" for number in range(30))]
    functions = [(name, twice(after)) for name, after in itertools.pairwise(names)]
    functions.append((names[-1], [helper.make_node("Relu", ["a"], ["b"])]))
    refusal(save(with_functions(*functions), tmp_path), "expand to 1,073,741,824 nodes")


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_case_58_auto_pad_beside_pads(auto_pad: str, tmp_path: Path) -> None:
    model = convolution()
    model.graph.node[0].attribute.append(helper.make_attribute("auto_pad", auto_pad))
    refusal(save(model, tmp_path), "conv: ", auto_pad, "pads")


def test_case_58_unknown_auto_pad(tmp_path: Path) -> None:
    model = convolution()
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.append(helper.make_attribute("auto_pad", "SOMEHOW"))
    refusal(save(model, tmp_path), "SOMEHOW", "NOTSET")


def with_node(kind: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.ModelProto:
    constants = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}
    constants["yes"] = np.array(True)
    constants["ratio"] = np.array(0.5, np.float32)
    node = helper.make_node(kind, inputs, outputs, name="node", **attributes)
    return model_of([node], {"x": (1, 3, 4, 4)}, [name for name in outputs if name][:1], constants, opset=15)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: with_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], training_mode=1), "training"),
        (lambda: with_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "p", "q"]), "training"),
        (lambda: with_node("Dropout", ["x", "ratio", "yes"], ["y"]), "training"),
        (lambda: with_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2]), "indices"),
    ],
)
def test_case_59_training_and_indices(make: Callable[[], onnx.ModelProto], fragment: str, tmp_path: Path) -> None:
    refusal(save(make(), tmp_path), "node: ", fragment)


def test_case_59_dropout_with_an_unused_mask_is_nothing(tmp_path: Path) -> None:
    graph = cnngen.load_graph(save(with_node("Dropout", ["x", "ratio"], ["y", "mask"]), tmp_path))
    x = np.ones((1, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(reference(graph, x), x)


def test_case_60_more_than_two_gigabytes(tmp_path: Path) -> None:
    """A sparse file: nothing of it is read."""
    path = tmp_path / "model.onnx"
    with path.open("wb") as handle:
        handle.truncate(2**31 + 5)
    refusal(path, "2 GiB", "save_as_external_data")
    assert reading.MAX_MODEL_BYTES == 2**31 - 1
