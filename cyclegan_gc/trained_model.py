"""A trained model: a generator with everything that conversion and evaluation need to use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.checkpoint import (
    Case,
    Fingerprint,
    ModelParts,
    Settings,
    Slices,
    State,
    averaged_weights,
    check_state,
    load_checkpoint,
    restoring,
)
from cyclegan_gc.config import SOURCE_MODALITY, Direction, NetworkConfig, PreprocessConfig, SliceAxis, slab_channels
from cyclegan_gc.errors import UserError
from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.weights import SUFFIX, load_weights, save_weights


@dataclass(frozen=True)
class Translator:
    """A generator and the settings of the slices that it was trained on: all that the translation of a volume needs."""

    generator: nn.Module
    """In evaluation mode."""
    back: nn.Module | None
    """Generator of the opposite direction, for the cycle error; None for a model of the paired objective."""
    direction: Direction
    preprocess: PreprocessConfig
    slice_axes: tuple[SliceAxis, ...]
    """Planes of the training slices."""
    context: int
    """Neighbours on each side that go through the generators with a slice."""
    contrasts: tuple[str, ...]
    """File name endings of the MR contrasts that are its channels; empty for a single contrast."""
    crop: tuple[int, int]
    """Size (h, w) of the training slices; smaller slices are padded to it."""
    fingerprint: dict[str, Any]
    """Figures of the training sets; see :func:`cyclegan_gc.data.cache.fingerprint`."""

    @property
    def source_contrasts(self) -> tuple[str, ...]:
        """Contrasts that the source needs; empty for a single volume."""
        return self.contrasts if self.direction == "mr_to_ct" else ()

    @property
    def in_channels(self) -> int:
        """Input channels of the generator: a slice with its neighbours, an MR slice in every contrast."""
        return slab_channels(self.context, self.contrasts)[SOURCE_MODALITY[self.direction]]


class Member(NamedTuple):
    """One of the translations that are fused: a translator in one plane, mirrored or not."""

    translator: Translator
    axis: SliceAxis
    mirrored: bool = False
    named: bool = True
    """Whether the user named the plane. Others are left out of a case whose pixels are too coarse in them."""


@dataclass(frozen=True)
class TrainedModel:
    """A translator out of a checkpoint, and which checkpoint it is."""

    translator: Translator
    step: int
    sha256: str
    """SHA-256 of the checkpoint file."""
    run_id: str | None = None
    """W&B id of the training; None if it had none."""

    @property
    def artifact(self) -> str | None:
        """Name and alias of the model in W&B; None if the training had no W&B run."""
        return f"model-{self.run_id}:step-{self.step}" if self.run_id else None


def load_model(path: Path, direction: Direction = "mr_to_ct", device: torch.device | None = None) -> TrainedModel:
    """Load one generator of a checkpoint or a weights file, by its moving average, in evaluation mode.

    Raises:
        UserError: as :func:`read_state`, and if the model was not trained in that direction.
    """
    state = read_state(path)
    if direction not in state["ema"]:
        raise UserError(f"{path}: trained with objective paired, from MR to CT only; leave out --direction {direction}")
    with restoring(path):
        generators = {name: _restored(state, name) for name in SOURCE_MODALITY if name in state["ema"]}
    networks = {name: generator.to(device or "cpu") for name, generator in generators.items()}
    return TrainedModel(translator_of(state, networks, direction), state["step"], file_sha256([path]), state["run_id"])


def save_model(checkpoint: Path, path: Path) -> dict[str, Any]:
    """Write the generators of a checkpoint as a weights file: settings, figures of the training sets, nothing else.

    Args:
        checkpoint: file of a training.
        path: name of the new file, ending in .safetensors.

    Returns:
        The JSON that the new file holds.
    """
    state = read_state(checkpoint)
    config, known = state["config"], state["fingerprint"]
    settings = {**_only(config, Settings), "data": _only(config["data"], Slices)}
    cases = {name: [_only(case, Case) for case in known[name]] for name in ("mr", "ct")}
    facts = {"config": settings, "fingerprint": {**_only(known, Fingerprint), **cases}, "step": state["step"]}
    names = [(name, averaged_weights(state, name)) for name in state["ema"]]
    tensors = {f"{name}.{key}": tensor.contiguous() for name, weights in names for key, tensor in weights.items()}
    return save_weights(path, tensors, {**facts, "checkpoint_sha256": file_sha256([checkpoint])})


def read_state(path: Path) -> State:
    """What a checkpoint or a weights file holds; raises as :func:`load_checkpoint` and :func:`load_weights`."""
    if path.suffix.lower() != SUFFIX:
        return load_checkpoint(path)
    tensors, facts = load_weights(path)
    ema: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        network, _, key = name.partition(".")
        ema.setdefault(network, {})[key] = tensor
    state = {**{part: _tuples(value) for part, value in facts.items()}, "run_id": None, "ema": ema}
    check_state(path, state, ModelParts)
    return state


def _only(values: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    return {name: values[name] for name in kind.__annotations__ if name in values}


def _tuples(value: Any) -> Any:
    """Plain values with tuples for the lists that JSON makes of them."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def load_models(
    paths: Sequence[Path], direction: Direction, planes: Sequence[SliceAxis] | None, device: torch.device
) -> list[TrainedModel]:
    """Load models whose translations are fused.

    Raises:
        UserError: as :func:`load_model`, and if a model does not know a plane, or their MR contrasts differ.
    """
    models = [load_model(path, direction, device) for path in paths]
    for path, model in zip(paths, models, strict=True):
        known = model.translator.slice_axes
        unknown = [plane for plane in planes or () if plane not in known]
        if unknown:
            raise UserError(
                f"{path}: trained on {', '.join(known)} slices, not {', '.join(unknown)}; choose other "
                "--planes or train with --data.slice_axes"
            )
    if len({model.translator.contrasts for model in models}) > 1:
        raise UserError(
            "--ensemble: the models were trained on different MR contrasts; choose models of the same contrasts"
        )
    return models


