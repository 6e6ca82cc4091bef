"""Volume files in and out: NIfTI, MetaImage, NRRD and DICOM, their geometry, and finding them.

Begin with `volumes.py` (one volume) and `sources.py` (the cases of an input).
"""
