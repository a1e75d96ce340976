"""
What the two daemons take.
"""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.configuration import GLANCE_CACHE
from glance_cache.fill_options import FillSettings
from glance_cache.hit_options import HitSettings
from glance_cache.offline_options import OfflineSettings
from glance_cache.options import CacheListenSettings, CacheSettings, StorageSettings, UpstreamSettings
from glance_cache.prefetch_options import PrefetchSettings
from glance_cache.room_options import RoomSettings
from glance_cache.scrub_options import ScrubSettings
from glance_cache.worker_options import CacheWorkerSettings
from glance_tx.configuration import GLANCE_API, lock_folder
from glance_tx.custom.options import ProtectionSettings
from glance_tx.db.options import DatabaseSettings
from glance_tx.domain.options import (
    HASHES,
    FormatSettings,
    LimitSettings,
    LocationSettings,
    LockSettings,
    UploadSettings,
)
from glance_tx.identity.keystone.options import KeystoneSettings, ServiceUserSettings
from glance_tx.identity.options import AuthSettings
from glance_tx.notify.options import BrokerSettings, NotificationSettings, PublisherSettings
from glance_tx.policy.options import PolicySettings
from glance_tx.settings import Program, Settings, SettingsError
from glance_tx.settings.daemon import LogSettings, NodeSettings, RedisSettings, ThreadSettings, WatchSettings
from glance_tx.settings.declare import declared
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.options import FileStoreSettings
from glance_tx.web.compression import CompressionSettings
from glance_tx.web.cors import CorsSettings
from glance_tx.web.healthfile import HealthcheckSettings
from glance_tx.web.options import (
    HttpSettings,
    ListenSettings,
    ManagementSettings,
    ManagementTlsSettings,
    TlsSettings,
    is_loopback,
)
from glance_tx.web.proxies import MiddlewareSettings, ProxySettings, proxy_trust, warn_of_trust
from glance_tx.workers.options import WorkerSettings
from tests.settings.files import ConfigurationTestCase

AUTH = "[auth]\nstrategy = tokens\ntokens_file = /t\n"
KEYSTONE = """
[auth]
strategy = keystone
[keystone_authtoken]
www_authenticate_uri = http://controller:5000
auth_url = http://controller:5000
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = glance
password = hush
"""
CACHE = "[DEFAULT]\nimage_cache_dir = /c\n[upstream]\nurls = http://a\n"

