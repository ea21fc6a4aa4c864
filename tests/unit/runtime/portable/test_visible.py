"""D24: a shown text has no character that commands a terminal, and the escapes can be read."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.errors import Raised, Remote
from flyte_images_runtime.portable.visible import visible


@given(st.text(alphabet=st.characters(codec=None, categories=["Cc", "Cf", "Cs", "Lu", "Zl", "Zp"])))
def test_no_control_character_is_left(text: str) -> None:
    """D24"""
    shown = visible(text)
    assert not [
        character
        for character in shown
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\t\n"
    ]
    assert not set(shown) & set("\u202a\u202e\u2066\u200e\x9b")
    assert visible(shown) == shown


def test_an_error_of_a_task_shows_its_class_its_message_and_its_traceback_as_text() -> None:
    """D24"""
    remote = Remote(type="E\x1b]0;t\x07", message="\x1b[2J", traceback="File\x9b6n")
    error = Raised(remote, task="t")
    assert str(error) == r"task `t` raised E\x1b]0;t\x07: \x1b[2J"
    assert error.note.endswith(r"File\x9b6n")
    assert error.remote.message == "\x1b[2J", "data stays as it is"
