"""What a file of Python says of its functions, without running any of it."""

import ast


class Misfit(Exception):
    """The function that is wanted is not there as it must be; `line` is 0 where no line is to blame."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def examine(text: str, file: str, wanted: str, signature: str) -> None:
    """Raises SyntaxError, and Misfit where it is sure that there is no plain function `wanted` of three arguments."""
    module = ast.parse(text, file)
    found: ast.stmt | None = None
    names: list[str] = []
    for statement in module.body:
        defined = _defined(statement)
        if defined is None:  # it may define anything
            return
        if wanted in defined:
            found = statement
        names += defined if isinstance(statement, ast.FunctionDef) else ()
    if found is None:
        there = ", ".join(names) or "none"
        raise Misfit(0, f"has no function {wanted} (there is {there}): write `def {wanted}{signature}` there, or "
                        "`function:` here")  # fmt: skip
    if isinstance(found, ast.AsyncFunctionDef):
        raise Misfit(found.lineno, f"{wanted} is no plain function: write `def {wanted}{signature}`")
    if isinstance(found, ast.FunctionDef) and not found.decorator_list and not _takes_three(found.args):
        raise Misfit(found.lineno, f"{wanted} can't be called with three arguments: write `def {wanted}{signature}`")


def _defined(statement: ast.stmt) -> list[str] | None:
    """The names that it defines; None where that can't be told."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
        return None if "*" in names else names
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Assert | ast.Pass):
        return [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
    return None


def _takes_three(arguments: ast.arguments) -> bool:
    count = len(arguments.posonlyargs) + len(arguments.args)
    required = count - len(arguments.defaults)
    alone = any(default is None for default in arguments.kw_defaults)
    return required <= 3 and (count >= 3 or arguments.vararg is not None) and not alone
