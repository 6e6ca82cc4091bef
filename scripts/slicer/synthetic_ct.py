#!/usr/bin/env python3
"""A module for 3D Slicer: one MR volume to a synthetic CT. synthetic_ct.xml describes its options to Slicer."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import SimpleITK
from torch import nn

from cyclegan_gc import ConvertedImage, Model, load_model
from cyclegan_gc.errors import UserError, VolumeError, one_line

AXES = ("sagittal", "coronal", "axial")
READ, TRANSLATED = 0.1, 0.9
"""Progress when the volume is read, and when its slices are translated."""


def main(words: Sequence[str] | None = None) -> int:
    """Convert one volume. Slicer shows the tags in the output as progress, and the error output as errors.

    Returns:
        0 for a result, 1 for a file, volume or model that cannot be used.
    """
    options = parser().parse_args(words)
    print("<filter-start><filter-name>Synthetic CT</filter-name></filter-start>", flush=True)
    try:
        result = convert(options)
        write(result.image, options.output)
    except UserError as error:
        print(f"{options.input}: {error}" if isinstance(error, VolumeError) else error, file=sys.stderr)
        return 1
    show(result)
    print("<filter-end><filter-name>Synthetic CT</filter-name></filter-end>", flush=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options, with the names and in the order of synthetic_ct.xml."""
    options = argparse.ArgumentParser(description="One MR volume to a synthetic CT in HU, on the same grid.")
    options.add_argument("model", type=Path, help="checkpoint (.pt), exported weights or a name: head-t1")
    options.add_argument("input", type=Path, help="MR volume")
    options.add_argument("output", type=Path, help="volume to write")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    options.add_argument("--force", action="store_true", help="convert even where the values look like a CT")
    return options


def convert(options: argparse.Namespace) -> ConvertedImage[SimpleITK.Image]:
    """The result, with progress for each batch of slices.

    Raises:
        UserError: if the model or the volume cannot be used; one line.
    """
    model, image = load_model(options.model, device=options.device), read(options.input)
    progress(READ)
    follow(model, image)
    return model.convert(image, force=options.force)


def read(path: Path) -> SimpleITK.Image:
    """The volume in a file; a UserError where SimpleITK cannot read it."""
    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(one_line(str(error))) from error


def write(image: SimpleITK.Image, path: Path) -> None:
    """Write a volume; a UserError where SimpleITK cannot."""
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise UserError(one_line(str(error))) from error


def follow(model: Model, image: SimpleITK.Image) -> None:
    """Report progress whenever slices of the image go through the model's generator; slices of air alone do not."""
    size = SimpleITK.DICOMOrient(image, "LPS").GetSize()
    total, done = sum(size[AXES.index(member.axis)] for member in model.members), 0

    def count(_network: nn.Module, inputs: tuple) -> None:
        nonlocal done
        done += len(inputs[0])
        progress(READ + (TRANSLATED - READ) * min(1.0, done / total))

    model.members[0].translator.generator.register_forward_pre_hook(count)


def show(result: ConvertedImage) -> None:
    """Print the remarks and the verdict; one that is not a pass goes to the error output, which Slicer marks."""
    for remark in result.warnings:
        print(remark)
    if result.quality:
        line = "; ".join([f"verdict: {result.quality.verdict}", *result.quality.reasons])
        print(line, file=sys.stdout if result.quality.verdict == "pass" else sys.stderr)
    print(f"<filter-comment>verdict: {result.verdict}</filter-comment>")
    progress(1.0)


def progress(part: float) -> None:
    """Report the finished part of the work, 0 to 1."""
    print(f"<filter-progress>{part:.3f}</filter-progress>", flush=True)


if __name__ == "__main__":
    sys.exit(main())
