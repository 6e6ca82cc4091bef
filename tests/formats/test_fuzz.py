"""Headers with random changes: one line of refusal, or the grid that nibabel or SimpleITK reads too."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS
from cyclegan_gc.formats.volumes import read_volume

CHANGES = 60
ODD_BYTES = b"\0\xff\x80\x7f-0129%. \n=:/()eN"
NAMES = ("x.nii", "x.mha", "x.nrrd")


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    """An oblique picture in each format."""
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 900, (18, 20, 24)).astype(np.int16))
    image.SetSpacing((1.5, 0.9, 3.0))
    image.SetOrigin((-12.0, 34.5, 7.25))
    image.SetDirection([0.0, -0.8, 0.6, 1.0, 0.0, 0.0, 0.0, 0.6, 0.8])
    folder = tmp_path_factory.mktemp("originals")
    for name in NAMES:
        SimpleITK.WriteImage(image, str(folder / name), useCompression=False)
    return {name: (folder / name).read_bytes() for name in NAMES}


def changed(content: bytes, seed: int) -> bytes:
    """One to four changes of the header: a bit, a byte, a cut, a repetition."""
    random, header = np.random.default_rng(seed), bytearray(content[: len(content) - 24 * 20 * 18 * 2])
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(len(header)))
        length = int(random.integers(1, 12))
        match random.integers(4):
            case 0:
                header[at] ^= 1 << int(random.integers(8))
            case 1:
                header[at] = random.choice(list(ODD_BYTES))
            case 2:
                del header[at : at + length]
            case _:
                header[at:at] = header[at : at + length]
    return bytes(header) + content[-24 * 20 * 18 * 2 :]


def affine_elsewhere(path: Path) -> np.ndarray | None:
    """The affine according to another reader; None if it refuses the file."""
    try:
        if path.suffix == ".nii":
            return np.asarray(nib.Nifti1Image.from_filename(path).affine)
        image = SimpleITK.ReadImage(str(path))
    except Exception:
        return None
    n, affine = image.GetDimension(), np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(n, n)[:3, :3] * image.GetSpacing()[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return LPS_TO_RAS @ affine


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_header_is_refused_in_one_line_or_read_as_others_read_it(name, originals, tmp_path):
    refusals = []
    for seed in range(CHANGES):
        path = tmp_path / name
        path.write_bytes(changed(originals[name], seed))
        try:
            volume = read_volume(path, max_voxels=2**20)
        except VolumeError as error:
            refusals.append(str(error).removeprefix(f"{path}: "))
            continue
        elsewhere = affine_elsewhere(path)
        if elsewhere is not None and not volume.warnings:
            np.testing.assert_allclose(volume.affine, elsewhere, rtol=1e-5, atol=1e-4, err_msg=f"seed {seed}")
    assert 0 < len(refusals) < 0.95 * CHANGES
    assert not any("\n" in refusal or str(tmp_path) in refusal for refusal in refusals)
