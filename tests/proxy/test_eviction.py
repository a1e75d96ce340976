"""
What goes first.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_cache.eviction import LeastFrequentlyUsed, LeastRecentlyUsed, choose_victims
from glance_cache.interfaces import IEvictionPolicy


class PolicyContract:
    """
    What every policy does. Mixed into a `twisted.trial.unittest.SynchronousTestCase`.
    """

    def make_policy(self) -> IEvictionPolicy:
        raise NotImplementedError

    def setUp(self) -> None:
        self.policy = self.make_policy()

    def order(self) -> list[str]:
        return list(self.policy.candidates())

    def test_it_is_a_policy(self) -> None:
        """It provides `IEvictionPolicy`."""
        verifyObject(IEvictionPolicy, self.policy)

    def test_the_order_is_that_of_last_use(self) -> None:
        """Of what was used as often, what was used longest ago is at the front, in whichever order that is known."""
        for name, at in (("b", 2.0), ("c", 3.0), ("a", 1.0), ("d", 4.0)):
            self.policy.touch(name, at)
        self.assertEqual(self.order(), ["a", "b", "c", "d"])
        self.policy.touch("a", 5.0)
        self.assertEqual(self.order(), ["b", "c", "d", "a"])

    def test_an_older_use_changes_nothing(self) -> None:
        """What is told of a use before the last one known, or of that one again, is no news."""
        for name, at in (("a", 2.0), ("b", 3.0), ("a", 1.0), ("a", 2.0)):
            self.policy.touch(name, at)
        self.assertEqual(self.order(), ["a", "b"])

    def test_what_is_gone_is_no_candidate(self) -> None:
        """A forgotten entry is not listed; forgetting it again does no harm."""
        self.policy.touch("a", 1.0)
        self.policy.forget("a")
        self.policy.forget("a")
        self.policy.used_before("a", 5)
        self.assertEqual(self.order(), [])

    def test_candidates_may_go_while_they_are_listed(self) -> None:
        """Each entry is listed once."""
        for name in "abc":
            self.policy.touch(name, 1.0)
        self.policy.touch("b", 2.0)
        self.policy.used_before("c", 3)
        self.assertEqual(sorted(self.order()), ["a", "b", "c"])


class LeastRecentlyUsedTests(PolicyContract, SynchronousTestCase):
    """
    `LeastRecentlyUsed`.
    """

    def make_policy(self) -> IEvictionPolicy:
        return LeastRecentlyUsed()


class LeastFrequentlyUsedTests(PolicyContract, SynchronousTestCase):
    """
    `LeastFrequentlyUsed`.
    """

    def make_policy(self) -> IEvictionPolicy:
        return LeastFrequentlyUsed()

    def use(self, name: str, times: int, at: float = 0.0) -> None:
        for number in range(1, times + 1):
            self.policy.touch(name, at + number / 1000)

    def test_what_is_used_more_often_stays_longer(self) -> None:
        """How often counts before how long ago."""
        for at, (name, times) in enumerate((("common", 5), ("twice", 2), ("other", 2), ("once", 1))):
            self.use(name, times, at)
        self.assertEqual(self.order(), ["once", "twice", "other", "common"])

    def test_uses_outlive_the_entry(self) -> None:
        """An entry that went and comes again is worth what it was before."""
        self.use("again", 3)
        self.policy.forget("again")
        self.use("new", 2, 1.0)
        self.policy.touch("again", 2.0)
        self.use("newest", 3, 3.0)
        self.assertEqual(self.order(), ["new", "newest", "again"])

    def test_a_scan_takes_its_own_room(self) -> None:
        """Of 500 images that are used once, each is the next to go, and what is used more often is not touched."""
        hot = [f"hot-{number}" for number in range(20)]
        for at, name in enumerate(hot):
            self.use(name, 3, at)
        last = None
        for number in range(500):
            self.policy.touch(f"once-{number}", 100.0 + number)
            if last is not None:
                self.assertEqual(next(iter(self.policy.candidates())), last)
                self.policy.forget(last)
            last = f"once-{number}"
        self.assertEqual(self.order()[1:], hot)

    def test_what_was_common_once_makes_way(self) -> None:
        """Counts fade: what is used now, though rarely, stays longer than what is not used any more."""
        self.use("old", 15)
        for number in range(3000):
            self.policy.touch(f"passing-{number}", 1.0 + number)
            self.policy.forget(f"passing-{number}")
        self.use("now", 3, 4000.0)
        self.assertEqual(self.order(), ["old", "now"])
        self.policy.touch("old", 5000.0)
        self.assertEqual(self.order(), ["old", "now"])

    def test_uses_from_before_the_start(self) -> None:
        """What was used more often before the start stays longer, however old its last use is."""
        for at, name in enumerate(("many", "some", "none")):
            self.policy.touch(name, float(at))
        self.policy.used_before("some", 10)
        self.policy.used_before("many", 10_000)
        self.policy.used_before("none", 0)
        self.assertEqual(self.order(), ["none", "some", "many"])


class ChooseVictimsTests(SynchronousTestCase):
    """
    `choose_victims`.
    """

    def test_no_more_goes_than_needed(self) -> None:
        """Victims are taken from the front until enough is freed, and then no more."""
        evictable = [("a", 10), ("b", 10), ("c", 10)]
        for needed, victims in ((0, []), (1, ["a"]), (10, ["a"]), (11, ["a", "b"]), (99, ["a", "b", "c"])):
            self.assertEqual(choose_victims(evictable, needed), victims)
