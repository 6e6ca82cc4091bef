"""Weights files: the tensors of a model as safetensors, with what its use needs as JSON in the file's header."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.errors import UserError

SUFFIX = ".safetensors"
FORMAT = "1"
KEY = "cyclegan_gc"
"""Entry of the header that holds the JSON."""


def save_weights(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write tensors and facts under ``path``, whole or not at all; returns the facts with the hash of the tensors.

    Raises:
        OSError: if the disk is full or read-only; an earlier file of that name stays as it was.
    """
    from safetensors.torch import save

    known = {**facts, "format": FORMAT, "weights_sha256": _sha256(tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(save(dict(tensors), {KEY: json.dumps(known)}))
    return known


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the CPU, and facts of a weights file.

    Raises:
        UserError: if it is missing, damaged, foreign or of another format; one line.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such weights file; give one that cyclegan-gc export wrote")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        same = facts["weights_sha256"] == _sha256(tensors)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a weights file of cyclegan-gc; give one that cyclegan-gc export wrote") from error
    if facts.get("format") != FORMAT:
        known = facts.get("format")
        raise UserError(f"{path}: weights of format {known!r}, not {FORMAT!r}; use the version that wrote it")
    if not same:
        raise UserError(f"{path}: damaged (its hash differs); copy the file again from its source")
    return tensors, facts


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, shapes and bytes of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
