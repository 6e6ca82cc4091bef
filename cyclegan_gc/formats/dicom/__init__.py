"""DICOM series in and out.

Begin with `read.py`. `header.py` is where a file is opened and a tag is read, `frames.py` gives the slices of a series,
`geometry.py` refuses what is not one regular stack, `series.py` groups files, and `write.py` writes a CT series.
"""
