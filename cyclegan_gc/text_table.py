"""Tables in plain text for the terminal; odd characters of names are escaped."""

from collections.abc import Iterable, Sequence

from cyclegan_gc.errors import plain


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """A line for each row, with its cells in columns; all rows have the same number of cells."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def worst_rows(rows: Sequence[Sequence[str]], most: int, file: str) -> str:
    """The first rows, which are the worst, and the number of the others, which are in a file."""
    lines = aligned(rows[:most])
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most} more, none of them worse (see {file})")
    return "\n".join(lines)
