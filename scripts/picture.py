"""Draws one evaluated case as a small PNG, as in the README: MR, synthetic CT, true CT and error."""

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image

from cyclegan_gc.evaluate.loading import load_case
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.pictures.truth import case_panel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("sct", "ct", "mr", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--mask", type=Path, help="body mask (default: the body found in the CT)")
    options = parser.parse_args()
    sct, ct, mr = map(source_of, (options.sct, options.ct, options.mr))
    mask = source_of(options.mask) if options.mask else None
    case = load_case(CaseFiles("picture", sct, ct, mr=mr, mask=mask))
    png = case_panel(case.mr, case.sct, case.ct, case.mask, case.affine)
    Image.open(BytesIO(png)).convert("RGB").quantize(256).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
