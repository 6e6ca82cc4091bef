"""Small real volumes, made in the test run: phantoms on disk and, beside a checkout, the public heads; a reader of
offline runs of W&B."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.dataset
import pydicom.uid
import pytest
from wandb.proto import wandb_internal_pb2

from cyclegan_gc.config import (
    DataConfig,
    NetworkConfig,
    OptimizerConfig,
    PreprocessConfig,
    TrainConfig,
    WandbConfig,
)
from cyclegan_gc.data.cases import Cases, find_files, load_cases
from cyclegan_gc.phantom.subject import write_phantoms

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two MR and two CT training heads and one held-out pair."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, subjects=2, test_subjects=1, seed=7)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared volumes that all runs share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_config(phantoms: Path, cache: Path) -> TrainConfig:
    """The same as a configuration, without a folder of its own yet."""
    return TrainConfig(
        output=Path("nowhere"),
        data=DataConfig(str(phantoms / "mr"), str(phantoms / "ct"), crop=(32, 24), cache=cache),
        steps=20,
        log_every=1,
        validate_every=10,
        save_every=5,
        device="cpu",
        preprocess=PreprocessConfig(spacing_mm=6.0),
        network=NetworkConfig(width=4, blocks=1, discriminator_width=4, discriminator_layers=1),
        optimizer=OptimizerConfig(batch_size=2, learning_rate=1e-3, pool_size=4, ema_decay=0.9),
        wandb=WandbConfig(mode="disabled"),
    )


@pytest.fixture(scope="session")
def cases_of() -> Callable[[TrainConfig], Cases]:
    """The prepared cases of a training."""
    return lambda config: load_cases(find_files(config.data), config.data, config.preprocess, config.cache)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Public MR and CT volumes that lie beside the checkout, never inside it."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"public volumes are not at {REAL_DATA}")
    return REAL_DATA


DIRECTIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.9659258263, 0.2588190451, 0, -0.2241438680, 0.8365163037, 0.5),
}


def dicom_slices(pixels: np.ndarray, plane: str = "axial", spacing_mm: tuple[float, float, float] = (1.5, 1.2, 3.0)):
    """MR slices of (rows, columns, slices) int16; spacing is between rows, columns and slices; the file order is not
    the order in space."""
    directions = DIRECTIONS[plane]
    normal = np.cross(directions[:3], directions[3:])
    for number, z in enumerate(np.random.default_rng(0).permutation(pixels.shape[2]), start=1):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.MRImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.UID(
            f"1.2.826.0.1.99.{number}"
        )
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.1", "1.2.826.0.1.2"
        dataset.FrameOfReferenceUID, dataset.PatientPosition = "1.2.826.0.1.3", "HFS"
        dataset.PatientName, dataset.PatientID = "Phantom^Head", "P1"
        dataset.StudyDate, dataset.StudyTime = "20200102", "101112"
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "MR", 4, number
        dataset.ImageType, dataset.EchoTime, dataset.ImageComments = ["ORIGINAL", "PRIMARY", "M"], 4.6, "a remark"
        dataset.add_new((0x0019, 0x0010), "LO", "A MAKER")
        dataset.add_new((0x0019, 0x1001), "LO", "private")
        dataset.ImageOrientationPatient = [round(float(x), 10) for x in directions]
        dataset.ImagePositionPatient = [round(float(x), 8) for x in (-30.0, -20.0, 10.0) + normal * z * spacing_mm[2]]
        dataset.PixelSpacing, dataset.SliceThickness = list(spacing_mm[:2]), spacing_mm[2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.PixelData = np.ascontiguousarray(pixels[..., z], "<i2").tobytes()
        yield dataset


def write_dicom(folder: Path, datasets) -> list[Path]:
    """The files of a series, named by their instance number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        paths.append(folder / f"IM{int(dataset.InstanceNumber):04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced_object(slices) -> pydicom.Dataset:
    """The same slices as one multi-frame object, its geometry frame by frame."""
    slices = list(slices)
    dataset = slices[0]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedMRImageStorage
    groups = []
    for each in slices:
        group, place, turn, measures = (pydicom.Dataset() for _ in range(4))
        place.ImagePositionPatient = each.ImagePositionPatient
        turn.ImageOrientationPatient = each.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = each.PixelSpacing, each.SliceThickness
        group.PlanePositionSequence, group.PlaneOrientationSequence = [place], [turn]
        group.PixelMeasuresSequence = [measures]
        groups.append(group)
    dataset.PixelData = b"".join(each.PixelData for each in slices)
    dataset.NumberOfFrames, dataset.PerFrameFunctionalGroupsSequence = len(slices), groups
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, name)
    return dataset


@pytest.fixture(scope="session")
def enhanced():
    """The maker of a multi-frame object."""
    return enhanced_object


@pytest.fixture(scope="session")
def slices_of():
    """The maker of DICOM slices."""
    return dicom_slices


@pytest.fixture(scope="session")
def write_series():
    """The writer of DICOM files."""
    return write_dicom


# Its names are made at run time, out of a type checker's sight.
RECORD = getattr(wandb_internal_pb2, "Record")  # noqa: B009
BLOCK, HEADER = 32768, 7


class OfflineRun:
    """A segment of an offline run, read back from its file: a LevelDB log behind a 7-byte file header."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        [file] = folder.glob("*.wandb")
        self.records = list(records_in(file.read_bytes()))

    def of(self, kind: str) -> list[Any]:
        """Records of one kind."""
        return [getattr(record, kind) for record in self.records if record.HasField(kind)]

    @property
    def history(self) -> list[dict[str, Any]]:
        """Logged values, one dict a line."""
        return [{name_of(item): json.loads(item.value_json) for item in line.item} for line in self.of("history")]

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the run."""
        return {item.key: json.loads(item.value_json) for run in self.of("run") for item in run.config.update}

    @property
    def summary(self) -> dict[str, Any]:
        """Summary of the whole run."""
        return {name_of(item): json.loads(item.value_json) for each in self.of("summary") for item in each.update}

    @property
    def exit_codes(self) -> list[int]:
        """One for a run that was closed, none for one that was killed."""
        return [each.exit_code for each in self.of("exit")]


def name_of(item: Any) -> str:
    """Name of a logged value; dotted names come apart."""
    return item.key or "/".join(item.nested_key)


def records_in(data: bytes):
    """Every whole record of a log."""
    at, parts = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if at > len(data):
            return
        if kind in (1, 4):
            record = RECORD()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_offline_runs(folder: Path) -> list[OfflineRun]:
    """The offline segments of a run folder, oldest first."""
    return [OfflineRun(segment) for segment in sorted((folder / "wandb").glob("offline-run-*"))]


@pytest.fixture(scope="session")
def offline_runs():
    """The reader of offline runs."""
    return read_offline_runs


def files_with_pictures(folder: Path) -> list[Path]:
    """Files below FOLDER/wandb that are pictures, contain the bytes of one, or name one."""
    marks = (b"\x89PNG", b"\xff\xd8\xff\xe0", b"media/images", b"image-file", b"images/separated")
    files = [file for file in (folder / "wandb").rglob("*") if file.is_file()]
    return [file for file in files if any(mark in file.read_bytes() for mark in marks) or "images" in file.parts]


@pytest.fixture(scope="session")
def wandb_pictures():
    """The search for pictures in what W&B keeps in a run folder."""
    return files_with_pictures
