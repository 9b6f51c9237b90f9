"""Configuration: ``load_settings`` makes the one frozen ``Settings`` that everything else is handed.

``settings``   the fields: types, ranges, descriptions, defaults      ``sources``   file, environment, flags → one tree
``build``      tree → ``Settings``, or an error that names the spot    ``load``      the flow, and what types cannot say
``help``       the flat table that documentation is generated from     ``urls``      what is wrong with an address
"""

from submeter.config.help import ENVIRONMENT, NO_SETTING, SETTINGS_HELP, Setting
from submeter.config.load import debug_wanted, load_settings, sdk_base_url
from submeter.config.settings import (
    Cache,
    Journal,
    Labels,
    Limits,
    Secret,
    Settings,
    Upstream,
    from_json,
    to_json,
)
from submeter.config.sources import Flags
from submeter.config.translation import Translation, behind_translator, translation_from_json, translation_of
from submeter.config.urls import is_loopback, split_host_port, without_password

__all__ = [
    "ENVIRONMENT",
    "NO_SETTING",
    "SETTINGS_HELP",
    "Cache",
    "Flags",
    "Journal",
    "Labels",
    "Limits",
    "Secret",
    "Setting",
    "Settings",
    "Translation",
    "Upstream",
    "behind_translator",
    "debug_wanted",
    "from_json",
    "is_loopback",
    "load_settings",
    "sdk_base_url",
    "split_host_port",
    "to_json",
    "translation_from_json",
    "translation_of",
    "without_password",
]