SHARED_DEFAULTS: dict[type, dict[str, Any]] = {
    HttpSettings: {
        "client_timeout_seconds": 60,
        "stall_seconds": 60,
        "max_connections": 2000,
        "max_header_line_bytes": 16384,
    },
    CorsSettings: {
        "allowed_origin": None,
        "allow_credentials": True,
        "expose_headers": (
            "X-Image-Meta-Checksum",
            "X-Auth-Token",
            "X-Subject-Token",
            "X-Service-Token",
            "X-OpenStack-Request-ID",
        ),
        "max_age_seconds": 3600,
        "allow_methods": ("GET", "PUT", "POST", "DELETE", "PATCH"),
        "allow_headers": (
            "Content-MD5",
            "X-Image-Meta-Checksum",
            "X-Storage-Token",
            "Accept-Encoding",
            "X-Auth-Token",
            "X-Identity-Status",
            "X-Roles",
            "X-Service-Catalog",
            "X-User-Id",
            "X-Tenant-Id",
            "X-OpenStack-Request-ID",
        ),
    },
    HealthcheckSettings: {"disable_file": None},
    LogSettings: {"log_file": None, "log_format": "text", "debug": False},
    PolicySettings: {"policy_file": "policy.yaml", "policy_dirs": ("policy.d",)},
    RedisSettings: {
        "url": None,
        "sentinels": (),
        "sentinel_primary": "mymaster",
        "sentinel_username": None,
        "sentinel_password": None,
        "cafile": None,
        "certfile": None,
        "keyfile": None,
        "prefix": "glance_tx",
    },
    ManagementSettings: {"bind_host": "127.0.0.1", "bind_port": 0},
    ThreadSettings: {"body_threads": 8},
    PublisherSettings: {
        "publisher_id": "image.localhost",
        "disabled": (),
        "transport_url": None,
        "exchange": "glance",
    },
    NotificationSettings: {
        "drivers": (),
        "transport_url": None,
        "topics": ("notifications",),
        "backlog": 10_000,
    },
    BrokerSettings: {"durable": False},
    WatchSettings: {"look_seconds": 5},
    TlsSettings: {"cert_file": None, "key_file": None, "ca_file": None},
    ManagementTlsSettings: {"cert_file": None, "key_file": None, "ca_file": None},
    ProxySettings: {"trusted_proxies": (), "secure_proxy_ssl_header": "X-Forwarded-Proto"},
    MiddlewareSettings: {"enable_proxy_headers_parsing": False},
}
ACCOUNT: dict[str, Any] = {
    "auth_url": None,
    "auth_type": "password",
    "username": None,
    "user_id": None,
    "user_domain_name": None,
    "user_domain_id": None,
    "password": None,
    "project_name": None,
    "project_id": None,
    "project_domain_name": None,
    "project_domain_id": None,
    "domain_name": None,
    "domain_id": None,
    "system_scope": None,
    "application_credential_id": None,
    "application_credential_name": None,
    "application_credential_secret": None,
    "cafile": None,
    "certfile": None,
    "keyfile": None,
    "insecure": False,
    "timeout_seconds": 10.0,
    "retries": 3,
}
SHARED_DEFAULTS[KeystoneSettings] = ACCOUNT | {
    "www_authenticate_uri": None,
    "cache_seconds": 300,
    "service_token_roles": ("service",),
    "service_token_roles_required": False,
}
LISTEN: dict[str, Any] = {
    "bind_host": "0.0.0.0",
    "bind_port": 9292,
    "backlog": 4096,
    "drain_seconds": 60,
    "public_endpoint": None,
}

API_DEFAULTS: dict[type, dict[str, Any]] = SHARED_DEFAULTS | {
    CompressionSettings: {"compress_json": False},
    LocationSettings: {"show_direct_url": False, "show_multiple": False, "quota": 10},
    ProtectionSettings: {"file": None, "rule_format": "roles"},
    ListenSettings: LISTEN,
    WorkerSettings: {"count": min(len(os.sched_getaffinity(0)), 8), "hang_seconds": 60},
    NodeSettings: {"node_name": socket.gethostname()},
    AuthSettings: {"strategy": "tokens", "tokens_file": Path("/t")},
    LimitSettings: {
        "image_size_cap_bytes": 2**40,
        "storage_quota_bytes": 0,
        "property_quota": 128,
        "tag_quota": 128,
        "member_quota": 128,
        "page_limit_default": 25,
        "page_limit_max": 1000,
        "hashing_algorithm": "sha512",
    },
    DatabaseSettings: {"url": "sqlite:////var/lib/glance/glance.sqlite", "max_pool_size": 5},
    FileStoreSettings: {"single_folder": None, "many_folders": None, "file_mode": 0, "thin": False},
    UploadSettings: {"lease_seconds": 60, "max_uploads": 100},
    FormatSettings: {
        "container_formats": ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"),
        "disk_formats": ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"),
        "require_match": True,
        "gpt_safety_checks_nonfatal": (),
        "vmdk_allowed_types": ("streamOptimized", "monolithicSparse"),
    },
    LockSettings: {"lock_path": None},
}

