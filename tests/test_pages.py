"""All pages opened in Chromium, where it is installed, on a wide screen and on one as narrow as a phone."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from browser import needs_browser, opened

from cyclegan_gc.convert.index import write_index
from cyclegan_gc.convert.manifest import manifest_of
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources
from cyclegan_gc.pictures.sheets import png_of
from cyclegan_gc.train.progress import write_progress

WIDTHS = (1400, 400)
LONG_NAME = "sub-0123456789_ses-preoperative_acq-mprage_run-01_desc-defaced_T1w"
MEASURE = """(() => {
  const right = (element) => element.getBoundingClientRect().right;
  const free = [...document.body.querySelectorAll("*")].filter((element) => !element.closest(".scroll *"));
  return {
    page: document.documentElement.scrollWidth,
    widest: Math.max(...free.map(right)),
    reasons: Math.max(0, ...[...document.querySelectorAll("td.text")].map(right)),
    shown: [...document.images].every((image) => image.naturalWidth > 0),
  };
})()"""


def index(folder: Path) -> Path:
    """The page of a conversion with many reasons, a failed case and a long name."""
    reasons = [f"the peak of tissue {number} lies +78 HU from the training CTs'" for number in range(6)]
    figures = {"gc": 0.5, "outline_dice": 0.99, "cycle_error": 1.0, "shift_mm": 0.0}
    case = {"source": f"{LONG_NAME}.nii.gz", "result": f"{LONG_NAME}_sct.nii.gz", "outcome": "converted"}
    case |= {
        "failure": None,
        "verdict": "implausible",
        "reasons": reasons,
        "figures": figures,
        "warnings": [" ".join(reasons)],
    }
    case |= {"seconds": 12.345, "preview": None, "view": None}
    failed = {**case, "source": "b.nii.gz", "result": None, "outcome": "failed", "verdict": None, "figures": {}}
    failed["failure"] = f"{LONG_NAME * 3}.nii.gz: the file is empty; copy it again"
    (folder / f"{LONG_NAME}_sct.nii.gz").touch()
    models = [{"name": "RUN/last.pt", "step": 3000, "sha256": "0123456789abcdef" * 4}]
    settings = {"tool": "cyclegan-gc", "models": ["0123456789abcdef" * 4], "planes": ["axial", "coronal"]}
    write_index(folder / "index.html", manifest_of([case, failed], settings, models))
    return folder / "index.html"


def report(folder: Path) -> Path:
    """The report of two cases, two compared methods, pictures, and a case that failed."""
    x, y, z = np.ogrid[-1:1:24j, -1:1:22j, -1:1:14j]
    ct = np.select([x**2 + y**2 + z**2 < size for size in (0.3, 0.5, 0.8)], [40, 900, 0], -1000).astype(np.float32)
    for case in (LONG_NAME, "b"):
        for method, error in (("sct", 20), ("ct", 0), ("mr", 1000), ("cut", 50), ("mask_gan", 5)):
            (folder / method).mkdir(exist_ok=True)
            image = nib.Nifti1Image(ct + error, np.diag([8, 8, 10, 1]))  # pyright: ignore[reportPrivateImportUsage]
            nib.save(image, folder / method / f"{case}.nii.gz")  # pyright: ignore[reportPrivateImportUsage]
    (folder / "sct" / "broken.nii.gz").touch()
    compare = {"CUT": str(folder / "cut"), "MaskGAN": str(folder / "mask_gan")}
    sources = Sources(str(folder / "sct"), str(folder / "ct"), str(folder / "mr"), compare=compare)
    evaluate(sources, folder / "out")
    return folder / "out" / "report.html"


def training(folder: Path) -> Path:
    """The page of a training with an alarm and a wide picture."""
    lines = [{"step": step, "time": 0.0, "cycle_mr": 0.5, "discriminator_ct": 0.2} for step in (10, 20)]
    lines.append({"step": 20, "time": 0.0, "alarm": "identity", "message": LONG_NAME})
    picture = folder / "panels" / "step_0000020.png"
    picture.parent.mkdir()
    picture.write_bytes(png_of(np.zeros((400, 1700, 3), np.uint8)))
    write_progress(folder, lines, ["Step 20 of 30, 0:00:10 left."], {LONG_NAME: picture})
    return folder / "index.html"


def view(folder: Path) -> Path:
    """The page of slices of an evaluated case with a long name, the widest one."""
    report(folder)
    return folder / "out" / "views" / "case_001.html"


def measured(page: Path, width: int, folder: Path) -> dict[str, float]:
    with opened(page, width, folder / "profile") as shown:
        if page.parent.name == "views":
            shown.wait_for('document.querySelectorAll("canvas").length')
        return shown.value(MEASURE)


@needs_browser
@pytest.mark.parametrize("make", [index, report, training, view])
def test_nothing_is_wider_than_the_page_and_the_reasons_are_on_the_screen(make, tmp_path):
    page = make(tmp_path)
    for width in WIDTHS:
        found = measured(page, width, tmp_path)
        assert found["page"] <= width and found["widest"] <= width, (width, found)
        assert found["reasons"] <= found["widest"] and found["shown"], (width, found)


@needs_browser
def test_the_browsers_measurement_finds_what_is_too_wide(tmp_path):
    page = tmp_path / "wide.html"
    page.write_text('<!DOCTYPE html><body><p style="width:500px">wide</p></body>')
    assert measured(page, 400, tmp_path)["widest"] > 400
