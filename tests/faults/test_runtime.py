"""Bad arrays, odd numbers and bad moments, by number: refused before the native call, or computed right."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen.backends.cpu import target as cpu_target
from cnngen.errors import CnngenError, RunError, TargetError
from cnngen.ir import Array, Graph
from cnngen.network import Network
from cnngen.ops import LRN, Activate, Activation, Add, Conv2D, Dense, Flatten, GlobalPool2D, Pool2D, Softmax
from cnngen.reference import reference
from tests.graphs import RELU, SAME3, Builder, chain, values
from tests.native import RUNNABLE, c_library, native

SHAPE = (2, 6, 7, 3)
TARGETS = [*((isa, 1) for isa in RUNNABLE), ("native", 2)]


def network() -> Graph:
    """Exact on integers: any difference is an error."""
    return chain(
        SHAPE, Conv2D(5, (3, 3), padding=SAME3, activation=Activation("relu")), Pool2D("max", (2, 2), (2, 2)),
        Flatten(), Dense(4), weights="integers",
    )  # fmt: skip


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with compiled(network(), "native") as shared:
        yield shared


def compiled(graph: Graph, isa: str, threads: int = 1) -> Network:
    """Compiled quickly: nothing here depends on how well."""
    return native(graph, isa, threads, flags=("-O1",))


def image(seed: int = 0) -> Array:
    return values(np.random.default_rng(seed), SHAPE, "integers")


def room() -> Array:
    """An output array; a refused call must leave it alone."""
    return np.full((2, 4), -7, np.float32)


def refused(net: Network, x: object, *fragments: str, out: object = None, run_only: bool = False) -> None:
    """`run` and, unless `run_only`, a plain call refuse `x`, and say why; nothing was computed."""
    y = room() if out is None else out
    calls: list[Callable[[], object]] = [lambda: net.run(x, out=y)]  # type: ignore[arg-type]  # wrong on purpose
    if not run_only:
        calls.append(lambda: net(x))
    for call in calls:
        with pytest.raises(RunError) as caught:
            call()
        for fragment in fragments:
            assert fragment in str(caught.value), str(caught.value)
        assert caught.value.exit_code == 2
    if out is None:
        assert np.all(y == -7)


# 70: an ISA that the machine lacks


def test_case_70_an_isa_that_the_machine_lacks_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu_target, "host_isas", lambda: ("scalar",))
    started: list[str] = []
    monkeypatch.setattr("cnngen.pipeline.find_compiler", lambda: started.append("compiler"))
    for isa in ("avx2", "avx512"):
        with pytest.raises(TargetError, match=f"cannot run {isa} code .*isa='native'") as caught:
            cnngen.compile(network(), isa=isa, build_dir=tmp_path / "build")
        assert caught.value.exit_code == 2
    assert not started
    assert not list(tmp_path.iterdir())


# 81: dtype, rank, shape, byte order


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool", "complex64", "U4", "O", "M8[s]"])
def test_case_81_other_dtypes_are_refused_not_converted(net: Network, dtype: str) -> None:
    refused(net, np.zeros(SHAPE, dtype), "input x has dtype", "not float32", "astype('float32')")


def test_case_81_swapped_bytes_are_refused_not_misread(net: Network) -> None:
    swapped = image().astype(image().dtype.newbyteorder())
    assert swapped.dtype.itemsize == 4
    refused(net, swapped, "input x has dtype", swapped.dtype.str)
    refused(net, image(), "output", "dtype", out=room().astype(room().dtype.newbyteorder()), run_only=True)


@pytest.mark.parametrize(
    "shape", [(), (2,), (6, 7), (2, 6, 7), (1, 2, 6, 7, 3), (2, 7, 6, 3), (2, 3, 6, 7), (2, 6, 7, 4), (2, 6, 0, 3)]
)
def test_case_81_other_shapes_are_refused(net: Network, shape: tuple[int, ...]) -> None:
    refused(net, np.zeros(shape, np.float32), f"input x has shape {shape}")


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 5), (4, 2), (1, 4), (2, 4, 1), (8,)])
def test_case_81_other_shapes_of_out_are_refused(net: Network, shape: tuple[int, ...]) -> None:
    out = np.full(shape, -7, np.float32)
    refused(net, image(), f"output dense_3 has shape {shape}", out=out, run_only=True)
    assert np.all(out == -7)


@pytest.mark.parametrize("thing", [None, 3, "x", b"x" * 1008, object(), memoryview(b"x" * 1008), [[1.0]], range(5)])
def test_case_81_what_is_no_array_is_refused(net: Network, thing: object) -> None:
    with pytest.raises(RunError):
        net(thing)
    with pytest.raises(RunError):
        net.run(thing, out=room())  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(RunError):
        net.run(image(), out=thing)  # type: ignore[arg-type]  # wrong on purpose


def test_case_81_a_float32_under_another_name_is_taken(net: Network) -> None:
    """A dtype that is equal but not the same object; a subclass of arrays."""
    same = np.dtype("float32", metadata={"unit": "V"})
    x = image()
    for array in (x.astype(same), x.view(np.recarray), np.ma.masked_array(x)):
        y = room()
        net.run(array, out=y)
        assert np.array_equal(y, reference(net.graph, x))
        assert np.array_equal(net(array), y)


# 82: memory layouts


def misaligned(array: Array) -> Array:
    """The same values at an odd address."""
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(np.float32).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran order": np.asfortranarray,
    "every second image": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second channel": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "transposed": lambda x: np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0),
    "negative strides": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
    "negative stride of the channels": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "zero strides": lambda x: np.broadcast_to(x[:, :1, :1, :], SHAPE),
    "zero stride of the batch": lambda x: np.broadcast_to(x[:1], SHAPE),
    "misaligned": misaligned,
    "part of a larger image": lambda x: np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)))[:, 1:-1, 2:-2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_case_82_a_call_copies_what_run_refuses(net: Network, layout: str) -> None:
    x = LAYOUTS[layout](image())
    assert x.shape == SHAPE
    expected = reference(net.graph, np.array(x))
    assert np.array_equal(net(x), expected)
    refused(net, x, "input x is not contiguous and aligned", "ascontiguousarray", run_only=True)


@pytest.mark.parametrize("layout", ["Fortran order", "every second column", "negative strides", "misaligned"])
def test_case_82_run_refuses_such_outputs(net: Network, layout: str) -> None:
    out = {
        "Fortran order": np.asfortranarray(room()),
        "every second column": np.full((2, 8), -7, np.float32)[:, ::2],
        "negative strides": room()[::-1],
        "misaligned": misaligned(room()),
    }[layout]
    refused(net, image(), "output dense_3 is not contiguous and aligned", out=out, run_only=True)
    assert np.all(out == -7)


def test_case_82_one_image_in_another_layout(net: Network) -> None:
    x = image()
    assert np.array_equal(net(np.asfortranarray(x[1])), reference(net.graph, x)[1])


# 83: outputs that cannot be written or overlap


def test_case_83_a_read_only_output_is_refused(net: Network) -> None:
    out = room()
    out.flags.writeable = False
    refused(net, image(), "output dense_3 is read-only", "writable", out=out, run_only=True)
    assert np.all(out == -7)
    constant = np.frombuffer(bytes(32), np.float32).reshape(2, 4)
    refused(net, image(), "read-only", out=constant, run_only=True)
    assert not constant.any()


def test_case_83_an_output_that_overlaps_the_input_is_refused(net: Network) -> None:
    memory = np.zeros(300, np.float32)
    x = memory[: 2 * 6 * 7 * 3].reshape(SHAPE)
    x[...] = image()
    for start in (0, 100, 2 * 6 * 7 * 3 - 1):
        out = memory[start : start + 8].reshape(2, 4)
        refused(net, x, "out overlaps an input", "array of its own", out=out, run_only=True)
    assert np.array_equal(x, image())
    behind = memory[252:260].reshape(2, 4)
    net.run(x, out=behind)
    assert np.array_equal(behind, reference(net.graph, image()))


def test_case_83_the_input_itself_as_output_is_refused() -> None:
    """Same shape on both sides: only their memory tells."""
    graph = chain((1, 4, 4, 2), Conv2D(2, (3, 3), padding=SAME3), weights="integers")
    with compiled(graph, "native") as same:
        x = values(np.random.default_rng(0), (1, 4, 4, 2), "integers")
        kept = x.copy()
        with pytest.raises(RunError, match="overlaps"):
            same.run(x, out=x)
        assert np.array_equal(x, kept)


def test_case_83_two_outputs_in_one_place_are_refused() -> None:
    builder = Builder((1, 2, 2, 3), weights="integers")
    a, b = builder.add(Conv2D(2, (1, 1)), "x"), builder.add(Conv2D(2, (1, 1)), "x")
    with compiled(builder.graph(a, b), "native") as two:
        y = np.full((1, 2, 2, 2), -7, np.float32)
        with pytest.raises(RunError, match="overlaps an input or another output"):
            two.run(np.zeros((1, 2, 2, 3), np.float32), out=[y, y])
        assert np.all(y == -7)


# 84: NaN, infinities, denormals, and the state of the floating-point unit

FP_STATE = r"""
#include <fenv.h>
#include <stdint.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
uint32_t control(void);
float half_of(float x);

