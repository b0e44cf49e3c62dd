"""Many messages to one account's server, over few connections that are renewed when the server ends them."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING

from smtpsetup.core.errors import NoTokenError, SmtpsetupError
from smtpsetup.core.failure import Kind, TransportError
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.diagnose import diagnose
from smtpsetup.message.delivery import UnreadableMessageError
from smtpsetup.sending.login import logged_in
from smtpsetup.sending.send_one import SendResult, failed, result_of
from smtpsetup.state import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.core.model import Secret
    from smtpsetup.message.delivery import Delivery, Outcome
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.transport import Session

_LOGIN_SECONDS = 90.0
_LAST_SECONDS = 15.0  # for replies that are awaited when a run is stopped
_WAIT_SECONDS = 1.0  # Windows delivers Ctrl-C only between waits
_DEAD_CONNECTIONS = 3  # in a row that ended before any reply to a message; then a run gives up
# messages in a row that ended a connection each; then it is the server's fault, and more logins could lock the account
_BREAKERS = 25
_CLOSING = 421
_FORBIDDEN = 403
_MESSAGE_STAGES = (Stage.MAIL, Stage.RCPT, Stage.DATA)


class Run:
    """What a run depends on, shared by its connections.

    `on_result` is called for each delivery that has a result, by one thread at a time. `seconds_between` is the pause
    between messages; `pace`, where several machines share it, gives the turns (`Outbox.pace`). `suspects` are
    deliveries that were being sent when a connection ended on which no message had got a reply: they may have caused
    that.

    When there are no more messages, a connection whose last one was accepted is kept open for as long as
    `wait_for_more` waits; it returns whether there are more. Then `deliveries` must go on where it had ended.
    """

    def __init__(  # noqa: PLR0913  what batch and flush each choose
        self,
        context: Context,
        secret: Secret | None,
        on_result: Callable[[Delivery, SendResult], None],
        *,
        connections: int = 1,
        seconds_between: float = 0.0,
        pace: Callable[[float], float] | None = None,
        wait_for_more: Callable[[], bool] = bool,
    ) -> None:
        self.context = context
        self.secret = secret
        self.on_result = on_result
        self.connections = connections
        self.seconds_between = seconds_between
        self.pace = pace
        self.wait_for_more = wait_for_more
        self.suspects: list[Delivery] = []
        self.stop = threading.Event()

    def renewed(self, secret: Secret) -> None:
        """Open further connections with this access token: the server has refused the one before."""
        self.secret = secret


class Deliveries:
    """An iterator that can go on after its end: then there may be more, which a generator could not give."""

    def __init__(self, take: Callable[[], Iterator[Delivery]]) -> None:
        self._take = take
        self._current = take()

    def __iter__(self) -> Iterator[Delivery]:
        return self

    def __next__(self) -> Delivery:
        delivery = next(self._current, None)
        if delivery is None:
            self._current = self._take()
            raise StopIteration
        return delivery


def deliver(run: Run, deliveries: Iterator[Delivery]) -> SmtpsetupError | None:
    """Send messages until there are no more. Returns the error that stopped it before that, or None.

    A delivery without a result has not been sent. Raises what `deliveries` and `on_result` raise, and KeyboardInterrupt
    once the replies to messages that are being sent have come.
    """
    source = _Source(run, deliveries)
    with signals.deferrable() if run.context.account.oauth2 else nullcontext():  # a token may have to be renewed
        _work(run, source, run.connections)
        while source.has_left and not run.stop.is_set():  # given back after the other connections had ended
            _work(run, source, 1)
    if source.broken is not None:
        raise source.broken
    return source.error


def _work(run: Run, source: _Source, connections: int) -> None:
    """Run so many connections, each in a thread, so that Ctrl-C in this thread does not interrupt a message."""
    source.working = connections
    working: list[_Connection] = []
    try:
        for _number in range(connections):
            working.append(_Connection(run, source))
            threading.Thread(target=working[-1].work, daemon=True).start()
        for connection in working:
            while not connection.end.wait(_WAIT_SECONDS):
                pass
    except BaseException:
        run.stop.set()
        last = time.monotonic() + _LAST_SECONDS
        for connection in working:
            if connection.is_logged_in:  # another one has no message under way
                connection.end.wait(max(0.0, last - time.monotonic()))
        raise


class _Source:
    """Gives the connections their messages, and collects the results."""

    def __init__(self, run: Run, deliveries: Iterator[Delivery]) -> None:
        self.error: SmtpsetupError | None = None
        self.broken: BaseException | None = None
        self.has_accepted = False  # of any message
        self.working = 0  # connections that have not ended
        self._run = run
        self._deliveries = deliveries
        self._given_back: deque[Delivery] = deque()
        self._put_last: deque[Delivery] = deque()
        self._taking = threading.RLock()
        self._telling = threading.RLock()
        self._next_start = 0.0

    @property
    def has_left(self) -> bool:
        """Whether a connection has given back messages."""
        return bool(self._given_back or self._put_last)

    def take(self) -> Delivery | None:
        """The next message, once its turn has come; None when there are no more or the run is stopped."""
        delivery = self._next()
        if delivery is not None and self._run.seconds_between:
            self._run.stop.wait(self._seconds_until_turn(self._run.seconds_between))
            if self._run.stop.is_set():
                self.give_back([delivery])
                return None
        return delivery

    def _next(self) -> Delivery | None:
        with self._taking:
            if self._run.stop.is_set():
                return None
            if self._given_back:
                return self._given_back.popleft()
            delivery = next(self._deliveries, None)
            return self._put_last.popleft() if delivery is None and self._put_last else delivery

    def _seconds_until_turn(self, between: float) -> float:
        """For how long the next message has to wait for its turn."""
        with self._taking:
            if self._run.pace:
                return self._run.pace(between)
            start = max(time.monotonic(), self._next_start)
            self._next_start = start + between
        return max(0.0, start - time.monotonic())

    def give_back(self, deliveries: list[Delivery]) -> None:
        """Return messages that were taken and not tried."""
        with self._taking:
            self._given_back.extendleft(reversed(deliveries))

    def put_last(self, delivery: Delivery) -> None:
        """Send a message after all others: it may have caused the end of a connection."""
        with self._taking:
            self._run.suspects.append(delivery)
            self._put_last.append(delivery)

    def finish(self, delivery: Delivery, result: SendResult) -> None:
        """Report the result of a message. A limit of the provider stops the run."""
        with self._telling:
            self.has_accepted = self.has_accepted or bool(result.accepted)
            self._run.on_result(delivery, result)
        if result.error and result.error.is_limit and not result.accepted:
            self.give_up(result.error)

    def leave(self) -> None:
        """Note that a connection has ended."""
        with self._telling:
            self.working -= 1

    def break_off(self, error: BaseException) -> None:
        """Stop the run for an unexpected error, which `deliver` raises."""
        with self._telling:
            self.broken = self.broken or error
            self._run.stop.set()

    def give_up(self, error: SmtpsetupError) -> None:
        """Stop all connections; the first error is kept."""
        with self._telling:
            self.error = self.error or error
            self._run.stop.set()


class _Connection:
    """Sends messages over one connection at a time, and opens a new one when it ends."""

    def __init__(self, run: Run, source: _Source) -> None:
        self._run = run
        self._source = source
        self._taken: deque[Delivery] = deque()  # messages without an outcome
        self._late: deque[tuple[Delivery, SendResult]] = deque()  # results that are not reported yet
        self._through = 0  # messages that got a reply on this connection
        self._dead = 0  # connections in a row without a reply to a message
        self._was_closed = False  # the connection before was ended with 421
        self._is_surplus = False  # the server may accept only the other connections
        self.is_logged_in = False
        self.end = threading.Event()

    def work(self) -> None:
        """Send until there are no more messages or the run is stopped; then set `end`."""
        try:
            while not (self._run.stop.is_set() or self._is_surplus) and (first := self._source.take()) is not None:
                self._taken.append(first)
                self._connect_and_send()
        except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
            self._source.break_off(error)
        finally:
            self._source.leave()
            self.end.set()

    def _connect_and_send(self) -> None:
        self._through = 0
        reached = False
        try:
            run = self._run
            with logged_in(run.context, run.secret, seconds=_LOGIN_SECONDS, on_new_token=run.renewed) as session:
                reached = self.is_logged_in = True
                if self._run.stop.is_set():
                    self._source.give_back(list(self._taken))
                    return
                self._send(session)
        except UnreadableMessageError as error:
            first = self._taken.popleft()
            self._give_back_taken()
            self._source.finish(first, SendResult(self._run.context.account.name, first.message_id, error=error))
        except TransportError as error:
            self._lost(error, reached=reached)
        except SmtpsetupError as error:
            if reached and not isinstance(error, NoTokenError):
                raise
            # nobody can log in: there is no token, or the account's settings cannot be used
            self._give_back_taken()
            self._source.give_up(error)
        finally:
            self.is_logged_in = False

    def _give_back_taken(self) -> None:
        self._source.give_back(list(self._taken))
        self._taken.clear()

    def _send(self, session: Session) -> None:
        is_usable = self._send_available(session)
        while is_usable and not self._run.stop.is_set() and self._run.wait_for_more():
            is_usable = self._send_available(session)

    def _send_available(self, session: Session) -> bool:
        """Send the messages that there are. Returns whether the session can take more: the last one was accepted."""
        lockstep = bool(self._run.seconds_between)
        is_usable = True
        try:
            for outcome in session.deliver_all(self._feed(), lockstep=lockstep):
                delivery = self._taken.popleft()
                self._through += 1
                self._dead = 0
                result = self._result(delivery, outcome)
                is_usable = result.error is None
                self._late.append((delivery, result))
                if result.error:
                    self._finish()
                if self._run.stop.is_set():  # no further message is begun
                    self._give_back_taken()
                    session.close()
                    return False
        finally:
            self._finish()
        return is_usable

    def _finish(self) -> None:
        """Report results. Those of accepted messages are delayed until the server is busy with the next message."""
        while self._late:
            self._source.finish(*self._late.popleft())

    def _feed(self) -> Iterator[Delivery]:
        """The messages for this connection: what it has taken, then more."""
        yield from list(self._taken)
        while True:
            self._finish()
            delivery = self._source.take()
            if delivery is None:
                return
            self._taken.append(delivery)
            yield delivery

    def _result(self, delivery: Delivery, outcome: Outcome | TransportError) -> SendResult:
        if isinstance(outcome, TransportError):
            return failed(self._run.context, delivery, outcome)
        return result_of(self._run.context, delivery, outcome)

    def _lost(self, error: TransportError, *, reached: bool) -> None:
        """Handle the end of the connection. Messages after the current one, which were not tried, go over a new one."""
        taken, self._taken = list(self._taken), deque()
        if not taken:
            return
        first, others = taken[0], taken[1:]
        self._dead = 0 if self._through else self._dead + 1
        if not (reached and error.failure.stage in _MESSAGE_STAGES):
            if reached and _is_forbidden(error) and self._set_apart(first, error):
                self._source.give_back(others)
                return
            self._source.give_back(taken)
            if not reached and self._source.working > 1:  # the server may accept only the other connections
                self._is_surplus = True
                return
            self._give_up(error)
            return
        was_closed, self._was_closed = self._was_closed, _is_closing(error)
        if not self._through and _is_closing(error) and self._explained(error).is_limit:
            self._source.give_back(taken)  # a limit of the provider, whatever the message
            self._give_up(error)
            return
        if self._is_to_blame(first, error, was_closed=was_closed):
            self._source.give_back(others)
            self._source.finish(first, failed(self._run.context, first, error))
            if self._dead >= _BREAKERS:
                self._give_up(error)
            return
        if self._through:
            self._source.give_back(taken)  # the server ends connections after so many messages
        else:
            self._source.give_back(others)
            self._source.put_last(first)
        if self._dead >= _DEAD_CONNECTIONS:
            self._give_up(error)

    def _set_apart(self, delivery: Delivery, error: TransportError) -> bool:
        """Go on without a message that an API refuses as it refuses all of an account, until others are refused, too.

        Returns whether the run can go on.
        """
        if self._dead >= _DEAD_CONNECTIONS:
            return False
        if not any(delivery is suspect for suspect in self._run.suspects):
            self._source.put_last(delivery)
            return True
        if self._source.has_accepted:  # so it is about this message alone
            self._source.finish(delivery, failed(self._run.context, delivery, error))
        return self._source.has_accepted

    def _is_to_blame(self, first: Delivery, error: TransportError, *, was_closed: bool) -> bool:
        """Whether the current message ended the connection, so that it gets that result and is not tried again."""
        reply = error.failure.reply
        if error.failure.is_unknown or (reply is not None and reply.code != _CLOSING):
            return True
        if any(first is suspect for suspect in self._run.suspects):
            return True
        if error.failure.stage is Stage.MAIL:
            return False  # the server has not seen the message
        return reply is None or (was_closed and not self._through)  # 421 twice, and no reply to a message between them

    def _give_up(self, error: TransportError) -> None:
        self._source.give_up(self._explained(error))

    def _explained(self, error: TransportError) -> SmtpsetupError:
        return diagnose(error.failure, self._run.context.account, self._run.context.find_provider())


def _is_forbidden(error: TransportError) -> bool:
    """Whether an API says that it is not allowed: to the account, or to this message."""
    return (
        error.failure.kind is Kind.HTTP and error.failure.reply is not None and error.failure.reply.code == _FORBIDDEN
    )


def _is_closing(error: TransportError) -> bool:
    return error.failure.reply is not None and error.failure.reply.code == _CLOSING
