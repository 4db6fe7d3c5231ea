"""What the YAML parser's complaints mean to someone who wrote a manifest."""

from collections.abc import Mapping

import yaml

from headgate.api.fault import Fault

# What the parser says (libyaml's words, then those of PyYAML's own) → what is wrong, and what to do about it.
# {begun} is the line where the construct began.
_MEANINGS: Mapping[str, tuple[str, str]] = {
    "mapping values are not allowed": (
        "a second `: ` on this line, or a line indented too far",
        "write a value that contains `: ` in quotes, or align the line with its neighbours",
    ),
    "found a tab character": ("a tab cannot indent", "write spaces"),
    "could not find expected ':'": (
        "the key on line {begun} has no `:` after it",
        "write `key: value`, with a blank after the colon",
    ),
    "block sequence entries are not allowed": (
        "a list cannot begin on the line of its key",
        "write `- ` on the next line",
    ),
    "did not find expected '-' indicator": (
        "this line does not belong to the list that begins on line {begun}",
        "begin it with `- ` in the same column, or align it with the key above the list",
    ),
    "did not find expected ',' or ']'": (
        "the `[` of line {begun} is not closed",
        "write `]` after the last item, and `,` between two",
    ),
    "did not find expected ',' or '}'": (
        "the `{{` of line {begun} is not closed",
        "write `}}` after the last field, and `,` between two",
    ),
    "did not find expected key": (
        "this does not fit the mapping that begins on line {begun}",
        "align it with the mapping's other keys; a value that goes on after a quote stands in quotes as a whole",
    ),
    "expected <block end>": ("this does not fit what begins on line {begun}", "align it with its neighbours"),
    "unknown escape character": (
        "this backslash means nothing in double quotes",
        "write two backslashes, or use single quotes",
    ),
    "expected alphabetic or numeric character": ("a value cannot begin with `*` or `&`", "write it in quotes"),
    "did not find expected <document start>": (
        "this does not belong to the document before it",
        "write `---` on a line between two documents",
    ),
    "did not find expected comment or line break": ("text after `|` or `>`", "begin it on the next line"),
    "did not find expected hexdecimal number": (
        "a broken escape",
        "write four hexadecimal digits after the `u`, or the character itself",
    ),
    "did not find expected node content": (
        "a value is missing",
        "write one, or close the `[` or `{{` of line {begun}",
    ),
}

_UNCLOSED = "the quote opened on line {begun} is not closed: write the closing quote"


def explain(error: yaml.MarkedYAMLError, text: str, offset: int) -> Fault:
    """A fault for the parser's error; `offset` is the number of the text's first line."""
    mark = error.problem_mark or error.context_mark
    index = mark.index if mark else 0
    line = (mark.line if mark else 0) + offset
    begun = (error.context_mark.line if error.context_mark else line - offset) + offset
    problem = error.problem or ""
    if "{{" in _lines(text, error.context_mark.index if error.context_mark else index, index):
        return Fault((), "this is a template, not yet YAML: render it first (helm template)", line=line)
    return Fault((), _meaning(problem, error.context or "", text[index : index + 1]).format(begun=begun), line=line)


def _lines(text: str, start: int, end: int) -> str:
    """The line of the complaint, and the one before it if the construct began there."""
    first = text.rfind("\n", 0, max(start, text.rfind("\n", 0, end))) + 1
    return text[first : text.find("\n", end) if "\n" in text[end:] else len(text)]


def _meaning(problem: str, context: str, character: str) -> str:
    if problem.startswith("found character"):
        if character == "\t" or "'\\t'" in problem:
            return "a tab cannot indent: write spaces"
        return f"a value cannot begin with `{character.replace('{', '{{').replace('}', '}}')}`: write it in quotes"
    if "quoted scalar" in context and ("end of stream" in problem or "document indicator" in problem):
        return _UNCLOSED
    for words, (wrong, instead) in _MEANINGS.items():
        if words in problem:
            return f"{wrong}: {instead}"
    words = f"{problem} {context}".strip().replace("{", "{{").replace("}", "}}")
    return f"this is not YAML ({words}), from line {{begun}} on: correct it or write the value in quotes"
