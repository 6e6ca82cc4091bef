"""Pseudonyms that stand for case names in W&B; the key to them stays in the run folder, readable by its owner only."""

import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path

from cyclegan_gc.errors import UserError

FILE = "pseudonyms.json"


class Pseudonyms:
    """Salted hashes of case names, the same in every call of a run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        known = self._load()
        self._salt: str = known["salt"]
        self._names: dict[str, str] = known["cases"]

    def of(self, case: str) -> str:
        """The pseudonym of a case: ``case-`` and 10 hexadecimal digits."""
        salted = (self._salt + case).encode(errors="surrogateescape")  # a name may hold any bytes
        pseudonym = f"case-{hashlib.sha256(salted).hexdigest()[:10]}"
        if pseudonym not in self._names:
            self._names[pseudonym] = case
            self._save()
        return pseudonym

    def _load(self) -> dict:
        """Salt and map; if several processes begin at once, all take the salt of the first one."""
        if not self._path.exists():
            temporary = self._write_temporary({"salt": secrets.token_hex(16), "cases": {}})
            try:
                os.link(temporary, self._path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                shutil.copy(temporary, self._path)
            finally:
                temporary.unlink()
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            return {"salt": str(known["salt"]), "cases": dict(known["cases"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self._path}: cannot be read; restore it or choose another --output") from error

    def _save(self) -> None:
        self._names = self._load()["cases"] | self._names  # another process may have added some
        self._write_temporary({"salt": self._salt, "cases": self._names}).replace(self._path)

    def _write_temporary(self, known: dict) -> Path:
        temporary = self._path.with_name(f".{FILE}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        # Private from its first byte, not made private afterwards.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            json.dump(known, file, indent=1)
        return temporary
