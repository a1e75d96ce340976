"""
`FilesystemStore` keeps the store contract, on real files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from glance_tx.stores.errors import LocationNotAllowed, LocationNotFound, LocationTaken, StoreFull, StoreUnavailable
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.interfaces import IStore
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IFileBody
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.units import KiB, MiB
from tests.contracts.store import KEY, StoreContract, fetch, store
from tests.doubles.pools import SteppedPool, ThreadClock


def open_descriptors(folder: Path) -> int:
    """
    Count this process's open files below a folder, removed ones included.
    """
    links = (str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(link.startswith(f"{folder}/") for link in links)


class _FilesystemCase(TestCase):
    """
    A store in an empty folder, with threads of its own.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        pool = ThreadPool(minthreads=0, maxthreads=3)
        pool.start()
        self.addCleanup(pool.stop)
        self.lanes = Lanes(reactor, pool)

    def files(self, *paths: Path, thin: bool = False) -> FilesystemStore:
        choices = [FolderChoice(str(path)) for path in paths or (self.root,)]
        files = FilesystemStore(FilesystemSettings("files", choices, thin=thin), self.lanes)
        files.check()
        return files

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())

    async def refused(self, attempt, kind: type[Exception]) -> Exception:
        return await self.assertFailure(Deferred.fromCoroutine(attempt), kind)


class FilesystemStoreContractTests(StoreContract, _FilesystemCase):
    """
    The contract.
    """

    def make_store(self) -> IStore:
        return self.files()

    def foreign_locations(self, store: IStore) -> list[str]:
        return [
            f"file://{self.root}",
            f"file://{self.root}/",
            f"file://{self.root}/../{self.root.name}/{KEY}.1",
            f"file://{self.root}/sub/{KEY}.1",
            f"file://{self.root}x/{KEY}.1",
            f"file://localhost{self.root}/{KEY}.1",
            f"file://{self.root}/%2e%2e/{KEY}.1",
            f"file://{self.root}/.{KEY}.1.part",
        ]


class ThinStoreContractTests(FilesystemStoreContractTests):
    """
    The contract, with holes for zeros.
    """

    def make_store(self) -> IStore:
        return self.files(thin=True)


class SeveralFoldersContractTests(FilesystemStoreContractTests):
    """
    The contract, with several folders.
    """

    def make_store(self) -> IStore:
        return self.files(self.root, self.root.parent / f"{self.root.name}-more")


class SeveralFoldersTests(_FilesystemCase):
    """
    One store in several folders.
    """

    async def test_each_in_its_own(self) -> None:
        """
        Data lie in the folder that was chosen, and are read, measured and deleted there, half-written ones included.
        """
        folders = [self.root / name for name in ("a", "b", "c")]
        files = self.files(*folders)
        for fence, folder in enumerate(folders):
            place = files.plan_location(KEY, fence, str(folder))
            self.assertEqual(place, f"file://{folder}/{KEY}.{fence}")
            writer = await files.open_writer(place, 5)
            await writer.write(b"data%d" % fence)
            await writer.commit()
            half = await files.open_writer(files.plan_location(KEY, fence + 10, str(folder)), 5)
            await half.write(b"da")
            self.assertEqual(len(list(folder.iterdir())), 2)
        for fence, folder in enumerate(folders):
            place = f"file://{folder}/{KEY}.{fence}"
            self.assertEqual(await fetch(files, place), b"data%d" % fence)
            self.assertEqual(await files.size_bytes(place), 5)
            await files.delete(place)
            await files.delete(f"file://{folder}/{KEY}.{fence + 10}")
            self.assertEqual(list(folder.iterdir()), [])

    async def test_place(self) -> None:
        """
        The place that is chosen is one of the folders; without a disk that has the room there is none.
        """
        files = self.files(self.root / "a", self.root / "b")
        self.assertIn(await files.choose_place(None), {f"{self.root}/a", f"{self.root}/b"})
        await self.refused(files.choose_place(1 << 62), StoreFull)
        shutil.rmtree(self.root)
        await self.refused(files.choose_place(1), StoreUnavailable)


