"""Waiting until a router serves what was published, or says why it does not: how `publish --wait` ends."""

import json
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

from ringkv.client.get import Client, ClientError, Unavailable, Unreachable
from ringkv.cluster.errors import CatalogError, NotServed, StoreError
from ringkv.dataset.catalog import Catalog, Version

INTERVAL: Final = 0.2
"""Seconds between two looks at a router: a swap takes about one, and a look costs it a request."""


def wait_until_served(  # noqa: PLR0913 - what for, where and how long; two choices by name
    url: str, catalog: Catalog, version: Version, seconds: float, *, if_up: bool, tls: ssl.SSLContext | None = None
) -> bool:
    """Wait until the router serves this version of the catalog or a later one.

    False if `if_up`, and the router is not there, or has no shard. Raises NotServed if it refuses, or does not do so
    within so many seconds.
    """
    until = time.monotonic() + seconds
    why = "it has not answered"
    while time.monotonic() < until:
        try:
            with Client(url, timeout=max(1.0, seconds), tls=tls) as client:
                said = json.loads(client.page("versions"))
                if said["served"] and _serves(catalog, version, said["served"]):
                    return True
                if if_up and not _has_shards(client):
                    return False
            why = _why(url, said, version)
        except Unreachable as error:
            if if_up:
                return False
            why = str(error)
        except (ClientError, CatalogError, StoreError) as error:
            why = str(error)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotServed(f"{url}: does not tell its versions as a ringkv router of this version does") from error
        time.sleep(INTERVAL)
    raise NotServed(f"{url}: does not serve version {version.serial} after {seconds:g} s: {why}")


def _has_shards(client: Client) -> bool:
    """Whether the router can serve anything: its shards may be started only after this publisher has ended."""
    try:
        client.page("readyz")
    except Unavailable:
        return False
    return True


def _serves(catalog: Catalog, version: Version, served: dict[str, Any]) -> bool:
    """Whether what the router serves is this version or a later one.

    A catalog that was made anew begins with serial 1: a higher one may be of the catalog that was there before.
    """
    serial, dataset = served["serial"], served["dataset"]
    if serial <= version.serial or dataset == version.dataset:
        return bool(serial >= version.serial and dataset == version.dataset)
    current = catalog.current()
    known = (current.version, *current.history) if current else ()
    return any((other.serial, other.dataset) == (serial, dataset) for other in known)


def _why(url: str, said: dict[str, Any], version: Version) -> str:
    """Why the router does not serve the version yet, as far as it knows. Raises NotServed if it never will."""
    swapping = said["swapping"]
    if not swapping or swapping["serial"] < version.serial:
        served = said["served"]
        return f"it serves version {served['serial']}, dataset {served['dataset']}" if served else "it serves nothing"
    if swapping["refused"]:
        raise NotServed(
            f"{url}: refuses version {version.serial}: {swapping['refused']};"
            " publish again with --force-swap if it is to be served"
        )
    return _listed(f"shard {waited['shard']}: {waited['why']}" for waited in swapping["waiting_for"])


def _listed(reasons: Iterable[str]) -> str:
    return ", ".join(reasons) or "it is about to"
