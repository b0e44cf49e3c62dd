"""The explanations of all error codes that `diagnose` gives. Other codes are raised with texts of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.diagnosis.api_explanations import API_EXPLANATIONS
from smtpsetup.diagnosis.connection_explanations import CONNECTION_EXPLANATIONS
from smtpsetup.diagnosis.login_explanations import LOGIN_EXPLANATIONS
from smtpsetup.diagnosis.mail_explanations import MAIL_EXPLANATIONS
from smtpsetup.diagnosis.oauth_explanations import SIGN_IN_EXPLANATIONS

if TYPE_CHECKING:
    from smtpsetup.diagnosis.explanation import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    **CONNECTION_EXPLANATIONS,
    **LOGIN_EXPLANATIONS,
    **SIGN_IN_EXPLANATIONS,
    **MAIL_EXPLANATIONS,
    **API_EXPLANATIONS,
}
