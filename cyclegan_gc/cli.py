"""The command line: words in, exit code out. Heavy imports wait until a command runs."""

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from cyclegan_gc.config import (
    AuditConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    InfoConfig,
    ManifestConfig,
    PhantomConfig,
    SyncConfig,
    TrainConfig,
)
from cyclegan_gc.errors import Interruption, TrainingStoppedError, UserError
from cyclegan_gc.parsing import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 all well, 1 internal error, 2 usage or configuration error, 3 some cases failed, 4 training stopped,
        128 + n ended by signal n.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
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


def run_audit(config: AuditConfig) -> int:
    """Audit the volumes; what fails should not be trained on."""
    from cyclegan_gc.audit.audit import audit, closing_line, text_table
    from cyclegan_gc.data.cases import volumes_to_audit

    outcome = audit(volumes_to_audit(config.data), config.preprocess, config.data.slice_axes, config.output)
    print(text_table(outcome))
    print(f"{closing_line(outcome)}; pictures: {config.output / 'audit.png'}")
    return 2 if outcome.failed else 0


def run_train(config: TrainConfig) -> int:
    """Train."""
    from cyclegan_gc.train.loop import train

    train(config)
    return 0


def run_convert(config: ConvertConfig) -> int:
    """Convert, with a line for each case as it ends and a table at the end, worst first."""
    from rich.console import Console
    from rich.progress import Progress

    from cyclegan_gc.convert.batch import convert
    from cyclegan_gc.convert.index import text_table
    from cyclegan_gc.convert.outcome import as_row

    count = 0
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("converting")

        def started(jobs: list[Any], notes: list[str]) -> None:
            nonlocal count
            count = len(jobs)
            progress.update(bar, total=count)
            for note in notes:
                print(f"note: {note}", file=sys.stderr)

        def done(case: Any) -> None:
            progress.advance(bar)
            for warning in case.warnings:
                print(f"warning: {case.source}: {warning}", file=sys.stderr)
            if case.failure:
                print(f"failed: {case.failure}", file=sys.stderr)
            elif not sys.stderr.isatty():
                judged = f", {case.quality.verdict}" if case.quality else ""
                print(f"{case.outcome}{judged}: {case.source} ({case.seconds:.1f} s)", file=sys.stderr)

        outcomes = convert(config, started=started, done=done)
    print(text_table([as_row(case, config.output) for case in outcomes]))
    failed = sum(case.failure is not None for case in outcomes)
    print(f"{len(outcomes) - failed} of {count} converted to {config.output}")
    return 3 if failed else 0


def run_info(config: InfoConfig) -> int:
    """Describe a file."""
    from cyclegan_gc.info import describe

    print("\n".join(describe(config.file)))
    return 0


def run_manifest(config: ManifestConfig) -> int:
    """Join the manifests of shards."""
    from cyclegan_gc.convert.index import text_table
    from cyclegan_gc.convert.manifest import merge_manifests

    whole = merge_manifests(config.output)
    print(text_table(whole["cases"]))
    print(f"manifest: {config.output / 'manifest.json'}")
    return 3 if whole["counts"].get("failed") else 0


def run_evaluate(config: EvaluateConfig) -> int:
    """Evaluate, print the table and name the report."""
    from cyclegan_gc.evaluate.provenance import evaluate_tracked
    from cyclegan_gc.evaluate.tables import summary_table

    evaluation = evaluate_tracked(config)
    print(summary_table(evaluation))
    for failure in evaluation.failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(f"report: {config.output / 'report.html'}")
    return 3 if evaluation.failures else 0


def run_sync(config: SyncConfig) -> int:
    """Send an offline run."""
    from cyclegan_gc.tracking.sync import sync

    return sync(config.run, images=config.images)


def run_phantom(config: PhantomConfig) -> int:
    """Generate phantoms."""
    from cyclegan_gc.phantom.subject import write_phantoms

    write_phantoms(
        config.output,
        subjects=config.subjects,
        test_subjects=config.test_subjects,
        seed=config.seed,
        kind=config.kind,
        scanner=config.scanner,
    )
    print(f"phantoms: {config.output}")
    return 0


def run_demo(config: DemoConfig) -> int:
    """Show the whole road on phantoms."""
    from cyclegan_gc.demo import demo

    report, failures = demo(config)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(f"report: {report}")
    return 3 if failures else 0


RUN: dict[str, Callable[[Any], int]] = {
    "audit": run_audit,
    "train": run_train,
    "convert": run_convert,
    "info": run_info,
    "manifest": run_manifest,
    "evaluate": run_evaluate,
    "sync": run_sync,
    "phantom": run_phantom,
    "demo": run_demo,
}


def _explain(error: Exception) -> int:
    """Print an error in one line and return its exit code."""
    line = " ".join(str(error).split())
    if isinstance(error, UserError):
        print(f"cyclegan-gc: {line}", file=sys.stderr)
        return 2
    if isinstance(error, TrainingStoppedError):
        print(f"cyclegan-gc: {line}", file=sys.stderr)
        return 4
    print(f"cyclegan-gc: internal error: {type(error).__name__}: {line} (--debug shows where)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
