"""Views of payloads in the mapped log.

The stable interface of CPython 3.10 lets no native class export memory, so the segment is mapped by
`mmap`, which does. A view keeps its mapping, and the mapping its file, also after the store was
closed or the file was removed.
"""

from __future__ import annotations

import functools
import mmap
from pathlib import Path


def _map(path: Path, inode: int, size: int) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


# A process looks into few segments at a time; a view keeps what falls out of here.
_mapped = functools.lru_cache(maxsize=8)(_map)


def of_payload(path: Path, position: int, length: int, mark: bytes, at: int) -> memoryview | None:
    """Return a read-only view of the payload at a position of a segment's file.

    None where the file is not the one any more in which the message's mark stands there.
    """
    try:
        status = path.stat()
        mapped = _mapped(path, status.st_ino, status.st_size)
    except OSError:
        return None
    if mapped[at : at + len(mark)] != mark:
        return None
    return memoryview(mapped)[position : position + length]