/* rounding mode, exception masks and flushing of denormals, without the flags that say what happened */
uint32_t control(void)
{
#if defined(__SSE__)
    return _mm_getcsr() & ~(uint32_t)0x3f;
#else
    return (uint32_t)fegetround();
#endif
}

float half_of(float x)
{
    volatile float y = x;
    return y / 2;
}
"""


@pytest.fixture(scope="module")
def fp(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Reads the control register of the thread that calls it."""
    library = c_library(tmp_path_factory.mktemp("fp"), FP_STATE)
    library.control.restype = ctypes.c_uint32
    library.half_of.argtypes, library.half_of.restype = [ctypes.c_float], ctypes.c_float
    return library


SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, 3e38, -3e38, 1.0, -1.0], np.float32
)


def special(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Ordinary numbers with special ones among them, so that some windows have one and some have none."""
    rng = np.random.default_rng(seed)
    x = values(rng, shape, "integers")
    return np.where(rng.random(shape) < 0.15, rng.choice(SPECIAL, shape), x)


def assert_same(actual: Array, expected: Array) -> None:
    """Equal to the float32 nearest to the reference; NaN where it has NaN."""
    with np.errstate(over="ignore"):
        assert np.array_equal(actual, expected.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_case_84_special_values_go_through_relu_and_max_pool_as_in_numpy(isa: str) -> None:
    """Neither may lose a NaN: max(x, 0) does with its operands in the wrong order."""
    builder = Builder((2, 9, 8, 19))
    outputs = [
        builder.add(RELU, "x"),
        builder.add(Activate(Activation("relu6")), "x"),
        builder.add(Activate(Activation("clip", -0.5, 2.5)), "x"),
        builder.add(Pool2D("max", (2, 2), (2, 2)), "x"),
        builder.add(Pool2D("max", (3, 3), (1, 1), SAME3), "x"),
        builder.add(Pool2D("max", (5, 4), (1, 1)), "x"),
        builder.add(GlobalPool2D("max"), "x"),
    ]
    graph = builder.graph(*outputs)
    x = special((2, 9, 8, 19))
    with np.errstate(all="ignore"):
        expected = reference(graph, x)
    with compiled(graph, isa) as net:
        for name, result, value in zip(outputs, net(x), expected, strict=True):
            assert np.isnan(value).any(), name
            assert_same(result, value)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_case_84_every_tap_and_every_lane_passes_its_nan_on(isa: str) -> None:
    """Image t has NaN at tap t of the window only, in every second channel."""
    x = np.ones((9, 3, 3, 19), np.float32)
    for tap in range(9):
        x[tap, tap // 3, tap % 3, tap % 2 :: 2] = np.nan
    expected = np.arange(19) % 2 == (np.arange(9) % 2)[:, None]
    builder = Builder(x.shape, name="one_nan")
    clipped = Pool2D("max", (5, 5), (1, 1), SAME3)
    outputs = [builder.add(op, "x") for op in (Pool2D("max", (3, 3), (1, 1)), GlobalPool2D("max"), clipped)]
    with compiled(builder.graph(*outputs), isa) as net:
        for result in net(x):
            assert np.array_equal(np.isnan(result.reshape(9, 19)), expected)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_case_84_nan_and_infinity_reach_what_depends_on_them_and_nothing_else(isa: str) -> None:
    """Sums and exponentials too: where the reference is finite, so is the result, and the other way round."""
    builder = Builder((2, 7, 9, 5), weights="integers", name="spread")
    outputs = [
        builder.add(Conv2D(11, (3, 3), padding=SAME3, activation=Activation("relu")), "x"),
        builder.add(Conv2D(5, (3, 3), (2, 2), groups=5), "x"),
        builder.add(Conv2D(3, (1, 1)), "x"),
        builder.add(Pool2D("avg", (2, 2), (2, 2)), "x"),
        builder.add(Add(), "x", "x"),
        builder.add(Softmax(), "x"),
        builder.add(LRN(3), "x"),
        builder.add(Activate(Activation("silu")), "x"),
    ]
    graph = builder.graph(*outputs)
    rng = np.random.default_rng(3)
    x = values(rng, (2, 7, 9, 5), "integers")
    x = np.where(rng.random(x.shape) < 0.02, rng.choice([np.nan, np.inf, -np.inf], x.shape), x).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = reference(graph, x)
    with compiled(graph, isa) as net:
        for name, result, value in zip(outputs, net(x), expected, strict=True):
            finite = np.isfinite(value)
            assert 0.2 < finite.mean() < 1, name
            assert np.array_equal(np.isnan(result), np.isnan(value)), name
            assert np.array_equal(result[np.isinf(value)], value[np.isinf(value)]), name
            assert np.allclose(result[finite], value[finite], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize(("isa", "threads"), TARGETS)
def test_case_84_denormals_are_computed_with_not_flushed(isa: str, threads: int) -> None:
    tiny = np.float32(1e-41)
    builder = Builder((1, 6, 5, 9), weights="integers", name="denormals")
    outputs = [builder.add(op, "x") for op in (RELU, Pool2D("max", (2, 2), (1, 1)), Conv2D(9, (3, 3), use_bias=False))]
    outputs += [builder.add(Add(), "x", "x"), builder.add(Pool2D("avg", (2, 2), (1, 1)), "x")]
    graph = builder.graph(*outputs)
    # Multiples of a multiple of the smallest denormal: sums are exact, whatever their order.
    x = values(np.random.default_rng(0), (1, 6, 5, 9), "integers") * tiny
    with compiled(graph, isa, threads) as net:
        for name, result, value in zip(outputs, net(x), reference(graph, x), strict=True):
            assert 0 < np.abs(value).max() < 2.0**-126, name
            assert np.array_equal(result, value.astype(np.float32)), name


@pytest.mark.parametrize(("isa", "threads"), TARGETS)
def test_case_84_the_floating_point_unit_is_as_it_was(isa: str, threads: int, fp: ctypes.CDLL) -> None:
    """Loading the library, running it on anything and closing it; in this thread and in new ones."""
    before = fp.control()
    graph = chain((1, 6, 6, 5), Conv2D(7, (3, 3)), LRN(3), Activate(Activation("tanh")), Softmax(), name="fp_state")

    def state() -> tuple[int, bool]:
        return fp.control(), fp.half_of(2e-38) != 0

    with compiled(graph, isa, threads) as net:
        assert state() == (before, True)
        for x in (special((1, 6, 6, 5)), np.zeros((1, 6, 6, 5), np.float32)):
            net(x)
            net.trace(x)
            assert state() == (before, True)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(state).result() == (before, True)
    assert state() == (before, True)


# 85: empty batches, and memory that cannot be had


@pytest.mark.parametrize("batch", [1, 2])
def test_case_85_an_empty_batch_gives_an_empty_result(batch: int) -> None:
    graph = chain((batch, 4, 4, 2), Conv2D(3, (3, 3)), weights="integers")
    with compiled(graph, "scalar") as net:
        y = net(np.empty((0, 4, 4, 2), np.float32))
        assert (y.shape, y.dtype) == ((0, 2, 2, 3), np.float32)
        with pytest.raises(RunError, match=r"has shape \(0, 4, 4, 2\)"):
            net.run(np.empty((0, 4, 4, 2), np.float32), out=np.empty((0, 2, 2, 3), np.float32))
        with pytest.raises(RunError, match="not 0 images"):
            net.trace(np.empty((0, 4, 4, 2), np.float32))


def test_case_85_a_network_survives_memory_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> Array:
        raise MemoryError

    x = image()
    with compiled(network(), "native") as net:
        expected = net(x)
        for place in ("cnngen.network.np.empty", "cnngen.workspace.new_arena"):
            with monkeypatch.context() as broken:
                broken.setattr(place, exhausted)
                with pytest.raises(MemoryError):
                    net(x) if place.endswith("empty") else net.trace(x)
            assert np.array_equal(net(x), expected)


# 86: threads


@pytest.mark.parametrize("threads", [1, 2])
def test_case_86_eight_threads_give_the_bits_of_one(threads: int) -> None:
    graph = chain(
        (2, 17, 19, 5), Conv2D(20, (3, 3), padding=SAME3, activation=Activation("silu")), Conv2D(9, (5, 5), (2, 2)),
        LRN(3), Flatten(), Dense(10), Softmax(), name="shared",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((2, 17, 19, 5), np.float32) for _ in range(8)]
    with compiled(graph, "native", threads) as net:
        serial = [net(x) for x in xs]
        start = threading.Barrier(8)

        def work(index: int) -> bool:
            start.wait()
            same, y = True, np.empty((2, 10), np.float32)
            for turn in range(40):
                which = (index + turn) % 8
                y.fill(np.nan)
                net.run(xs[which], out=y)
                same &= np.array_equal(y, serial[which]) and np.array_equal(net(xs[which]), serial[which])
            return same

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
    assert len({array.tobytes() for array in serial}) == 8, "the inputs give different results"


def busy_network() -> Graph:
    """A tenth of a second and more for one call."""
    return chain((1, 96, 96, 64), *[Conv2D(64, (3, 3), padding=SAME3)] * 4, name="busy")


def test_case_86_other_threads_run_meanwhile() -> None:
    """The native code runs without the interpreter's lock."""
    with compiled(busy_network(), "scalar") as net:
        x = np.zeros((1, 96, 96, 64), np.float32)
        times: list[float] = []
        done = threading.Event()

        def tick() -> None:
            while not done.wait(0.002):
                times.append(time.perf_counter())

        other = threading.Thread(target=tick)
        other.start()
        start = time.perf_counter()
        net(x)
        end = time.perf_counter()
        done.set()
        other.join()
    margin = 0.1 * (end - start)
    assert sum(start + margin < moment < end - margin for moment in times) > 0


# 87: use after close, close in the middle, forks, pickling


def test_case_87_use_after_close_is_an_error_not_a_crash() -> None:
    x, y = image(), room()
    with compiled(network(), "native") as net:
        net.run(x, out=y)
    y = room()
    for call in (lambda: net(x), lambda: net.run(x, out=y), lambda: net.trace(x), lambda: net(x[0])):
        with pytest.raises(RunError, match="the network is closed; compile it again"):
            call()
    assert np.all(y == -7)


@pytest.mark.parametrize("threads", [1, 2])
def test_case_87_closing_while_another_thread_runs_lets_its_call_end(threads: int) -> None:
    net = compiled(busy_network(), "native", threads)
    x = np.ones((1, 96, 96, 64), np.float32)
    expected = net(x)
    results: list[Array] = []
    ended: list[CnngenError] = []
    running = threading.Event()

    def work() -> None:
        y = np.empty_like(expected)
        running.set()
        try:
            while len(results) < 1000:
                net.run(x, out=y)
                results.append(y.copy())
        except CnngenError as error:
            ended.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    running.wait()
    time.sleep(0.15)
    net.close()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert len(ended) == 2
    assert all(isinstance(error, RunError) and "closed" in str(error) for error in ended)
    assert results
    assert all(np.array_equal(result, expected) for result in results)


def in_child(work: Callable[[], bool]) -> int:
    """Fork, and return the exit code of the child: 0 where `work` was true there; it is killed where it hangs."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            signal.alarm(30)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("threads", [1, 2])
def test_case_87_fork_after_threads_have_started(threads: int) -> None:
    """libgomp's threads stay behind in the parent: a child that waited for them would do so for ever."""
    x = image()
    with compiled(network(), "native", threads) as net:
        expected = net(x)

        def again() -> bool:
            y = room()
            net.run(x, out=y)
            with ThreadPoolExecutor(3) as pool:
                others = list(pool.map(lambda _: net(x), range(6)))
            layers = net.trace(x)
            right = np.array_equal(y, expected) and all(np.array_equal(z, expected) for z in others)
            return right and np.array_equal(layers[net.graph.outputs[0]], expected)

        def fresh() -> bool:
            with compiled(network(), "native", threads) as own:
                return np.array_equal(own(x), expected)

        assert in_child(again) == 0
        assert in_child(fresh) == 0
        assert in_child(lambda: in_child(again) == 0) == 0, "a child of a child"
        assert np.array_equal(net(x), expected)
        net.close()

        def closed() -> bool:
            try:
                net(x)
            except RunError as error:
                return "closed" in str(error)
            return False

        assert in_child(closed) == 0


def test_case_87_fork_while_another_thread_runs() -> None:
    net = compiled(busy_network(), "native", 2)
    x = np.ones((1, 96, 96, 64), np.float32)
    expected = net(x)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            net(x)

    other = threading.Thread(target=work)
    other.start()
    try:
        assert in_child(lambda: np.array_equal(net(x), expected)) == 0
    finally:
        stop.set()
        other.join()
        net.close()


@pytest.mark.parametrize("operation", [pickle.dumps, copy.copy, copy.deepcopy])
def test_case_87_a_network_is_not_pickled(net: Network, operation: Callable[[object], object]) -> None:
    with pytest.raises(RunError, match=r"cannot be pickled or copied.*; hand over the path of its spec"):
        operation(net)
    assert np.array_equal(net(image()), reference(net.graph, image()))
