"""Errors that speak to the person at the keyboard: one line with the file, the cause and the cure."""


class UserError(Exception):
    """A mistake that the user can mend; the command line prints its message and exits with code 2."""


class VolumeError(UserError):
    """One volume cannot be used; a batch names it, goes on with the others and exits with code 3."""


class TrainingStoppedError(Exception):
    """Training cannot go on (a loss is not finite); the command line prints its message and exits with code 4."""
