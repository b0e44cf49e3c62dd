"""Signals that end a program wait for steps that must be completed, and for nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading, time
from smtpsetup.state import signals

def step(hold):
    with signals.deferral() as hold_signals:
        if hold:
            hold_signals()
        print("begun", flush=True)
        time.sleep(0.6)  # the step, in which the signal arrives
        print("kept", flush=True)

def run(where, hold):
    if where == "main":
        step(hold)
        return
    with signals.deferrable():
        thread = threading.Thread(target=step, args=(hold,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)

try:
    run(sys.argv[1], sys.argv[2] == "hold")
    print("through", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
of_term, of_int = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
print(of_term is signal.SIG_DFL, of_int is signal.default_int_handler, flush=True)
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
"""


def run(where: str, hold: str, number: signal.Signals | None, times: int = 1) -> tuple[int, list[str]]:
    """The exit code and output of a program that gets a signal during its step."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, where, hold], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        for _time in range(times if number else 0):
            process.send_signal(number or 0)
        out, _err = process.communicate(timeout=20)
    return process.returncode, out.splitlines()


AS_BEFORE = ["True True", "set()"]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_step_without_a_signal_restores_the_signal_handlers(where: str) -> None:
    assert run(where, "hold", None) == (0, ["kept", "through", *AS_BEFORE])


@pytest.mark.matrix
@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_waits_for_the_end_of_the_step_and_arrives_once(where: str, times: int) -> None:
    assert run(where, "hold", signal.SIGINT, times) == (0, ["kept", "interrupted", *AS_BEFORE])


@pytest.mark.matrix
@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminating_signal_waits_for_the_end_of_the_step(where: str, number: signal.Signals) -> None:
    assert run(where, "hold", number) == (-number, ["kept"])


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_outside_a_step_arrives_at_once(where: str, number: signal.Signals) -> None:
    assert run(where, "", number) == (-number, [])


def test_an_ignored_signal_stays_ignored() -> None:
    program = PROGRAM.replace("def step", "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\ndef step", 1)
    with subprocess.Popen(
        [sys.executable, "-c", program, "thread", "hold"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=20)[0].splitlines() == ["kept", "through", *AS_BEFORE]
