"""Names that tell cases apart and tell nothing else; the key to them stays in the run folder, for its owner alone."""

import hashlib
import json
import os
import secrets
from pathlib import Path

FILE = "pseudonyms.json"
"""Salt and map, readable by the owner of the run only."""


class Pseudonyms:
    """Salted hashes of case names, the same in every call of a run; the map is kept beside the run.

    Args:
        folder: run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        known = self._known()
        self._salt: str = known["salt"]
        self._names: dict[str, str] = known["cases"]

    def of(self, case: str) -> str:
        """``case-`` and 10 hexadecimal digits."""
        pseudonym = f"case-{hashlib.sha256((self._salt + case).encode()).hexdigest()[:10]}"
        if pseudonym not in self._names:
            self._names[pseudonym] = case
            self._write()
        return pseudonym

    def _known(self) -> dict:
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there yet, or half written by a killed process
            return {"salt": secrets.token_hex(16), "cases": {}}

    def _write(self) -> None:
        temporary = self._path.with_name(f".{FILE}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        # Private from its first byte, not made private afterwards.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            json.dump({"salt": self._salt, "cases": self._names}, file, indent=1)
        temporary.replace(self._path)
