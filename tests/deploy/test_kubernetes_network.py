"""Who may reach whom: the NetworkPolicies, read as Kubernetes reads them, allow what is needed and nothing else."""

from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.deploy.manifests import Document, Manifests, rendered

NAME_SERVER: Final = 53
STORE: Final = 443


@dataclass(frozen=True, slots=True)
class Party:
    """Who takes part in a connection: one of our pods, or, without labels, somebody in another namespace."""

    name: str
    labels: dict[str, str]
    namespace: str = "ringkv"


def party(manifests: Manifests, name: str) -> Party:
    """A component's pod, else a namespace's."""
    found = [pod for pod in manifests.pods() if pod.component == name]
    return Party(name, found[0].labels) if found else Party(name, {}, name)


def matched(selector: Document, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "an unknown kind of selector"
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def is_peer(peer: Document, other: Party) -> bool:
    assert set(peer) <= {"podSelector", "namespaceSelector"}, "an unknown kind of peer"
    inside = other.namespace == "ringkv"
    if "namespaceSelector" in peer:
        inside = matched(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    return inside and matched(peer.get("podSelector", {}), other.labels)


def lets(manifests: Manifests, way: str, one: Party, other: Party, port: int) -> bool:
    """Whether the policies of `one`, which has to be ours, let it talk with `other` in this direction."""
    policies: list[dict[str, Any]] = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy")
        if matched(policy["spec"]["podSelector"], one.labels) and way in policy["spec"]["policyTypes"]
    ]
    if not policies:
        return True
    rules = [rule for policy in policies for rule in policy.get(way.lower(), [])]
    side = "from" if way == "Ingress" else "to"
    return any(
        ("ports" not in rule or any(each["port"] == port for each in rule["ports"]))
        and (side not in rule or any(is_peer(peer, other) for peer in rule[side]))
        for rule in rules
    )


def reaches(manifests: Manifests, client: str, server: str, port: int) -> bool:
    one, other = party(manifests, client), party(manifests, server)
    out = one.namespace != "ringkv" or lets(manifests, "Egress", one, other, port)
    return out and (other.namespace != "ringkv" or lets(manifests, "Ingress", other, one, port))


ALLOWED: Final = {
    ("router", "shard", 7379),
    ("publish", "router", 8000),
    ("others", "router", 8000),
    ("others", "router", 6380),
    ("monitoring", "router", 8000),
    ("monitoring", "router", 6380),
    ("monitoring", "shard", 7380),
    ("shard", "others", STORE),
    ("publish", "others", STORE),
    *((component, "others", NAME_SERVER) for component in ("shard", "router", "publish")),
    *((component, "monitoring", NAME_SERVER) for component in ("shard", "router", "publish")),
    ("shard", "monitoring", STORE),
    ("publish", "monitoring", STORE),
}

PARTIES: Final = ("shard", "router", "publish", "others", "monitoring")
PORTS: Final = (NAME_SERVER, STORE, 6380, 7379, 7380, 8000)


@pytest.mark.parametrize(("overlay", "without"), [("bucket", ()), ("one-node", [("monitoring", "shard", 7380)])])
def test_policies_allow_what_is_needed_and_nothing_else(
    overlay: str, without: tuple[tuple[str, str, int], ...]
) -> None:
    manifests = rendered(overlay)
    found = {
        (client, server, port)
        for client in PARTIES
        for server in PARTIES
        for port in PORTS
        if {client, server} & {"shard", "router", "publish"} and reaches(manifests, client, server, port)
    }
    assert found == ALLOWED - {*without}
