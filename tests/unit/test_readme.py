"""What the README shows works as shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cnngen
from cnngen import pipeline
from cnngen.backends.cpu.compiler import find_compiler
from cnngen.backends.cpu.target import host_isas

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_spec_shown_is_the_shipped_one() -> None:
    (shown,) = blocks("yaml")
    shipped = (ROOT / "specs" / "lenet.yaml").read_text(encoding="utf-8")
    assert shown == shipped[shipped.index("cnngen: 1") :]


def test_the_python_example_runs() -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["accuracy 0.97", "verified True", "reference 8"]


@pytest.mark.skipif("avx2" not in host_isas(), reason="the memory shown is for AVX2")
def test_the_table_shown_is_what_inspect_prints() -> None:
    (shown,) = (block for block in blocks("text") if block.startswith("lenet   input"))
    command = [sys.executable, "-m", "cnngen", "inspect", "lenet", "--isa", "avx2"]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, timeout=120, check=True)
    assert [line.strip() for line in done.stdout.splitlines()] == [line.strip() for line in shown.splitlines()]


@pytest.mark.skipif("avx2" not in host_isas(), reason="the command shown is for AVX2")
def test_the_c_example_builds_with_the_command_shown_and_runs(tmp_path: Path) -> None:
    program, _ = blocks("c")
    (command,) = re.findall(r"^cc (.* -o main)$", README, re.MULTILINE)
    (tmp_path / "main.c").write_text(program, encoding="utf-8")
    cnngen.compile(ROOT / "specs" / "lenet.yaml", isa="avx2", threads=1, build_dir=tmp_path / "build" / "lenet").close()
    arguments = [
        name
        for word in command.split()
        for name in (sorted(str(path) for path in tmp_path.glob(word)) if "*" in word else [word])
    ]
    subprocess.run([*find_compiler().command, *arguments], cwd=tmp_path, timeout=120, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert "1: 1.000" in out.split("\n")


def test_the_generated_code_shown_is_what_is_generated() -> None:
    _, shown = blocks("c")
    graph = cnngen.load_graph(ROOT / "specs" / "lenet.yaml")
    tree = pipeline.sources(pipeline.plan_for(graph, isa="avx2", threads=1, numerics="reproducible"))
    (kernel,) = (text for name, text in tree.files.items() if name.startswith("kernels/conv2d_5x5s1_c6"))
    lines = kernel.splitlines()
    start = next(number for number, line in enumerate(lines) if "v_t a0_0" in line)
    stop = next(number for number, line in enumerate(lines) if "v_store(out + 16" in line)
    excerpt = textwrap.dedent("\n".join(lines[start:stop]))
    assert shown == f"{excerpt}\n...\n", f"paste this into README.md:\n{excerpt}\n..."


def test_the_error_message_shown_is_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = next(block for block in blocks("text") if block.startswith("net.yaml:"))
    head = (ROOT / "specs" / "lenet.yaml").read_text(encoding="utf-8").splitlines()
    spec = [line for line in head if line.startswith(("cnngen:", "name:", "input:"))]
    spec += ["weights: random", "layers:", "  - conv2d: {name: c1, filters: 6, kernel: 5, actvation: relu}"]
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text("\n".join(spec) + "\n", encoding="utf-8")
    with pytest.raises(cnngen.CnngenError) as caught:
        cnngen.load_graph("net.yaml")
    assert str(caught.value) == shown.strip()
