"""Defaults that stand twice: a command line has to load little, and so does not import the settings that it fills."""

import click
import pytest

from ringkv.deploy.cli import shard, up
from ringkv.router.cli import router
from ringkv.router.policy import HOT_MEMORY, HOT_OWNERS
from ringkv.shard.settings import GRACE, WARM_RATE


@pytest.mark.parametrize(
    ("command", "name", "wanted"),
    [
        (up, "warm_rate", WARM_RATE),
        (shard, "warm_rate", WARM_RATE),
        (shard, "grace", GRACE),
        (up, "hot_memory", HOT_MEMORY),
        (router, "hot_memory", HOT_MEMORY),
        (up, "hot_owners", HOT_OWNERS),
        (router, "hot_owners", HOT_OWNERS),
    ],
)
def test_an_option_has_the_default_of_the_settings_that_it_fills(
    command: click.Command, name: str, wanted: float
) -> None:
    (option,) = (option for option in command.params if option.name == name)
    assert option.type_cast_value(click.Context(command), option.default) == wanted
