"""The house rules that a machine can hold: who imports whom, how long things are, and that importing does nothing."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("services", "shared", "deploy")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
LONGEST_FUNCTION, LONGEST_FILE = 60, 330
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}


def lint_imports(where: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    environ = {**os.environ, "PYTHONPATH": str(where)}
    return subprocess.run(command, cwd=where, env=environ, capture_output=True, text=True, timeout=300, check=False)


def test_the_rules_of_import_hold() -> None:
    ran = lint_imports(ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=lambda _, names: [n for n in names if n == "__pycache__"]
        )
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_every_rule_of_import_catches_its_breach(copied: Path) -> None:
    planted = {
        "services/feedback/rules.py": "import services.followup.rules\nimport deploy.store\nimport random\n",
        "services/followup/domain.py": "import services.followup.processor\n",
        "services/segmentation/processor.py": "import pymongo\nimport aiokafka\n",
        "shared/clock.py": "import services.intake.rules\n",
    }
    for name, line in planted.items():
        file = copied / name
        file.write_text(file.read_text() + "\n\n" + line)
    found = lint_imports(copied)
    assert "0 kept, 7 broken" in found.stdout, found.stdout + found.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_one_noun_of_readable_length(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert file.stem not in FORBIDDEN_NAMES
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "every file begins by saying what it is"
    assert {name: lines for name, lines in _functions(tree) if lines > LONGEST_FUNCTION} == {}


def _functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_mostly_of_one_thought() -> None:
    lengths = sorted(lines for file in FILES for _, lines in _functions(ast.parse(file.read_text("utf-8"))))
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[int(len(lengths) * 0.95)] <= 40


WATCH = """
import importlib, sys
root, modules = sys.argv[1], sys.argv[2:]
seen = []
def hook(event, args):
    if event in ("subprocess.Popen", "os.mkdir", "os.system", "socket.connect", "socket.bind", "socket.getaddrinfo"):
        seen.append(f"{event} {args[:1]}")
    elif event == "open" and isinstance(args[0], str):
        path, mode = args[0], str(args[1])
        written = any(letter in mode for letter in "wax+")
        if (written and "__pycache__" not in path) or (path.startswith(root) and not path.endswith((".py", ".pyc"))
            and ".venv" not in path and "__pycache__" not in path):
            seen.append(f"open {path} {mode}")
sys.addaudithook(hook)
for module in modules:
    before = len(seen)
    importlib.import_module(module)
    if len(seen) > before:
        print(module, *seen[before:], sep="\\n  ")
"""


def watch(root: Path, modules: list[str]) -> str:
    command = [sys.executable, "-B", "-c", WATCH, str(root), *modules]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_importing_does_nothing() -> None:
    """No file is read or written, no process or connection is started."""
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES]
    assert watch(ROOT, modules) == ""


def test_doing_something_at_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("")
    (tmp_path / "eager.py").write_text("from pathlib import Path\nRULES = Path('rules.yaml').resolve().read_text()\n")
    (tmp_path / "busy.py").write_text("import socket\nsocket.socket().bind(('127.0.0.1', 0))\n")
    seen = watch(tmp_path, ["eager", "busy"])
    assert "rules.yaml" in seen
    assert "socket.bind" in seen
