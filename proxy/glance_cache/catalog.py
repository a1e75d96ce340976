"""
The catalog of an entry: what its data is, and the digest of each chunk.

A catalog is a header of fixed size and then one record of fixed size for each chunk, in order. Each of them carries
its own checksum, so that what a crash tore, or a disk lost, is not taken for the truth.
"""

from __future__ import annotations

import binascii
import struct
from typing import Any, Final

import attrs
import orjson
from attrs import frozen

from glance_cache.interfaces import ImageFacts
from glance_tx.errors import FactualError
from glance_tx.streaming.units import KiB, MiB

__all__ = [
    "CHUNK_BYTES",
    "HEADER_BYTES",
    "MARK_BYTES",
    "MARK_OFFSET",
    "RECORD_BYTES",
    "CatalogDamaged",
    "Header",
    "catalog_bytes",
    "chunk_count",
    "chunk_length",
    "decode_mark",
    "decode_record",
    "encode_mark",
    "encode_record",
    "record_offset",
]

CHUNK_BYTES: Final = MiB
HEADER_BYTES: Final = 4 * KiB
VERSION: Final = 1

_MAGIC: Final = b"GTXCACHE"
_PREFIX: Final = struct.Struct(">8sII")  # magic, length of the JSON text, its CRC
_RECORD: Final = struct.Struct(">32sI")  # SHA-256 of the chunk, CRC of its index and that
_INDEX: Final = struct.Struct(">Q")
_MARK: Final = struct.Struct(">8sQI")  # the daemon's run, the offset, the CRC of both
RECORD_BYTES: Final = _RECORD.size
MARK_BYTES: Final = _MARK.size
MARK_OFFSET: Final = HEADER_BYTES - MARK_BYTES
"""Where the header's page has the mark of a fill that is under way."""


@frozen
class CatalogDamaged(FactualError):
    """
    A file is not a catalog that could be trusted.
    """

    message = "{self.reason}"
    reason: str


def chunk_count(size_bytes: int) -> int:
    """
    Tell how many chunks data of this size has; the last one may be short.
    """
    return -(-size_bytes // CHUNK_BYTES)


def chunk_length(size_bytes: int, index: int) -> int:
    """
    Tell how many bytes a chunk of data of this size has.
    """
    return min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)


def record_offset(index: int) -> int:
    """
    Tell where the record of a chunk lies.
    """
    return HEADER_BYTES + index * RECORD_BYTES


def catalog_bytes(size_bytes: int) -> int:
    """
    Tell how long the catalog of data of this size is.
    """
    return record_offset(chunk_count(size_bytes))


@frozen
class Header:
    """
    What a catalog says of the data as a whole.

    :param created_at: When the fill began, in seconds since the epoch.
    """

    facts: ImageFacts
    created_at: float

    def encode(self) -> bytes:
        """
        Write the header down.

        :raises ValueError: The facts are too long to be those of an image.
        """
        document = {
            "version": VERSION,
            "chunk_size": CHUNK_BYTES,
            "created_at": self.created_at,
            **attrs.asdict(self.facts),
        }
        text = orjson.dumps(document)
        if _PREFIX.size + len(text) > MARK_OFFSET:
            raise ValueError("the facts do not fit into a catalog header")
        return (_PREFIX.pack(_MAGIC, len(text), binascii.crc32(text)) + text).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """
        Read a header.

        :raises CatalogDamaged: It is torn, changed, or of another version.
        """
        if len(data) != HEADER_BYTES:
            raise CatalogDamaged("the catalog's header is cut off")
        magic, length, checksum = _PREFIX.unpack_from(data)
        text = data[_PREFIX.size : _PREFIX.size + length]
        if magic != _MAGIC or binascii.crc32(text) != checksum:
            raise CatalogDamaged("the catalog's header is damaged")
        document = orjson.loads(text)
        if (document.get("version"), document.get("chunk_size")) != (VERSION, CHUNK_BYTES):
            raise CatalogDamaged(f"the catalog is of version {document.get('version')!r}")
        return cls(_facts(document), document["created_at"])


def _facts(document: dict[str, Any]) -> ImageFacts:
    return ImageFacts(**{field.name: document[field.name] for field in attrs.fields(ImageFacts)})


def encode_mark(run: bytes, offset: int) -> bytes:
    """
    Write down how far readers may follow a fill.

    :param run: 8 bytes; tell a daemon from those before it, whose marks a crash may have left without their data.
    """
    return _MARK.pack(run, offset, binascii.crc32(_INDEX.pack(offset) + run))


def decode_mark(run: bytes, data: bytes) -> int | None:
    """
    Read how far readers may follow a fill.

    :return: ``None`` when nobody wrote that in this run of the daemon, or it is being written just now.
    """
    if len(data) != MARK_BYTES:
        return None
    found, offset, checksum = _MARK.unpack(data)
    known: int = offset
    return known if found == run and checksum == binascii.crc32(_INDEX.pack(offset) + run) else None


def encode_record(index: int, digest: bytes) -> bytes:
    """
    Write down the SHA-256 of a chunk.
    """
    return _RECORD.pack(digest, _checksum(index, digest))


def decode_record(index: int, data: bytes) -> bytes | None:
    """
    Read the SHA-256 of a chunk.

    :return: ``None`` when this is not (or not any more) the record of that chunk.
    """
    if len(data) != RECORD_BYTES:
        return None
    digest, checksum = _RECORD.unpack(data)
    return digest if checksum == _checksum(index, digest) else None


def _checksum(index: int, digest: bytes) -> int:
    # With the index, or a record written to the wrong place would do.
    return binascii.crc32(_INDEX.pack(index) + digest)
