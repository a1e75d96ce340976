"""
Tests of a node's page, in a browser.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal

from glance_tx.streaming.units import MiB
from tests.functional.browser import Keys
from tests.functional.daemons import ADMIN, ALICE
from tests.functional.dashboard import DashboardCase
from tests.functional.workers import children_of

MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=2</script>'


def row(image_id: str) -> str:
    """
    Find the row of an image in the table.
    """
    return f"#images-rows tr[data-image='{image_id}']"


def button(image_id: str, verb: str) -> str:
    """
    Find a button in the row of an image.
    """
    return f"{row(image_id)} button[aria-label^='{verb} ']"


class PageTests(DashboardCase):
    """
    The page shows what happens on the node, and does what it is told.
    """

    def test_fill(self) -> None:
        """
        The bar of a fill moves while an image comes, with those who follow it, and the image is in the table when it is
        here; no other origin is asked for anything, and the policy of the page forbids nothing that it does.
        """
        browser = self.browser
        self.relay.bytes_per_second = 4 * MiB
        self.sign_in()
        client = http.client.HTTPConnection("127.0.0.1", self.cache.port, timeout=60)
        self.addCleanup(client.close)
        client.request("GET", f"/v2/images/{self.image_id}/file", headers={"X-Auth-Token": ALICE})
        body = client.getresponse()
        bar = f"#fills li[data-image='{self.image_id}'] progress"
        browser.find(bar)
        seen = {0.0}

        def moved() -> bool:
            seen.add(browser.evaluate("document.querySelector(arguments[0])?.value ?? 1", bar))
            return len(seen - {0.0, 1.0}) >= 3

        browser.until(moved, "the bar does not move")
        browser.until(lambda: "1 client follows" in browser.text("#fills"), "nobody is said to follow")
        self.relay.bytes_per_second = None
        body.read()
        browser.find(row(self.image_id))
        browser.until(lambda: not browser.evaluate("document.querySelector('#fills li')"), "the fill is still there")
        self.download()
        browser.until(lambda: re.search(r"50 %.*2 answers", browser.text("#tiles")), "the hit does not show")
        browser.until(lambda: "1 hit" in browser.text("#top-all"), "the image is not among the top of all nodes")
        self.assertEqual(
            {re.sub(r"/[^:]*$", "", url) for url in browser.requested()}, {self.url.removesuffix("/dashboard")}
        )
        self.assertEqual(browser.forbidden(), [])

    def test_actions(self) -> None:
        """
        Clicks queue an image, pin it, verify it, explain it, and evict it once that was confirmed.
        """
        browser = self.browser
        self.sign_in()
        browser.type("#queue-image", self.image_id)
        browser.click("#queue-form button")
        browser.find(row(self.image_id))
        self.assertEqual(self.cached(), [self.image_id])
        browser.click(button(self.image_id, "Pin"))
        browser.find(button(self.image_id, "Unpin"))
        listed = self.listed()
        assert listed is not None
        self.assertTrue(listed["pinned"])
        browser.click(button(self.image_id, "Unpin"))
        browser.find(button(self.image_id, "Pin"))
        browser.click(button(self.image_id, "Verify"))
        browser.until(lambda: "is right" in browser.text("#said"), "nothing is said of the data")
        browser.click(button(self.image_id, "Explain"))
        browser.find("#explanation[open]")
        self.assertEqual(browser.text("#explanation .outcome"), "hit")
        browser.click("#explanation-close")
        browser.click(button(self.image_id, "Evict"))
        browser.click("#ask button[value=no]")
        self.assertEqual(self.cached(), [self.image_id])
        browser.click(button(self.image_id, "Evict"))
        browser.click("#ask-yes")
        browser.until(
            lambda: not browser.evaluate("document.querySelector(arguments[0])", row(self.image_id)), "it stays"
        )
        self.assertEqual(self.cached(), [])
        self.assertEqual(browser.forbidden(), [])

    def test_queue_by_name_and_remove(self) -> None:
        """
        Images are queued by name, are shown in the queue, and leave it by a click.
        """
        browser = self.browser
        self.relay.bytes_per_second = MiB / 4
        name = "golden image"
        images = [self.upload(self.data + bytes(number), name=name) for number in range(3)]
        self.sign_in()
        browser.type("#queue-image", name)
        browser.click("#queue-form button")
        browser.until(lambda: "3 images are queued" in browser.text("#said"), "nothing is said of the queue")
        browser.until(lambda: browser.evaluate("document.querySelectorAll('#jobs li').length") == 3, "they do not show")
        self.assertEqual(set(self.queued()), set(images))
        waiting = images[-1]
        browser.click(f"#jobs li[data-image='{waiting}'] button[aria-label^=Remove]")
        browser.until(lambda: browser.evaluate("document.querySelectorAll('#jobs li').length") == 2, "it stays")
        self.assertNotIn(waiting, self.queued())
        browser.type("#queue-image", "no such name")
        browser.click("#queue-form button")
        browser.until(lambda: "No active image is called" in browser.text("#said .bad"), "nothing is said of the name")

    def test_markup_in_a_name(self) -> None:
        """
        A name that is markup shows as the text that it is, wherever it shows, and nothing of it runs.
        """
        browser = self.browser
        image_id = self.upload(self.data[:100_000], name=MARKUP)
        self.download(image_id=image_id)
        self.wait_for(lambda: self.cached() == [image_id])
        self.download(image_id=image_id)
        self.sign_in()
        browser.until(lambda: browser.text(f"{row(image_id)} .name") == MARKUP, "the name does not show")
        browser.until(lambda: MARKUP in browser.text("#top-all"), "the name does not show among the top")
        browser.click(button(image_id, "Explain"))
        browser.find("#explanation[open]")
        self.assertEqual(browser.text("#explanation-title"), MARKUP)
        browser.click("#explanation-close")
        browser.click(button(image_id, "Evict"))
        self.assertEqual(browser.text("#ask-title"), f"Evict {MARKUP}?")
        browser.click("#ask-yes")
        browser.until(lambda: MARKUP in browser.text("#said"), "nothing is said of the image")
        self.assertIsNone(browser.evaluate("window.hurt ?? null"))
        self.assertEqual(browser.evaluate("document.querySelectorAll('main img, #said img, dialog img').length"), 0)
        self.assertEqual(browser.forbidden(), [])

    def test_redis_goes_away(self) -> None:
        """
        The page says that Redis does not answer, keeps what it knows, and says when it is back.
        """
        browser = self.browser
        self.fill()
        self.sign_in()
        browser.find(row(self.image_id))
        browser.find("#health [data-key=index][data-mood=good]")
        self.redis.kill()
        browser.find("#health [data-key=index][data-mood=bad]")
        browser.until(lambda: "Redis does not answer" in browser.text("#banners"), "there is no banner")
        self.assertTrue(browser.find(row(self.image_id)).is_displayed())
        self.redis.start()
        browser.find("#health [data-key=index][data-mood=good]")
        browser.until(lambda: browser.text("#banners") == "", "the banner stays")

    def test_keyboard(self) -> None:
        """
        All of it can be done with the keyboard: sign in, queue, pin, evict; and its place on the page shows, and is
        kept when the page changes.
        """
        browser = self.browser
        browser.open(self.url)
        browser.find("#token")
        browser.until(lambda: browser.evaluate("document.activeElement.id") == "token", "the field is not entered")
        browser.press(ADMIN, Keys.ENTER)
        browser.find("#board")
        self.tab_to("#queue-image")
        browser.press(self.image_id, Keys.ENTER)
        browser.find(row(self.image_id))
        self.tab_to(button(self.image_id, "Pin"))
        outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        self.assertEqual(outline, "solid")
        browser.press(Keys.SPACE)
        browser.find(button(self.image_id, "Unpin"))
        self.assertEqual(browser.evaluate("document.activeElement.textContent"), "Unpin")
        self.tab_to(button(self.image_id, "Evict"))
        browser.press(Keys.ENTER)
        browser.find("#ask[open]")
        browser.press(Keys.ESCAPE)
        browser.until(lambda: not browser.evaluate("document.getElementById('ask').open"), "the dialog stays")
        self.assertEqual(self.cached(), [self.image_id])
        self.tab_to(button(self.image_id, "Evict"))
        browser.press(Keys.ENTER)
        browser.find("#ask[open]")
        self.tab_to("#ask-yes")
        browser.press(Keys.ENTER)
        browser.until(
            lambda: not browser.evaluate("document.querySelector(arguments[0])", row(self.image_id)), "it stays"
        )
        self.assertEqual(self.cached(), [])

    def tab_to(self, selector: str) -> None:
        """
        Press the tabulator key until the keyboard is there.
        """
        for _ in range(80):
            if self.browser.evaluate("document.activeElement.matches(arguments[0])", selector):
                return
            self.browser.press(Keys.TAB)
        self.fail(f"the keyboard does not come to {selector}")


class CutOffTests(DashboardCase):
    """
    A site that loses its line to the image service.
    """

    more = "grant_ttl = 1\noffline_grace = 600\n"

    def test_offline(self) -> None:
        """
        The page says that the site is cut off and which upstream fails, counts what is served meanwhile as hits, and
        says when that is over.
        """
        browser = self.browser
        self.fill()
        self.sign_in()
        browser.find("#health [data-key=upstream][data-mood=good]")
        self.relay.close()
        self.wait_for(lambda: self.download().headers.get("x-cache") == "offline", 60)
        browser.until(lambda: "Offline since" in browser.text("#banners"), "the page does not say so")
        browser.find("#health [data-key=upstream][data-mood=bad]")
        browser.until(lambda: "began to fail 1 time; at" in browser.text("#health [data-key=upstream]"), "no reason")
        browser.until(lambda: re.search("[1-9][0-9]? %", browser.text("#tiles .value")), "the answer is not counted")
        self.relay.reopen()
        browser.until(lambda: browser.text("#banners") == "", "the banner stays")
        browser.find("#health [data-key=upstream][data-mood=good]")
        self.assertEqual(browser.forbidden(), [])


class DoorTests(DashboardCase):
    """
    Who sees the node.
    """

    def test_tokens(self) -> None:
        """
        Without a token nothing is shown; a wrong one, and one that may not manage the node, are refused in words; and a
        token is nowhere but in the memory of the page.
        """
        browser = self.browser
        browser.open(self.url)
        for token, said in (("wrong", "a valid token is required"), (ALICE, "policy does not allow")):
            browser.type("#token", token)
            browser.click("#sign-in button")
            browser.until(lambda said=said: said in browser.text("#gate-problem"), f"{said} is not said")
            self.assertFalse(browser.evaluate("document.getElementById('board').checkVisibility()"))
        browser.type("#token", ADMIN)
        browser.click("#sign-in button")
        browser.find("#board")
        self.assertEqual([url for url in browser.requested() if ADMIN in url], [])
        kept = "[document.cookie, localStorage.length, sessionStorage.length, document.getElementById('token').value]"
        self.assertEqual(browser.evaluate(kept), ["", 0, 0, ""])
        browser.click("#sign-out")
        browser.find("#gate")
        browser.driver.refresh()
        browser.find("#gate")

    def test_port(self) -> None:
        """
        What the port for operators serves.
        """
        self.check_port()


class WorkersTests(DashboardCase):
    """
    A node of two workers is seen and managed as one of a single process.
    """

    more = "\n[DEFAULT]\nworkers = 2\n"

    def setUp(self) -> None:
        super().setUp()
        self.wait_for(self.serves)

    def serves(self) -> bool:
        """
        Whether the port for operators is open: it is the last one.
        """
        try:
            return self.ask("GET", "/healthcheck").status == 200
        except OSError:
            return False

    def test_port(self) -> None:
        """
        The port serves what it does with a single process, behind the same door; health and metrics are the parent's.
        """
        self.check_port()
        page = self.ask("GET", "/dashboard")
        self.assertIn("default-src 'self'", page.getheader("Content-Security-Policy", ""))
        self.assertIn(b"glance_cache_workers_ready 2", self.ask("GET", "/metrics").read())
        queued = self.ask("POST", "/v2/cache/jobs", ADMIN, json.dumps({"image_ids": [self.image_id]}).encode())
        self.assertEqual(queued.status, 202, queued.read())

    def test_page(self) -> None:
        """
        The page shows a fill, whichever worker makes it, and pins the image; after the death of the worker that
        answered it goes on with the other one.
        """
        browser = self.browser
        self.relay.hold(len(self.data) // 2)
        self.sign_in()
        client = http.client.HTTPConnection("127.0.0.1", self.cache.port, timeout=60)
        self.addCleanup(client.close)
        client.request("GET", f"/v2/images/{self.image_id}/file", headers={"X-Auth-Token": ALICE})
        body = client.getresponse()
        browser.until(lambda: "1 client follows" in browser.text("#fills"), "nobody is said to follow")
        self.relay.release()
        body.read()
        browser.click(button(self.image_id, "Pin"))
        browser.find(button(self.image_id, "Unpin"))
        asked = children_of(self.cache.pid)[0]
        os.kill(asked, signal.SIGKILL)
        self.wait_for(lambda: asked not in children_of(self.cache.pid))
        browser.click(button(self.image_id, "Evict"))
        browser.click("#ask-yes")
        browser.until(
            lambda: not browser.evaluate("document.querySelector(arguments[0])", row(self.image_id)), "it stays"
        )
        self.assertEqual(self.cached(), [])
        self.assertEqual(browser.forbidden(), [])
