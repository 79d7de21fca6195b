"""The demonstration: its pictures, what it accepts, and the run from end to end."""

from __future__ import annotations

import numpy as np
import pytest

import cnngen
from cnngen import demo


def reading(native: list[int], reference: list[int], labels: list[int]) -> demo.Reading:
    return demo.Reading(np.eye(10)[native], np.eye(10)[reference], np.array(labels))


def test_a_character_cell_holds_an_upper_and_a_lower_pixel() -> None:
    picture = np.zeros((6, 8), np.uint8)
    picture[1, 2:4] = 255
    picture[2, 3:5] = 255
    picture[3, 2] = picture[3, 4] = demo.INK
    picture[0, 0] = demo.INK - 1
    assert demo.draw(picture) == ["▀█▄", "▀ ▀"]


def test_an_empty_picture_is_no_lines() -> None:
    assert demo.draw(np.zeros((28, 28), np.uint8)) == []


def test_the_gallery_stops_at_the_width_and_says_how_many_fit() -> None:
    picture = np.full((4, 10), 255, np.uint8)
    lines, count = demo.gallery([picture] * 5, ["7 100%"] * 5, columns=40)
    assert count == 3
    assert lines == ["   ".join(["█" * 10] * 3)] * 2 + ["  7 100%       7 100%       7 100%"]
    assert max(map(len, lines)) <= 40


def test_the_gallery_aligns_digits_of_different_height_at_their_feet() -> None:
    lines, count = demo.gallery([np.full((4, 2), 255, np.uint8), np.full((2, 2), 255, np.uint8)], ["1", "2"])
    assert count == 2
    assert lines == ["██", "██   ██", "1    2"]


def test_the_shipped_digits() -> None:
    pictures, labels = demo.load_digits()
    assert (pictures.shape, pictures.dtype, labels.shape) == ((200, 28, 28), np.uint8, (200,))
    assert set(labels.tolist()) == set(range(10))
    assert len(np.unique(pictures.reshape(200, -1), axis=0)) == 200
    x = demo.network_input(pictures)
    assert (x.shape, x.dtype, x.min(), x.max()) == ((200, 28, 28, 1), np.float32, 0, 1)


def test_a_reading_that_holds() -> None:
    good = reading([3] * 97 + [5] * 3, [3] * 97 + [5] * 3, [3] * 100)
    assert (good.correct, good.reference_correct, good.failures()) == (97, 97, [])
    assert (good.caption(0), good.caption(99)) == ("3 100%", "5 not 3")


def test_too_many_misread_digits_fail() -> None:
    bad = reading([3] * 96 + [5] * 4, [3] * 96 + [5] * 4, [3] * 100)
    assert bad.failures() == ["96 of 100 digits were read right, 97 % were expected"]


def test_a_digit_that_the_reference_reads_differently_fails_even_at_equal_accuracy() -> None:
    bad = reading([5] + [3] * 99, [3] * 99 + [5], [3] * 100)
    assert bad.correct == bad.reference_correct == 99
    assert bad.failures() == ["native code and reference read 2 digits differently (digit 0, 99)"]


def test_the_median_is_of_the_runs_after_the_warm_up() -> None:
    calls = []
    assert demo.median_seconds(lambda: calls.append(1), runs=20) > 0
    assert len(calls) == 22


def test_the_demo_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "TIMED_RUNS", 50)
    assert demo.main() == 0
    out = capsys.readouterr().out
    assert out.count("97.0% (194 right)") == 2
    assert max(map(len, out.splitlines())) <= 80
    assert list((tmp_path / "build" / "lenet").rglob("*.c"))


@pytest.mark.usefixtures("capsys")
def test_the_demo_fails_where_verification_does(tmp_path, monkeypatch) -> None:
    class Refused:
        ok = False

        def summary(self) -> str:
            return "c1: [0, 0, 0, 0] is 1, the bound allows 0"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cnngen, "verify", lambda network: Refused())
    assert demo.main() == 1
