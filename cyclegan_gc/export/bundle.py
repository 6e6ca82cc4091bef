"""A MONAI bundle: a folder that `python -m monai.bundle run` converts NIfTI volumes with."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.errors import UserError, one_line, plain
from cyclegan_gc.export.slices import facts_of
from cyclegan_gc.trained_model import TrainedModel, save_model

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
INFERENCE = {
    "imports": ["$import glob", "$import numpy as np", "$from cyclegan_gc.export.bundle import convert_files"],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/input'",
    "output_dir": "$@bundle_root + '/eval'",
    "device": "auto",
    "files": "$sorted(glob.glob(glob.escape(@dataset_dir) + '/*.nii*'))",
    "model": {
        "_target_": "cyclegan_gc.load_model",
        "path": "$@bundle_root + '/models/model.safetensors'",
        "device": "@device",
    },
    "network_def": "$@model.members[0].translator.generator",
    "load": {"_target_": "LoadImage", "reader": "NibabelReader", "image_only": True, "ensure_channel_first": True},
    "save": {
        "_target_": "SaveImage",
        "output_dir": "@output_dir",
        "output_postfix": "sct",
        "output_dtype": "$np.int16",
        "resample": False,
        "separate_folder": False,
    },
    "run": ["$convert_files(@files, @model.convert, @load, @save)"],
}
"""configs/inference.json: MONAI reads and writes, our package converts, so the HU are those of the command."""

METHODS = {
    "unpaired": "CycleGAN with gradient consistency (Hiasa et al. 2018), trained without pairs or with a few",
    "paired": "conditional GAN (Isola et al. 2017) with gradient consistency, trained on registered pairs",
}
REFERENCES = {
    "unpaired": ["Hiasa et al. 2018, arXiv:1803.06629"],
    "paired": ["Isola et al. 2017, arXiv:1611.07004", "Hiasa et al. 2018, arXiv:1803.06629"],
}


def write_bundle(checkpoint: Path, model: TrainedModel, folder: Path) -> list[str]:
    """Write a bundle of the MR to CT direction; returns lines for the user.

    Raises:
        UserError: for a model of several MR contrasts, whose files no bundle could tell apart.
    """
    if model.translator.contrasts:
        raise UserError(f"{checkpoint}: --format bundle is for models of one MR contrast; take --format weights")
    known = save_model(checkpoint, folder / "models" / "model.safetensors")
    texts = {
        "configs/metadata.json": json.dumps(metadata_of(model, known), indent=4) + "\n",
        "configs/inference.json": json.dumps(INFERENCE, indent=4) + "\n",
        "docs/README.md": card_of(model, known),
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, text)
    return [f"{folder}: a MONAI bundle; docs/README.md has the command. Add the authors and the licence of the model."]


def convert_files(
    files: Sequence[str], convert: Callable[[Any], Any], load: Callable[[str], Any], save: Callable[[Any], Any]
) -> None:
    """Convert each file and print its verdict; the run of a bundle. Exit code 3 if some could not be converted."""
    if not files:
        raise UserError("no .nii or .nii.gz file in --dataset_dir; give a folder that holds some")
    failures = 0
    for file in files:
        try:
            result = convert(load(file))
        except Exception as error:  # MONAI raises many kinds on a damaged file; the other files continue
            cause = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            print(one_line(f"failed: {file}: {cause}"))
            failures += 1
            continue
        save(result.image)
        print(plain(f"{result.verdict}: {file} {'; '.join(result.quality.reasons)}"))
    if failures:
        raise SystemExit(3)


def metadata_of(model: TrainedModel, known: dict[str, Any]) -> dict[str, Any]:
    """configs/metadata.json, after the schema that it names."""
    channels = model.translator.in_channels
    image = {
        "type": "image",
        "format": "magnitude",
        "num_channels": channels,
        "spatial_shape": ["16*n", "16*n"],
        "dtype": "float32",
        "value_range": [-1, 1],
        "is_patch_data": False,
    }
    slices, results = ({str(number): f"{name} slice" for number in range(channels)} for name in ("MR", "CT"))
    return {
        "schema": SCHEMA,
        "version": _release(__version__),
        "changelog": {_release(__version__): f"step {model.step} of a training"},
        "monai_version": _release(monai.__version__),
        "pytorch_version": _release(torch.__version__),
        "numpy_version": _release(np.__version__),
        "required_packages_version": {"cyclegan-gc": _release(__version__)},
        "name": "Synthetic CT from MR",
        "task": "Synthetic CT from MR: a CT in HU on the grid of an MR volume",
        "description": METHODS[known["config"]["objective"]],
        "authors": "not stated; name the people who trained the model",
        "copyright": "not stated; name the owner of the model",
        "intended_use": DISCLAIMER,
        "references": REFERENCES[known["config"]["objective"]],
        "image_classes": "MR, percentiles inside the body mapped to -1 and 1",
        "pred_classes": "CT, the window in HU mapped to -1 and 1",
        "network_data_format": {
            "inputs": {"image": {**image, "modality": "MR", "channel_def": slices}},
            "outputs": {"pred": {**image, "format": "hounsfield", "modality": "CT", "channel_def": results}},
        },
        "preprocessing": facts_of(model),
    }  # fmt: skip


def card_of(model: TrainedModel, known: dict[str, Any]) -> str:
    """docs/README.md, the model card."""
    config, figures = known["config"], known["fingerprint"]
    spacings = np.array([case["spacing_mm"] for case in figures["mr"]])
    low, high = config["preprocess"]["ct_window_hu"]
    return f"""# Synthetic CT from MR

{DISCLAIMER} A conversion that passes all checks can still have wrong HU.

| | |
|---|---|
| method | {METHODS[config["objective"]]} |
| training | step {model.step} of {config["steps"]}; {len(figures["mr"])} MR and {len(figures["ct"])} CT volumes |
| voxels of the MR | {spacings.min():.3g} to {spacings.max():.3g} mm |
| planes | {", ".join(config["data"]["slice_axes"])} |
| CT window | {low:g} to {high:g} HU; metal and dense teeth beyond it are lost |
| hash of the weights | `{known["weights_sha256"]}` |

## Use

```bash
pip install cyclegan_gc-*.whl fire
python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir MR --output_dir SCT
```

The wheel is that of cyclegan-gc {_release(__version__)}, from the people who share the model. MR is a folder of NIfTI
volumes of one person each, of the contrast and the part of the body of the training. Each gives `NAME_sct.nii.gz` in
HU on its own grid, and a line with the verdict: pass, warn or implausible. Do not use an implausible result before you
know the reason. `cyclegan-gc convert MR SCT --checkpoint models/model.safetensors` gives the same HU with a page of
pictures, and takes DICOM too.

## Limits

The model was not tested on other scanners, contrasts, ages or parts of the body than those of its training. Authors,
training data, results and licence are to be added by the people who share it.
"""


def _release(version: str) -> str:
    """A version without the part that names a build."""
    return version.partition("+")[0]
