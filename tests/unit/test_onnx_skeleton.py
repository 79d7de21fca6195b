"""Weights of large models are read past protobuf: the model is the same, whatever the file, and they are held once."""

from __future__ import annotations

import io
import random
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import cnngen
from cnngen import pipeline
from cnngen.backends import pack_weights, packing
from cnngen.backends.sources import StoredBlob, as_bytes
from cnngen.errors import CnngenError, Source
from cnngen.frontends.onnx import reading, skeleton
from cnngen.frontends.onnx.reading import parse, take_model
from cnngen.frontends.onnx.skeleton import read_skeleton
from cnngen.frontends.record import Record
from cnngen.ir import Array
from tests.fuzz.onnx_mutations import base_models, mutate
from tests.onnx_models import convolution, model_of


@pytest.fixture
def every_byte_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest data are cut out, through a window that hardly holds a field."""
    monkeypatch.setattr(skeleton, "LEAST", 1)
    monkeypatch.setattr(skeleton, "WINDOW", 16)
    monkeypatch.setattr(reading, "LARGE", 0)


def arrays_of(data: bytes) -> dict[str, Array] | str:
    """The initialisers of a model as they are read, or the message of an error."""
    try:
        found = read_skeleton(io.BytesIO(data), len(data))
        text, large = found or (data, {})
        return take_model(parse(text, Source("m")), None, Source("m"), Record(digests=False), large)[1]
    except CnngenError as error:
        return str(error)


def arrays_by_protobuf(data: bytes) -> dict[str, Array] | str:
    try:
        return take_model(parse(data, Source("m")), None, Source("m"), Record(digests=False))[1]
    except CnngenError as error:
        return str(error)


@pytest.mark.usefixtures("every_byte_counts")
def test_all_but_the_data_goes_to_protobuf() -> None:
    model = convolution()
    data = model.SerializeToString()
    found = read_skeleton(io.BytesIO(data), len(data))
    assert found is not None
    text, large = found
    cut = onnx.ModelProto.FromString(text)
    assert [tensor.HasField("raw_data") for tensor in cut.graph.initializer] == [False] * 9
    for number, tensor in enumerate(model.graph.initializer):
        assert large[number].tobytes() == tensor.raw_data
        cut.graph.initializer[number].raw_data = tensor.raw_data
    assert cut == model


@pytest.mark.usefixtures("every_byte_counts")
def test_damaged_files_read_as_they_do_by_protobuf() -> None:
    """Whatever protobuf makes of a file is made of it here, errors included."""
    rng = random.Random(0)
    outcomes = {"same": 0, "refused": 0}
    for data in base_models():
        for damaged in (data, *(mutate(data, rng) for _ in range(40))):
            expected, found = arrays_by_protobuf(damaged), arrays_of(damaged)
            if isinstance(expected, str) or isinstance(found, str):
                assert expected == found
                outcomes["refused"] += 1
            else:
                assert list(expected) == list(found)
                for name, array in expected.items():
                    np.testing.assert_array_equal(array, found[name])
                    assert array.dtype == found[name].dtype
                outcomes["same"] += 1
    assert min(outcomes.values()) > 40, outcomes


def test_two_graphs_are_joined_by_protobuf() -> None:
    """A message that occurs twice is one: the file is left to protobuf."""
    data = convolution().SerializeToString()
    assert read_skeleton(io.BytesIO(data + data), 2 * len(data)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",  # field 0
        b"\x3a\xff",  # a length that does not end
        b"\x3a\x05\x2a\x09",  # a message beyond its own message
        b"\x3b\x3c",  # a group
        b"\x80" * 11,  # a number that does not end
    ],
)
def test_what_is_no_message_is_left_to_protobuf(data: bytes) -> None:
    assert read_skeleton(io.BytesIO(data), len(data)) is None


def test_the_size_of_the_data_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton, "LEAST", 1)
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": (1, 8)}, ["y"])
    tensor = numpy_helper.from_array(np.ones(8, np.float32), "w")
    tensor.raw_data = tensor.raw_data[:-1]
    model.graph.initializer.append(tensor)
    message = arrays_of(model.SerializeToString())
    assert isinstance(message, str)
    assert "has 31 bytes of data" in message


def large_model() -> onnx.ModelProto:
    """Five convolutions with batch norms behind them, 2.4 MB of weights each: what is held besides is small."""
    rng = np.random.default_rng(0)
    nodes, constants, x = [], {}, "x"
    for number in range(5):
        constants[f"w{number}"] = rng.standard_normal((256, 256, 3, 3)).astype(np.float32)
        norm = [f"{role}{number}" for role in ("scale", "shift", "mean", "variance")]
        constants |= {name: rng.random(256).astype(np.float32) + np.float32(0.5) for name in norm}
        nodes.append(helper.make_node("Conv", [x, f"w{number}"], [f"c{number}"], pads=[1] * 4, strides=[2, 2]))
        nodes.append(helper.make_node("BatchNormalization", [f"c{number}", *norm], [x := f"n{number}"]))
    return model_of(nodes, {"x": (1, 256, 32, 32)}, [x], constants)


def test_weights_are_held_once_and_once_more_behind_folded_batch_norms(tmp_path: Path) -> None:
    """Neither the file nor what protobuf makes of it nor the packed weights are in memory beside them.

    Of plain sums: Winograd's algorithm has the transformed filters of one layer in memory for a moment, with stride 2
    nine times its weights.
    """
    path = tmp_path / "large.onnx"
    onnx.save(large_model(), path)
    size = path.stat().st_size
    assert size > 11e6
    tracemalloc.start()
    try:
        graph = cnngen.load_graph(path)
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
        plan = pipeline.plan_for(graph, isa="scalar", threads=1, numerics="reproducible")
        tree = pipeline.sources(plan)
        held, most = tracemalloc.get_traced_memory()
        assert most < 3 * size, (
            "the graph, its folded copy, a part of the packed weights, and a megabyte or two of code"
        )
    finally:
        tracemalloc.stop()
    (blob,) = tree.blobs.values()
    assert isinstance(blob, StoredBlob)
    assert held < 2.4 * size


def test_a_blob_in_a_file_holds_the_bytes_of_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnngen.backends.files import write_tree
    from tests.graphs import EXAMPLES

    monkeypatch.setattr(packing, "IN_MEMORY", 0)
    monkeypatch.setattr(packing, "PIECE", 64)
    for name in ("lenet", "inception", "squeeze_excitation"):
        graph = EXAMPLES[name]()
        plan = pipeline.plan_for(graph, isa="scalar", threads=1)
        stored = pipeline.sources(plan)
        with monkeypatch.context() as patch:
            patch.setattr(packing, "IN_MEMORY", 1 << 30)
            tree = pipeline.sources(plan)
        assert stored.digest == tree.digest
        write_tree(stored, tmp_path / name)
        write_tree(stored, tmp_path / name)  # the file is there already
        (file,) = (tmp_path / name).glob("*_weights.bin")
        assert file.read_bytes() == bytes(as_bytes(pack_weights(plan)))


def test_without_room_for_files_the_blob_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.graphs import EXAMPLES

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "IN_MEMORY", 0)
    monkeypatch.setattr("os.pwrite", full)
    plan = pipeline.plan_for(EXAMPLES["lenet"](), isa="scalar", threads=1)
    (blob,) = pipeline.sources(plan).blobs.values()
    np.testing.assert_array_equal(blob, pack_weights(plan))
