"""Gradient consistency and least-squares adversarial losses on plain tensors.

The gradient correlation is Penney et al. 1998 ("A comparison of similarity measures for use in 2-D-3-D medical image
registration"), its use as a CycleGAN loss Hiasa et al. 2018 (arXiv 1803.06629):

    NCC(A, B) = sum (A - mean A)(B - mean B) / ( sqrt(sum (A - mean A)^2) sqrt(sum (B - mean B)^2) )
    GC(A, B)  = 1/2 { NCC(d_x A, d_x B) + NCC(d_y A, d_y B) }
    L_GC      = E[ 1 - GC(A, B) ]
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

Mode: TypeAlias = Literal["absolute", "signed"]
Operator: TypeAlias = Literal["forward", "central", "sobel"]

# Compared with gradient variances of images in [-1, 1]: too small to change structure, large enough for flat slices.
EPSILON = 1e-6
WINDOW = {"forward": 2, "central": 3, "sobel": 3}


def gradient_correlation(
    a: Tensor,
    b: Tensor,
    *,
    mode: Mode = "absolute",
    operator: Operator = "central",
    mask: Tensor | None = None,
    axis_weights: Sequence[float] | None = None,
) -> Tensor:
    """Correlation of the image gradients of ``a`` and ``b``, one number per sample.

    The printed equations are signed. ``absolute`` takes the size of each derivative first, as the code of the paper's
    first author does, and is the default because cortical bone is dark in MR and bright in CT: between a head's T1
    and its own CT (colin27, as this package prepares them) signed GC (forward) is -0.01 in place and +0.04 with the CT
    shifted by 8 mm, so it prefers the wrong picture; absolute GC (central) falls from 0.38 to 0.18.

    Statistics are taken per sample and channel over the valid region of each axis (nothing is padded), averaged over
    axes and channels. Two flat images agree (1); a flat image and one with structure give about 0. Brightness and
    positive contrast changes do not change GC while the gradient variance stays well above ``EPSILON``.

    Volumes of anisotropic voxels: a difference across thick slices says little, so weigh the axes by the inverse of
    their spacing. For ``(N, C, D, H, W)`` with slices 4 mm apart and pixels of 1 mm::

        gradient_correlation(a, b, axis_weights=(1 / 4, 1, 1))

    Args:
        a: ``(N, C, H, W)`` or ``(N, C, D, H, W)``, about [-1, 1]; half and bfloat16 are promoted to float32.
        b: same shape as ``a``.
        mode: ``absolute`` or ``signed`` derivatives.
        operator: ``forward`` and ``central`` differences, or ``sobel`` (central, smoothed along the other axes).
        mask: bool ``(N or 1, C or 1, *spatial)``; a derivative counts only where its whole neighbourhood is inside
            (2 pixels for ``forward``, 3 for ``central``, 3 along every axis for ``sobel``). Where none is left the
            two images count as flat: 1.
        axis_weights: one weight per spatial axis, in the tensors' order, normalised to sum 1; equal by default, as in
            training. An axis with weight 0 is skipped.

    Returns:
        ``(N,)`` in [-1, 1] up to rounding.

    Raises:
        ValueError: if shapes, mode, operator, mask or weights do not fit.
    """
    _check_images(a, b)
    if mode not in get_args(Mode) or operator not in get_args(Operator):
        raise ValueError(
            f"mode is one of {get_args(Mode)} and operator one of {get_args(Operator)}, got {mode!r} and {operator!r}"
        )
    weights = _normalised_weights(axis_weights, a.ndim - 2)
    _check_size(a, operator, weights)
    if mask is not None:
        _check_mask(mask, a)

    with _full_precision(a.device.type):
        a, b = (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in (a, b))
        if mask is not None:
            # Cleared before differentiation, so that not even a NaN outside the mask reaches a gradient.
            a, b = a.masked_fill(~mask, 0), b.masked_fill(~mask, 0)
        correlation = torch.zeros((), device=a.device)
        for dim, weight in enumerate(weights, start=2):
            if weight > 0:
                inside = None if mask is None else _mask_of_derivatives(mask, dim, operator)
                slope_a, slope_b = _derivative(a, dim, operator), _derivative(b, dim, operator)
                if mode == "absolute":
                    slope_a, slope_b = slope_a.abs(), slope_b.abs()
                correlation = correlation + weight * _ncc(slope_a, slope_b, inside)
        return correlation.mean(dim=1)


def gradient_consistency_loss(
    a: Tensor,
    b: Tensor,
    *,
    mode: Mode = "absolute",
    operator: Operator = "central",
    mask: Tensor | None = None,
    axis_weights: Sequence[float] | None = None,
) -> Tensor:
    """``E[1 - GC(a, b)]`` over the batch, a scalar in [0, 2] (Hiasa et al. 2018).

    Unpaired training compares an input with its own translation. Arguments and errors: :func:`gradient_correlation`.
    """
    return (1 - gradient_correlation(a, b, mode=mode, operator=operator, mask=mask, axis_weights=axis_weights)).mean()


def lsgan_generator_loss(score_fake: Tensor) -> Tensor:
    """``E[(D(fake) - 1)^2]``: the generator wants its fakes scored 1 (Mao et al. 2017)."""
    return (score_fake - 1).square().mean()


def lsgan_discriminator_loss(score_real: Tensor, score_fake: Tensor) -> Tensor:
    """``1/2 { E[(D(real) - 1)^2] + E[D(fake)^2] }``: real scored 1, fake 0 (Mao et al. 2017)."""
    return ((score_real - 1).square().mean() + score_fake.square().mean()) / 2


def _full_precision(device_type: str) -> AbstractContextManager:
    """Autocast off, where the device has it at all."""
    return torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext()


def _ncc(a: Tensor, b: Tensor, inside: Tensor | None) -> Tensor:
    """Normalised cross-correlation per sample and channel, ``(N, C)``, over all pixels or those ``inside``.

    With variances and covariance as means, ``(cov + eps) / (sqrt(var_a + eps) sqrt(var_b + eps))``. A single epsilon
    beside the product of the sums would rate a flat image as perfect; without an epsilon the result would be NaN.
    """
    a, b = a.flatten(2), b.flatten(2)
    if inside is None:
        share = torch.full((1, 1, 1), 1 / a.shape[2], dtype=a.dtype, device=a.device)
    else:
        inside = inside.flatten(2)
        share = inside / inside.sum(dim=2, keepdim=True).clamp(min=1).to(a.dtype)
    a = a - (a * share).sum(dim=2, keepdim=True)
    b = b - (b * share).sum(dim=2, keepdim=True)
    covariance, variance_a, variance_b = ((x * share).sum(dim=2) for x in (a * b, a.square(), b.square()))
    return (covariance + EPSILON) / ((variance_a + EPSILON).sqrt() * (variance_b + EPSILON).sqrt())


def _derivative(image: Tensor, dim: int, operator: Operator) -> Tensor:
    """Derivative along ``dim`` per pixel, at all places whose neighbours exist."""
    if operator == "forward":
        return image.diff(dim=dim)
    if operator == "sobel":
        for other in range(2, image.ndim):
            image = image if other == dim else _smooth(image, other)
    before, _, after = _neighbours(image, dim, 3)
    return (after - before) / 2


def _smooth(image: Tensor, dim: int) -> Tensor:
    """The other factor of Sobel's kernel: [1, 2, 1] / 4 along ``dim``."""
    before, here, after = _neighbours(image, dim, 3)
    return (before + 2 * here + after) / 4


