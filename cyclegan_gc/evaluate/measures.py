"""What is measured, how it is named and printed, and which way it improves."""

from typing import Literal, NamedTuple

Row = dict[str, float | str | None]

SCT = "sct"
COMPARED = "compared"
METHOD_LABELS = {
    SCT: "synthetic CT",
    COMPARED: "compared CT",
    "constant": "constant",
    "histogram_match": "histogram match",
}
"""The synthetic CTs that are judged, those of another method, and the baselines, in the order of all tables."""


class Metric(NamedTuple):
    """How a metric is named and printed, and which way it improves ("zero": the nearer to 0 the better)."""

    label: str
    decimals: int
    better: Literal["lower", "higher", "zero", ""]


METRICS = {
    "mae": Metric("MAE [HU]", 1, "lower"),
    "me": Metric("ME (bias) [HU]", 1, "zero"),
    "error_sd": Metric("SD of the error [HU]", 1, "lower"),
    "psnr": Metric("PSNR [dB]", 2, "higher"),
    "psnr_2025": Metric("PSNR 2025 [dB]", 2, "higher"),
    "ssim": Metric("SSIM", 3, "higher"),
    "ms_ssim": Metric("MS-SSIM", 3, "higher"),
    "mae_air": Metric("MAE air [HU]", 1, "lower"),
    "mae_soft": Metric("MAE soft tissue [HU]", 1, "lower"),
    "mae_bone": Metric("MAE bone [HU]", 1, "lower"),
    "bone_dice": Metric("Dice bone", 3, "higher"),
    "bone_hd95": Metric("HD95 bone [mm]", 2, "lower"),
    "bone_assd": Metric("ASSD bone [mm]", 2, "lower"),
    "body_dice": Metric("Dice body outline", 3, "higher"),
    "labels_dice": Metric("Dice of labels, mean", 3, "higher"),
    "labels_hd95": Metric("HD95 of labels, mean [mm]", 2, "lower"),
    "gc": Metric("GC with the MR", 3, ""),
    "gc_reference": Metric("GC of the true CT", 3, ""),
}
LABEL_METRICS = {
    "dice_label_": Metric("Dice", 3, "higher"),
    "hd95_label_": Metric("HD95 [mm]", 2, "lower"),
}
"""Beginnings of the names of what is measured of each label, which its number ends."""


def all_metrics(rows: list[Row]) -> dict[str, Metric]:
    """`METRICS`, then those of every label that a row holds, by number."""
    labels = sorted({label_of(name) for row in rows for name in row if is_label_metric(name)})
    return METRICS | {f"{start}{label}": metric for label in labels for start, metric in LABEL_METRICS.items()}


def is_label_metric(name: str) -> bool:
    """Whether a name is that of a metric of one label."""
    return name.startswith(tuple(LABEL_METRICS))


def label_of(name: str) -> int:
    """The label that a metric's name ends in."""
    return int(name.rpartition("_")[2])


def format_value(metric: Metric, value: float | str | None) -> str:
    """A metric's value as it is printed; a dash for what a case cannot give."""
    return f"{value:.{metric.decimals}f}" if isinstance(value, (int, float)) else value or "–"
