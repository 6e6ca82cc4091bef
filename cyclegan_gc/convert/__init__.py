"""Conversion of one volume or many; begin with `batch.py`, then `case.py` (one case)."""
