"""Draws the tile of a CUDA convolution: docs/tile.svg. ``make docs`` runs it.

Three panels: the matrix product that a convolution is, with one block's tile and slice; the ring of slices in shared
memory; the order of chunks in a row of shared memory, computed as `swizzled` in templates/cuda/device.cuh does.
"""

from __future__ import annotations

from pathlib import Path

WIDTH, HEIGHT = 960, 560
INK, FAINT = "#222222", "#9a9a9a"
PIXELS, WEIGHTS, SUMS = "#cfe3f7", "#fbe3c0", "#d5ecd0"
STRONG = {PIXELS: "#4a90d9", WEIGHTS: "#e09a2b", SUMS: "#4f9d45"}
STAGES = ("slice 4 (copied)", "slice 1 (multiplied)", "slice 2 (copied)", "slice 3 (copied)")
CHUNK_COLOURS = ("#e6194b", "#f58231", "#c9a800", "#3cb44b", "#00a0a0", "#4363d8", "#911eb4", "#a0522d")


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = INK, weight: float = 1) -> str:
    """A rectangle."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect {place} fill="{fill}" stroke="{stroke}" stroke-width="{weight}"/>'


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "middle", fill: str = INK) -> str:
    """A line of text; (x, y) is on its base line."""
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{words}</text>'


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A straight arrow."""
    return (
        f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{INK}" stroke-width="1.4" marker-end="url(#head)"/>'
    )


def product() -> list[str]:
    """Pixels x taps times taps x channels, with the tile of one block and the slice that it multiplies."""
    taps, channels, pixels, tile, wide, part = 210, 170, 220, 66, 56, 40
    left, top = 40, 210
    right, above = left + taps + 26, top - taps * 0.62 - 22
    depth = taps * 0.62
    parts = [text(left, 26, "The product: one block computes one tile", 15, "start")]
    # Left factor, right factor, result.
    parts += [
        box(left, top, taps, pixels, "white"),
        box(right, above, channels, depth, "white"),
        box(right, top, channels, pixels, "white"),
    ]
    row, column, step = top + 88, right + 60, 2 * part
    parts += [
        box(left, row, taps, tile, PIXELS, FAINT),
        box(right + 60, above, wide, depth, WEIGHTS, FAINT),
        box(left + step, row, part, tile, STRONG[PIXELS]),
        box(column, above + step * 0.62, wide, part * 0.62, STRONG[WEIGHTS]),
        box(column, row, wide, tile, SUMS, INK, 1.6),
        f'<line x1="{column + wide / 2}" y1="{row}" x2="{column + wide / 2}" y2="{row + tile}" stroke="{INK}"/>',
        f'<line x1="{column}" y1="{row + tile / 2}" x2="{column + wide}" y2="{row + tile / 2}" stroke="{INK}"/>',
    ]
    for index, (dx, dy) in enumerate(((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))):
        parts.append(text(column + dx * wide, row + dy * tile + 4, f"w{index}", 11))
    parts += [
        text(left + taps / 2, top + pixels + 18, "taps: row, column, input channel"),
        text(left - 10, top - 8, "output pixels x taps: never stored", 12, "start", FAINT),
        text(right + channels / 2, above - 8, "channels"),
        text(right + channels + 8, above + depth / 2, "packed weights", 12, "start", FAINT),
        text(right + channels / 2, top + pixels + 18, "output: pixels x channels"),
        text(left + step + part / 2, row - 6, "slice", 12),
        text(column + wide + 6, row + tile / 2 + 4, "4 warps", 12, "start"),
    ]
    return parts


def ring() -> list[str]:
    """The stages in shared memory, and what happens with each while slice 1 is multiplied."""
    left, top, wide, high = 560, 56, 170, 42
    parts = [text(left, 26, "Shared memory: a ring of slices", 15, "start")]
    for index, words in enumerate(STAGES):
        y = top + index * (high + 8)
        busy = index == 1
        parts += [
            box(left, y, wide * 0.66, high, STRONG[PIXELS] if busy else PIXELS),
            box(left + wide * 0.66, y, wide * 0.34, high, STRONG[WEIGHTS] if busy else WEIGHTS),
            text(left + wide + 60, y + high / 2 + 4, words, 12, "start"),
        ]
        if busy:
            parts.append(arrow(left + wide + 6, y + high / 2, left + wide + 50, y + high / 2))
        else:
            parts.append(arrow(left + wide + 50, y + high / 2, left + wide + 6, y + high / 2))
    parts += [
        text(left + wide * 0.33, top - 8, "pixels", 12),
        text(left + wide * 0.83, top - 8, "channels", 12),
        text(
            left,
            top + 4 * (high + 8) + 14,
            "ldmatrix and mma.sync read one stage while cp.async fills the others;",
            12,
            "start",
        ),
        text(
            left,
            top + 4 * (high + 8) + 30,
            "slice 4 lies where slice 0 was: hence the barrier before it is copied.",
            12,
            "start",
        ),
    ]
    return parts


def swizzle() -> list[str]:
    """Which chunk lies where in the first eight rows of a tile."""
    left, top, wide, high = 560, 348, 42, 20
    parts = [text(left, 330, "A row of 128 bytes: chunk c of row r lies at c xor (r mod 8)", 15, "start")]
    for row in range(8):
        parts.append(text(left - 8, top + row * high + 15, f"row {row}", 11, "end"))
        for chunk in range(8):
            place = chunk ^ (row & 7)
            x, y = left + place * wide, top + row * high
            parts.append(box(x, y, wide, high, CHUNK_COLOURS[chunk] + ("ff" if chunk == 2 else "30"), FAINT))
            parts.append(text(x + wide / 2, y + 15, str(chunk), 12, fill="white" if chunk == 2 else INK))
    parts += [
        text(
            left, top + 8 * high + 18, "ldmatrix reads one chunk of eight rows at a time (here chunk 2):", 12, "start"
        ),
        text(left, top + 8 * high + 34, "eight different columns, so all 32 banks once.", 12, "start"),
    ]
    return parts


def draw() -> str:
    """The picture as SVG."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif">'
    )
    marker = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>'
    )
    title = "<title>The tile of a CUDA convolution</title>"
    body = [box(0, 0, WIDTH, HEIGHT, "white", "none"), *product(), *ring(), *swizzle()]
    return "\n".join([head, title, marker, *body, "</svg>", ""])


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "docs" / "tile.svg").write_text(draw(), encoding="utf-8")
