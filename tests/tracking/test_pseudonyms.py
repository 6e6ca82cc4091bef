import json
import stat

from cyclegan_gc.tracking import Pseudonyms


def test_a_pseudonym_stays_in_a_run_and_differs_between_runs(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    first = Pseudonyms(tmp_path / "one").of("DOE^JOHN")
    assert Pseudonyms(tmp_path / "one").of("DOE^JOHN") == first
    assert Pseudonyms(tmp_path / "other").of("DOE^JOHN") != first
    assert "DOE" not in first and first.startswith("case-")


def test_the_map_is_the_owners_alone(tmp_path):
    pseudonym = Pseudonyms(tmp_path).of("DOE^JOHN")
    file = tmp_path / "pseudonyms.json"
    assert json.loads(file.read_text())["cases"] == {pseudonym: "DOE^JOHN"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
