"""
A real cache whose fills are limited, and whose image service has two addresses.
"""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ADMIN, ALICE, CACHE_CONFIG, DaemonProcess
from tests.functional.test_cache import SIZE, CacheTestCase, make_data

BANDWIDTH = 4 * MiB


class FillOptionTests(CacheTestCase):
    """
    ``abandon_below``, ``max_fills`` and ``fill_bandwidth``.
    """

    def restart(self, options: str) -> None:
        """
        Have the cache run with further options.
        """
        self.cache.stop()
        self.cache.config = self.cache.config.replace("[cache]\n", f"[cache]\n{options}\n")
        self.cache.start()

    def leave_at(self, present_bytes: int) -> None:
        """
        Have a client ask for the image and leave when so much of it is there, while the rest is held.
        """
        self.relay.hold(present_bytes)
        connection = http.client.HTTPConnection("127.0.0.1", self.cache.port, timeout=60)
        connection.request("GET", f"/v2/images/{self.image_id}/file", headers={"X-Auth-Token": ALICE})
        connection.getresponse().read(1000)
        self.wait_until_held(present_bytes)
        connection.close()

    def state(self) -> str | None:
        """
        How the image's entry is doing.
        """
        answer = json.loads(self.cache.ask("GET", f"/v2/cache/{self.image_id}", ADMIN).body)
        return None if answer["entry"] is None else answer["entry"]["state"]

    def test_abandoned(self) -> None:
        """
        A fill that everybody left is stopped where little is there, and gone on with by the next client.
        """
        self.restart("abandon_below = 50")
        self.leave_at(SIZE // 4)
        self.wait_for(lambda: self.state() == "partial", 60)
        self.relay.release()
        self.assert_right(self.download(), "fill")
        self.assertLess(self.relay.passed_bytes, SIZE + 2 * MiB)

    def test_not_abandoned(self) -> None:
        """
        Where much of it is there, it goes on.
        """
        self.restart("abandon_below = 50")
        self.leave_at(3 * SIZE // 4)
        self.wait_for(lambda: self.followers() == 0)
        self.relay.release()
        self.wait_for(lambda: self.state() == "complete")
        self.assertEqual(self.transfers(), 1)

    def followers(self) -> int:
        """
        How many clients the image is on its way to, beside the fill itself.
        """
        answer = json.loads(self.cache.ask("GET", f"/v2/cache/{self.image_id}", ADMIN).body)
        return int(answer["entry"]["followers"])

    def test_many(self) -> None:
        """
        Who asks for one image more than may be filled at a time gets it passed through, and the fill its place after.
        """
        self.restart("max_fills = 1")
        data = make_data(MiB)
        other = self.upload(data)
        with ThreadPoolExecutor(1) as pool:
            fill = self.begin(pool, SIZE // 2)
            answer = self.download(image_id=other)
            self.assertEqual((answer.status, answer.headers["x-cache"], answer.body == data), (200, "bypass", True))
            self.relay.release()
            self.assert_right(fill.result(), "fill")
        self.wait_for(lambda: self.download(image_id=other).headers["x-cache"] == "hit")

    def test_bandwidth(self) -> None:
        """
        Fills take no more than they may.
        """
        self.restart(f"fill_bandwidth = {BANDWIDTH}")
        began = time.monotonic()
        self.assert_right(self.download(), "fill")
        # A part of it may come at once.
        self.assertGreater(time.monotonic() - began, (SIZE - 2 * BANDWIDTH) / BANDWIDTH)


class AddressTests(CacheTestCase):
    """
    An image service that has two addresses, by a wire each, of which the first one is cut.
    """

    def make_cache(self, folder: Path) -> DaemonProcess:
        """
        Make the cache; it is not started.
        """
        upstream = f"\n[upstream]\nurls = http://127.0.0.1:{self.relay.port},{self.api.url}\n"
        return self.make_daemon("glance-cache", folder, CACHE_CONFIG + upstream)

    def upstreams(self) -> list[dict[str, Any]]:
        """
        What the node knows of the two.
        """
        upstreams: list[dict[str, Any]] = json.loads(self.cache.ask("GET", "/v2/cache/node", ADMIN).body)["health"][
            "upstreams"
        ]
        return upstreams

    def test_rest(self) -> None:
        """
        The address that fails is left alone, and the health of the node tells since when and why, until it is back.
        """
        self.relay.close()
        self.assert_right(self.download(), "fill")
        first, second = self.upstreams()
        self.assertEqual((first["well"], second["well"]), (False, True))
        self.assertGreater(first["rests_until"], first["last_error_at"])
        self.assertIn("refused", first["last_error"])
        self.assertEqual((second["rests_until"], second["last_error"], second["failures"]), (None, None, 0))
        self.relay.reopen()
        # Whoever asks tries it, when its rest is over.
        self.wait_for(lambda: self.cache.ask("GET", "/v2/images", ALICE).status == 200 and self.upstreams()[0]["well"])
        first, _ = self.upstreams()
        self.assertEqual((first["rests_until"], first["failures"] > 0), (None, True))
        self.assertIn("refused", first["last_error"])
