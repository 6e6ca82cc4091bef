"""The checkpoints of a run folder: which are kept, which one a run goes on from, and whether it may."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import file_sha256, link_over, remove_leftovers
from cyclegan_gc.checkpoint import BEST, LAST, State, load_checkpoint, save_checkpoint
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError

PREVIOUS, DAMAGED = "previous.pt", "damaged.pt"
SAME_RUN = ("objective", "network", "preprocess", "data", "steps", "seed", "loss", "paired", "optimizer", "precision")

WEIGHTLESS = {"dropout"}
ALIKE = {"network": (), "data": ("context_slices", "contrasts"), "preprocess": ("ct_window_hu",)}
"""What a relative's weights need to mean the same: all of a section but what has no weights, or these settings."""


def save(output: Path, state: State, *, best: bool, rotate: bool = True) -> None:
    """Write last.pt; what bore that name becomes previous.pt. At no moment is there less than one whole checkpoint.

    Args:
        output: run folder.
        state: of the run.
        best: whether best.pt is to be the same.
        rotate: False leaves previous.pt as it is.

    Raises:
        OSError: if the disk is full or read-only; the checkpoints are then what they were.
    """
    last = output / LAST

    def give_names(written: Path) -> None:
        if best:
            link_over(written, output / BEST)
        if rotate and last.exists():
            link_over(last, output / PREVIOUS)

    save_checkpoint(last, state, written=give_names)


def find_saved(config: TrainConfig, ranks: Ranks) -> State | None:
    """The state from which the run goes on, read by every rank; None for a new run.

    Raises:
        UserError: if a run is in the folder and ``resume`` is not given, or if no checkpoint can be read.
    """
    path = ranks.from_first(_choose(config, ranks) if ranks.first else None)
    return None if path is None else load_checkpoint(path)


def find_before(output: Path, step: int, ranks: Ranks) -> Path | None:
    """The newest checkpoint of the folder from before ``step``, the same for every rank; None where there is none."""
    return ranks.from_first(_before(output, step) if ranks.first else None)


def load_relative(config: TrainConfig) -> State:
    """The checkpoint of ``init_from``.

    Raises:
        UserError: if it cannot be read or its networks or slices are of another kind; one line with both.
    """
    assert config.init_from is not None
    saved, now = load_checkpoint(config.init_from), public_settings(config)
    if config.objective == "unpaired" and saved["config"]["objective"] == "paired":
        raise UserError(
            f"--init_from {config.init_from}: trained with objective paired, so it has no way from CT to MR; give an "
            "unpaired model"
        )
    for part, kinds in ALIKE.items():
        names = kinds or now[part].keys() - WEIGHTLESS
        theirs, ours = ({name: each[part][name] for name in sorted(names)} for each in (saved["config"], now))
        if theirs != ours:
            raise UserError(
                f"--init_from {config.init_from}: {part} {theirs} there and {ours} here; give the same settings"
            )
    return saved


def check_same_settings(saved: State, config: TrainConfig) -> None:
    """A continued run must be the run that was stopped.

    Raises:
        UserError: one line with what differs, as it was and as it is.
    """
    before, now = saved["config"], public_settings(config)
    changed = [
        f"{part}: {before[part]} in the checkpoint, {now[part]} now" for part in SAME_RUN if before[part] != now[part]
    ]
    if changed:
        raise _not_the_same_run("; ".join(changed), config)


def check_same_beginning(saved: State, config: TrainConfig) -> None:
    """Where ``init_from`` is given again, it must be the file that the continued run began with.

    Raises:
        UserError: one line.
    """
    if config.init_from is None:
        return
    try:
        same = saved["init_sha256"] == file_sha256([config.init_from])
    except OSError as error:
        raise UserError(f"--init_from {config.init_from}: cannot be read ({error.strerror}); leave it out") from error
    if not same:
        raise UserError(
            f"--init_from {config.init_from}: this run began with other weights; choose another --output, or leave it "
            "out"
        )


def check_same_volumes(saved: State, fingerprint: Mapping[str, Any], config: TrainConfig) -> None:
    """The volumes too.

    Raises:
        UserError: one line.
    """
    if saved["fingerprint"] != fingerprint:
        raise _not_the_same_run("other training volumes", config)


def best_score_before(output: Path, step: int) -> float:
    """The score of best.pt, which is removed where it was saved at ``step`` or later; infinite where none is left."""
    try:
        best = load_checkpoint(output / BEST)
    except UserError:
        return math.inf
    if best["step"] < step:
        return best["best_score"]
    (output / BEST).unlink()
    return math.inf


def _not_the_same_run(difference: str, config: TrainConfig) -> UserError:
    return UserError(
        f"--resume {config.resume}: not the same run ({difference}); resume with the run's own settings and volumes or "
        "choose another --output"
    )


def _before(output: Path, step: int) -> Path | None:
    steps = {}
    for name in (LAST, PREVIOUS, BEST):
        with suppress(UserError):
            steps[output / name] = load_checkpoint(output / name)["step"]
    earlier = [path for path, saved in steps.items() if saved < step]
    return max(earlier, key=lambda path: steps[path], default=None)


def _choose(config: TrainConfig, ranks: Ranks) -> Path | None:
    known = [path for name in (LAST, PREVIOUS) if (path := config.output / name).exists()]
    if config.resume is None and known:
        raise UserError(f"{known[0]}: a run is here already; continue it with --resume auto or choose another --output")
    if config.resume is None or (config.resume == "auto" and not known):
        return None
    return _newest_valid(known, ranks) if config.resume == "auto" else Path(config.resume)


def _newest_valid(known: list[Path], ranks: Ranks) -> Path:
    """The first of ``known`` that can be read; one that cannot is set aside, so that it never becomes previous.pt."""
    for path in known:
        for name in (LAST, PREVIOUS, BEST):
            remove_leftovers(path.with_name(name))
        try:
            load_checkpoint(path)
            return path
        except UserError as error:
            if path is known[-1]:
                raise
            ranks.says(f"warning: {error}; going on from {PREVIOUS}", warning=True)
            path.replace(path.with_name(DAMAGED))
    raise AssertionError("known is never empty")
