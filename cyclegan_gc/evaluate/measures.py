"""Names of the methods and metrics: how each is printed, and which way a metric improves."""

from typing import Literal, NamedTuple

Row = dict[str, float | str | None]

SCT = "sct"
COMPARED = "compared"
BASELINES = ("constant", "histogram_match")
METHOD_LABELS = {
    SCT: "synthetic CT",
    COMPARED: "compared CT",
    "constant": "constant",
    "histogram_match": "histogram match",
}
"""Labels of the methods with a fixed key; a method that the user names is its own label."""
GC_EXPLAINED = (
    "GC is the correlation of a CT's edges with the MR's: 1 where they agree, 0 where they are unrelated. "
    "Aim at the GC of the true CT; a higher value is not better."
)


class Metric(NamedTuple):
    """How a metric is named and printed, and which way it improves ("zero": closer to 0 is better)."""

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
    "vault_mm": Metric("Skull vault [mm]", 1, ""),
    "vault_mm_reference": Metric("Skull vault of the true CT [mm]", 1, ""),
    "vault_holes": Metric("Holes in the vault [share]", 3, "lower"),
    "specks_ml": Metric("Bone in the brain [ml]", 2, "lower"),
    "gc": Metric("GC with the MR", 3, ""),
    "gc_reference": Metric("GC of the true CT", 3, ""),
}
LABEL_METRICS = {
    "dice_label_": Metric("Dice", 3, "higher"),
    "hd95_label_": Metric("HD95 [mm]", 2, "lower"),
}
"""Metrics of a single label; the label's number follows the prefix."""


def method_label(method: str) -> str:
    """A method's name in tables."""
    return METHOD_LABELS.get(method, method)


def in_words(method: str) -> str:
    """A method's name within a sentence: "the constant", or the name that the user gave."""
    return f"the {METHOD_LABELS[method]}" if method in METHOD_LABELS else method


def place_of(method: str) -> int:
    """Sort key of tables: the synthetic CT, then compared methods, then the baselines."""
    if method in BASELINES:
        return 2 + BASELINES.index(method)
    return int(method != SCT)


def all_metrics(rows: list[Row]) -> dict[str, Metric]:
    """`METRICS`, followed by the metrics of every label in the rows, in the order of the labels' numbers."""
    labels = sorted({label_of(name) for row in rows for name in row if name.startswith(tuple(LABEL_METRICS))})
    return METRICS | {f"{start}{label}": metric for label in labels for start, metric in LABEL_METRICS.items()}


def metric_of(name: str) -> Metric:
    """The metric of this name, in `METRICS` or of a single label."""
    return METRICS.get(name) or LABEL_METRICS[name.rstrip("0123456789")]


def label_of(name: str) -> int:
    """The label's number at the end of a metric's name."""
    return int(name.rpartition("_")[2])


def format_value(metric: Metric, value: float | str | None) -> str:
    """A metric's value as printed; a dash where there is none."""
    return f"{value:.{metric.decimals}f}" if isinstance(value, (int, float)) else value or "–"
