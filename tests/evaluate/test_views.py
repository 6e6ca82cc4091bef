import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources


@pytest.fixture
def sources(tmp_path) -> Sources:
    """Two cases in folders of their own, with synthetic and true CT."""
    x, y, z = np.ogrid[-1:1:24j, -1:1:22j, -1:1:14j]
    ct = np.select([x**2 + y**2 + z**2 < size for size in (0.3, 0.5, 0.8)], [40, 900, 0], -1000).astype(np.int16)
    for case in ("a", "<b>"):
        for kind, error_hu in (("sct", 20), ("ct", 0)):
            (tmp_path / kind / case).mkdir(parents=True)
            image = nib.Nifti1Image(ct + np.int16(error_hu), np.diag([8, 8, 10, 1]))  # pyright: ignore[reportPrivateImportUsage]
            nib.save(image, tmp_path / kind / case / "head.nii.gz")  # pyright: ignore[reportPrivateImportUsage]
    return Sources(str(tmp_path / "sct"), str(tmp_path / "ct"))


def links(report: Path) -> list[str]:
    return re.findall(r'<a href="(.*?)">', report.read_text(encoding="utf-8"))


def test_each_case_has_a_page_that_the_report_links_and_that_names_no_path(sources, tmp_path):
    out = tmp_path / "out"
    evaluation = evaluate(sources, out)
    pages = sorted((out / "views").iterdir())
    assert sorted(links(out / "report.html")) == sorted(2 * [page.relative_to(out).as_posix() for page in pages])
    assert len(pages) == len(evaluation.views) == 2
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert any("&lt;b&gt;" in text for text in texts) and not any("<b>" in text for text in texts)
    assert not any(str(tmp_path) in text for text in texts)


def test_pages_and_pictures_of_an_earlier_evaluation_do_not_stay(sources, tmp_path):
    out = tmp_path / "out"
    evaluate(sources, out)
    (out / "views" / "mine.html").touch()
    assert len(evaluate(sources, out, preview="png").pictures) == 2
    assert links(out / "report.html") == [] and [page.name for page in (out / "views").iterdir()] == ["mine.html"]
    assert evaluate(sources, out, preview="none").pictures == {}
