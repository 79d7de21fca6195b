"""PyTorch modules compiled: names, places, weights, errors, and calls with tensors.

Run in an environment with PyTorch: ``make test-torch``.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import cnngen
from cnngen.errors import ModelError, RunError, SpecError

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch installs it")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.torch.modules import Of, expected, inputs, seeded, verify_reading  # noqa: E402

pytestmark = pytest.mark.torch


class Small(nn.Module):
    """What most networks for classification consist of."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1),
        )
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x += x.mean((2, 3), keepdim=True).sigmoid()
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return seeded(Small())


@pytest.fixture(scope="module")
def net(small: nn.Module) -> Any:
    with cnngen.compile(small, (2, 3, 12, 12)) as compiled:
        yield compiled


def test_native_code_agrees(small: nn.Module, net: cnngen.Network) -> None:
    (x,) = inputs((2, 3, 12, 12))
    assert cnngen.verify(net, x=x.numpy()).ok
    (wanted,) = expected(small, [x])
    np.testing.assert_allclose(net(x).numpy(), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(cnngen.reference(net.source_graph, x.numpy()), wanted, rtol=1e-12)


def test_nodes_have_the_names_of_the_modules(net: cnngen.Network) -> None:
    names = [node.name for node in net.source_graph.nodes]
    assert {"features.0", "features.1", "features.4", "classifier"} <= set(names)
    assert net.name == "Small"
    assert net.input_names == ("x",)
    assert net.output_names == ("classifier",)
    assert net.input_shapes == ((2, 3, 12, 12),)


def test_nodes_know_their_line(net: cnngen.Network) -> None:
    source = net.source_graph.node("features.0").source
    assert source is not None
    assert source.file == __file__


def test_weights_are_the_modules_own_memory(small: Small, net: cnngen.Network) -> None:
    for name, parameter in (("features.0", small.features[0].weight), ("classifier", small.classifier.weight)):
        weight = net.source_graph.node(name).weights["weight"]
        assert np.shares_memory(weight, parameter.detach().numpy())
        assert not weight.flags.writeable


@pytest.mark.parametrize(
    "example",
    [
        (1, 3, 12, 12),
        [1, 3, 12, 12],
        np.zeros((1, 3, 12, 12), np.float32),
        ((1, 3, 12, 12),),
        {"x": (1, 3, 12, 12)},
    ],
)
def test_examples(small: nn.Module, example: Any) -> None:
    assert cnngen.load_graph(small, example=example).inputs[0].type.shape == (1, 3, 12, 12)


def test_the_batch_is_that_of_the_example_unless_given(small: nn.Module) -> None:
    assert cnngen.load_graph(small, (5, 3, 12, 12)).inputs[0].type.shape[0] == 5
    assert cnngen.load_graph(small, torch.zeros(5, 3, 12, 12), batch=2).inputs[0].type.shape[0] == 2


def test_an_exported_program_is_read(small: nn.Module) -> None:
    (x,) = inputs((1, 3, 12, 12))
    program = torch.export.export(small, (x,))
    graph = cnngen.load_graph(program)
    np.testing.assert_allclose(cnngen.reference(graph, x.numpy()), expected(small, [x])[0], rtol=1e-12)


def test_several_inputs_and_outputs() -> None:
    module = Of(lambda m, a, b: (a + b, m.fc(a), b), fc=nn.Linear(6, 4))
    graph = verify_reading(seeded(module), inputs((2, 6), (2, 6)))
    assert len(graph.inputs) == 2
    assert len(graph.outputs) == 3


# In-place ops


def test_an_in_place_op_that_others_see() -> None:
    def forward(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        z = y.view(2, 12)
        y.relu_()  # z sees it, too
        return z + y.flatten(1)

    verify_reading(Of(forward).eval(), inputs((2, 3, 2, 2)))


def test_an_in_place_op_behind_a_dropout() -> None:
    def forward(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        return functional.relu_(functional.dropout(y, training=False)) + y

    verify_reading(Of(forward).eval(), inputs((2, 3, 2, 2)))


def test_constants_are_computed_by_pytorch() -> None:
    module = Of(lambda m, x: functional.conv2d(x, m.c.weight / m.c.weight.abs().sum(), m.c.bias), c=nn.Conv2d(3, 4, 3))
    verify_reading(seeded(module), inputs((1, 3, 5, 5)), rtol=1e-6)


# Errors


def message(module: nn.Module, example: Any = (1, 3, 12, 12)) -> str:
    with pytest.raises(ModelError) as caught:
        cnngen.load_graph(module, example)
    return str(caught.value)


def test_training_mode_is_refused() -> None:
    module = seeded(Small())
    module.features[1].train()
    assert "training mode (features.1)" in message(module)
    assert "call .eval()" in message(module)


def test_everything_unsupported_is_listed_with_its_place() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Of(lambda m, x: torch.fft.fft2(x).real)
            self.second = Of(lambda m, x: torch.cummax(x, 1).values)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) + self.second(x)

    text = message(Odd().eval())
    assert "first" in text
    assert "aten.cummax" in text
    assert "second" in text
    assert "modules.py:" in text


def test_functional_dropout_in_training_is_refused() -> None:
    text = message(Of(lambda m, x: functional.dropout(x)).eval())
    assert "drops elements" in text


def test_other_types_are_refused() -> None:
    assert "call .float()" in message(seeded(Small()).double())
    assert "call .float()" in message(seeded(Small()), torch.zeros(1, 3, 12, 12, dtype=torch.float64))
    assert "float16" in message(Of(lambda m, x: x.half().float()).eval())


def test_another_device_is_refused() -> None:
    assert "call .cpu()" in message(Small().eval().to("meta"))


def test_a_missing_example_is_asked_for() -> None:
    assert "give an example" in message(Small().eval(), None)


def test_an_example_is_for_modules_only() -> None:
    with pytest.raises(SpecError, match="knows its inputs"):
        cnngen.load_graph("specs/lenet.yaml", (1, 28, 28, 1))


def test_what_cannot_be_traced_is_refused() -> None:
    text = message(Of(lambda m, x: x if x.sum() > 0 else -x).eval())
    assert "cannot be traced" in text


def test_a_module_that_changes_a_buffer_is_refused() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * 2

    assert "writes to calls" in message(Counting().eval())


# Calls with tensors


def test_tensors_in_tensors_out_without_a_copy(small: nn.Module) -> None:
    size = (1, 8, 64, 64)
    module = Of(lambda m, x: x.relu()).eval()
    x = torch.zeros(size)
    with cnngen.compile(module, size) as relu:
        relu(x)
        tracemalloc.start()
        y = relu(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(y, torch.Tensor)
        # One array of the output's size, and no other for input or result.
        assert 4 * y.numel() <= peak < 4 * y.numel() + 10_000

        out = torch.empty(size)
        address = out.data_ptr()
        tracemalloc.start()
        relu.run(x, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000
        assert out.data_ptr() == address
        assert torch.equal(out, y)


def test_arrays_in_arrays_out(net: cnngen.Network) -> None:
    (x,) = inputs((3, 3, 12, 12))
    result = net(x.numpy())
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, net(x).numpy())
    np.testing.assert_array_equal(result[0], net(x[0]).numpy())


def test_channels_last_tensors_are_accepted(net: cnngen.Network) -> None:
    (x,) = inputs((2, 3, 12, 12))
    assert torch.equal(net(x.contiguous(memory_format=torch.channels_last)), net(x))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda x: x.double(), "x.float()"),
        (lambda x: x.requires_grad_(), "no_grad"),
        (lambda x: x.to("meta"), ".cpu()"),
        (lambda x: x.to_sparse(), "to_dense"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(net: cnngen.Network, change: Any, remedy: str) -> None:
    with pytest.raises(RunError) as caught:
        net(change(torch.zeros(2, 3, 12, 12)))
    assert remedy in str(caught.value)


def test_a_tensor_with_a_gradient_is_read_where_none_is_wanted(net: cnngen.Network) -> None:
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 12, 12, requires_grad=True)).shape == (2, 10)
