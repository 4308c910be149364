"""Imported first, it has the collector of garbage wait until all is imported: a seventh of that time was its own.

What a start makes stays, and by default all of it is looked at again and again. `ringkv.process.run` ends this for who
serves. What else there is ends soon, or makes so few cycles that they may lie until so many objects have come. At its
end a process has nothing looked at again, as Python would have all of it: a tenth of the time of a short command.
"""

import atexit
import gc
from typing import Final

OBJECTS: Final = 200_000
"""As many as a shard and a router are made of; 30 MB if all were garbage."""

gc.set_threshold(OBJECTS)
atexit.register(gc.freeze)
