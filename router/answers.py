"""What the outcome of a lookup is in HTTP: the one table that both lanes answer by."""

from dataclasses import dataclass

from aiohttp import web

from cluster.errors import InvalidKey, ShardUnavailable
from cluster.server import VERSION
from router.lookup import Reply
from router.policy import RETRY_AFTER

SERVER = f"ringkv/{VERSION}"
CONTENT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without what every response has; `headers` precede Content-Type."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


def answer(outcome: Reply | InvalidKey, dataset_id: str | None) -> Answer:
    """The response to `GET /<key>`. A value comes from a dataset, so that its id is known then."""
    match outcome:
        case bytes():
            return Answer(200, "OK", {"ETag": f'"{dataset_id}"'}, outcome)
        case None:
            return Answer(404, "Not Found", {}, b"no such key in the dataset\n")
        case InvalidKey():
            return Answer(400, "Bad Request", {}, f"{outcome}\n".encode())
        case ShardUnavailable():
            return Answer(503, "Service Unavailable", {"Retry-After": RETRY_AFTER}, f"{outcome}\n".encode())


def response(answer: Answer) -> web.Response:
    headers = {**answer.headers, "Content-Type": CONTENT_TYPE}
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=answer.body)


def plain(status: int, line: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{line}\n", headers=headers)
