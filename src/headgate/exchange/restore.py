"""Give the answer back the model name that the client asked for, wherever the bytes were cut.

Only real JSON is touched: inside a JSON string every quote is escaped, so `"model":"…"` can't stand there.
"""

import json
import re


class Restorer:
    """Edits one answer's body. Event streams go line by line, so no finished event waits for the next one."""

    def __init__(self, served: str, asked: str, *, lines: bool) -> None:
        names = {json.dumps(served).encode(), json.dumps(served, ensure_ascii=False).encode()}
        # JSON may escape the slash: "meta-llama\/Llama"
        names |= {name.replace(b"/", rb"\/") for name in names}
        self._find = re.compile(rb'("model"\s*:\s*)(?:%s)' % b"|".join(re.escape(name) for name in sorted(names)))
        self._asked = rb"\g<1>" + json.dumps(asked).encode().replace(b"\\", rb"\\")
        self._lines = lines
        # Longer than any match with up to 16 blanks in it: what is held back can't hide half a match.
        self._hold = max(map(len, names)) + len(b'"model":') + 16
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What may be sent now."""
        text = self._kept + data
        if self._lines:
            cut = text.rfind(b"\n") + 1
            self._kept = text[cut:]
            return self._find.sub(self._asked, text[:cut]) if cut else b""
        text = self._find.sub(self._asked, text)
        cut = max(0, len(text) - self._hold)
        self._kept = text[cut:]
        return text[:cut]

    def end(self) -> bytes:
        """The rest."""
        text, self._kept = self._kept, b""
        return self._find.sub(self._asked, text)
