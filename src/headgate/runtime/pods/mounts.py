"""Where do mounted paths lie? A process on the host sees no mounts: paths that start with one are rewritten. Pure."""

import re
from collections.abc import Callable, Mapping


def rewriter(mounts: Mapping[str, str]) -> Callable[[str], str]:
    """A function that rewrites every path in a text that lies under a mount, to where it really is.

    `mounts` is mountPath → real path. The longest mountPath wins; only whole path components match (`/data` is not
    in `/database` nor in `/old/data`); `--flag=/data/x`, `a:/data/x`, `file:///data/x` and paths inside JSON or a
    shell line match too, a URL's path does not.
    """
    real = {path.rstrip("/"): place for path, place in mounts.items() if path.rstrip("/")}
    if not real:
        return lambda text: text
    alternatives = "|".join(re.escape(path) for path in sorted(real, key=len, reverse=True))
    pattern = re.compile(rf"(?:(?<=file://)|(?<![\w./~)}}-]))(?:{alternatives})(?![\w.-])")
    return lambda text: pattern.sub(lambda match: real[match[0]], text)
