import random
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom import header
from cyclegan_gc.formats.dicom.ct_image import SeriesLabel, is_synthetic_ct
from cyclegan_gc.formats.dicom.header import is_dicom, open_dicom
from cyclegan_gc.formats.dicom.read import read_series, series_grid
from cyclegan_gc.formats.dicom.write import write_ct_series
from cyclegan_gc.formats.sources import find_sources, read_files

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 24, 6)).astype(np.int16)
MANY = 10**9
DEFLATED = DeflatedExplicitVRLittleEndian
PIXEL_TAG = b"\xe0\x7f\x10\x00"


def replaced(files, tag: bytes, value: bytes):
    """Replace the value of a short explicit element in every file."""
    for path in files:
        content = path.read_bytes()
        start = content.index(tag)
        end = start + 8 + int.from_bytes(content[start + 6 : start + 8], "little")
        path.write_bytes(content[: start + 6] + len(value).to_bytes(2, "little") + value + content[end:])


def nested(content: bytes, depth: int) -> bytes:
    sequence, at = b"", content.index(b"\x28\x00\x10\x00US")
    for _ in range(depth):
        begin = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        sequence = begin + sequence + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return content[:at] + sequence + content[at:]


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (b"\x28\x00\x10\x00US", b"", "no Rows and Columns that can be read"),
        (b"\x28\x00\x10\x00US", b"\x14\0\x14\0", "no Rows and Columns that can be read"),
        (b"\x28\x00\x30\x00DS", b"a\\b ", "no pixel spacing that can be read"),
        (b"\x28\x00\x30\x00DS", b"1_5\\1_2 ", "no pixel spacing that can be read"),
        (b"\x28\x00\x04\x00CS", b"R\x1b[2J\nGB", r"in colour \(R\\x1b\[2J\\nGB\)"),
        (b"\x20\x00\x32\x00DS", b"1\\2 ", "no slice position or orientation that can be read"),
    ],
)
def test_a_tag_that_is_needed_and_unreadable_is_told_in_words(tag, value, message, slices_of, write_series, tmp_path):
    files = write_series(tmp_path, slices_of(PIXELS))
    replaced(files, tag, value)
    for read in (lambda: read_series(files, MANY), lambda: series_grid(files)):
        with pytest.raises(VolumeError, match=message):
            read()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (b"\x18\x00\x50\x00DS", b"3\\4 "),
        (b"\x18\x00\x50\x00DS", b"x "),
        (b"\x28\x00\x30\x00DS", b"1,5\\1,2 "),
        (b"\x18\x00\x81\x00DS", b"\xff\xfe"),
        (b"\x20\x00\x11\x00IS", b"1\\2 "),
    ],
)
def test_a_tag_that_can_be_spared_or_understood_changes_nothing(tag, value, slices_of, write_series, tmp_path):
    files = write_series(tmp_path / "mr", slices_of(PIXELS))
    before = read_series(files, MANY)
    replaced(files, tag, value)
    after = read_series(files, MANY)
    assert np.array_equal(after.array, before.array) and np.array_equal(after.affine, before.affine)
    assert [note[:14] for note in after.warnings] == ["Decimal commas"] * (b"," in value)
    hu = after.array.astype(np.int16)
    write_ct_series(tmp_path / "ct", hu, after.affine, files, SeriesLabel("ab", "", ""))
    assert {pydicom.dcmread(path).SliceThickness for path in (tmp_path / "ct").iterdir()} == {3}


def test_an_empty_tag_of_unknown_representation_is_spared_unless_the_synthetic_ct_needs_it(
    slices_of, write_series, tmp_path
):
    files = write_series(tmp_path / "mr", slices_of(PIXELS))
    before = read_series(files, MANY)
    for tag in (b"\x18\x00\x50\x00DS", b"\x10\x00\x10\x00PN"):
        replaced(files, tag, b"")
        for path in files:
            path.write_bytes(path.read_bytes().replace(tag, tag[:4] + b"ZZ"))
    after = read_series(find_sources(tmp_path / "mr")[0][0].readable_files(), MANY)
    assert np.array_equal(after.array, before.array) and np.array_equal(after.affine, before.affine)
    with pytest.raises(VolumeError, match="the PatientName of the source cannot be read"):
        write_ct_series(tmp_path / "ct", after.array.astype(np.int16), after.affine, files, SeriesLabel("ab", "", ""))


def test_images_that_the_header_does_not_name_are_told(slices_of, write_series, tmp_path):
    files = write_series(tmp_path / "mr", slices_of(PIXELS))
    dataset = pydicom.dcmread(files[3])
    dataset.PixelData *= 2
    dataset.save_as(files[3])
    [note] = read_series(files, MANY).warnings
    assert note == f"More images than the header names in 1 files, such as {files[3].name}, were left out."


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:100], lambda content: bytes(400)])
def test_a_slice_without_suffix_that_lost_its_beginning_is_the_fault_of_its_series(
    damage, slices_of, write_series, tmp_path
):
    for number, path in enumerate(write_series(tmp_path / "mr", slices_of(PIXELS))):
        path.rename(path.with_name(f"{number:03d}"))
    (tmp_path / "mr" / "VERSION").write_text("1.2")
    assert [case.fault for case in find_sources(tmp_path)[0]] == [None]
    last = tmp_path / "mr" / "005"
    last.write_bytes(damage(last.read_bytes()))
    [case], _ = find_sources(tmp_path)
    with pytest.raises(VolumeError, match="005 is not a readable DICOM file"):
        case.readable_files()


