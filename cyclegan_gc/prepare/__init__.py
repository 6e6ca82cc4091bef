"""The preparation that training and conversion share: the MONAI pipeline, body masks, the network's grid, and back.

Begin reading in :mod:`cyclegan_gc.prepare.transforms`.
"""
