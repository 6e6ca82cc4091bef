"""The audit before training: measures and shows every volume, and reports faults before days of computing are spent."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.audit.checks import LEVELS, Finding
from cyclegan_gc.audit.facts import measure_case, measure_volume
from cyclegan_gc.audit.findings import Audited, find_faults, level_of
from cyclegan_gc.audit.sheet import contact_sheet, views_of
from cyclegan_gc.config import PreprocessConfig, SliceAxis
from cyclegan_gc.device import one_torch_thread, usable_cpus
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError, VolumeError, labelled, plain
from cyclegan_gc.formats.sources import Source
from cyclegan_gc.pictures.sheets import Pixels
from cyclegan_gc.prepare.modality import check_volume
from cyclegan_gc.prepare.preprocess import load_volume, prepare
from cyclegan_gc.text_table import worst_rows

MOST_WARNINGS = 10
MOST_LINES = 60


@dataclass(frozen=True)
class Audit:
    """Result of an audit: all cases, MR first, and all findings, worst first."""

    cases: list[Audited]
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        """Whether there is a fault that makes the sets unfit for training."""
        return level_of(self.findings) == "fail"

    def of(self, case: Audited) -> list[Finding]:
        """Findings of one case, worst first."""
        return [each for each in self.findings if (each.domain, each.case) == (case.modality, case.name)]


def audit(
    volumes: Sequence[tuple[Source, Audited]],
    settings: PreprocessConfig,
    planes: Sequence[SliceAxis],
    output: Path,
) -> Audit:
    """Measure and judge all volumes; writes ``audit.json`` and ``audit.png`` into the output folder.

    Args:
        volumes: each case and its description.
        settings: preprocessing of the training.
        planes: planes of the training's slices.
        output: folder, created if missing.

    Raises:
        UserError: if the output cannot be written.
    """
    with one_torch_thread(), ThreadPoolExecutor(usable_cpus()) as pool:
        jobs = [pool.submit(_look, source, case, settings) for source, case in volumes]
        looked = [job.result() for job in jobs]
    cases = [case for case, _ in looked]
    outcome = Audit(cases, find_faults(cases, settings, planes))
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "audit.json", json.dumps(_report(outcome), indent=2) + "\n")
        sheet = contact_sheet([(case, level_of(outcome.of(case)), views) for case, views in looked])
        with atomic_write(output / "audit.png") as file:
            file.write(sheet)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
    return outcome


def announce(findings: Sequence[Finding], ranks: Ranks, *, stop: bool) -> None:
    """Print the findings at the start of a training, on the first rank.

    Raises:
        UserError: on every rank, if a check fails and ``stop`` is set.
    """
    failed = [_line(finding) for finding in findings if finding.level == "fail" and stop]
    warned = [
        _line(finding) for finding in findings if finding.level == "warn" or (finding.level == "fail" and not stop)
    ]
    for line in warned[:MOST_WARNINGS]:
        ranks.says(f"warning: {line}", warning=True)
    if len(warned) > MOST_WARNINGS:
        ranks.says(f"warning: audit: and {len(warned) - MOST_WARNINGS} more; cyclegan-gc audit shows all", warning=True)
    if failed:
        more = f" (and {len(failed) - 1} more; cyclegan-gc audit shows all)" if len(failed) > 1 else ""
        raise UserError(f"{failed[0]}{more}; --audit warn trains anyway")


def text_table(outcome: Audit) -> str:
    """Table for the terminal with one line for each case and comparison, worst first."""
    lines = [(level_of(outcome.of(case)), f"{case.modality}/{case.name}", outcome.of(case)) for case in outcome.cases]
    for name, domain in (("all MR", "mr"), ("all CT", "ct"), ("MR and CT", None)):
        found = [each for each in outcome.findings if each.case is None and each.domain == domain]
        lines.append((level_of(found), name, found))
    lines.sort(key=lambda line: LEVELS.index(line[0]))
    rows = [(level, name, "; ".join(f"{each.check}: {each.text}" for each in found)) for level, name, found in lines]
    return worst_rows(rows, MOST_LINES, "audit.json")


def closing_line(outcome: Audit) -> str:
    """Summary in one line: the number of volumes and of findings at each level."""
    levels = [level_of(outcome.of(case)) for case in outcome.cases]
    sets = [each.level for each in outcome.findings if each.case is None]
    counted = ", ".join(f"{levels.count(level)} {level}" for level in LEVELS)
    return f"{len(levels)} volumes: {counted}; whole sets: {sets.count('fail')} fail, {sets.count('warn')} warn"


def _look(source: Source, case: Audited, settings: PreprocessConfig) -> tuple[Audited, Pixels | None]:
    """Measure and show one volume, if it can be read and prepared."""
    views = None
    try:
        volume = load_volume(source.readable_files(), frames=source.frames)
        case = replace(case, facts=measure_volume(volume), notes=volume.warnings)
        views = views_of(volume, None, case.modality)
        check_volume(volume, case.modality)
        prepared = prepare(volume, case.modality, settings)
        case = replace(case, facts=measure_case(volume, prepared, case.modality))
        views = views_of(volume, prepared, case.modality)
    except VolumeError as error:
        cause = str(error).removeprefix(f"{source.path}: ")
        case = replace(case, failure=labelled(cause, {f"{source.path.parent}{os.sep}": ""}))
    return case, views


def _report(outcome: Audit) -> dict[str, Any]:
    """Content of ``audit.json``, without absolute paths."""
    cases = [
        {
            "case": case.name,
            "domain": case.modality,
            "level": level_of(outcome.of(case)),
            "held_out": case.held_out,
            "facts": {name: value for name, value in (case.facts or {}).items() if name != "thumbnail"} or None,
        }
        for case in outcome.cases
    ]
    return {
        "level": level_of(outcome.findings),
        "cases": cases,
        "findings": [asdict(finding) for finding in outcome.findings],
    }


def _line(finding: Finding) -> str:
    about = f"all {finding.domain.upper()}" if finding.domain else "MR and CT"
    if finding.case is not None:
        about = f"{finding.domain or 'pairs'}/{finding.case}"
    return plain(f"audit: {about}: {finding.check}: {finding.text}")
