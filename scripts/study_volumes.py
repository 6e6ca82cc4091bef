"""The volumes of a study: held-out test sets, training lists and registered pairs, of phantoms or of your own."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studies import HOME, STUDIES, Arm

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import ConvertConfig, Scanner
from cyclegan_gc.convert.plan import plan
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.matching import Sources, match_cases
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.sources import find_sources
from cyclegan_gc.phantom.subject import write_phantoms

SCT = Path("sct")
"""Folder of the converted subjects, below a run's folder."""


@dataclass(frozen=True)
class TestSet:
    """Held-out pairs, the same for every run."""

    mr: str
    ct: str
    mask: str | None
    subjects: dict[str, str]
    """Name -> path of the synthetic CT, below the run's folder."""
    scanner: Scanner = HOME

    @property
    def sources(self) -> dict[str, str | None]:
        return {"mr": self.mr, "ct": self.ct, "mask": self.mask}


def test_sets(options: argparse.Namespace) -> list[TestSet]:
    """Your own pairs, or phantoms as each scanner of the study sees them; missing phantoms are made."""
    if options.mr:
        return [_own_test_set(options)]
    return [_phantom_test_set(options, scanner) for scanner in STUDIES[options.study].tested_on]


def volumes_of(source: str | Path) -> list[Path]:
    """The volume files of a folder, a glob pattern or a text list, without DICOM series."""
    return [case.path for case in find_sources(source)[0] if case.series is None]


def _own_test_set(options: argparse.Namespace) -> TestSet:
    files, failures, _ = match_cases(Sources(options.test_mr, options.test_ct, mask=options.test_mask))
    if failures:  # before the first training, not after it
        raise UserError(f"{options.test_mr}: {failures[0]}")
    _check_held_out([path for case in files for path in (*case.sct.files, *case.ct.files)], options)
    jobs, _ = plan(ConvertConfig(Path("last.pt"), options.test_mr, SCT))
    results = {job.source.path: str(job.result) for job in jobs}
    subjects = {case.id: results[case.sct.path] for case in files}
    return TestSet(options.test_mr, options.test_ct, options.test_mask, subjects)


def _phantom_test_set(options: argparse.Namespace, scanner: Scanner) -> TestSet:
    folder = _phantoms(options, f"test_seed_{options.test_seed}", options.test_seed, scanner, 1, options.test_subjects)
    truth = folder / "test"
    subjects = {each.name: str(SCT / f"{each.name}_sct.nii.gz") for each in find_sources(truth / "labels")[0]}
    return TestSet(str(truth / "mr"), str(truth / "ct"), str(truth / "labels"), subjects, scanner)


def _phantoms(
    options: argparse.Namespace, name: str, seed: int, scanner: Scanner, subjects: int, test_subjects: int
) -> Path:
    """A folder of at least so many phantoms, made or found."""
    folder = options.output / "data" / (name if scanner == HOME else f"{name}_{scanner}")
    # The last file of each kind that is written.
    found = [len(list((folder / kind).glob("*.nii.gz"))) for kind in ("ct", "test/labels")]
    if found[0] < subjects or found[1] < test_subjects:
        write_phantoms(folder, subjects=subjects, test_subjects=test_subjects, seed=seed, scanner=scanner)
    return folder


def _check_held_out(tested: list[Path], options: argparse.Namespace) -> None:
    """Refuse test pairs of which a file, or a copy of it, is among the training volumes."""
    training = [path for source in (options.mr, options.ct) for path in volumes_of(source)]
    notes = options.output / "data" / "cache"  # training looks for them there too
    known = {content_hash([path], notes) for path in training}
    for path in tested:
        if content_hash([path], notes) in known:
            raise UserError(f"{path}: is trained on too; take it out of --mr and --ct")


def training_lists(options: argparse.Namespace, arm: Arm, volumes: int, seed: int) -> tuple[int, list[Path]]:
    """The number of volumes of each modality, and text lists of the MR and CT; 0 volumes takes all."""
    if options.mr:
        folder, mr, ct = options.output / "data" / "own", [volumes_of(options.mr)], volumes_of(options.ct)
    else:
        most = max(options.volumes)
        folders = [_phantoms(options, f"seed_{seed}", seed, scanner, most, 0) for scanner in (HOME, *arm.scanners)]
        folder, mr = folders[0], [volumes_of(each / "mr") for each in folders[1:]]
        ct = volumes_of(folder / "ct")
    count = min(volumes, len(mr[0]), len(ct)) if volumes else max(len(mr[0]), len(ct))
    shared = "" if arm.scanners == (HOME,) else f"_{'+'.join(arm.scanners)}"
    chosen = {f"mr_{count}{shared}.txt": shared_out(mr, count), f"ct_{count}.txt": ct[:count]}
    for name, paths in chosen.items():
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{os.path.relpath(path.absolute(), folder)}\n" for path in paths)
        if not (folder / name).exists() or (folder / name).read_text() != text:
            write_text(folder / name, text)
    return count, [folder / name for name in chosen]


def shared_out(scanners: Sequence[Sequence[Path]], count: int) -> list[Path]:
    """The first ``count`` heads, each once, an equal part of them from each scanner's MRs."""
    return [scanners[i * len(scanners) // count][i] for i in range(min(count, len(scanners[0])))]


def pairs_folder(options: argparse.Namespace, count: int, seed: int) -> Path:
    """A folder of links to ``count`` registered pairs; fewer pairs are a part of more."""
    if options.test_seed == seed:
        raise UserError(f"--test-seed {seed}: the same heads would be trained on as pairs; give another")
    most = max(arm.pairs for arm in options.arms.values())
    phantoms = _phantoms(options, f"pairs_seed_{seed}", seed, HOME, 1, most)
    folder = phantoms / f"first_{count}"
    for kind in ("mr", "ct"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in volumes_of(phantoms / "test" / kind)[:count]:
            link = folder / kind / path.name
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(path, link.parent))
    return folder
