#!/usr/bin/env python3
"""Measures a training's data: samples per second, their share of a step, start-up time and memory.

    python scripts/benchmark.py data
    python scripts/benchmark.py scale --volumes 10 100 1000

Both make head-like volumes in a temporary folder and remove them at the end. ``data`` also measures the GPU where there
is one; ``scale`` measures in processes of their own.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from cyclegan_gc.config import (
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    PreprocessConfig,
    TrainConfig,
    WandbConfig,
)
from cyclegan_gc.data.cases import Cases, find_files, load_cases
from cyclegan_gc.distributed import ALONE
from cyclegan_gc.train.batches import StepBatches, batches_from, open_samples
from cyclegan_gc.train.state import build_state
from cyclegan_gc.train.step import train_step

BATCH, SAMPLES, STEPS = 4, 200, 10
CROPS = {(96, 80): 2.0, (256, 256): 1.0}
"""Pixel size in mm for each size of a sample."""
HEADER = "volumes   first start  second start  samples/s  resident MB (of it private)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["data", "scale"])
    parser.add_argument("--volumes", type=int, nargs="+", default=[10, 100, 1000], help="for scale: numbers of volumes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.what == "data":
            print_speeds(Path(name))
        else:
            print_scale(Path(name), options.volumes)


def print_speeds(folder: Path) -> None:
    write_volumes(folder, 4, (150, 190, 150), 1.0)
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    print("networks of configs/head.yaml; a sample is an MR and a CT plane")
    for device in devices:
        for crop, spacing_mm in CROPS.items():
            config = config_of(folder, 4, crop, spacing_mm)
            cases = cases_of(config)
            data = replace(config.data, tilt_degrees=10.0, mr_intensity=0.4, match_position=True)
            for resident in [False, True] if device.type != "cpu" else [False]:
                config = replace(config, data=replace(data, resident=resident), loss=LossConfig(depth_histogram=1.0))
                speed = samples_a_second(cases, config, device)
                share = 1 / speed / (1 / speed + seconds_of_a_step(cases, config, device) / BATCH)
                where = f"{device}{', volumes on it' if resident else ''}, {torch.get_num_threads()} threads"
                print(f"{where}: {crop[0]} x {crop[1]}: {speed:.0f} samples/s, {100 * share:.1f} % of a step")


def samples_a_second(cases: Cases, config: TrainConfig, device: torch.device) -> float:
    """Samples that one thread makes; the best of three rounds."""
    batches, rounds = batches_of(cases, config, device), []
    for _ in range(4):
        seconds = seconds_for(lambda: [next(batches) for _ in range(SAMPLES // BATCH)], device)
        rounds.append(SAMPLES / seconds)
    return max(rounds[1:])


def seconds_of_a_step(cases: Cases, config: TrainConfig, device: torch.device) -> float:
    """Seconds of the networks' step on samples that are there already; the best of three rounds."""
    state = build_state(config, device)
    batch, _ = next(batches_of(cases, config, device))
    assert batch is not None
    batch = batch.to(device)
    rounds = [
        seconds_for(lambda: [train_step(state, batch, config.loss) for _ in range(STEPS)], device) for _ in range(4)
    ]
    return min(rounds[1:]) / STEPS


def seconds_for(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def batches_of(cases: Cases, config: TrainConfig, device: torch.device) -> Iterator[StepBatches]:
    return batches_from(open_samples(cases, config, device), config, ALONE, first_step=0, stream=0)


def print_scale(folder: Path, counts: list[int]) -> None:
    print(HEADER)
    write_volumes(folder, max(counts), (64, 64, 100), 3.0)
    for count in counts:
        start = in_own_process(measure_start, folder, count)
        again, speed, resident, private = in_own_process(measure_drawing, folder, count)
        memory = f"{resident:12.0f} ({private:.0f})"
        print(f"{count:7d} {start:11.1f} s {again:11.1f} s {speed:10.0f} {memory}", flush=True)


def write_volumes(folder: Path, count: int, shape: tuple[int, int, int], voxel_mm: float) -> None:
    """Write numbered ellipsoids with noise, MR and CT in turn."""
    random = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    noise = random.normal(size=shape)
    for number in range(count):
        modality = ("mr", "ct")[number % 2]
        (folder / modality).mkdir(exist_ok=True)
        radius = np.sqrt(sum((x / size) ** 2 for x, size in zip(axes, random.uniform(0.7, 0.9, 3), strict=True)))
        inside, shell = radius < 1, (radius > 0.85) & (radius < 0.95)
        if modality == "mr":
            values = np.where(shell, 50, 400 + 200 * (radius < 0.5)) * inside + np.abs(10 * noise)
        else:
            values = np.where(inside, np.where(shell, 1000, 40) + 10 * noise, -1000)
        affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
        image = nib.Nifti1Image(np.roll(values, number % 3, axis=2).astype(np.int16), affine)
        nib.save(image, folder / modality / f"{number:05d}.nii")


def in_own_process(function, *arguments):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_start(folder: Path, count: int) -> float:
    """Seconds until the volumes are ready."""
    begun = time.perf_counter()
    cases_of(config_of(folder, count, (64, 64), 3.0))
    return time.perf_counter() - begun


def measure_drawing(folder: Path, count: int) -> tuple[float, float, float, float]:
    """Seconds to start again, samples per second, resident and private megabytes."""
    config = config_of(folder, count, (64, 64), 3.0)
    begun = time.perf_counter()
    cases = cases_of(config)
    start = time.perf_counter() - begun
    return start, samples_a_second(cases, config, torch.device("cpu")), memory_mb("VmRSS"), memory_mb("RssAnon")


def cases_of(config: TrainConfig) -> Cases:
    return load_cases(find_files(config.data), config.data, config.preprocess, config.cache)


def config_of(folder: Path, count: int, crop: tuple[int, int], spacing_mm: float) -> TrainConfig:
    """Settings of a training on the first ``count`` volumes, with the networks of configs/head.yaml."""
    lists = {}
    for modality in ("mr", "ct"):
        lists[modality] = folder / f"{modality}_{count}.txt"
        chosen = [path for path in sorted((folder / modality).iterdir()) if int(path.stem) < count]
        lists[modality].write_text("\n".join(map(str, chosen)))
    data = DataConfig(str(lists["mr"]), str(lists["ct"]), crop=crop, cache=folder / f"cache_{count}", workers=0)
    return TrainConfig(
        output=folder / f"run_{count}",
        data=data,
        preprocess=PreprocessConfig(spacing_mm=spacing_mm),
        network=NetworkConfig(width=16, blocks=4, reduction=2, stem="unshuffle", discriminator_width=16),
        optimizer=OptimizerConfig(batch_size=BATCH),
        wandb=WandbConfig(mode="disabled"),
    )


def memory_mb(name: str) -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


if __name__ == "__main__":
    main()
