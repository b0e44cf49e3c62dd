"""What stands in for Windows: pywin32's functions that smtpsetup calls, over Linux's own locks and made-up lists."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pytest

OWN = "S-1-5-21-1-2-3-1001"
EVERYONE = "S-1-1-0"
FULL = 0x1F01FF
_FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2  # minwinbase.h


class Error(Exception):
    """`pywintypes.error`."""

    def __init__(self, winerror: int, strerror: str) -> None:
        super().__init__(winerror, "function", strerror)
        self.winerror, self.strerror = winerror, strerror


class Overlapped:
    """`pywintypes.OVERLAPPED`: the offset of a lock in two halves."""

    Offset = 0
    OffsetHigh = 0


def lock_file_ex(handle: int, flags: int, low: int, high: int, place: Overlapped) -> None:
    """LockFileEx, by a lock of the open file (fcntl(2), F_OFD_SETLK)."""
    kind = fcntl.F_WRLCK if flags & _EXCLUSIVE else fcntl.F_RDLCK
    start, length = place.Offset + (place.OffsetHigh << 32), low + (high << 32)
    command = fcntl.F_OFD_SETLK if flags & _FAIL_IMMEDIATELY else fcntl.F_OFD_SETLKW
    try:
        fcntl.fcntl(handle, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        number = 33 if error.errno in (errno.EAGAIN, errno.EACCES) else 1
        raise Error(number, os.strerror(error.errno or 0) if number == 33 else error.strerror or "") from error


class Acl:
    """A PyACL: entries in the order in which they were added."""

    def __init__(self, *entries: tuple[tuple[int, int], int, str]) -> None:
        self.entries = list(entries)

    # the names of pywin32's functions
    def AddAccessAllowedAceEx(self, _revision: int, flags: int, rights: int, sid: str) -> None:  # noqa: N802
        self.entries.append(((0, flags), rights, sid))

    def GetAceCount(self) -> int:  # noqa: N802
        return len(self.entries)

    def GetAce(self, number: int) -> tuple[tuple[int, int], int, str]:  # noqa: N802
        return self.entries[number]


class Descriptor(NamedTuple):
    """A PySECURITY_DESCRIPTOR."""

    owner: str
    acl: Acl | None

    def GetSecurityDescriptorOwner(self) -> str:  # noqa: N802
        return self.owner

    def GetSecurityDescriptorDacl(self) -> Acl | None:  # noqa: N802
        return self.acl


def private() -> Acl:
    """The list of a file in a user's profile: the user, SYSTEM, Administrators."""
    return Acl(((0, 0x10), FULL, "S-1-5-18"), ((0, 0x10), FULL, "S-1-5-32-544"), ((0, 0x10), FULL, OWN))


def as_windows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Descriptor]:
    """Let smtpsetup take the branches for Windows. Returns the lists of paths; a path that is not there is private."""
    lists: dict[str, Descriptor] = {}

    def set_info(path: str, _kind: int, _what: int, _owner: None, _group: None, acl: Acl, _sacl: None) -> None:
        lists[os.fspath(path)] = Descriptor(OWN, acl)

    modules: dict[str, dict[str, object]] = {
        "msvcrt": {"get_osfhandle": lambda handle: handle},
        "pywintypes": {"error": Error, "OVERLAPPED": Overlapped},
        "win32con": {"LOCKFILE_FAIL_IMMEDIATELY": _FAIL_IMMEDIATELY, "LOCKFILE_EXCLUSIVE_LOCK": _EXCLUSIVE},
        "win32file": {"LockFileEx": lock_file_ex},
        "win32api": {"GetCurrentProcess": lambda: -1},
        "ntsecuritycon": {"FILE_ALL_ACCESS": FULL},
        "win32security": {
            "OWNER_SECURITY_INFORMATION": 1,
            "DACL_SECURITY_INFORMATION": 4,
            "PROTECTED_DACL_SECURITY_INFORMATION": 0x8000_0000,
            "OBJECT_INHERIT_ACE": 1,
            "CONTAINER_INHERIT_ACE": 2,
            "ACL_REVISION": 2,
            "SE_FILE_OBJECT": 1,
            "TOKEN_QUERY": 8,
            "TokenUser": 1,
            "ACL": Acl,
            "GetFileSecurity": lambda path, _what: lists.get(os.fspath(path), Descriptor(OWN, private())),
            "SetNamedSecurityInfo": set_info,
            "ConvertSidToStringSid": str,
            "ConvertStringSidToSid": str,
            "OpenProcessToken": lambda _process, _access: -2,
            "GetTokenInformation": lambda _token, _what: (OWN, 0),
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "platform", "win32")
    return lists
