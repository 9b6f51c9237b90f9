"""What `submeter serve` makes of upstreams with ``translate``: the translator's settings, and the relays'."""

import msgspec
from msgspec.structs import replace

from submeter.config.settings import Secret, Settings, Upstream, decode


class Translation(msgspec.Struct, frozen=True):
    """All that the translator is told. Of the unit's secrets it gets only its providers' keys."""

    token: Secret
    """Relays show it. Another process of this machine has none, and so cannot spend those keys."""
    upstreams: dict[str, Upstream]


def translation_of(settings: Settings, token: Secret) -> Translation | None:
    """``None``: no upstream needs it."""
    upstreams = {name: upstream for name, upstream in settings.upstreams.items() if upstream.translate is not None}
    return Translation(token, upstreams) if upstreams else None


def behind_translator(settings: Settings, translation: Translation, base_url: str) -> Settings:
    """For relays and meter: each translated upstream is the translator, and its key the translator's token."""
    behind = {
        name: replace(upstream, base_url=f"{base_url}/{name}/v1", api_key=translation.token)
        for name, upstream in translation.upstreams.items()
    }
    return replace(settings, upstreams={**settings.upstreams, **behind})


def translation_from_json(data: bytes) -> Translation:
    return msgspec.json.decode(data, type=Translation, dec_hook=decode)
