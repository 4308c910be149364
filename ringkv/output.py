"""Where tables are printed to. A reader that has gone ends the command as it ends those that print text."""

import errno
import os

from rich.console import Console


class Output(Console):
    """Standard output; figures and names in it have no colours of their own."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(highlight=False, width=width)

    def on_broken_pipe(self) -> None:
        """Raises BrokenPipeError, where rich would end the process with the exit code of a failure."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
