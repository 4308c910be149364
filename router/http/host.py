"""What the header Host may hold: a request with any other is refused, as RFC 9112, section 3.2, demands.

One pattern, for the express lane as bytes and for aiohttp's way as text.
"""

from typing import Final

HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){0,255})(?::[0-9]{0,5})?"
"""`uri-host [":" port]` of RFC 9110, section 7.2. It may be empty, if the URI of the request has no host."""
