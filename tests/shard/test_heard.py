"""Of what routers say that they serve the latest counts first, and few datasets are remembered."""

from ringkv.shard.heard import MOST, Heard


def test_the_dataset_that_a_router_went_over_to_last_comes_first() -> None:
    heard = Heard()
    assert (heard.datasets, heard.latest) == ((), "")
    for router, dataset in (("one", "a"), ("two", "b"), ("one", "c"), ("two", "b")):
        heard.hear(router, dataset)
    assert heard.datasets == ("c", "b")
    heard.hear("three", "b")
    assert (heard.datasets, heard.latest) == (("b", "c"), "b")


def test_a_router_that_goes_or_serves_nothing_keeps_no_dataset_and_the_last_one_that_was_told_stays() -> None:
    heard = Heard()
    heard.hear("one", "a")
    heard.hear("two", "b")
    heard.hear("two", "")
    assert heard.datasets == ("a",)
    heard.gone("one")
    assert heard.datasets == ("b",)
    heard.gone("stranger")
    heard.hear("three", "")
    assert heard.datasets == ("b",)


def test_no_more_datasets_are_remembered_than_a_shard_may_hold_open() -> None:
    heard = Heard()
    for number in range(MOST + 2):
        heard.hear(number, f"{number}")
    assert heard.datasets == tuple(f"{number}" for number in range(MOST + 1, 1, -1))
