"""What the Redis port replies if the router cannot answer."""

from ringkv.cluster.errors import RingkvError, TooManyRequests
from ringkv.resp import codec


def unavailable(outcome: RingkvError) -> bytes:
    """The error reply whose first word makes a client wait and try again by itself.

    Clients of Redis Cluster do that on either word (redis-py, ioredis), and go-redis does in any mode. On LOADING
    redis-py would close the connection, and lose the other replies that are on their way there.
    """
    return codec.error("TRYAGAIN" if isinstance(outcome, TooManyRequests) else "CLUSTERDOWN", str(outcome))
