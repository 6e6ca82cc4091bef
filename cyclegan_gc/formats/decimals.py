"""The numbers that headers write as text."""


def decimal(text: str) -> float:
    """The number that ASCII characters write, NaN and infinity included.

    Raises:
        ValueError: for all else, also for what Python alone takes for a number (``1_0``, digits of other scripts).
    """
    if not text.isascii() or "_" in text:
        raise ValueError(f"not a decimal number: {text!r}")
    return float(text)
