"""Reading from the Secret Service (https://specifications.freedesktop.org/secret-service) over the session bus.

This takes 15 ms, the `keyring` library 110 (bench/sending.py), which cron would pay at every run. Nothing here prompts
or starts a daemon, and every call has a timeout.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jeepney.io.blocking import DBusConnection

SECONDS = 5.0  # timeout of each call
_NAME = "org.freedesktop.secrets"
_ROOT = "/org/freedesktop/secrets"
_DEFAULT = f"{_ROOT}/aliases/default"


class SecretServiceTrouble(Enum):
    """Why there is no secret."""

    NO_SERVICE = auto()
    LOCKED = auto()
    ABSENT = auto()  # no such secret
    REFUSED = auto()
    TIMEOUT = auto()
    NOT_PLAIN = auto()  # the service offers no unencrypted session


class SecretServiceError(Exception):
    """No secret was read; `detail` is the D-Bus name of the error."""

    def __init__(self, trouble: SecretServiceTrouble, detail: str = "") -> None:
        super().__init__(f"{trouble.name} {detail}")
        self.trouble = trouble
        self.detail = detail


def read_secret(address: str, attributes: dict[str, str]) -> bytes:
    """Read the secret of the item with these attributes, the newest of several. `address` is that of the bus.

    Raises SecretServiceError, OSError for a bus that cannot be reached, and errors of jeepney for a malformed address.
    """
    from jeepney.io.blocking import open_dbus_connection  # 9 ms, only for this store

    with open_dbus_connection(bus=address, auth_timeout=SECONDS) as bus:
        unlocked, locked = _call(bus, _ROOT, "org.freedesktop.Secret.Service", "SearchItems", "a{ss}", attributes)
        if not unlocked:
            raise SecretServiceError(
                SecretServiceTrouble.LOCKED if locked or _is_locked(bus) else SecretServiceTrouble.ABSENT
            )
        path = unlocked[0] if len(unlocked) == 1 else max(unlocked, key=lambda one: _modified(bus, one))
        _output, session = _call(bus, _ROOT, "org.freedesktop.Secret.Service", "OpenSession", "sv", "plain", ("s", ""))
        ((_session, _parameters, value, _type),) = _call(
            bus, path, "org.freedesktop.Secret.Item", "GetSecret", "o", session
        )
        return bytes(value)


def _is_locked(bus: DBusConnection) -> bool:
    """Whether the default collection is locked: some services find none of its items then."""
    try:
        ((_kind, is_locked),) = _property(bus, _DEFAULT, "org.freedesktop.Secret.Collection", "Locked")
    except SecretServiceError as error:
        if error.trouble is SecretServiceTrouble.TIMEOUT:
            raise
        return False  # no default collection
    return bool(is_locked)


def _modified(bus: DBusConnection, path: str) -> int:
    ((_kind, seconds),) = _property(bus, path, "org.freedesktop.Secret.Item", "Modified")
    return int(seconds)


def _property(bus: DBusConnection, path: str, interface: str, name: str) -> Any:  # noqa: ANN401  as _call
    return _call(bus, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)


_TROUBLES = {
    "org.freedesktop.DBus.Error.NameHasNoOwner": SecretServiceTrouble.NO_SERVICE,
    "org.freedesktop.DBus.Error.ServiceUnknown": SecretServiceTrouble.NO_SERVICE,
    "org.freedesktop.DBus.Error.NoReply": SecretServiceTrouble.TIMEOUT,
    "org.freedesktop.DBus.Error.NotSupported": SecretServiceTrouble.NOT_PLAIN,
    "org.freedesktop.Secret.Error.IsLocked": SecretServiceTrouble.LOCKED,
    "org.freedesktop.Secret.Error.NoSuchObject": SecretServiceTrouble.ABSENT,
}


def _call(bus: DBusConnection, path: str, interface: str, method: str, signature: str, *arguments: object) -> Any:  # noqa: ANN401  D-Bus values of any type
    """The values of a method's reply. Raises SecretServiceError."""
    from jeepney import DBusAddress, HeaderFields, MessageFlag, MessageType, new_method_call

    message = new_method_call(DBusAddress(path, _NAME, interface), method, signature, arguments)
    message.header.flags |= MessageFlag.no_auto_start  # a service that D-Bus starts for cron stays locked
    try:
        reply = bus.send_and_get_reply(message, timeout=SECONDS)
    except TimeoutError as error:
        raise SecretServiceError(SecretServiceTrouble.TIMEOUT) from error
    if reply.header.message_type is MessageType.error:
        name = str(reply.header.fields.get(HeaderFields.error_name, ""))
        raise SecretServiceError(_TROUBLES.get(name, SecretServiceTrouble.REFUSED), name)
    return reply.body
