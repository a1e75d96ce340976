"""
Options of a stock Glance that no daemon of this project has: those of its libraries, and of how it was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glance_tx.settings.stock import StockOption, without_effect

__all__ = ["FALSE_WORDS", "SHARED_STOCK_OPTIONS", "TRUE_WORDS"]

TRUE_WORDS: Final = ("true", "1", "yes", "on")
FALSE_WORDS: Final = ("false", "0", "no", "off")

_PROTECTION: Final = (
    StockOption(
        "oslo_policy", "enforce_new_defaults", "only the rules of today are known", fatal=True, harmless=TRUE_WORDS
    ),
    StockOption("oslo_policy", "enforce_scope", "only tokens of a project are known", fatal=True, harmless=TRUE_WORDS),
    StockOption(
        "oslo_policy",
        "policy_default_rule",
        "a rule that does not exist refuses to be asked for, and no other stands in",
        fatal=True,
        harmless=("default",),
    ),
    StockOption("oslo_policy", "*", "rules are not asked of another server"),
)

_SECTIONS: Final[Mapping[str, str]] = {
    "keystone_authtoken": "Keystone is asked at auth_url, for the facts about a token alone",
    "paste_deploy": "nothing is composed of filters; [auth] strategy alone says who is believed",
    "healthcheck": "/healthcheck is always there, and checks what the daemon needs",
    "profiler": "there is no profiler",
    "oslo_middleware": "there are no middlewares",
    "oslo_reports": "there are no reports",
    "wsgi": "no WSGI server is involved",
}

_SINGLE: Final[Mapping[str, str]] = {
    "tcp_keepidle": "transfers have deadlines of their own (stall_timeout)",
    "http_keepalive": "connections are kept as clients ask",
    "max_request_id_length": "the limit is 64",
    "log_dir": "log_file takes an absolute path",
    "log_config_append": "log_file and log_format say it all",
    "log_date_format": "times are in ISO 8601, UTC",
    "logging_context_format_string": "log_format is text or json",
    "logging_default_format_string": "log_format is text or json",
    "default_log_levels": "there is one level for all; see debug",
    "use_syslog": "log to standard error and let the service manager forward it",
    "syslog_log_facility": "log to standard error and let the service manager forward it",
    "use_journal": "log to standard error, which a service manager keeps in the journal",
    "use_json": "set log_format = json",
    "use_stderr": "standard error is used when log_file is not set",
    "watch_log_file": "the log is reopened when the daemon is told to",
    "pydev_worker_debug_host": "there is no such debugger",
    "pydev_worker_debug_port": "there is no such debugger",
}

_KEYSTONE: Final = (
    StockOption("keystone_authtoken", "memcached_servers", "answers are remembered in the daemon's own memory"),
    StockOption("keystone_authtoken", "delay_auth_decision", "a request without a valid token is refused at once"),
    StockOption(
        "keystone_authtoken", "auth_section", "the account would be another; write it into this section", fatal=True
    ),
)

SHARED_STOCK_OPTIONS: Final = (
    *_KEYSTONE,
    *_PROTECTION,
    *without_effect(_SECTIONS, _SINGLE),
)