class ThinFilesTests(_FilesystemCase):
    """
    Zeros take no room.
    """

    async def test_holes(self) -> None:
        """
        Only blocks with something in them are kept; size and content are those that were sent, however it was cut.
        """
        data = b"head" + bytes(4 * MiB) + b"middle" + bytes(3 * MiB)
        for fence, (announced, piece) in enumerate([(len(data), MiB), (None, 100_003), (len(data), len(data))]):
            files = self.files(thin=True)
            writer = await files.open_writer(files.plan_location(KEY, fence), announced)
            for start in range(0, len(data), piece):
                await writer.write(data[start : start + piece])
            await writer.commit()
            status = (self.root / f"{KEY}.{fence}").stat()
            self.assertEqual(status.st_size, len(data))
            self.assertLessEqual(status.st_blocks * 512, 4 * 64 * KiB)
            self.assertEqual(await fetch(files, writer.location), data)

    async def test_full_size_otherwise(self) -> None:
        """
        Without thin provisioning zeros take their room.
        """
        await store(self.files(), bytes(MiB))
        self.assertGreaterEqual((self.root / f"{KEY}.1").stat().st_blocks * 512, MiB)


class FilesTests(_FilesystemCase):
    """
    What the folder looks like.
    """

    async def test_locations(self) -> None:
        """
        An object lies in a file of the data folder that is named by key and fence.
        """
        files = self.files()
        location = await store(files, b"data", fence=17)
        self.assertEqual(location, f"file://{self.root}/{KEY}.17")
        self.assertEqual((self.root / f"{KEY}.17").read_bytes(), b"data")

    async def test_reads_as_a_file(self) -> None:
        """
        A reader is a file body: descriptor, offset and length lead to the bytes.
        """
        files = self.files()
        body = await files.open_reader(await store(files, b"0123456789"), 3, 4)
        self.addCleanup(body.close)
        verifyObject(IFileBody, body)
        self.assertEqual(os.pread(body.descriptor, body.length, body.offset), b"3456")

    async def test_files_of_a_stock_glance(self) -> None:
        """
        Data that a stock Glance left in the folder is read and deleted by its location.
        """
        files = self.files()
        (self.root / KEY).write_bytes(b"stock")
        for location in (f"file://{self.root}/{KEY}", f"filesystem://{self.root}/{KEY}"):
            self.assertEqual(await fetch(files, location), b"stock")
        await files.delete(f"file://{self.root}/{KEY}")
        self.assertEqual(self.names(), [])

    async def test_links_are_not_followed(self) -> None:
        """
        A symbolic link in the folder gives nothing away, and is not written through.
        """
        files = self.files()
        outside = self.root.parent / f"{self.root.name}-outside"
        outside.write_bytes(b"secret")
        location = files.plan_location(KEY, 1)
        (self.root / f"{KEY}.1").symlink_to(outside)
        await self.refused(files.open_reader(location), LocationNotAllowed)
        await self.refused(files.size_bytes(location), LocationNotAllowed)
        await self.refused(files.delete(location), LocationNotAllowed)
        await self.refused(files.open_writer(location, None), LocationTaken)
        self.assertEqual(outside.read_bytes(), b"secret")

    async def test_forgotten_writer(self) -> None:
        """
        A writer that nobody ends leaves nothing to read, only a hidden file that a delete removes.
        """
        files = self.files()
        writer = await files.open_writer(files.plan_location(KEY, 1), 10)
        location = writer.location
        await writer.write(b"01234")
        del writer
        await self.refused(files.open_reader(location), LocationNotFound)
        self.assertEqual(self.names(), [f".{KEY}.1.part"])
        await files.delete(location)
        self.assertEqual(self.names(), [])

    async def test_descriptors_are_released(self) -> None:
        """
        Committed, aborted, refused and read objects leave no open file behind.
        """
        files = self.files()
        location = await store(files, b"data")
        before = open_descriptors(self.root)
        for fence in range(2, 6):
            await fetch(files, await store(files, b"data", fence=fence))
            writer = await files.open_writer(files.plan_location(KEY, fence + 10), 100)
            await writer.abort()
            await self.refused(files.open_writer(location, 100), LocationTaken)
            await self.refused(files.open_writer(files.plan_location(KEY, 99), 10**30), StoreFull)
            (await files.open_reader(location)).close()
        await self.lanes.drain()
        self.assertEqual(open_descriptors(self.root), before)

    async def test_announced_beyond_everything(self) -> None:
        """
        A size that no file can have is an announcement of a full store, and leaves nothing.
        """
        files = self.files()
        for size in (1 << 62, 10**30):
            error = await self.refused(files.open_writer(files.plan_location(KEY, 1), size), StoreFull)
            self.assertEqual(error.written, 0)
        self.assertEqual(self.names(), [])

    async def test_folder_gone(self) -> None:
        """
        A data folder that vanished (an unmounted disk) makes the store unavailable; its objects are not "not found".
        """
        files = self.files()
        location = await store(files, b"data")
        writer = await files.open_writer(files.plan_location(KEY, 2), None)
        shutil.rmtree(self.root)
        await self.refused(files.open_reader(location), StoreUnavailable)
        await self.refused(files.size_bytes(location), StoreUnavailable)
        await self.refused(files.delete(location), StoreUnavailable)
        await self.refused(files.open_writer(files.plan_location(KEY, 3), None), StoreUnavailable)
        await self.refused(writer.commit(), StoreUnavailable)

    async def test_paths_stay_private(self) -> None:
        """
        What a store says of its trouble does not tell where its files lie.
        """
        files = self.files()
        shutil.rmtree(self.root)
        error = await self.refused(files.open_writer(files.plan_location(KEY, 1), None), StoreUnavailable)
        self.assertNotIn(str(self.root), str(error))


