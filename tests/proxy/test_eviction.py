"""
What goes first.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_cache.eviction import LeastRecentlyUsed, choose_victims
from glance_cache.interfaces import IEvictionPolicy


class LeastRecentlyUsedTests(SynchronousTestCase):
    """
    `LeastRecentlyUsed`.
    """

    def setUp(self) -> None:
        self.policy = LeastRecentlyUsed()

    def test_it_is_a_policy(self) -> None:
        """It provides `IEvictionPolicy`."""
        verifyObject(IEvictionPolicy, self.policy)

    def test_the_order_is_that_of_last_use(self) -> None:
        """What was used longest ago is at the front, in whichever order that became known."""
        for name, at in (("b", 2.0), ("c", 3.0), ("a", 1.0), ("d", 4.0)):
            self.policy.touch(name, at)
        self.assertEqual(list(self.policy.candidates()), ["a", "b", "c", "d"])
        self.policy.touch("a", 5.0)
        self.assertEqual(list(self.policy.candidates()), ["b", "c", "d", "a"])

    def test_an_older_use_changes_nothing(self) -> None:
        """What is told of a use before the last one known is no news."""
        for name, at in (("a", 2.0), ("b", 3.0), ("b", 1.0)):
            self.policy.touch(name, at)
        self.assertEqual(list(self.policy.candidates()), ["a", "b"])

    def test_what_is_gone_is_no_candidate(self) -> None:
        """A forgotten entry is not listed; forgetting it again does no harm."""
        self.policy.touch("a", 1.0)
        self.policy.forget("a")
        self.policy.forget("a")
        self.assertEqual(list(self.policy.candidates()), [])


class ChooseVictimsTests(SynchronousTestCase):
    """
    `choose_victims`.
    """

    def test_no_more_goes_than_needed(self) -> None:
        """Victims are taken from the front until enough is freed, and then no more."""
        evictable = [("a", 10), ("b", 10), ("c", 10)]
        for needed, victims in ((0, []), (1, ["a"]), (10, ["a"]), (11, ["a", "b"]), (99, ["a", "b", "c"])):
            self.assertEqual(choose_victims(evictable, needed), victims)
