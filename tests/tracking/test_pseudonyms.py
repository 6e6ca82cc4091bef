import json
import stat

import pytest

from cyclegan_gc.errors import UserError
from cyclegan_gc.tracking import Pseudonyms


def test_a_pseudonym_stays_in_a_run_and_differs_between_runs(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    first = Pseudonyms(tmp_path / "one").of("DOE^JOHN")
    assert Pseudonyms(tmp_path / "one").of("DOE^JOHN") == first
    assert Pseudonyms(tmp_path / "other").of("DOE^JOHN") != first
    assert "DOE" not in first and first.startswith("case-")


def test_two_that_write_at_once_share_the_salt_and_lose_no_case(tmp_path):
    one, other = Pseudonyms(tmp_path), Pseudonyms(tmp_path)
    names = {one.of("A"): "A", other.of("B"): "B"}
    assert json.loads((tmp_path / "pseudonyms.json").read_text())["cases"] == names
    assert Pseudonyms(tmp_path).of("B") == other.of("B")


def test_a_map_that_cannot_be_read_is_not_made_anew(tmp_path):
    (tmp_path / "pseudonyms.json").write_text('{"cases": {}')
    with pytest.raises(UserError, match=r"pseudonyms\.json: cannot be read"):
        Pseudonyms(tmp_path)


def test_the_map_is_the_owners_alone(tmp_path):
    pseudonym = Pseudonyms(tmp_path).of("DOE^JOHN")
    file = tmp_path / "pseudonyms.json"
    assert json.loads(file.read_text())["cases"] == {pseudonym: "DOE^JOHN"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