CACHE_DEFAULTS: dict[type, dict[str, Any]] = SHARED_DEFAULTS | {
    CacheListenSettings: LISTEN | {"bind_port": 9293},
    CacheWorkerSettings: {"count": 1, "hang_seconds": 60},
    OfflineSettings: {"grace_seconds": 0, "keeps_grants": False, "key_file": None, "answers_bytes": 16 * 2**20},
    ScrubSettings: {"bytes_per_second": 8 * 2**20, "interval_seconds": 7 * 86400},
    StorageSettings: {"folder": Path("/c"), "max_size_bytes": 10 * 2**30, "stall_seconds": 86400},
    UpstreamSettings: {
        "urls": ("http://a",),
        "cafile": None,
        "certfile": None,
        "keyfile": None,
        "insecure": False,
        "connect_seconds": 5,
        "head_seconds": 60,
        "stall_seconds": 60,
        "progress_window_seconds": 60,
        "progress_bytes": 65536,
        "longest_rest_seconds": 60,
    },
    CacheSettings: {
        "node_name": socket.gethostname(),
        "event_clients": 16,
        "grant_ttl_seconds": 60,
        "recheck_per_second": 20,
    },
    RoomSettings: {"high_water_percent": 100, "low_water_percent": 95, "max_image_bytes": 0},
    FillSettings: {"abandon_below_percent": 0, "bytes_per_second": 0, "most": 100},
    HitSettings: {"kept_hours": 168, "by_project": True},
    PrefetchSettings: {
        "token": None,
        "concurrency": 2,
        "bytes_per_second": 0,
        "window": None,
        "attempts": 8,
        "queue_limit": 10_000,
    },
    AuthSettings: {"strategy": None, "tokens_file": None},
    ServiceUserSettings: ACCOUNT,
}


def as_table(program: Program, settings: Settings) -> dict[type, dict[str, Any]]:
    """
    All values of a program.
    """
    return {kind: asdict(settings[kind]) for kind in program.sections}  # type: ignore[arg-type]


class DefaultTests(ConfigurationTestCase):
    """
    The whole tables of defaults.
    """

    def test_api(self) -> None:
        """
        glance-api's defaults are stock's where there is a stock option, but for the idle time of connections.
        """
        self.assertEqual(as_table(GLANCE_API, self.loaded(GLANCE_API, AUTH).settings), API_DEFAULTS)

    def test_cache(self) -> None:
        """
        glance-cache needs a folder and an upstream, and has defaults for the rest.
        """
        self.assertEqual(as_table(GLANCE_CACHE, self.loaded(GLANCE_CACHE, CACHE).settings), CACHE_DEFAULTS)

    def test_declarations(self) -> None:
        """
        Every option is declared once, explains itself, and has a field whose type says whether it may be unset.
        """
        for program in (GLANCE_API, GLANCE_CACHE):
            names = [(kind.GROUP, opt.name) for kind in program.sections for opt in declared(kind).values()]
            self.assertEqual(len(names), len(set(names)))
            for kind in program.sections:
                for name, opt in declared(kind).items():
                    self.assertTrue((opt.help or "").endswith("."), name)
                    annotation = next(
                        base.__annotations__[name] for base in kind.__mro__ if name in base.__annotations__
                    )
                    may_be_unset = opt.default is None and opt.sample_default is None and name not in {"folder", "urls"}
                    self.assertEqual("None" in annotation, may_be_unset or name == "lock_path", name)

    def test_hashes(self) -> None:
        """
        Clients can compute every hash that can be configured.
        """
        for name in HASHES:
            self.assertGreaterEqual(hashlib.new(name).digest_size, 32)


