"""The rules that map a failure to an error code: the first that fits decides.

Rules rely on stage, kind, codes and short phrases that several servers use. Where a number means different things at
different servers, words come first. The refusals in a provider's row are tried before these rules (`diagnose`).
"""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.api_rules import API_RULES
from smtpsetup.diagnosis.connection_rules import CONNECTION_RULES
from smtpsetup.diagnosis.login_rules import LOGIN_RULES
from smtpsetup.diagnosis.mail_rules import MAIL_RULES
from smtpsetup.diagnosis.rule import Rule
from smtpsetup.diagnosis.transaction_rules import TRANSACTION_RULES

RULES: tuple[Rule, ...] = (
    *API_RULES,
    *CONNECTION_RULES,
    *LOGIN_RULES,
    *TRANSACTION_RULES,
    *MAIL_RULES,
    # at any stage
    Rule("server.temporary", (Stage.DATA,), codes=(5,), phrase=r"(re)?try (again )?later|temporar"),
    Rule("server.shutting-down", codes=(421,)),
    Rule("server.temporary", codes=(4,)),
    Rule("server.refused", codes=(5,)),
    Rule("server.protocol-error"),
    Rule("server.protocol-error", kind=Kind.PROTOCOL_ERROR),
    Rule("connection.lost", kind=Kind.CLOSED),
    Rule("connection.lost", kind=Kind.TIMEOUT),
)
