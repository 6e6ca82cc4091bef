"""The checkpoints of a run folder, and how a run begins: from one of them, with other weights, or anew."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import file_sha256, link_over
from cyclegan_gc.checkpoint import State, load_checkpoint, save_checkpoint
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError
from cyclegan_gc.model_files import BEST, LAST
from cyclegan_gc.trained_model import read_state

PREVIOUS, DAMAGED = "previous.pt", "damaged.pt"
SAME_RUN = ("objective", "network", "preprocess", "data", "steps", "seed", "loss", "paired", "optimizer", "precision")

WEIGHTLESS = {"dropout"}
ALIKE = {"network": (), "data": ("context_slices", "contrasts"), "preprocess": ("ct_window_hu", "soft_tissue_hu")}
"""Settings that two runs must share so that the weights of one fit the other: a whole section or some of it."""


def save(output: Path, state: State, *, best: bool, rotate: bool = True) -> None:
    """Write last.pt; the old last.pt becomes previous.pt. One complete checkpoint always exists.

    Args:
        output: run folder.
        state: of the run.
        best: whether best.pt is to be the same.
        rotate: False leaves previous.pt as it is.

    Raises:
        OSError: if the disk is full or read-only; the checkpoints are then unchanged.
    """
    last = output / LAST

    def give_names(written: Path) -> None:
        if best:
            link_over(written, output / BEST)
        if rotate and last.exists():
            link_over(last, output / PREVIOUS)

    save_checkpoint(last, state, written=give_names)


@dataclass(frozen=True)
class Beginning:
    """How a run begins: from its own checkpoint, with the weights of another run, or with fresh weights."""

    saved: State | None = None
    """Checkpoint that the run continues."""
    other: State | None = None
    """Checkpoint of another run whose weights the run begins with."""
    init_sha256: str | None = None
    """SHA-256 of the file whose weights the run began with; None for fresh weights."""
    resume: str | None = None
    """The option, for messages."""
    path: Path | None = None
    """The checkpoint file; None for fresh weights."""

    def check_volumes(self, fingerprint: Mapping[str, Any]) -> None:
        """Check that a continued run has its own training volumes.

        Raises:
            UserError: one line.
        """
        known = self.saved["fingerprint"] if self.saved is not None else {}
        if any(fingerprint[name] != figures for name, figures in known.items()):  # an older checkpoint has fewer
            raise _not_the_same_run("other training volumes", self.resume)


def find_beginning(
    output: Path, resume: str | None, init_from: Path | None, settings: Mapping[str, Any], ranks: Ranks
) -> Beginning:
    """Decide how a run begins, the same on every rank.

    Args:
        output: run folder.
        resume: ``auto`` or a checkpoint to continue from; None for a new run.
        init_from: checkpoint of another run or exported weights, for the weights of a new run.
        settings: of the run, :func:`cyclegan_gc.config.public_settings`.
        ranks: the processes of the run.

    Raises:
        UserError: if a run is in the folder and ``resume`` is None, if no checkpoint can be read, or if it is of other
            settings.
    """
    path = ranks.from_first(_choose(output, resume, ranks) if ranks.first else None)
    if path is not None:
        saved = load_checkpoint(path)
        _check_same_settings(saved, settings, resume)
        _check_same_weights(saved, init_from)
        return Beginning(saved=saved, init_sha256=saved["init_sha256"], resume=resume, path=path)
    if init_from is None:
        return Beginning()
    other = read_state(init_from)
    _check_alike(other, settings, init_from)
    return Beginning(other=other, init_sha256=file_sha256([init_from]), path=init_from)


def find_before(output: Path, step: int, ranks: Ranks) -> Path | None:
    """The newest checkpoint of the folder from before ``step``, the same for every rank; None where there is none."""
    return ranks.from_first(_before(output, step) if ranks.first else None)


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


def _check_alike(other: State, settings: Mapping[str, Any], init_from: Path) -> None:
    """Check that the weights of another run fit this one.

    Raises:
        UserError: one line with both settings.
    """
    if settings["objective"] == "unpaired" and other["config"]["objective"] == "paired":
        raise UserError(
            f"--init_from {init_from}: trained with objective paired, so it has no generator from CT to MR; give an "
            "unpaired model"
        )
    for part, kinds in ALIKE.items():
        names = kinds or settings[part].keys() - WEIGHTLESS
        theirs, ours = ({name: each[part][name] for name in sorted(names)} for each in (other["config"], settings))
        if theirs != ours:
            raise UserError(
                f"--init_from {init_from}: {part} {theirs} in that run and {ours} in this one; give the same settings"
            )


def _check_same_settings(saved: State, settings: Mapping[str, Any], resume: str | None) -> None:
    """Check that the continued run has the settings of the one that was stopped.

    Raises:
        UserError: one line with the settings that differ, before and now.
    """
    before = saved["config"]
    changed = [
        f"{part}: {before[part]} in the checkpoint, {settings[part]} now"
        for part in SAME_RUN
        if before[part] != settings[part]
    ]
    if len(changed) == 1 and before["steps"] != settings["steps"]:
        raise UserError(
            f"--resume {resume}: the run's learning rate follows --steps {before['steps']} and ends at step "
            f"{before['steps']}; go on with that, or begin a new run with its weights: --init_from RUN and another "
            "--output"
        )
    if changed:
        raise _not_the_same_run("; ".join(changed), resume)


def _check_same_weights(saved: State, init_from: Path | None) -> None:
    """Check that ``init_from``, where it is given again, is the file that the continued run began with.

    Raises:
        UserError: one line.
    """
    if init_from is None:
        return
    try:
        same = saved["init_sha256"] == file_sha256([init_from])
    except OSError as error:
        raise UserError(f"--init_from {init_from}: cannot be read ({error.strerror}); leave it out") from error
    if not same:
        raise UserError(
            f"--init_from {init_from}: this run began with other weights; choose another --output, or leave it out"
        )


def _not_the_same_run(difference: str, resume: str | None) -> UserError:
    return UserError(
        f"--resume {resume}: not the same run ({difference}); resume with the run's own settings and volumes or "
        "choose another --output"
    )


def _before(output: Path, step: int) -> Path | None:
    steps = {}
    for name in (LAST, PREVIOUS, BEST):
        with suppress(UserError):
            steps[output / name] = load_checkpoint(output / name)["step"]
    earlier = [path for path, saved in steps.items() if saved < step]
    return max(earlier, key=lambda path: steps[path], default=None)


def _choose(output: Path, resume: str | None, ranks: Ranks) -> Path | None:
    known = [path for name in (LAST, PREVIOUS) if (path := output / name).exists()]
    if resume is None and known:
        raise UserError(
            f"{known[0]}: this folder already holds a run; continue it with --resume auto or choose another --output"
        )
    if resume is None or (resume == "auto" and not known):
        return None
    return _newest_valid(known, ranks) if resume == "auto" else Path(resume)


def _newest_valid(known: list[Path], ranks: Ranks) -> Path:
    """The first of ``known`` that can be read; one that cannot is set aside, so that it never becomes previous.pt."""
    for path in known:
        try:
            load_checkpoint(path)
            return path
        except UserError as error:
            if path is known[-1]:
                raise
            ranks.says(f"warning: {error}; continuing from {PREVIOUS}", warning=True)
            path.replace(path.with_name(DAMAGED))
    raise AssertionError("known is never empty")
