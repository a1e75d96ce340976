"""
Names and catalogs of entries, as bytes.
"""

from __future__ import annotations

import hashlib

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.catalog import (
    CHUNK_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    CatalogDamaged,
    Header,
    catalog_bytes,
    chunk_count,
    chunk_length,
    decode_record,
    encode_record,
)
from glance_cache.interfaces import ImageFacts
from glance_cache.names import EntryName
from tests.proxy.folders import DATA, IMAGE, facts_of

FACTS = facts_of(DATA)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class HeaderTests(SynchronousTestCase):
    """
    The header of a catalog.
    """

    def test_it_comes_back_as_it_was(self) -> None:
        """A header that is read back says what was written."""
        header = Header(FACTS, 1234.5)
        self.assertEqual(len(header.encode()), HEADER_BYTES)
        self.assertEqual(Header.decode(header.encode()), header)

    def test_images_without_hashes_have_one(self) -> None:
        """An image without any hash has a header, too."""
        header = Header(ImageFacts(IMAGE, 5), 0.0)
        self.assertEqual(Header.decode(header.encode()), header)

    def test_no_flipped_bit_goes_unnoticed(self) -> None:
        """A header in which any one bit of its content is flipped is refused."""
        encoded = Header(FACTS, 1234.5).encode()
        for bit in range(8 * len(encoded.rstrip(b"\0"))):
            self.assertRaises(CatalogDamaged, Header.decode, flipped(encoded, bit))

    def test_a_torn_one_is_refused(self) -> None:
        """A header that ends early, or is all zeros, is refused."""
        encoded = Header(FACTS, 1234.5).encode()
        for torn in (b"", encoded[:100], encoded[:100].ljust(HEADER_BYTES, b"\0"), bytes(HEADER_BYTES)):
            self.assertRaises(CatalogDamaged, Header.decode, torn)

    def test_facts_that_do_not_fit_are_refused(self) -> None:
        """Facts that no image has do not make a header."""
        self.assertRaises(ValueError, Header(evolve(FACTS, os_hash_value="f" * HEADER_BYTES), 0.0).encode)


class RecordTests(SynchronousTestCase):
    """
    The record of a chunk.
    """

    digest = hashlib.sha256(b"chunk").digest()

    def test_it_comes_back_as_it_was(self) -> None:
        """A record that is read back has the chunk's digest."""
        self.assertEqual(len(encode_record(7, self.digest)), RECORD_BYTES)
        self.assertEqual(decode_record(7, encode_record(7, self.digest)), self.digest)

    def test_it_is_good_in_its_own_place_only(self) -> None:
        """The record of one chunk is none for another."""
        self.assertIsNone(decode_record(8, encode_record(7, self.digest)))

    def test_no_flipped_bit_goes_unnoticed(self) -> None:
        """A record in which any one bit is flipped is none."""
        record = encode_record(7, self.digest)
        for bit in range(8 * RECORD_BYTES):
            self.assertIsNone(decode_record(7, flipped(record, bit)))

    def test_what_was_never_written_is_none(self) -> None:
        """Zeros, and what is cut off, are no record."""
        for data in (bytes(RECORD_BYTES), encode_record(0, self.digest)[:-1], b""):
            self.assertIsNone(decode_record(0, data))


class SizeTests(SynchronousTestCase):
    """
    How data divides into chunks.
    """

    def test_the_last_chunk_may_be_short(self) -> None:
        """Chunks are of one size but for the last one, which has the rest."""
        sizes = [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
        self.assertEqual([chunk_count(size) for size in sizes], [1, 1, 1, 2, 3])
        for size in sizes:
            self.assertEqual(sum(chunk_length(size, index) for index in range(chunk_count(size))), size)

    def test_the_size_of_a_catalog_follows_from_that_of_the_data(self) -> None:
        """A catalog has a header and a record for each chunk."""
        self.assertEqual(catalog_bytes(CHUNK_BYTES + 1), HEADER_BYTES + 2 * RECORD_BYTES)


class NameTests(SynchronousTestCase):
    """
    `EntryName`.
    """

    def test_the_strong_hash_makes_the_key(self) -> None:
        """The name of an entry has the image's id, and the beginning of its strong hash."""
        name = EntryName.of(FACTS)
        self.assertEqual(name.stem, f"{IMAGE}-sha512-{hashlib.sha512(DATA).hexdigest()[:32]}")
        self.assertEqual(name.bucket, "71")
        self.assertTrue(name.verified)

    def test_then_the_checksum_then_the_size(self) -> None:
        """Without a strong hash the MD5 makes the key, and without that the size, which verifies nothing."""
        name = EntryName.of(ImageFacts(IMAGE, 255, checksum="0" * 32))
        self.assertEqual((name.key, name.verified), ("md5-" + "0" * 32, True))
        name = EntryName.of(ImageFacts(IMAGE, 255))
        self.assertEqual((name.key, name.verified), ("size-ff", False))

    def test_what_is_no_hash_is_not_used_as_one(self) -> None:
        """A hash that could lead out of the folder, or is none, does not get into a name."""
        for algorithm, value in (("../x", "0" * 64), ("sha512", "../" * 20), ("sha512", ""), ("size", "0" * 64)):
            facts = ImageFacts(IMAGE, 255, os_hash_algo=algorithm, os_hash_value=value)
            self.assertEqual(EntryName.of(facts).key, "size-ff")

    def test_what_is_no_id_has_no_name(self) -> None:
        """Nothing but an image id in lower case makes a name."""
        for image_id in ("", "a", "..", "../../etc", IMAGE.upper(), f"{IMAGE}/", f"{IMAGE}.data", "a" * 65, "\0\0"):
            self.assertRaises(ValueError, EntryName.of, evolve(FACTS, image_id=image_id))

    def test_it_is_read_off_a_file(self) -> None:
        """A name is found again from the file it gave its name to, and from no other."""
        for facts in (FACTS, ImageFacts(IMAGE, 255), ImageFacts(IMAGE, 255, checksum="0" * 32)):
            name = EntryName.of(facts)
            self.assertEqual(EntryName.parse(name.stem), name)
        for stem in ("", "lost+found", IMAGE, f"{IMAGE}-", f"{IMAGE}-sha512-xyz", f"{IMAGE}-sha512-"):
            self.assertIsNone(EntryName.parse(stem))
