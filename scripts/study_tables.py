"""The tables of a study, made of its finished runs."""

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ablation_report import markdown_table, write_ablation
from comparison import FIGURES, Line, Result
from planning import Run
from ranking import write_ranking
from studies import HOME, STUDIES
from study_volumes import TestSet

from cyclegan_gc.atomic import write_text
from cyclegan_gc.evaluate.measures import METHOD_LABELS, METRICS, SCT, format_value

CROSSED = ("mae", "mae_bone", "bone_dice")
"""Metrics in the cells of a table of arms and scanners."""


def write_tables(runs: Sequence[Run], options: argparse.Namespace, tests: Sequence[TestSet]) -> None:
    """Write tables and plots of the finished runs into DIR/STUDY, and print them."""
    finished = [run for run in runs if run.finished]
    if not finished:
        print(f"no run of {options.study} is finished")
        return
    folder, missing = options.output / options.study, len(runs) - len(finished)
    notes = [f"{missing} of {len(runs)} runs are missing."] if missing else []
    if STUDIES[options.study].kept:
        write_ranking(folder, options.study, finished, notes)
    elif len(tests) > 1:
        _write_by_scanner(folder, finished, options, tests, notes)
    else:
        _write_arms(folder, options.study, finished, options, tests[0], notes)
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"table: {folder / 'table.md'}")


def _write_arms(
    folder: Path, title: str, runs: Sequence[Run], options: argparse.Namespace, test: TestSet, notes: Sequence[str]
) -> list[Line]:
    """Compare the arms on one test set; the trivial baselines are those of the first arm's runs."""
    reference = next(iter(options.arms))
    results = [result for run in runs for result in results_of(run, SCT, run.arm)]
    for method, label in METHOD_LABELS.items():
        of_reference = [run for run in runs if run.arm == reference and method != SCT]
        results += [result for run in of_reference for result in results_of(run, method, label)]
    facts = {
        "runs": [run.place(options.output) for run in runs],
        "test": {name: source and os.path.relpath(source, options.output) for name, source in test.sources.items()},
    }
    return write_ablation(folder, title, results, reference, notes=notes, facts=facts)


def _write_by_scanner(
    folder: Path, runs: Sequence[Run], options: argparse.Namespace, tests: Sequence[TestSet], notes: Sequence[str]
) -> None:
    """Compare the arms on each scanner, each arm's scanners with the usual one, and show both in one table."""
    lines = {}
    for test in tests:
        title, own = f"{options.study}, tested on {test.scanner}", [run for run in runs if run.scanner == test.scanner]
        if own:
            lines[test.scanner] = _write_arms(folder / f"on_{test.scanner}", title, own, options, test, notes)
    for arm in dict.fromkeys(run.arm for run in runs):
        results = [each for run in runs if run.arm == arm for each in results_of(run, SCT, run.scanner)]
        write_ablation(folder / f"arm_{arm.replace(' ', '_').replace(',', '')}", f"arm {arm}", results, HOME)
    write_text(folder / "table.md", crossed_table(options.study, lines, notes))


def crossed_table(study: str, lines: Mapping[str, Sequence[Line]], notes: Sequence[str]) -> str:
    """Means of each arm on each scanner, as Markdown."""
    metrics = [METRICS[name] for name in CROSSED]
    means = {
        (scanner, line.volumes, line.arm, line.metric): line.described["mean"]
        for scanner, of_scanner in lines.items()
        for line in of_scanner
    }
    rows = []
    for volumes, arm in dict.fromkeys((line.volumes, line.arm) for each in lines.values() for line in each):
        found = [[means.get((scanner, volumes, arm, name)) for name in CROSSED] for scanner in lines]
        cells = [" / ".join(map(format_value, metrics, each)) for each in found]
        rows.append([str(volumes), arm, *cells])
    where = "Gains over the first arm stand in `on_SCANNER`, the fall from one scanner to the others in `arm_ARM`."
    table = markdown_table(["volumes", "arm", *lines], rows)
    return "\n\n".join([f"# {study}: {' / '.join(metric.label for metric in metrics)}", table, where, *notes]) + "\n"


def results_of(run: Run, method: str, arm: str) -> list[Result]:
    """The subjects of a run's evaluation, under the name of an arm."""
    with (run.folder / "evaluation" / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method]
    values = [{name: float(row[name]) if row[name] else None for name in FIGURES} for row in rows]
    return [Result(arm, run.volumes, run.seed, row["case"], each) for row, each in zip(rows, values, strict=True)]
