"""The state directory and the files in it: private to their owner, which is checked before every use."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# O_BINARY: Windows would write a line end as two bytes
_ADDED_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_OTHERS = 0o022  # write bits of group and others
_OVERFLOW_USER = 65534  # the owner of files from outside a user namespace (user_namespaces(7))


class UnsafePathError(OSError):
    """A directory or a file that another user could change or has created (`filename`), and why (`strerror`)."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(0, reason, path)


def prepare(directory: str) -> None:
    """Make a directory with mode 0700, whatever the umask is, and check it. Raises UnsafePathError, OSError.

    A root process takes the owner's user id first, so that its files belong to the owner, and a symbolic link that the
    owner has made leads only to what the owner may access.
    """
    path = os.path.abspath(directory)
    become_owner_of(path)
    make(path)
    if sys.platform == "win32":
        _check_windows(path)
        return
    if os.getuid() == 0 != os.geteuid() and os.lstat(path).st_uid == 0:
        raise UnsafePathError(
            "root has made it in another user's directory: give it to that user with `chown -R`", path
        )
    check(path)


def check(directory: str) -> None:
    """Raise UnsafePathError if another user could change or replace the directory."""
    path = os.path.abspath(directory)
    if sys.platform == "win32":
        _check_windows(path)
        return
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise UnsafePathError("it is a symbolic link", path)
    for place in dict.fromkeys((*_upwards(path), *_upwards(os.path.realpath(path)))):
        info = os.lstat(place)
        if info.st_uid not in (0, os.geteuid()) and not _is_unknown_here(info.st_uid):
            raise UnsafePathError("it belongs to another user", place)
        if stat.S_ISLNK(info.st_mode):
            continue
        # in a sticky directory such as /tmp nobody can move the files of others; each file is checked, too
        is_sticky = bool(info.st_mode & stat.S_ISVTX)
        if info.st_mode & _OTHERS and not is_sticky and not _is_own_group(info):
            raise UnsafePathError("others can write there", place)


def open_file(path: str, flags: int) -> int:
    """A handle to a file, created with mode 0600 if `flags` contain O_CREAT; symbolic links are not followed.

    Raises UnsafePathError for a file that another user could change, OSError.
    """
    try:
        handle = os.open(path, flags | _ADDED_FLAGS, 0o600)
    except OSError as error:
        if os.path.islink(path):
            raise UnsafePathError("it is a symbolic link", path) from error
        raise
    try:
        _check_file(os.fstat(handle), path, refuse_hard_links=True)
    except BaseException:
        os.close(handle)
        raise
    return handle


def check_file(path: str) -> None:
    """Raise UnsafePathError for a file that another user could change. It need not exist."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    _check_file(info, path)


def _check_file(info: os.stat_result, path: str, *, refuse_hard_links: bool = False) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise UnsafePathError("it is a symbolic link", path)
    if not stat.S_ISREG(info.st_mode):
        raise UnsafePathError("it is not a regular file", path)
    if sys.platform == "win32":
        _check_list(path, is_above=False)
        return
    if info.st_uid not in (0, os.geteuid()):
        raise UnsafePathError("it belongs to another user", path)
    if info.st_mode & _OTHERS:
        raise UnsafePathError("others can write to it", path)
    if refuse_hard_links and info.st_nlink > 1:
        raise UnsafePathError("it has a second name (a hard link)", path)


def _check_windows(directory: str) -> None:
    """Raise UnsafePathError if the lists let another user change or replace a directory on Windows."""
    if os.path.islink(directory):
        raise UnsafePathError("it is a symbolic link", directory)
    for place in dict.fromkeys((*_upwards(directory), *_upwards(os.path.realpath(directory)))):
        _check_list(place, is_above=place not in (directory, os.path.realpath(directory)))


def _check_list(path: str, *, is_above: bool) -> None:
    from smtpsetup.state import windows_acl  # only on its platform

    if windows_acl.others_have(path, windows_acl.REPLACE if is_above else windows_acl.WRITE):
        raise UnsafePathError("others can write there" if is_above else "others can write to it", path)


def _upwards(path: str) -> Iterator[str]:
    """A path and all directories above it."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


def make(directory: str) -> None:
    """Make the missing directories of a path, each with mode 0700 (`os.makedirs` uses the umask). Raises OSError."""
    for place in reversed(list(_upwards(os.path.abspath(directory)))):
        if not os.path.isdir(place):
            try:
                os.mkdir(place, 0o700)
                os.chmod(place, 0o700)  # a umask may mask the owner's bits, too
                make_private(place)
            except FileExistsError:
                if not os.path.isdir(place):  # another process may have made it
                    raise


def make_private(path: str) -> None:
    """On Windows, where a mode says nothing, let only this user use a new file or directory. Raises OSError."""
    if sys.platform == "win32":
        from smtpsetup.state import windows_acl  # only on its platform

        windows_acl.make_private(path)


def become_owner_of(directory: str, *, for_good: bool = False) -> None:
    """Make a root process run as the first owner, other than root, on the path to a directory. Raises OSError.

    With `for_good` it cannot become root again, since it will obey what that user has written.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    for place in reversed(list(_upwards(os.path.abspath(directory)))):
        try:
            owner = os.lstat(place)
        except OSError:
            return
        if owner.st_uid != 0 and not _is_unknown_here(owner.st_uid):
            _become(owner, place, for_good=for_good)
            return


@contextmanager
def as_root_again() -> Iterator[None]:
    """Give a process that started as root root's rights within the block, for files that root has named itself."""
    if sys.platform == "win32" or os.getuid() != 0 or os.geteuid() == 0:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    try:
        yield
    finally:
        if os.getuid() == 0:  # not if it has given up root for good meanwhile
            os.setegid(group)
            os.seteuid(user)


def _become(owner: os.stat_result, place: str, *, for_good: bool) -> None:
    """Run as the owner of `place`; `for_good` gives up the real user id, too.

    Raises UnsafePathError if that user cannot read this program.
    """
    if sys.platform == "win32":
        return
    import pwd  # only for root in the directory of another user

    groups = os.getgroups()
    archive = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = archive if os.path.isfile(archive) else __file__  # a zip file, or this file in a directory
    try:
        entry = pwd.getpwuid(owner.st_uid)
        group = entry.pw_gid
        os.initgroups(entry.pw_name, group)
    except KeyError:
        group = owner.st_gid
        os.setgroups([])
    os.setegid(group)
    os.seteuid(owner.st_uid)
    can_read = os.access(program, os.R_OK, effective_ids=True) and os.access(os.__file__, os.R_OK, effective_ids=True)
    if can_read and not for_good:
        return
    os.seteuid(0)
    if not can_read:  # modules that are not loaded yet could not be imported
        os.setegid(0)
        os.setgroups(groups)
        raise UnsafePathError(
            "its owner cannot read this smtpsetup: run, as the owner, one that is installed for the whole machine",
            place,
        )
    os.setregid(group, group)
    os.setreuid(owner.st_uid, owner.st_uid)


def _is_unknown_here(uid: int) -> bool:
    """Whether this is not a user, but the id by which a user namespace shows all users outside it."""
    if uid != _OVERFLOW_USER:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _is_own_group(info: os.stat_result) -> bool:
    """Whether only the group may write and this user is its only member, as on systems with umask 002."""
    if sys.platform == "win32" or info.st_mode & stat.S_IWOTH:
        return False
    import grp  # rarely needed
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(info.st_gid)
    except KeyError:
        return False
    return user.pw_gid == info.st_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
