"""The picture of a profile: how long each layer takes, by algorithm, and what it reaches of its roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnngen.errors import RunError

MOST_LAYERS = 60
"""Of more, those that take longest are drawn."""
LONGEST_NAME = 34


def plot_profile(title: str, layers: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw the rows of `cnngen bench` into a picture; its suffix says which kind. Raises `RunError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError("--plot needs matplotlib", remedy="pip install 'cnngen[plot]'") from error
    longest = sorted(layers, key=lambda layer: -layer["us"])[:MOST_LAYERS]
    rows = [layer for layer in layers if any(layer is other for other in longest)]
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    times, shares = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    algorithms = list(dict.fromkeys(layer["algorithm"] or layer["kind"] for layer in rows))
    colours = {name: f"C{number % 10}" for number, name in enumerate(algorithms)}
    places = range(len(rows))
    for name in algorithms:
        own = [i for i in places if (rows[i]["algorithm"] or rows[i]["kind"]) == name]
        times.barh(own, [rows[i]["us"] for i in own], color=colours[name], label=name)
        known = [i for i in own if rows[i]["of_roofline"]]
        shares.barh(known, [100 * rows[i]["of_roofline"] for i in known], color=colours[name])
        for i in known:
            rate = f" {rows[i]['gflops']:.0f} GFLOP/s{' effective' if rows[i]['effective'] else ''}"
            shares.text(
                100 * rows[i]["of_roofline"], i, rate if rows[i]["gflops"] >= 1 else "", va="center", fontsize=6
            )
    times.set_yticks(places, [_short(layer["name"]) for layer in rows], fontsize=7)
    times.set_ylim(len(rows) - 0.4, -0.6)
    times.set_xlabel("microseconds an image")
    times.legend(fontsize=7, loc="best")
    shares.axvline(100, color="black", linewidth=0.8, linestyle="--", zorder=0)
    shares.set_xlim(0, max([125.0, *(140 * row["of_roofline"] for row in rows)]))
    shares.set_xlabel("% of the roofline of a direct computation")
    for axes in (times, shares):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=8)
    left_out = f"; {len(layers) - len(rows)} shorter steps not drawn" if len(rows) < len(layers) else ""
    figure.suptitle(title + left_out, fontsize=10)
    try:
        figure.savefig(file, dpi=150)
    except ValueError as error:
        raise RunError(f"cannot draw {file}: {error}", remedy="end its name with .png, .svg or .pdf") from error


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else "..." + name[3 - LONGEST_NAME :]
