import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RTStructureSetStorage

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.plan import part_of, plan, reference_series, shard_of
from cyclegan_gc.errors import UserError

ALONE = {"RANK": "0", "WORLD_SIZE": "1"}
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


GAPS = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7"}


@pytest.mark.parametrize(
    ("environment", "shard"), [(SLURM, (3, 4)), ({"RANK": "0", "WORLD_SIZE": "2"}, (1, 2)), (ALONE, None)]
)
def test_the_cluster_environment_sets_the_shard_only_where_the_user_asks(environment, shard, tmp_path):
    assert shard_of(config_of(tmp_path, shard="auto"), environment) == shard
    assert shard_of(config_of(tmp_path, shard="2/3"), environment) == (2, 3)
    assert shard_of(config_of(tmp_path), environment) is None


@pytest.mark.parametrize("environment", [{}, {**GAPS, "SLURM_ARRAY_TASK_COUNT": "3"}, {"RANK": "3", "WORLD_SIZE": "2"}])
def test_an_array_with_gaps_or_none_at_all_cannot_name_the_shard(environment, tmp_path):
    with pytest.raises(UserError, match="auto needs torchrun or a Slurm array"):
        shard_of(config_of(tmp_path, shard="auto"), environment)


@pytest.mark.parametrize("shard", ["3", "5/4", "a/b", "1/0", "-1/2"])
def test_an_invalid_shard_is_refused(shard, tmp_path):
    with pytest.raises(UserError, match="i/n"):
        shard_of(config_of(tmp_path, shard=shard), os.environ)


def test_a_result_stays_in_the_output_whatever_a_list_says(tmp_path):
    make(tmp_path, "precious/p.nii.gz", "in/deep/q.nii.gz", "out/here")
    (tmp_path / "in" / "list.txt").write_text("../precious/p.nii.gz\ndeep/../../in/deep/q.nii.gz\n")
    config = replace(config_of(tmp_path / "in" / "list.txt"), output=tmp_path / "out")
    assert sorted(results(config)) == ["deep/q_sct.nii.gz", "p_sct.nii.gz"]


def test_two_formats_of_one_name_would_share_a_sidecar_and_are_refused(tmp_path):
    folder = make(tmp_path / "in", "x.nii.gz", "x.mha")
    with pytest.raises(UserError, match="would both be written"):
        plan(config_of(folder, format="same"))


def test_a_link_in_the_output_that_leads_out_of_it_fails_that_case_alone(tmp_path):
    folder = make(tmp_path / "in", "a/x.nii", "b/x.nii")
    make(tmp_path, "precious/x_sct.nii.gz", "out/here")
    (tmp_path / "out" / "a").symlink_to(tmp_path / "precious")
    jobs, _ = plan(config_of(folder))
    assert ["would lie outside" in str(job.source.fault) for job in jobs] == [True, False]


def test_links_are_not_resolved_into_names(slices_of, write_series, tmp_path):
    write_series(tmp_path / "store" / "Muster^Max", slices_of(np.ones((4, 4, 3), np.int16)))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "P001").symlink_to(tmp_path / "store" / "Muster^Max")
    for source in (tmp_path / "in", tmp_path / "in" / "P001", tmp_path / "in" / ".." / "in" / "P001"):
        assert [job.result.name for job in plan(config_of(source, format="dicom"))[0]] == ["P001_sct"]


def test_the_folder_of_a_series_may_be_given_as_a_dot(slices_of, write_series, tmp_path, monkeypatch):
    write_series(tmp_path / "T1", slices_of(np.ones((4, 4, 3), np.int16)))
    monkeypatch.chdir(tmp_path / "T1")
    [job], _ = plan(replace(config_of(Path()), output=tmp_path / "out"))
    assert job.source.path == tmp_path / "T1" and job.stem == "T1_sct"


def test_what_an_export_holds_beside_mr_series_is_left_out_with_its_reason(slices_of, write_series, tmp_path):
    changes = {
        "t1": {},
        "scout": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "survey": {"SeriesDescription": "AAHead_Scout"},
        "dose": {"Modality": "RTDOSE"},
        "ct": {"Modality": "CT"},
    }
    for number, (name, tags) in enumerate(changes.items()):
        datasets = list(slices_of(np.ones((4, 4, 3), np.int16)))
        for dataset in datasets:
            dataset.SeriesInstanceUID = f"1.2.826.0.1.2.{number}"
            for tag, value in tags.items():
                setattr(dataset, tag, value)
        write_series(tmp_path / "in" / name, datasets)
    structures = datasets[0]
    structures.Modality, structures.SOPClassUID = "RTSTRUCT", RTStructureSetStorage
    del structures.Rows, structures.PixelData
    structures.save_as(tmp_path / "in" / "structures.dcm")
    jobs, left_out = plan(config_of(tmp_path / "in"))
    assert [job.source.label for job in jobs] == ["t1"]
    assert {each.label: each.reason for each in left_out} == {
        **{"scout": "localizer", "survey": "localizer", "dose": "RTDOSE series", "ct": "CT series"},
        "structures.dcm": "DICOM object without an image (RTSTRUCT)",
    }
    [named] = plan(config_of(tmp_path / "in", series="1.2.826.0.1.2.4"))[0]
    assert named.source.label == "ct"
    with pytest.raises(UserError, match=r"nothing to convert \(left out: 1 x CT series"):
        plan(config_of(tmp_path / "in" / "ct"))


def test_a_projection_within_a_series_is_converted_only_if_it_is_named_itself(slices_of, write_series, tmp_path):
    datasets = list(slices_of(np.ones((4, 4, 3), np.int16)))
    for number, dataset in enumerate(slices_of(np.ones((4, 4, 1), np.int16)), start=9):
        dataset.ImageType, dataset.InstanceNumber = ["DERIVED", "SECONDARY", "MIP"], number
        dataset.SOPInstanceUID += ".1"
        datasets.append(dataset)
    write_series(tmp_path / "in" / "t1", datasets)
    for pattern in (None, "*", datasets[0].SeriesInstanceUID):
        [job], [left_out] = plan(config_of(tmp_path / "in", series=pattern))
        assert job.source.label == "t1" and left_out == ("t1/IM0009_projection", "projection")
    datasets[-1].SeriesInstanceUID = "1.2.9"
    write_series(tmp_path / "mip", datasets[-1:])
    for folder, pattern in (("in", "projection"), ("mip", "1.2.9")):
        [job], _ = plan(config_of(tmp_path / folder, series=pattern))
        assert job.source.kind == "projection"


def test_one_reference_series_gives_its_patient_to_one_volume_file_only(slices_of, write_series, tmp_path):
    write_series(tmp_path / "T1", slices_of(np.zeros((20, 20, 3), np.int16)))
    folder = make(tmp_path / "in", "p1.nii", "p2.mha")
    config = config_of(folder, format="dicom", reference_dicom=tmp_path / "T1")
    with pytest.raises(UserError, match=r"2 volume files \(p1.nii, p2.mha\).*convert one at a time"):
        reference_series(config, plan(config)[0])
    write_series(folder / "export", slices_of(np.zeros((20, 20, 3), np.int16)))
    (folder / "p2.mha").unlink()
    reference = reference_series(config, plan(config)[0])
    assert reference is not None and reference.path == tmp_path / "T1"
