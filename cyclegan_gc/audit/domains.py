"""Comparisons within a domain and between the two: part of the body, field of view, voxels, contrast."""

from collections.abc import Iterator, Mapping

import numpy as np

from cyclegan_gc.audit.checks import HEAD_CM2, Finding, Level
from cyclegan_gc.audit.facts import Facts
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.prepare.modality import Modality

OTHER_PART, OTHER_SIZE = 1.8, 1.5
"""Ratios of cross-sections: torsos have 2.5 to 3 times a head's, adults up to 1.4 times a child's."""
FEW = 1 / 3
"""Largest share of outliers; if more cases differ in size, they are a second group and not outliers."""
PIXELS = 1.25
WIDTHS = 1.25
THICKNESS = 2.0
SPREAD = 1.5
LONGER, LEAD = 1.25, 0.25
"""Ratio from which a body is clearly longer, and the largest lead of one domain in how often that happens."""
CONTRAST = 0.25

Domain = Mapping[str, Facts]
"""Facts of each case by its name."""


def within_domain(cases: Domain, modality: Modality, settings: PreprocessConfig) -> Iterator[Finding]:
    """Differences in pixel size, slice thickness, orientation and, for MR, contrast."""
    if len(cases) < 2:
        return
    pixels = np.array([np.mean(facts["spacing_mm"][:2]) for facts in cases.values()])
    if settings.spacing_mm is None and pixels.max() / pixels.min() > SPREAD:
        yield Finding(
            "warn",
            "pixel sizes",
            f"axial pixels of {pixels.min():.2g} to {pixels.max():.2g} mm show the body at different sizes; set "
            "--preprocess.spacing_mm",
            modality,
        )
    thickest = np.array([max(facts["spacing_mm"]) for facts in cases.values()])
    if thickest.max() / np.median(thickest) > THICKNESS:
        text = f"voxels are at most {thickest.min():.2g} to {thickest.max():.2g} mm long; slices differ in sharpness"
        yield Finding("warn", "slice thickness", text, modality)
    orientations = sorted({facts["orientation"] for facts in cases.values()})
    if len(orientations) > 1:
        text = f"axes point to {', '.join(orientations)}; all volumes are turned to one orientation"
        yield Finding("pass", "orientation", text, modality)
    if modality == "mr":
        yield from _contrasts(cases)


def between_domains(mr: Domain, ct: Domain, settings: PreprocessConfig) -> Iterator[Finding]:
    """Differences between the domains in part of the body, body size, field of view and voxels."""
    if not mr or not ct:
        return
    others = _of_another_part(mr, ct)
    named = {(finding.domain, finding.case) for finding in others}
    rest: list[Domain] = [
        {name: facts for name, facts in cases.items() if (domain, name) not in named}
        for domain, cases in (("mr", mr), ("ct", ct))
    ]
    if all(rest):  # else a whole domain shows another part, which is reported once
        yield from others
        mr, ct = rest
    yield from _sizes(mr, ct)
    yield from _reach(mr, ct)
    yield from _voxels(mr, ct, settings)


def _of_another_part(mr: Domain, ct: Domain) -> list[Finding]:
    """Cases whose size is far from the median of all, if they are few."""
    everything = [*mr.values(), *ct.values()]
    areas = np.array([facts["area_cm2"] for facts in everything])
    middle, found = float(np.median(areas)), []
    domains: list[tuple[Modality, Domain]] = [("mr", mr), ("ct", ct)]
    for domain, cases in domains:
        for name, facts in cases.items():
            area = facts["area_cm2"]
            ratio = max(area, 1e-6) / middle
            like = float(np.mean(np.maximum(areas / max(area, 1e-6), max(area, 1e-6) / areas) < OTHER_SIZE))
            if max(ratio, 1 / ratio) > OTHER_SIZE and like <= FEW:
                level: Level = "fail" if _other_part(area, middle) else "warn"
                text = (
                    f"largest cross-section of {area:.0f} cm2, where the median of all is {middle:.0f} cm2: another "
                    "part of the body or another size; leave it out or train it separately"
                )
                found.append(Finding(level, "body part", text, domain, name))
    return found


def _other_part(one: float, other: float) -> bool:
    """Whether one cross-section in cm2 is a head's and the other a trunk's; trunks may differ in size."""
    low, high = sorted((one, other))
    return high > OTHER_PART * low and low < HEAD_CM2 < high


