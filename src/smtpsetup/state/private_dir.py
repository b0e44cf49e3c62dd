"""The state directory and the files in it.

Their owner's alone, which is looked at before anything there is believed or written.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OTHERS = 0o022  # write bits of group and others
_NO_SUCH_USER = 65534  # how a user namespace shows the owners that it does not know (user_namespaces(7))


class UnsafePathError(OSError):
    """A directory or a file that somebody else could change, or has put there.

    `filename` is which one, `strerror` why.
    """

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(0, reason, path)


def prepare(directory: str) -> None:
    """Make a directory for its owner alone, whatever the umask is, and check it. Raises UnsafePathError, OSError.

    A root process becomes the owner of the place first: what it leaves there is the owner's, and a link that the owner
    has put in its way leads it nowhere that the owner could not go.
    """
    path = os.path.abspath(directory)
    become_owner_of(path)
    make(path)
    if os.name != "posix":
        return
    if os.getuid() == 0 != os.geteuid() and os.lstat(path).st_uid == 0:
        raise UnsafePathError(
            "root has made it in another user's directory: give it to that user with `chown -R`", path
        )
    check(path)


def check(directory: str) -> None:
    """Raise UnsafePathError where somebody else could change the directory or put another one in its place."""
    path = os.path.abspath(directory)
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise UnsafePathError("it is a symbolic link", path)
    for place in dict.fromkeys((*_upwards(path), *_upwards(os.path.realpath(path)))):
        info = os.lstat(place)
        if info.st_uid not in (0, os.geteuid()) and not _is_unknown_here(info.st_uid):
            raise UnsafePathError("it belongs to another user", place)
        if stat.S_ISLNK(info.st_mode):
            continue
        # such as /tmp, where nobody can move what is another's; each file is looked at, too
        is_shared_place = bool(info.st_mode & stat.S_ISVTX)
        if info.st_mode & _OTHERS and not is_shared_place and not _is_own_group(info):
            raise UnsafePathError("others can write there", place)


def open_file(path: str, flags: int) -> int:
    """A handle to a file of the directory, made with mode 0600 where `flags` have O_CREAT.

    Raises UnsafePathError for one that is not ours alone.
    """
    try:
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o600)
    except OSError as error:
        if os.path.islink(path):
            raise UnsafePathError("it is a symbolic link", path) from error
        raise
    try:
        if os.name == "posix":
            _check_file(os.fstat(handle), path, is_only_name=True)
    except BaseException:
        os.close(handle)
        raise
    return handle


def check_file(path: str) -> None:
    """Raise UnsafePathError for a file that is there and is not ours alone."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if os.name == "posix":
        _check_file(info, path)


def _check_file(info: os.stat_result, path: str, *, is_only_name: bool = False) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise UnsafePathError("it is a symbolic link", path)
    if not stat.S_ISREG(info.st_mode):
        raise UnsafePathError("it is not a regular file", path)
    if info.st_uid not in (0, os.geteuid()):
        raise UnsafePathError("it belongs to another user", path)
    if info.st_mode & _OTHERS:
        raise UnsafePathError("others can write to it", path)
    if is_only_name and info.st_nlink > 1:
        raise UnsafePathError("it has a second name (a hard link)", path)


def _upwards(path: str) -> Iterator[str]:
    """A path and everything above it."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


def make(directory: str) -> None:
    """Make what is missing of a path, each directory for its owner alone.

    `os.makedirs` leaves those above to the umask. Raises OSError.
    """
    for place in reversed(list(_upwards(os.path.abspath(directory)))):
        if not os.path.isdir(place):
            try:
                os.mkdir(place, 0o700)
                os.chmod(place, 0o700)  # a umask may take from the owner, too
            except FileExistsError:
                if not os.path.isdir(place):  # and not another process that was first
                    raise


def become_owner_of(directory: str, *, for_good: bool = False) -> None:
    """Let a root process work as the first user but root on the way to a directory. Raises OSError.

    With `for_good` it cannot be root again: what that user has written is obeyed from then on.
    """
    if os.name != "posix" or os.geteuid() != 0:
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
    """For a process that was root when it began, be root for a while.

    For what root itself has named, such as its own password file.
    """
    if os.name != "posix" or os.getuid() != 0 or os.geteuid() == 0:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    try:
        yield
    finally:
        if os.getuid() == 0:  # and it has not become somebody for good meanwhile
            os.setegid(group)
            os.seteuid(user)


def _become(owner: os.stat_result, place: str, *, for_good: bool) -> None:
    import pwd  # only root in somebody else's directory comes here

    groups = os.getgroups()
    try:
        entry = pwd.getpwuid(owner.st_uid)
        group = entry.pw_gid
        os.initgroups(entry.pw_name, group)
    except KeyError:
        group = owner.st_gid
        os.setgroups([])
    os.setegid(group)
    os.seteuid(owner.st_uid)
    can_read = os.access(__file__, os.R_OK, effective_ids=True) and os.access(os.__file__, os.R_OK, effective_ids=True)
    if can_read and not for_good:
        return
    os.seteuid(0)
    if not can_read:  # what is not loaded yet could not be loaded any more
        os.setegid(0)
        os.setgroups(groups)
        raise UnsafePathError(
            "its owner cannot read this smtpsetup: run, as the owner, one that is installed for the whole machine",
            place,
        )
    os.setregid(group, group)
    os.setreuid(owner.st_uid, owner.st_uid)


def _is_unknown_here(uid: int) -> bool:
    """Whether this is no user, but how a user namespace shows everybody outside it."""
    if uid != _NO_SUCH_USER:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _is_own_group(info: os.stat_result) -> bool:
    """Whether only the group may write, and it has nobody but this user in it, as on systems whose umask is 002."""
    if info.st_mode & stat.S_IWOTH:
        return False
    import grp  # a rare case
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(info.st_gid)
    except KeyError:
        return False
    return user.pw_gid == info.st_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
