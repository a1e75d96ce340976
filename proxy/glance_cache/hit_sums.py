"""
Hits of all nodes, added up.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from glance_cache.hit_keys import HOUR, PROJECT, is_image_key
from glance_cache.interfaces import HitTotals
from glance_cache.seats import node_of

__all__ = ["HitSums"]


@frozen
class HitSums:
    """
    What the totals of nodes come to.

    :param whole: Of all images.
    :param images: By image id.
    :param nodes: By the node's name.
    :param projects: By the project's id.
    :param hours: By the hour, as `glance_cache.hit_keys` writes it.
    """

    whole: HitTotals
    images: Mapping[str, HitTotals]
    nodes: Mapping[str, HitTotals]
    projects: Mapping[str, HitTotals]
    hours: Mapping[str, HitTotals]

    @classmethod
    def of(cls, counted: Mapping[str, Mapping[str, HitTotals]]) -> HitSums:
        """
        Add up.

        :param counted: As `ICacheIndex.all_hits` has it.
        """
        whole = HitTotals()
        images: dict[str, HitTotals] = {}
        nodes: dict[str, HitTotals] = {}
        projects: dict[str, HitTotals] = {}
        hours: dict[str, HitTotals] = {}
        for counter, totals in counted.items():
            node = node_of(counter)
            nodes.setdefault(node, HitTotals())
            for key, hits in totals.items():
                if is_image_key(key):
                    _add(images, key, hits)
                    _add(nodes, node, hits)
                    whole = whole.plus(hits)
                elif key.startswith(PROJECT):
                    _add(projects, key.removeprefix(PROJECT), hits)
                elif key.startswith(HOUR):
                    _add(hours, key.removeprefix(HOUR), hits)
        return cls(whole, images, nodes, projects, hours)


def _add(sums: dict[str, HitTotals], name: str, hits: HitTotals) -> None:
    known = sums.get(name)
    sums[name] = hits if known is None else known.plus(hits)
