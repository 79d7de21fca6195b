"""Register tiles: every output element is covered once, and everything a tile holds fits the registers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnngen.backends.cpu.kernels import ChannelBlocks, Strip
from cnngen.backends.cpu.target import ISAS
from cnngen.backends.cpu.tiling import chunk, max_pixels, planar_tile, tile_channels, tile_cycles, tile_row

REGISTERS = [(isa.lanes, isa.registers) for isa in ISAS.values()]
CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 129, 1000)
COLUMNS = (1, 2, 3, 5, 6, 7, 11, 13, 14, 16, 17, 28, 31, 56, 97, 112, 224)


def pixels_of(strips: tuple[Strip, ...]) -> list[int]:
    """Every pixel as often as a tile computes it."""
    return [
        strip.first + t * strip.pixels + p for strip in strips for t in range(strip.repeat) for p in range(strip.pixels)
    ]


def channels_of(block: ChannelBlocks, lanes: int) -> list[int]:
    """Every channel that a set of blocks stores."""
    width = block.vectors * lanes
    stored = width - (lanes - block.tail if block.tail else 0)
    return [block.first + b * width + c for b in range(block.count) for c in range(stored)]


@pytest.mark.parametrize("registers", sorted({registers for _, registers in REGISTERS}))
def test_every_pixel_of_a_row_is_covered_once(registers: int) -> None:
    for columns, vectors in itertools.product(range(1, 121), range(1, 9)):
        strips = tile_row(columns, vectors, registers).strips
        assert sorted(pixels_of(strips)) == list(range(columns)), (columns, vectors)
        assert len({strip.pixels for strip in strips}) <= 2


@given(st.integers(1, 300), st.integers(1, 8), st.sampled_from([16, 32]), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_tile_leaves_the_registers_that_it_was_told_to(
    columns: int, vectors: int, registers: int, reserved: int
) -> None:
    for strip in tile_row(columns, vectors, registers, reserved).strips:
        needed = strip.pixels * vectors + vectors + 2 + reserved
        assert strip.pixels == 1 or needed <= registers, "accumulators, weights, input value, constant"


@pytest.mark.parametrize(("lanes", "registers"), REGISTERS)
def test_every_output_element_is_covered_once(lanes: int, registers: int) -> None:
    for channels, columns in itertools.product(CHANNELS, COLUMNS):
        covered = np.zeros((columns, channels), int)
        for block in tile_channels(channels, columns, lanes, registers).blocks:
            np.add.at(covered, np.ix_(pixels_of(block.strips), channels_of(block, lanes)), 1)
        assert np.all(covered == 1), (channels, columns)


@pytest.mark.parametrize(("lanes", "registers"), REGISTERS)
def test_only_the_last_block_is_partly_filled(lanes: int, registers: int) -> None:
    for channels, columns in itertools.product(CHANNELS, (1, 7, 56)):
        *full, last = tile_channels(channels, columns, lanes, registers).blocks
        assert all(block.tail == 0 for block in full)
        assert last.tail == channels % lanes
        assert last.tail == 0 or last.count == 1


def test_the_tile_of_a_wide_layer_keeps_the_multiply_add_units_busy() -> None:
    """By the model a row takes at most 5 % longer than its multiply-adds on two units."""
    for lanes, registers in REGISTERS[1:]:
        for columns in (14, 28, 56, 112):
            (block,) = tile_channels(16 * lanes, columns, lanes, registers).blocks
            cycles = sum(strip.repeat * tile_cycles(strip.pixels, block.vectors) for strip in block.strips)
            assert cycles <= 1.05 * columns * block.vectors / 2


@pytest.mark.parametrize("columns", [14, 28, 56, 112, 224])
def test_of_equally_good_tilings_the_one_with_the_fewest_tiles_is_taken(columns: int) -> None:
    """Every tile reads all the weights again. 14 pixels by two vectors are the tile of AVX-512."""
    assert tile_row(columns, 2, 32).strips == (Strip(0, 14, columns // 14),)
    assert tile_row(7, 2, 32).strips == (Strip(0, 7, 1),)


@given(st.integers(1, 40), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_the_model_is_bounded_by_what_it_models(pixels: int, vectors: int) -> None:
    cycles = tile_cycles(pixels, vectors)
    assert cycles >= pixels * vectors / 2
    assert cycles >= (pixels + vectors) / 2
    assert cycles <= tile_cycles(pixels + 1, vectors)
    assert cycles <= tile_cycles(pixels, vectors + 1)


@pytest.mark.parametrize(("channels", "vectors"), [(24, 1.5), (40, 2.5), (41, 3), (1000, 62.5)])
def test_half_a_vector_counts_as_half(channels: int, vectors: float) -> None:
    """With AVX-512: 24 channels of 28 pixels take the multiply-adds of 42 vectors."""
    assert tile_channels(channels, 28, 16, 32).cycles == pytest.approx(28 * vectors / 2, rel=0.15)
    assert tile_channels(channels, 28, 16, 32).cycles >= 28 * vectors / 2


def test_no_register_count_is_too_small_for_one_pixel() -> None:
    assert max_pixels(8, 16) == 1
    assert max_pixels(8, 1) == 1
    assert max_pixels(2, 32) == 14
    assert max_pixels(2, 16) == 6


@pytest.mark.parametrize(("lanes", "registers"), REGISTERS)
@pytest.mark.parametrize("columns", [1, 7, 49, 97, 196, 211, 784, 3136, 12544, 50176])
def test_a_long_row_is_cut_into_equal_pieces(columns: int, lanes: int, registers: int) -> None:
    for channels in (3, 64, 100):
        length = chunk(columns, channels, lanes, registers)
        assert columns % length == 0
        assert 1 <= length <= 256


@given(st.integers(1, 130), st.integers(1, 70), st.sampled_from(REGISTERS[1:]))
@settings(max_examples=200, deadline=None)
def test_planar_tiles_fit_the_registers(columns: int, filters: int, isa: tuple[int, int]) -> None:
    lanes, registers = isa
    vectors, tile, cycles = planar_tile(columns, filters, lanes, registers)
    assert 1 <= tile <= filters
    assert 1 <= vectors <= -(-columns // lanes)
    assert vectors * tile + vectors + 1 <= registers, "accumulators, inputs, one weight"
    assert cycles >= -(-columns // lanes) * filters / 2


@pytest.mark.parametrize(("lanes", "registers"), REGISTERS)
def test_threads_get_units_of_work_where_there_are_any(lanes: int, registers: int) -> None:
    """Seven rows of seven pixels: the busiest of two threads has little more than half of the work."""
    for channels in (lanes, 2 * lanes, 16 * lanes):
        alone = tile_channels(channels, 7, lanes, registers, 7, 1).cycles
        shared = tile_channels(channels, 7, lanes, registers, 7, 2).cycles
        assert alone / 2 <= shared <= 0.6 * alone, channels


def test_a_long_row_is_cut_for_all_threads() -> None:
    """One block of channels: a piece that fills a thread's time would leave the others idle."""
    for threads in (1, 2, 4, 16):
        assert 3136 // chunk(3136, 16, 8, 16, threads=threads) >= threads
