"""Each export is opened by the other side's own tool."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms.io.array import LoadImage
from torch import Tensor, nn

import cyclegan_gc
from cyclegan_gc import convert_volume
from cyclegan_gc.cli import main
from cyclegan_gc.errors import StoppedError
from cyclegan_gc.export import slices
from cyclegan_gc.export.bundle import convert_files, metadata_of
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.inference import translate_volume
from cyclegan_gc.trained_model import load_model, members_of

TENSOR = {
    "type": "object",
    "properties": {"num_channels": {"type": "integer"}, "value_range": {"items": {"type": "number"}}},
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "changelog": {"type": "object"},
        "required_packages_version": {"type": "object"},
        "network_data_format": {
            "properties": {side: {"patternProperties": {".": TENSOR}} for side in ("inputs", "outputs")},
            "required": ["inputs", "outputs"],
        },
        **{name: {"type": "string"} for name in ("schema", "version", "task", "authors", "copyright", "intended_use")},
    },
    "required": [
        *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
        *("task", "description", "authors", "copyright", "network_data_format"),
    ],
}
"""What MONAI's schema of 2024-07-25 asks for; MONAI itself fetches it from the network."""


class Engine(nn.Module):
    """An exported network in the place of the trained one."""

    def __init__(self, run) -> None:
        super().__init__()
        self.run = run

    def forward(self, image: Tensor) -> Tensor:
        return self.run(image)


@pytest.fixture(scope="session")
def hu(run, source, tmp_path_factory) -> np.ndarray:
    """What convert makes of the source."""
    result = convert_volume(run, source, tmp_path_factory.mktemp("hu") / "a_sct.nii.gz", device="cpu").result
    return read_volume(result).array


def exported(run: Path, name: str, folder: Path) -> None:
    assert main(["export", str(run), "--format", name, "--output", str(folder)]) == 0


def difference_through(engine, run: Path, source: Path, hu: np.ndarray) -> float:
    """Largest difference in HU of a volume through an engine and through convert."""
    translator = replace(load_model(run / "last.pt").translator, generator=Engine(engine))
    return float(np.abs(translate_volume(members_of([translator]), read_volume(source)).array - hu).max())


def test_onnx_runtime_gives_the_hu_of_convert_for_slices_of_any_size(run, source, hu, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [export]")
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    exported(run, "onnx", tmp_path)
    assert "largest difference to the trained network: " in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    known = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert (
        known["ct_hu"] == [-1000, 1500]
        and known["ct_values"] == [-1, 1]
        and known["spacing_mm"] == 6
        and len(known["mr_percentiles"]) == 2
    )

    def engine(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"mr": image.numpy()})[0])

    assert difference_through(engine, run, source, hu) <= 1
    for shape in ((1, 1, 17, 90), (5, 1, 33, 30)):
        assert session.run(None, {"mr": np.zeros(shape, np.float32)})[0].shape == shape


def test_monai_reads_the_torchscript_and_it_gives_the_hu_of_convert(run, source, hu, tmp_path):
    from monai.data.torchscript_utils import load_net_with_metadata

    exported(run, "torchscript", tmp_path)
    network, known, _ = load_net_with_metadata(str(tmp_path / "model.ts"))
    assert list(known["ct_hu"]) == [-1000, 1500]
    assert difference_through(network, run, source, hu) <= 1
    assert network(torch.zeros(2, 1, 17, 91)).shape == (2, 1, 17, 91)


def test_a_network_that_gives_other_values_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "MOST_DIFFERENT_HU", -1.0)
    with pytest.raises(StoppedError, match="not written"):
        slices.write_torchscript(load_model(run / "last.pt"), tmp_path / "model.ts")
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_no_number_in_one_size_is_not_passed_over(run):
    translator = load_model(run / "last.pt").translator
    sizes = iter((0.0, float("nan"), 0.0))
    difference = slices.largest_difference_hu(lambda image: 0 * image + next(sizes), translator)
    assert difference != difference


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_a_network_names_no_folder_of_the_installation(run, tmp_path, name):
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    exported(run, name, tmp_path)
    [file] = tmp_path.iterdir()
    content = file.read_bytes()
    if name == "torchscript":
        with zipfile.ZipFile(file) as archive:
            content = b"".join(map(archive.read, archive.namelist()))
    assert not any(str(Path(module.__file__ or "").parents[1]).encode() in content for module in (slices, torch))


def monai(words: list[str], folder: Path) -> str:
    """Output of MONAI's own program."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "monai.bundle", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_monai_runs_the_bundle_and_it_gives_the_hu_of_convert(run, source, hu, tmp_path):
    pytest.importorskip("fire", reason="monai.bundle needs the extra [export]")
    exported(run, "bundle", tmp_path)
    bundle, folder = tmp_path / "bundle", tmp_path / "MR [1]"
    folder.mkdir()
    shutil.copy(source, folder)
    told = monai(
        ["run", "--config_file", "configs/inference.json", "--bundle_root", ".", "--dataset_dir", str(folder),
         "--output_dir", str(tmp_path / "out"), "--device", "cpu"], bundle,
    )  # fmt: skip
    [result] = (tmp_path / "out").glob("*_sct.nii.gz")
    written = read_volume(result)
    assert np.abs(written.array - hu).max() <= 1 and np.array_equal(written.affine, read_volume(source).affine)
    assert any(f"{verdict}: {folder / source.name}" in told for verdict in ("pass", "warn", "implausible"))
    assert "Research use only" in (bundle / "docs" / "README.md").read_text()


def test_a_damaged_file_does_not_stop_the_others_of_a_bundle(run, source, tmp_path, capsys):
    (tmp_path / "a.nii.gz").write_bytes(source.read_bytes()[:500])
    load, results = LoadImage(reader="NibabelReader", image_only=True, ensure_channel_first=True), []
    model = cyclegan_gc.load_model(run, device="cpu")
    with pytest.raises(SystemExit) as caught:
        convert_files([str(tmp_path / "a.nii.gz"), str(source)], model.convert, load, results.append)
    lines = capsys.readouterr().out.splitlines()
    assert caught.value.code == 3 and len(results) == 1 and len(lines) == 2
    assert lines[0].startswith(f"failed: {tmp_path / 'a.nii.gz'}: ")


def test_the_card_of_a_bundle_names_the_method_of_its_training(run):
    model = load_model(run / "last.pt")
    for objective, word in (("unpaired", "CycleGAN"), ("paired", "registered pairs")):
        metadata = metadata_of(model, {"config": {"objective": objective}})
        assert word in metadata["description"]
        assert ("Isola" in str(metadata["references"])) == (objective == "paired")


def test_monai_accepts_the_metadata_and_the_network_of_the_bundle(run, tmp_path):
    pytest.importorskip("jsonschema", reason="monai.bundle needs the extra [export]")
    pytest.importorskip("fire", reason="monai.bundle needs the extra [export]")
    exported(run, "bundle", tmp_path)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))  # MONAI takes the file instead of fetching it
    words = ["--meta_file", "configs/metadata.json"]
    told = monai(["verify_metadata", *words, "--filepath", str(tmp_path / "schema.json")], tmp_path / "bundle")
    assert "metadata is verified with no error" in told
    monai(
        ["verify_net_in_out", "network_def", *words, "--config_file", "configs/inference.json", "--device", "cpu"],
        tmp_path / "bundle",
    )
