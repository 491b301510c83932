"""click's completion for bash, of the line as it was typed.

bash takes a word apart at each ``:`` and ``=``, and click would join the parts of 127.0.0.1:2867
with spaces. Importing this module puts it in the place of click's.
"""

from __future__ import annotations

import os

from click.shell_completion import BashComplete, add_completion_class, split_arg_string


class WholeWordsBashComplete(BashComplete):
    """Reads the line up to the cursor, in place of bash's words."""

    source_template = BashComplete.source_template.replace(
        "COMP_CWORD=$COMP_CWORD", 'COMP_CWORD=$COMP_CWORD COMP_LINE="${COMP_LINE:0:$COMP_POINT}"'
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one."""
        if "COMP_LINE" not in os.environ:  # a script that click made, kept in a file
            return super().get_completion_args()
        # With a letter more there is always a last word, be it empty or in quotes that are open.
        _, *before, last = split_arg_string(os.environ["COMP_LINE"] + "x")
        return before, last[:-1]


add_completion_class(WholeWordsBashComplete)
