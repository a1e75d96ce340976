"""
What two ways to choose what goes first are worth: the share of requests, and of bytes, that a cache answers itself.

Requests are made up: how often an image is asked for follows Zipf's law, sizes are spread as those of cloud images are,
and the cache holds a part of them all. Both policies see the same requests, and are
asked as the caching tier asks them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from itertools import accumulate, chain

from attrs import frozen

from glance_cache.eviction import LeastFrequentlyUsed, LeastRecentlyUsed, choose_victims
from glance_cache.interfaces import IEvictionPolicy
from glance_tx.streaming.units import MiB

IMAGES, EXPONENT, SCAN, HOT = 1000, 0.9, 500, 20
POLICIES: dict[str, Callable[[], IEvictionPolicy]] = {"LRU": LeastRecentlyUsed, "LFU": LeastFrequentlyUsed}


@frozen
class Outcome:
    """
    What became of the requests for common images, and what was left of the most common ones after the last scan.
    """

    hits: float
    hit_bytes: float
    hot_left: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=50_000, help="in each trace (default 50000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default 1)")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    sizes = [size_bytes(chance) for _ in range(IMAGES)]
    print(f"{'trace':34}{'room':>6}  {'policy':8}{'hits':>8}{'bytes':>8}{'hot 20 left':>13}")
    for name, trace in traces(options.requests, chance).items():
        for share in (0.05, 0.1, 0.2):
            for policy, make in POLICIES.items():
                outcome = replay(make(), trace, sizes, int(share * sum(sizes)))
                hot = f"{outcome.hot_left:13}" if name.startswith("scan") else f"{'':13}"
                print(f"{name:34}{share:6.0%}  {policy:8}{outcome.hits:8.1%}{outcome.hit_bytes:8.1%}{hot}")


def size_bytes(chance: random.Random) -> int:
    # Half of them below 600 MiB, one in ten above 3 GiB.
    return max(16 * MiB, min(int(chance.lognormvariate(6.4, 1.2)), 40 * 1024) * MiB)


def traces(requests: int, chance: random.Random) -> dict[str, list[int]]:
    """
    Make up traces of image numbers; those of scans are negative, each there once.
    """
    steady = zipf(requests, chance)
    once = iter(range(-1, -requests, -1))
    fifth = requests // 5
    return {
        "steady": steady,
        "one in three asked for once": [n for hot in zipf(requests, chance) for n in with_strangers(hot, once, chance)],
        "other images every fifth": [(n + 200 * (at // fifth)) % IMAGES for at, n in enumerate(steady)],
        f"scan of {SCAN} after every fifth": list(
            chain.from_iterable(
                [*steady[start : start + fifth], *(next(once) for _ in range(SCAN))]
                for start in range(0, requests, fifth)
            )
        ),
    }


def zipf(requests: int, chance: random.Random) -> list[int]:
    weights = list(accumulate(1 / (number + 1) ** EXPONENT for number in range(IMAGES)))
    return chance.choices(range(IMAGES), cum_weights=weights, k=requests)


def with_strangers(image: int, once: Iterator[int], chance: random.Random) -> list[int]:
    return [image, next(once)] if chance.random() < 0.5 else [image]


def replay(policy: IEvictionPolicy, trace: list[int], sizes: list[int], room_bytes: int) -> Outcome:
    """
    Ask for images one after the other, in a cache of that much room.
    """
    kept: dict[str, int] = {}
    taken = requests = hits = asked_bytes = hit_bytes = 0
    for at, image in enumerate(trace):
        name, size = str(image), sizes[image % IMAGES]
        common = image >= 0
        requests, asked_bytes = requests + common, asked_bytes + common * size
        if name in kept:
            hits, hit_bytes = hits + 1, hit_bytes + size
        elif size <= room_bytes:
            victims = choose_victims(((key, kept[key]) for key in policy.candidates()), taken + size - room_bytes)
            for victim in victims:
                taken -= kept.pop(victim)
                policy.forget(victim)
            kept[name], taken = size, taken + size
        else:
            continue
        policy.touch(name, float(at))
    return Outcome(hits / requests, hit_bytes / asked_bytes, sum(str(image) in kept for image in range(HOT)))


if __name__ == "__main__":
    main()
