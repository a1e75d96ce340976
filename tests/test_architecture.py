"""
The rules that hold the code together: who imports whom, and how tests are written.
"""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGES = {"glance_tx": ROOT / "glance_tx", "glance_cache": ROOT / "proxy" / "glance_cache"}

FOUNDATION = {"streaming", "stores", "inspection", "identity", "policy", "web", "redis", "notify", "tls", "workers"}
BASE = {"errors", "settings", "telemetry"}

# What a package of glance_tx may import of glance_tx, besides itself. A dotted name allows one module only.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "stock_options": {"settings"},
    "telemetry": {"errors"},
    "presence": {"errors", "domain.interfaces"},
    "streaming": {"errors"},
    "stores": BASE | {"streaming"},
    "inspection": {"errors"},
    "identity": BASE | {"tls"},
    "policy": BASE | {"identity.caller"},
    "web": BASE | {"streaming", "identity", "policy", "tls"},
    "workers": BASE | {"web", "__version__"},
    "domain": {
        "errors",
        "streaming",
        "inspection.interfaces",
        "inspection.errors",
        "stores.interfaces",
        "stores.errors",
        "identity.caller",
        "notify.interfaces",
        "notify.sends",
        "policy.interfaces",
    },
    "custom": BASE | {"domain", "identity.caller", "policy.interfaces"},
    "db": BASE | {"domain.interfaces", "domain.errors", "domain.filters", "domain.images", "domain.members"},
    "redis": BASE | {"tls"},
    "tls": {"errors", "settings"},
    "notify": BASE | {"redis"},
    "api": BASE | {"domain", "stores.errors", "web", "streaming", "identity"},
}

# These put a daemon or a program together out of everything.
COMPOSERS = {"configuration", "tap", "commands"}


def imports(tree: ast.Module) -> Iterator[str]:
    """
    Every absolute name that a module imports, wherever in the module; ``from a import b`` counts as ``a.b``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def modules() -> Iterator[tuple[str, ast.Module]]:
    """
    Every module of both packages, by its dotted name.
    """
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            yield ".".join(parts), ast.parse(path.read_text())


def breaches(module: str, imported: str) -> bool:
    """
    Tell whether an import breaks the rules.
    """
    importer = module.split(".")
    target = imported.split(".")
    if target[0] not in PACKAGES:
        return False
    if importer[0] == "glance_cache":
        # The proxy stands on the foundation, and never on the image service.
        return target[0] == "glance_tx" and len(target) > 1 and target[1] not in FOUNDATION | BASE | {"__version__"}
    if target[0] == "glance_cache":
        return True
    if len(importer) == 1 or importer[1] in COMPOSERS or len(target) == 1:
        return False
    own = importer[1]
    # Every package may declare its options beside what they configure.
    if target[1] == own or (importer[-1] == "options" and target[1] == "settings"):
        return False
    return not {target[1], ".".join(target[1:3])} & ALLOWED.get(own, set())


class ImportTests(SynchronousTestCase):
    """
    Dependencies point one way: towards the foundation.
    """

    def test_rules(self) -> None:
        """
        Every import is one that the table allows.
        """
        broken = [
            f"{module} imports {imported}"
            for module, tree in modules()
            for imported in imports(tree)
            if breaches(module, imported)
        ]
        self.assertEqual(broken, [])

    def test_table_is_complete(self) -> None:
        """
        Every package of the image service has its line in the table.
        """
        there = {module.split(".")[1] for module, _ in modules() if module.startswith("glance_tx.")}
        self.assertEqual(there - set(ALLOWED) - COMPOSERS, set())

    def test_rules_can_be_broken(self) -> None:
        """
        The check sees the imports that it forbids.
        """
        for module, imported in (
            ("glance_tx.streaming.pump", "glance_tx.web.app"),
            ("glance_tx.domain.images", "glance_tx.db.engine"),
            ("glance_tx.domain.images", "glance_tx.stores.filesystem.FilesystemStore"),
            ("glance_tx.domain.inspection", "glance_tx.inspection.detector.FormatDetector"),
            ("glance_tx.web.app", "glance_cache.routes"),
            ("glance_cache.routes", "glance_tx.domain.images"),
            ("glance_cache.routes", "glance_tx.tap"),
        ):
            self.assertTrue(breaches(module, imported), (module, imported))

    def test_nobody_imports_tap(self) -> None:
        """
        The modules that put a daemon together are imported by ``twistd`` alone.
        """
        users = [
            module
            for module, tree in modules()
            for imported in imports(tree)
            if imported.split(".")[:2] in (["glance_tx", "tap"], ["glance_cache", "tap"])
        ]
        self.assertEqual(users, [])

    def test_no_cycles(self) -> None:
        """
        No module imports itself by way of others.
        """
        trees = dict(modules())
        edges = {module: self.resolve(imports(tree), trees) - {module} for module, tree in trees.items()}
        done: set[str] = set()

        def walk(module: str, path: tuple[str, ...]) -> None:
            if module in path:
                self.fail(" -> ".join((*path[path.index(module) :], module)))
            if module not in done:
                for imported in edges[module]:
                    walk(imported, (*path, module))
                done.add(module)

        for module in edges:
            walk(module, ())

    def resolve(self, names: Iterator[str], trees: dict[str, ast.Module]) -> set[str]:
        found = set()
        for name in names:
            if name in trees:
                found.add(name)
            elif (parent := name.rpartition(".")[0]) in trees:
                found.add(parent)
        return found


class TestStyleTests(SynchronousTestCase):
    """
    A test that cannot fail is found before it is believed.
    """

    def test_async_tests_have_a_reactor(self) -> None:
        """
        No ``async def`` test stands in a class that is only synchronous: it would pass without being run.
        """
        wrong = [
            f"{path.name}: {owner.name}.{test.name}"
            for path in sorted((ROOT / "tests").rglob("*.py"))
            for owner in ast.walk(ast.parse(path.read_text()))
            if isinstance(owner, ast.ClassDef)
            and any(ast.unparse(base).endswith("SynchronousTestCase") for base in owner.bases)
            for test in owner.body
            if isinstance(test, ast.AsyncFunctionDef) and test.name.startswith("test")
        ]
        self.assertEqual(wrong, [])

    def test_every_folder_is_run(self) -> None:
        """
        Every folder and file of tests is named in ``tox.ini``.
        """
        tox = configparser.ConfigParser(interpolation=None)
        tox.read(ROOT / "tox.ini")
        named = set(tox["unit"]["packages"].split()) | {"tests.functional"}
        there = {
            ".".join(("tests", *path.relative_to(ROOT / "tests").with_suffix("").parts[:1]))
            for path in (ROOT / "tests").rglob("test_*.py")
        }
        self.assertEqual(there, named)
