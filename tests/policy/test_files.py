"""
Files of rules.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.identity.caller import Caller
from glance_tx.policy.files import LoadedPolicy, load_policy
from glance_tx.policy.options import PolicySettings
from glance_tx.settings import SettingsError

ADMIN = Caller("u", "p", ("admin",))
READER = Caller("u", "p", ("reader",))


class PolicyTestCase(SynchronousTestCase):
    """
    Two folders where policies are looked for.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.system = Path(self.mktemp())
        self.folder.mkdir()
        self.system.mkdir()

    def load(self, *dirs: str, file: str = "policy.yaml") -> LoadedPolicy:
        """
        Load what is in the two folders.
        """
        settings = PolicySettings(policy_file=file, policy_dirs=dirs or ("policy.d",))
        return load_policy(settings, [self.folder], self.system)


class PolicyFileTests(PolicyTestCase):
    """
    `load_policy`.
    """

    def problems(self, *dirs: str, file: str = "policy.yaml") -> str:
        """
        What is wrong with them.
        """
        return str(self.assertRaises(SettingsError, self.load, *dirs, file=file))

    def test_no_file(self) -> None:
        """
        Without files the built-in rules hold.
        """
        loaded = self.load()
        self.assertEqual((loaded.files, loaded.warnings), ((), ()))
        self.assertFalse(loaded.policy.allows("cache_list", READER, {}))

    def test_override(self) -> None:
        """
        An operator's rule takes the place of the built-in one, and only of that one.
        """
        (self.folder / "policy.yaml").write_text('"cache_list": "role:reader"\n')
        loaded = self.load()
        self.assertEqual(loaded.files, (self.folder / "policy.yaml",))
        self.assertTrue(loaded.policy.allows("cache_list", READER, {}))
        self.assertFalse(loaded.policy.allows("cache_delete", READER, {}))

    def test_built_on(self) -> None:
        """
        A changed ``context_is_admin`` changes all built-in rules that build on it.
        """
        (self.folder / "policy.yaml").write_text("context_is_admin: role:reader\n")
        policy = self.load().policy
        self.assertTrue(policy.allows("delete_image", READER, {}))
        self.assertFalse(policy.allows("delete_image", ADMIN, {}))

    def test_places(self) -> None:
        """
        The file beside the configuration is used; the system's folder is looked into after that.
        """
        (self.system / "policy.yaml").write_text("cache_list: '@'\n")
        self.assertTrue(self.load().policy.allows("cache_list", READER, {}))
        (self.folder / "policy.yaml").write_text("cache_list: '!'\n")
        self.assertFalse(self.load().policy.allows("cache_list", ADMIN, {}))

    def test_json(self) -> None:
        """
        A policy.json of older days is used where there is no policy.yaml.
        """
        (self.folder / "policy.json").write_text('{"cache_list": [["role:reader"]]}')
        self.assertTrue(self.load().policy.allows("cache_list", READER, {}))
        (self.folder / "policy.yaml").write_text("")
        self.assertFalse(self.load().policy.allows("cache_list", READER, {}))

    def test_folders(self) -> None:
        """
        Files of folders come after the file, in the order of their names; hidden ones are left alone.
        """
        (self.folder / "policy.yaml").write_text("cache_list: '!'\ncache_clean: '@'\n")
        more = self.folder / "policy.d"
        more.mkdir()
        (more / "b.yaml").write_text("cache_list: '@'")
        (more / "a.yaml").write_text("cache_list: '!'\ncache_prune: '@'")
        (more / ".b.yaml.swp").write_text("]")
        loaded = self.load()
        self.assertEqual([path.name for path in loaded.files], ["policy.yaml", "a.yaml", "b.yaml"])
        for rule in ("cache_list", "cache_clean", "cache_prune"):
            self.assertTrue(loaded.policy.allows(rule, READER, {}), rule)

    def test_absolute(self) -> None:
        """
        Absolute names are taken as they are.
        """
        path = (self.folder / "mine.yaml").absolute()
        path.write_text("cache_list: '@'")
        self.assertEqual(self.load(file=str(path)).files, (path,))

    def test_named_and_missing(self) -> None:
        """
        A file that was named and is not there is an error: the operator believes in other rules than would hold.
        """
        self.assertEqual(
            self.problems(file="mine.yaml"),
            f"[oslo_policy] policy_file = 'mine.yaml': there is no such file in {self.folder}, {self.system}",
        )

    def test_unreadable(self) -> None:
        """
        Files that cannot be used are all told at once.
        """
        (self.folder / "policy.yaml").write_text("- a\n- b\n")
        more = self.folder / "policy.d"
        more.mkdir()
        (more / "a").write_text("x: [")
        (more / "b").write_bytes(b"\xff")
        (more / "c").write_text("x: '@'\nx: '!'\n")
        self.assertEqual(
            self.problems().splitlines(),
            [
                f"{self.folder}/policy.yaml: must be a mapping from names to rules",
                f"{more}/a: line 1: is not YAML",
                f"{more}/b: is not text in UTF-8",
                f"{more}/c: line 2: a key stands twice in a mapping",
            ],
        )

    def test_bad_rule(self) -> None:
        """
        A rule that cannot be used is told with its file.
        """
        (self.folder / "policy.yaml").write_text("cache_list: nonsense\n")
        self.assertEqual(self.problems(), f"{self.folder}/policy.yaml: rule 'cache_list': cannot be understood")

    def test_unknown_names(self) -> None:
        """
        A rule that nothing asks for is warned about; one that others build on is not.
        """
        (self.folder / "policy.yaml").write_text("cache_list: rule:mine\nmine: role:reader\nget_imgae: '!'\n")
        loaded = self.load()
        self.assertEqual(
            [str(warning) for warning in loaded.warnings],
            [f"{self.folder}/policy.yaml: no effect: nothing asks for rule 'get_imgae'"],
        )
        self.assertTrue(loaded.policy.allows("cache_list", READER, {}))


