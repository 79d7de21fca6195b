"""The project as a whole: what the wheel holds, and that its documents and its files agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import cnngen

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IGNORED = {
    ".git",
    ".venv",
    "build",
    "dist",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
}
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "docs/architecture.md",
    "docs/performance.md",
    "docs/spec_language.md",
    "docs/first_network.md",
]

LAYER_PAGES = sorted(f"docs/layers/{path.name}" for path in (ROOT / "docs" / "layers").glob("*.md"))


def project_files(folder: Path = ROOT) -> list[Path]:
    """Every file below `folder` that belongs to the project; works in a clone and in an unpacked sdist."""
    return [
        path for path in sorted(folder.rglob("*")) if path.is_file() and not IGNORED & set(path.relative_to(ROOT).parts)
    ]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this tree without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("folder", ["templates", "specs", "cnngen"])
def test_the_wheel_holds_the_package_its_templates_and_its_specs(wheel: zipfile.ZipFile, folder: str) -> None:
    inside = "cnngen" if folder == "cnngen" else f"cnngen/{folder}"
    files = project_files(ROOT / folder)
    assert files
    packed = set(wheel.namelist())
    missing = [path for path in files if f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" not in packed]
    assert missing == []


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"cnngen", f"cnngen-{cnngen.__version__}.dist-info"}
    assert [name for name in wheel.namelist() if name.endswith((".pyc", ".so", ".o"))] == []
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_wheel_knows_its_version_and_its_command(wheel: zipfile.ZipFile) -> None:
    folder = f"cnngen-{cnngen.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Version"] == cnngen.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert "cnngen = " in wheel.read(f"{folder}/entry_points.txt").decode()


def test_the_changelog_has_an_unreleased_section_on_top() -> None:
    titles = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert titles
    assert titles[0] == "[Unreleased]"
    for title in titles[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", title)


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = re.compile(r"(?<![\w.~$}])/(home|root|Users|work|mnt)/[\w.-]+")
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in places.finditer(text)]
    assert found == []


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))


def shell_blocks(text: str) -> str:
    """What a document shows to be typed: fenced blocks of the shell or without a language, and `spans`."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    fences = [code for language, code in fenced if language in ("", "sh", "console")]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join(fences + spans)


@pytest.mark.parametrize("document", [*DOCUMENTS, ".ci/run"])
def test_the_make_commands_that_are_shown_exist(document: str) -> None:
    text = read(document)
    shown = set(
        re.findall(r"^(?:\$ )?make ([a-z-]+)", text if document == ".ci/run" else shell_blocks(text), re.MULTILINE)
    )
    assert shown <= make_targets()
    if document in ("README.md", ".ci/run"):
        assert {"test", "test-torch"} <= shown


def test_make_help_lists_every_public_target() -> None:
    phony = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)[1].split())
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+)  +\w", shown, re.MULTILINE)) == phony == make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_cnngen_commands_that_are_shown_exist(document: str) -> None:
    from typer.main import get_command

    from cnngen.cli import app

    shown = set(re.findall(r"^(?:\$ )?cnngen ([a-z]+)", shell_blocks(read(document)), re.MULTILINE))
    assert shown <= set(get_command(app).commands)


@pytest.mark.parametrize("document", [*DOCUMENTS, *LAYER_PAGES])
def test_links_and_paths_in_documents_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", read(document))
    assert [link for link in links if not (folder / link).exists()] == []
    tops = "cnngen|templates|specs|tests|benchmarks|docs|scripts"
    paths = re.findall(rf"`((?:{tops})/[\w./-]*)`", read(document))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_dependency_is_accounted_for_in_the_architecture() -> None:
    text = read("docs/architecture.md").lower()
    project = PYPROJECT["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in project["dependencies"] + extras}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_set_up_refuses_an_old_python_and_says_what_to_do() -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 1); sys.argv = ['setup_env.py', 'run']; "
        "runpy.run_path('scripts/setup_env.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "is Python 3.9; cnngen needs 3.11 or newer" in done.stderr
    assert "make demo PYTHON=python3.12" in done.stderr
