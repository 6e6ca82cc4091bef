"""Write the pictures of one evaluated case as PNG: scripts/picture.py SCT CT MR MASK OUT.png (README's picture)."""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from cyclegan_gc.evaluate.loading import load_case
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.evaluate.panels import case_panel


def main(sct: str, ct: str, mr: str, mask: str, out: str) -> None:
    case = load_case(CaseFiles("picture", Path(sct), Path(ct), mr=Path(mr), mask=Path(mask)))
    png = case_panel(case.mr, case.sct, case.ct, case.mask, case.affine)
    Image.open(BytesIO(png)).convert("RGB").quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
