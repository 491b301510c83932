"""click's completion for zsh, which goes on in the same word after ``seconds=`` and ``delimited:``.

click's function ends each word with a space, and closes its quote. Importing this module replaces
click's completion for zsh.
"""

from __future__ import annotations

from typing import ClassVar

from click.shell_completion import ZshComplete, add_completion_class

#: What is changed in click's script: what is to be continued is added apart, without a space.
CHANGES = {
    "    local -a completions\n": "    local -a completions\n    local -a begun\n",
    'completions+=("$key")': '[[ "$key" == *[=:] ]] && begun+=("$key") || completions+=("$key")',
    '    if [ -n "$completions" ]; then': """\
    if [ -n "$begun" ]; then
        compadd -U -V unsorted -S '' -a begun
    fi

    if [ -n "$completions" ]; then""",
}


def _changed_template() -> str:
    template = ZshComplete.source_template
    for old, new in CHANGES.items():
        template = template.replace(old, new)
    return template


class OpenZshComplete(ZshComplete):
    """Adds no space after a word that is to be continued."""

    source_template: ClassVar[str] = _changed_template()


add_completion_class(OpenZshComplete)
