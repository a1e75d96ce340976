"""
Files that both daemons read anew, as real processes.
"""

from __future__ import annotations

from pathlib import Path

from tests.functional.daemons import ALICE, API_CONFIG, CACHE_CONFIG, TOKENS, DaemonProcess, DaemonTestCase

LOOKS = "[DEFAULT]\nreload_interval = 1\n"


class ReloadTests(DaemonTestCase):
    """
    Rules and tokens that change while a daemon serves.
    """

    def begin(self, name: str) -> DaemonProcess:
        """
        Start a daemon that looks often.
        """
        config = {"glance-api": API_CONFIG, "glance-cache": CACHE_CONFIG}[name].replace("[DEFAULT]\n", LOOKS)
        if name == "glance-cache":
            config += "\n[upstream]\nurls = http://127.0.0.1:1\n"
        else:
            # Several would each look, and tell, in their own time.
            config += "\n[DEFAULT]\nworkers = 1\n"
        daemon = self.make_daemon(name, Path(self.mktemp()).absolute(), config)
        daemon.start()
        return daemon

    def test_rules(self) -> None:
        """
        A new rule is in force without a restart, a wrong file changes nothing and is told once, and without the file
        the built-in rules hold.
        """
        for name, path, rule, text, built_in, changed in (
            ("glance-api", "/v2/images", "get_images", "!", 200, 403),
            ("glance-cache", "/v2/cache", "cache_list", "@", 403, 200),
        ):
            daemon = self.begin(name)
            policy = daemon.folder / "policy.yaml"
            self.assertEqual(daemon.ask("GET", path, ALICE).status, built_in)
            policy.write_text(f"{rule}: '{text}'\n")
            self.wait_for(lambda: daemon.ask("GET", path, ALICE).status == changed)  # noqa: B023
            policy.write_text(f"{rule}: nonsense\n")
            said = f"policy.yaml: rule '{rule}': cannot be understood"
            self.wait_for(lambda: daemon.count(said) == 1)  # noqa: B023
            self.assertEqual(daemon.ask("GET", path, ALICE).status, changed)
            policy.unlink()
            self.wait_for(lambda: daemon.ask("GET", path, ALICE).status == built_in)  # noqa: B023
            self.assertEqual(daemon.count(said), 1)
            daemon.stop()

    def test_tokens(self) -> None:
        """
        A token that was added is known, and one that was taken out is not.
        """
        for name, path in (("glance-api", "/v2/images"), ("glance-cache", "/v2/cache")):
            daemon = self.begin(name)
            self.assertEqual(daemon.ask("GET", path, "new-token").status, 401)
            new = daemon.folder / "new"
            new.write_text(TOKENS.replace("admin-token", "new-token"))
            new.replace(daemon.folder / "tokens.yaml")
            self.wait_for(lambda: daemon.ask("GET", path, "new-token").status == 200)  # noqa: B023
            self.assertEqual(daemon.ask("GET", path).status, 401)
            daemon.stop()
