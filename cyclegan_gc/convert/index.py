"""The page of a batch: every case, worst first, with its previews; opens from disk."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclegan_gc.atomic import write_text
from cyclegan_gc.pictures.pages import bullets, page, section, table

Row = Mapping[str, Any]
COLUMNS = {"gc": "GC", "outline_dice": "outline Dice", "cycle_error": "cycle error", "shift_mm": "shift [mm]"}
MAX_LINES = 30


def worst_first(cases: Sequence[Row]) -> list[Row]:
    """Failed cases, then those judged fail, warn and pass, then those that were not judged."""
    verdicts = ("fail", "warn", "pass", None)
    return sorted(
        cases, key=lambda case: (case["outcome"] != "failed", verdicts.index(case["verdict"]), case["source"])
    )


def text_table(cases: Sequence[Row]) -> str:
    """One line a case for the terminal, worst first; what passed is counted where the table grows long."""
    ordered = worst_first(cases)
    shown = ordered[:MAX_LINES]
    width = max((len(str(case["source"])) for case in shown), default=0)
    lines = [f"{case['source']:{width}}  {_state(case):8}  {'; '.join(_remarks(case))}".rstrip() for case in shown]
    if len(ordered) > len(shown):
        lines.append(f"... and {len(ordered) - len(shown)} more, none of them worse (see manifest.json)")
    return "\n".join(lines)


def write_index(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the page.

    Raises:
        OSError: if the disk is full or read-only.
    """
    cases = worst_first(manifest["cases"])
    counts = ", ".join(f"{count} {name}" for name, count in manifest["counts"].items())
    parts = [
        f'<p class="disclaimer">{escape(manifest["disclaimer"])}</p>',
        f"<p>{escape(manifest['tool'])}: {escape(counts)}</p>",
        section("Cases, worst first", _case_table(cases)),
        section("Settings", bullets([f"{name}: {value}" for name, value in manifest["settings"].items()])),
        section("Pictures", "".join(_figure(case) for case in cases if case["preview"])),
    ]
    write_text(path, page("Synthetic CT: converted cases", parts))


def _case_table(cases: Sequence[Row]) -> str:
    header = ["case", "outcome", *COLUMNS.values(), "seconds", "remarks"]
    rows = [
        (
            "",
            [
                str(case["source"]),
                _state(case),
                *(_number(case["figures"].get(name)) for name in COLUMNS),
                _number(case["seconds"]),
                "; ".join(_remarks(case)),
            ],
        )
        for case in cases
    ]
    return table(header, rows)


def _state(case: Row) -> str:
    return "failed" if case["outcome"] == "failed" else case["verdict"] or case["outcome"]


def _remarks(case: Row) -> list[str]:
    skipped = ["finished before"] if case["outcome"] == "skipped" else []
    return [*([case["failure"]] if case["failure"] else []), *case["reasons"], *case["warnings"], *skipped]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _figure(case: Row) -> str:
    name, source = escape(str(case["source"])), quote(case["preview"])
    return f'<figure><figcaption>{name}</figcaption><img alt="{name}" src="{source}"></figure>\n'
