"""Comparisons within a domain and between the two: part of the body, field of view, voxels, contrast."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.audit.checks import HEAD_CM2, Finding, Level
from cyclegan_gc.audit.facts import Facts, thumbnail_of
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
BODY_GREY = 20
"""Grey value above which a thumbnail's voxel lies in the body."""
TURNED, JUDGES = 0.08, 4
"""Gain in correlation from which a head faces backwards, and least number of other heads. A head stored backwards gains
0.16 among the public ones, and one without face and neck up to 0.07."""
OTHER_PIXELS = "show the body at different sizes; set --preprocess.spacing_mm"

Domain = Mapping[str, Facts]
"""Facts of each case by its name."""


def within_domain(cases: Domain, modality: Modality, settings: PreprocessConfig) -> Iterator[Finding]:
    """Differences in pixel size, slice thickness, orientation and, for MR, contrast."""
    if len(cases) < 2:
        return
    pixels = np.array([np.mean(facts["spacing_mm"][:2]) for facts in cases.values()])
    if settings.spacing_mm is None and pixels.max() / pixels.min() > SPREAD:
        sizes = f"axial pixels of {pixels.min():.2g} to {pixels.max():.2g} mm"
        yield Finding("warn", "pixel sizes", f"{sizes} {OTHER_PIXELS}", modality)
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


def turned_heads(mr: Domain, ct: Domain) -> Iterator[Finding]:
    """Heads whose outline fits the mean of the others better when front and back change places."""
    domains: list[tuple[Modality, Domain]] = [("mr", mr), ("ct", ct)]
    outlines: dict[tuple[Modality, str], NDArray] = {
        (domain, name): centred(np.where(thumbnail_of(facts) > BODY_GREY, 1.0, 0.0))
        for domain, cases in domains
        for name, facts in cases.items()
        if facts["area_cm2"] < HEAD_CM2
    }
    for (domain, name), own in outlines.items():
        others = [each for key, each in outlines.items() if key != (domain, name)]
        if len(others) >= JUDGES and float((centred(np.mean(others, axis=0)) * (own[::-1] - own)).sum()) > TURNED:
            text = "the head seems to face backwards; look at audit.png, and turn the volume or correct its header"
            yield Finding("warn", "backwards", text, domain, name)


def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with mean 0 and length 1."""
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _of_another_part(mr: Domain, ct: Domain) -> list[Finding]:
    """Cases whose size is far from the median of all, if they are few."""
    areas = np.array([facts["area_cm2"] for facts in (*mr.values(), *ct.values())])
    middle, found = float(np.median(areas)), []
    domains: list[tuple[Modality, Domain]] = [("mr", mr), ("ct", ct)]
    for domain, cases in domains:
        for name, facts in cases.items():
            own = max(facts["area_cm2"], 1e-6)
            like = float(np.mean(np.maximum(areas / own, own / areas) < OTHER_SIZE))
            if max(own / middle, 1 / (own / middle)) > OTHER_SIZE and like <= FEW:
                level: Level = "fail" if _other_part(own, middle) else "warn"
                sizes = f"largest cross-section of {own:.0f} cm2, median of all {middle:.0f} cm2"
                text = f"{sizes}; leave it out or train it separately"
                found.append(Finding(level, "body part", text, domain, name))
    return found


def _other_part(one: float, other: float) -> bool:
    """Whether one cross-section in cm2 is a head's and the other a torso's; torsos may differ in size."""
    low, high = sorted((one, other))
    return high > OTHER_PART * low and low < HEAD_CM2 < high


def _sizes(mr: Domain, ct: Domain) -> Iterator[Finding]:
    mr_area, ct_area = (float(np.exp(np.mean(np.log([f["area_cm2"] for f in each.values()])))) for each in (mr, ct))
    if max(mr_area / ct_area, ct_area / mr_area) > OTHER_SIZE:
        level: Level = "fail" if _other_part(mr_area, ct_area) else "warn"
        sizes = f"the body's largest cross-section is {mr_area:.0f} cm2 in MR and {ct_area:.0f} cm2 in CT"
        yield Finding(level, "body part", f"{sizes}; give the same part in both")
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
    mr_mm, ct_mm = (np.array([facts["body_mm"][2] for facts in each.values()]) for each in (mr, ct))
    ratios = ct_mm[:, None] / mr_mm
    lead = float((ratios > LONGER).mean() - (ratios < 1 / LONGER).mean())
    if abs(lead) <= LEAD:
        return
    longer, most = ("CT", list(ct)[ct_mm.argmax()]) if lead > 0 else ("MR", list(mr)[mr_mm.argmax()])
    reach = f"the body reaches {np.median(mr_mm):.0f} mm below its top in MR and {np.median(ct_mm):.0f} in CT (medians)"
    text = f"{reach}, so a network may paint what only {longer} shows (most: {most}); cut the volumes to a common part"
    yield Finding("warn", "field of view", text)


def _voxels(mr: Domain, ct: Domain, settings: PreprocessConfig) -> Iterator[Finding]:
    mr_mm, ct_mm = (float(np.median([f["spacing_mm"][:2] for f in each.values()])) for each in (mr, ct))
    if settings.spacing_mm is None and max(mr_mm / ct_mm, ct_mm / mr_mm) > PIXELS:
        yield Finding(
            "warn", "pixel sizes", f"MR pixels of {mr_mm:.2g} mm and CT pixels of {ct_mm:.2g} mm {OTHER_PIXELS}"
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
            fluid = f"fluid looks {'bright' if value > 0 else 'dark'}, unlike in the others"
            text = f"{fluid} (skewness {value:+.2f}, theirs {middle:+.2f}); train each contrast separately"
            yield Finding("warn", "contrast", text, "mr", name)
