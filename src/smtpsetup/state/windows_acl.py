"""Who may read or change a file on Windows, by its access control list. Elsewhere nothing here is called.

https://learn.microsoft.com/windows/win32/fileio/file-security-and-access-rights has the rights.
"""

from __future__ import annotations

import errno
import sys
from typing import NamedTuple

from smtpsetup.core.i18n import gettext as _

_GENERIC_ALL, _GENERIC_READ, _GENERIC_WRITE = 0x1000_0000, 0x8000_0000, 0x4000_0000
_TAKE_OVER = 0x0004_0000 | 0x0008_0000 | _GENERIC_ALL  # WRITE_DAC, WRITE_OWNER
REPLACE = 0x0001_0000 | 0x40 | _TAKE_OVER  # DELETE, FILE_DELETE_CHILD: to put another directory in its place
WRITE = REPLACE | 0x2 | 0x4 | _GENERIC_WRITE  # FILE_WRITE_DATA or FILE_ADD_FILE, FILE_APPEND_DATA or a directory
READ_OR_WRITE = WRITE | 0x1 | _GENERIC_READ  # FILE_READ_DATA

# https://learn.microsoft.com/windows/win32/secauthz/well-known-sids
_TRUSTED = frozenset(
    {
        "S-1-5-18",  # SYSTEM
        "S-1-5-32-544",  # Administrators
        "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",  # TrustedInstaller
        "S-1-3-4",  # OWNER RIGHTS: the owner is checked itself
    }
)
_ALLOWING = (0, 5, 9, 11)  # ACCESS_ALLOWED_ACE_TYPE, _OBJECT, _CALLBACK, _CALLBACK_OBJECT
_INHERIT_ONLY = 0x8  # such an entry is for files below, not for the directory itself
_EVERYONE = "S-1-1-0"


class Entry(NamedTuple):
    """One entry of an access control list: its type, flags, rights and the SID that it is for."""

    type: int
    flags: int
    rights: int
    sid: str


class Access(NamedTuple):
    """The owner of a file, and its entries; None where it has no list, so that everybody may do everything."""

    owner: str
    entries: tuple[Entry, ...] | None


def strangers(access: Access, own_sid: str, rights: int) -> tuple[str, ...]:
    """The SIDs, other than this user, administrators and the system, that have any of the rights.

    Entries that deny are not counted in anybody's favour: they may be for other groups.
    """
    trusted = _TRUSTED | {own_sid}
    if access.entries is None:
        return (_EVERYONE,)
    allowed = (
        entry.sid
        for entry in access.entries
        if entry.type in _ALLOWING and not entry.flags & _INHERIT_ONLY and entry.rights & rights
    )
    return tuple(dict.fromkeys(sid for sid in (access.owner, *allowed) if sid not in trusted))


def others_have(path: str, rights: int) -> bool:
    """Whether another user has any of the rights to a file or directory. Raises OSError."""
    return bool(strangers(_access(path), _own_sid(), rights))


def hint(path: str) -> str:
    """What makes a file private, for people."""
    return _('Make it private: `icacls "{path}" /inheritance:r /grant:r "%USERNAME%:F"`.').format(path=path)


def make_private(path: str) -> None:
    """Let only this user and the system use a file, or a directory and what is made in it. Raises OSError."""
    if sys.platform == "win32":
        import ntsecuritycon
        import pywintypes
        import win32security

        inherited = win32security.OBJECT_INHERIT_ACE | win32security.CONTAINER_INHERIT_ACE
        entries = win32security.ACL()
        for sid in (_own_sid(), "S-1-5-18"):
            entries.AddAccessAllowedAceEx(
                win32security.ACL_REVISION,
                inherited,
                ntsecuritycon.FILE_ALL_ACCESS,
                win32security.ConvertStringSidToSid(sid),
            )
        what = win32security.DACL_SECURITY_INFORMATION | win32security.PROTECTED_DACL_SECURITY_INFORMATION
        try:
            win32security.SetNamedSecurityInfo(path, win32security.SE_FILE_OBJECT, what, None, None, entries, None)
        except pywintypes.error as error:
            raise OSError(errno.EACCES, error.strerror, path) from error


def _access(path: str) -> Access:
    """The owner and the list of a file. Raises OSError."""
    if sys.platform == "win32":
        import pywintypes
        import win32security

        what = win32security.OWNER_SECURITY_INFORMATION | win32security.DACL_SECURITY_INFORMATION
        try:
            found = win32security.GetFileSecurity(path, what)
        except pywintypes.error as error:
            raise OSError(errno.EACCES, error.strerror, path) from error
        named = win32security.ConvertSidToStringSid
        owner = named(found.GetSecurityDescriptorOwner())
        entries = found.GetSecurityDescriptorDacl()
        if entries is None:
            return Access(owner, None)
        read = (entries.GetAce(number) for number in range(entries.GetAceCount()))
        # an entry for an object has two more items, before the SID
        return Access(owner, tuple(Entry(*entry[0], entry[1] & 0xFFFF_FFFF, named(entry[-1])) for entry in read))
    raise NotImplementedError  # called on Windows only


def _own_sid() -> str:
    """The SID of the user of this process."""
    if sys.platform == "win32":
        import win32api
        import win32security

        token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), win32security.TOKEN_QUERY)
        user, _attributes = win32security.GetTokenInformation(token, win32security.TokenUser)
        return win32security.ConvertSidToStringSid(user)
    raise NotImplementedError  # called on Windows only
