"""
Tests of what clients get from a fill whose upstream does wrong, at any place of the image.

Whatever it does, each client ends with the right bytes, or with a connection that is cut in the middle, or with an
error: never with something that looks whole and is not.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import gatherResults
from twisted.internet.error import ConnectionDone
from zope.interface import implementer

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.client import UpstreamTimes
from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from tests.doubles.misbehaving import Answer, MisbehavingUpstream
from tests.proxy.folders import DATA
from tests.proxy.nodes import NodeTestCase, later
from tests.web.raw import RawClient, until

SIZE: Final = len(DATA)
HELD: Final = 2 * CHUNK_BYTES
"""The start of the last chunk, which goes out when the whole was compared."""

INSIDE: Final = (1, CHUNK_BYTES, HELD - 1, HELD + 1000, SIZE - 1)
ANYWHERE: Final = (0, *INSIDE)

OTHER: Final = bytes(reversed(DATA))
"""What another image of the same length would be."""

CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Outcome(Enum):
    """
    What a client may end with.
    """

    WHOLE = "the image"
    CUT = "a part of the image, and a connection that broke"
    ERROR = "an error"


RECOVERS = frozenset({Outcome.WHOLE})
FAILS = frozenset({Outcome.CUT, Outcome.ERROR})


@frozen
class Case:
    """
    Something that an upstream may do.

    :param answers: What it does, for a place in the image.
    :param outcomes: What clients may end with.
    :param places: Where it does so.
    """

    answers: Callable[[int], Sequence[Answer]]
    outcomes: frozenset[Outcome] = RECOVERS
    places: Sequence[int] = ANYWHERE


def cut(at: int, then: str = "close") -> Answer:
    return Answer(upto=at, then=then)


def flipped(at: int) -> bytes:
    return DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]


def after_cut(*answers: Answer) -> Callable[[int], Sequence[Answer]]:
    return lambda at: (cut(at), *answers)


CASES: Final[dict[str, Case]] = {
    # It ends too early.
    "dies": Case(lambda at: [cut(at)]),
    "resets": Case(lambda at: [cut(at, "reset")]),
    "stalls": Case(lambda at: [cut(at, "stall")], places=(0, HELD - 1, SIZE - 1)),
    "dies_three_times": Case(lambda at: [cut(at), cut(at), cut((at + SIZE) // 2)], places=INSIDE),
    "ends_early_in_good_order": Case(lambda at: [Answer(upto=at, chunked=True)], places=INSIDE),
    "breaks_its_chunks": Case(
        lambda at: [Answer(raw=CHUNKED + b"%x\r\n%s\r\nzz\r\n" % (at, DATA[:at]), then="close")], places=INSIDE
    ),
    "trickles": Case(lambda at: [cut(at, "trickle")], places=(0, HELD - 1)),
    # What it sends is not the image.
    "wrong_byte": Case(lambda at: [Answer(data=flipped(at))], FAILS, (0, *INSIDE)),
    "wrong_byte_in_the_rest": Case(lambda at: [cut(at), Answer(data=flipped(at))], FAILS, INSIDE),
    "wrong_byte_before_it_dies": Case(lambda at: [Answer(data=flipped(at - 1), upto=at, then="close")], FAILS, INSIDE),
    "too_much": Case(lambda at: [Answer(tail=DATA[-at:], chunked=True)], FAILS, INSIDE),
    "too_much_in_the_rest": Case(after_cut(Answer(tail=b"more", chunked=True)), places=INSIDE),
    "too_much_for_its_length": Case(lambda at: [Answer(tail=DATA[-at:])], places=INSIDE),
    "other_image_in_the_middle": Case(lambda at: [cut(at), Answer(data=OTHER)], FAILS, INSIDE),
    "longer_image_in_the_middle": Case(after_cut(Answer(data=DATA + b"!")), FAILS, INSIDE),
    "shorter_image_in_the_middle": Case(after_cut(Answer(data=DATA[:-1])), FAILS, INSIDE[:-1]),
    "longer_image_in_chunks": Case(after_cut(Answer(data=DATA + b"!", chunked=True)), FAILS, INSIDE),
    "shorter_image_in_chunks": Case(after_cut(Answer(data=DATA[:-1], chunked=True)), FAILS, INSIDE[:-1]),
    "another_range": Case(after_cut(Answer(shift=1)), FAILS, INSIDE[:-1]),
    "a_range_before": Case(after_cut(Answer(shift=-1)), FAILS, INSIDE),
    # It cannot, or will not, send a part.
    "no_range": Case(after_cut(Answer(whole=True)), places=INSIDE),
    "no_range_in_chunks": Case(after_cut(Answer(whole=True, chunked=True)), places=INSIDE),
    "refuses_range": Case(after_cut(Answer(status=400)), places=INSIDE),
    "range_not_satisfiable": Case(after_cut(Answer(status=416)), places=INSIDE),
    "no_range_and_dies": Case(lambda at: [cut(at), Answer(whole=True, upto=at // 2, then="close")], places=INSIDE),
    # It is in trouble.
    **{f"answers_{status}": Case(after_cut(Answer(status=status)), places=INSIDE[:3]) for status in (500, 503, 504)},
    "many_errors": Case(after_cut(*[Answer(status=500)] * 3), places=INSIDE[:1]),
    "retry_after": Case(after_cut(Answer(status=503, lines=["Retry-After: 1"])), places=INSIDE[1:2]),
    "says_nothing": Case(after_cut(Answer(raw=b"")), places=INSIDE[:3]),
    "talks_nonsense": Case(after_cut(Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n", then="close")), places=INSIDE),
    "drops_the_request": Case(after_cut(Answer(raw=b"", then="reset")), places=INSIDE),
    # It will not go on for this caller.
    **{
        f"refuses_{status}": Case(after_cut(Answer(status=status)), FAILS, INSIDE) for status in (401, 403, 404, 410)
    },
    "redirects_nowhere": Case(after_cut(Answer(status=302, lines=["Location: ftp://127.0.0.1/"])), FAILS, INSIDE[:2]),
    "redirects_without_end": Case(after_cut(*[Answer(status=302, lines=["Location: file"])] * 9), FAILS, INSIDE[:2]),
    # It sends us about on its own ground.
    "redirects": Case(after_cut(Answer(status=307, lines=["Location: file?part=2"])), places=INSIDE),
}  # fmt: skip


class MisbehavingTestCase(NodeTestCase):
    """
    A node before an upstream that does wrong.
    """

    timeout = 60

    def upstream_urls(self) -> list[str]:
        self.bad = MisbehavingUpstream(DATA)
        self.addCleanup(self.bad.stop)
        return [self.bad.url]

    def times(self) -> UpstreamTimes:
        return UpstreamTimes(head=0.3, stall=0.3, window=0.3, progress_bytes=1000)

    async def ask(self, image_id: str, token: str = "owner") -> RawClient:
        return await self.request("GET", f"/v2/images/{image_id}/file", f"X-Auth-Token: {token}", "Connection: close")

    async def outcome(self, client: RawClient) -> Outcome:
        """
        Wait until a client's connection has ended, and tell with what.
        """
        await until(lambda: client.at_end or client.lost is not None)
        tidy = client.at_end or client.lost is None or client.lost.check(ConnectionDone) is not None
        head, _, body = client.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        status = int(head.split(b" ")[1])
        if status >= 400:
            self.assertEqual(len(body), length)
            return Outcome.ERROR
        self.assertEqual((status, length), (200, SIZE))
        if len(body) < length:
            self.assertFalse(tidy, "a client ended with a part of the image as if that were all")
            return Outcome.CUT
        self.assertEqual(body, DATA, "a client ended with wrong bytes that look whole")
        return Outcome.WHOLE

    async def outcomes(self, image_id: str, *tokens: str) -> set[Outcome]:
        """
        Let clients ask for an image at once, and wait until all of them have what they get.
        """
        clients = [await self.ask(image_id, token) for token in tokens]
        return set(await gatherResults([later(self.outcome(client)) for client in clients]))

    async def settled(self) -> None:
        await until(lambda: not self.fills.under_way)


class TableTests(MisbehavingTestCase):
    """
    Every case of the table, at every place it names.
    """

    async def check(self, case: Case) -> None:
        for place in case.places:
            image_id = str(uuid.UUID(int=place + 1))
            self.bad.script[image_id] = list(case.answers(place))
            outcomes = await self.outcomes(image_id, "owner", "owner")
            self.assertLessEqual(outcomes, case.outcomes, f"at byte {place}")
            await self.settled()
            # Nothing of it stays behind: the next one gets the image.
            self.bad.script[image_id] = []
            self.assertEqual(await self.outcomes(image_id, "owner"), {Outcome.WHOLE}, f"at byte {place}")
            await self.settled()
        self.assertEqual(self.corrupt, [])


class TokenTests(MisbehavingTestCase):
    """
    A token that ends in the middle of a long fill, of a node without credentials of its own.
    """

    image_id = str(uuid.UUID(int=1))

    async def interrupted(self, *ended: str) -> tuple[set[Outcome], list[str | None]]:
        """
        A fill whose connection is lost, when some tokens have ended.

        :return: What its clients got, and the tokens that were shown after that.
        """
        self.bad.script[self.image_id] = [cut(CHUNK_BYTES, "stall")]
        clients = []
        for token in ("owner", "friend"):
            clients.append(await self.ask(self.image_id, token))
            await until(lambda: b"\r\n\r\n" in clients[-1].received)
        self.bad.refused.update(ended)
        outcomes = set(await gatherResults([later(self.outcome(client)) for client in clients]))
        await self.settled()
        return outcomes, [token for _, token, _ in self.bad.asked[1:]]

    async def test_next_caller(self) -> None:
        """
        It goes on with the token of the next client, and both get the image.
        """
        self.assertEqual(await self.interrupted("owner"), ({Outcome.WHOLE}, ["owner", "friend"]))

    async def test_nobody_left(self) -> None:
        """
        Where none is left all of them are cut off; who comes with a good one gets what is there and the rest.
        """
        self.assertEqual(await self.interrupted("owner", "friend"), ({Outcome.CUT}, ["owner", "friend"]))
        self.assertEqual(await self.outcomes(self.image_id, "third"), {Outcome.WHOLE})
        self.assertEqual(self.bad.asked[-1], (self.image_id, "third", CHUNK_BYTES))


@implementer(IOwnCredentials)
class OwnAccount:
    """
    An account with one token.
    """

    async def get(self) -> UpstreamCredentials:
        return UpstreamCredentials(auth_token="own")

    def reject(self, credentials: UpstreamCredentials) -> bool:
        return False


class OwnTokenTests(TokenTests):
    """
    The same with credentials of its own: these come first.
    """

    own_credentials = OwnAccount()

    async def test_next_caller(self) -> None:
        """
        It goes on with its own; and where that is not taken either, with the next client's.
        """
        self.assertEqual(await self.interrupted("owner"), ({Outcome.WHOLE}, ["owner", "own"]))
        self.image_id = str(uuid.UUID(int=2))
        self.bad.asked.clear()
        self.bad.refused.clear()
        self.assertEqual(await self.interrupted("owner", "own"), ({Outcome.WHOLE}, ["owner", "own", "friend"]))

    async def test_nobody_left(self) -> None:
        """
        Where neither is taken all are cut off.
        """
        outcomes, tokens = await self.interrupted("owner", "friend", "own")
        self.assertEqual((outcomes, tokens), ({Outcome.CUT}, ["owner", "own", "friend"]))


class SeveralTests(MisbehavingTestCase):
    """
    Two upstreams, of which the first one does wrong.
    """

    def upstream_urls(self) -> list[str]:
        self.good = MisbehavingUpstream(DATA)
        self.addCleanup(self.good.stop)
        return [*super().upstream_urls(), self.good.url]

    async def check_rest(self, then: str) -> None:
        image_id = str(uuid.UUID(int=1))
        self.bad.script[image_id] = [cut(CHUNK_BYTES, then)]
        self.assertEqual(await self.outcomes(image_id, "owner"), {Outcome.WHOLE})
        await self.settled()
        self.assertEqual(self.bad.asked, [(image_id, "owner", 0)])
        ((_, token, offset),) = self.good.asked
        self.assertEqual(token, "owner")
        self.assertTrue(CHUNK_BYTES <= offset <= CHUNK_BYTES + 100, offset)

    async def test_dies(self) -> None:
        """
        When the first one dies, the rest is the other one's.
        """
        await self.check_rest("close")

    async def test_stalls(self) -> None:
        """
        And when it stands still.
        """
        await self.check_rest("stall")

    async def test_trickles(self) -> None:
        """
        And when it sends next to nothing.
        """
        await self.check_rest("trickle")

    async def test_has_wrong_data(self) -> None:
        """
        What the first one has is not the image: whoever asks again gets it from the other one.
        """
        image_id = str(uuid.UUID(int=1))
        self.bad.script[image_id] = [Answer(data=OTHER)] * 9
        self.assertEqual(await self.outcomes(image_id, "owner"), {Outcome.CUT})
        await self.settled()
        self.assertEqual(await self.outcomes(image_id, "owner"), {Outcome.WHOLE})
        self.assertEqual((len(self.bad.asked), len(self.good.asked)), (1, 1))

    async def test_left_alone(self) -> None:
        """
        The one that failed is not asked for the next image.
        """
        first, second = (str(uuid.UUID(int=number + 1)) for number in range(2))
        self.bad.script[first] = [cut(CHUNK_BYTES)]
        self.assertEqual(await self.outcomes(first, "owner"), {Outcome.WHOLE})
        self.assertEqual(await self.outcomes(second, "owner"), {Outcome.WHOLE})
        self.assertEqual([image for image, _, _ in self.bad.asked], [first])
        self.assertEqual([image for image, _, _ in self.good.asked], [first, second])


class RedirectTests(MisbehavingTestCase):
    """
    An upstream that has its data elsewhere.
    """

    image_id = str(uuid.UUID(int=1))

    def upstream_urls(self) -> list[str]:
        self.store = MisbehavingUpstream(DATA)
        self.addCleanup(self.store.stop)
        return super().upstream_urls()

    def redirect(self, url: str) -> Answer:
        return Answer(status=302, lines=[f"Location: {url}/x/y/{self.image_id}/data?signature=z"])

    async def test_other_origin(self) -> None:
        """
        Data is fetched from there, from the start and from the middle, and the token stays at home.
        """
        self.bad.script[self.image_id] = [self.redirect(self.store.url)] * 2
        self.store.script[self.image_id] = [cut(CHUNK_BYTES)]
        self.assertEqual(await self.outcomes(self.image_id, "owner", "owner"), {Outcome.WHOLE})
        self.assertEqual(self.bad.asked, [(self.image_id, "owner", 0), (self.image_id, "owner", CHUNK_BYTES)])
        self.assertEqual(self.store.asked, [(self.image_id, None, 0), (self.image_id, None, CHUNK_BYTES)])

    async def test_back_again(self) -> None:
        """
        Who was sent away and back comes without a token, for the one between has chosen the address.
        """
        self.bad.script[self.image_id] = [self.redirect(self.store.url)]
        self.store.script[self.image_id] = [self.redirect(self.bad.url)]
        self.assertEqual(await self.outcomes(self.image_id, "owner"), {Outcome.WHOLE})
        self.assertEqual([token for _, token, _ in self.bad.asked], ["owner", None])

    async def test_same_origin(self) -> None:
        """
        On the same server the token goes along.
        """
        self.bad.script[self.image_id] = [self.redirect(self.bad.url)]
        self.assertEqual(await self.outcomes(self.image_id, "owner"), {Outcome.WHOLE})
        self.assertEqual([token for _, token, _ in self.bad.asked], ["owner", "owner"])

    async def test_elsewhere_is_wrong(self) -> None:
        """
        What comes from elsewhere is compared like anything else.
        """
        self.bad.script[self.image_id] = [self.redirect(self.store.url)]
        self.store.script[self.image_id] = [Answer(data=OTHER)]
        self.assertLessEqual(await self.outcomes(self.image_id, "owner"), FAILS)

    async def test_elsewhere_is_away(self) -> None:
        """
        Where nobody is there a fill asks again, from the start of the way.
        """
        self.bad.script[self.image_id] = [cut(CHUNK_BYTES), self.redirect(self.store.url)]
        await self.store.stop()
        self.assertEqual(await self.outcomes(self.image_id, "owner"), {Outcome.WHOLE})


def _add_tests() -> None:
    def make(case: Case) -> Callable[[TableTests], Any]:
        return lambda self: later(self.check(case))

    for name, case in CASES.items():
        test = make(case)
        test.__name__ = f"test_{name}"
        setattr(TableTests, test.__name__, test)


_add_tests()