def _mask_of_derivatives(mask: Tensor, dim: int, operator: Operator) -> Tensor:
    """True where the whole neighbourhood of a derivative along ``dim`` lies inside ``mask``."""
    for axis in range(2, mask.ndim) if operator == "sobel" else (dim,):
        mask = torch.stack(_neighbours(mask, axis, WINDOW[operator])).all(dim=0)
    return mask


def _neighbours(image: Tensor, dim: int, width: int) -> list[Tensor]:
    """``width`` views of ``image``, each shifted by one more pixel along ``dim``, cut to the valid region."""
    length = image.shape[dim] - width + 1
    return [image.narrow(dim, start, length) for start in range(width)]


def _normalised_weights(axis_weights: Sequence[float] | None, axes: int) -> list[float]:
    weights = [1.0] * axes if axis_weights is None else [float(w) for w in axis_weights]
    total = sum(weights)
    if len(weights) != axes or min(weights) < 0 or not 0 < total < float("inf"):
        raise ValueError(f"axis_weights needs {axes} finite weights of 0 or more, not all 0; got {axis_weights}")
    return [w / total for w in weights]


def _check_images(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"images to correlate must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    if a.ndim not in (4, 5) or a.numel() == 0:
        raise ValueError(f"images must be (N, C, H, W) or (N, C, D, H, W) and not empty, got {tuple(a.shape)}")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"images must be floating point, got {a.dtype} and {b.dtype}")


def _check_size(image: Tensor, operator: Operator, weights: list[float]) -> None:
    """Sobel looks along every axis, the plain differences only along the axes that count."""
    window = WINDOW[operator]
    short = [n < window for n, w in zip(image.shape[2:], weights, strict=True) if w > 0 or operator == "sobel"]
    if any(short):
        raise ValueError(f"{operator} differences need {window} pixels an axis, got an image of {tuple(image.shape)}")


def _check_mask(mask: Tensor, image: Tensor) -> None:
    fits = mask.ndim == image.ndim and mask.shape[2:] == image.shape[2:]
    if mask.dtype != torch.bool or not fits or any(mask.shape[i] not in (1, image.shape[i]) for i in (0, 1)):
        raise ValueError(
            f"mask must be bool and (N or 1, C or 1, *spatial) for an image of {tuple(image.shape)}, "
            f"got {mask.dtype} {tuple(mask.shape)}"
        )
