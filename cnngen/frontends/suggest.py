"""The remedy for a word that is not known: the nearest one that is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from cnngen.errors import brief

MAX_COMPARED = 500
"""Known words that are compared with an unknown one: each takes up to a millisecond."""


OTHER_NAMES = {
    "adaptiveavgpool": ("global_avg_pool",),
    "adaptivemaxpool": ("global_max_pool",),
    "bn": ("batch_norm",),
    "cat": ("concat",),
    "convtranspose": ("conv2d_transpose",),
    "deconv": ("conv2d_transpose",),
    "fc": ("dense",),
    "filters": ("filters", "units", "multiplier"),
    "gap": ("global_avg_pool",),
    "interpolate": ("upsample",),
    "kernelsize": ("kernel",),
    "linear": ("dense",),
    "multiply": ("mul",),
    "negativeslope": ("alpha",),
    "outchannels": ("filters",),
    "outfeatures": ("units",),
    "poolsize": ("kernel",),
    "resize": ("upsample",),
    "scalefactor": ("scale",),
    "size": ("kernel", "scale"),
    "rsqrt": ("pow",),
    "units": ("filters",),
    "view": ("reshape",),
    "zeropadding": ("pad",),
}
"""What frameworks call layers and fields, without case, underscores and `2d`, where likeness does not lead to ours."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word of `known` that `word` may have been meant to be, case aside."""
    # Names are at most 200 characters; what is longer, or begins otherwise where there is much to choose from, is
    # no slip of the finger.
    known = list(known)
    for ours in OTHER_NAMES.get(word.casefold().replace("_", "").removesuffix("2d"), ()):
        if ours in known:
            return ours
    options = [option for option in known if abs(len(option) - len(word)) <= 20]
    if len(options) > MAX_COMPARED:
        options = [option for option in options if option[:2].casefold() == word[:2].casefold()][:MAX_COMPARED]
    folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word[:200].casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def suggestion(word: str, known: Iterable[str], introduction: str = "known are") -> str:
    """``did you mean 'x'?``, or the list of what is known where nothing is near."""
    options = list(known)
    key, colon, value = word.partition(":")
    if colon and key in options:
        return f"write a space behind the colon: `{key}: {brief(value)}`"
    if word.endswith(")") and "(" not in word:
        return "write a list in square brackets: [3, 3]"
    if near := nearest(word, options):
        return f"did you mean {near!r}?"
    count = 30 if sum(map(len, options)) < 1000 else 8
    listed = ", ".join(brief(option) for option in sorted(options)[:count]) + (", ..." if len(options) > count else "")
    return f"{introduction} {listed}" if options else "there are none yet"
