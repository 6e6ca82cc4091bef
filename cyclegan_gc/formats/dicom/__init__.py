"""DICOM series in and out.

Begin with `read.py`; `geometry.py` refuses what is not one regular stack, and `write.py` writes a CT series.
"""
