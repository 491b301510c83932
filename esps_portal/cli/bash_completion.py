"""click's completion for bash, from the line as it was typed.

bash splits words at each ``:`` and ``=``, and click joins the parts of 127.0.0.1:2867 with spaces.
click's function also drops backslashes, so a completed word without quotes would become several.
Importing this module replaces click's completion for bash.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, ClassVar

from click.shell_completion import BashComplete, add_completion_class, split_arg_string

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# A word as bash reads it, whose last quote may be open.
_WORD = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"?|'[^']*'?|[^\s\\"'])+""", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
# What a word without quotes needs a backslash before.
_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
# What is changed in click's script: the line is passed on, a backslash and a * are kept, and no
# space is put after "seconds=" and "delimited:".
_CHANGES = {
    "COMP_CWORD=$COMP_CWORD": 'COMP_CWORD=$COMP_CWORD COMP_LINE="${COMP_LINE:0:$COMP_POINT}"'
    ' COMP_WORDBREAKS="$COMP_WORDBREAKS"',
    "read type value": "read -r type value",
    "COMPREPLY+=($value)": 'COMPREPLY+=("$value"); [[ $value == *[=:] ]] && compopt -o nospace',
}


def _changed_template() -> str:
    template = BashComplete.source_template
    for old, new in _CHANGES.items():
        template = template.replace(old, new)
    return template


class LineBashComplete(BashComplete):
    """Reads the line up to the cursor instead of bash's words."""

    source_template: ClassVar[str] = _changed_template()

    # What bash does not replace of the word to complete; ``None``: the word has a quote.
    _kept: str | None = None

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one to complete, and that one."""
        if "COMP_LINE" not in os.environ:  # a completion script saved by an older version
            return super().get_completion_args()
        line = os.environ["COMP_LINE"]
        self._kept = _kept_part(_last_word(line), os.environ.get("COMP_WORDBREAKS", ""))
        # With one more letter there is always a last word, even if it is empty or an open quote.
        _, *before, last = split_arg_string(line + "x")
        return before, last[:-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion as bash puts it on the line."""
        if item.type == "plain" and self._kept is not None:
            item.value = _SPECIAL.sub(r"\\\g<0>", item.value).removeprefix(self._kept)
        return super().format_completion(item)


def _last_word(line: str) -> str:
    """Return the word at the end of a line, as it was typed; it may be empty."""
    words = list(_WORD.finditer(line))
    return words[-1][0] if words and words[-1].end() == len(line) else ""


def _kept_part(word: str, breaks: str) -> str | None:
    """Return the part of a word that comes before what bash replaces; ``None``: it has a quote."""
    # Of the same length, so that it shows where the word breaks.
    plain = _ESCAPED.sub("__", word)
    if "'" in plain or '"' in plain:
        return None
    end = max((plain.rfind(sign) + 1 for sign in "=:" if sign in breaks), default=0)
    # The option and its = are not part of the value.
    start = plain.find("=") + 1 if word.startswith("--") else 0
    return word[start:end]


add_completion_class(LineBashComplete)
