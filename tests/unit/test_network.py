"""`Network`: batches, names, several inputs and outputs, looking inside, and its life."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

import cnngen
from cnngen.errors import RunError
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.ops import Activation, Conv2D, Dense, Flatten
from cnngen.reference import evaluate, reference
from cnngen.workspace import Workspace
from tests.graphs import EXAMPLES, RELU, SAME3, Builder, chain, channels_first, feed, values
from tests.native import native

IMAGE = (7, 6, 3)


def small(batch: int) -> Graph:
    """Integers all the way: results are exact."""
    layers = (Conv2D(5, (3, 3), padding=SAME3), RELU, Flatten(), Dense(4))
    return chain((batch, *IMAGE), *layers, weights="integers", name="small")


def two_by_two() -> Graph:
    """Two inputs, two outputs, batch 2."""
    builder = Builder({"left": (2, 4, 4, 3), "right": (2, 4, 4, 2)}, weights="integers", name="pair")
    a = builder.add(Conv2D(2, (1, 1)), "left", name="a")
    b = builder.add(Conv2D(2, (1, 1), residual=True), "right", a, name="b")
    return builder.graph(b, builder.add(Flatten(), a, name="flat"))


def images(count: int, seed: int = 0) -> Array:
    return values(np.random.default_rng(seed), (count, *IMAGE), "integers")


@pytest.fixture(scope="module", params=[1, 4])
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    with native(small(request.param), "native", flags=("-O1",)) as network:
        yield network


@pytest.fixture(scope="module")
def pair() -> Iterator[Network]:
    with native(two_by_two(), "native", flags=("-O1",)) as network:
        yield network


# Batches


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 11])
def test_any_number_of_images(net: Network, count: int) -> None:
    x = images(count)
    y = net(x)
    assert y.shape == (count, 4)
    assert y.dtype == np.float32
    assert y.flags.c_contiguous
    assert np.array_equal(y, reference(net.graph, x))


def test_each_image_has_the_result_of_its_own(net: Network) -> None:
    """Whatever stands beside it in the batch, and with what the last batch is filled."""
    x = images(7)
    x[5] = np.nan
    together = net(x)
    for index in range(7):
        assert np.array_equal(together[index], net(x[index]), equal_nan=True)
    assert np.isfinite(together[[0, 1, 2, 3, 4, 6]]).all()


def test_one_image_without_the_batch_axis(net: Network) -> None:
    x = images(1)
    assert net(x[0]).shape == (4,)
    assert np.array_equal(net(x[0]), net(x)[0])


def test_every_call_returns_an_array_of_its_own(net: Network) -> None:
    x = images(net.batch)
    first = net(x)
    kept = first.copy()
    net(images(net.batch, seed=1))
    assert np.array_equal(first, kept)
    assert first.base is None or first.base is not net(x).base


def test_inputs_are_not_changed(net: Network) -> None:
    x = images(6)
    before = x.copy()
    x.flags.writeable = False
    net(x)
    assert np.array_equal(x, before)


# Several inputs and outputs


def test_inputs_by_order_by_name_and_as_keywords(pair: Network) -> None:
    x = feed(pair.graph, "integers")
    expected = reference(pair.graph, x)
    for results in (
        pair(x["left"], x["right"]),
        pair([x["left"], x["right"]]),
        pair((x["left"], x["right"])),
        pair(x),
        pair(dict(reversed(x.items()))),
        pair(right=x["right"], left=x["left"]),
    ):
        assert isinstance(results, list)
        assert [y.shape for y in results] == [(2, 4, 4, 2), (2, 32)]
        assert all(np.array_equal(y, e) for y, e in zip(results, expected, strict=True))


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_several_outputs_in_any_batch(pair: Network, batch: int) -> None:
    x = feed(pair.graph, "integers", batch=batch or 2)
    x = {name: array[:batch] for name, array in x.items()}
    results = pair(x)
    assert [y.shape for y in results] == [(batch, 4, 4, 2), (batch, 32)]
    if batch:
        assert all(np.array_equal(y, e) for y, e in zip(results, reference(pair.graph, x), strict=True))


def test_one_image_of_each_input(pair: Network) -> None:
    x = {name: array[0] for name, array in feed(pair.graph, "integers").items()}
    results = pair(x)
    assert [y.shape for y in results] == [(4, 4, 2), (32,)]


def test_wrong_inputs_are_named(pair: Network) -> None:
    x = feed(pair.graph)
    for call, message in (
        (lambda: pair(x["left"]), "1 inputs were given, the network takes 2"),
        (lambda: pair(), "0 inputs were given, the network takes 2"),
        (lambda: pair({"left": x["left"]}), r"inputs \['left'\] were given, the network takes \['left', 'right'\]"),
        (lambda: pair(left=x["left"], wrong=x["right"]), r"\['left', 'wrong'\]"),
        (lambda: pair(x["left"], left=x["left"], right=x["right"]), "both by order and by name"),
        (lambda: pair(x["left"][:1], x["right"]), r"different batch sizes \[1, 2\]"),
        (lambda: pair(x["right"], x["left"]), r"input left has shape \(2, 4, 4, 2\)"),
    ):
        with pytest.raises(RunError, match=message):
            call()


# run


def test_run_writes_into_out(net: Network) -> None:
    x, y = images(net.batch), np.full(net.output_shapes[0], np.nan, np.float32)
    assert net.run(x, out=y) is None
    assert np.array_equal(y, reference(net.graph, x))
    z = np.full_like(y, np.nan)
    net.run(x, out=[z])
    assert np.array_equal(y, z)


def test_run_takes_every_input_and_output(pair: Network) -> None:
    x = feed(pair.graph, "integers")
    outs = [np.full(shape, np.nan, np.float32) for shape in pair.output_shapes]
    pair.run(x["left"], x["right"], out=outs)
    for y, expected in zip(outs, reference(pair.graph, x), strict=True):
        assert np.array_equal(y, expected)
    for wrong in (outs[:1], outs[0], (*outs, outs[0].copy())):
        with pytest.raises(RunError, match="outputs were given, the network has 2"):
            pair.run(x["left"], x["right"], out=wrong)


def test_run_takes_the_compiled_batch_only(net: Network) -> None:
    y = np.empty(net.output_shapes[0], np.float32)
    with pytest.raises(RunError, match=r"run takes .*; use net\(x\) for other batch sizes"):
        net.run(images(net.batch + 1), out=y)
    with pytest.raises(RunError, match=r"output dense_3 has shape"):
        net.run(images(net.batch), out=np.empty((net.batch + 1, 4), np.float32))


def test_run_leaves_neighbours_of_out_alone(net: Network) -> None:
    room = np.full((3, *net.output_shapes[0]), -7, np.float32)
    net.run(images(net.batch), out=room[1])
    assert np.all(room[[0, 2]] == -7)


def test_run_on_the_same_arrays_again_sees_what_is_in_them(net: Network) -> None:
    x, y = images(net.batch), np.empty(net.output_shapes[0], np.float32)
    for round_ in range(5):
        x[...] = images(net.batch) * np.float32(round_ % 3)
        y.fill(np.nan)
        net.run(x, out=y)
        assert np.array_equal(y, reference(net.graph, x))


def test_run_on_the_same_arrays_again_checks_what_can_change(net: Network) -> None:
    x, y = images(net.batch), np.empty(net.output_shapes[0], np.float32)
    for _ in range(3):
        net.run(x, out=y)
    shape = y.shape
    y.shape = (1, *shape)
    with pytest.raises(RunError, match="has shape"):
        net.run(x, out=y)
    y.shape = shape
    y.flags.writeable = False
    with pytest.raises(RunError, match="read-only"):
        net.run(x, out=y)
    y.flags.writeable = True
    y.dtype = np.int32
    with pytest.raises(RunError, match="has dtype"):
        net.run(x, out=y)
    y.dtype = np.float32
    with pytest.raises(ValueError, match="resize"):  # its memory cannot move while it is known
        x.resize((net.batch, 100, 100, 3), refcheck=False)
    net.run(x, out=y)


def test_arrays_of_earlier_calls_are_not_kept_alive(net: Network) -> None:
    x, y = images(net.batch), np.empty(net.output_shapes[0], np.float32)
    for _ in range(3):
        net.run(x, out=y)
    known = [weakref.ref(x), weakref.ref(y)]
    del x, y
    assert [ref() for ref in known] == [None, None]
    x, y = images(net.batch), np.empty(net.output_shapes[0], np.float32)
    net.run(x, out=y)
    assert np.array_equal(y, reference(net.graph, x))


def test_bind_runs_on_what_is_in_the_arrays(pair: Network) -> None:
    x = feed(pair.graph, "integers")
    outs = [np.empty(shape, np.float32) for shape in pair.output_shapes]
    call = pair.bind(x["left"], x["right"], out=outs)
    for _ in range(2):
        for out in outs:
            out.fill(np.nan)
        assert call() is None
        for y, expected in zip(outs, reference(pair.graph, x), strict=True):
            assert np.array_equal(y, expected)
        x["left"] += 1


def test_bind_checks_its_arrays_and_ends_with_the_network() -> None:
    graph = chain((1, 4, 4, 2), Conv2D(3, (1, 1)))
    x, y = feed(graph)["x"], np.empty((1, 4, 4, 3), np.float32)
    with cnngen.compile(graph) as net:
        for wrong in (x[:, ::2], x.astype(np.float64), np.zeros((2, 4, 4, 2), np.float32)):
            with pytest.raises(RunError):
                net.bind(wrong, out=y)
        room = np.zeros(64, np.float32)
        with pytest.raises(RunError, match="overlaps"):
            net.bind(room[:32].reshape(1, 4, 4, 2), out=room[16:].reshape(1, 4, 4, 3))
        call = net.bind(x, out=y)
        call()
    with pytest.raises(RunError, match="closed"):
        call()


# What it is


def test_a_network_tells_what_it_is(pair: Network) -> None:
    assert pair.name == "pair"
    assert pair.input_names == ("left", "right")
    assert pair.output_names == ("b", "flat")
    assert pair.input_shapes == ((2, 4, 4, 3), (2, 4, 4, 2))
    assert pair.output_shapes == ((2, 4, 4, 2), (2, 32))
    assert pair.batch == 2
    assert pair.threads == 1
    assert pair.arena_bytes == 4 * pair.plan.arena.size
    assert repr(pair) == f"<cnngen.Network pair: {pair.isa}, 1 thread>"


def test_repr_counts_threads_and_names_the_isa() -> None:
    with native(small(1), "scalar", threads=2, flags=("-O0",)) as net:
        assert repr(net) == "<cnngen.Network small: scalar, 2 threads>"
        assert (net.isa, net.threads) == ("scalar", 2)


def test_both_graphs_are_kept() -> None:
    """The one that was given, and the one that runs."""
    graph = small(1)
    with cnngen.compile(graph, isa="scalar", threads=1) as net:
        assert len(net.source_graph.nodes) == 4
        assert len(net.graph.nodes) < 4, "the activation is fused"
        x = images(2)
        assert np.array_equal(net(x), reference(net.source_graph, x))


@pytest.mark.parametrize("batch", [1, 2])
def test_channels_first_networks_take_and_return_their_own_layout(batch: int) -> None:
    graph = channels_first(batch)
    x = feed(graph, batch=3)
    with cnngen.compile(graph, isa="native", threads=1) as net:
        assert net.input_shapes == ((batch, 3, 8, 6),)
        scores, maps = net(x)
        assert maps.shape == (3, 5, 8, 6)
        for native_result, expected in zip((scores, maps), reference(graph, x), strict=True):
            assert np.allclose(native_result, expected, atol=1e-5)
        with pytest.raises(RunError, match="layout"):
            net(x["x"].transpose(0, 2, 3, 1))


# Looking inside


@pytest.mark.parametrize("name", EXAMPLES)
def test_trace_and_run_layer_give_every_tensor(name: str) -> None:
    """Each layer alone, on its traced inputs, computes the very bits of the whole network."""
    with cnngen.compile(EXAMPLES[name](), isa="scalar", threads=1) as net:
        x = feed(net.graph)
        tensors = net.trace(list(x.values()))
        expected = reference(net.graph, x, keep=True)
        assert set(tensors) == set(expected)
        outputs = net(x)
        for output, result in zip(net.output_names, outputs if len(net.output_names) > 1 else [outputs], strict=True):
            assert np.array_equal(tensors[output], result), output
        for node in net.graph.nodes:
            assert tensors[node.name].shape == net.graph.types[node.name].shape
            assert np.allclose(tensors[node.name], expected[node.name], rtol=1e-4, atol=1e-4), node.name
            alone = net.run_layer(node.name, [tensors[source] for source in node.inputs])
            assert np.array_equal(alone, tensors[node.name]), node.name


def test_trace_takes_the_compiled_batch(net: Network) -> None:
    tensors = net.trace(images(net.batch))
    tensors["x"][...] = 0
    with pytest.raises(RunError, match=f"trace takes the compiled batch of {net.batch}"):
        net.trace(images(net.batch + 1))


def test_a_layer_runs_on_other_weights(net: Network) -> None:
    """`pack` of a graph of the same structure replaces the embedded weights for one call."""
    weights = {
        node.name: {role: array + np.float32(2) for role, array in node.weights.items()} for node in net.graph.nodes
    }
    twin = replace(
        net.graph,
        nodes=tuple(replace(node, weights=MappingProxyType(weights[node.name])) for node in net.graph.nodes),
    )
    blob, x = net.pack(twin), images(net.batch)
    for graph, packed in ((twin, blob), (net.graph, None)):
        node = graph.node("conv2d_0")
        assert np.array_equal(net.run_layer("conv2d_0", [x], weights=packed), evaluate(node, [x]))
    with pytest.raises(RunError, match="pack them with"):
        net.run_layer("conv2d_0", [x], weights=blob[:-1])
    with pytest.raises(RunError, match="float64"):
        net.run_layer("conv2d_0", [x], weights=blob.astype(np.float64))


def test_profile_gives_a_time_for_each_step(net: Network) -> None:
    for x in (None, images(net.batch), images(net.batch + 3)):
        layers = net.profile(x, rounds=3)
        assert [layer.name for layer in layers] == [step.node for step in net.plan.steps]
        assert all(layer.seconds >= 0 for layer in layers)
    by_name = {layer.name: layer for layer in layers if layer.kind != "copy"}
    assert by_name["conv2d_0"].macs == net.batch * 7 * 6 * 5 * 27
    assert by_name["dense_3"].macs == net.batch * 7 * 6 * 5 * 4
    timed = replace(by_name["dense_3"], seconds=1e-6)
    assert timed.gflops == pytest.approx(2 * timed.macs / 1e3)
    assert replace(timed, seconds=0.0).gflops == 0


def test_profile_refuses_less_than_a_batch() -> None:
    """The native code would read behind the end of the array."""
    with native(small(4), "native", flags=("-O1",)) as net, pytest.raises(RunError, match="batch of 4, not 3"):
        net.profile(images(3))


def test_a_stepper_runs_one_layer_and_keeps_what_it_works_on(net: Network) -> None:
    step = net.stepper("conv2d_0")
    gc.collect()
    assert any(isinstance(thing, Workspace) for thing in gc.get_objects()), "its arrays must outlive the call"
    step()
    step()
    del step
    gc.collect()
    assert not any(isinstance(thing, Workspace) for thing in gc.get_objects())


def test_unknown_layers_are_an_error(net: Network) -> None:
    for call in (lambda: net.run_layer("no such layer", []), lambda: net.stepper("no such layer")()):
        with pytest.raises(RunError, match="no such layer"):
            call()


# Its life


def test_use_after_close_is_an_error() -> None:
    x = images(1)
    with native(small(1), "native", flags=("-O1",)) as net:
        y = net(x)
    calls = (
        lambda: net(x),
        lambda: net.run(x, out=y),
        lambda: net.trace(x),
        lambda: net.run_layer("conv2d_0", [x]),
        lambda: net.stepper("conv2d_0"),
        lambda: net.profile(x),
    )
    for call in calls:
        with pytest.raises(RunError, match="the network is closed; compile it again"):
            call()
    net.close()
    assert repr(net)
    assert net.input_shapes == ((1, *IMAGE),)


def test_a_network_closes_when_an_error_leaves_its_block() -> None:
    with pytest.raises(ZeroDivisionError), native(small(1), "native", flags=("-O1",)) as net:
        raise ZeroDivisionError
    with pytest.raises(RunError):
        net(images(1))


def test_closing_one_of_two_networks_of_one_library_leaves_the_other() -> None:
    x = images(2)
    one, two = native(small(1), "native", flags=("-O1",)), native(small(1), "native", flags=("-O1",))
    expected = one(x)
    one.close()
    assert np.array_equal(two(x), expected)
    two.close()


def test_activations_with_parameters_reach_the_code() -> None:
    graph = chain((1, 2, 2, 5), Conv2D(5, (1, 1), activation=Activation("clip", -1.0, 2.0)), weights="integers")
    with native(graph, "native", flags=("-O1",)) as net:
        x = feed(graph, "integers")
        assert np.array_equal(net(x), reference(graph, x))


def test_a_network_may_have_hundreds_of_inputs_and_outputs() -> None:
    """More than cffi can describe in one type."""
    net = Builder({f"x{number}": (1, 2) for number in range(230)}, name="wide")
    outputs = [net.add(RELU, f"x{number}") for number in range(230)]
    with native(net.graph(*outputs), "native", flags=("-O0",)) as wide:
        xs = [np.array([[number, -number]], np.float32) for number in range(230)]
        for number, y in enumerate(wide(*xs)):
            assert y.tolist() == [[number, 0]]
