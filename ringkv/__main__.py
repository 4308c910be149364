"""`python -m ringkv`."""

from ringkv.cli import main

main(prog_name="ringkv")
