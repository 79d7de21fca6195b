"""Builds pycuda against the driver of tests/cuda_stub and installs it beside this Python: for `make test-pycuda`.

pycuda comes as sources only, and wants the headers of a CUDA toolkit and a library to link with. CUDA_ROOT names the
toolkit; without it, the one that `nvcc` belongs to, or /usr/local/cuda. On a machine with a GPU this pycuda works with
its driver, too: it is found by the same name when pycuda is imported.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

REQUIREMENT = "pycuda>=2024.1"


def toolkit() -> Path:
    """The folder with include/cuda.h."""
    nvcc = shutil.which("nvcc")
    candidates = [os.environ.get("CUDA_ROOT"), nvcc and str(Path(nvcc).resolve().parents[1]), "/usr/local/cuda"]
    for candidate in filter(None, candidates):
        if (Path(candidate) / "include/cuda.h").is_file():
            return Path(candidate)
    sys.exit("there is no CUDA toolkit: install one, or name its folder: CUDA_ROOT=/path make test-pycuda")


def main() -> None:
    from tests import cuda_stub

    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([*pip, "install", "-q", "setuptools", "wheel"], check=True)
        subprocess.run(
            [
                *pip,
                "download",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "--no-binary",
                ":all:",
                "-d",
                name,
                REQUIREMENT,
            ],
            check=True,
        )
        with tarfile.open(next(folder.glob("pycuda-*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        sources = next(path for path in folder.glob("pycuda-*") if path.is_dir())
        shutil.copy(cuda_stub.build(), folder / "libcuda.so")
        settings = {"CUDA_ROOT": str(toolkit()), "CUDA_ENABLE_CURAND": False, "CUDADRV_LIB_DIR": [name]}
        (sources / "siteconf.py").write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
        print("building pycuda: this takes some minutes", flush=True)
        subprocess.run([*pip, "install", "-q", "--no-build-isolation", str(sources)], check=True)


if __name__ == "__main__":
    main()
