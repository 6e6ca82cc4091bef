"""The slices of a series: one frame for each single image and for each frame of a multi-frame object."""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.geometry import Contrast, Frame
from cyclegan_gc.formats.dicom.header import items_of, number_of, numbers_of, open_dicom, text_of, value_of, whole_of

FRAME_GROUPS = (
    *("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "PixelValueTransformationSequence"),
    *("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "MREchoSequence", "FrameContentSequence"),
)
NUMBERS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept"),
)
"""Tags with the geometry and the values of a slice."""
MOSAIC_COUNT = (0x0019, 0x100A)
"""Siemens: number of slices that are tiles of one image."""


def read_headers(files: Sequence[Path]) -> list[Dataset]:
    """Headers of a series, without pixels; a :class:`VolumeError` unless they are greyscale images of one series."""
    headers: list[Dataset] = [open_dicom(path) for path in files]
    for path, header in zip(files, headers, strict=True):
        _check_picture(header, path.name)
    series = {text_of(header, "SeriesInstanceUID") for header in headers}
    if len(series) > 1:
        raise VolumeError(f"{len(series)} series in one input; convert one at a time (--series UID)")
    if len({(text_of(header, "StudyInstanceUID"), text_of(header, "PatientID")) for header in headers}) > 1:
        raise VolumeError("slices of several patients or studies in one series; split the series")
    if len({text_of(header, "PhotometricInterpretation") for header in headers}) > 1:
        raise VolumeError("MONOCHROME1 and MONOCHROME2 are mixed; export the series again with one of them")
    return headers


def frames_of(headers: Sequence[Dataset], files: Sequence[Path]) -> list[Frame]:
    """The slices of a series with their geometry, in the order of the files and of the frames in each."""
    return [frame for header, path in zip(headers, files, strict=True) for frame in _frames_in(header, path)]


def _check_picture(header: Dataset, name: str) -> None:
    if "Rows" not in header or "Columns" not in header:
        raise VolumeError(f"{name} holds no image, or is cut off; remove it from the series or fetch it again")
    colours = text_of(header, "PhotometricInterpretation")
    if (whole_of(header, "SamplesPerPixel") or 1) > 1 or not colours.startswith("MONOCHROME"):
        raise VolumeError(f"{name} is in colour ({colours or 'several samples per pixel'}); give greyscale images")
    if "MOSAIC" in text_of(header, "ImageType").upper().split("\\") or MOSAIC_COUNT in header:
        raise VolumeError(f"{name} is a mosaic (all slices as tiles of one image); export it as single slices")


def _frames_in(header: Dataset, path: Path) -> list[Frame]:
    count = 1 if value_of(header, "NumberOfFrames") in (None, "") else whole_of(header, "NumberOfFrames")
    groups = items_of(header, "PerFrameFunctionalGroupsSequence")
    if count == 1 and not groups:
        return [_frame(header, header, path)]
    if len(groups) != count:
        raise VolumeError(f"{path.name} is multi-frame without the geometry of each frame; export it as single slices")
    shared = items_of(header, "SharedFunctionalGroupsSequence")[:1]
    flat = [_flattened([*shared, group]) for group in groups]
    if count == 1:
        return [_frame(header, flat[0], path)]
    return [_frame(header, each, path, number) for number, each in enumerate(flat, start=1)]


def _flattened(groups: Sequence[Dataset]) -> Dataset:
    """The functional groups of one frame as the tags of a single slice; later groups override earlier ones."""
    flat = Dataset()
    for group in groups:
        for name in FRAME_GROUPS:
            for item in items_of(group, name)[:1]:
                flat.update(item)
    return flat


def _frame(header: Dataset, tags: Dataset, path: Path, number: int | None = None) -> Frame:
    """One slice; ``tags`` holds its own geometry, rescaling and contrast."""
    rows, columns = whole_of(header, "Rows") or 0, whole_of(header, "Columns") or 0
    if min(rows, columns) < 1:
        raise VolumeError(f"{path.name} has no Rows and Columns that can be read; fetch it again")
    echo_ms = number_of(tags, "EffectiveEchoTime") or number_of(tags, "EchoTime")
    return Frame(
        path=path,
        name=path.name if number is None else f"frame {number} of {path.name}",
        sop_class=text_of(header, "SOPClassUID"),
        sop_instance=text_of(header, "SOPInstanceUID"),
        number=number,
        rows=rows,
        columns=columns,
        position=numbers_of(tags, "ImagePositionPatient", 3),
        orientation=numbers_of(tags, "ImageOrientationPatient", 6),
        pixel_spacing=numbers_of(tags, "PixelSpacing", 2),
        thickness=_positive(tags, "SpacingBetweenSlices") or _positive(tags, "SliceThickness"),
        rescale=(_factor(tags, "RescaleSlope", 1.0, path), _factor(tags, "RescaleIntercept", 0.0, path)),
        contrast=Contrast(
            text_of(tags, "FrameType") or text_of(header, "ImageType"),
            f"{echo_ms:g}" if echo_ms else "",
            text_of(tags, "StackID"),
        ),
        decimal_commas=any("," in text_of(tags, name) for name in NUMBERS),
    )


def _positive(tags: Dataset, name: str) -> float | None:
    number = number_of(tags, name)
    return number if number is not None and number > 0 else None


def _factor(tags: Dataset, name: str, missing: float, path: Path) -> float:
    """A number that changes every value, so that it must be readable where it is given."""
    number = number_of(tags, name)
    if number is None and text_of(tags, name):
        raise VolumeError(f"{path.name} has a {name} that is not a number; export the series again")
    return missing if number is None else number
