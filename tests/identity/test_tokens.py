"""
Strategy ``tokens``.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.identity.tokens import TokensFile, TokensIdentity, read_tokens
from glance_tx.settings import SettingsError
from tests.contracts.identity import IdentityContract

GOOD = """
- token: secret-alice
  user_id: alice
  project_id: red
  roles: [Member, reader]
- token: secret-bob
  user_id: bob
  project_id: "123"
  roles: []
"""
ALICE = Caller("alice", "red", ("member", "reader"))
BOB = Caller("bob", "123", ())


class TokensFileTestCase(SynchronousTestCase):
    """
    Writes token files.
    """

    def write(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def mistakes(self, text: str) -> list[str]:
        """
        What is said about a file, without its path.
        """
        path = self.write(text)
        error = self.assertRaises(SettingsError, read_tokens, path)
        self.assertNotIn("secret", str(error))
        return [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]


class TokensIdentityTests(IdentityContract, TestCase):
    """
    `TokensIdentity` keeps the contract.
    """

    def make_identity(self) -> IIdentity:
        path = Path(self.mktemp())
        path.write_text(GOOD)
        return TokensIdentity(read_tokens(path))

    def known(self) -> Sequence[tuple[Credentials, Caller]]:
        return [(Credentials("secret-alice"), ALICE), (Credentials("secret-bob"), BOB)]

    def unknown(self) -> Sequence[Credentials]:
        return [
            Credentials(),
            Credentials(""),
            Credentials("secret"),
            Credentials("secret-alice "),
            Credentials("Secret-alice"),
            Credentials("secret-\udcff"),
            Credentials("secret" * 10_000),
            Credentials(None, "secret-alice"),
        ]

    async def test_compares_all(self) -> None:
        """
        Every digest is compared in constant time, wherever the token stands in the file.
        """
        compared: list[bytes] = []
        real = hmac.compare_digest

        def compare(known: bytes, shown: bytes) -> bool:
            compared.append(known)
            return real(known, shown)

        self.patch(hmac, "compare_digest", compare)
        identity = self.make_identity()
        for token in ("secret-alice", "secret-bob"):
            compared.clear()
            await identity.identify(Credentials(token))
            self.assertEqual(len(compared), 2)

    def test_tokens_are_not_kept(self) -> None:
        """
        Entries hold digests, and do not show even these.
        """
        path = Path(self.mktemp())
        path.write_text(GOOD)
        entry = read_tokens(path)[0]
        self.assertNotIn(b"secret", entry.digest)
        self.assertNotIn("digest", repr(entry))


class MistakeTests(TokensFileTestCase):
    """
    Files that are refused.
    """

    def test_all_at_once(self) -> None:
        """
        Every mistake is told, with the number of its entry, and none of the values.
        """
        self.assertEqual(
            self.mistakes(
                """
