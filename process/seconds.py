"""Seconds as the type of an option: apart from the other options, whose types need asyncio and ssl to be loaded."""

from math import isnan
from typing import Any

import click


class SecondsType(click.FloatRange):
    """A number of seconds in a range, which `nan` would be in, as it is neither below nor above any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if isnan(found):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return found