class RequirementTests(ConfigurationTestCase):
    """
    What has to be there, and what does not go together.
    """

    def test_api_without_strategy(self) -> None:
        """
        glance-api does not start without a strategy, whatever a paste file said.
        """
        self.assertEqual(
            self.problems(GLANCE_API, "[paste_deploy]\nflavor = keystone\n"),
            ["[auth] strategy: is not set; must be keystone, tokens or none (there is no default)"],
        )

    def test_cache_without_everything(self) -> None:
        """
        glance-cache does not start without folder and upstream.
        """
        self.assertEqual(
            [line.partition(";")[0] for line in self.problems(GLANCE_CACHE, "")],
            ["[DEFAULT] image_cache_dir: is not set", "[upstream] urls: is not set"],
        )

    def test_flavor(self) -> None:
        """
        A flavor is warned about and changes nothing.
        """
        for program, text in ((GLANCE_API, AUTH), (GLANCE_CACHE, CACHE)):
            loaded = self.loaded(program, f"{text}[paste_deploy]\nflavor = \nconfig_file = x\n")
            self.assertEqual(len(loaded.warnings), 1)
            self.assertIn("[auth] strategy alone says who is believed", str(loaded.warnings[0]))

    def test_tokens_without_file(self) -> None:
        """
        Strategy tokens needs its file.
        """
        for program, text in ((GLANCE_API, ""), (GLANCE_CACHE, CACHE)):
            self.assertEqual(
                self.problems(program, f"{text}[auth]\nstrategy = tokens\n"),
                ["[auth] tokens_file: is not set, and strategy = tokens needs it"],
            )

    def test_keystone(self) -> None:
        """
        Strategy keystone needs an account at a Keystone, and says all that it lacks.
        """
        for program, text in ((GLANCE_API, ""), (GLANCE_CACHE, CACHE)):
            self.assertEqual(
                self.problems(program, f"{text}[auth]\nstrategy = keystone\n"),
                [
                    "[keystone_authtoken] auth_url: is not set",
                    "[keystone_authtoken] username: is not set; set it, or user_id",
                    "[keystone_authtoken] password: is not set, and password needs it",
                    "[keystone_authtoken] project_name: is not set; set a project, a domain or system_scope",
                ],
            )
            self.assertEqual(
                self.problems(
                    program, f"{text}{KEYSTONE}system_scope = all\ninsecure = 1\ncafile = /c\nkeyfile = /k\n"
                ),
                [
                    "[keystone_authtoken] system_scope: goes not with project_name: a token has one scope",
                    "[keystone_authtoken] certfile: is not set, and keyfile is of no use without it",
                    "[keystone_authtoken] insecure: is true, which makes cafile pointless; remove one of them",
                ],
            )
            self.assertEqual(
                self.problems(program, f"{text}{KEYSTONE}auth_type = v3applicationcredential\n"),
                [
                    f"[keystone_authtoken] application_credential_{problem}"
                    for problem in (
                        "secret: is not set, and v3applicationcredential needs it",
                        "id: is not set; set it, or application_credential_name and the user",
                    )
                ],
            )

    def test_keystone_as_operators_have_it(self) -> None:
        """
        A section as a stock Glance has it is taken as it stands; what has no effect is said once.
        """
        more = "memcached_servers = a:11211\ndelay_auth_decision = true\nregion_name = R\n"
        more += "service_token_roles = service,x\n"
        for program, text in ((GLANCE_API, ""), (GLANCE_CACHE, CACHE)):
            loaded = self.loaded(program, f"{text}{KEYSTONE}{more}")
            self.assertEqual(
                [warning.option for warning in loaded.warnings],
                ["memcached_servers", "delay_auth_decision", "region_name"],
            )
            keystone = loaded.settings[KeystoneSettings]
            self.assertEqual(keystone.auth_url, "http://controller:5000")
            self.assertEqual(keystone.service_token_roles, ("service", "x"))
            problems = self.problems(program, f"{text}{KEYSTONE}auth_section = elsewhere\n")
            self.assertIn("not supported", problems[0])

    def test_keystone_inherited(self) -> None:
        """
        Without the strategy the section may have anything in it that is well-formed.
        """
        for program, text in ((GLANCE_API, AUTH), (GLANCE_CACHE, CACHE)):
            self.loaded(program, f"{text}[keystone_authtoken]\nusername = glance\n")

    def test_service_user(self) -> None:
        """
        The cache's own account is whole, or not there at all, and the only one.
        """
        self.assertEqual(
            self.problems(GLANCE_CACHE, f"{CACHE}[service_user]\nusername = u\npassword = p\nproject_name = s\n"),
            ["[service_user] auth_url: is not set"],
        )
        whole = "[service_user]\nauth_url = http://k\nusername = u\npassword = p\nproject_name = s\n"
        self.loaded(GLANCE_CACHE, CACHE + whole)
        self.assertEqual(
            self.problems(GLANCE_CACHE, f"{CACHE}{whole}[cache]\nprefetch_token = t\n"),
            ["[cache] prefetch_token: is set, and so is [service_user]; remove one of them"],
        )

    def test_none_is_local(self) -> None:
        """
        Strategy none is refused at any address that another machine might reach, on both ports.
        """
        for program, text in ((GLANCE_API, ""), (GLANCE_CACHE, CACHE)):
            self.assertEqual(
                [
                    line.partition(":")[0]
                    for line in self.problems(
                        program, f"{text}[auth]\nstrategy = none\n[management]\nbind_host = ::\nbind_port = 1\n"
                    )
                ],
                ["[DEFAULT] bind_host", "[management] bind_host"],
            )
            local = "[auth]\nstrategy = none\n[management]\nbind_host = ::\n"
            self.loaded(program, f"{text}[DEFAULT]\nbind_host = 127.0.0.1\n{local}")

    def test_loopback(self) -> None:
        """
        Loopback addresses are known in every form; a name other than localhost is not trusted.
        """
        for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
            self.assertTrue(is_loopback(host), host)
        for host in ("0.0.0.0", "::", "192.0.2.1", "localhost.example.org", "", "::ffff:192.0.2.1"):
            self.assertFalse(is_loopback(host), host)

    def test_lock_folder(self) -> None:
        """
        Locks lie beside the image data where nothing else is said.
        """
        store = "[glance_store]\nfilesystem_store_datadir = /srv/images\n"
        self.assertEqual(lock_folder(self.loaded(GLANCE_API, AUTH + store).settings), Path("/srv/locks"))
        several = "[glance_store]\n" + "".join(f"filesystem_store_datadirs = /disk{n}/images:{n}\n" for n in (1, 2))
        self.assertEqual(lock_folder(self.loaded(GLANCE_API, AUTH + several).settings), Path("/disk1/locks"))
        locks = "[oslo_concurrency]\nlock_path = /run/x\n"
        self.assertEqual(lock_folder(self.loaded(GLANCE_API, AUTH + locks).settings), Path("/run/x"))

    def test_data_folders(self) -> None:
        """
        Image data lie in one folder or in several with priorities, as a stock Glance has them, and never in both.
        """
        group, first = "[glance_store]\n", "filesystem_store_datadirs"
        for text, expected in [
            ("", [FolderChoice("/var/lib/glance/images")]),
            ("filesystem_store_datadir = /a", [FolderChoice("/a")]),
            (
                f"filesystem_store_datadir =\n{first} = /a:7\n{first} = /b\n{first} = /c:",
                [FolderChoice("/a", 7), FolderChoice("/b"), FolderChoice("/c")],
            ),
        ]:
            settings = self.loaded(GLANCE_API, f"{AUTH}{group}{text}\n").settings
            self.assertEqual(list(settings[FileStoreSettings].folders), expected)
        for text in ("/a:high", "a", ":3", "/a:-1"):
            (problem,) = self.problems(GLANCE_API, f"{AUTH}{group}{first} = {text}\n")
            self.assertIn(f"[glance_store] {first}", problem)
        both = f"filesystem_store_datadir = /a\n{first} = /b\n"
        twice = f"{first} = /a:1\n{first} = /b\n{first} = /a/:2\n"
        for text, word in ((both, "beside"), (twice, "/a more than once")):
            (problem,) = self.problems(GLANCE_API, f"{AUTH}{group}{text}")
            self.assertIn(first, problem)
            self.assertIn(word, problem)

    def test_file_permissions(self) -> None:
        """
        Permissions are octal, as stock Glance reads them; 0 stands for what the umask leaves.
        """
        for text, expected in (("0", 0), ("640", 0o640), ("0600", 0o600)):
            settings = self.loaded(GLANCE_API, f"{AUTH}[glance_store]\nfilesystem_store_file_perm = {text}\n").settings
            self.assertEqual(settings[FileStoreSettings].file_mode, expected)
        (problem,) = self.problems(GLANCE_API, f"{AUTH}[glance_store]\nfilesystem_store_file_perm = 689\n")
        self.assertIn("filesystem_store_file_perm", problem)

    def test_secrets(self) -> None:
        """
        Passwords and tokens do not show in the text of settings.
        """
        secret = "[redis]\nurl = redis://:hush@a\n"
        api = self.loaded(GLANCE_API, f"{AUTH}{secret}[database]\nconnection = mysql://u:hush@h/d\n").settings
        cache = self.loaded(GLANCE_CACHE, f"{CACHE}{secret}[cache]\nprefetch_token = hush\n").settings
        self.assertEqual(api[DatabaseSettings].url, "mysql://u:hush@h/d")
        self.assertEqual(cache[PrefetchSettings].token, "hush")
        keystone = self.loaded(GLANCE_CACHE, f"{CACHE}{KEYSTONE}application_credential_secret = hush\n").settings
        self.assertEqual(keystone[KeystoneSettings].password, "hush")
        self.assertNotIn("hush", repr(api) + repr(cache) + repr(keystone))