def _sizes(mr: Domain, ct: Domain) -> Iterator[Finding]:
    mr_area, ct_area = (float(np.exp(np.mean(np.log([f["area_cm2"] for f in each.values()])))) for each in (mr, ct))
    ratio = max(mr_area / ct_area, ct_area / mr_area)
    if ratio > OTHER_SIZE:
        yield Finding(
            "fail" if _other_part(mr_area, ct_area) else "warn",
            "body part",
            f"the body's largest cross-section is {mr_area:.0f} cm2 in MR and {ct_area:.0f} cm2 in CT: different "
            "parts of the body, which a network would turn into each other; give the same part in both",
        )
        return
    for axis, name in enumerate(("front to back", "side to side")):
        mr_mm, ct_mm = (float(np.median([f["body_mm"][axis] for f in each.values()])) for each in (mr, ct))
        if max(mr_mm / ct_mm, ct_mm / mr_mm) > WIDTHS:
            text = f"the body is {mr_mm:.0f} mm in MR and {ct_mm:.0f} mm in CT, {name}; give the same part in both"
            yield Finding("warn", "body size", text)


def _reach(mr: Domain, ct: Domain) -> Iterator[Finding]:
    """Whether one domain reaches lower in the body, such as heads with and without the neck.

    Over all pairs of an MR and a CT: the share with a clearly longer CT minus the share with a clearly longer MR.
    """
    mr_mm, ct_mm = ({name: facts["body_mm"][2] for name, facts in each.items()} for each in (mr, ct))
    ratios = np.array(list(ct_mm.values()))[:, None] / np.array(list(mr_mm.values()))
    lead = float((ratios > LONGER).mean() - (ratios < 1 / LONGER).mean())
    if abs(lead) <= LEAD:
        return
    longer, shorter, name = (ct_mm, mr_mm, "CT") if lead > 0 else (mr_mm, ct_mm, "MR")
    middles = [float(np.median(list(each.values()))) for each in (mr_mm, ct_mm)]
    most = max(longer, key=lambda case: longer[case])
    count = sum(mm > LONGER * np.median(list(shorter.values())) for mm in longer.values())
    yield Finding(
        "warn",
        "field of view",
        f"the body reaches {middles[0]:.0f} mm below its top in MR and {middles[1]:.0f} in CT (medians); {count} of "
        f"{len(longer)} {name} reach clearly lower (most: {most}). A network may paint what only one domain shows, "
        "such as neck or shoulders, into the other; cut the volumes to a common part",
    )


def _voxels(mr: Domain, ct: Domain, settings: PreprocessConfig) -> Iterator[Finding]:
    mr_mm, ct_mm = (float(np.median([f["spacing_mm"][:2] for f in each.values()])) for each in (mr, ct))
    if settings.spacing_mm is None and max(mr_mm / ct_mm, ct_mm / mr_mm) > PIXELS:
        yield Finding(
            "warn",
            "pixel sizes",
            f"MR pixels of {mr_mm:.2g} mm and CT pixels of {ct_mm:.2g} mm show the body at different sizes; set "
            "--preprocess.spacing_mm",
        )
    mr_mm, ct_mm = (float(np.median([f["spacing_mm"][2] for f in each.values()])) for each in (mr, ct))
    if max(mr_mm / ct_mm, ct_mm / mr_mm) > THICKNESS:
        text = f"axial slices lie {mr_mm:.2g} mm apart in MR and {ct_mm:.2g} mm in CT, so they differ in sharpness"
        yield Finding("warn", "slice thickness", text)


def _contrasts(cases: Domain) -> Iterator[Finding]:
    """MRs with bright fluid among those with dark fluid, or the reverse."""
    heads = {name: facts for name, facts in cases.items() if facts["area_cm2"] < HEAD_CM2}
    leaning = {name: facts["contrast"] for name, facts in heads.items() if facts["contrast"] is not None}
    if len(leaning) < 3:
        return
    middle = float(np.median(list(leaning.values())))
    for name, value in leaning.items():
        if (value > 0) != (middle > 0) and abs(value - middle) > CONTRAST:
            brightest = "bright" if value > 0 else "dark"
            text = (
                f"the histogram deep in the head is skewed the other way ({value:+.2f}, the others {middle:+.2f}): "
                f"fluid looks {brightest}, another contrast (T2 among T1); train each contrast separately"
            )
            yield Finding("warn", "contrast", text, "mr", name)
