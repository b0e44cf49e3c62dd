"""What flushes the outbox on macOS and Windows: texts for launchd and the Task Scheduler. Neither was tried yet."""

from __future__ import annotations

import subprocess

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text

LABEL = "smtpsetup-outbox"
_TASK = """<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Flush smtpsetup's outbox every minute</Description>
  </RegistrationInfo>
  <Triggers>
    <TimeTrigger>
      <Repetition><Interval>PT1M</Interval></Repetition>
      <StartBoundary>2026-01-01T00:00:00</StartBoundary>
    </TimeTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
  </Settings>
  <Actions>
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def launch_agent(argv: list[str], variables: dict[str, str]) -> str:
    """The property list of a launchd agent that runs a command every minute (launchd.plist(5))."""
    import plistlib  # for macOS only

    agent = {"Label": LABEL, "ProgramArguments": argv, "StartInterval": 60, "RunAtLoad": True}
    return plistlib.dumps({**agent, "EnvironmentVariables": variables} if variables else agent).decode()


def task(argv: list[str], variables: dict[str, str]) -> str:
    """The XML of a Windows task that runs a command every minute. Raises SmtpsetupError.

    https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema. A task has no variables, so with any the
    command is run by cmd, which has no quotes for a percent sign or a quotation mark: those are refused.
    """
    from xml.sax.saxutils import escape  # for Windows only

    command, arguments = argv[0], subprocess.list2cmdline(argv[1:])
    if variables:
        for text in (*variables.values(), *argv):
            if not text.isprintable() or set(text) & set('%"'):
                raise SmtpsetupError(
                    "config.invalid",
                    _('A path with a percent sign or a quotation mark cannot stand in a task: "{path}"').format(
                        path=plain_text(text)
                    ),
                )
        settings = "".join(f'set "{name}={value}"&& ' for name, value in variables.items())
        quoted = " ".join(f'"{word}"' for word in argv)
        command, arguments = "cmd.exe", f'/d /s /c "{settings}{quoted}"'
    return _TASK.format(command=escape(command), arguments=escape(arguments))
