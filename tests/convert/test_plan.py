import os
from dataclasses import replace
from pathlib import Path

import pytest

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.plan import part_of, plan, shard_of
from cyclegan_gc.errors import UserError

SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}


def config_of(folder: Path, **settings) -> ConvertConfig:
    return ConvertConfig(Path("last.pt"), str(folder), folder.parent / "out", **settings)


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def results(config: ConvertConfig) -> list[str]:
    return [job.result.relative_to(config.output).as_posix() for job in plan(config)[0]]


def test_folders_and_names_are_kept_whatever_the_format(tmp_path):
    folder = make(tmp_path / "in", "a/x.nii", "a/y.mha", "b/x.NRRD", "p.hdr", "p.img", "notes.txt")
    names = ["a/x_sct.nii.gz", "a/y_sct.nii.gz", "b/x_sct.nii.gz", "p_sct.nii.gz"]
    assert results(config_of(folder)) == names
    assert results(config_of(folder, format="dicom")) == [name.removesuffix(".nii.gz") for name in names]


def test_bids_names_keep_subject_and_session_and_say_what_they_are(tmp_path):
    folder = make(
        tmp_path / "in", "sub-01/ses-2/anat/sub-01_ses-2_acq-mp_T1w.nii.gz", "sub-02_T2w.nii.gz", "head 3.nii"
    )
    assert sorted(results(config_of(folder, naming="bids"))) == [
        "sub-01/ses-2/ct/sub-01_ses-2_acq-mp_space-T1w_desc-synthetic_ct.nii.gz",
        "sub-02/ct/sub-02_space-T2w_desc-synthetic_ct.nii.gz",
        "sub-head3/ct/sub-head3_space-MR_desc-synthetic_ct.nii.gz",
    ]


@pytest.mark.parametrize("names", [("x.nii", "x.nii.gz"), ("x.nii", "X.nii"), ("x.mha", "x.nrrd")])
def test_two_cases_with_the_same_result_name_are_refused(names, tmp_path):
    with pytest.raises(UserError, match="would both be written"):
        plan(config_of(make(tmp_path / "in", *names)))


def test_the_output_may_lie_below_the_input_but_not_on_it(tmp_path):
    folder = make(tmp_path / "in", "x.nii", "out/x_sct.nii.gz")
    inside = replace(config_of(folder), output=folder / "out")
    assert results(inside) == ["x_sct.nii.gz"]
    (tmp_path / "link").symlink_to(folder)
    for output in (folder, folder / "out" / "..", tmp_path / "link"):
        with pytest.raises(UserError, match="is also the input"):
            plan(replace(inside, output=output))


def test_a_loop_of_links_is_read_once(tmp_path):
    folder = make(tmp_path / "in", "deep/x.nii")
    (folder / "deep" / "again").symlink_to(folder)
    assert results(config_of(folder)) == ["deep/x_sct.nii.gz"]


@pytest.mark.parametrize("first", [0, 1])
def test_every_case_is_in_one_shard_whether_counted_from_0_or_1(first, tmp_path):
    config = config_of(make(tmp_path / "in", *(f"{n}.nii" for n in range(11))))
    shards = [shard_of(replace(config, shard=f"{n + first}/4"), {}) for n in range(4)]
    parts = [job.result for shard in shards for job in part_of(plan(config)[0], shard)]
    assert sorted(parts) == sorted(job.result for job in plan(config)[0])


@pytest.mark.parametrize(
    ("environment", "shard"),
    [({}, None), (SLURM, (3, 4)), ({"RANK": "0", "WORLD_SIZE": "2"}, (1, 2)), ({"RANK": "0", "WORLD_SIZE": "1"}, None)],
)
def test_the_cluster_environment_sets_the_shard(environment, shard, tmp_path):
    assert shard_of(config_of(tmp_path), environment) == shard
    assert shard_of(config_of(tmp_path, shard="2/3"), environment) == (2, 3)


@pytest.mark.parametrize("shard", ["3", "5/4", "a/b", "1/0", "-1/2"])
def test_an_invalid_shard_is_refused(shard, tmp_path):
    with pytest.raises(UserError, match="i/n"):
        shard_of(config_of(tmp_path, shard=shard), os.environ)
