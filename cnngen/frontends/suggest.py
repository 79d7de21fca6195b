"""The remedy for a word that is not known: the nearest one that is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(word: str, known: Iterable[str], introduction: str = "known are") -> str:
    """``did you mean 'x'?``, or the list of what is known where nothing is near."""
    options = list(known)
    folded = {option.casefold(): option for option in options}
    if near := difflib.get_close_matches(word[:100].casefold(), folded, n=1, cutoff=0.6):
        return f"did you mean {folded[near[0]]!r}?"
    listed = ", ".join(sorted(options)[:30]) + (", ..." if len(options) > 30 else "")
    return f"{introduction} {listed}" if options else "there are none yet"