def test_no_word_of_the_library_reaches_the_terminal(slices_of, write_series, tmp_path):
    """In a process of its own, because pytest collects warnings."""
    files = write_series(tmp_path / "mr", slices_of(PIXELS))
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet, dataset.PixelData = "ISO_IR 101010", dataset.PixelData + bytes(100)
        dataset.save_as(path)
    code = (
        "import sys; from cyclegan_gc.formats.sources import find_sources, read_files; "
        "[case] = find_sources(sys.argv[1])[0]; print(read_files(case.files, 10**9).warnings)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "mr")]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("()\n", "")


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_a_file_without_preamble_and_suffix_is_read(implicit, big_endian, slices_of, write_series, tmp_path):
    expected = read_series(write_series(tmp_path / "whole", slices_of(PIXELS)), MANY)
    if implicit and big_endian:
        pytest.skip("DICOM has no such syntax")
    (tmp_path / "bare").mkdir()
    for number, dataset in enumerate(slices_of(PIXELS)):
        if big_endian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        del dataset.file_meta
        path = tmp_path / "bare" / f"I{number}"
        dataset.save_as(path, implicit_vr=implicit, little_endian=not big_endian, enforce_file_format=False)
    (tmp_path / "bare" / "README").write_text("DICOM of a phantom")
    [case], _ = find_sources(tmp_path / "bare")
    assert np.array_equal(read_files(case.files, MANY).array, expected.array) and len(case.files) == 6
    assert not is_dicom(tmp_path / "bare" / "README")


def test_sequences_nested_too_deeply_and_cut_meta_information_are_told(slices_of, write_series, tmp_path):
    [path] = write_series(tmp_path, slices_of(PIXELS[..., :1]))
    whole = path.read_bytes()
    for content in (nested(whole, 3000), whole[:140] + b"ab", bytes(128) + b"DICM\2\0\0\0UL\2\0ab"):
        path.write_bytes(content)
        with pytest.raises(VolumeError, match=r"(nested too deeply|cut off or damaged|no image in it)"):
            find_sources(tmp_path)[0][0].readable_files()


def test_a_deflated_file_is_read_unless_it_is_damaged_or_inflates_without_end(
    slices_of, write_series, tmp_path, monkeypatch
):
    [dataset] = slices_of(PIXELS[..., :1])
    [path] = write_series(tmp_path, [dataset])
    expected = read_series([path], MANY)
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    dataset.save_as(path, enforce_file_format=True)
    assert np.array_equal(read_series([path], MANY).array, expected.array)
    monkeypatch.setattr(header, "MAX_INFLATED", 500)
    with pytest.raises(VolumeError, match="inflates to more than"):
        open_dicom(path)
    path.write_bytes(path.read_bytes()[:-200] + b"\xff" * 200)
    monkeypatch.undo()
    with pytest.raises(VolumeError, match="deflated data are damaged"):
        open_dicom(path)


def mutated(content: bytes, dice: random.Random) -> bytes:
    """A few bytes of the header changed, removed, inserted or copied, or the file cut."""
    at, count, changed = dice.randrange(content.index(PIXEL_TAG)), dice.randint(1, 8), bytearray(content)
    match dice.randrange(5):
        case 0:
            changed[at] = dice.randrange(256)
        case 1:
            del changed[dice.randrange(len(changed)) :]
        case 2:
            changed[at:at] = dice.randbytes(count)
        case 3:
            del changed[at : at + count]
        case _:
            start = dice.randrange(at + 1)
            changed[at : at + count] = changed[start : start + count]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_header_holds_it_is_at_most_the_fault_of_its_case(seed, slices_of, write_series, enhanced, tmp_path):
    dice = random.Random(seed)
    datasets = [enhanced(slices_of(PIXELS))] if seed % 3 == 0 else slices_of(PIXELS)
    files = write_series(tmp_path, datasets)
    for path in files if seed % 2 else [dice.choice(files)]:
        path.write_bytes(mutated(path.read_bytes(), dice))
    cases, _ = find_sources(tmp_path)
    assert cases
    for case in cases:
        is_synthetic_ct(case.files[0])
        told = [refusal(series_grid, case.files, case.frames), case.fault or ""]
        told.append(refusal(read_files, case.files, 10**7, case.frames))
        assert not any("argument" in each or "\n" in each for each in told)


def refusal(read, *arguments) -> str:
    try:
        read(*arguments)
    except VolumeError as error:
        return str(error)
    return ""