def translator_of(
    known: Mapping[str, Any], networks: Mapping[str, nn.Module], direction: Direction = "mr_to_ct"
) -> Translator:
    """The translator that uses ``networks[direction]``.

    Args:
        known: ``config`` and ``fingerprint`` as a checkpoint holds them.
        networks: in evaluation mode; those of other names are left out.
        direction: of the translation.
    """
    config = known["config"]
    return Translator(
        generator=networks[direction],
        back=networks.get("ct_to_mr" if direction == "mr_to_ct" else "mr_to_ct"),
        direction=direction,
        preprocess=PreprocessConfig(**config["preprocess"]),
        slice_axes=tuple(config["data"]["slice_axes"]),
        context=config["data"]["context_slices"],
        contrasts=tuple(config["data"]["contrasts"]),
        crop=tuple(config["data"]["crop"]),
        fingerprint=known["fingerprint"],
    )


def generator_of(network: NetworkConfig, channels: Mapping[str, int], direction: Direction) -> ResnetGenerator:
    """A fresh generator; ``channels`` are those of ``mr`` and ``ct``."""
    source, target = direction.split("_to_")
    architecture = (network.width, network.blocks, network.reduction, network.stem, network.upsampling)
    return ResnetGenerator(*architecture, channels[source], channels[target], network.dropout)


def _restored(state: State, direction: Direction) -> nn.Module:
    """The moving average of a generator."""
    data = state["config"]["data"]
    channels = slab_channels(data["context_slices"], data["contrasts"])
    with torch.device("meta"):  # takes no memory, whatever the settings say
        generator = generator_of(NetworkConfig(**state["config"]["network"]), channels, direction)
    generator.load_state_dict(averaged_weights(state, direction), assign=True)
    return generator.eval()


def members_of(
    translators: Sequence[Translator], planes: Sequence[SliceAxis] | None = None, *, mirror: bool = False
) -> list[Member]:
    """Every translation to be fused; without ``planes`` in all planes that each translator was trained on.

    A sagittal slice is never mirrored: that would swap front and back.
    """
    return [
        Member(translator, axis, mirrored, named=planes is not None)
        for translator in translators
        for axis in planes or translator.slice_axes
        for mirrored in ((False, True) if mirror and axis != "sagittal" else (False,))
    ]