- {token: secret one, user_id: a, project_id: p, roles: [member]}
- {user_id: 7, project_id: "", roles: member}
- secret
- {token: secret-x, user_id: a, project_id: p, roles: [member, 3], secret: 1}
- {token: secret-y, user_id: a, project_id: p, roles: []}
- {token: secret-y, user_id: b, project_id: p, roles: []}
"""
            ),
            [
                "entry 1 must have as token a text of 1 to 8192 printable ASCII characters without blanks",
                "entry 2 lacks token",
                "entry 2 must have as user_id a text of 1 to 255 characters (put quotes around a number)",
                "entry 2 must have as project_id a text of 1 to 255 characters (put quotes around a number)",
                "entry 2 must have as roles a list of names",
                "entry 3 must be a mapping with token, user_id, project_id and roles",
                "entry 4 has keys other than token, user_id, project_id and roles",
                "entry 4 must have as roles a list of names",
                "entry 6 has the token of entry 5",
            ],
        )

    def test_no_list(self) -> None:
        """
        A file that is no list, or an empty one, is refused: nobody could use the service.
        """
        for text in ("", "[]", "token: secret", "secret"):
            self.assertEqual(self.mistakes(text), ["must be a YAML list with at least one entry"])

    def test_not_yaml(self) -> None:
        """
        Broken YAML is refused with its line, not with its text.
        """
        self.assertEqual(self.mistakes("- token: secret\n  user_id: [secret\n- x: }"), ["line 3: is not YAML"])

    def test_key_twice(self) -> None:
        """
        A forgotten dash, by which one entry swallows another, is found.
        """
        text = GOOD.replace("- token: secret-bob", "  token: secret-bob")
        self.assertEqual(self.mistakes(text), ["line 6: a key stands twice in a mapping"])

    def test_yaml_objects(self) -> None:
        """
        YAML cannot make the daemon run anything.
        """
        self.assertEqual(self.mistakes("- !!python/object/apply:os.system [secret]"), ["line 1: is not YAML"])

    def test_missing(self) -> None:
        """
        A file that is not there is an error that says so.
        """
        error = self.assertRaises(SettingsError, read_tokens, Path("/nonexistent/tokens.yaml"))
        self.assertEqual(str(error), "/nonexistent/tokens.yaml: cannot be read: No such file or directory")

    def test_not_text(self) -> None:
        """
        A file that is no text is an error that says so.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"- token: \xff")
        self.assertEqual(str(self.assertRaises(SettingsError, read_tokens, path)), f"{path}: is not text in UTF-8")

    def test_sample(self) -> None:
        """
        The sample of the source tree has the right form, and is refused only for its placeholders.
        """
        text = (Path(__file__).parent.parent.parent / "etc" / "tokens.yaml.sample").read_text()
        self.assertEqual(
            self.mistakes(text),
            [
                f"entry {number} must have as token a text of 1 to 8192 printable ASCII characters without blanks"
                for number in (1, 2)
            ],
        )
        path = self.write(text.replace("replace this by a secret", "a").replace("replace this by another secret", "b"))
        self.assertEqual([entry.caller.user_id for entry in read_tokens(path)], ["operator", "builder"])


class TokensFileTests(TestCase):
    """
    `TokensFile` goes with its file.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.write("one")
        self.identity = TokensFile(self.path)

    def write(self, token: str, mode: int = 0o600) -> None:
        """
        Make it a file of one token.
        """
        self.path.write_text(f"- {{token: {token}, user_id: u-{token}, project_id: p, roles: []}}")
        self.path.chmod(mode)

    async def user_of(self, token: str) -> str | None:
        """
        Who has a token.
        """
        return (await self.identity.identify(Credentials(token))).user_id

    def read_anew(self) -> list[str]:
        """
        Put in force what the file says now, and list the warnings.
        """
        source = self.identity.source
        self.assertNotEqual(source.look(), source.stamp)
        return [str(warning) for warning in source.use(source.read())]

    async def test_changed(self) -> None:
        """
        New tokens are known, and those that are no longer in the file are not.
        """
        self.assertEqual((await self.user_of("one"), self.identity.warnings), ("u-one", ()))
        self.write("two")
        self.assertEqual(self.read_anew(), [])
        self.assertEqual(await self.user_of("two"), "u-two")
        with self.assertRaises(NotAuthenticated):
            await self.user_of("one")

    def test_readable(self) -> None:
        """
        A file that others can read is warned of, whenever it is read.
        """
        self.write("two", 0o644)
        warning = f"{self.path}: holds tokens and can be read by others than its owner"
        self.assertEqual(self.read_anew(), [warning])
        self.assertEqual([str(found) for found in TokensFile(self.path).warnings], [warning])

    async def test_wrong(self) -> None:
        """
        A file that went, or is wrong, says so and leaves everybody as known as before.
        """
        source = self.identity.source
        self.path.write_text("- {token: two}")
        self.assertRaises(SettingsError, source.read)
        self.path.unlink()
        self.assertRaises(SettingsError, source.read)
        self.assertEqual(await self.user_of("one"), "u-one")
