"""The command line: arguments in, exit code out. Heavy imports wait until a command runs."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from cyclegan_gc import config as settings
from cyclegan_gc.errors import Interruption, StoppedError, UserError, labelled, plain
from cyclegan_gc.model_files import checkpoint_in
from cyclegan_gc.parsing import parse

RESAMPLED = "went through the network at"
"""Part of the remark on a case whose pixels were resampled; it is printed once a batch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 all well, 1 internal error, 2 usage or configuration error, 3 some cases failed, 4 the run stopped,
        128 + n ended by signal n.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show is escaped, not an error
            stream.reconfigure(errors="backslashreplace")
    try:
        command, config = parse([word for word in words if word != "--debug"])
        return RUN[command](config)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except Interruption as stop:
        print(f"cyclegan-gc: {stop}", file=sys.stderr)
        return 128 + stop.signal_number
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explain(error)


def run_audit(config: settings.AuditConfig) -> int:
    """Audit the volumes and print the table of findings."""
    from cyclegan_gc.audit.audit import audit, closing_line, text_table
    from cyclegan_gc.data.cases import volumes_to_audit

    volumes, notes = volumes_to_audit(config.data)
    for note in notes:
        print(f"note: {plain(note)}", file=sys.stderr)
    outcome = audit(volumes, config.preprocess, config.data.slice_axes, config.output)
    print(text_table(outcome))
    print(f"{closing_line(outcome)}; pictures: {config.output / 'audit.png'}")
    return 2 if outcome.failed else 0


def run_train(config: settings.TrainConfig) -> int:
    """Train a model."""
    from cyclegan_gc.train.loop import train

    if config.init_from:
        config = replace(config, init_from=_checkpoint(config.init_from))
    if config.resume and config.resume != "auto":
        config = replace(config, resume=str(_checkpoint(Path(config.resume).expanduser())))
    train(config)
    return 0


def run_convert(config: settings.ConvertConfig) -> int:
    """Convert, with a line for each case as it ends, and a table of verdicts and remarks at the end, worst first."""
    from rich.console import Console
    from rich.progress import Progress

    from cyclegan_gc.convert.batch import convert
    from cyclegan_gc.convert.index import text_table
    from cyclegan_gc.convert.manifest import closing_line

    members = {"checkpoint": _checkpoint(config.checkpoint), "ensemble": tuple(map(_checkpoint, config.ensemble))}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("converting")

        def started(jobs: list[Any], notes: list[str]) -> None:
            progress.update(bar, total=len(jobs))
            for note in notes:
                print(f"note: {plain(note)}", file=sys.stderr)

        def done(case: Any) -> None:
            progress.advance(bar)
            if case.failure:
                print(f"failed: {labelled(case.failure, {case.source: case.label})}", file=sys.stderr)
            elif not sys.stderr.isatty():
                judged = f", {case.quality.verdict}" if case.quality else ""
                print(f"{case.outcome}{judged}: {case.label} ({case.seconds:.1f} s)", file=sys.stderr)

        manifest: dict[str, Any] = {}
        convert(replace(config, **members), started=started, done=done, ended=manifest.update)
    rows, counts = manifest["cases"], manifest["counts"]
    print(text_table([_to_print(row) for row in rows]))
    if resampled := sum(RESAMPLED in " ".join(row["warnings"]) for row in rows):
        print(f"note: {resampled} of {len(rows)} resampled to the model's pixel size and back; the sidecars give sizes")
    print(f"{config.output}: {closing_line(counts)}")
    return 3 if counts.get("failed") or (config.strict and counts.get("implausible")) else 0


def run_export(config: settings.ExportConfig) -> int:
    """Write a model for other programs."""
    from cyclegan_gc.export.export import export

    for line in export(replace(config, checkpoint=_checkpoint(config.checkpoint))):
        print(plain(line))
    return 0


def run_info(config: settings.InfoConfig) -> int:
    """Describe volumes, series or a model."""
    from cyclegan_gc.info import describe

    found = describe(config.file, headers_only=config.json)
    text = json.dumps(found.facts, indent=2) if config.json else "\n".join(map(plain, found.lines))
    print(text)
    return _failed(found.failures)


def run_manifest(config: settings.ManifestConfig) -> int:
    """Merge the manifests of shards."""
    from cyclegan_gc.convert.index import text_table
    from cyclegan_gc.convert.manifest import closing_line, merge_manifests

    whole = merge_manifests(config.output)
    print(text_table(whole["cases"]))
    print(f"{config.output / 'manifest.json'}: {closing_line(whole['counts'])}")
    return 3 if whole["counts"].get("failed") else 0


def run_evaluate(config: settings.EvaluateConfig) -> int:
    """Evaluate, print the table and name the report."""
    from cyclegan_gc.evaluate.provenance import evaluate_tracked
    from cyclegan_gc.evaluate.tables import summary_table

    if config.checkpoint:
        config = replace(config, checkpoint=_checkpoint(config.checkpoint))
    evaluation = evaluate_tracked(config)
    if not evaluation.rows:
        print(f"{config.output}: no case could be evaluated; {len(evaluation.failures)} failed")
        return _failed(evaluation.failures)
    print(summary_table(evaluation))
    return _told(config.output / "report.html", evaluation.failures)


def run_sync(config: settings.SyncConfig) -> int:
    """Send an offline run."""
    from cyclegan_gc.tracking.sync import sync

    return sync(config.run)


def run_phantom(config: settings.PhantomConfig) -> int:
    """Generate phantoms."""
    from cyclegan_gc.phantom.subject import write_phantoms

    write_phantoms(**vars(config))
    print(f"phantoms: {config.output}")
    return 0


def run_demo(config: settings.DemoConfig) -> int:
    """Run the demo on phantoms."""
    from cyclegan_gc.demo import demo

    return _told(*demo(config))


RUN: dict[str, Callable[[Any], int]] = {
    "audit": run_audit,
    "train": run_train,
    "convert": run_convert,
    "export": run_export,
    "info": run_info,
    "manifest": run_manifest,
    "evaluate": run_evaluate,
    "sync": run_sync,
    "phantom": run_phantom,
    "demo": run_demo,
}


def _checkpoint(path: Path) -> Path:
    """The checkpoint of a run folder, named on the first process, or of a named model; another path as it is."""
    file = checkpoint_in(path)
    if path.is_dir() and os.environ.get("RANK", "0") == "0":
        print(f"note: {path}: using {file.name}", file=sys.stderr)
    return file


def _told(report: Path, failures: Sequence[str]) -> int:
    """Print the failed cases and where the report is; the exit code."""
    code = _failed(failures)
    print(f"report: {report}")
    return code


def _failed(failures: Sequence[str]) -> int:
    """Print the failed cases; the exit code."""
    for failure in failures:
        print(f"failed: {plain(failure)}", file=sys.stderr)
    return 3 if failures else 0


def _to_print(row: Mapping[str, Any]) -> dict[str, Any]:
    """A case for the final table, without its failure, which was printed before, and the remark for the whole batch."""
    warnings = [warning for warning in row["warnings"] if RESAMPLED not in warning]
    return {**row, "failure": None, "warnings": warnings}


def _explain(error: Exception) -> int:
    """Print an error in one line and return its exit code."""
    line = plain(" ".join(str(error).split()))
    code = 2 if isinstance(error, UserError) else 4 if isinstance(error, StoppedError) else 1
    if code == 1:
        line = f"internal error: {type(error).__name__}: {line} (--debug shows where)"
    print(f"cyclegan-gc: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
