"""The model that chooses tiles of convolutions for a GPU: its choices are sane, and whatever it chooses fits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnngen.backends.cuda.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURES, KIB, architecture_for, of_device
from cnngen.backends.cuda.driver import Properties
from cnngen.backends.cuda.kernels.base import ceil_div
from cnngen.backends.cuda.kernels.convolution import Tile
from cnngen.backends.cuda.target import PRECISIONS, CudaTarget, resolve
from cnngen.backends.cuda.tiling import Product, candidates, choose_tile, estimate, ranked_tiles, shared_bytes
from cnngen.pipeline import cuda_plan_for
from tests.graphs import EXAMPLES

TARGETS = [
    resolve(name, precision)
    for name, precision in itertools.product((*ARCHITECTURES, ",".join(DEFAULT_ARCHITECTURES)), PRECISIONS)
    if not ("sm_75" in name and precision == "tf32")
]
LARGE = [target for target in TARGETS if target.architectures[0].processors > 50]


def product(target: CudaTarget, pixels: int, channels: int, taps: int, groups: int = 1, *, pieces: int = 1) -> Product:
    slices = ceil_div(taps * target.precision.element_bytes, 128)
    return Product(target.precision, pixels, channels, groups, slices, True, pieces)


def label(target: CudaTarget) -> str:
    return f"{'-'.join(each.name for each in target.architectures)}-{target.precision.name}"


@pytest.mark.parametrize("target", LARGE, ids=label)
def test_few_pixels_with_many_taps_are_split_and_many_pixels_are_not(target: CudaTarget) -> None:
    assert choose_tile(product(target, 7 * 7, 512, 9 * 512), target).splits > 1
    assert choose_tile(product(target, 112 * 112, 64, 3 * 49, pieces=4), target).splits == 1
    assert choose_tile(product(target, 64 * 56 * 56, 64, 9 * 64), target).splits == 1


@pytest.mark.parametrize("target", TARGETS, ids=label)
def test_large_products_get_large_tiles_and_small_ones_enough_blocks(target: CudaTarget) -> None:
    large = choose_tile(product(target, 64 * 28 * 28, 256, 9 * 256), target)
    quick = target.precision.name == "fp16" and target.architectures[0].tensor["fp16"] >= 1024
    assert large.pixels * large.channels >= (8192 if quick else 4096)
    small = choose_tile(product(target, 14 * 14, 256, 9 * 256), target)
    blocks = ceil_div(196, small.pixels) * ceil_div(256, small.channels) * small.splits
    # At least a third of the multiprocessors of the largest card has something to do.
    assert 3 * blocks >= max(each.processors for each in target.architectures)


@pytest.mark.parametrize("target", LARGE, ids=label)
def test_a_large_product_comes_near_the_peak_and_none_is_quicker(target: CudaTarget) -> None:
    """Of what the kernels can do, by the model: more would be a term forgotten, far less a term that is wrong."""
    pixels, channels, taps = 64 * 28 * 28, 256, 9 * 256
    work = product(target, pixels, channels, taps)
    for gpu in target.architectures:
        peak = gpu.multiply_adds(target.precision.name) * gpu.processors * gpu.clock
        times = [estimate(work, tile, gpu) for tile in candidates(work, target)]
        shares = [pixels * channels * taps / seconds / peak for seconds in times]
        assert max(shares) <= 1.0
        assert max(shares) >= (0.5 if gpu.name != "sm_75" else 0.4), gpu.name


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(TARGETS), st.integers(1, 100_000), st.integers(1, 4096), st.integers(1, 30_000), st.integers(1, 64),
    st.booleans(),
)  # fmt: skip
def test_whatever_the_shape_the_tile_fits(
    target: CudaTarget, pixels: int, channels: int, taps: int, groups: int, window: bool
) -> None:
    slices = ceil_div(taps * target.precision.element_bytes, 128)
    work = Product(target.precision, pixels, channels, groups, slices, window)
    tile = choose_tile(work, target)
    for gpu in target.architectures:
        assert shared_bytes(tile) <= gpu.shared
    assert tile.splits == 1 or slices >= 4 * tile.splits
    ranked = ranked_tiles(work, target)
    assert ranked[0] == tile
    assert len(set(ranked)) == len(ranked) == len(list(candidates(work, target)))


def test_estimates_follow_the_gpu() -> None:
    """More multiprocessors, a higher clock, quicker memory: never slower, and somewhere quicker."""
    target = resolve("sm_90", "fp16")
    h100 = ARCHITECTURES["sm_90"]
    work = product(target, 64 * 28 * 28, 256, 9 * 256)
    tile = choose_tile(work, target)
    base = estimate(work, tile, h100)
    gpu = Properties("half an H100", (9, 0), 66, 227 * KIB, 1 << 36)
    half = of_device(gpu)
    assert (half.processors, half.clock, half.card) == (66, h100.clock, "half an H100")
    assert 1.8 < estimate(work, tile, half) / base < 2.2
    slow = of_device(gpu._replace(processors=132, clock=h100.clock / 2))
    assert 1.6 < estimate(work, tile, slow) / base < 2.1


def test_a_gpu_plans_with_what_it_says_of_itself() -> None:
    small = Properties("a slice of an H100", (9, 0), 16, 227 * KIB, 1 << 33)
    work = product(resolve("sm_90", "fp16"), 7 * 7, 512, 9 * 512)
    own, usual = resolve("sm_90", "fp16", gpu=small), resolve("sm_90", "fp16")
    assert own.architectures[0].processors == 16
    assert choose_tile(work, own).splits < choose_tile(work, usual).splits
    tight = resolve("sm_90", "fp16", gpu=small._replace(shared=40 * KIB, shared_processor=41 * KIB))
    assert all(shared_bytes(tile) <= 40 * KIB for tile in ranked_tiles(work, tight))
    plan = cuda_plan_for(EXAMPLES["lenet"](), target="cuda", architectures="sm_90", precision="fp16", gpu=small)
    assert plan.target.architectures[0].card == "a slice of an H100"


def test_geforce_cards_have_half_the_rate_of_tensor_cores() -> None:
    gpu = Properties("NVIDIA GeForce RTX 4090", (8, 9), 128, 99 * KIB, 24 << 30, clock=2.52e9)
    # 165.2 TFLOP/s in fp16 with sums in float32, of the white paper on AD102.
    fp16 = of_device(gpu)
    peak = 2 * fp16.multiply_adds("fp16") * fp16.processors * fp16.clock
    assert abs(peak / 165.2e12 - 1) < 0.01
    assert fp16.fma == ARCHITECTURES["sm_89"].fma


@pytest.mark.parametrize(
    ("name", "precision", "teraflops"),
    [("sm_75", "fp16", 65), ("sm_80", "fp16", 312), ("sm_80", "tf32", 156), ("sm_86", "fp16", 149.7),
     ("sm_89", "fp16", 362), ("sm_90", "fp16", 989.4), ("sm_80", "fp32", 19.5), ("sm_90", "fp32", 66.9),
     ("sm_120", "fp16", 503.8), ("sm_86", "fp32", 37.4)],
)  # fmt: skip
def test_the_table_gives_the_peaks_of_the_data_sheets(name: str, precision: str, teraflops: float) -> None:
    gpu = ARCHITECTURES[name]
    rate = gpu.fma if precision == "fp32" else gpu.tensor[precision]
    peak = 2 * rate * gpu.processors * gpu.clock / 1e12
    assert abs(peak / teraflops - 1) < 0.1
    assert architecture_for((int(name[3:]) // 10, int(name[3:]) % 10)) == name


def test_tiles_of_a_name_are_the_same_each_time() -> None:
    target = resolve("sm_80", "tf32")
    work = product(target, 196, 256, 2304)
    assert choose_tile(work, target) == choose_tile(work, resolve("sm_80", "tf32"))
    assert isinstance(choose_tile(work, target), Tile)
