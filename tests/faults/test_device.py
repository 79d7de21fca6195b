"""What can go wrong with a GPU, by number, on the driver of tests/cuda_stub: errors say what to do, nothing is lost,
and nothing runs on the CPU instead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen import backends
from cnngen.backends.cuda import device, driver, libcuda, lower_convolution
from cnngen.backends.cuda.arrays import DeviceArray
from cnngen.backends.cuda.kernels.convolution import Tile
from cnngen.backends.cuda.launcher import Launcher, load
from cnngen.backends.cuda.launches import describe
from cnngen.errors import DeviceError
from cnngen.ir import Array
from cnngen.network import Network
from cnngen.pipeline import cuda_plan_for
from tests import cuda_stub
from tests.cuda_stub import Foreign, Queue
from tests.graphs import Builder
from tests.unit.test_cuda_launcher import images, network

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the driver for tests is written for Linux"),
    pytest.mark.usefixtures("gpu"),
]
PLAN = cuda_plan_for(network(), target="cuda")


@pytest.fixture
def net() -> Iterator[Network]:
    with cuda_stub.compiled(network()) as compiled:
        yield compiled


def works(net: Network) -> bool:
    return np.array_equal(net(images(2)), cnngen.reference(network(), images(2)))


def refused(call: Callable[[], object], *fragments: str) -> None:
    """`call` raises `DeviceError`, exit code 4, with a remedy and all `fragments`."""
    with pytest.raises(DeviceError) as caught:
        call()
    assert caught.value.exit_code == 4
    assert caught.value.remedy
    for fragment in fragments:
        assert fragment in str(caught.value), str(caught.value)


def launcher(net: Network) -> Launcher:
    library = net._library
    assert isinstance(library, Launcher)
    return library


def load_again(number: int = 0, image: bytes | Path | None = None, weights: Array | None = None) -> Launcher:
    blob = backends.pack_weights(PLAN) if weights is None else weights
    return load(cuda_stub.image(PLAN) if image is None else image, describe(PLAN), blob, number)


# 88: no driver, no device, another process


def test_case_88_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcuda, "LIBRARY", "libcuda-that-is-not-there.so.1")
    libcuda.load.cache_clear()
    try:
        refused(load_again, "there is no NVIDIA driver", "nvidia-smi", "target='cpu'")
    finally:
        libcuda.load.cache_clear()


def test_case_88_no_package_that_calls_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> driver.Driver:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(driver, "_open", missing)
    monkeypatch.delenv(driver.CHOICE, raising=False)
    refused(load_again, "pycuda: ", "cuda-core: ", "pip install 'cnngen[cuda]'", "cnngen[cuda-core]")
    monkeypatch.setenv(driver.CHOICE, "opencl")
    refused(load_again, "CNNGEN_CUDA_DRIVER is 'opencl'; use one of pycuda, cuda-core")


def test_case_88_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_STUB_DEVICES", "0")
    refused(load_again, "no GPU was found", "check nvidia-smi")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    refused(load_again, "no GPU was found", "CUDA_VISIBLE_DEVICES is '': unset it")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("CUDA_STUB_DEVICES", "2")
    refused(lambda: load_again(2), "there is no GPU 2; use one of cuda:0 (Stub 0), cuda:1 (Stub 1)")
    load_again(1).close()


def test_case_88_a_driver_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_STUB_FAIL", "cuInit:1:803")
    refused(load_again, "driver and kernel module are of different versions", "restart the machine")
    load_again().close()


FORKED = """
import os, sys
from tests import cuda_stub
cuda_stub.install()
from cnngen.errors import DeviceError
from tests.unit.test_cuda_launcher import images, network

early = os.fork()
if early == 0:
    net = cuda_stub.compiled(network())   # the first use of CUDA: nothing was copied
    print("before", net(images(2)).shape, flush=True)
    sys.exit()
os.waitpid(early, 0)
net = cuda_stub.compiled(network())
if os.fork() == 0:
    for call in (lambda: net(images(2)), lambda: net.profile(), lambda: cuda_stub.compiled(network()), net.close):
        try:
            call()
            print("after: no error", flush=True)
        except DeviceError as error:
            print("after", error, flush=True)
    sys.exit()                            # with the destructors, which must call nothing
