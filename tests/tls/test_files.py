"""
Certificates and keys in files.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.tls.errors import CertificateUnusable
from glance_tx.tls.files import has_ended, read_authorities, read_own
from tests.doubles.certificates import Authority


class FileTests(SynchronousTestCase):
    """
    `read_own` and `read_authorities`.
    """

    def setUp(self) -> None:
        self.authority = Authority(Path(self.mktemp()))
        self.cert_file, self.key_file = self.authority.issue("a.example")

    def refusal(self, cert_file: Path, key_file: Path) -> str:
        """
        Why two files cannot be used.
        """
        text = str(self.assertRaises(CertificateUnusable, read_own, cert_file, key_file))
        self.assertNotIn("\n", text)
        return text

    def test_chain(self) -> None:
        """
        Those between a certificate and its authority may follow it; the first to end ends all.
        """
        ended, _ = self.authority.issue("old.example", days=-1)
        own = read_own(self.cert_file, self.key_file)
        self.assertEqual((len(own.chain), has_ended(own)), (1, False))
        self.cert_file.write_bytes(self.cert_file.read_bytes() + ended.read_bytes())
        own = read_own(self.cert_file, self.key_file)
        self.assertEqual((len(own.chain), has_ended(own)), (2, True))

    def test_refused(self) -> None:
        """
        Files that are missing, hold something else, or do not belong together are refused, each in one line.
        """
        nothing = Path(self.mktemp())
        junk = Path(self.mktemp())
        junk.write_text("-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n")
        _, other_key = self.authority.issue("b.example")
        _, locked = self.authority.issue("c.example", passphrase=b"hush")
        for cert_file, key_file, text in (
            (nothing, self.key_file, f"{nothing}: cannot be read: No such file or directory"),
            (self.cert_file, nothing, f"{nothing}: cannot be read: No such file or directory"),
            (junk, self.key_file, f"{junk}: holds no certificate in PEM"),
            (self.cert_file, junk, f"{junk}: holds no private key in PEM"),
            (self.key_file, self.key_file, f"{self.key_file}: holds no certificate in PEM"),
            (self.cert_file, self.cert_file, f"{self.cert_file}: holds no private key in PEM"),
            (self.cert_file, other_key, f"{other_key}: is not the key of the first certificate in {self.cert_file}"),
            (self.cert_file, locked, f"{locked}: is a key with a passphrase; it must have none"),
        ):
            self.assertEqual(self.refusal(cert_file, key_file), text)

    def test_authorities(self) -> None:
        """
        So are files without authorities.
        """
        read_authorities(self.authority.ca_file)
        self.assertRaises(CertificateUnusable, read_authorities, self.key_file)

    def test_secret(self) -> None:
        """
        A key does not show in the text of what was read.
        """
        self.assertNotIn("PKey", repr(read_own(self.cert_file, self.key_file)))
