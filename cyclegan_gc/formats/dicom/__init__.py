"""DICOM series in and out.

Begin with `read.py`. `header.py` is where a file is opened and a tag is read, `frames.py` gives the slices of a series,
`geometry.py` refuses what is not one regular stack, `series.py` groups files, `pictures.py` divides a series, and
`ct_image.py` and `write.py` write a CT series.
"""
