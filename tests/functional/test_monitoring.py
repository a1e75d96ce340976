"""
Tests of what operators are given to watch the daemons with: the page on metrics, the rules for alarms and the boards,
held against what running daemons tell of themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.daemons import ADMIN, API_CONFIG, DaemonProcess
from tests.functional.test_cache import CacheTestCase
from tests.ports import free_port
from tests.services import own_redis

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "monitoring.rst"
RULES = ROOT / "etc" / "prometheus" / "glance_tx.rules.yml"
RULE_TESTS = ROOT / "etc" / "prometheus" / "glance_tx.tests.yml"
BOARD = ROOT / "etc" / "grafana" / "glance_tx.json"

_DAEMONS = ("glance_api", "glance_cache")
_ROW = re.compile(r"^    \* - (.+)$", re.MULTILINE)
_DOCUMENTED = re.compile(r"``(\*|glance_api|glance_cache|process)(_\w+)(?:\{([\w,]+)\})?``")
_USED = re.compile(r"\b((?:glance_api|glance_cache|process)_\w+)(?:\{([^}]*)\})?")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([\w\s,]*)\)")
_OF_PROMETHEUS = {"instance", "job", "le"}

Labels = Mapping[str, frozenset[str]]
"""By the name of a metric, as it is scraped, the labels of its samples."""


def documented() -> Labels:
    """
    Read the page: each metric that it describes, and its labels.
    """
    found: dict[str, frozenset[str]] = {}
    for row in _ROW.findall(PAGE.read_text()):
        for owner, name, labels in _DOCUMENTED.findall(row):
            for full in (f"{daemon}{name}" for daemon in (_DAEMONS if owner == "*" else (owner,))):
                if full in found:
                    raise AssertionError(f"{full} is described twice")
                found[full] = frozenset(labels.split(",")) - {""}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """
    List all expressions of the rules and of the board, with where they stand.
    """
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    board = json.loads(BOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"label_values\((.*),.*\)", r"\1", variable["query"])


def promtool(case: SynchronousTestCase, *arguments: str | Path, cwd: Path = ROOT) -> str:
    """
    Run Prometheus' own checker.
    """
    program = shutil.which("promtool")
    if program is None:
        reason = "there is no promtool (Debian: in the package prometheus)"
        if os.environ.get("GLANCE_TX_REQUIRE_SERVICES") == "1":
            raise AssertionError(reason)
        raise SkipTest(reason)
    done = subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    case.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}")
    return done.stdout


class LiveTests(CacheTestCase):
    """
    Both daemons at work, with all that has metrics: workers, a Redis, uploads, downloads, a prefetch.
    """

    def setUp(self) -> None:
        self.redis = own_redis(self)
        self.ports = {daemon: free_port() for daemon in _DAEMONS}
        redis = f"\n[redis]\nurl = {self.redis.url}\n"
        self.cache_options = f"{redis}\n[management]\nbind_port = {self.ports['glance_cache']}\n"
        self.api_options = f"{redis}\n[management]\nbind_port = {self.ports['glance_api']}\n"
        super().setUp()

    def make_daemon(self, name: str, folder: Path, config: str) -> DaemonProcess:
        if name == "glance-api":
            config = API_CONFIG.replace("[DEFAULT]\n", "[DEFAULT]\nworkers = 2\n") + self.api_options
        return super().make_daemon(name, folder, config)

    def scraped(self) -> dict[str, frozenset[str] | None]:
        """
        Ask both daemons: the names of their metrics as they are scraped, and the labels, where there are samples.
        """
        found: dict[str, frozenset[str] | None] = {}
        for port in self.ports.values():
            side = DaemonProcess("side", self.folder, "", port)
            for family in text_string_to_metric_families(side.ask("GET", "/metrics", None).body.decode()):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                if name.endswith("_created"):
                    continue
                labels = [frozenset(sample.labels) - {"le"} for sample in family.samples]
                found[name] = labels[0] if labels else None
        return found

    def test_page(self) -> None:
        """
        The page describes each metric that there is, with its labels, and none that is not.
        """
        live = self.live()
        self.assertEqual({name for name, labels in live.items() if labels is None}, set())
        described = documented()
        self.assertEqual((set(live) - set(described), set(described) - set(live)), (set(), set()))
        self.assertEqual({name: labels for name, labels in live.items() if labels != described[name]}, {})

    def test_used(self) -> None:
        """
        Rules and board use metrics and labels that there are.
        """
        live = self.live()
        used = 0
        for place, expression in ((place, _spelled_out(expression)) for place, expression in expressions()):
            names = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in _USED.findall(expression)}
            self.assertLessEqual(names, set(live), f"{place}: {expression}")
            known = frozenset[str]().union(*(live[name] or () for name in names)) | _OF_PROMETHEUS
            for name, matchers in _USED.findall(expression):
                own = (live[re.sub(r"_(bucket|sum|count)$", "", name)] or frozenset()) | _OF_PROMETHEUS
                self.assertLessEqual(set(_MATCHED.findall(matchers)), own, f"{place}: {expression}")
            for labels in _BY.findall(expression):
                self.assertLessEqual({label.strip() for label in labels.split(",")} - {""}, known, expression)
            used += len(names)
        self.assertGreater(used, 40)

    def live(self) -> dict[str, frozenset[str] | None]:
        """
        Have both daemons do everything once, and ask for their metrics until all of them have samples.
        """
        self.fill()
        self.download()
        other = self.upload(self.data[:100_000])
        self.cache.ask("PUT", f"/v2/cache/{other}", ADMIN)
        self.cache.ask("DELETE", f"/v2/images/{other}", ADMIN)
        # Workers tell their parent of theirs once a second.
        self.wait_for(lambda: None not in self.scraped().values(), 60)
        return self.scraped()


class RuleTests(SynchronousTestCase):
    """
    What Prometheus itself thinks of the rules and of the board.
    """

    def test_check(self) -> None:
        """
        Prometheus takes the rules.
        """
        self.assertIn("SUCCESS", promtool(self, "check", "rules", RULES))

    def test_alarms(self) -> None:
        """
        Each alarm is raised when it is due, and only then, as the tests of the rules say; there is a test for each.
        """
        self.assertIn("SUCCESS", promtool(self, "test", "rules", RULE_TESTS.name, cwd=RULE_TESTS.parent))
        alarms = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
        fired, silent = set(), set()
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
            for check in test["alert_rule_test"]:
                (fired if check["exp_alerts"] else silent).add(check["alertname"])
        self.assertEqual((alarms - fired, alarms - silent), (set(), set()))

    def test_alarms_are_explained(self) -> None:
        """
        Each alarm says how bad it is and what it is about, and is on the page.
        """
        page = PAGE.read_text()
        for group in yaml.safe_load(RULES.read_text())["groups"]:
            for rule in group["rules"]:
                self.assertIn(rule["labels"]["severity"], {"critical", "warning", "info"})
                self.assertEqual(set(rule["annotations"]), {"summary", "description"})
                self.assertIn(f"``{rule['alert']}``", page)

    def test_board(self) -> None:
        """
        The board is JSON with a place for each panel, and Prometheus takes each of its expressions.
        """
        board: dict[str, Any] = json.loads(BOARD.read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 15)
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            self.assertEqual(cells & taken, set(), panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        self.assertTrue(all(panel["description"] for panel in panels))
        recorded = [
            {"record": f"board:{number}", "expr": _as_prometheus_has_it(expression)}
            for number, (_, expression) in enumerate(expressions())
        ]
        path = Path(self.mktemp()).absolute()
        path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": recorded}]}))
        promtool(self, "check", "rules", path)


def _spelled_out(expression: str) -> str:
    """
    Name the metrics of both daemons where a matcher stands for them.
    """
    return re.sub(r'\{__name__=~"glance_\(api\|cache\)_(\w+)"\}', r"glance_api_\1 or glance_cache_\1", expression)


def _as_prometheus_has_it(expression: str) -> str:
    """
    Put in what Grafana puts in.
    """
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$job", ".*")
