"""A trained model in the formats of other programs; begin with `export.py`, then `slices.py` (the network alone)."""
