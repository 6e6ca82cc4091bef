"""The network alone, for slices of any size: as ONNX and as TorchScript, each checked against the trained network."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cyclegan_gc import __version__
from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.errors import StoppedError
from cyclegan_gc.model.cyclegan import AIR
from cyclegan_gc.prepare.grid import MULTIPLE
from cyclegan_gc.prepare.hu import hu_knots, to_hu
from cyclegan_gc.trained_model import TrainedModel, Translator

MOST_DIFFERENT_HU = 1.0
"""A written network that differs by more is not kept."""
SHAPES = ((1, 0, 0), (3, 5, -7), (2, -16, 30))
"""Slices of a check: their number, and how much higher and wider than the training slices they are."""


class AnySize(nn.Module):
    """A generator for slices of any height and width: padded with air as in training, and cut to their own size.

    ``(N, C, h, w)`` in [-1, 1] to ``(N, C', h, w)`` in [-1, 1].
    """

    def __init__(self, generator: nn.Module, least: tuple[int, int]) -> None:
        super().__init__()
        self.generator = generator
        self.least_height, self.least_width = least
        self.multiple, self.air = MULTIPLE, AIR  # TorchScript knows no global values

    def forward(self, image: Tensor) -> Tensor:
        """Translate slices."""
        height, width = image.shape[-2], image.shape[-1]
        # The larger of two sizes, in words that ONNX and TorchScript both keep open.
        down = (height + self.least_height + abs(height - self.least_height)) // 2
        across = (width + self.least_width + abs(width - self.least_width)) // 2
        below = (down + self.multiple - 1) // self.multiple * self.multiple - height
        beside = (across + self.multiple - 1) // self.multiple * self.multiple - width
        top, left = below // 2, beside // 2
        padded = functional.pad(image, [left, beside - left, top, below - top], value=self.air)
        return self.generator(padded)[:, :, top : top + height, left : left + width]


def facts_of(model: TrainedModel) -> dict[str, Any]:
    """What another program needs to feed the network and to read its result, as plain values."""
    translator = model.translator
    preprocess = translator.preprocess
    hu, values = hu_knots(preprocess)
    return {
        "tool": f"cyclegan-gc {__version__}",
        "disclaimer": DISCLAIMER,
        "checkpoint_sha256": model.sha256,
        "step": model.step,
        "input": "MR slices (N, C, H, W): percentiles inside the body mapped to -1 and 1, clipped; -1 outside the body",
        "mr_percentiles": preprocess.mr_percentiles,
        "n4": preprocess.n4,
        "contrasts": translator.contrasts,
        "context_slices": translator.context,
        "slice_axes": translator.slice_axes,
        "rows_and_columns": "axial slices: rows to the back, columns to the left of the patient",
        "spacing_mm": preprocess.spacing_mm,
        "output": "CT in [-1, 1]: HU by straight lines through ct_values and ct_hu; set air, -1000, outside the body",
        "ct_values": values,
        "ct_hu": hu,
    }


def write_onnx(model: TrainedModel, path: Path) -> list[str]:
    """Write the MR to CT generator as ONNX, its facts in the metadata, and compare it in ONNX Runtime.

    The traces of the call stack, which name the folders of the installation, are removed.

    Raises:
        StoppedError: if the results differ by more than 1 HU; nothing is written then.
    """
    import onnx  # noqa: F401  # needed by torch.onnx, which names it less plainly
    import onnxruntime
    import onnxscript  # noqa: F401

    network, example = _network_of(model.translator), _slices(model.translator, 2, 5, 9)
    size = {0: "slices", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the exporter's own insides
        program = torch.onnx.export(
            network, (example,), dynamo=True, dynamic_shapes=(size,), input_names=["mr"], output_names=["ct"],
            external_data=False, verbose=False,
        )  # fmt: skip
    if program is None:
        raise StoppedError(f"{path}: torch made no ONNX model; update torch and onnxscript")
    for graph in (program.model.graph, *program.model.functions.values()):
        for node in graph.all_nodes():
            node.metadata_props.clear()
    program.model.metadata_props.update({name: json.dumps(value) for name, value in facts_of(model).items()})
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(slices: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"mr": slices.numpy()})[0])

    return _write_checked(path, content, run, model.translator, "ONNX Runtime")


def write_torchscript(model: TrainedModel, path: Path) -> list[str]:
    """Write the MR to CT generator as TorchScript, its facts in MONAI's ``metadata.json`` in the file.

    Raises:
        StoppedError: if the results differ by more than 1 HU; nothing is written then.
    """
    from monai.data.torchscript_utils import save_net_with_metadata

    translator = model.translator
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch advises against TorchScript, and MONAI bundles have nothing else
        traced = torch.jit.trace(translator.generator, _slices(translator, 1, 0, 0))
        script = torch.jit.script(AnySize(traced, translator.crop))  # pyright: ignore[reportArgumentType]
        file = io.BytesIO()
        save_net_with_metadata(script, file, meta_values=facts_of(model))  # pyright: ignore[reportArgumentType]
        content = _without_source_paths(file)
        network = torch.jit.load(io.BytesIO(content))
    return _write_checked(path, content, network, translator, "TorchScript")


def _without_source_paths(file: io.BytesIO) -> bytes:
    """A TorchScript archive without its debug records, which name the folders of the installation."""
    kept = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(kept, "w") as new:
        for name in archive.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name), archive.read(name))
    return kept.getvalue()


def _write_checked(
    path: Path, content: bytes, run: Callable[[Tensor], Tensor], translator: Translator, engine: str
) -> list[str]:
    """Compare the engine with the trained network, then write the file; returns a line on both."""
    difference = largest_difference_hu(run, translator)
    if not difference <= MOST_DIFFERENT_HU:
        raise StoppedError(f"{path}: {engine} differs by {difference:.3g} HU from the trained network; not written")
    with atomic_write(path) as file:
        file.write(content)
    return [f"{path}: {len(content) / 1e6:.1f} MB; largest difference to the trained network: {difference:.2g} HU"]


@torch.inference_mode()
def largest_difference_hu(run: Callable[[Tensor], Tensor], translator: Translator) -> float:
    """Largest difference of an engine's results from the trained network's, over slices of several sizes."""
    network, settings = _network_of(translator), translator.preprocess
    slices = [_slices(translator, *shape) for shape in SHAPES]
    differences = [(to_hu(run(each), settings) - to_hu(network(each), settings)).abs().max() for each in slices]
    return float(torch.stack(differences).max())  # not Python's max, which may pass over NaN


def _network_of(translator: Translator) -> AnySize:
    return AnySize(translator.generator, translator.crop).eval()


def _slices(translator: Translator, count: int, higher: int, wider: int) -> Tensor:
    """Random slices, higher and wider than those of the training by some pixels, at least 16."""
    height, width = (max(16, size + more) for size, more in zip(translator.crop, (higher, wider), strict=True))
    shape = count, translator.in_channels, height, width
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