class RoomTests(ConfigurationTestCase):
    """
    How the cache uses its room.
    """

    def test_crossed_marks(self) -> None:
        """
        The low-water mark may be where the high one is, and not above it.
        """
        marks = "[cache]\nhigh_water = {}\nlow_water = {}\n"
        room = self.loaded(GLANCE_CACHE, CACHE + marks.format(80, 80)).settings[RoomSettings]
        self.assertEqual((room.high_water_percent, room.low_water_percent), (80, 80))
        error = self.assertRaises(SettingsError, self.loaded, GLANCE_CACHE, CACHE + marks.format(80, 81))
        self.assertIn("low_water: is more than high_water (80)", str(error))


PROTECTING = {
    ("DEFAULT", "use_keystone_limits"): "true",
    ("DEFAULT", "metadata_encryption_key"): "x",
    ("oslo_policy", "enforce_scope"): "false",
    ("oslo_policy", "enforce_new_defaults"): "false",
    ("oslo_policy", "policy_default_rule"): "admin",
}

# Options of a stock Glance that operators use: each must be an option here too, or be explained.
STOCK = {
    "DEFAULT": """
        bind_host bind_port workers backlog tcp_keepidle max_header_line http_keepalive client_socket_timeout
        public_endpoint worker_self_reference_url secure_proxy_ssl_header enabled_backends node_staging_uri
        enabled_import_methods hashing_algorithm show_image_direct_url show_multiple_locations do_secure_hash
        http_retries image_size_cap user_storage_quota image_member_quota image_property_quota image_tag_quota
        image_location_quota limit_param_default api_limit_max use_keystone_limits delayed_delete scrub_time
        scrub_pool_size wakeup_time allow_anonymous_access property_protection_file property_protection_rule_format
        metadata_encryption_key digest_algorithm max_request_id_length disabled_notifications default_publisher_id
        debug log_file log_dir use_syslog log_config_append cert_file key_file ca_file image_cache_dir
        image_cache_driver image_cache_max_size image_cache_stall_time image_cache_sqlite_db admin_role
    """,
    "oslo_middleware": "enable_proxy_headers_parsing max_request_body_size",
    "glance_store": """
        default_backend stores default_store filesystem_store_datadir filesystem_store_datadirs
        filesystem_store_file_perm filesystem_thin_provisioning filesystem_store_chunk_size
        filesystem_store_metadata_file
    """,
    "image_format": """
        container_formats disk_formats vmdk_allowed_types require_image_format_match gpt_safety_checks_nonfatal
    """,
    "image_import_opts": "image_import_plugins",
    "import_filtering_opts": "allowed_schemes",
    "task": "task_time_to_live",
    "taskflow_executor": "max_workers",
    "wsgi": "task_pool_threads",
    "database": "connection max_retries max_pool_size connection_recycle_time",
    "keystone_authtoken": "www_authenticate_uri auth_url password memcached_servers",
    "oslo_policy": "policy_file policy_dirs enforce_scope enforce_new_defaults policy_default_rule",
    "oslo_messaging_notifications": "driver transport_url topics",
    "oslo_concurrency": "lock_path disable_process_locking",
    "healthcheck": "path backends",
    "oslo_limit": "endpoint_id",
    "barbican": "auth_endpoint",
    "key_manager": "backend",
    "vault": "vault_url",
    "paste_deploy": "flavor config_file",
    "os_glance_staging_store": "filesystem_store_datadir",
    "os_glance_tasks_store": "filesystem_store_datadir",
}


