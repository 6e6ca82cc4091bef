import csv
import json
import re
import unicodedata
from dataclasses import replace
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from cyclegan_gc import metrics
from cyclegan_gc.cli import main
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.baselines import Histogram, HistogramModel, histogram_match
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.loading import load_case
from cyclegan_gc.evaluate.matching import CaseFiles, Sources, match_cases
from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.provenance import anonymous
from cyclegan_gc.evaluate.summary import Evaluation
from cyclegan_gc.evaluate.tables import summary_table
from cyclegan_gc.formats.dicom.ct_image import SeriesLabel
from cyclegan_gc.formats.dicom.write import write_ct_series
from cyclegan_gc.formats.sources import find_sources, read_files, source_of
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.preprocess import prepare, turn_back

AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])
TWO_SLICES_UP = np.array([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 4, 8], [0, 0, 0, 1]])
ONE_SLICE_UP = np.array([[3.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 4, 4], [0, 0, 0, 1]])
FLIPPED = np.array([[0, -3, 0, 90], [0, 0, 4, -50], [-3, 0, 0, 60], [0, 0, 0, 1.0]])


def histogram(values: np.ndarray, low: float, high: float) -> Histogram:
    counts, edges = np.histogram(values, 200, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A CT in HU and an MR: skin, skull, brain with a dark middle."""
    x, y, z = np.ogrid[-1:1:28j, -1:1:30j, -1:1:18j]
    radius = np.sqrt((x * (1.1 + 0.1 * seed)) ** 2 + y**2 + 0.6 * z**2)
    layers = [radius < 0.2, radius < 0.65, radius < 0.8, radius < 0.95]
    ct, mr = np.select(layers, [10, 40, 900, 0], -1000), np.select(layers, [30, 90, 10, 150], 0)
    noise = np.random.default_rng(seed).normal(0, 5, (2, *ct.shape))
    return (ct + noise[0]).astype(np.float32), np.abs(mr + noise[1]).astype(np.float32)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)  # pyright: ignore[reportPrivateImportUsage]
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three heads; the synthetic CTs are 10, 20 and 30 HU too bright everywhere."""
    for seed in range(3):
        ct, mr = head(seed)
        save(tmp_path / f"sct/head{seed}_sct.nii.gz", ct + 10 * (seed + 1))
        save(tmp_path / f"ct/head{seed}.nii.gz", ct)
        save(tmp_path / f"mr/head{seed}.nii.gz", mr)
        save(tmp_path / f"mask/head{seed}.nii.gz", (ct > -500).astype(np.uint8))
    return tmp_path


def run(folder: Path, **more) -> Evaluation:
    model = more.pop("model", None)
    return evaluate(Sources(str(folder / "sct"), str(folder / "ct"), **more), folder / "out", model=model)


def rows_of(evaluation: Evaluation, method: str) -> dict[str, Row]:
    return {str(row["case"]): row for row in evaluation.rows if row["method"] == method}


def test_every_case_is_measured_inside_the_given_mask(folder):
    rows = rows_of(run(folder, mask=str(folder / "mask")), "sct")
    assert [row["mae"] for row in rows.values()] == pytest.approx([10, 20, 30], abs=1e-3)
    ct, _ = head(0)
    assert rows["head0"]["ssim"] == pytest.approx(metrics.ssim(ct + 10, ct, ct > -500))


def test_without_a_mask_the_body_is_found_and_said_so(folder):
    evaluation = run(folder)
    assert evaluation.summary["mae"]["sct"]["mean"] == pytest.approx(20, abs=1e-3)
    assert any("body found in the true CT" in note for note in evaluation.notes)


def test_tables_on_disk_hold_what_was_returned(folder):
    evaluation = run(folder, mr=str(folder / "mr"))
    with (folder / "out/cases.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["case"], row["method"]) for row in table] == [(row["case"], row["method"]) for row in evaluation.rows]
    assert [float(row["mae"]) for row in table] == [row["mae"] for row in evaluation.rows]
    stored = json.loads((folder / "out/evaluation.json").read_text())
    assert stored["cases"] == evaluation.rows and stored["summary"] == evaluation.summary


def test_equal_images_have_a_null_psnr_in_json(folder):
    save(folder / "sct/head0_sct.nii.gz", head(0)[0])
    assert rows_of(run(folder), "sct")["head0"]["psnr"] == np.inf
    stored = json.loads((folder / "out/evaluation.json").read_text())
    first = stored["cases"][0]
    assert (first["case"], first["method"], first["psnr"]) == ("head0", "sct", None)
    assert stored["summary"]["psnr"]["sct"]["n"] == 2


def test_no_constant_beats_the_constant_baseline(folder):
    evaluation = run(folder, mask=str(folder / "mask"))
    cts = [head(seed)[0] for seed in range(3)]
    truths = [ct[ct > -500] for ct in cts]
    best = evaluation.summary["mae"]["constant"]["mean"]
    errors = [np.mean([np.abs(truth - hu).mean() for truth in truths]) for hu in np.arange(-1000, 1000, 0.5)]
    assert best == pytest.approx(min(errors), abs=0.02)


def test_histogram_matching_stands_beside_the_synthetic_ct(folder):
    ct, _ = head(0)
    inside = ct > -500
    settings = PreprocessConfig()
    case = prepare(read_volume(folder / "mr/head0.nii.gz"), "mr", settings)
    scaled = turn_back(case.image, case)
    model = HistogramModel(histogram(scaled[inside], -1, 1), histogram(ct[inside], -1024, 3071), settings)
    evaluation = run(folder, mr=str(folder / "mr"), mask=str(folder / "mask"), model=model)
    expected = histogram_match(scaled, model.mr, model.ct)
    found = rows_of(evaluation, "histogram_match")["head0"]
    assert found["mae"] == pytest.approx(metrics.mae(expected, ct, inside))
    assert list(evaluation.summary["mae"]) == ["sct", "constant", "histogram_match"]
    assert "histogram match" in summary_table(evaluation).splitlines()[0]


def test_a_baseline_without_a_body_costs_no_case(folder):
    blank = np.zeros_like(read_volume(folder / "mr/head0.nii.gz").array)
    blank[0, 0, :3] = 1, 2, 3
    save(folder / "mr/head0.nii.gz", blank)
    model = HistogramModel(histogram(np.zeros(9), -1, 1), histogram(np.zeros(9), -1024, 3071), PreprocessConfig())
    evaluation = run(folder, mr=str(folder / "mr"), mask=str(folder / "mask"), model=model)
    assert not evaluation.failures
    assert rows_of(evaluation, "sct").keys() == rows_of(evaluation, "histogram_match").keys() >= {"head0"}


def test_a_true_ct_on_another_grid_is_resampled_and_said_so(folder):
    ct, _ = head(1)
    turned = np.flip(ct.transpose(1, 0, 2), 0)
    affine = np.array([[0, 3.0, 0, 0], [-3.0, 0, 0, 3.0 * 29], [0, 0, 4.0, 0], [0, 0, 0, 1]])
    save(folder / "ct/head1.nii.gz", turned, affine)
    evaluation = run(folder, mask=str(folder / "mask"))
    assert rows_of(evaluation, "sct")["head1"]["mae"] == pytest.approx(20, abs=1e-3)
    assert [row["resampled"] for row in rows_of(evaluation, "sct").values()] == [None, "true CT", None]
    assert any("head1 (true CT)" in note for note in evaluation.notes)
    assert "head1 (true CT)" in (folder / "out/report.html").read_text()


def test_what_the_true_ct_does_not_cover_is_not_measured(folder):
    save(folder / "ct/head0.nii.gz", head(0)[0][:, :, :10])
    assert rows_of(run(folder, mask=str(folder / "mask")), "sct")["head0"]["mae"] == pytest.approx(10, abs=1e-3)


def test_a_bad_case_is_named_and_the_others_go_on(folder):
    (folder / "sct/head1_sct.nii.gz").write_bytes(b"not a volume")
    save(folder / "mask/head2.nii.gz", np.zeros((28, 30, 18), np.uint8))
    save(folder / "sct/lonely_sct.nii.gz", head(0)[0])
    evaluation = run(folder, mask=str(folder / "mask"))
    assert list(rows_of(evaluation, "sct")) == ["head0"]
    assert [failure.split(":")[0] for failure in evaluation.failures] == ["lonely", "head1", "head2"]
    assert "lonely" in (folder / "out/report.html").read_text()


def test_what_is_written_of_a_bad_case_names_its_files_without_their_folders(folder):
    for name in ("sct/head1_sct.nii.gz", "ct/head2.nii.gz"):
        (folder / name).write_bytes(b"not a volume")
    (folder / "mask/head0.nii.gz").unlink()
    save(folder / "sct/a/head3_sct.nii.gz", head(0)[0])
    for name in ("ct/a/head3.nii.gz", "ct/b/head3.nii.gz", "mask/head3.nii.gz"):
        save(folder / name, head(0)[1])
    failures = run(folder, mask=str(folder / "mask")).failures
    for start in ("head1: head1_sct.nii.gz: ", "head2: head2.nii.gz: ", "head0: no mask in mask", "head3: 2 files"):
        assert any(failure.startswith(start) for failure in failures)
    assert any("a/head3.nii.gz, b/head3.nii.gz" in failure for failure in failures)
    for path in (folder / "out").iterdir():
        assert str(folder).encode() not in path.read_bytes()


def test_references_without_a_prediction_are_only_noted(folder):
    (folder / "sct/head2_sct.nii.gz").unlink()
    evaluation = run(folder)
    assert not evaluation.failures
    assert any("head2" in note for note in evaluation.notes)


def test_nothing_that_matches_says_what_was_found(folder):
    save(folder / "other/patient.nii.gz", head(0)[0])
    with pytest.raises(UserError, match=r"head0, head1, head2.*patient"):
        evaluate(Sources(str(folder / "sct"), str(folder / "other")), folder / "out")


def test_one_file_is_held_against_one_file_whatever_their_names(folder):
    truth = save(folder / "other/patient.nii.gz", head(0)[0])
    evaluation = evaluate(Sources(str(folder / "sct/head0_sct.nii.gz"), str(truth)), folder / "out")
    assert evaluation.summary["mae"]["sct"]["mean"] == pytest.approx(10, abs=1e-3)


def test_two_files_of_one_name_are_not_guessed_between(folder):
    save(folder / "ct/again/head0.nii.gz", head(0)[0])
    evaluation = run(folder)
    assert "2 files" in evaluation.failures[0] and evaluation.failures[0].startswith("head0:")


def test_an_output_that_is_a_file_is_refused(folder):
    (folder / "out").write_text("mine")
    with pytest.raises(UserError, match="out"):
        run(folder)
    assert (folder / "out").read_text() == "mine"


def test_gradient_correlation_falls_when_the_ct_is_shifted():
    ct, mr = head(0)
    inside = ct > -500
    values = [mr_gradient_correlation(np.roll(ct, shift, axis=0), mr, inside, AFFINE) or 0 for shift in (0, 1, 2)]
    assert values[0] > values[1] > values[2]


def test_gradient_correlation_is_that_of_axial_slices_in_any_axis_order():
    ct, mr = head(0)
    # File axes run down, left and front; in right, front, up order they are those of `head`.
    turned = [np.flip(image, (0, 2)).transpose(2, 0, 1) for image in (ct, mr, ct > -500)]
    expected = mr_gradient_correlation(ct, mr, ct > -500, AFFINE)
    assert mr_gradient_correlation(turned[0], turned[1], turned[2], FLIPPED) == pytest.approx(expected, abs=1e-6)


def test_table_and_pictures_show_the_worst_case_first(folder):
    run(folder, mr=str(folder / "mr"))
    text = (folder / "out/report.html").read_text(encoding="utf-8")
    worst = ["head2", "head1", "head0"]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text)[-3:] == worst
    table = text[text.index("Cases, worst MAE first") : text.index(">Pictures<")]
    assert re.findall(r">(head\d)<", table) == worst


def test_the_true_cts_correlation_with_the_mr_stands_beside_as_the_aim(folder):
    ct, mr = head(0)
    save(folder / "sct/head0_sct.nii.gz", np.roll(ct, 2, axis=0))
    row = rows_of(run(folder, mr=str(folder / "mr"), mask=str(folder / "mask")), "sct")["head0"]
    assert row["gc_reference"] == pytest.approx(mr_gradient_correlation(ct, mr, ct > -500, AFFINE))
    assert float(row["gc"] or 0) < float(row["gc_reference"] or 0)


def test_two_methods_are_measured_on_the_same_voxels_and_tested_in_pairs(folder):
    for seed in range(3):
        ct, _ = head(seed)
        save(folder / f"other/head{seed}.nii.gz", (ct + 15 * (seed + 2))[:, :, :16])
    evaluation = run(folder, mask=str(folder / "mask"), compare={"compared": str(folder / "other")})
    ours, theirs = rows_of(evaluation, "sct"), rows_of(evaluation, "compared")
    assert [row["mae"] for row in theirs.values()] == pytest.approx([30, 45, 60], abs=1e-3)
    assert all(ours[case]["voxels"] == theirs[case]["voxels"] for case in ours)
    ct, _ = head(0)
    assert ours["head0"]["voxels"] == (ct > -500)[:, :, :16].sum() and ours["head0"]["resampled"] == "compared CT"
    found = evaluation.summary["mae"]["compared"]
    assert (found["gain"], found["better"], found["pairs"]) == (pytest.approx(25, abs=1e-3), 3, 3)
    assert (found["gain_ci95_low"] or 0) < 25 < (found["gain_ci95_high"] or 0) and found["effect"] == 1
    stored = json.loads((folder / "out/evaluation.json").read_text())
    assert stored["summary"]["mae"]["compared"] == found
    assert stored["agreement"]["compared"]["bias"] == pytest.approx(45, abs=2)
    text = (folder / "out/report.html").read_text(encoding="utf-8")
    assert "Against the compared CT" in text and "gain (95 % CI)" in summary_table(evaluation)


@pytest.mark.parametrize(("name", "shown"), [("compared", 3), ("Dr Doe", 0)])
def test_no_picture_with_a_name_that_people_gave_is_for_others(folder, name, shown):
    evaluation = run(folder, compare={name: str(folder / "ct")})
    assert len(evaluation.pictures) == 3 and len(anonymous(evaluation, lambda case: case).pictures) == shown


def test_several_named_methods_are_measured_on_the_same_voxels_and_each_is_tested(folder, capsys):
    for seed in range(3):
        ct, _ = head(seed)
        save(folder / f"cut/head{seed}.nii.gz", (ct + 40)[:, :, :15])
        save(folder / f"mask_gan/head{seed}_sct.nii.gz", (ct + 2)[:, :, 1:], ONE_SLICE_UP)
    words = ["--predicted", folder / "sct", "--reference", folder / "ct", "--output", folder / "out"]
    words += ["--compare", f"CUT={folder / 'cut'}", f"MaskGAN={folder / 'mask_gan'}", "--mask", folder / "mask"]
    assert main(["evaluate", *map(str, words)]) == 0
    stored = json.loads((folder / "out/evaluation.json").read_text())
    assert list(stored["summary"]["mae"]) == ["sct", "CUT", "MaskGAN", "constant"]
    assert stored["summary"]["mae"]["CUT"]["better"] == 3 and stored["summary"]["mae"]["MaskGAN"]["pairs"] == 3
    assert {row["method"]: row["voxels"] for row in stored["cases"]}.keys() == {"sct", "CUT", "MaskGAN", "constant"}
    assert all(
        len({row["voxels"] for row in stored["cases"] if row["case"] == f"head{seed}"}) == 1 for seed in range(3)
    )
    assert {"CUT", "MaskGAN"} < stored["agreement"].keys()
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    assert "Against CUT" in page and "Against MaskGAN" in page and "Better than CUT:" in capsys.readouterr().out


def test_label_maps_of_an_unknown_method_are_refused(folder, capsys):
    words = ["--predicted", folder / "sct", "--reference", folder / "ct", "--output", folder / "out"]
    words += ["--labels", folder / "mask", "--predicted_labels", folder / "mask"]
    words += ["--compare", f"CUT={folder / 'ct'}", "--compared_labels", f"MaskGAN={folder / 'mask'}"]
    assert main(["evaluate", *map(str, words)]) == 2
    assert "--compared_labels: MaskGAN is not in --compare" in capsys.readouterr().err


def test_tables_and_figures_for_papers_lie_beside_the_report(folder):
    run(folder)
    out = folder / "out"
    assert (out / "table.md").read_text().startswith("| mean") and "\\toprule" in (out / "table.tex").read_text()
    for name in ("errors_by_case", "agreement"):
        assert b"<svg" in (out / f"{name}.svg").read_bytes() and (out / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"


def test_the_report_says_when_how_many_by_which_model_and_the_interval(folder):
    model = {
        "tool": "cyclegan-gc 1.0.0",
        "settings": {"models": ["ab" * 32]},
        "models": [{"name": "RUN/last.pt", "step": 3000, "sha256": "ab" * 32}],
    }
    (folder / "sct/head0_sct.json").write_text(json.dumps(model))
    evaluation = run(folder, mr=str(folder / "mr"))
    assert evaluation.models == ["RUN/last.pt, step 3000"]
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    for text in (date.today().isoformat(), "n = 3 cases", "RUN/last.pt, step 3000", "95 % CI", "GC is the correlation"):
        assert text in page
    assert "<strong>20.0 ± 10.0 (-4.8 to 44.8)</strong>" in page


def test_a_sidecar_without_a_name_gives_the_hash_and_none_at_all_the_checkpoint_of_the_baseline(folder):
    nameless = {"tool": "cyclegan-gc 1.0.0", "settings": {"models": ["ab" * 32]}}
    (folder / "sct/head0_sct.json").write_text(json.dumps(nameless))
    assert run(folder).models == ["SHA-256 abababababab"]
    (folder / "sct/head0_sct.json").write_text("[]")
    one = histogram(np.zeros(9), -1, 1)
    model = HistogramModel(one, one, PreprocessConfig(), "RUN/best.pt, step 7")
    assert run(folder, model=model).models == [
        "RUN/best.pt, step 7 (of --checkpoint; the synthetic CTs have no sidecar)"
    ]


def test_a_case_that_the_other_method_lacks_is_named(folder):
    save(folder / "other/head1.nii.gz", head(1)[0])
    evaluation = run(folder, compare={"compared": str(folder / "other")})
    assert [failure.split(":")[0] for failure in evaluation.failures] == ["head0", "head2"]
    assert "compared CT" in evaluation.failures[0] and list(rows_of(evaluation, "compared")) == ["head1"]


def test_label_maps_on_another_grid_are_compared_where_the_true_one_reaches(folder):
    for seed in range(3):
        ct, _ = head(seed)
        labels = np.digitize(ct, [-500, 300]).astype(np.uint8)
        save(folder / f"predicted/head{seed}.nii.gz", labels)
        save(folder / f"labels/head{seed}.nii.gz", labels[:, :, 2:15], TWO_SLICES_UP)
    sources = {"labels": str(folder / "labels"), "predicted_labels": str(folder / "predicted")}
    evaluation = run(folder, **sources)
    for row in rows_of(evaluation, "sct").values():
        assert (row["dice_label_1"], row["hd95_label_2"], row["labels_dice"]) == (1, 0, 1)
        assert row["resampled"] == "true labels"
    assert "dice_label_2" in (folder / "out/cases.csv").read_text().splitlines()[0]
    assert "Labels, lowest Dice first" in (folder / "out/report.html").read_text(encoding="utf-8")


def test_labels_of_two_methods_are_compared_where_both_have_voxels(folder):
    for seed in range(3):
        ct, _ = head(seed)
        labels = np.digitize(ct, [-500, 300]).astype(np.uint8)
        save(folder / f"labels/head{seed}.nii.gz", labels)
        save(folder / f"short/head{seed}.nii.gz", ct[:, :, :9])
        save(folder / f"short_labels/head{seed}.nii.gz", labels[:, :, :9])
    sources = {name: str(folder / "labels") for name in ("labels", "predicted_labels")}
    short = {
        "compare": {"compared": str(folder / "short")},
        "compared_labels": {"compared": str(folder / "short_labels")},
    }
    evaluation = run(folder, **sources, **short)
    for method in ("sct", "compared"):
        assert {row["labels_dice"] for row in rows_of(evaluation, method).values()} == {1}


def test_a_label_that_was_missed_leaves_no_mean_distance_to_the_others(folder):
    for seed in range(3):
        labels = np.digitize(head(seed)[0], [-500, 300]).astype(np.uint8)
        save(folder / f"labels/head{seed}.nii.gz", labels)
        save(folder / f"predicted/head{seed}.nii.gz", np.where(labels == 2, 0, labels))
    rows = rows_of(run(folder, labels=str(folder / "labels"), predicted_labels=str(folder / "predicted")), "sct")
    for row in rows.values():
        assert (row["dice_label_2"], row["labels_hd95"]) == (0, None) and row["hd95_label_1"] is not None


@pytest.mark.parametrize(
    ("result", "beside"), [("a_sct", "a_sct_uncertainty"), ("a_desc-synthetic_ct", "a_desc-uncertainty_ct")]
)
def test_the_map_of_uncertainty_beside_a_result_is_no_case_but_alone_it_is(tmp_path, result, beside):
    case = result.removesuffix("_sct")
    for name in (f"sct/{result}", f"sct/{beside}", f"alone/{beside}", f"ct/{case}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    sources = Sources(predicted=str(tmp_path / "sct"), reference=str(tmp_path / "ct"))
    cases, failures, _ = match_cases(sources)
    assert [each.sct.path.name for each in cases] == [f"{result}.nii.gz"] and not failures
    [alone], *_ = match_cases(replace(sources, predicted=str(tmp_path / "alone"), reference=str(tmp_path / "alone")))
    assert alone.id == beside


def test_the_body_outline_is_found_in_both_cts_alike(folder):
    ct, _ = head(0)
    save(folder / "sct/head0_sct.nii.gz", np.roll(ct, 3, axis=0))
    rows = rows_of(run(folder, mask=str(folder / "mask")), "sct")
    body = ct_body_mask(ct, (3, 3, 4))
    assert rows["head0"]["body_dice"] == pytest.approx(metrics.dice(np.roll(body, 3, axis=0), body), abs=0.01)
    assert rows["head1"]["body_dice"] == 1


def test_a_synthetic_ct_without_a_body_has_no_overlap(folder):
    save(folder / "sct/head0_sct.nii.gz", head(0)[0] * 0.01 - 990)
    assert rows_of(run(folder), "sct")["head0"]["body_dice"] == 0


UNITS = {
    "+1024": lambda ct: ct + 1024,
    "8 bits": lambda ct: np.clip(ct / 8 + 128, 0, 255),
    "[-1, 1]": lambda ct: ct / 1000,
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("sides", [("ct",), ("sct",), ("other",), ("sct", "ct")], ids="+".join)
def test_a_case_of_which_any_ct_is_not_in_hu_is_refused(tmp_path, unit, sides):
    ct, _ = head(0)
    sct, truth, other = (
        source_of(save(tmp_path / f"{side}.nii.gz", unit(ct) if side in sides else ct))
        for side in ("sct", "ct", "other")
    )
    with pytest.raises(VolumeError, match=rf"{sides[0]}\.nii\.gz: not a CT in HU"):
        load_case(CaseFiles("head0", sct, truth, compared={"CUT": other}))


def test_dicom_metaimage_and_nrrd_are_scored_like_nifti(tmp_path, slices_of, write_series):
    """A series as a conversion writes it, a true CT as MetaImage and as a series, a mask as NRRD and as a series."""
    hu = head(0)[0].astype(np.int16)
    for case in ("p1", "p2"):
        slices = list(slices_of(np.swapaxes(hu + 1000, 0, 1)))
        for dataset in slices:
            dataset.SeriesInstanceUID += f".{case[1:]}"
            dataset.PatientID = case
        series = write_series(tmp_path / "mr" / case, slices)
        affine = read_files(series, hu.size).affine
        label = SeriesLabel(case, "Model.", "cyclegan-gc")
        write_ct_series(tmp_path / "sct" / f"{case}_sct", hu + np.int16(10), affine, series, label)
        write_ct_series(tmp_path / "ct" / case, hu, affine, series, label)
        write_ct_series(tmp_path / "mask" / case, (hu > -500).astype(np.int16), affine, series, label)
    for kind, suffix in (("ct", "mha"), ("mask", "nrrd")):
        [source] = find_sources(tmp_path / kind / "p1")[0]
        read = SimpleITK.ReadImage([str(path) for path in sorted(source.files)])
        SimpleITK.WriteImage(read, str(tmp_path / kind / f"p1.{suffix}"))
        for path in source.files:
            path.unlink()
    sct, ct, mr, mask = (str(tmp_path / kind) for kind in ("sct", "ct", "mr", "mask"))
    evaluation = evaluate(Sources(sct, ct, mr, mask), tmp_path / "out")
    assert not evaluation.failures
    rows = rows_of(evaluation, "sct")
    assert [(case, row["mae"], row["voxels"]) for case, row in rows.items()] == [
        (case, pytest.approx(10), (hu > -500).sum()) for case in ("p1", "p2")
    ]


def matched(
    folder: Path, files: dict[str, str], *, predicted: str, reference: str, mr: str = "", mask: str = ""
) -> list[str]:
    """The ids of the cases 1 and 2 of a data set whose files, by kind, are named so; each has its own files."""
    for name in (name.format(number) for name in files.values() for number in (1, 2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    given = (str(folder / each) for each in (predicted, reference, mr or reference, mask or reference))
    sct, ct, mr, mask = given
    cases, failures, _ = match_cases(Sources(sct, ct, mr, mask))
    assert not failures
    for number, case in enumerate(cases, start=1):
        assert {kind: getattr(case, kind).path for kind in files} == {
            kind: folder / name.format(number) for kind, name in files.items()
        }
    return [case.id for case in cases]


@pytest.mark.parametrize(
    ("place", "suffix"), [("data", "mha"), ("data/*/{}.nii.gz", "nii.gz")], ids=["folder", "globs"]
)
def test_synthrad_files_are_matched_by_the_folder_of_the_case(tmp_path, place, suffix):
    files = {kind: f"data/1BA00{{}}/{kind}.{suffix}" for kind in ("mr", "ct", "mask")}
    files["sct"] = "sct/1BA00{}/mr_sct.nii.gz"
    ct, mr, mask = (place.format(kind) for kind in ("ct", "mr", "mask"))
    assert matched(tmp_path, files, predicted="sct", reference=ct, mr=mr, mask=mask) == ["1BA001", "1BA002"]


@pytest.mark.parametrize(
    "sct", ["sub-{0}/anat/sub-{0}_T1w_sct", "sub-{0}/ct/sub-{0}_space-T1w_desc-synthetic_ct"], ids=["plain", "bids"]
)
def test_bids_files_are_matched_by_their_subject(tmp_path, sct):
    names = {"ct": "sub-{0}/ct/sub-{0}_ct", "mr": "sub-{0}/anat/sub-{0}_T1w", "sct": f"derivatives/sct/{sct}"}
    names["mask"] = "derivatives/masks/sub-{0}/sub-{0}_desc-body_mask"
    files = {kind: f"bids/{name}.nii.gz" for kind, name in names.items()}
    results, mr, masks = "bids/derivatives/sct", "bids/sub-*/anat/*_T1w.nii.gz", "bids/derivatives"
    assert len(matched(tmp_path, files, predicted=results, reference="bids", mr=mr, mask=masks)) == 2


def test_names_match_in_any_unicode_form_and_without_the_channel_of_nnunet(tmp_path):
    files = {"sct": unicodedata.normalize("NFD", "sct/José{}_0000_sct.nii.gz"), "ct": "ct/José{}.nii.gz"}
    assert matched(tmp_path, files, predicted="sct", reference="ct") == ["José1", "José2"]


def test_files_that_are_no_cts_by_their_names_are_left_out_with_a_word(tmp_path):
    layout = [f"data/P{number}/{kind}.mha" for number in (1, 2) for kind in ("mr", "ct", "mask")]
    for name in (*layout, "sct/P1.mha", "sct/P2.mha"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    *_, notes = match_cases(Sources(str(tmp_path / "sct"), str(tmp_path / "data")))
    assert notes == [
        "true CT: left out: 2 x mask, not CT, such as P1/mask.mha",
        "true CT: left out: 2 x MR, not CT, such as P1/mr.mha",
    ]


def test_two_predictions_of_one_true_ct_do_not_count_twice(folder):
    save(folder / "sct/again/head0_sct.nii.gz", head(0)[0])
    evaluation = run(folder)
    assert len(evaluation.failures) == 2 and "one of 2 predictions" in evaluation.failures[0]
    assert list(rows_of(evaluation, "sct")) == ["head1", "head2"]
