"""Checkpoint files: training state as plain types and tensors, read without running any code from the file."""

import errno
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from cyclegan_gc import __version__
from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.config import LossConfig, NetworkConfig, PairedConfig, PreprocessConfig, SliceAxis
from cyclegan_gc.config.fitting import misfit
from cyclegan_gc.config.values import NonNegativeInt, PositiveFloat, PositiveInt
from cyclegan_gc.errors import UserError
from cyclegan_gc.model_files import LAST

FORMAT = 4
SMALLEST_PIXEL_MM, LARGEST_CROP = 0.01, 4096
"""No network is trained beyond these; a conversion would exhaust the memory."""

State = dict[str, Any]
Weights = dict[str, dict[str, Tensor]]
Sizes = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Slices(TypedDict):
    """What a conversion takes from the settings of the data."""

    slice_axes: tuple[SliceAxis, ...]
    crop: tuple[PositiveInt, PositiveInt]
    context_slices: NonNegativeInt
    contrasts: tuple[str, ...]


class Settings(TypedDict):
    """The settings of a run that its use needs."""

    objective: Literal["unpaired", "paired"]
    steps: PositiveInt
    network: NetworkConfig
    preprocess: PreprocessConfig
    data: Slices
    loss: LossConfig
    paired: PairedConfig


class Case(TypedDict):
    """Figures of a training volume."""

    spacing_mm: Sizes
    body_mm: Sizes
    quantiles: tuple[float, float, float, float, float]


class Histogram(TypedDict):
    """Counts between ``len(counts) + 1`` rising ``edges``."""

    edges: list[float]
    counts: list[float]


class Anatomy(TypedDict, total=False):
    """Figures of the training CTs that older checkpoints lack."""

    ct_depth: list[list[float]]
    ct_skulls: list[tuple[float, float, float]]


class Fingerprint(Anatomy):
    """Figures of the training sets."""

    mr: list[Case]
    ct: list[Case]
    mr_histogram: Histogram
    ct_histogram: Histogram


class ModelParts(TypedDict):
    """What the use of a model needs."""

    config: Settings
    fingerprint: Fingerprint
    step: NonNegativeInt
    run_id: str | None
    ema: Weights


class Parts(ModelParts):
    """The parts of a checkpoint."""

    init_sha256: str | None
    stale: NonNegativeInt
    suspect: bool
    stream: NonNegativeInt
    best_score: float
    networks: Weights
    optimizers: dict[str, dict]
    schedulers: dict[str, dict]
    scaler: dict
    pools: list[dict]
    rng: Tensor
    meter: dict
    monitor: dict


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
        except RuntimeError as error:  # raised by the archive's writer on a full disk
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
        raise UserError(f"{path}: no such checkpoint; give a run folder, its {LAST} or the name of a model: head-t1")
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads on over flipped bytes
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged}: wrong checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign pickle can raise anything
        raise UserError(f"{path}: not a readable checkpoint; give a run folder or its {LAST}") from error
    if isinstance(state, dict) and state.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"{path}: a checkpoint of format {state['format']}, but cyclegan-gc {__version__} reads format {FORMAT}; "
            "use the version of cyclegan-gc that wrote it, or train again"
        )
    if not isinstance(state, dict) or not state.keys() >= Parts.__required_keys__:
        raise UserError(f"{path}: not a checkpoint of cyclegan-gc; give a run folder or its {LAST}")
    check_state(path, state, Parts)
    return state


def check_state(path: Path, state: State, parts: Any) -> None:
    """Raise a UserError if a state lacks one of these parts or has one that cannot be used.

    Settings that older files lack are added, with the value that they had in effect.
    """
    config = state.get("config")
    if isinstance(config, dict) and isinstance(config.get("preprocess"), dict):
        config["preprocess"].setdefault("soft_tissue_hu", None)
    if wrong := misfit(state, parts, "state") or _unusable(state):
        raise UserError(
            f"{path}: {wrong.removeprefix('state.')} is not what cyclegan-gc writes there (edited, or of another "
            "version); give an unchanged checkpoint"
        )


def _unusable(state: State) -> str | None:
    """The first place whose value has its type but cannot be used."""
    config, known = state["config"], state["fingerprint"]
    try:
        place = "config.network"
        NetworkConfig(**config["network"])
        place = "config.preprocess"
        PreprocessConfig(**config["preprocess"])
    except UserError:
        return place
    weights = {f"{kind}.{name}": each for kind in ("ema", "networks") for name, each in state.get(kind, {}).items()}
    faults = {
        "config.preprocess.spacing_mm": (config["preprocess"]["spacing_mm"] or 1) < SMALLEST_PIXEL_MM,
        "config.data.slice_axes": not config["data"]["slice_axes"],
        "config.data.crop": max(config["data"]["crop"]) > LARGEST_CROP,
        "ema": "mr_to_ct" not in state["ema"],
        "config.network.blocks": any(len(each) < config["network"]["blocks"] for each in state["ema"].values()),
        **{f"fingerprint.{name}": not known[name] for name in ("mr", "ct")},
        **{
            f"fingerprint.{name}": len(known[name]["edges"]) != len(known[name]["counts"]) + 1
            for name in ("mr_histogram", "ct_histogram")
        },
        **{name: not all(map(_is_weight, each.items())) for name, each in weights.items()},
    }
    return next((place for place, fault in faults.items() if fault), None)


def _is_weight(item: tuple[str, Tensor]) -> bool:
    """Whether a tensor holds floating-point numbers, each in its own memory."""
    name, tensor = item
    if name == "n_averaged":
        return tensor.numel() == 1
    whole = tensor.layout is torch.strided and tensor.untyped_storage().nbytes() >= tensor.nbytes
    return tensor.dtype is torch.float32 and whole


@contextmanager
def restoring(path: Path | None) -> Iterator[None]:
    """Build and load networks from a checkpoint on the CPU in the block.

    Raises:
        UserError: if its parts do not fit one another; one line.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: its parts do not fit one another (edited?); give an unchanged checkpoint") from error


def averaged_weights(state: State, name: str) -> State:
    """The moving average of a generator under the names of the network itself."""
    averaged = state["ema"][name].items()
    return {key.removeprefix("module."): value for key, value in averaged if key != "n_averaged"}
