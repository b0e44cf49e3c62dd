"""Flushing the outbox every minute, with a systemd user timer or cron."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_UNAVAILABLE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.state import private_dir

_UNIT = "smtpsetup-outbox"
_RELAY_UNIT = "smtpsetup-relay"  # it sends what waits, too
_REMINDER = "flush-looked-for-"  # the prefix of a file name that ends in the day
_UNTRIED = ("launchd", "schtasks")  # the texts for them are printed and not installed
_SECONDS = 20.0  # for systemctl and crontab, which answer at once or hang


@dataclass(frozen=True, slots=True)
class Plan:
    """What to set up: `files` (path, content), or a `crontab` line. `by_hand` is the next command."""

    scheduler: str
    files: tuple[tuple[str, str], ...]
    crontab: str
    by_hand: str


def program() -> str:
    """The command of `smtpsetup` with its path, quoted for the system's shell: cron's PATH may lack it."""
    return subprocess.list2cmdline(program_words()) if sys.platform == "win32" else shlex.join(program_words())


def program_words() -> list[str]:
    """The words of the command of `smtpsetup`."""
    archive = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.isfile(archive):  # python -m zipapp
        return [sys.executable, archive]
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "smtpsetup")
    if os.path.basename(sys.argv[0]) == "smtpsetup" and os.access(beside, os.X_OK):
        return [beside]
    found = shutil.which("smtpsetup")
    return [found] if found else [sys.executable, "-m", "smtpsetup"]


def how_to() -> str:
    """The command that has the outbox flushed; where it is only printed what to do, without --install."""
    return "smtpsetup outbox schedule" if sys.platform in ("win32", "darwin") else "smtpsetup outbox schedule --install"


def environment(config: str | None) -> dict[str, str]:
    """The variables with which a scheduled run finds the same files as this one; `config` is what --config named."""
    is_path = {
        "SMTPSETUP_CONFIG": True,
        "SMTPSETUP_STATE_DIR": True,
        "SMTPSETUP_OUTBOX": False,
        "SMTPSETUP_NAMESERVER": False,
        "XDG_CONFIG_HOME": False,
        "XDG_STATE_HOME": False,
        "SSL_CERT_FILE": True,
        "PGPASSFILE": True,
        "PGSERVICEFILE": True,
        "PGSSLROOTCERT": True,
    }
    variables = {
        name: os.path.abspath(os.path.expanduser(os.environ[name])) if is_path[name] else os.environ[name]
        for name in is_path
        if os.environ.get(name)
    }
    return variables | ({"SMTPSETUP_CONFIG": os.path.abspath(config)} if config else {})


def _refuse_control_characters(text: str) -> None:
    """Raise SmtpsetupError for a text that would start a new line in a crontab or a unit."""
    if not text.isprintable():
        raise SmtpsetupError(
            "config.invalid",
            _("A path with a line break cannot stand in a crontab or a unit: {path}").format(path=plain_text(text)),
        )


def exec_start(command: str) -> str:
    """The ExecStart line of a unit, which expands percent and dollar signs also in quotes (systemd.service(5)).

    Raises SmtpsetupError.
    """
    _refuse_control_characters(command)
    return f"ExecStart={command.replace('%', '%%').replace('$', '$$')}\n"


def unit_environment(variables: dict[str, str]) -> str:
    """Variables as lines of a systemd unit (systemd.exec(5), systemd.syntax(7)). Raises SmtpsetupError."""
    for value in variables.values():
        _refuse_control_characters(value)
    quoted = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for name, value in variables.items()
    }
    return "".join(f'Environment="{name}={value}"\n' for name, value in quoted.items())


def crontab_command(variables: dict[str, str], command: str) -> str:
    """A command for a crontab, where a plain percent sign is a line break (crontab(5)). Raises SmtpsetupError."""
    line = "".join(f"{name}={shlex.quote(value)} " for name, value in variables.items()) + command
    _refuse_control_characters(line)
    return line.replace("%", "\\%")


def plan(scheduler: str | None, *, config: str | None) -> Plan:
    """What to set up, with the scheduler that this machine has. Raises SmtpsetupError where it has none."""
    variables = environment(config)
    command = f"{program()} outbox flush"
    chosen = scheduler or _usual()
    if chosen is None:
        raise SmtpsetupError(
            "config.invalid",
            _("This machine has neither a systemd of yours nor cron."),
            hints=(_("Let whatever starts your scripts run this every minute: `{command}`.").format(command=command),),
            exit_code=EX_UNAVAILABLE,
        )
    if chosen in _UNTRIED:
        return _untried_plan(chosen, variables)
    if chosen == "cron":
        return Plan(chosen, (), f"* * * * * {crontab_command(variables, command)} # {_UNIT}", "crontab -e")
    head = "[Unit]\nDescription=Send what waits in smtpsetup's outbox\n\n[Service]\nType=oneshot\n"
    service = f"{head}{unit_environment(variables)}{exec_start(command)}"
    timer = (
        "[Unit]\nDescription=Flush smtpsetup's outbox every minute\n\n"
        "[Timer]\nOnStartupSec=1min\nOnUnitInactiveSec=1min\n\n[Install]\nWantedBy=timers.target\n"
    )
    files = tuple(zip(_unit_paths(), (service, timer), strict=True))
    return Plan(chosen, files, "", f"systemctl --user daemon-reload && systemctl --user enable --now {_UNIT}.timer")


def _unit_paths() -> tuple[str, str]:
    """The files of the service and of its timer."""
    directory = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "systemd", "user")
    return os.path.join(directory, f"{_UNIT}.service"), os.path.join(directory, f"{_UNIT}.timer")


def _usual() -> str | None:
    """The scheduler of this system."""
    if sys.platform == "win32":
        return "schtasks"
    if sys.platform == "darwin":
        return "launchd"
    return "systemd" if _has_systemd() else "cron" if shutil.which("crontab") else None


def _untried_plan(chosen: str, variables: dict[str, str]) -> Plan:
    """The file for launchd or the Windows Task Scheduler, and the command that reads it."""
    from smtpsetup.setup import other_schedulers  # only on their systems

    words = [*program_words(), "outbox", "flush"]
    if chosen == "launchd":
        path = os.path.expanduser(f"~/Library/LaunchAgents/{_UNIT}.plist")
        content = other_schedulers.launch_agent(words, variables)
        return Plan(chosen, ((path, content),), "", f"launchctl bootstrap gui/$(id -u) {shlex.quote(path)}")
    path = os.path.join(os.path.expanduser("~"), f"{_UNIT}.xml")
    content = other_schedulers.task(words, variables)
    return Plan(chosen, ((path, content),), "", f'schtasks /Create /TN {_UNIT} /XML "{path}"')


def install(planned: Plan) -> None:
    """Set it up, replacing an earlier set-up. Raises SmtpsetupError, after which new files are removed, or OSError."""
    if planned.scheduler in _UNTRIED:
        raise SmtpsetupError(
            "config.invalid",
            _(
                "smtpsetup does not set up {scheduler} itself, since that is untried: nothing flushes the outbox."
            ).format(scheduler=planned.scheduler),
            hints=(_("Set it up by hand: `{command}` prints what is needed.").format(command=how_to()),),
            exit_code=EX_UNAVAILABLE,
        )
    if planned.scheduler == "cron":
        kept = [line for line in _crontab().splitlines() if not _is_ours(line)]
        _write_crontab([*kept, planned.crontab])
        return
    there = [path for path, _content in planned.files if os.path.exists(path)]
    for path, content in planned.files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    try:
        _run(["systemctl", "--user", "daemon-reload"])
        _run(["systemctl", "--user", "enable", "--now", f"{_UNIT}.timer"])
    except SmtpsetupError:
        for path, _content in planned.files:
            if path not in there:
                os.unlink(path)
        raise


def uninstall() -> list[str]:
    """Remove the systemd timer and the crontab line. Returns the paths and lines. Raises SmtpsetupError, OSError."""
    try:
        return _remove_timer() + _remove_from_crontab()
    except SmtpsetupError as error:
        error.hints = ()  # those are about setting it up
        raise


def _remove_timer() -> list[str]:
    removed = [path for path in _unit_paths() if os.path.exists(path)]
    if removed:
        _run(["systemctl", "--user", "disable", "--now", f"{_UNIT}.timer"])
        for path in removed:
            os.unlink(path)
        _run(["systemctl", "--user", "daemon-reload"])
    return removed


def _remove_from_crontab() -> list[str]:
    lines = _crontab().splitlines() if shutil.which("crontab") else []
    removed = [line for line in lines if _is_ours(line)]
    if removed:
        _write_crontab([line for line in lines if line not in removed])
    return removed


def _is_ours(line: str) -> bool:
    """Whether `install` has written this line of a crontab."""
    return line.rstrip().endswith(f"# {_UNIT}")


def _write_crontab(lines: list[str]) -> None:
    _run(["crontab", "-"], "".join(f"{line}\n" for line in lines))


def _crontab() -> str:
    """The user's crontab, empty where there is none. Raises SmtpsetupError where it cannot be read."""
    try:
        return _run(["crontab", "-l"])
    except SmtpsetupError as error:
        if "no crontab for" in error.message:
            return ""
        raise


