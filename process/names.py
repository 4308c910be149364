"""Looks up host names, each on a thread of its own: a name that nobody answers for holds up no other, nor the end.

    name ──► under way already? ─ yes ─► its answer
                   │ no
                   ▼
               a thread: getaddrinfo ──► the answer, for all who wait for it

The event loop's own look-ups share two threads, which the first two names without an answer take for ten seconds and
more; those who ask for others would wait, and so would a process that is told to stop.
"""

import asyncio
import errno
import ipaddress
import os
import socket
import threading

from ringkv.process.address import Address

Answer = list[Address] | OSError


class Names:
    """The look-ups that are under way: one for each name at most, however many ask and give up."""

    def __init__(self) -> None:
        self._asked: dict[Address, asyncio.Future[list[Address]]] = {}

    def ask(self, name: Address) -> asyncio.Future[list[Address]]:
        """The addresses behind a name, not to be cancelled, as others may wait for them. Raises OSError."""
        asked = self._asked.get(name)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[name] = loop.create_future()
            thread = threading.Thread(target=self._look_up, args=(loop, name), name="ringkv-names", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there is no room for another thread now
                self._tell(name, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        return asked

    async def behind(self, address: Address) -> list[Address]:
        """The same for what may be no name: that is its own address. Raises OSError."""
        if address.port is None or _is_ip(address.host):
            return [address]
        return await asyncio.shield(self.ask(address))

    def _look_up(self, loop: asyncio.AbstractEventLoop, name: Address) -> None:
        answer: Answer
        try:
            found = socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
            answer = [Address(str(sockaddr[0]), int(sockaddr[1]), name.host) for *_, sockaddr in found]
        except OSError as error:
            answer = error
        try:
            loop.call_soon_threadsafe(self._tell, name, answer)
        except RuntimeError:
            return  # the loop has ended, and with it everybody who asked

    def _tell(self, name: Address, answer: Answer) -> None:
        asked = self._asked.pop(name)
        if isinstance(answer, OSError):
            asked.set_exception(answer)
            asked.exception()  # retrieved, as whoever asked may have given up
        else:
            asked.set_result(answer)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
