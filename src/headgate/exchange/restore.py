"""Give the answer back the model name that the client asked for, wherever the bytes were cut.

Only real JSON is touched: inside a JSON string every quote is escaped, so `"model":"…"` can't stand there.
"""

import json
import re

_BLANKS = 8  # on each side of the colon; JSON that is written with more is left alone


class Restorer:
    """Edits one answer's body. With `lines` (event streams) a line that is whole is never held back."""

    def __init__(self, served: str, asked: str, *, lines: bool) -> None:
        names = {json.dumps(served).encode(), json.dumps(served, ensure_ascii=False).encode()}
        # JSON may escape the slash: "meta-llama\/Llama"
        names |= {name.replace(b"/", rb"\/") for name in names}
        # In an event stream a line end is the end of the data: nothing is found across it, however it was cut.
        blanks = b"[ \\t%b]{0,%d}" % (b"" if lines else rb"\r\n", _BLANKS)
        any_name = b"|".join(re.escape(name) for name in sorted(names))
        self._find = re.compile(rb'("model"%b:%b)(?:%b)' % (blanks, blanks, any_name))
        self._asked = rb"\g<1>" + json.dumps(asked).encode().replace(b"\\", rb"\\")
        self._lines = lines
        # One less than the longest match: what is let go can't be the beginning of one.
        self._hold = max(map(len, names)) + len(b'"model":') + 2 * _BLANKS - 1
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What may be sent now."""
        text = self._find.sub(self._asked, self._kept + data)
        cut = max(0, len(text) - self._hold)
        if self._lines:
            cut = max(cut, text.rfind(b"\n") + 1)
        self._kept = text[cut:]
        return text[:cut]

    def end(self) -> bytes:
        """The rest."""
        text, self._kept = self._kept, b""
        return text
