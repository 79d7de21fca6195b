"""Networks on arrays that lie on a GPU: on the driver of tests/cuda_stub, where work is done when it is waited for."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import cnngen
from cnngen.backends.cuda import dlpack
from cnngen.backends.cuda.arrays import DeviceArray
from cnngen.backends.cuda.launcher import Launcher
from cnngen.errors import RunError
from cnngen.ir import Array
from cnngen.network import Network
from tests import cuda_stub
from tests.cuda_stub import Foreign, Queue
from tests.unit.test_cuda_launcher import images, network

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the driver for tests is written for Linux"),
    pytest.mark.usefixtures("gpu"),
]


@pytest.fixture
def net() -> Iterator[Network]:
    with cuda_stub.compiled(network()) as compiled:
        yield compiled


def launcher(net: Network) -> Launcher:
    library = net._library
    assert isinstance(library, Launcher)
    return library


def there(net: Network, array: Array) -> DeviceArray:
    return DeviceArray.of(launcher(net).device, array)


def expected(x: Array) -> Array:
    result: Array = cnngen.reference(network(len(x)), x)
    return result


def test_arrays_on_the_gpu_stay_there(net: Network) -> None:
    x = images(2)
    y = net(there(net, x))
    assert isinstance(y, DeviceArray)
    assert np.array_equal(y.numpy(), expected(x))
    with pytest.raises(RunError, match="lies on the GPU"):
        np.asarray(y)


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_any_number_of_images(net: Network, count: int) -> None:
    """Images of 504 bytes: every second one begins where vectors cannot be loaded."""
    x = images(count)
    y = net(there(net, x))
    assert y.shape == (count, 4)
    if count:
        assert np.array_equal(y.numpy(), expected(x))
        single = net(there(net, x[-1]))
        assert single.shape == (4,)
        assert np.array_equal(single.numpy(), expected(x[-1:])[0])


def test_run_reads_and_writes_other_arrays_each_time(net: Network) -> None:
    pairs = [(images(2, seed), there(net, np.zeros((2, 4)))) for seed in range(3)]
    inputs = [there(net, x) for x, _ in pairs]
    for _ in range(2):
        for (x, y), source in zip(pairs, inputs, strict=True):
            net.run(source, out=y)
            assert np.array_equal(net(x), expected(x))  # NumPy in between
        for x, y in pairs:
            assert np.array_equal(y.numpy(), expected(x))


def test_the_stream_of_an_array_is_waited_for(net: Network) -> None:
    queue, x, out = Queue(launcher(net)), images(2, 7), there(net, np.zeros((2, 4)))
    source = there(net, images(2, 8))
    queue.fill(source, x)
    net.run(Foreign(source, stream=queue.handle), out=out)
    assert np.array_equal(out.numpy(), expected(x))
    queue.close()


def test_without_a_stream_everything_is_waited_for(net: Network) -> None:
    """Version 2 of the interface, PyTorch's, does not say in which stream an array is made."""
    queue, x, out = Queue(launcher(net)), images(2, 7), there(net, np.zeros((2, 4)))
    source = there(net, images(2, 8))
    queue.fill(source, x)
    old = Foreign(source, version=2)
    del old.__cuda_array_interface__["stream"]
    net.run(old, out=out)
    assert np.array_equal(out.numpy(), expected(x))
    queue.close()


def test_an_array_that_promises_to_be_there_is_not_waited_for(net: Network) -> None:
    """What the two tests above would see if nobody waited: they can fail."""
    queue, x, before = Queue(launcher(net)), images(2, 7), images(2, 8)
    source, out = there(net, before), there(net, np.zeros((2, 4)))
    queue.fill(source, x)
    net.run(Foreign(source, stream=None), out=out)
    # numpy() would wait for the copy, too, which cannot change the result any more
    assert np.array_equal(out.numpy(), expected(before))
    queue.close()


def test_in_a_stream_of_the_caller_nothing_waits(net: Network) -> None:
    first, second = Queue(launcher(net)), Queue(launcher(net))
    xs = [images(2, seed) for seed in range(3)]
    outs = [there(net, np.full((2, 4), np.nan)) for _ in xs]
    sources = [there(net, np.zeros((2, 6, 7, 3))) for _ in xs]
    for queue, source, x, out in zip((first, second, first), sources, xs, outs, strict=True):
        queue.fill(source, x)
        net.run(source, out=out, stream=queue)
    peek = (ctypes.c_float * 8).from_address(outs[0].address)
    assert np.isnan(peek).all()  # memory of the stub is memory of the host
    assert np.array_equal(net(xs[2]), expected(xs[2]))  # behind all of them: they share the working memory
    for queue in (first, second):
        queue.close()
    for x, out in zip(xs, outs, strict=True):
        assert np.array_equal(out.numpy(), expected(x))


