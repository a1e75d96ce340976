"""
Takes the pictures of ``docs/dashboard.rst``, of a node at work: ``trial tests.functional.pictures``.

Not named as a test, so that nobody's run changes files of the documentation.
"""

from __future__ import annotations

import random
from pathlib import Path

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ADMIN
from tests.functional.dashboard import DashboardCase
from tests.functional.test_cache import make_data

FOLDER = Path(__file__).parents[2] / "docs" / "dashboard"

IMAGES = {
    "debian-12-genericcloud-amd64": 11,
    "ubuntu-24.04-server-cloudimg": 14,
    "fedora-cloud-42": 9,
    "rocky-9-genericcloud": 8,
    "cirros-0.6.2-x86_64": 2,
    "windows-server-2025-eval": 18,
    "ci-runner-golden-2026-11": 7,
}


class Pictures(DashboardCase):
    """
    The pictures.
    """

    def test_pictures(self) -> None:
        """
        Each is there.
        """
        FOLDER.mkdir(exist_ok=True)
        dice = random.Random(7)
        images = [
            self.upload(make_data(size * MiB + index), name=name) for index, (name, size) in enumerate(IMAGES.items())
        ]
        for image_id in images:
            self.download(ADMIN, image_id)
        self.wait_for(lambda: set(images) <= set(self.cached()))
        for weight, image_id in zip((12, 9, 6, 4, 14, 2, 8), images, strict=True):
            for _ in range(weight + dice.randrange(3)):
                self.download(ADMIN, image_id)
        self.cache.ask("PUT", f"/v2/cache/{images[-1]}/pin", ADMIN)
        waiting = [self.small_image(f"opensuse-leap-16.{number}", 40 * MiB + number) for number in range(3)]
        self.relay.bytes_per_second = 2 * MiB
        self.sign_in()
        for image_id in waiting:
            self.cache.ask("PUT", f"/v2/cache/{image_id}", ADMIN)
        browser = self.browser
        browser.until(lambda: "at" in browser.text("#fills .facts"), "no fill is under way")
        browser.until(
            lambda: browser.evaluate("document.querySelector('#fills progress').value > 0.15"), "it does not go on"
        )
        browser.until(lambda: "debian" in browser.text("#images-rows"), "images have no names")
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.size(1280, 1010)
            browser.picture(FOLDER / f"desktop-{scheme}.png")
            browser.size(390, 844, mobile=True)
            browser.picture(FOLDER / f"phone-{scheme}.png")
        browser.scheme("light")
        browser.size(1280, 900)
        browser.click(f"#images-rows tr[data-image='{images[0]}'] button[aria-label^=Explain]")
        browser.find("#explanation[open]")
        browser.picture(FOLDER / "explain.png")
