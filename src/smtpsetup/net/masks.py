"""Masking of secrets in output, also where a server repeats them in another encoding."""

from __future__ import annotations

import base64
import re

_MASK = "***"
_PIECE = 6  # characters of a secret that reveal it; shorter pieces occur in ordinary words
_SHORT = 4  # characters; a shorter secret is masked only where it is a whole word, or it would mask parts of most words
_LONG = 200  # characters of a secret; of a longer one, pieces do not overlap
_CACHED_TEXTS = 50
_ALIGNMENTS = 3  # base64 encodes groups of three bytes, so a secret inside other data has three forms


class Masks:
    """The secrets to mask."""

    def __init__(self) -> None:
        self._secrets: list[str] = []
        self._pieces: dict[int, set[str]] = {}  # by length
        self._seen: dict[str, str] = {}  # a server gives the same reply to every message

    def add(self, secret: str) -> None:
        """Mask this secret from now on: whole, in pieces, and as base64, hexadecimal or percent-encoded data."""
        self._secrets.append(secret)
        self._seen.clear()
        data = secret.encode()
        for skipped in range(_ALIGNMENTS):
            part = data[skipped:]
            encoded = base64.b64encode(part[: len(part) // 3 * 3]).decode()
            self._add_pieces(encoded, min(2 * _PIECE, max(_PIECE, len(encoded))))
        self._add_pieces(data.hex(), min(2 * _PIECE, max(_PIECE, len(data.hex()))))
        for piece in (secret.casefold(), *re.findall(r"[\x21-\x7e]+", secret.casefold())):
            self._add_pieces(piece, _PIECE)

    def applied(self, text: str) -> str:
        """The text with the secrets masked, and every word that contains a piece of one."""
        if not self._pieces:
            return text
        if text not in self._seen:
            if len(self._seen) >= _CACHED_TEXTS:
                self._seen.clear()
            self._seen[text] = self._without_secrets(text)
        return self._seen[text]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            if len(secret) < _SHORT:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
            else:
                text = text.replace(secret, _MASK)
        return re.sub(r"\S+", lambda word: _MASK if self._reveals_secret(word[0]) else word[0], text)

    def _add_pieces(self, text: str, length: int) -> None:
        step = 1 if len(text) < _LONG else length  # a few characters of a long token reveal nothing
        self._pieces.setdefault(length, set()).update(
            text[start : start + length] for start in range(0, len(text) - length + 1, step)
        )

    def _reveals_secret(self, word: str) -> bool:
        forms = [word, word.casefold()]
        if "%" in word:
            from urllib.parse import unquote  # 2 ms, for a rare case

            forms.append(unquote(word).casefold())
        return any(
            form[start : start + length] in pieces
            for form in forms
            for length, pieces in self._pieces.items()
            for start in range(len(form) - length + 1)
        )
