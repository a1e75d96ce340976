"""
What is known of tokens, remembered.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glance_tx.identity.caching import RememberedTokens
from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.identity.interfaces import ITokens

NOW = 1_800_000_000.0


@implementer(ITokens)
class ScriptedTokens:
    """
    Answers when the test says.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.answers: dict[str, Caller | Exception | Deferred[Caller]] = {}

    async def find(self, token: str, *, allow_expired: bool = False) -> Caller:
        self.asked.append((token, allow_expired))
        answer = self.answers[token]
        if isinstance(answer, Exception):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer


def caller(expires_at: float | None = None) -> Caller:
    return Caller("alice", "red", ("member",), expires_at)


class RememberedTokensTests(SynchronousTestCase):
    """
    `RememberedTokens` asks others, and seldom.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.tokens = ScriptedTokens()
        self.remembered = self.make()

    def make(self, seconds: float = 300.0, most: int = 100) -> RememberedTokens:
        return RememberedTokens(self.tokens, self.clock, seconds, b"key", most)

    def find(self, token: str, *, allow_expired: bool = False) -> Deferred[Caller]:
        return Deferred.fromCoroutine(self.remembered.find(token, allow_expired=allow_expired))

    def found(self, token: str, *, allow_expired: bool = False) -> Caller:
        return self.successResultOf(self.find(token, allow_expired=allow_expired))

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(ITokens, self.remembered)

    def test_remembered(self) -> None:
        """
        A holder is remembered for as long as is said, from when he was asked about.
        """
        waiting: Deferred[Caller] = Deferred()
        self.tokens.answers["t"] = waiting
        finding = self.find("t")
        self.clock.advance(10)
        waiting.callback(caller())
        self.assertEqual(self.successResultOf(finding), caller())
        self.tokens.answers["t"] = NotAuthenticated("it was revoked")
        self.clock.advance(289.9)
        self.assertEqual(self.found("t"), caller())
        self.clock.advance(0.1)
        self.failureResultOf(self.find("t"), NotAuthenticated)
        self.assertEqual(len(self.tokens.asked), 2)

    def test_never_past_its_end(self) -> None:
        """
        No longer than the token lives.
        """
        self.tokens.answers["t"] = caller(NOW + 20)
        self.found("t")
        self.clock.advance(19.9)
        self.found("t")
        self.assertEqual(len(self.tokens.asked), 1)
        self.clock.advance(0.1)
        self.found("t")
        self.assertEqual(len(self.tokens.asked), 2)

    def test_switched_off(self) -> None:
        """
        With no time at all everybody is asked about each time, good or bad.
        """
        self.remembered = self.make(0.0)
        self.tokens.answers = {"t": caller(), "u": NotAuthenticated("no")}
        for _ in range(2):
            self.found("t")
            self.failureResultOf(self.find("u"), NotAuthenticated)
        self.assertEqual(len(self.tokens.asked), 4)

    def test_refusals(self) -> None:
        """
        That a token is not valid is remembered for ten seconds, with the reason.
        """
        self.tokens.answers["t"] = NotAuthenticated("it is not known")
        for _ in range(5):
            failure = self.failureResultOf(self.find("t"), NotAuthenticated)
            self.assertEqual(failure.value.reason, "it is not known")
        self.assertEqual(len(self.tokens.asked), 1)
        self.tokens.answers["t"] = caller()
        self.clock.advance(9.9)
        self.failureResultOf(self.find("t"), NotAuthenticated)
        self.clock.advance(0.1)
        self.found("t")

    def test_nobody_to_ask(self) -> None:
        """
        That nobody could be asked is not remembered; whoever is known already stays so.
        """
        self.tokens.answers["t"] = caller()
        self.found("t")
        self.tokens.answers = {"u": IdentityUnavailable("away")}
        self.failureResultOf(self.find("u"), IdentityUnavailable)
        self.found("t")
        self.tokens.answers = {"u": caller()}
        self.found("u")

    def test_expired_apart(self) -> None:
        """
        What is known of a token that a service vouches for is not known of the token alone.
        """
        self.tokens.answers["t"] = caller(NOW - 5)
        self.found("t", allow_expired=True)
        self.found("t", allow_expired=True)
        self.assertEqual(self.tokens.asked, [("t", True)])
        self.tokens.answers["t"] = NotAuthenticated("it is not known")
        self.failureResultOf(self.find("t"), NotAuthenticated)
        self.found("t", allow_expired=True)

    def test_bounded(self) -> None:
        """
        Of too many holders the one goes that was not seen for longest; guesses drive none of them out.
        """
        self.remembered = self.make(most=2)
        self.tokens.answers = {name: caller() for name in "abc"}
        for name in "abacaca":
            self.found(name)
        self.assertEqual([token for token, _ in self.tokens.asked], ["a", "b", "c"])
        for number in range(10):
            self.tokens.answers[str(number)] = NotAuthenticated("no")
            self.failureResultOf(self.find(str(number)), NotAuthenticated)
        self.found("a")
        self.assertEqual(len(self.tokens.asked), 13)
        self.failureResultOf(self.find("9"), NotAuthenticated)
        self.assertEqual(len(self.tokens.asked), 13)
        self.failureResultOf(self.find("0"), NotAuthenticated)
        self.assertEqual(len(self.tokens.asked), 14)

    def test_once(self) -> None:
        """
        However many ask at once, one question is asked; who asked first may leave.
        """
        waiting: Deferred[Caller] = Deferred()
        self.tokens.answers["t"] = waiting
        finding = [self.find("t") for _ in range(4)]
        finding[0].cancel()
        finding[2].cancel()
        self.failureResultOf(finding[0], CancelledError)
        self.failureResultOf(finding[2], CancelledError)
        waiting.callback(caller())
        self.assertEqual([self.successResultOf(finding[number]) for number in (1, 3)], [caller()] * 2)
        self.assertEqual(len(self.tokens.asked), 1)

    def test_all_leave(self) -> None:
        """
        The answer is remembered though nobody waits for it any more.
        """
        waiting: Deferred[Caller] = Deferred()
        self.tokens.answers["t"] = waiting
        finding = self.find("t")
        finding.cancel()
        self.failureResultOf(finding, CancelledError)
        waiting.callback(caller())
        self.found("t")
        self.assertEqual(len(self.tokens.asked), 1)

    def test_all_fail(self) -> None:
        """
        A failure is everybody's; nothing of it is left behind.
        """
        waiting: Deferred[Caller] = Deferred()
        self.tokens.answers["t"] = waiting
        finding = [self.find("t") for _ in range(3)]
        waiting.errback(IdentityUnavailable("away"))
        for one in finding:
            self.failureResultOf(one, IdentityUnavailable)
        self.tokens.answers["t"] = caller()
        self.found("t")

    def test_stop(self) -> None:
        """
        Whoever waits when it is stopped is cancelled.
        """
        self.tokens.answers["t"] = Deferred()
        finding = self.find("t")
        self.remembered.stop()
        self.failureResultOf(finding, CancelledError)

    def test_tokens_are_not_kept(self) -> None:
        """
        Nothing that it keeps has a token in it, or a digest that another key would give.
        """
        self.tokens.answers = {"secret": caller(), "secret-2": NotAuthenticated("no")}
        self.found("secret")
        self.failureResultOf(self.find("secret-2"), NotAuthenticated)
        kept = [*self.remembered._holders._entries, *self.remembered._refusals._entries]
        self.assertEqual([len(key) for key in kept], [32, 32])
        other = RememberedTokens(self.tokens, self.clock, 300, b"other")
        self.successResultOf(Deferred.fromCoroutine(other.find("secret")))
        self.assertFalse(set(kept) & set(other._holders._entries))
