"""What GPUs can do, as figures for the planner: one card of each architecture, or the GPU that is there.

Where the figures come from:

- Limits of a multiprocessor (shared memory, threads, blocks, registers): CUDA C++ Programming Guide, table "Technical
  Specifications per Compute Capability"; a block takes 1 KiB of shared memory for the system from 8.0 on ("Shared
  Memory" of each capability).
- Multiply-adds of float32 in a cycle: the same guide, table "Throughput of Native Arithmetic Instructions".
- Multiply-adds of the tensor cores in a cycle: NVIDIA's white papers on TU102, A100, GA102, AD102, H100 and Blackwell
  (dense, sums in float32). `mma.sync` gets 0.629 of it on an H100, where only `wgmma` gets all (Luo et al.,
  "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", 2024). No figure is published for `mma.sync` on
  sm_100: that of sm_90 is taken. GeForce cards have half the rate of the professional ones (white papers on GA102 and
  AD102).
- Latency of `mma.sync`: Sun et al., "Dissecting Tensor Cores via Microbenchmarks", 2022 (24.7 cycles on an A100, 33 on
  an RTX 3070 Ti; the latter is taken for the others).
- Latencies of memory: Jia et al., "Dissecting the NVIDIA Turing T4 GPU via Microbenchmarking", 2019 (T4); Luo et al.
  (A100, RTX 4090, H100). Later ones as H100.
- Bytes from L2: 5120 a cycle on an A100 (white paper) and 1270 GB/s on a T4 (Jia et al.). Nothing is published for the
  others; they get as much as an A100 has for a multiprocessor.
- Multiprocessors, clocks (boost), sizes of L2 and bytes a second of memory: data sheets of the cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from cnngen.errors import DeviceError

if TYPE_CHECKING:
    from cnngen.backends.cuda.driver import Properties

KIB, MIB = 1 << 10, 1 << 20
SHARED_BYTES_A_CYCLE = 128
"""32 banks of 4 bytes (CUDA C++ Programming Guide, "Shared Memory")."""
REGISTERS = 64 * KIB
"""Of a multiprocessor, on all architectures."""


@dataclass(frozen=True)
class Architecture:
    """A compute capability, and the figures of one `card` that has it.

    `processors` multiprocessors run at `clock` Hz. A block may use `shared` bytes of shared memory; a multiprocessor
    has `shared_processor` and room for `threads` and `blocks`. In a cycle it does `fma` multiply-adds of float32, and
    `tensor` of each precision of the tensor cores, of which `mma_share` can be had with `mma.sync`; one of these takes
    `mma_latency` cycles. `l2_bytes` come to it from L2 in a cycle, after `l2_latency` cycles; from memory after
    `memory_latency`, `memory` bytes a second for the whole card, whose L2 has `l2_size` bytes.
    """

    name: str
    card: str
    processors: int
    clock: float
    shared: int
    shared_processor: int
    threads: int
    blocks: int
    fma: int
    tensor: Mapping[str, int] = field(hash=False)
    memory: float
    l2_size: int
    mma_share: float = 1.0
    mma_latency: float = 33.0
    l2_bytes: float = 5120 / 108
    l2_latency: float = 263.0
    memory_latency: float = 478.8
    reserved: int = KIB

    @property
    def precisions(self) -> frozenset[str]:
        return frozenset({"fp32", *self.tensor})

    def multiply_adds(self, precision: str) -> float:
        """Multiply-adds of a multiprocessor in a cycle, as the kernels do them."""
        return self.fma if precision == "fp32" else self.tensor[precision] * self.mma_share


def _tensor(fp16: int) -> Mapping[str, int]:
    """TF32 has half the rate of float16 on all architectures that have it."""
    return MappingProxyType({"fp16": fp16, "tf32": fp16 // 2})


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "sm_75", "T4", 40, 1.59e9, 64 * KIB, 64 * KIB, 1024, 16, 64, MappingProxyType({"fp16": 512}), 320e9,
            4 * MIB, l2_bytes=1270 / 1.59 / 40, l2_latency=188, memory_latency=434, reserved=0,
        ),
        Architecture(
            "sm_80", "A100 80GB", 108, 1.41e9, 163 * KIB, 164 * KIB, 2048, 32, 64, _tensor(1024), 2039e9, 40 * MIB,
            mma_latency=24.7, l2_latency=261.5, memory_latency=466.3,
        ),
        Architecture("sm_86", "A40", 84, 1.74e9, 99 * KIB, 100 * KIB, 1536, 16, 128, _tensor(512), 696e9, 6 * MIB),
        Architecture(
            "sm_89", "L40S", 142, 2.52e9, 99 * KIB, 100 * KIB, 1536, 24, 128, _tensor(512), 864e9, 96 * MIB,
            l2_latency=273, memory_latency=541.5,
        ),
        Architecture(
            "sm_90", "H100 SXM", 132, 1.83e9, 227 * KIB, 228 * KIB, 2048, 32, 128, _tensor(2048), 3350e9, 50 * MIB,
            mma_share=0.629,
        ),
        Architecture(
            "sm_100", "B200", 148, 1.85e9, 227 * KIB, 228 * KIB, 2048, 32, 128, _tensor(2048), 8000e9, 126 * MIB,
            mma_share=0.629
        ),
        Architecture(
            "sm_120", "RTX PRO 6000", 188, 2.6e9, 99 * KIB, 100 * KIB, 1536, 24, 128, _tensor(512), 1792e9, 128 * MIB
        ),
    )
}  # fmt: skip

DEFAULT_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90")


def architecture_for(capability: tuple[int, int]) -> str:
    """The architecture to compile for, for a GPU of this compute capability: its own, or one whose code it runs.

    Cubins run on a GPU of the same major and a higher minor capability, PTX on every later one (CUDA C++ Programming
    Guide, "Binary Compatibility"). Raises `DeviceError` for a GPU that is older than all of them.
    """
    number = 10 * capability[0] + capability[1]
    numbers = {int(name.removeprefix("sm_")): name for name in ARCHITECTURES}
    older = [known for known in numbers if known <= number]
    if not older:
        raise DeviceError(
            f"the GPU has compute capability {capability[0]}.{capability[1]}; kernels are written for "
            f"{numbers[min(numbers)]} and newer",
            remedy="use another GPU, or target='cpu'",
        )
    same = [known for known in older if known // 10 == capability[0]]
    return numbers[max(same or older)]


def of_device(gpu: Properties) -> Architecture:
    """The figures of the GPU that is there: what it says of itself, and for the rest those of its architecture.

    What an old driver does not say (0) is taken from the table. Raises `DeviceError` for a GPU that is too old.
    """
    usual = ARCHITECTURES[architecture_for(gpu.capability)]
    tensor = usual.tensor
    if "GeForce" in gpu.name:
        tensor = MappingProxyType({name: rate // 2 for name, rate in tensor.items()})
    return replace(
        usual,
        card=gpu.name,
        processors=gpu.processors or usual.processors,
        clock=gpu.clock or usual.clock,
        shared=gpu.shared or usual.shared,
        shared_processor=gpu.shared_processor or usual.shared_processor,
        threads=gpu.threads or usual.threads,
        blocks=gpu.blocks or usual.blocks,
        tensor=tensor,
        memory=gpu.bandwidth or usual.memory,
        l2_size=gpu.l2_size or usual.l2_size,
        reserved=gpu.reserved if gpu.shared_processor else usual.reserved,
    )
