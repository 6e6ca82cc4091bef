"""Cases of the audit that tests plant faults in."""

from cyclegan_gc.audit.facts import measure_case
from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.formats.volumes import volume_on_grid
from cyclegan_gc.phantom.subject import make_subject
from cyclegan_gc.prepare.preprocess import prepare

SETTINGS = PreprocessConfig()
SUBJECT = make_subject(5)


def facts_of(array, modality, affine=SUBJECT.affine):
    volume = volume_on_grid(array, affine)
    return measure_case(volume, prepare(volume, modality, SETTINGS), modality)


def audited(array, modality, affine=SUBJECT.affine, name="case", held_out=False) -> Audited:
    return Audited(name, modality, held_out, facts_of(array, modality, affine))


def found_in(*cases: Audited, settings=SETTINGS) -> dict[str, str]:
    """Check and level of whatever does not pass."""
    return {each.check: each.level for each in find_faults(cases, settings) if each.level != "pass"}