class StartUpTests(_FilesystemCase):
    """
    A store is checked before it is used.
    """

    def test_makes_its_folder(self) -> None:
        """
        A missing data folder is made, with its parents, closed to others; checking leaves nothing in it.
        """
        path = self.root / "a" / "b"
        self.files(path)
        self.files(path)
        self.assertEqual(path.stat().st_mode & 0o007, 0)
        self.assertEqual(list(path.iterdir()), [])

    def test_says_what_is_wrong(self) -> None:
        """
        A data folder that cannot be one is refused with its name and the reason.
        """
        self.root.write_bytes(b"a file")
        error = self.assertRaises(StoreUnavailable, self.files)
        self.assertIn(str(self.root), str(error))
        self.assertIn("File exists", str(error))


class SmallDiskTests(_FilesystemCase):
    """
    A disk that fills up, and one that refuses to be written.
    """

    def setUp(self) -> None:
        super().setUp()
        self.root.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(self.root)]
        if os.geteuid() != 0 or shutil.which("mount") is None:
            raise SkipTest("mounting a small disk takes root and a mount program")
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SkipTest(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.root)], check=True)

    def remount_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.root)], check=True)

    async def test_announced(self) -> None:
        """
        What does not fit is refused before its first byte; what fits exactly is kept safe from other writers.
        """
        files = self.files()
        error = await self.refused(files.open_writer(files.plan_location(KEY, 1), 2 * MiB), StoreFull)
        self.assertEqual(error.written, 0)
        self.assertEqual(self.names(), [])
        keeper = await files.open_writer(files.plan_location(KEY, 2), 900 * KiB)
        greedy = await files.open_writer(files.plan_location(KEY, 3), None)
        await self.refused(greedy.write(b"g" * 300 * KiB), StoreFull)
        await greedy.abort()
        await keeper.write(b"k" * 900 * KiB)
        await keeper.commit()
        self.assertEqual(await fetch(files, keeper.location), b"k" * 900 * KiB)

    async def test_unannounced(self) -> None:
        """
        A disk that fills up half-way fails the write with what was taken; aborting makes the room free again.
        """
        files = self.files()
        writer = await files.open_writer(files.plan_location(KEY, 1), None)
        await writer.write(b"x" * 600 * KiB)
        error = await self.refused(writer.write(b"x" * 600 * KiB), StoreFull)
        self.assertGreaterEqual(error.written, 600 * KiB)
        self.assertLessEqual(error.written, MiB)
        await self.refused(writer.commit(), StoreUnavailable)
        await writer.abort()
        self.assertEqual(self.names(), [])
        location = await store(files, b"y" * 900 * KiB, fence=2)
        self.assertEqual(await files.size_bytes(location), 900 * KiB)

    async def test_read_only(self) -> None:
        """
        A disk that turned read-only serves what it has, refuses the rest, and is refused at start.
        """
        files = self.files()
        location = await store(files, b"data")
        self.remount_read_only()
        self.assertEqual(await fetch(files, location), b"data")
        await self.refused(files.open_writer(files.plan_location(KEY, 2), 4), StoreUnavailable)
        await self.refused(files.delete(location), StoreUnavailable)
        self.assertRaises(StoreUnavailable, self.files)


