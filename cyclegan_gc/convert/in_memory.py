"""Images in memory to synthetic CT, for Python: the model is loaded once, and the result is of the image's kind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from cyclegan_gc.config import Direction, Fusion, SliceAxis
from cyclegan_gc.config.fitting import check_arguments
from cyclegan_gc.config.values import PositiveInt, check_planes
from cyclegan_gc.convert.case import remarks_on
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.images import Kind, image_like, volume_of
from cyclegan_gc.inference import prepare_for, translate_cases
from cyclegan_gc.judgement.verdict import Quality, Verdict, judge_translation
from cyclegan_gc.model_files import checkpoint_in
from cyclegan_gc.trained_model import Member, load_models, members_of


@dataclass(frozen=True)
class ConvertedImage(Generic[Kind]):
    """A synthetic CT and what is known of it."""

    image: Kind
    """HU, int16, rounded, -1000 outside the body; of the kind and on the grid of the source (for ``ct_to_mr`` 0 to
    1000)."""
    uncertainty: Kind | None
    """Standard deviation over the fused translations, in the same unit; None for a single one."""
    body: NDArray[np.bool_]
    """(X, Y, Z): the body in the source."""
    quality: Quality | None
    """Verdict, reasons and figures; None for a synthetic MR."""
    warnings: tuple[str, ...]
    """Remarks on the image and on how it was converted."""

    @property
    def verdict(self) -> Verdict | None:
        """pass, warn or implausible; a pass does not mean that the HU are right. None for a synthetic MR."""
        return self.quality.verdict if self.quality else None


@dataclass(frozen=True)
class Model:
    """A trained model, or several that are fused, ready to convert; :func:`load_model` makes one."""

    members: tuple[Member, ...]
    """Every translation that is made of an image and fused."""
    fusion: Fusion = "mean"
    batch_size: int = 8
    """Slices per pass through the network."""

    def with_generator(self, generator: nn.Module) -> "Model":
        """The same model with a network of your own in the place of its generator.

        Preparation, planes, return to HU and verdict stay those of the model; the cycle error is not judged.

        Args:
            generator: ``(N, C, h, w)`` float32 in [-1, 1], air -1, to ``(N, C', h, w)`` in [-1, 1], as
                :class:`cyclegan_gc.model.networks.ResnetGenerator`: C contrasts times slices of a slab, C' slices; h
                and w are multiples of 4, at least those of the training. On the device that it shall run on.
        """
        own = generator.eval()
        members = [
            member._replace(translator=replace(member.translator, generator=own, back=None)) for member in self.members
        ]
        return replace(self, members=tuple(members))

    def convert(
        self, image: "Kind | Sequence[Kind]", affine: ArrayLike | None = None, *, force: bool = False
    ) -> ConvertedImage[Kind]:
        """Convert one image: the same HU as ``cyclegan-gc convert`` gives for its file.

        Args:
            image: a nibabel image, a MONAI MetaTensor (X, Y, Z) or (C, X, Y, Z), a SimpleITK image, or an array
                (X, Y, Z), in any unit (a CT in HU). For a model of several MR contrasts a list of one of each, in the
                order of training, or a MetaTensor with them as channels.
            affine: (4, 4), voxel index to RAS in mm; for arrays only.
            force: convert even where the values look like the other modality.

        Raises:
            VolumeError: if the image cannot be used; one line.
        """
        translator = self.members[0].translator
        volume = volume_of(image, affine)  # pyright: ignore[reportArgumentType]
        first: Kind = image[0] if isinstance(image, (list, tuple)) else image  # pyright: ignore[reportAssignmentType]
        if len(volume.contrasts) != max(1, len(translator.source_contrasts)):
            wanted = ", ".join(translator.source_contrasts) or "one volume"
            raise VolumeError(f"the model expects {wanted}, got {len(volume.contrasts)} images; give one of each")
        remarks = remarks_on(volume, translator.direction, force=force)
        cases = prepare_for(self.members, volume)
        result = translate_cases(cases, self.members, batch_size=self.batch_size, fusion=self.fusion)
        return ConvertedImage(
            image=image_like(result.array, first),
            uncertainty=None if result.uncertainty is None else image_like(result.uncertainty, first),
            body=result.mask,
            quality=judge_translation(volume, cases[0], result, translator),
            warnings=(*remarks, *result.notes),
        )


def load_model(
    path: str | Path,
    *,
    ensemble: Sequence[str | Path] = (),
    direction: Direction = "mr_to_ct",
    planes: Sequence[SliceAxis] | None = None,
    mirror: bool = False,
    fusion: Fusion = "mean",
    batch_size: PositiveInt = 8,
    device: str | torch.device = "auto",
) -> Model:
    """Load a model once, to convert many images in memory with :meth:`Model.convert`.

    Args:
        path: run folder, checkpoint, exported weights (.safetensors) or the name of a model: head-t1.
        ensemble: more models to fuse with.
        direction: which generator to use.
        planes: planes to translate in and fuse; None for all that the model was trained on. Several
            give an uncertainty.
        mirror: also translate the mirrored slices and fuse.
        fusion: mean or median of several translations.
        batch_size: slices per pass through the network.
        device: auto, cpu, cuda, cuda:N, mps or a torch.device.

    Raises:
        UserError: if an argument or a model cannot be used; one line.
    """
    check_arguments(load_model, locals())
    if planes is not None:
        check_planes("planes", planes)
    paths = [checkpoint_in(Path(each)) for each in (path, *ensemble)]
    models = load_models(paths, direction, planes, choose_device(str(device)))
    members = members_of([model.translator for model in models], planes, mirror=mirror)
    return Model(tuple(members), fusion, batch_size)
