"""
Several processes on one cache folder: here, several daemons' worth of objects in one process.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.cache import Cache, CacheState, Served
from glance_cache.catalog import CHUNK_BYTES
from glance_cache.content import footprint_bytes
from glance_cache.entry import EntryState
from glance_cache.errors import CacheFull, EntryCorrupt, FillFailed, UpstreamMismatch
from glance_cache.fills import Fill, Fills, FillTools
from glance_cache.folder import CacheFolder
from glance_cache.following import LOOK_SECONDS
from glance_cache.interfaces import ImageFacts
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.units import GiB
from tests.doubles.siblings import Family
from tests.doubles.upstreams import ScriptedUpstream
from tests.proxy.filling import FRIEND, OWNER, PATIENCE_SECONDS, Reader
from tests.proxy.folders import (
    DATA,
    IMAGE,
    OTHER,
    Chunks,
    SlowReader,
    UnsyncedFiles,
    World,
    absolute,
    facts_of,
    open_files,
)

FACTS = facts_of(DATA)
WRONG = DATA[:-1] + b"!"


class Process:
    """
    One process of a node.
    """

    def __init__(self, path: str, family: Family, upstream: ScriptedUpstream, max_bytes: int) -> None:
        self.chunks = Chunks(DATA)
        self.world = World(path, max_bytes=max_bytes, siblings=family.join(), chunks=self.chunks)
        self.upstream = upstream
        tools = FillTools(upstream, self.world.store, self.world.lanes, self.world.clock, PATIENCE_SECONDS)
        self.fills = Fills(tools)
        self.cache = Cache(self.world.store, self.fills)
        self.readers: list[Reader] = []

    def look(self) -> None:
        """
        Let it look at the fills of others.
        """
        self.world.clock.advance(LOOK_SECONDS)

    def states(self) -> list[tuple[str, EntryState]]:
        return sorted((info.image_id, info.state) for info in self.world.store.inventory())


class SiblingsTestCase(SynchronousTestCase):
    """
    Two processes, each with its own way to the upstream.
    """

    max_bytes = GiB

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.family = Family()
        self.lock = CacheFolder(absolute(self.path), UnsyncedFiles()).take()
        self.addCleanup(os.close, self.lock)
        self.first, self.second = self.make(), self.make()
        self.addCleanup(self.end)

    def make(self) -> Process:
        process = Process(self.path, self.family, ScriptedUpstream({IMAGE: FACTS}), self.max_bytes)
        self.successResultOf(Deferred.fromCoroutine(process.world.start()))
        return process

    def end(self) -> None:
        for process in (self.first, self.second):
            for reader in process.readers:
                reader.body.close()
                reader.ended.addErrback(lambda failure: failure.trap(FillFailed))
            stopping = Deferred.fromCoroutine(process.fills.stop())
            process.look()
            self.successResultOf(stopping)
            self.successResultOf(Deferred.fromCoroutine(process.world.stop()))
        self.assertEqual([path for path in open_files(self.path) if not path.endswith("lock")], [])

    def ask(self, process: Process, credentials: object = OWNER) -> Deferred[Served | None]:
        return Deferred.fromCoroutine(process.cache.open(FACTS, credentials, None))  # type: ignore[arg-type]

    def reader(self, process: Process, served: Served | None) -> Reader:
        assert served is not None
        reader = Reader(served.body)
        process.readers.append(reader)
        return reader

    def send(self, process: Process, data: bytes) -> None:
        """Send the rest of the data."""
        process.upstream.sources[-1].send(data)
        process.upstream.sources[-1].end()

    def fill(self, process: Process) -> Fill:
        fill = process.fills.running(FACTS)
        assert fill is not None
        return fill

    def both(self, sent: int) -> tuple[Reader, Reader]:
        """Have the first process fill, so much of it, and the second one follow."""
        mine = self.reader(self.first, self.successResultOf(self.ask(self.first)))
        self.first.upstream.sources[-1].send(DATA[:sent])
        served = self.successResultOf(self.ask(self.second, FRIEND))
        assert served is not None
        self.assertEqual(served.state, CacheState.FOLLOW)
        return mine, self.reader(self.second, served)


class FollowTests(SiblingsTestCase):
    """
    Fills that another process makes.
    """

    def test_one_transfer(self) -> None:
        """What one process fetches the clients of all get, as it comes, by one transfer."""
        _, reader = self.both(CHUNK_BYTES + 1000)
        self.assertEqual(reader.data, DATA[: CHUNK_BYTES + 1000])
        self.first.upstream.sources[-1].send(DATA[CHUNK_BYTES + 1000 : -1])
        self.second.look()
        # The last chunk is held back in every process.
        self.assertEqual(reader.data, DATA[: 2 * CHUNK_BYTES])
        self.send(self.first, DATA[-1:])
        self.second.look()
        self.successResultOf(reader.ended)
        self.assertEqual((reader.data, self.second.upstream.asked), (DATA, []))
        hit = self.successResultOf(self.ask(self.second))
        assert hit is not None
        self.assertEqual((hit.state, self.reader(self.second, hit).data), (CacheState.HIT, DATA))

    def test_wrong_data(self) -> None:
        """Nobody completes data that turns out wrong, in whichever process."""
        mine, reader = self.both(CHUNK_BYTES)
        fill = self.fill(self.second)
        self.send(self.first, WRONG[CHUNK_BYTES:])
        self.second.look()
        self.failureResultOf(mine.ended, FillFailed)
        self.failureResultOf(reader.ended, FillFailed)
        self.failureResultOf(fill.ended(), FillFailed)
        self.assertEqual((reader.data, self.second.world.file_names()), (DATA[: 2 * CHUNK_BYTES], []))

    def test_another_goes_on(self) -> None:
        """When the process that fetches stops another one goes on, at the next byte, and its clients read on."""
        mine, reader = self.both(CHUNK_BYTES + 1000)
        self.successResultOf(Deferred.fromCoroutine(self.first.fills.stop()))
        self.failureResultOf(mine.ended, FillFailed)
        self.second.look()
        self.assertEqual(self.second.upstream.asked, [("friend", CHUNK_BYTES + 1000)])
        self.send(self.second, DATA[CHUNK_BYTES + 1000 :])
        self.successResultOf(reader.ended)
        self.assertEqual(reader.data, DATA)
        self.assertEqual(self.second.states(), [(IMAGE, EntryState.COMPLETE)])
        # The first process believes no digest before it has compared it.
        hit = self.successResultOf(self.ask(self.first))
        self.assertEqual(self.reader(self.first, hit).data, DATA)

    def test_what_was_sent_is_hashed(self) -> None:
        """Wrong bytes of a process that stopped are found wrong by the one that goes on."""
        self.reader(self.first, self.successResultOf(self.ask(self.first)))
        self.first.upstream.sources[-1].send(b"!" * 1000)
        self.first.upstream.sources[-1].send(DATA[1000 : CHUNK_BYTES + 1000])
        reader = self.reader(self.second, self.successResultOf(self.ask(self.second)))
        self.successResultOf(Deferred.fromCoroutine(self.first.fills.stop()))
        self.second.look()
        fill = self.fill(self.second)
        self.send(self.second, DATA[CHUNK_BYTES + 1000 :])
        self.failureResultOf(fill.ended(), UpstreamMismatch)
        self.failureResultOf(reader.ended, FillFailed)

    def test_what_was_sent_is_lost(self) -> None:
        """Clients that have what the disk lost meanwhile are reset: the rest would not belong to it."""
        _, reader = self.both(CHUNK_BYTES + 1000)
        self.successResultOf(Deferred.fromCoroutine(self.first.fills.stop()))
        self.first.world.overwrite(FACTS, 10)
        self.second.look()
        self.failureResultOf(reader.ended, FillFailed)

    def test_removed_meanwhile(self) -> None:
        """A fill that is deleted by way of any process goes on for those who read it, and is not kept."""
        mine, reader = self.both(CHUNK_BYTES)
        fill = self.fill(self.second)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.second.world.store.remove(IMAGE))), 1)
        self.send(self.first, DATA[CHUNK_BYTES:])
        self.second.look()
        self.assertEqual((mine.data, reader.data), (DATA, DATA))
        self.successResultOf(fill.ended())
        self.assertEqual(self.second.world.file_names(), [])
        self.assertEqual((self.first.states(), self.second.states()), ([], []))

    def test_a_fill_that_stands_still(self) -> None:
        """A process that does nothing any more, and keeps its fill, is not waited for without end."""
        _, reader = self.both(CHUNK_BYTES)
        self.second.world.clock.pump([LOOK_SECONDS] * 10 + [2 * PATIENCE_SECONDS, LOOK_SECONDS])
        self.failureResultOf(reader.ended, FillFailed)


class EntryTests(SiblingsTestCase):
    """
    Entries that other processes complete, remove and read.
    """

    max_bytes = 2 * footprint_bytes(len(DATA))

    def kept(self, process: Process, image_id: str = IMAGE) -> ImageFacts:
        return self.successResultOf(Deferred.fromCoroutine(process.world.fill(image_id=image_id)))

    def read(self, process: Process, facts: ImageFacts = FACTS) -> bytes | None:
        return self.successResultOf(Deferred.fromCoroutine(process.world.read(facts)))

    def test_all_know_the_same(self) -> None:
        """What one process completes or removes the others list as such."""
        self.kept(self.first)
        self.assertEqual(self.second.states(), [(IMAGE, EntryState.COMPLETE)])
        self.successResultOf(Deferred.fromCoroutine(self.second.world.store.remove(IMAGE)))
        self.assertEqual(self.first.states(), [])
        self.assertIsNone(self.read(self.first))

    def test_nobody_said_a_word(self) -> None:
        """A process that was killed told nobody: what it did is found when it is asked for, and by looking again."""
        self.family.deaf = True
        self.kept(self.first)
        self.assertEqual(self.read(self.second), DATA)
        self.successResultOf(Deferred.fromCoroutine(self.second.world.store.remove(IMAGE)))
        self.assertIsNone(self.read(self.first))
        self.kept(self.first, OTHER)
        self.successResultOf(Deferred.fromCoroutine(self.second.world.store.look_again()))
        self.assertEqual(self.second.states(), [(OTHER, EntryState.COMPLETE)])

    def test_damage_that_one_process_found(self) -> None:
        """
        A chunk that went bad without a trace, and that one process found, is not sent by any, though the others had
        found it right before; they notice when it was repaired, and do not fetch it again.
        """
        self.kept(self.first)
        self.assertEqual(self.read(self.second), DATA)
        reader = SlowReader(self.opened(self.second))
        reader.take()
        self.rot(CHUNK_BYTES + 5)
        self.first.chunks.outcomes = [waiting := Deferred()]
        self.second.chunks.outcomes = [Deferred()]
        self.assertFalse(self.verify(self.first))
        while not reader.ended.called:
            reader.take()
        self.failureResultOf(reader.ended, EntryCorrupt)
        self.failureResultOf(Deferred.fromCoroutine(self.second.world.read(FACTS)), EntryCorrupt)
        waiting.callback(None)
        self.assertEqual(self.read(self.first), DATA)

    def test_repaired_by_another_process(self) -> None:
        """What another process has repaired by the time this one comes to it is not fetched again."""
        self.kept(self.first)
        self.assertEqual(self.read(self.second), DATA)
        self.rot(CHUNK_BYTES + 5)
        self.rot(5)
        self.second.chunks.outcomes = [waiting := Deferred()]
        self.assertFalse(self.verify(self.second))
        self.assertFalse(self.verify(self.first))
        waiting.callback(None)
        self.assertEqual((self.first.chunks.asked, self.second.chunks.asked), ([0, CHUNK_BYTES], [0]))
        for process in (self.first, self.second):
            self.assertEqual(process.states(), [(IMAGE, EntryState.COMPLETE)])
            self.assertEqual(self.read(process), DATA)

    def opened(self, process: Process) -> IFileBody:
        body = self.successResultOf(Deferred.fromCoroutine(process.world.store.open(FACTS)))
        assert body is not None
        return body

    def verify(self, process: Process) -> bool | None:
        return self.successResultOf(Deferred.fromCoroutine(process.world.store.housekeeping.verify(IMAGE)))

    def rot(self, offset: int) -> None:
        """Change a byte as a bad disk does."""
        path = self.first.world.data_path(FACTS)
        before = path.stat()
        self.first.world.overwrite(FACTS, offset, bytes([DATA[offset] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def test_an_open_entry_that_another_one_removed(self) -> None:
        """New readers do not get it, though this process still has it open; those that read it can read on."""
        self.kept(self.first)
        body = self.successResultOf(Deferred.fromCoroutine(self.first.world.store.open(FACTS)))
        assert body is not None
        self.family.deaf = True
        self.successResultOf(Deferred.fromCoroutine(self.second.world.store.remove(IMAGE)))
        self.assertIsNone(self.read(self.first))
        reader = Reader(body)
        self.successResultOf(reader.ended)
        self.assertEqual(reader.data, DATA)

    def test_the_limit_is_kept_by_all_together(self) -> None:
        """Room that another process took is not there, whatever this one knows."""
        self.family.deaf = True
        writers = [
            self.successResultOf(Deferred.fromCoroutine(process.world.store.begin(facts_of(DATA, image_id))))
            for process, image_id in ((self.first, IMAGE), (self.second, OTHER))
        ]
        third = facts_of(DATA, "22222222-d94f-49cd-a114-e12490b328d9")
        for process in (self.first, self.second):
            self.failureResultOf(Deferred.fromCoroutine(process.world.store.begin(third)), CacheFull)
        for writer in writers:
            self.successResultOf(Deferred.fromCoroutine(writer.abort()))
        self.assertEqual(self.first.world.folder.taken_bytes(), 0)

    def test_what_another_one_reads_stays(self) -> None:
        """An entry that is read in any process is not evicted; the next best one is."""
        self.kept(self.first)
        body = self.successResultOf(Deferred.fromCoroutine(self.second.world.store.open(FACTS)))
        assert body is not None
        self.kept(self.first, OTHER)
        # For the first process IMAGE was not used for longest.
        facts = self.kept(self.first, "22222222-d94f-49cd-a114-e12490b328d9")
        self.assertEqual([image_id for image_id, _ in self.first.states()], [facts.image_id, IMAGE])
        body.close()

    def test_removed_data_counts_while_it_is_read(self) -> None:
        """What was deleted takes its room until nobody reads it, in any process."""
        self.kept(self.first)
        body = self.successResultOf(Deferred.fromCoroutine(self.second.world.store.open(FACTS)))
        assert body is not None
        self.successResultOf(Deferred.fromCoroutine(self.first.world.store.remove(IMAGE)))
        self.assertEqual(self.first.world.folder.taken_bytes(), footprint_bytes(len(DATA)))
        body.close()
        self.assertEqual(self.first.world.folder.taken_bytes(), 0)
        self.assertEqual(list((self.first.world.path / "removed").iterdir()), [])

    def test_a_turn_that_was_not_ended(self) -> None:
        """A process that dies while it changes files leaves the room to be counted anew."""
        self.kept(self.first)
        folder = self.first.world.folder
        self.assertEqual(folder.taken_bytes(), footprint_bytes(len(DATA)))
        with self.assertRaises(KeyboardInterrupt), folder.books.turn() as page, page.change(footprint_bytes(5)):
            self.first.world.data_path(FACTS).with_name("new.data").write_bytes(b"12345")
            raise KeyboardInterrupt
        self.assertEqual(self.second.world.folder.taken_bytes(), footprint_bytes(len(DATA)) + footprint_bytes(5))