def claim_daily_reminder() -> bool:
    """Whether this process is today's first (UTC) to ask, and so checks that something flushes the outbox."""
    directory = paths.state_dir()
    if directory is None:
        return False
    today = f"{_REMINDER}{time.strftime('%Y-%m-%d', time.gmtime())}"
    try:
        os.close(private_dir.open_file(os.path.join(directory, today), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        for name in os.listdir(directory):
            if name.startswith(_REMINDER) and name != today:
                os.unlink(os.path.join(directory, name))
    except OSError:
        return False
    return True


def installed_scheduler() -> str | None:
    """The scheduler that flushes the outbox, or None."""
    if sys.platform == "win32":
        return "schtasks" if _UNIT in _run(["schtasks", "/Query", "/TN", _UNIT], may_fail=True) else None
    if sys.platform == "darwin" and _UNIT in _run(["launchctl", "list", _UNIT], may_fail=True):
        return "launchd"
    for unit, name in ((f"{_UNIT}.timer", "systemd"), (f"{_RELAY_UNIT}.service", "smtpsetup relay")):
        if (
            shutil.which("systemctl")
            and "enabled" in _run(["systemctl", "--user", "is-enabled", unit], may_fail=True).split()
        ):
            return name
    if shutil.which("crontab") and any(
        "outbox flush" in line and not line.startswith("#")
        for line in _run(["crontab", "-l"], may_fail=True).splitlines()
    ):
        return "cron"
    return None


def warnings(planned: Plan) -> list[str]:
    """Sentences for people about the limits of what was set up."""
    if planned.scheduler != "systemd":
        return []
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or ""
    if "yes" in _run(["loginctl", "show-user", user, "--property=Linger"], may_fail=True):
        return []
    return [_("It runs while you are logged in. So that it runs always: `loginctl enable-linger`.")]


def _has_systemd() -> bool:
    return bool(shutil.which("systemctl")) and os.path.exists(
        f"{os.environ.get('XDG_RUNTIME_DIR', '')}/systemd/private"
    )


def _run(argv: list[str], stdin: str = "", *, may_fail: bool = False) -> str:
    """The output of a system command. A failure raises SmtpsetupError, unless it `may_fail`."""
    try:
        done = subprocess.run(  # noqa: S603  fixed commands of the system
            argv,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if may_fail:
            return ""
        raise _failed(argv, reason_of(error) if isinstance(error, OSError) else str(error)) from error
    if done.returncode and not may_fail:
        raise _failed(argv, done.stderr)
    return done.stdout


def run_system_command(argv: list[str], *, hints: tuple[str, ...]) -> str:
    """The output of a system command. Raises SmtpsetupError with these hints."""
    try:
        return _run(argv)
    except SmtpsetupError as error:
        error.hints = hints
        raise


def _failed(argv: list[str], reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("`{command}` failed: {reason}").format(command=" ".join(argv), reason=plain_text(reason.strip())),
        hints=(
            _("Set it up by hand: `smtpsetup outbox schedule --with {name}` prints what is needed.").format(
                name="cron" if argv[0] == "crontab" else "systemd"
            ),
        ),
        exit_code=EX_UNAVAILABLE,
    )
