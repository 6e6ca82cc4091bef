"""Synthetic subjects with MR, CT and labels for the demo and the tests; begin with `subject.py`."""
