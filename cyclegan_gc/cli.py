"""The command line: words in, exit code out. Heavy imports wait until a command runs."""

import difflib
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from cyclegan_gc import __version__
from cyclegan_gc.config import (
    DISCLAIMER,
    AuditConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    InfoConfig,
    ManifestConfig,
    PhantomConfig,
    SliceAxis,
    SyncConfig,
    TrainConfig,
)
from cyclegan_gc.errors import Interruption, TrainingStoppedError, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 all well, 1 internal error, 2 usage or configuration error, 3 some cases failed, 4 training stopped,
        128 + n ended by signal n.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        command, config = _parse(_tidied([word for word in words if word != "--debug"]))
        return command.run(config)
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


def settings_of(arguments: Sequence[str]) -> Any:
    """The settings that a command would get from these words, without running it.

    Raises:
        UserError: if the command line would be refused.
    """
    return _parse(_tidied(arguments))[1]


def run_audit(config: AuditConfig) -> int:
    """Audit the volumes; what fails should not be trained on."""
    from cyclegan_gc.train.audit import audit, closing_line, text_table

    outcome = audit(config)
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
    from cyclegan_gc.evaluate.summary import summary_table
    from cyclegan_gc.evaluate.tracked import evaluate_tracked

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
    from cyclegan_gc.data.phantom import write_phantoms

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


class Command(NamedTuple):
    """One word of the command line."""

    config: type
    positional: tuple[str, ...]
    run: Callable[[Any], int]


COMMANDS = {
    "audit": Command(AuditConfig, (), run_audit),
    "train": Command(TrainConfig, (), run_train),
    "convert": Command(ConvertConfig, ("input", "output"), run_convert),
    "info": Command(InfoConfig, ("file",), run_info),
    "manifest": Command(ManifestConfig, ("action", "output"), run_manifest),
    "evaluate": Command(EvaluateConfig, (), run_evaluate),
    "sync": Command(SyncConfig, ("run",), run_sync),
    "phantom": Command(PhantomConfig, ("output",), run_phantom),
    "demo": Command(DemoConfig, (), run_demo),
}


LISTS: dict[str, Callable[[str], bool]] = {
    "--planes": lambda word: word in get_args(SliceAxis),
    "--data.slice_axes": lambda word: word in get_args(SliceAxis),
    "--data.contrasts": lambda word: not word.startswith(("-", "[")),
}
"""Settings of several words, and which words that follow belong to them."""


def _tidied(words: Sequence[str]) -> list[str]:
    """``--max-voxels`` as ``--max_voxels``, and ``--planes axial coronal`` as the one list that the parser wants."""
    tidied, position = [], 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            word = "--" + name[2:].replace("-", "_") + equals + value
        tidied.append(word)
        if belongs := LISTS.get(word):
            chosen = list(itertools.takewhile(belongs, words[position:]))
            position += len(chosen)
            tidied += [f"[{', '.join(chosen)}]"] if chosen else []
    return tidied


def _parse(words: Sequence[str]) -> tuple[Command, Any]:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog="cyclegan-gc",
        description=f"Synthetic CT from MR without paired data. {DISCLAIMER}",
        epilog="With --debug an internal error shows its traceback.",
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="command", required=True, title="commands")
    parsers = {name: _command_parser(command) for name, command in COMMANDS.items()}
    for name, each in parsers.items():
        commands.add_subcommand(name, each, help=_summary(COMMANDS[name].config))
    try:
        parsed = parser.parse_args(list(words))
    except UnicodeDecodeError as error:
        raise UserError("--config: not a UTF-8 text file; give a YAML file") from error
    except ArgumentError as error:
        chosen = parsers.get(words[0]) if words else None
        raise UserError(_usage_message(error, chosen)) from error
    command = COMMANDS[parsed.command]
    values = parser.instantiate(parsed)[parsed.command]
    return command, _plain(command.config(**{name: values[name] for name in command.config.__dataclass_fields__}))


def _plain(value: Any) -> Any:
    """Settings without the parser's own number types, which no checkpoint could be loaded with; ``~`` is expanded."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _plain(getattr(value, each.name)) for each in fields(value)})
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _command_parser(command: Command) -> ArgumentParser:
    parser = ArgumentParser(description=f"{_summary(command.config)} {DISCLAIMER}", exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags after it override it.")
    documented = command.config.__dataclass_fields__
    for name in command.positional:
        parser.add_argument(name, type=documented[name].type)
    parser.add_class_arguments(command.config, skip=set(command.positional))
    return parser


def _summary(config: type) -> str:
    return (config.__doc__ or "").splitlines()[0]


def _usage_message(error: Exception, parser: ArgumentParser | None) -> str:
    """One line with the key, the cause and, where one is close, the key that was meant."""
    text = " ".join(str(error).split())
    unknown = re.search(r"(?:does not accept option '|unrecognized arguments: --)([\w.]+)", text)
    if unknown and parser:
        known = [action.dest for action in parser._actions]
        close = difflib.get_close_matches(unknown[1], known, n=1)
        text = f"unknown setting {unknown[1]}" + (f"; did you mean {close[0]}?" if close else "; see --help")
    return text


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