class CancellationTests(SynchronousTestCase):
    """
    Whoever stops waiting leaves nothing behind, however far the disk had come.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.pool = SteppedPool()
        self.files = FilesystemStore(
            FilesystemSettings("files", [FolderChoice(str(self.root))]), Lanes(ThreadClock(), self.pool)
        )
        self.files.check()
        self.location = self.files.plan_location(KEY, 1)
        self.before = open_descriptors(self.root)

    def finish(self, coroutine):
        work = Deferred.fromCoroutine(coroutine)
        self.pool.run_all()
        return self.successResultOf(work)

    def cancel_before(self, coroutine) -> None:
        """
        Cancel while the job waits for a thread, or runs in one: for the waiting side the two look the same.
        """
        work = Deferred.fromCoroutine(coroutine)
        work.cancel()
        self.failureResultOf(work, CancelledError)
        self.pool.run_all()

    def cancel_during(self, coroutine) -> None:
        """
        Cancel after the job has run in its thread, before the reactor heard of it.
        """
        clock = self.pool
        work = Deferred.fromCoroutine(coroutine)
        job = clock._jobs.popleft()
        held = []
        reactor_clock = self.files._lanes._reactor
        reactor_clock.callFromThread = lambda *call: held.append(call)
        job()
        del reactor_clock.callFromThread
        work.cancel()
        self.failureResultOf(work, CancelledError)
        for function, *args in held:
            function(*args)
        self.pool.run_all()

    def assert_nothing_left(self) -> None:
        self.assertEqual(list(self.root.iterdir()), [])
        self.assertEqual(open_descriptors(self.root), self.before)

    def test_open_writer(self) -> None:
        """
        A writer that nobody waited for is not there, and neither is its file.
        """
        for cancel in (self.cancel_before, self.cancel_during):
            cancel(self.files.open_writer(self.location, 100))
            self.assert_nothing_left()

    def test_write_and_commit(self) -> None:
        """
        After a cancelled write or commit the writer cannot be committed, and aborting removes all of it.
        """
        for cancel in (self.cancel_before, self.cancel_during):
            for step in ("write", "commit"):
                writer = self.finish(self.files.open_writer(self.location, 100))
                cancel(writer.write(b"x") if step == "write" else writer.commit())
                refused = Deferred.fromCoroutine(writer.commit())
                self.failureResultOf(refused, StoreUnavailable)
                self.finish(writer.abort())
                self.assert_nothing_left()

    def test_abort(self) -> None:
        """
        An abort is carried out even where nobody waits for its end.
        """
        for cancel in (self.cancel_before, self.cancel_during):
            writer = self.finish(self.files.open_writer(self.location, 100))
            cancel(writer.abort())
            self.assert_nothing_left()

    def test_open_reader(self) -> None:
        """
        A file opened for somebody who left is closed again.
        """
        (self.root / f"{KEY}.1").write_bytes(b"data")
        for cancel in (self.cancel_before, self.cancel_during):
            cancel(self.files.open_reader(self.location))
            self.assertEqual(open_descriptors(self.root), self.before)


class ReaderEndTests(SynchronousTestCase):
    """
    What happens when a reader is let go.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.pool = SteppedPool()
        self.files = FilesystemStore(
            FilesystemSettings("files", [FolderChoice(str(self.root))]), Lanes(ThreadClock(), self.pool)
        )
        self.files.check()
        (self.root / f"{KEY}.1").write_bytes(b"data")
        self.before = open_descriptors(self.root)

    def open(self, *part: int) -> Deferred[IFileBody]:
        opening = Deferred.fromCoroutine(self.files.open_reader(self.files.plan_location(KEY, 1), *part))
        self.pool.step()
        return opening

    def test_closed_in_a_thread(self) -> None:
        """
        Its file is closed off the reactor: of a deleted one, that is when its blocks are freed.
        """
        body = self.successResultOf(self.open())
        body.close()
        self.assertEqual(open_descriptors(self.root), self.before + 1)
        self.pool.run_all()
        self.assertEqual(open_descriptors(self.root), self.before)

    def test_closed_after_a_refusal(self) -> None:
        """
        So is a file that turned out to be too short.
        """
        self.failureResultOf(self.open(2, 3), ShortFile)
        self.assertEqual(self.pool.waiting, 1)
        self.pool.run_all()
        self.assertEqual(open_descriptors(self.root), self.before)

    def test_threads_stopped(self) -> None:
        """
        Where there are no threads any more it is closed at once.
        """
        body = self.successResultOf(self.open())
        self.pool.stop()
        body.close()
        self.assertEqual(open_descriptors(self.root), self.before)
