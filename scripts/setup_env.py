"""Sets up `.venv` for the Makefile: `python3 scripts/setup_env.py run|dev|torch [requirement]`.

`run` installs cnngen in editable mode, `dev` adds what checks, tests and benchmarks need, `torch` adds
PyTorch and Keras. Leaves a stamp in `.venv/.done/`, which is how make knows that there is nothing to do.
It has to start on any Python 3, if only to say that it is too old: nothing newer than 3.6 in here.
"""

import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / ".done"

INSTALLS = {
    "run": ("cnngen and what it needs to run (about 140 MB)", ["-e", "."]),
    "dev": ("cnngen and what checks, tests and benchmarks need (about 750 MB)", ["-e", ".[dev]"]),
    "torch": ("PyTorch, Keras and a model with its weights, as witnesses for tests", ["-e", ".[models]"]),
}


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what not in INSTALLS:
        sys.exit("usage: python3 scripts/setup_env.py " + "|".join(INSTALLS) + " [requirement]")
    check_python()
    make_venv()
    title, arguments = INSTALLS[what]
    print("setting up .venv: installing " + title, flush=True)
    pip_install(arguments + sys.argv[2:], VENV / f"setup-{what}.log")
    STAMPS.mkdir(exist_ok=True)
    (STAMPS / what).touch()
    if what == "dev":
        (STAMPS / "run").touch()  # everything that `run` installs, and more


def check_python():
    found = f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info < OLDEST:
        sys.exit(
            f"{found}; cnngen needs {OLDEST[0]}.{OLDEST[1]} or newer: "
            "install one and name it, for example: make demo PYTHON=python3.12"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        sys.exit(
            f"{found} without the venv module; install it (Debian, Ubuntu: sudo apt install python3-venv), "
            "or name another Python: make demo PYTHON=python3.12"
        )


def make_venv():
    """Create `.venv`, anew where the one that is there does not run (its Python was removed or is too old)."""
    code = f"import sys, pip; sys.exit(sys.version_info < {OLDEST!r})"
    if venv_python().exists() and subprocess.call([str(venv_python()), "-c", code], stderr=subprocess.DEVNULL) == 0:
        return
    print("setting up .venv: creating it with " + sys.executable, flush=True)
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit("the virtual environment could not be created; the lines above say why")


def venv_python():
    return VENV / "bin" / "python"


def pip_install(arguments, log):
    """Run pip, one line of progress for each package; all that it said goes to `log`, its end is shown on failure."""
    command = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        [*command, "--progress-bar", "off", *arguments],
        cwd=str(ROOT),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    lines = []
    with process.stdout as output, log.open("w") as file:
        for line in output:
            file.write(line)
            lines.append(line)
            show_progress(line.strip())
    if process.wait() != 0:
        sys.exit("".join(lines[-15:]) + f"pip failed; all that it said is in {log.relative_to(ROOT)}")


def show_progress(line):
    if line.startswith(("Downloading ", "Using cached ", "Building ", "Installing ", "Successfully ")):
        print("  " + (line if len(line) <= 76 else line[:73] + "..."), flush=True)


if __name__ == "__main__":
    main()