class StockTests(ConfigurationTestCase):
    """
    Options that come along from a stock Glance.
    """

    def test_protecting(self) -> None:
        """
        glance-api refuses every option that promises protection it does not give, all of them at once.
        """
        texts = [f"[{section}]\n{option} = {value}\n" for (section, option), value in PROTECTING.items()]
        problems = self.problems(GLANCE_API, AUTH, *texts)
        self.assertEqual(
            sorted(problem.partition(":")[0] for problem in problems),
            sorted(f"[{section}] {option}" for section, option in PROTECTING),
        )
        self.assertTrue(all(": not supported: " in problem for problem in problems))

    def test_switched_off(self) -> None:
        """
        The same options switched off, or set to what is done anyway, are no reason for a word.
        """
        harmless = dict.fromkeys(PROTECTING, "") | {
            ("DEFAULT", "use_keystone_limits"): "False",
            ("oslo_policy", "enforce_scope"): "True",
            ("oslo_policy", "enforce_new_defaults"): "true",
            ("oslo_policy", "policy_default_rule"): "default",
        }
        texts = [f"[{section}]\n{option} = {value}\n" for (section, option), value in harmless.items()]
        self.assertEqual(self.loaded(GLANCE_API, AUTH, *texts).warnings, ())

    def test_no_words(self) -> None:
        """
        A list that may be empty is empty where nothing is written.
        """
        formats = self.loaded(GLANCE_API, AUTH, "[image_format]\nvmdk_allowed_types =\n").settings[FormatSettings]
        self.assertEqual(formats.vmdk_allowed_types, ())
        formats = self.loaded(GLANCE_API, AUTH, "[image_format]\nvmdk_allowed_types = a, b\n").settings[FormatSettings]
        self.assertEqual(formats.vmdk_allowed_types, ("a", "b"))

    def test_all_are_known(self) -> None:
        """
        Every stock option that operators use is either an option of glance-api or explained by name.
        """
        own = {(kind.GROUP, opt.name) for kind in GLANCE_API.sections for opt in declared(kind).values()}
        unknown = [
            (section, option)
            for section, options in STOCK.items()
            for option in options.split()
            if (section, option) not in own and GLANCE_API.stock.find(section, option) is None
        ]
        self.assertEqual(unknown, [])

    def test_own_options_are_not_foreign(self) -> None:
        """
        No option is declared and explained away at the same time.
        """
        for program in (GLANCE_API, GLANCE_CACHE):
            for kind in program.sections:
                for opt in declared(kind).values():
                    found = program.stock.find(kind.GROUP, opt.name)
                    self.assertTrue(found is None or found.option == "*", opt.name)

    def test_stock_cache(self) -> None:
        """
        glance-cache warns of options of stock's own cache.
        """
        warnings = self.loaded(GLANCE_CACHE, CACHE, "[DEFAULT]\nimage_cache_driver = sqlite\n").warnings
        self.assertEqual([warning.option for warning in warnings], ["image_cache_driver"])


