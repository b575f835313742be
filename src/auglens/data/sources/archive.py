"""Tar archives, read in memory by member name: nothing is ever extracted to disk."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

MEMBER_BYTES = 1 << 29  # CIFAR-100's largest member has 0.16 of 0.54 billion
TOTAL_BYTES = 1 << 32  # of what is kept in memory

DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


def read_tar(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Contents of the regular members whose normalised name (no leading `./`) is `wanted`, in their order.

    Plain, gzip, bzip2 or xz by content. Raises ValueError in one line for a damaged or truncated archive and
    for links, devices, absolute names, `..`, names that occur twice and more bytes than the limits above.
    """
    contents: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                name = _checked_name(path, member)
                if not member.isreg() or not wanted(name):
                    continue
                if name in contents:
                    raise ValueError(f"{path}: holds {name} twice; pack it anew")
                total += member.size
                if total > TOTAL_BYTES:
                    raise ValueError(f"{path}: expected at most {TOTAL_BYTES:,} bytes; unpack it, name the folder")
                file = tar.extractfile(member)
                contents[name] = file.read() if file is not None else b""
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass  # to the end: only there does a compressed stream check its sum
    except DAMAGE as error:
        size = path.stat().st_size if path.is_file() else 0
        raise ValueError(
            f"{path}: not a whole tar archive ({type(error).__name__} in {size:,} bytes); "
            "fetch it again or pack it anew"
        ) from None
    return contents


def _checked_name(path: Path, member: tarfile.TarInfo) -> str:
    """The member's normalised name, if it is a plain file or folder inside the archive."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{path}: member {member.name!r} leads out of the archive; pack it with relative names")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise ValueError(f"{path}: member {member.name!r} is neither file nor folder; pack it without links")
    if member.size > MEMBER_BYTES:
        raise ValueError(
            f"{path}: member {member.name!r} has {member.size:,} bytes, expected at most {MEMBER_BYTES:,}; "
            "unpack it and name the folder"
        )
    return name.as_posix()
