"""Write index.html of a conversion: every case, worst first, with its figures, reasons, files and pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import write_text
from cyclegan_gc.formats.files import case_id, uncertainty_name
from cyclegan_gc.pictures.pages import Html, address, bullets, element, figure, html, link, page, section, table
from cyclegan_gc.text_table import worst_rows

Row = Mapping[str, Any]
COLUMNS = {
    "gc": ("GC", 2),
    "outline_dice": ("outline Dice", 3),
    "cycle_error": ("cycle error", 2),
    "shift_mm": ("shift [mm]", 1),
}
"""Figure -> its column and decimals."""
COLUMNS_EXPLAINED = (
    "GC: correlation of the edges of MR and synthetic CT. Outline Dice: overlap of the bodies found in both. "
    "Cycle error: how far the MR differs after translation to CT and back. Shift: displacement between MR and "
    "synthetic CT."
)
REMARKS = "reasons and remarks"
MAX_LINES = 30
HASH_LETTERS = 12


def worst_first(cases: Sequence[Row]) -> list[Row]:
    """Failed cases, then those with verdict implausible, warn and pass, then those without a verdict."""
    verdicts = ("implausible", "warn", "pass", None)
    return sorted(
        cases, key=lambda case: (case["outcome"] != "failed", verdicts.index(case["verdict"]), case["source"])
    )


def text_table(cases: Sequence[Row]) -> str:
    """One line a case for the terminal, worst first; a long table ends with the number of cases left out."""
    rows = [(str(case["source"]), _state(case), "; ".join(_remarks(case))) for case in worst_first(cases)]
    return worst_rows(rows, MAX_LINES, "manifest.json")


def write_index(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the page; it links the files that lie beside it.

    Raises:
        OSError: if the disk is full or read-only.
    """
    cases = worst_first(manifest["cases"])
    outcomes, verdicts = (_counted(cases, kind) for kind in ("outcome", "verdict"))
    plural = "s" * (len(cases) != 1)
    facts = [f"{date.today().isoformat()}, {manifest['tool']}", *map(_model, manifest.get("models", []))]
    hidden = ("tool", "models", "reference")
    settings = {name: value for name, value in manifest["settings"].items() if name not in hidden}
    left_out = [f"{each['label']}: {each['reason']}" for each in manifest["left_out"]]
    parts = [
        element("p", manifest["disclaimer"], "disclaimer"),
        element(
            "p", f"{len(cases)} case{plural}: {outcomes}" + (f"; verdicts: {verdicts}" if verdicts else ""), "headline"
        ),
        bullets(facts),
        section("Cases, worst first", _case_table(cases, path.parent) + element("p", COLUMNS_EXPLAINED)),
        section("Left out", bullets(left_out)),
        section("Settings", bullets([f"{name.replace('_', ' ')}: {_setting(v)}" for name, v in settings.items()])),
        section("Pictures", "".join(_picture(case) for case in cases if case["preview"])),
    ]
    write_text(path, page("Synthetic CT: converted cases", parts))


def _counted(cases: Sequence[Row], kind: str) -> str:
    counts = Counter(case[kind] for case in cases if case[kind])
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _case_table(cases: Sequence[Row], folder: Path) -> str:
    header = ["case", "outcome", REMARKS, *(label for label, _ in COLUMNS.values()), "seconds"]
    rows = []
    for case in cases:
        figures = [_number(case["figures"].get(name), decimals) for name, (_, decimals) in COLUMNS.items()]
        state = element("span", _state(case), _state(case))
        files = Html(", ".join(link(address(name), kind) for kind, name in _files(case, folder).items()))
        name = Html(f"{html(str(case['source']))}<br>{element('small', files)}")
        cells = [name, state, bullets(_remarks(case)), *figures, _number(case["seconds"], 1)]
        rows.append(("", cells))
    return table(header, rows, {"case": "name", REMARKS: "text"})


def _files(case: Row, folder: Path) -> dict[str, str]:
    """Kind -> path of the case's files that exist, relative to the page."""
    if not case["result"]:
        return {}
    result = Path(case["result"])
    stem = case_id(result)
    named = {
        "CT": result,
        "JSON": result.with_name(f"{stem}.json"),
        "preview": Path(case["preview"]) if case["preview"] else None,
        "slices": Path(case["view"]) if case["view"] else None,
        "uncertainty": result.with_name(f"{uncertainty_name(stem)}.nii.gz"),
    }
    return {kind: path.as_posix() for kind, path in named.items() if path and (folder / path).exists()}


def _picture(case: Row) -> str:
    return figure(case["source"], address(case["preview"]), address(case["view"]) if case["view"] else None)


def _model(model: Mapping[str, Any]) -> Html:
    name = f"Model: {model['name']}, step {model['step']}"
    sha256 = element("small", f"SHA-256 {model['sha256'][:HASH_LETTERS]}")
    return Html(f"{html(name)} {sha256}")


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _state(case: Row) -> str:
    return "failed" if case["outcome"] == "failed" else case["verdict"] or case["outcome"]


def _remarks(case: Row) -> list[str]:
    skipped = ["finished before"] if case["outcome"] == "skipped" else []
    return [*([case["failure"]] if case["failure"] else []), *case["reasons"], *case["warnings"], *skipped]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