class CertificateTests(ConfigurationTestCase):
    """
    Options of certificates that need each other.
    """

    def test_halves(self) -> None:
        """
        A certificate without its key, a key alone, and authorities for clients without either are refused: the port
        would speak plain HTTP.
        """
        for program, base in ((GLANCE_API, AUTH), (GLANCE_CACHE, CACHE)):
            for group in ("DEFAULT", "management"):
                for text, missing in (
                    ("cert_file = /c", "key_file"),
                    ("key_file = /k", "cert_file"),
                    ("ca_file = /a", "cert_file and key_file"),
                    ("cert_file = /c\nca_file = /a", "key_file"),
                ):
                    [problem] = self.problems(program, base, f"[{group}]\n{text}\n")
                    self.assertIn(f"needs [{group}] {missing}", problem)
                whole = self.loaded(program, base, f"[{group}]\ncert_file = /c\nkey_file = /k\nca_file = /a\n")
                self.assertEqual(whole.warnings, ())

    def test_upstream(self) -> None:
        """
        So are halves of what the cache shows its upstream, and authorities that would not be asked.
        """
        for text, reason in (
            ("certfile = /c", "needs [upstream] keyfile"),
            ("keyfile = /k", "needs [upstream] certfile"),
            ("insecure = true\ncafile = /a", "which makes cafile pointless"),
        ):
            [problem] = self.problems(GLANCE_CACHE, CACHE, f"[upstream]\n{text}\n")
            self.assertIn(reason, problem)

    def test_redis(self) -> None:
        """
        So are halves of what is shown to a Redis, and certificates for one that is not spoken TLS with.
        """
        for program, base in ((GLANCE_API, AUTH), (GLANCE_CACHE, CACHE)):
            for text, reason in (
                ("certfile = /c", "needs [redis] keyfile"),
                ("keyfile = /k", "needs [redis] certfile"),
                ("url = redis://a\ncafile = /a", "url must begin with rediss://"),
            ):
                [problem] = self.problems(program, base, f"[redis]\n{text}\n")
                self.assertIn(reason, problem)
            self.loaded(program, base, "[redis]\nurl = rediss://a\ncafile = /a\n")


