"""What holds for the house as a whole: imports go one way, the public surface is a list, files stay small, nothing unpickles."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import elegan

ROOT = Path(elegan.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

ALLOWED: dict[str, set[str]] = {
    "": set(),
    "__main__": {"cli"},
    "errors": set(),
    "downloading": {"errors"},
    "randomness": set(),
    "optimizers": {"errors"},
    "divergences": {"errors", "divergences"},
    "augment": {"errors", "randomness", "augment"},
    "game": {"errors", "randomness", "optimizers"},
    "learning": {"game"},
    "pictures": {"errors"},
    "networks": {"errors", "networks"},
    "metrics": {"errors", "downloading", "pictures", "divergences", "metrics"},
    "losses": {"errors", "game", "randomness", "divergences", "losses"},
    "data": {"errors", "downloading", "game", "randomness", "divergences", "data"},
    "engine": {"errors", "game", "optimizers", "randomness", "learning", "data", "pictures", "networks.layers", "engine"},
    "rules": {"errors", "game", "optimizers", "randomness", "learning", "augment", "losses", "networks", "rules"},
    "gans": {"errors", "game", "optimizers", "losses", "networks", "rules"},
    "theory": {
        "errors",
        "divergences",
        "game",
        "randomness",
        "optimizers",
        "learning",
        "networks",
        "losses",
        "rules",
        "gans",
        "engine",
        "theory",
    },
    "explore": {"game", "randomness", "metrics", "explore"},
    "tasks": {
        "",
        "errors",
        "divergences",
        "game",
        "randomness",
        "learning",
        "pictures",
        "networks",
        "losses",
        "data",
        "metrics",
        "engine",
        "rules",
        "gans",
        "theory",
        "explore",
        "tasks",
    },
    "terminal": {"errors", "tasks", "engine", "data"},
    "cli": {"", "errors"},
}
"""The parts each part may import, at module level or inside functions. "" is the package itself."""

HEAVY = {"torch", "numpy", "sklearn", "cyclopts", "rich", "PIL", "yaml", "safetensors", "pyarrow"}

PUBLIC = [
    "Adam",
    "Attribute",
    "Batch",
    "Comparison",
    "DataError",
    "Demonstration",
    "EleganError",
    "Evaluation",
    "GAN",
    "ImageData",
    "Listener",
    "Model",
    "Move",
    "NotFiniteError",
    "OptionError",
    "Plan",
    "Preset",
    "Progress",
    "RMSprop",
    "Recipe",
    "Run",
    "RunError",
    "SGD",
    "Score",
    "Spec",
    "compare",
    "demonstrate",
    "demonstrations",
    "directions",
    "evaluate",
    "film",
    "inspect_data",
    "interpolate",
    "load",
    "mix",
    "open_data",
    "plan",
    "prepare",
    "project",
    "recipes",
    "runs",
    "sample",
    "train",
]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_name(path: Path) -> str:
    """The dotted name below elegan: "engine.turns", "gans", and "" for elegan/__init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names that an import statement takes from elegan, without the leading "elegan."."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    return (name.removeprefix("elegan").lstrip(".") for name in names if name == "elegan" or name.startswith("elegan."))


def part_of(path: Path) -> str:
    return module_name(path).split(".")[0]


def is_allowed(name: str, allowed: set[str]) -> bool:
    if name == "" or (ROOT / f"{name.split('.')[0]}.py").exists() or (ROOT / name.split(".")[0]).is_dir():
        return any(name == one or name.startswith(f"{one}.") for one in allowed if one) or (name == "" and "" in allowed)
    return "" in allowed  # a name of the package itself


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    allowed = ALLOWED[part_of(path)]
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    if part_of(path) == "":  # the public names: for type checkers, and by name for everyone else
        nodes = [node for node in tree(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    wrong = [name for node in nodes for name in imported(node) if not is_allowed(name, allowed)]
    assert wrong == [], f"{path.name} may import {sorted(allowed)}"


def test_every_part_of_the_house_has_its_rule() -> None:
    assert {part_of(path) for path in FILES} == ALLOWED.keys()


def test_the_rule_sees_a_wrong_import() -> None:
    for source in ("from elegan.engine.turns import Turns", "def f():\n    import elegan.engine.loop", "from elegan.engine import average"):
        names = [name for node in ast.walk(ast.parse(source)) for name in imported(node)]
        assert names
        assert not any(is_allowed(name, ALLOWED["gans"]) for name in names)
    assert is_allowed("networks.layers.advance", ALLOWED["engine"])
    assert not is_allowed("networks.dcgan.DCGANGenerator", ALLOWED["engine"])
    assert not is_allowed("", ALLOWED["engine"])


@pytest.mark.parametrize("name", ["__init__", "cli", "errors", "__main__", "gans/__init__", "tasks/train", "tasks/sample", "terminal"])
def test_heavy_imports_wait_for_the_command_that_needs_them(name: str) -> None:
    nodes = [node for node in tree(ROOT / f"{name}.py").body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    heavy = HEAVY - ({"yaml"} if name == "tasks/train" else set())
    assert not {one.split(".")[0] for one in names} & heavy


def heavy_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('loaded', *sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        "import elegan, elegan.cli; dir(elegan); elegan.__version__",
        "from elegan.cli import main; sys.argv = ['elegan', '--help']; main()",
        "from elegan.cli import main; sys.argv = ['elegan']; main()",
        "from elegan.cli import main; sys.argv = ['elegan', '--version']; main()",
        "import elegan.gans; elegan.gans.names()",
        "from elegan import EleganError, OptionError",
    ],
)
def test_the_first_answer_comes_without_heavy_modules(code: str) -> None:
    assert heavy_after(code) == set()


def test_that_check_sees_a_heavy_module() -> None:
    assert "yaml" in heavy_after("import yaml")


def test_help_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "elegan", "--help"], capture_output=True, text=True, check=True)
    for command in ("train", "sample", "runs", "recipes", "data"):
        assert f"\n  {command} " in done.stdout


def test_the_public_surface_is_this_list() -> None:
    assert elegan.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(elegan, name)
    assert found.__name__ == name
    assert (found.__doc__ or "").strip()


def test_type_checkers_see_the_same_names() -> None:
    blocks = [node for node in tree(ROOT / "__init__.py").body if isinstance(node, ast.If)]
    seen = {
        (node.module, alias.asname) for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == {(module, name) for name, module in elegan.MODULES.items()}


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = elegan.trian
    assert set(dir(elegan)) == {*PUBLIC, "__version__"}


def test_every_module_can_be_imported_and_says_what_it_is() -> None:
    for path in FILES:
        if path.name != "__main__.py":
            assert importlib.import_module(f"elegan.{module_name(path)}".rstrip(".")).__doc__, path


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_small_and_have_a_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_that_could_run_code_is_loaded(path: Path) -> None:
    """No pickles: not by torch.load, unless for weights only, not by a pickle library, numpy or YAML; no eval and no exec either."""
    wrong = []
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            wrong += [name for name in modules if name.split(".")[0] in ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve")]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            wrong += [called] if called == "torch.load" and not safe else []
            wrong += [called] if called in ("torch.save", "yaml.load", "yaml.unsafe_load", "eval", "exec") else []
            wrong += [f"{called}({k.arg})" for k in node.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_errors_are_never_swallowed_whole(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler) and node.type is None]


@pytest.mark.parametrize("path", [path for path in FILES if part_of(path) not in ("cli", "terminal")], ids=module_name)
def test_libraries_never_print_and_quit(path: Path) -> None:
    called = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    assert not called & {"print", "sys.exit", "exit", "quit", "os._exit"}
