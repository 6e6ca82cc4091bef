import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cyclegan_gc"

FLOORS = {
    **dict.fromkeys(("errors", "atomic", "voxels"), 0),
    **dict.fromkeys(("config", "device", "distributed", "model_files", "text_table"), 1),
    **dict.fromkeys(("model", "formats", "phantom", "checkpoint", "weights"), 2),
    **dict.fromkeys(("trained_model", "prepare", "metrics", "pictures"), 3),
    **dict.fromkeys(("inference", "tracking", "audit"), 4),
    **dict.fromkeys(("data", "judgement"), 5),
    "validate": 6,
    **dict.fromkeys(("train", "convert", "evaluate", "export", "info"), 7),
    # The package's front door offers names from below on first use; it stands on top, so no module goes through it.
    **{"demo": 8, "parsing": 8, "cli": 9, "__init__": 10},
}
ONLY_IN = {
    "wandb": ("tracking",),
    "SimpleITK": ("formats.itk", "formats.images", "prepare.bias_field"),
    "nibabel": ("formats", "phantom.subject"),
    "pydicom": ("formats.dicom",),
    "highdicom": ("formats.dicom",),
    "jsonargparse": ("parsing",),
    "PIL": ("pictures",),
}


def modules_on_disk() -> dict[str, Path]:
    """Dotted name below the package -> file; a folder's __init__ carries the folder's name."""
    parts = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(p[:-1] if len(p) > 1 and p[-1] == "__init__" else p): path for path, p in parts.items()}


def imported_names(source: str, module: str, is_package: bool = False) -> set[str]:
    """Every absolute dotted name the source imports, inside functions too."""
    package = ["cyclegan_gc", *module.split(".")]
    package = package if is_package else package[:-1]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" for alias in node.names}
    return names


def imports_of(module: str) -> set[str]:
    path = modules_on_disk()[module]
    return imported_names(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")


def ours(names: set[str]) -> set[str]:
    """The package's modules among imported names: ``cyclegan_gc.formats.volumes.Volume`` -> ``formats.volumes``."""
    known, found = modules_on_disk(), set()
    # The version is a word that the front door holds, not a way through it.
    names = {n for n in names if n.startswith("cyclegan_gc") and n != "cyclegan_gc.__version__"}
    for name in (n.removeprefix("cyclegan_gc.") for n in names):
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        found.add(next((prefix for prefix in prefixes if prefix in known), name))
    return found


def floor_faults(module: str, targets: set[str]) -> list[str]:
    """Faults of ``module`` importing ``targets``: a room on its own floor or above."""
    room, faults = module.split(".")[0], []
    for target in sorted(targets - {module}):
        other = target.split(".")[0]
        if other != room and FLOORS[other] >= FLOORS[room]:
            faults.append(f"{module} (floor {FLOORS[room]}) imports {target} (floor {FLOORS[other]})")
    return faults


def library_faults(module: str, names: set[str]) -> list[str]:
    faults = []
    for name in sorted(names):
        allowed = ONLY_IN.get(name.split(".")[0], (module,))
        typing_in_config = module.split(".")[0] == "config" and name.startswith("jsonargparse.typing")
        if not module.startswith(allowed) and not typing_in_config:
            faults.append(f"{module} imports {name}, which only {' and '.join(allowed)} may")
    return faults


@pytest.mark.parametrize("module", modules_on_disk())
def test_every_module_stands_on_a_floor(module: str):
    room = module.split(".")[0]
    assert room in FLOORS, f"{module} is on no floor: add {room!r} to FLOORS in {Path(__file__).name}"


@pytest.mark.parametrize("module", modules_on_disk())
def test_imports_point_down(module: str):
    targets = ours(imports_of(module))
    homeless = {m for m in (module, *targets) if m.split(".")[0] not in FLOORS}
    assert not homeless, f"on no floor yet (see FLOORS), or not there: {sorted(homeless)}"
    assert floor_faults(module, targets) == []


@pytest.mark.parametrize("module", modules_on_disk())
def test_each_guarded_library_has_one_door(module: str):
    assert library_faults(module, imports_of(module)) == []


@pytest.mark.parametrize("module", [m for m in modules_on_disk() if m.split(".")[0] == "model"])
def test_the_model_knows_tensors_and_plain_numbers_only(module: str):
    names = imports_of(module)
    outside = {target for target in ours(names) if target.split(".")[0] != "model"}
    assert outside == set() and not {n.split(".")[0] for n in names} & {"pathlib", "os", "wandb", "yaml"}


def test_no_import_runs_in_a_circle():
    graph = {module: ours(imports_of(module)) - {module} for module in modules_on_disk()}
    TopologicalSorter(graph).prepare()


def test_the_rules_catch_what_they_forbid():
    assert floor_faults("train.loop", {"convert.batch"}) and floor_faults("formats.volumes", {"train.loop"})
    assert floor_faults("train.loop", {"cli"}) and floor_faults("demo", {"cli"}) and floor_faults("config", {"model"})
    assert floor_faults("metrics", {"prepare.body"}) and floor_faults("audit.audit", {"data.cases"})
    assert not floor_faults("model.cyclegan", {"model.losses"}) and not floor_faults("data.cases", {"audit.findings"})
    assert floor_faults("cli", {"__init__"})
    assert library_faults("train.loop", {"wandb.init"}) and library_faults("config", {"jsonargparse.ArgumentParser"})
    assert library_faults("prepare.preprocess", {"nibabel"}) and not library_faults("formats.nifti", {"nibabel"})


def test_relative_imports_and_imports_in_functions_are_seen():
    source = "def f():\n    from .volumes import Volume\n    from ..errors import UserError\n    import wandb\n"
    names = imported_names(source, "formats.sources")
    assert names == {"cyclegan_gc.formats.volumes.Volume", "cyclegan_gc.errors.UserError", "wandb"}
