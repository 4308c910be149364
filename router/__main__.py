"""`python -m router`."""

from router.cli import router

router(prog_name="python -m router")
