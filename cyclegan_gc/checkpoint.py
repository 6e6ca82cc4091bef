"""State to disk and back: plain types and tensors only, read without running any code from the file."""

import errno
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cyclegan_gc.atomic import atomic_write, file_sha256
from cyclegan_gc.config import Direction, NetworkConfig, PreprocessConfig, SliceAxis, slab_channels
from cyclegan_gc.errors import UserError
from cyclegan_gc.model.cyclegan import build_generator

FORMAT = 4
TRAINED = {"networks", "ema", "optimizers", "schedulers", "scaler", "pools", "rng", "meter", "monitor"}
PROGRESS = {"step", "stale", "suspect", "stream", "best_score", "run_id"}
PARTS = {"config", "fingerprint", "init_sha256"} | TRAINED | PROGRESS

State = dict[str, Any]


@dataclass(frozen=True)
class TrainedModel:
    """What conversion and evaluation need of a checkpoint."""

    generator: nn.Module
    """Moving average of one generator, in evaluation mode."""
    back: nn.Module | None
    """The same of the opposite generator, which tells how much of the input a translation still holds; None for a model
    of the paired objective, which has none."""
    direction: Direction
    preprocess: PreprocessConfig
    slice_axes: tuple[SliceAxis, ...]
    """Planes whose slices it was trained on."""
    context: int
    """Neighbours on each side that go through the generators with a slice."""
    contrasts: tuple[str, ...]
    """Endings of the names of the MR contrasts that are its channels; none for a single one."""
    crop: tuple[int, int]
    """Size of the training slices (h, w); smaller slices are padded to it."""
    fingerprint: dict[str, Any]
    """What the training sets looked like; see :func:`cyclegan_gc.data.cache.fingerprint`."""
    step: int
    sha256: str
    """Of the checkpoint's file."""
    run_id: str | None = None
    """W&B id of the training; None where it had none."""

    @property
    def artifact(self) -> str | None:
        """Under which name and alias W&B knows it, where it was sent; None where the training had no W&B run."""
        return f"model-{self.run_id}:step-{self.step}" if self.run_id else None

    @property
    def in_channels(self) -> int:
        """Of the generator: every contrast of an MR slice and its neighbours, or every slice of a CT."""
        return slab_channels(self.context, self.contrasts)["mr" if self.direction == "mr_to_ct" else "ct"]


def save_checkpoint(path: Path, state: State, *, written: Callable[[Path], None] | None = None) -> None:
    """Write ``state`` under ``path``, whole or not at all.

    Args:
        path: of the checkpoint.
        state: plain types and tensors.
        written: called with the finished file before it takes the name ``path``.

    Raises:
        TypeError: if the state holds what could not be read back.
        OSError: if the disk is full or read-only; an earlier file of that name stays as it was.
    """
    _check_plain(state, "state")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, check=written) as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:  # how the archive's writer tells of a full disk
            raise OSError(errno.ENOSPC, str(error).splitlines()[0], str(path)) from error


def _check_plain(value: Any, place: str) -> None:
    """NumPy numbers and paths look like plain ones, are written and cannot be read."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item, place)
    elif not isinstance(value, torch.Tensor) and type(value) not in (int, float, bool, str, type(None)):
        raise TypeError(f"{place} is of {type(value)}; a checkpoint holds plain types and tensors only")


def load_checkpoint(path: Path) -> State:
    """Read a checkpoint's state with its tensors on the CPU.

    Raises:
        UserError: if the file is missing, damaged, foreign or of another format; one line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the last.pt or best.pt of a training run")
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads on over flipped bytes
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged}: wrong checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign pickle brings forth
        raise UserError(f"{path}: not a readable checkpoint; give the last.pt or best.pt of a training run") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not state.keys() >= PARTS:
        raise UserError(f"{path}: not a checkpoint of cyclegan-gc (format {FORMAT}); give last.pt or best.pt of a run")
    return state


def load_model(path: Path, direction: Direction = "mr_to_ct", device: torch.device | None = None) -> TrainedModel:
    """One generator of a checkpoint, by its moving average, with everything needed to use it.

    Raises:
        UserError: as :func:`load_checkpoint`, and if it was not trained in that direction.
    """
    state = load_checkpoint(path)
    if direction not in state["ema"]:
        raise UserError(f"{path}: trained with objective paired, from MR to CT only; leave out --direction {direction}")
    try:
        return _model_of(state, direction, device or torch.device("cpu"), file_sha256([path]))
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: a checkpoint of another version of cyclegan-gc; convert with that version") from error


def _model_of(state: State, direction: Direction, device: torch.device, sha256: str) -> TrainedModel:
    config = state["config"]
    opposite: Direction = "ct_to_mr" if direction == "mr_to_ct" else "mr_to_ct"
    return TrainedModel(
        generator=_generator(state, direction).to(device),
        back=_generator(state, opposite).to(device) if opposite in state["ema"] else None,
        direction=direction,
        preprocess=PreprocessConfig(**config["preprocess"]),
        slice_axes=tuple(config["data"]["slice_axes"]),
        context=config["data"]["context_slices"],
        contrasts=tuple(config["data"]["contrasts"]),
        crop=tuple(config["data"]["crop"]),
        fingerprint=state["fingerprint"],
        step=state["step"],
        sha256=sha256,
        run_id=state["run_id"],
    )


def _generator(state: State, direction: Direction) -> nn.Module:
    network, data = NetworkConfig(**state["config"]["network"]), state["config"]["data"]
    channels = slab_channels(data["context_slices"], data["contrasts"])
    source, target = ("mr", "ct") if direction == "mr_to_ct" else ("ct", "mr")
    generator = build_generator(
        network.width,
        network.blocks,
        network.reduction,
        network.stem,
        network.upsampling,
        in_channels=channels[source],
        out_channels=channels[target],
    )
    generator.load_state_dict(averaged_weights(state, direction))
    return generator.eval()


def averaged_weights(state: State, name: str) -> State:
    """The moving average of a generator under the names of the network itself."""
    averaged = state["ema"][name].items()
    return {key.removeprefix("module."): value for key, value in averaged if key != "n_averaged"}


def public_name(path: Path) -> str:
    """The name of a checkpoint's run folder and its own, such as "RUN/last.pt"; the path before them stays private."""
    return path.name if path.is_dir() else "/".join(path.absolute().parts[-2:])