class ChangedPolicyTests(PolicyTestCase):
    """
    Files of rules that change after they were loaded.
    """

    def changed(self, loaded: LoadedPolicy) -> bool:
        """
        Whether the files look other than they did.
        """
        return loaded.source.look() != loaded.source.stamp

    def read_anew(self, loaded: LoadedPolicy) -> list[str]:
        """
        Put in force what the files say now, and list the warnings.
        """
        return [str(warning) for warning in loaded.source.use(loaded.source.read())]

    def test_nothing_changed(self) -> None:
        """
        Files that nobody touched look the same, and so do folders where an editor keeps hidden ones.
        """
        (self.folder / "policy.yaml").write_text("cache_list: '@'")
        (self.folder / "policy.d").mkdir()
        loaded = self.load()
        (self.folder / "policy.d" / ".swp").write_text("x")
        (self.folder / "glance-api.conf").write_text("x")
        self.assertFalse(self.changed(loaded))

    def test_each_change_is_seen(self) -> None:
        """
        A change to a file, and a file that came or went, at any of the places, is seen.
        """
        (self.system / "policy.yaml").write_text("cache_list: '@'")
        (self.folder / "policy.d").mkdir()
        for path in (
            self.system / "policy.yaml",
            self.folder / "policy.yaml",
            self.folder / "policy.json",
            self.folder / "policy.d" / "a.yaml",
            self.system / "policy.d",
        ):
            loaded = self.load()
            path.write_text("cache_list: '!'")
            self.assertTrue(self.changed(loaded), path)
            loaded = self.load()
            path.unlink()
            self.assertTrue(self.changed(loaded), path)

    def test_in_force(self) -> None:
        """
        Whoever holds the policy decides by the new rules, and rules without effect are told.
        """
        loaded = self.load()
        (self.folder / "policy.yaml").write_text("cache_list: role:reader\nget_imgae: '!'\n")
        self.assertEqual(
            self.read_anew(loaded), [f"{self.folder}/policy.yaml: no effect: nothing asks for rule 'get_imgae'"]
        )
        self.assertTrue(loaded.policy.allows("cache_list", READER, {}))

    def test_removed(self) -> None:
        """
        Without its file, the built-in rules hold again.
        """
        (self.folder / "policy.yaml").write_text("cache_list: role:reader\n")
        loaded = self.load()
        (self.folder / "policy.yaml").unlink()
        self.assertEqual(self.read_anew(loaded), [])
        self.assertFalse(loaded.policy.allows("cache_list", READER, {}))

    def test_wrong(self) -> None:
        """
        What would keep a daemon from starting is refused later as well, a file that was named and went included.
        """
        named = (self.folder / "mine.yaml").absolute()
        named.write_text("cache_list: role:reader")
        loaded = self.load(file=str(named))
        named.write_text("cache_list: nonsense")
        error = self.assertRaises(SettingsError, loaded.source.read)
        self.assertEqual(str(error), f"{named}: rule 'cache_list': cannot be understood")
        named.unlink()
        self.assertIn("there is no such file", str(self.assertRaises(SettingsError, loaded.source.read)))
        self.assertTrue(loaded.policy.allows("cache_list", READER, {}))
