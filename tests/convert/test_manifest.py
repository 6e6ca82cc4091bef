import json
import os

from cyclegan_gc.cli import main


def test_a_manifest_of_a_shard_that_cannot_be_used_is_named_in_one_line(tmp_path, capsys):
    case = {"source": "a", "result": None, "outcome": "failed", "failure": "no", "verdict": None, "reasons": []}
    case |= {"figures": {}, "warnings": [], "seconds": 1.0, "preview": None, "view": None}
    whole = {"tool": "cyclegan-gc 1", "settings": {}, "models": [], "left_out": [], "cases": [case]}
    good, bad = tmp_path / "manifest_1of2.json", tmp_path / "manifest_2of2.json"
    good.write_text(json.dumps(whole))
    deep = "[" * 500 + "]" * 500
    lines = [
        {"cases": 3},
        {"left_out": [{}]},
        {"models": ["m"]},
        {"settings": {"a": {}}},
        {"cases": [{**case, "seconds": "x"}]},
    ]
    for text in ("[" * 100_000, "{", "[]", *(json.dumps({**whole, **each}) for each in lines)):
        bad.write_text(text)
        assert main(["manifest", "merge", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert f"{bad}: damaged or no manifest of a shard" in error and "run it again with --shard 2/2" in error
    bad.write_text(json.dumps(whole).replace('"seconds"', f'"more": {deep}, "seconds"'))
    assert main(["manifest", "merge", str(tmp_path)]) == 3
    bad.unlink()
    os.mkfifo(bad)
    assert main(["manifest", "merge", str(tmp_path)]) == 2 and str(bad) in capsys.readouterr().err
