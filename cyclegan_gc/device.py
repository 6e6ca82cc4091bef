"""Which processor to run on."""

import torch

from cyclegan_gc.errors import UserError


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU; other names must be available.

    Raises:
        UserError: if the name is unknown or its hardware is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({cause}); choose auto, cpu, cuda, cuda:N or mps") from error
    return device
