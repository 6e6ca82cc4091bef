#!/usr/bin/env python3
"""Measures how training's data scales: start-up time, memory and slices per second for each number of volumes.

    python scripts/scale.py --volumes 10 100 1000

Makes head-like volumes of 64 x 64 x 100 voxels (half MR, half CT) in a temporary folder and removes them at the end.
Each row is measured in a process of its own.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import nibabel as nib
import numpy as np

from cyclegan_gc.config import DataConfig, PreprocessConfig, TrainConfig, WandbConfig
from cyclegan_gc.data.cases import find_files, load_cases
from cyclegan_gc.data.slices import UnpairedSlices, slice_loader

SHAPE = (64, 64, 100)
BATCH, BATCHES = 4, 150
HEADER = "volumes  slices   first start  second start  slices/s (0 workers, 2 workers)  resident MB (of it private)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, nargs="+", default=[10, 100, 1000], help="numbers of volumes to measure")
    counts = parser.parse_args().volumes
    print(HEADER)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volumes(folder, max(counts))
        for count in counts:
            slices, start = in_own_process(measure_start, folder, count)
            again, alone, workers, resident, private = in_own_process(measure_drawing, folder, count)
            speeds = f"{alone:15.0f} {workers:15.0f}"
            memory = f"{resident:12.0f} ({private:.0f})"
            print(f"{count:7d} {slices:7d} {start:11.1f} s {again:11.1f} s {speeds} {memory}", flush=True)


def write_volumes(folder: Path, count: int) -> None:
    """Write numbered ellipsoids with noise, MR and CT in turn."""
    random = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    noise = random.normal(size=SHAPE)
    for number in range(count):
        modality = ("mr", "ct")[number % 2]
        (folder / modality).mkdir(exist_ok=True)
        radius = np.sqrt(sum((x / size) ** 2 for x, size in zip(axes, random.uniform(0.7, 0.9, 3), strict=True)))
        inside, shell = radius < 1, (radius > 0.85) & (radius < 0.95)
        if modality == "mr":
            values = np.where(shell, 50, 400 + 200 * (radius < 0.5)) * inside + np.abs(10 * noise)
        else:
            values = np.where(inside, np.where(shell, 1000, 40) + 10 * noise, -1000)
        image = nib.Nifti1Image(np.roll(values, number % 3, axis=2).astype(np.int16), np.diag([3.0, 3.0, 2.0, 1.0]))
        nib.save(image, folder / modality / f"{number:05d}.nii")


def in_own_process(function, *arguments):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_start(folder: Path, count: int) -> tuple[int, float]:
    """Number of slices, and seconds until they are ready."""
    config = config_of(folder, count)
    begun = time.perf_counter()
    cases = load_cases(find_files(config.data), config.data, config.preprocess, config.cache)
    return sum(len(stack.heights) for stack in (*cases.mr, *cases.ct)), time.perf_counter() - begun


def measure_drawing(folder: Path, count: int) -> tuple[float, float, float, float, float]:
    """Seconds to start, slices per second without and with workers, resident and private megabytes."""
    config = config_of(folder, count)
    begun = time.perf_counter()
    cases = load_cases(find_files(config.data), config.data, config.preprocess, config.cache)
    start = time.perf_counter() - begun
    speeds = []
    for workers in (0, 2):
        stream = UnpairedSlices(cases.mr, cases.ct, config.data, 0, BATCH * (BATCHES + 20))
        batches = iter(slice_loader(stream, batch_size=BATCH, first_step=0, workers=workers))
        for _ in islice(batches, 20):
            pass
        begun = time.perf_counter()
        drawn = sum(2 * len(batch["mr"]) for batch in batches)
        speeds.append(drawn / (time.perf_counter() - begun))
    return start, speeds[0], speeds[1], memory_mb("VmRSS"), memory_mb("RssAnon")


def config_of(folder: Path, count: int) -> TrainConfig:
    """Settings of a training on the first ``count`` volumes."""
    lists = {}
    for modality in ("mr", "ct"):
        lists[modality] = folder / f"{modality}_{count}.txt"
        chosen = [path for path in sorted((folder / modality).iterdir()) if int(path.stem) < count]
        lists[modality].write_text("\n".join(map(str, chosen)))
    return TrainConfig(
        output=folder / f"run_{count}",
        data=DataConfig(str(lists["mr"]), str(lists["ct"]), crop=(64, 64), cache=folder / f"cache_{count}"),
        preprocess=PreprocessConfig(spacing_mm=3.0),
        wandb=WandbConfig(mode="disabled"),
    )


def memory_mb(name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


if __name__ == "__main__":
    main()
