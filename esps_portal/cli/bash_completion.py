"""click's completion for bash, from the line as it was typed.

bash splits words at each ``:`` and ``=``, and click joins the parts of 127.0.0.1:2867 with spaces.
Importing this module replaces click's completion for bash.
"""

from __future__ import annotations

import os
from typing import ClassVar

from click.shell_completion import BashComplete, add_completion_class, split_arg_string


class LineBashComplete(BashComplete):
    """Reads the line up to the cursor instead of bash's words."""

    source_template: ClassVar[str] = BashComplete.source_template.replace(
        "COMP_CWORD=$COMP_CWORD", 'COMP_CWORD=$COMP_CWORD COMP_LINE="${COMP_LINE:0:$COMP_POINT}"'
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one to complete, and that one."""
        if "COMP_LINE" not in os.environ:  # a completion script saved by an older version
            return super().get_completion_args()
        # With one more letter there is always a last word, even if it is empty or an open quote.
        _, *before, last = split_arg_string(os.environ["COMP_LINE"] + "x")
        return before, last[:-1]


add_completion_class(LineBashComplete)