def test_streams_of_other_libraries(net: Network) -> None:
    x, out, queue = images(2), there(net, np.zeros((2, 4))), Queue(launcher(net))
    source = there(net, x)

    class Torch:
        cuda_stream = queue.handle

    class Cupy:
        ptr = queue.handle

    class Core:
        def __cuda_stream__(self) -> tuple[int, int]:
            return 0, queue.handle

    for stream in (Torch(), Cupy(), Core(), queue.handle, 0, 1, 2):
        net.run(source, out=out, stream=stream)
        assert np.array_equal(out.numpy(), expected(x))
    with pytest.raises(RunError, match="stream is a str"):
        net.run(source, out=out, stream="default")
    queue.close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"typestr": "<f8"}, "input x has dtype <f8, not float32"),
        ({"typestr": ">f4"}, "input x has dtype >f4, not float32"),
        ({"shape": (2, 7, 6, 3)}, r"input x has shape \(2, 7, 6, 3\)"),
        ({"strides": (504, 84, 4, 28)}, "input x is not contiguous"),
        ({"mask": 1}, "input x has a mask"),
    ],
)
def test_what_a_network_cannot_take_is_refused(net: Network, changed: dict[str, object], message: str) -> None:
    out = there(net, np.full((2, 4), -7))
    bad = Foreign(there(net, images(2)), **changed)
    with pytest.raises(RunError, match=message):
        net.run(bad, out=out)
    with pytest.raises(RunError, match=message):
        net(bad)
    assert np.all(out.numpy() == -7)


def test_outputs_that_cannot_be_written_are_refused(net: Network) -> None:
    x, out = there(net, images(2)), there(net, np.zeros((3, 4)))
    address = out.address
    for wrong, message in [
        (Foreign(out, shape=(2, 4), data=(address, True)), "output dense_3 is read-only"),
        (Foreign(out, shape=(2, 4), data=(address + 4, False)), "does not begin at a multiple of 16 bytes"),
        (Foreign(x, shape=(2, 4)), "overlaps an input"),
        (out, "output dense_3 has shape"),
        (np.zeros((2, 4), np.float32), "output dense_3 is a ndarray that does not lie on a GPU"),
    ]:
        with pytest.raises(RunError, match=message):
            net.run(x, out=wrong)
    with pytest.raises(RunError, match="input x is a ndarray that does not lie on a GPU"):
        net.run(images(2), out=Foreign(out, shape=(2, 4)))
    net.run(x, out=Foreign(out, shape=(2, 4), strides=(16, 4)))


def test_a_network_on_the_cpu_refuses_them(net: Network) -> None:
    x = there(net, images(2))
    with cnngen.compile(network(), threads=1) as cpu:
        for call in (lambda: cpu(x), lambda: cpu.run(x, out=np.zeros((2, 4), np.float32))):
            with pytest.raises(RunError, match=r"an array lies on a GPU.*the network runs on the CPU; copy the array"):
                call()


def test_memory_goes_with_the_last_reference(net: Network) -> None:
    stub = cuda_stub.install()
    before = stub.cuda_stub_used(0)
    y = net(there(net, images(2)[0]))  # an image of an array of one
    gc.collect()
    assert stub.cuda_stub_used(0) == before + 16
    assert y.numpy().shape == (4,)
    del y
    assert stub.cuda_stub_used(0) == before


def test_dlpack_lends_the_memory_until_it_is_deleted(net: Network) -> None:
    stub, x = cuda_stub.install(), images(2)
    before = stub.cuda_stub_used(0)
    y = net(there(net, x))
    assert y.__dlpack_device__() == (2, 0)
    address, capsule = y.address, y.__dlpack__(stream=1, max_version=(1, 0))
    del y
    pointer = dlpack._pointer(id(capsule), dlpack.NAME)
    ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), dlpack.USED)  # as a borrower does
    managed = dlpack._Managed.from_address(pointer)
    tensor = managed.tensor
    assert (tensor.data, tensor.rank, list(tensor.shape[:2])) == (address, 2, [2, 4])
    assert (tensor.type.code, tensor.type.bits, tensor.type.lanes, tensor.device.kind) == (2, 32, 1, 2)
    del capsule
    gc.collect()
    assert stub.cuda_stub_used(0) == before + 32
    managed.deleter(ctypes.pointer(managed))
    assert stub.cuda_stub_used(0) == before


def test_a_capsule_that_nobody_takes_gives_the_memory_back(net: Network) -> None:
    stub = cuda_stub.install()
    before = stub.cuda_stub_used(0)
    capsule = net(there(net, images(2))).__dlpack__()
    gc.collect()
    assert stub.cuda_stub_used(0) == before + 32
    del capsule
    assert stub.cuda_stub_used(0) == before
    with pytest.raises(BufferError):
        net(there(net, images(2))).__dlpack__(copy=True)


def test_profile_takes_the_times_of_the_gpu(net: Network) -> None:
    """The stub's clock moves a microsecond with each kernel and a tenth with each mark."""
    layers = net.profile(images(2), rounds=3)
    assert [layer.name for layer in layers] == [step.node for step in net.plan.steps]
    kernels = [len(step.calls) for step in net.plan.steps]
    assert [layer.seconds for layer in layers] == pytest.approx([1e-6 * count for count in kernels], rel=1e-3)
    assert np.array_equal(net(images(2)), expected(images(2)))
