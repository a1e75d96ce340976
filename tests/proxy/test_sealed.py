"""
Tests of permissions that outlive the daemon.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.credential_keys import CredentialKeys
from glance_cache.errors import UpstreamRefused, UpstreamUnavailable
from glance_cache.files import FileOps
from glance_cache.grant import Grant, LivingOn
from glance_cache.grants import Grants
from glance_cache.holders import Holders
from glance_cache.interfaces import ImageFacts, UpstreamCredentials
from glance_cache.reach import Reach
from glance_cache.sealed import Moment, NodeKey, SealedFile, SealedGrant, Unsealable
from glance_cache.sealing import MOST_SEALED, Sealing
from glance_tx.streaming.lanes import Lanes
from tests.doubles.pools import InlinePool, ThreadClock
from tests.proxy.folders import absolute
from tests.proxy.test_grants import ALICE, IMAGE, OTHER, Oracle

NOW = Moment("boot", 1000.0, 1_800_000_000.0)
KEY = bytes(range(32))
FACTS = ImageFacts(IMAGE, 5, "0" * 32, "sha512", "f" * 128)


class FailingFiles(FileOps):
    """
    File calls of which one fails.
    """

    failing = ""

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        if self.failing == "write":
            super().write(descriptor, data[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        if self.failing == "sync":
            raise OSError(errno.EIO, "Input/output error")


class SealedFileTests(SynchronousTestCase):
    """
    `SealedFile` gives back what was written, or nothing.
    """

    def setUp(self) -> None:
        self.folder = absolute(self.mktemp())
        self.folder.mkdir()
        self.files = FailingFiles()
        self.file = self.open()
        self.grants = [SealedGrant(b"h" * 32, FACTS, 60.0, None), SealedGrant(b"i" * 32, FACTS, -5.5, 100.0)]

    def open(self, key: bytes = KEY) -> SealedFile:
        file = SealedFile(self.folder, self.files, key)
        self.addCleanup(file.close)
        return file

    def test_round_trip(self) -> None:
        """
        What was written comes back, with less time left.
        """
        self.assertEqual(self.file.read(NOW), [])
        self.file.write(self.grants, NOW)
        self.assertEqual(self.file.read(NOW), self.grants)
        later = self.file.read(evolve(NOW, uptime=1010.0))
        self.assertEqual([(g.seconds_left, g.expires_in) for g in later], [(50.0, None), (-15.5, 90.0)])
        self.file.write([], NOW)
        self.assertEqual(self.file.read(NOW), [])

    def test_clocks(self) -> None:
        """
        Within one start of the machine the clock does not count; after another one it does, and one that is behind
        makes the file useless.
        """
        self.file.write(self.grants, NOW)
        self.assertEqual(self.file.read(evolve(NOW, uptime=1001.0, at=0.0))[0].seconds_left, 59.0)
        self.assertEqual(self.file.read(Moment("other", 3.0, NOW.at + 20))[0].seconds_left, 40.0)
        for moment in (Moment("other", 5000.0, NOW.at - 1), evolve(NOW, uptime=999.0)):
            with self.assertRaises(Unsealable):
                self.file.read(moment)

    def test_torn(self) -> None:
        """
        A file that ends anywhere before its end is not believed, nor is one with more behind it.
        """
        self.file.write(self.grants, NOW)
        whole = self.file.path.read_bytes()
        for size in range(len(whole)):
            self.file.path.write_bytes(whole[:size])
            self.assertRaises(Unsealable, self.file.read, NOW)
        self.file.path.write_bytes(whole + b"x")
        self.assertRaises(Unsealable, self.file.read, NOW)

    def test_tampered(self) -> None:
        """
        Nor is one of which any byte was changed.
        """
        self.file.write(self.grants, NOW)
        whole = self.file.path.read_bytes()
        for place in range(len(whole)):
            self.file.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            self.assertRaises(Unsealable, self.file.read, NOW)

    def test_another_nodes(self) -> None:
        """
        Nor is another node's.
        """
        self.file.write(self.grants, NOW)
        self.file.close()
        self.assertRaises(Unsealable, self.open(bytes(32)).read, NOW)

    def test_says_nothing(self) -> None:
        """
        It does not show what is in it, and only its owner can read it. No two are the same.
        """
        self.file.write(self.grants, NOW)
        first = self.file.path.read_bytes()
        for secret in (b"h" * 8, IMAGE.encode(), b"sha512", KEY):
            self.assertNotIn(secret, first)
        self.assertEqual(self.file.path.stat().st_mode & 0o777, 0o600)
        self.file.write(self.grants, NOW)
        self.assertNotEqual(self.file.path.read_bytes(), first)

    def test_a_full_disk(self) -> None:
        """
        Where it cannot be written, what was there stays; a rest of the attempt is in nobody's way.
        """
        self.file.write(self.grants, NOW)
        for self.files.failing in ("write", "sync"):
            self.assertRaises(OSError, self.file.write, [], NOW)
            self.assertEqual(self.file.read(NOW), self.grants)
        self.files.failing = ""
        self.file.write([], NOW)
        self.assertEqual(self.file.read(NOW), [])

    def test_several_processes(self) -> None:
        """
        Each process has a file of its own, and takes one up that another one left.
        """
        other = self.open()
        self.assertNotEqual(other.path, self.file.path)
        self.file.write(self.grants, NOW)
        self.assertEqual(other.read(NOW), [])
        self.file.close()
        self.assertEqual(self.open().read(NOW), self.grants)

    def test_key(self) -> None:
        """
        The node's key is made once, for its owner only, and not believed where others can read it.
        """
        path = self.folder / "key"
        key = NodeKey.load(path, self.files)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(NodeKey.load(path, self.files), key)
        self.assertNotEqual(key.derive(b"a"), key.derive(b"b"))
        self.assertNotIn(path.read_bytes().hex(), repr(key))
        path.chmod(0o640)
        self.assertRaises(Unsealable, NodeKey.load, path, self.files)
        path.chmod(0o600)
        path.write_bytes(b"short")
        self.assertRaises(Unsealable, NodeKey.load, path, self.files)
        self.assertRaises(OSError, NodeKey.load, self.folder / "none" / "key", self.files)


class Life:
    """
    One life of a daemon.
    """

    def __init__(self, case: SealingTests) -> None:
        self.case = case
        self.upstream = Oracle()
        self.reach = Reach(self.probe, case.clock)
        self.holders = Holders(CredentialKeys(b"another one each time"), case.clock, case.expiry)
        living_on = LivingOn(self.reach, 600.0)
        self.grants = Grants(self.upstream, case.clock, 60.0, self.holders, living_on=living_on)
        lane = Lanes(case.clock, InlinePool()).lane("offline")  # type: ignore[arg-type]
        key_path = case.folder / "offline.key"
        self.sealing = Sealing(case.folder, key_path, lane, case.clock, case.moment, self.grants, self.holders)

    async def probe(self) -> None:
        pass

    def start(self) -> None:
        self.case.successResultOf(Deferred.fromCoroutine(self.sealing.start()))

    def stop(self) -> None:
        self.case.successResultOf(Deferred.fromCoroutine(self.sealing.stop()))
        self.reach.stop()

    def kill(self) -> None:
        """
        End it without a warning.
        """
        self.sealing._loop.stop()
        self.reach.stop()
        assert self.sealing._file is not None
        self.sealing._file.close()

    def ask(self, image_id: str = IMAGE, credentials: UpstreamCredentials = ALICE) -> Deferred[Grant]:
        return Deferred.fromCoroutine(self.grants.grant(image_id, credentials))

    def granted(self, image_id: str = IMAGE) -> None:
        asking = self.ask(image_id)
        self.upstream.answers[-1].callback(evolve(FACTS, image_id=image_id))
        self.case.successResultOf(asking)

    def lives_on(self, image_id: str = IMAGE) -> bool:
        asked = len(self.upstream.answers)
        asking = self.ask(image_id)
        if len(self.upstream.answers) > asked:
            self.upstream.answers[-1].errback(UpstreamUnavailable("away"))
        if isinstance(asking.result, Grant):
            return asking.result.offline and asking.result.facts == evolve(FACTS, image_id=image_id)
        self.case.failureResultOf(asking, UpstreamUnavailable)
        return False


class SealingTests(SynchronousTestCase):
    """
    `Sealing` has permissions outlive the daemon, and nothing that ended.
    """

    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.clock.advance(1000)
        self.left: float | None = None
        self.folder = absolute(self.mktemp())
        self.folder.mkdir()
        self.life = Life(self)
        self.life.start()

    def tearDown(self) -> None:
        self.life.stop()

    def moment(self) -> Moment:
        return Moment("boot", self.clock.seconds(), self.clock.seconds())

    async def expiry(self, credentials: UpstreamCredentials) -> float | None:
        return self.left

    def reborn(self, end: Callable[[Life], None] = Life.kill, seconds: float = 0.0) -> Life:
        end(self.life)
        self.clock.advance(seconds)
        self.life = Life(self)
        self.life.start()
        return self.life

    def wait(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)

    def test_lives_on(self) -> None:
        """
        A permission lives on after a stop, and after a kill ten seconds later, to the same end.
        """
        for end in (Life.stop, Life.kill):
            self.life.granted()
            if end is Life.kill:
                self.wait(11)
            life = self.reborn(end, 300)
            self.assertTrue(life.lives_on())
            life.reach.answered()
        self.clock.advance(660 - 311 - 1)
        self.assertTrue(self.life.lives_on())
        self.clock.advance(1)
        self.assertFalse(self.life.lives_on())

    def test_asked_first(self) -> None:
        """
        It counts only where the upstream says nothing, however young it is.
        """
        self.life.granted()
        life = self.reborn(Life.stop)
        asking = life.ask()
        self.assertNoResult(asking)
        life.upstream.answers[-1].errback(UpstreamRefused(404, (), b""))
        self.failureResultOf(asking, UpstreamRefused)
        self.assertFalse(life.lives_on())

    def test_what_ended(self) -> None:
        """
        What is known to have ended is out of the file a second later.
        """
        for image_id in (IMAGE, OTHER):
            self.life.granted(image_id)
        self.wait(11)
        self.life.grants.revoke(IMAGE)
        self.wait(1)
        life = self.reborn()
        self.assertFalse(life.lives_on(IMAGE))
        self.assertTrue(life.lives_on(OTHER))
        life.grants.refused(ALICE, 401)
        self.wait(1)
        self.assertFalse(self.reborn().lives_on(OTHER))

    def test_refusals_of_nothing(self) -> None:
        """
        Who is refused and had nothing has the file written for nothing.
        """
        self.life.granted()
        self.wait(11)
        path = self.folder / "offline-0.sealed"
        before = path.read_bytes()
        for status in (401, 403, 404):
            self.life.grants.refused(UpstreamCredentials(auth_token="stranger"), status, IMAGE)
            self.wait(11)
        self.assertEqual(path.read_bytes(), before)
        self.life.grants.refused(ALICE, 404, IMAGE)
        self.wait(1)
        self.assertNotEqual(path.read_bytes(), before)

    def test_token_ends(self) -> None:
        """
        No permission outlives its token, in another life either.
        """
        self.left = 100.0
        self.life.granted()
        life = self.reborn(Life.stop, 99)
        self.assertTrue(life.lives_on())
        self.clock.advance(1)
        self.assertFalse(life.lives_on())

    def test_useless_file(self) -> None:
        """
        A file that cannot be believed is ignored, and said to be; the next one is written all the same.
        """
        self.life.granted()
        self.life.stop()
        path = self.folder / "offline-0.sealed"
        path.write_bytes(path.read_bytes()[:-1])
        with capturedLogs() as logs:
            life = self.reborn(lambda _: None)
        self.assertIn("is torn, or was changed", str(logs))
        self.assertFalse(life.lives_on())
        life.reach.answered()
        life.granted()
        self.assertTrue(self.reborn(Life.stop).lives_on())

    def test_no_key(self) -> None:
        """
        Without a key that can be used the daemon works, and keeps nothing.
        """
        self.life.stop()
        (self.folder / "offline.key").chmod(0o644)
        with capturedLogs() as logs:
            life = self.reborn(lambda _: None)
        self.assertIn("nobody else can read", str(logs))
        life.granted()
        self.assertFalse(self.reborn(Life.stop).lives_on())

    def test_bounded(self) -> None:
        """
        The latest permissions are kept.
        """
        self.life.granted(OTHER)
        self.life.granted(IMAGE)
        (latest,) = self.life.grants.seal(1)
        self.assertEqual(latest.facts.image_id, IMAGE)
        self.assertEqual(len(self.life.grants.seal(MOST_SEALED)), 2)
