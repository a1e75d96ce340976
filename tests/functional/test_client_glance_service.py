"""
What python-glanceclient shows of the service itself, its locations and its cache.
"""

from __future__ import annotations

import json

from tests.functional.daemons import ADMIN, ALICE, API_CONFIG
from tests.functional.programs import GLANCE
from tests.functional.test_client_glance import DATA, RAW, GlanceCase


class InformationTests(GlanceCase):
    """
    What the service tells of itself, at the service.
    """

    def test_schemas_are_kept(self) -> None:
        """
        The first command keeps the schemas in the user's home; later ones make their options of them.
        """
        self.glance("image-list")
        kept = self.folder / ".glanceclient" / "image_schema.json"
        schema = json.loads(kept.read_text())
        self.assertEqual(set(schema["properties"]), set(self.ask_json("/v2/schemas/image")["properties"]))
        self.assertTrue((kept.parent / "namespace_schema.json").exists())
        self.assertTrue((kept.parent / "resource_type_schema.json").exists())
        self.assertIn("--cinder-encryption-key-id", self.glance("help", "image-create"))

    def test_explain(self) -> None:
        """
        explain describes what the service knows of a model.
        """
        for model, attribute in (("image", "os_hash_value"), ("member", "member_id"), ("task", "type")):
            self.assertIn(attribute, [row[0] for row in self.rows(self.glance("explain", model))])
        self.assertIn("Unable to find requested model", self.fail_glance("explain", "nothing"))

    def test_information(self) -> None:
        """
        import-info, stores-info and usage say what there is.
        """
        self.assertIn('"value": []', self.fields(self.glance("import-info"))["import-methods"])
        self.assertIn('"id": "file"', self.fields(self.glance("stores-info"))["stores"])
        self.assertIn("stores_info_detail", self.fail_glance("stores-info", "--detail"))
        self.assertIn('"type": "file"', self.fields(self.glance("stores-info", "--detail", token=ADMIN))["stores"])
        self.assertIn("Quota", self.glance("usage"))

    def test_not_there_yet(self) -> None:
        """
        Commands for what the service cannot do end with a message, and change nothing.
        """
        image_id = self.create(*RAW, "--file", self.file)
        before = self.ask_json(f"/v2/images/{image_id}")
        url = ("--url", "http://example.org/image")
        for expected, *command in [
            ("does not support image tasks", "image-tasks", image_id),
            ("nothing at /v2/tasks", "task-list"),
            ("nothing at /v2/tasks", "task-show", image_id),
            ("/stage", "image-stage", image_id, "--file", self.file),
            ("not valid for this cloud", "image-import", image_id),
            ("not valid for this cloud", "image-create-via-import", *RAW, "--file", self.file),
            ("not enabled", "stores-delete", image_id, "--store", "file"),
            ("not supported", "add-location", image_id, *url),
            ("locations", "location-add", image_id, *url),
            ("disabled API access to image locations", "location-update", image_id, *url),
            ("disabled API access to image locations", "location-delete", image_id, *url),
            ("nothing at /v2/metadefs", "md-namespace-list"),
        ]:
            self.assertIn(expected, self.fail_glance(*command))
        self.assertEqual(self.ask_json(f"/v2/images/{image_id}"), before)


class CachedInformationTests(InformationTests):
    """
    What the service tells of itself, through the cache.
    """

    cached = True


class CacheTests(GlanceCase):
    """
    Commands for the cache.
    """

    cached = True

    def kept(self) -> dict[str, str]:
        """
        List what is cached or queued: ids and states.
        """
        return {row[0]: row[1] for row in self.rows(self.glance("cache-list", token=ADMIN))}

    def test_cache(self) -> None:
        """
        Administrators queue, list, delete and clear; others are told that they may not.
        """
        images = [self.create(*RAW, "--file", self.file) for _ in range(3)]
        self.glance("cache-queue", *images, token=ADMIN)
        self.wait_for(lambda: self.kept() == dict.fromkeys(images, "cached"))
        self.glance("image-download", images[0], "--file", self.folder / "copy")
        self.wait_for(lambda: [images[0], "1"] in self.hits())
        self.glance("cache-delete", images[0], token=ADMIN)
        self.assertEqual(set(self.kept()), set(images[1:]))
        for target in ("queue", "cache", "both"):
            self.glance("cache-clear", "--target", target, token=ADMIN)
            self.assertEqual(set(self.kept()), set(images[1:] if target == "queue" else []))
        self.assertIn("policy does not allow", self.fail_glance("cache-list"))

    def test_clean_and_prune(self) -> None:
        """
        Commands that tidy up work; nodes do not know of each other's images, as with most drivers of a stock Glance.
        """
        self.glance("cache-clean", token=ADMIN)
        self.glance("cache-prune", token=ADMIN)
        outcome = self.run_client(GLANCE, "cache-nodes-list", self.create(), token=ADMIN)
        self.assertIn("nodes do not tell each other", outcome.err)
        self.assertNotIn("Traceback", outcome.err)

    def hits(self) -> list[list[str]]:
        """
        List what is cached: ids and hits.
        """
        return [[row[0], row[-1]] for row in self.rows(self.glance("cache-list", token=ADMIN))]

    def test_service_has_none(self) -> None:
        """
        A service that keeps no cache says so.
        """
        self.daemon = self.pair.api
        self.assertIn("does not support image caching", self.fail_glance("cache-list", token=ADMIN))


class LocationTests(GlanceCase):
    """
    Locations, at a service whose operator shows them.
    """

    def setUp(self) -> None:
        super().setUp()
        options = "[DEFAULT]\nshow_image_direct_url = true\nshow_multiple_locations = true\n"
        self.daemon = self.make_daemon("glance-api", self.folder / "own", API_CONFIG.replace("[DEFAULT]\n", options))
        self.daemon.start()

    def test_locations(self) -> None:
        """
        Where the data are is shown and described; nobody names other files of the store, or takes the last data away.
        """
        image_id = self.create(*RAW, "--file", self.file)
        url = json.loads(self.daemon.ask("GET", f"/v2/images/{image_id}", ALICE).body)["direct_url"]
        shown = self.glance("location-update", image_id, "--url", url, "--metadata", '{"shelf": "top"}')
        self.assertIn('"shelf": "top"', " ".join(row[1] for row in self.rows(shown)))
        image = json.loads(self.daemon.ask("GET", f"/v2/images/{image_id}", ALICE).body)
        self.assertEqual(image["locations"], [{"url": url, "metadata": {"shelf": "top"}}])
        for expected, *command in [
            ("locations of the scheme 'file' are not accepted", "location-add", "file:///etc/passwd"),
            ("no store of this service has such a location", "location-add", "http://127.0.0.1:1/x"),
            ("URL must be one of existing locations", "location-update", "file:///etc/passwd"),
            ("Unknown URL", "location-delete", "file:///etc/passwd"),
            ("last location of an image cannot be removed", "location-delete", url),
        ]:
            self.assertIn(expected, self.fail_glance(command[0], image_id, "--url", command[1], token=ADMIN))
        refused = self.fail_glance("location-delete", image_id, "--url", url)
        self.assertIn("policy does not allow delete_image_location", refused)
        self.assertEqual(self.glance("image-download", image_id).encode(), DATA)
