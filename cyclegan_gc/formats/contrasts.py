"""Volume files that are the contrasts of one case, told from the endings of their names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import case_id


def join_contrasts(volumes: Sequence[Path], contrasts: Sequence[str], source: str) -> dict[Path, dict[str, Path]]:
    """Group volumes into cases of several contrasts, without files that are none.

    Volumes of one case are in one folder and their names differ only in the ending (without suffix). The path without
    the ending names the case; if the name is then empty, the folder names it. ``source`` is named in messages.

    Raises:
        UserError: if no name has one of the endings, or a case has two files of one contrast.
    """
    cases: dict[Path, dict[str, Path]] = {}
    for path in volumes:
        name = case_id(path)
        ending = max((each for each in contrasts if name.endswith(each)), key=len, default=None)
        if ending is None:
            continue
        known = cases.setdefault(path.parent / name.removesuffix(ending), {})
        if ending in known:
            raise UserError(f"{path}: second file of this case and contrast, beside {known[ending].name}; remove one")
        known[ending] = path
    if not cases:
        raise UserError(f"{source}: no name ends in {' or '.join(contrasts)}; correct --data.contrasts or the input")
    return dict(sorted(cases.items()))


def missing_contrasts(known: Mapping[str, Path], contrasts: Sequence[str]) -> str | None:
    """Message on the contrasts that a case lacks; None if it is complete."""
    missing = [ending for ending in contrasts if ending not in known]
    return f"has no {', '.join(missing)}; add or remove it" if missing else None
