from pathlib import Path

import pytest

from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import is_volume
from cyclegan_gc.formats.listing import list_files


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("path\na.nii\n", "line 1: .*path: no such file; looks like a header: remove or correct it"),
        ("# cases\n\nsubject,file\na.nii\n", "line 3: .*looks like a header"),
        ("path\n", "path: no such file; correct the list"),
        ("b.nii\na.nii\n", r"line 1: .*b\.nii: no such file; correct the list"),
        ("a.nii\npath\n", "line 2: .*path: no such file; correct the list"),
    ],
)
def test_a_header_of_a_list_is_named_as_such(lines, told, tmp_path: Path):
    (tmp_path / "a.nii").touch()
    (tmp_path / "cases.csv").write_text(lines)
    with pytest.raises(UserError, match=told):
        list_files(tmp_path / "cases.csv", is_volume)
