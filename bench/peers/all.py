"""All peers, in the order of the tables: this project first."""

from typing import Final

from bench.peers.haproxy import HaproxyShards
from bench.peers.nginx import NginxMemcached, NginxReturn
from bench.peers.peer import Peer
from bench.peers.plain import AiohttpDict, AiohttpProxy
from bench.peers.redis import WebdisRedis
from bench.peers.ringkv import Ringkv

PEERS: Final[tuple[Peer, ...]] = (
    Ringkv(),
    NginxMemcached(),
    WebdisRedis(),
    HaproxyShards(),
    AiohttpDict(),
    AiohttpProxy(),
    NginxReturn(),
)
