from pathlib import Path

from cyclegan_gc.errors import labelled


def test_paths_in_a_message_become_labels_and_words_that_end_like_one_stay():
    labels = {Path("/data/p  1/a.nii"): "a.nii", "/data/p  1/": "", Path("ct"): "CT", "/data": "input"}
    message = "/data/p  1/a.nii: not on the grid of /data/p  1/b.nii (/data/other,\nsct/x, /mnt/data/y)"
    told = "a.nii: not on the grid of b.nii (input/other, sct/x, /mnt/data/y)"
    assert labelled(message, labels) == told