os.wait()
print("parent", net(images(2)).shape, flush=True)
"""


def test_case_88_a_forked_process() -> None:
    """One that was forked before CUDA was used can use it; one that was forked later cannot, and says so."""
    run = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert lines[0] == "before (2, 4)"
    refusal = (
        "GPU 0 (Stub 0) was used before this process was forked, and cannot be used in it; start this process with"
    )
    assert all(line.startswith(f"after {refusal}") for line in lines[1:4]), lines
    assert lines[4:] == ["after: no error", "parent (2, 4)"]  # closing does nothing there


def test_case_88_forked_from_a_process_that_used_cuda_otherwise() -> None:
    device.open_device()
    child = os.fork()
    if child == 0:
        device._devices.clear()
        device._forked = False
        try:
            device.open_device()
        except DeviceError as error:
            os._exit(0 if "CUDA cannot be initialised" in str(error) and "spawn" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# 89: memory, addresses, time, shared memory


def test_case_89_out_of_memory_says_what_was_needed_and_loses_nothing(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = cuda_stub.install()
    state = stub.cuda_stub_used(0), stub.cuda_stub_blocks()
    monkeypatch.setenv("CUDA_STUB_MEMORY", str(state[0] + 1000))
    refused(
        load_again, "GPU 0 (Stub 0): out of memory: weights and tensors of", "need 0.0 MiB", "free", "smaller batch"
    )
    refused(lambda: DeviceArray.of(launcher(net).device, np.zeros(1000)), "an array of shape (1000,) need")
    refused(lambda: cnngen.verify(net), "weights for one layer need")
    assert (stub.cuda_stub_used(0), stub.cuda_stub_blocks()) == state
    assert works(net)


LOADING = (
    *("cuModuleLoadData", "cuModuleGetFunction", "cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate", "cuEventCreate"),
    *("cuMemcpyHtoDAsync", "cuStreamBeginCapture", "cuLaunchKernel", "cuStreamGetCaptureInfo", "cuStreamEndCapture"),
    *("cuGraphInstantiate", "cuStreamSynchronize"),
)


@pytest.mark.parametrize("function", LOADING)
def test_case_89_each_call_that_loading_makes_fails(
    net: Network, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = cuda_stub.install()
    state = stub.cuda_stub_used(0), stub.cuda_stub_blocks()
    monkeypatch.setenv("CUDA_STUB_FAIL", f"{function}:0:2")  # always: pycuda tries again where memory is short
    refused(load_again, "out of memory")
    monkeypatch.delenv("CUDA_STUB_FAIL")
    assert (stub.cuda_stub_used(0), stub.cuda_stub_blocks()) == state
    again = load_again()
    assert works(net)
    again.close()


@pytest.mark.parametrize("function", ["cuMemcpyHtoDAsync", "cuGraphLaunch", "cuMemcpyDtoHAsync"])
def test_case_89_a_call_that_fails_once_is_an_error_once(
    net: Network, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_STUB_FAIL", f"{function}:1:999")
    refused(lambda: net(images(2)), "GPU 0 (Stub 0): cannot run", "the CUDA driver failed")
    assert works(net)


def test_case_89_pointers_that_were_set_half_way_are_set_again(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = launcher(net).device
    x, out = DeviceArray.of(gpu, images(2)), DeviceArray(gpu, (2, 4))
    monkeypatch.setenv("CUDA_STUB_FAIL", "cuGraphExecKernelNodeSetParams:2:999")
    refused(lambda: net.run(x, out=out), "the CUDA driver failed")
    assert works(net)
    net.run(x, out=out)
    assert np.array_equal(out.numpy(), cnngen.reference(network(), images(2)))


@pytest.mark.parametrize(
    ("code", "meaning"), [(700, "illegal address"), (702, "launch time-out"), (719, "a kernel failed")]
)
def test_case_89_after_a_failed_kernel_nothing_uses_the_gpu(
    net: Network, code: int, meaning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, kept = load_again(), DeviceArray.of(launcher(net).device, images(2))
    monkeypatch.setenv("CUDA_STUB_FAIL", f"launch:2:{code}")
    out = np.full((2, 4), -7, np.float32)
    refused(lambda: net.run(images(2), out=out), meaning, "start a new process")
    assert np.all(out == -7)
    monkeypatch.setenv("CUDA_STUB_FAIL", "cuCtxPushCurrent:1:1")  # whoever calls the driver now would hear of that
    for call in (lambda: net(images(2)), lambda: net.run(images(2), out=out), net.profile, load_again, kept.numpy,
                 lambda: cnngen.verify(net), lambda: other.replay(*other._fixed, None)):  # fmt: skip
        refused(call, "GPU 0 (Stub 0) cannot be used any more", meaning)
    net.close()
    other.close()


def test_case_89_an_address_of_the_host_is_illegal_on_the_gpu(net: Network) -> None:
    x = images(2)
    inputs, outputs = [x.ctypes.data], launcher(net)._fixed[1]
    refused(lambda: launcher(net).replay(inputs, outputs, None), "illegal address")


def test_case_89_more_shared_memory_than_the_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower_convolution, "choose_tile", lambda *_: Tile(64, 64, warps=(1, 2), stages=4))
    plan = cuda_plan_for(network(), target="cuda")
    needed = max(launch.shared for launch in describe(plan).launches)
    assert needed > 48 << 10  # more than a block gets without asking: unless it was asked for, this would fail
    with cuda_stub.compiled(network()) as net:
        assert works(net)
    device._devices.pop(0).close()  # as in a new process
    monkeypatch.setenv("CUDA_STUB_SHARED", str(needed - 1))
    refused(
        lambda: load(cuda_stub.image(plan), describe(plan), backends.pack_weights(plan), 0),
        f"needs {needed} bytes of shared memory", f"the GPU has {needed - 1}", "compile for",
    )  # fmt: skip


# 90: code and arrays of somewhere else


def test_case_90_code_for_another_architecture(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.cubin").write_bytes(cuda_stub.image(PLAN, capability=80))
    refused(lambda: load_again(image=tmp_path / "old.cubin"), "the image holds no code for this GPU", "architecture")
    refused(lambda: load_again(image=tmp_path / "none.cubin"), "none.cubin: No such file", "compile it again")
    assert works(net)


def test_case_90_code_that_the_driver_does_not_know(net: Network) -> None:
    refused(
        lambda: load_again(image=b".version 99.0\n.target sm_90\n\0"), "PTX of a CUDA newer than the driver", "cubin"
    )
    refused(lambda: load_again(image=b".version 8.0\n.target sm_90\n\0"), "PTX that the driver cannot compile")
    refused(lambda: load_again(image=b"anything else, with some bytes\0"), "neither a cubin nor a fatbin")
    assert works(net)


def test_case_90_code_or_weights_of_another_network(net: Network) -> None:
    other = cuda_plan_for(Builder((1, 4)).graph("x"), target="cuda")
    refused(lambda: load_again(image=cuda_stub.image(other)), "lacks a kernel of this network", "compile again")
    refused(lambda: load_again(weights=np.zeros(3, np.float32)), "weights are 12 bytes of float32, the code reads")
    assert works(net)


def test_case_90_an_array_on_another_device(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_STUB_DEVICES", "2")
    out = DeviceArray(launcher(net).device, (2, 4))
    elsewhere = DeviceArray.of(device.open_device(1), images(2))
    for call in (lambda: net(elsewhere), lambda: net.run(elsewhere, out=out)):
        refused(call, "input x lies on GPU 1, the network on GPU 0 (Stub 0)", "target='cuda:1'")
    host = images(2)
    lost = Foreign(elsewhere, data=(host.ctypes.data, False))
    refused(lambda: net(lost), "input x: its address is not in the memory of a GPU")
    with cuda_stub.compiled(network(), device=1) as second:
        assert np.array_equal(second(elsewhere).numpy(), cnngen.reference(network(), images(2)))


@pytest.mark.parametrize("version", [2, 3])
def test_case_90_an_array_on_a_stream_that_nobody_waited_for(net: Network, version: int) -> None:
    """With version 3 the array names its stream, which is waited for; before, the whole GPU is."""
    queue, out = Queue(launcher(net)), DeviceArray(launcher(net).device, (2, 4))
    source = DeviceArray.of(launcher(net).device, np.zeros((2, 6, 7, 3)))
    queue.fill(source, images(2))
    array = Foreign(source, version=version, stream=queue.handle if version == 3 else None)
    net.run(array, out=out)
    assert np.array_equal(out.numpy(), cnngen.reference(network(), images(2)))
    queue.close()
