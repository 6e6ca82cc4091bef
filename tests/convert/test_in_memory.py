import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.array import LoadImage
from torch import nn

import cyclegan_gc
from cyclegan_gc import Model, convert_volume, load_model
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.volumes import read_volume

HELD = "nibabel", "MONAI", "MONAI with a channel", "SimpleITK", "array"


@pytest.fixture(scope="session")
def model(checkpoint) -> Model:
    return load_model(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def on_disk(checkpoint, source, tmp_path_factory):
    """What the file of the source becomes: outcome and HU."""
    case = convert_volume(checkpoint, source, tmp_path_factory.mktemp("out") / "a_sct.nii.gz", device="cpu")
    return case, read_volume(case.result).array


def held(source: Path, library: str) -> tuple[Any, Any]:
    """The source as a user of a library holds it, and the affine where the image has none."""
    if library == "nibabel":
        return nib.Nifti1Image.from_filename(source), None
    if library == "SimpleITK":
        return SimpleITK.ReadImage(str(source)), None
    if library == "array":
        image = nib.Nifti1Image.from_filename(source)
        return np.asarray(image.dataobj), image.affine
    return LoadImage(reader="NibabelReader", image_only=True, ensure_channel_first="channel" in library)(source), None


def values_of(image: Any) -> np.ndarray:
    """(X, Y, Z) of an image of any kind."""
    if isinstance(image, SimpleITK.Image):
        return SimpleITK.GetArrayFromImage(image).T
    return np.asarray(image.dataobj if isinstance(image, nib.Nifti1Image) else image).squeeze()


@pytest.mark.parametrize("library", HELD)
def test_an_image_of_each_library_gives_the_hu_of_its_file_as_that_kind(model, source, on_disk, library):
    image, affine = held(source, library)
    before = values_of(image).copy()
    result = model.convert(image, affine)
    case, hu = on_disk
    assert type(result.image) is type(image) and np.abs(values_of(result.image) - hu).max() <= 1
    assert np.array_equal(values_of(image), before)
    assert result.verdict == case.quality.verdict and result.quality.reasons == case.quality.reasons
    assert result.warnings == case.warnings and type(result.uncertainty) is type(image)


def test_a_result_keeps_the_place_of_its_image_and_nothing_else(model, source):
    image, _ = held(source, "nibabel")
    image.header["descrip"] = b"Doe^Jane"
    sct = model.convert(image).image
    assert np.array_equal(sct.affine, image.affine) and sct.header["sform_code"] == image.header["sform_code"]
    assert b"Doe" not in sct.to_bytes() and sct.get_data_dtype() == np.int16
    itk, _ = held(source, "SimpleITK")
    sct = model.convert(itk).image
    assert sct.GetOrigin() == itk.GetOrigin() and sct.GetDirection() == itk.GetDirection()
    tensor, _ = held(source, "MONAI with a channel")
    sct = model.convert(tensor).image
    assert sct.shape == tensor.shape and torch.equal(sct.affine, tensor.affine)


def test_several_planes_give_an_uncertainty_of_the_same_kind(checkpoint, source, tmp_path):
    fused = load_model(checkpoint, planes=("axial", "coronal"), device="cpu")
    image, _ = held(source, "nibabel")
    spread = fused.convert(image).uncertainty
    result = tmp_path / "a_sct.nii.gz"
    convert_volume(checkpoint, source, result, planes=("axial", "coronal"), uncertainty=True, device="cpu")
    written = read_volume(tmp_path / "a_sct_uncertainty.nii.gz").array
    assert isinstance(spread, nib.Nifti1Image) and np.array_equal(values_of(spread), written)


class Brighter(nn.Module):
    """A network of one's own: bright MR becomes dense CT."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.layer.load_state_dict({"weight": torch.full((1, 1, 1, 1), 0.5), "bias": torch.zeros(1)})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image)


def test_a_generator_of_ones_own_converts_and_is_judged(model, source):
    result = model.with_generator(Brighter()).convert(held(source, "nibabel")[0])
    hu, (low, high) = values_of(result.image), model.members[0].translator.preprocess.ct_window_hu
    inside = hu[result.body]
    assert (hu[~result.body] == -1000).all()
    assert low + (high - low) / 4 < np.median(inside) < inside.max() <= low + (high - low) * 3 / 4
    assert result.verdict != "pass" and result.quality and "cycle_error" not in result.quality.figures
    assert model.members[0].translator.back is not None


def test_a_ct_becomes_a_synthetic_mr_without_a_verdict(checkpoint, phantoms):
    back = load_model(checkpoint, direction="ct_to_mr", device="cpu")
    result = back.convert(nib.Nifti1Image.from_filename(next((phantoms / "test" / "ct").iterdir())))
    assert result.verdict is None and 0 == values_of(result.image).min() < values_of(result.image).max() <= 1000


REFUSED = {
    "no position": (np.ones((32, 32, 32)), None, "give affine="),
    "two positions": (MetaTensor(torch.rand(32, 32, 32)), np.eye(4), "leave out affine="),
    "a picture": (np.ones((32, 32)), np.eye(4), "a 2-D image"),
    "several times": (SimpleITK.Image([32, 32, 32, 2], SimpleITK.sitkInt16), None, "give 3-D"),
    "complex": (np.ones((32, 32, 32), complex), np.eye(4), "one real number"),
    "a flat affine": (np.ones((32, 32, 32)), np.zeros((4, 4)), "singular"),
    "another affine": (np.ones((32, 32, 32)), np.eye(3), r"\(4, 4\)"),
    "a name": ("mr.nii.gz", None, "a str is no image"),
    "one value": (np.ones((32, 32, 32)), np.eye(4), "no signal"),
    "HU": (np.linspace(-1000, 2000, 32**3).reshape(32, 32, 32), np.eye(4), "look like CT"),
    "nothing": ([], None, "give one of each"),
    "two contrasts": ([np.random.default_rng(0).random((32, 32, 32))] * 2, np.eye(4), "give one of each"),
}


@pytest.mark.parametrize(("image", "affine", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_of_a_head_is_refused_in_one_line(model, image, affine, said):
    with pytest.raises(VolumeError, match=said) as caught:
        model.convert(image, affine)
    assert "\n" not in str(caught.value)


WRONG = {
    "fusion": "average",
    "batch_size": 0,
    "direction": "mr",
    "planes": "axial",
    "ensemble": "RUN",
    "device": 0,
}


@pytest.mark.parametrize(("name", "value"), [*WRONG.items(), ("planes", ()), ("planes", ("axial", "axial"))])
def test_an_argument_that_is_not_possible_is_refused_before_the_model_is_read(source, tmp_path, name, value):
    given: dict[str, Any] = {name: value}
    for call in (partial(load_model, "RUN"), partial(convert_volume, "RUN", source, tmp_path / "a_sct.nii.gz")):
        with pytest.raises(UserError, match=rf"^(--)?{name}\b") as caught:
            call(**given)
        assert "\n" not in str(caught.value)


def test_a_number_of_numpy_and_a_device_of_torch_are_taken(checkpoint):
    given: dict[str, Any] = {"batch_size": np.int64(3), "device": torch.device("cpu")}
    assert load_model(checkpoint, **given).batch_size == 3


def test_one_call_gives_the_files_of_the_command_and_its_outcome(checkpoint, source, on_disk):
    case, _ = on_disk
    files = {path.name for path in case.result.parent.iterdir()}
    assert case.outcome == "converted" and case.preview and case.view
    assert files == {"a_sct.nii.gz", "a_sct.json", "a_sct.png", "a_sct.html"}
    known = json.loads(case.result.with_name("a_sct.json").read_text())
    assert known["quality"]["verdict"] == case.quality.verdict


def test_one_call_reads_and_writes_a_dicom_series(checkpoint, source, slices_of, write_series, tmp_path):
    array = read_volume(source).array
    pixels = np.clip(array * 900 / array.max(), 0, 900).astype(np.int16).transpose(1, 0, 2)
    write_series(tmp_path / "T1", slices_of(pixels, "axial", (2.7, 2.7, 2.7)))
    case = convert_volume(checkpoint, tmp_path / "T1", tmp_path / "sct", device="cpu")
    written = [pydicom.dcmread(path) for path in sorted(case.result.iterdir())]
    assert len(written) == pixels.shape[2] and {each.Modality for each in written} == {"CT"}


def test_one_call_never_overwrites_its_source(checkpoint, source, tmp_path):
    (tmp_path / "mr.nii.gz").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="overwritten by its own result"):
        convert_volume(checkpoint, tmp_path / "mr.nii.gz", tmp_path / "mr.nii.gz", device="cpu")
    assert (tmp_path / "mr.nii.gz").read_bytes() == source.read_bytes()
    with pytest.raises(UserError, match="name must end in"):
        convert_volume(checkpoint, source, tmp_path / "sct.png", device="cpu")


def test_the_public_names_are_shown_and_typed_and_light():
    assert {"Model", "convert_volume", "load_model", "gradient_correlation"} <= set(dir(cyclegan_gc))
    assert all(callable(getattr(cyclegan_gc, name)) for name in cyclegan_gc.__all__)
    program = "import sys, cyclegan_gc; dir(cyclegan_gc); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "torch" not in run.stdout.split()
