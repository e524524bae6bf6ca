"""The house's rules: imports go one way, Ray has its rooms, files and functions are short, tests mirror modules."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "clipfake"
TESTS = Path(__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Of DESIGN, "The house": a room imports from those before it.
ROOMS = (
    "storage", "measures", "corpus", "images", "encoder", "detector", "onray", "scoring", "audit", "training",
    "evaluation", "report", "explore", "operate", "reproduce", "cli",
)  # fmt: skip
FRONT_DOORS = {"__init__.py", "__main__.py", "ray.py"}  # they import what they open
RAY = {"onray", "scoring", "training", "ray.py"}
PRIVATE = "onray/private.py"

# What still imports upward. This list only shrinks.
UPWARD: set[str] = set()

LARGEST_ROOM = 0.15  # of the package's lines
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def room_of(module: Path) -> str:
    """The room's name, or the file's where it stands at the top."""
    return module.relative_to(PACKAGE).parts[0]


@cache
def parsed(module: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(module.read_text())))


def imports(module: Path) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it, `from a import b` as a.b."""
    for node in parsed(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(module: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines."""
    for node in parsed(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name_of(module)}::{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_every_folder_is_a_room_of_the_design():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_before_it(room):
    above = set(ROOMS[: ROOMS.index(room) + 1])
    upward = [
        f"{name_of(module)} imports {name}"
        for module in sorted((PACKAGE / room).rglob("*.py"))
        for name in imports(module)
        if name.startswith("clipfake.") and name.split(".")[1] in ROOMS and name.split(".")[1] not in above
    ]
    assert set(upward) == {one for one in UPWARD if one.startswith(f"{room}/")}


def test_what_stands_at_the_top_imports_no_room_but_the_front_doors():
    top = [module for module in MODULES if module.parent == PACKAGE and module.name not in FRONT_DOORS]
    found = [
        f"{module.name} imports {name}"
        for module in top
        for name in imports(module)
        if name.startswith("clipfake.") and name.split(".")[1] in ROOMS
    ]
    assert found == []


def test_ray_is_imported_in_its_rooms_only():
    found = {
        name_of(module)
        for module in MODULES
        for name in imports(module)
        if name.split(".")[0] == "ray" and room_of(module) not in RAY
    }
    assert found == set()


def test_rays_private_parts_are_in_one_file():
    found = {
        name_of(module)
        for module in MODULES
        if any(part in module.read_text() for part in ("map_batches_internal", "ray._private", "_raylet"))
    }
    assert found == {PRIVATE}


def test_no_room_holds_too_much():
    lines: Counter[str] = Counter()
    for module in MODULES:
        lines[room_of(module)] += len(module.read_text().splitlines())
    assert {room: n for room, n in lines.items() if n > LARGEST_ROOM * lines.total()} == {}


def test_files_are_short():
    lines = {name_of(module): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: n for name, n in lines.items() if n > LONGEST_FILE} == {}


def test_functions_are_short():
    long = {name for module in MODULES for name, lines in functions(module) if lines > LONGEST_FUNCTION}
    assert long == set()


def test_no_two_public_classes_share_a_name():
    names = Counter(node.name for module in MODULES for node in parsed(module) if isinstance(node, ast.ClassDef))
    assert [name for name, n in names.items() if n > 1 and not name.startswith("_")] == []


def test_every_module_has_its_mirror():
    modules = {name_of(module) for module in MODULES if module.name not in ("__init__.py", "__main__.py")}
    without = {name for name in modules if not (TESTS / Path(name).parent / f"test_{Path(name).name}").exists()}
    assert without == set(), "write their tests"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import ray.data", ["ray.data"]),
        ("def f():\n    from ray import exceptions", ["ray.exceptions"]),
        ("from clipfake.storage import uri as uris", ["clipfake.storage.uri"]),
    ],
)
def test_imports_are_seen_wherever_they_stand(tmp_path, code, named):
    module = tmp_path / "module.py"
    module.write_text(code)
    assert list(imports(module)) == named