class ProxyTests(ConfigurationTestCase):
    """
    Which proxies a configuration trusts.
    """

    def trust(self, text: str) -> tuple[tuple[str, ...], str, tuple[str | None, ...]]:
        """
        Networks, the scheme's header, and options that are warned of.
        """
        settings = self.loaded(GLANCE_API, AUTH, text).settings
        trust = proxy_trust(settings)
        return tuple(map(str, trust.networks)), trust.scheme_header, tuple(w.option for w in warn_of_trust(settings))

    def test_trust(self) -> None:
        """
        Nobody is trusted by default; stock's switch alone means this machine; names of headers may be stock's.
        """
        named = "[DEFAULT]\ntrusted_proxies = 10.0.0.0/8, ::1,192.0.2.7\n"
        switch = "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"
        header = "[DEFAULT]\nsecure_proxy_ssl_header = HTTP_X_SCHEME\n"
        plain, networks = "X-Forwarded-Proto", ("10.0.0.0/8", "::1/128", "192.0.2.7/32")
        self.assertEqual(self.trust(""), ((), plain, ()))
        self.assertEqual(self.trust(named), (networks, plain, ()))
        self.assertEqual(self.trust(named + switch), (networks, plain, ()))
        self.assertEqual(self.trust(switch), (("127.0.0.0/8", "::1/128"), plain, ("enable_proxy_headers_parsing",)))
        self.assertEqual(self.trust(header), ((), "X-SCHEME", ("secure_proxy_ssl_header",)))
        self.assertEqual(self.trust(named + header)[1:], ("X-SCHEME", ()))

    def test_bad_networks(self) -> None:
        """
        What is no network is refused, and so is one with bits of a host: nobody can tell which of the two is meant.
        """
        for text in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*"):
            [problem] = self.problems(GLANCE_API, AUTH, f"[DEFAULT]\ntrusted_proxies = {text}\n")
            self.assertIn("an IP address, or a network such as", problem)


class EdgeTests(SynchronousTestCase):
    """
    Programs, by name.
    """

    def test_names(self) -> None:
        """
        The programs are named as twistd knows them.
        """
        self.assertEqual((GLANCE_API.name, GLANCE_CACHE.name), ("glance-api", "glance-cache"))
