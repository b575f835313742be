"""The text of a file of one's own → its declarations and the code behind each, nothing of it run.

The code of a name is the text of the file's top-level statements without the other declared functions, unless
what is kept mentions them. So a helper or a constant counts for all, and an edit of one augmentation changes no
other. Comments between functions and blank lines do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from auglens.data import knobs
from auglens.own.names import AUGMENTATION, KINDS, KNOBS, METRIC, PREFIXES, TAKEN, Declaration


def declarations(path: str, text: str, tree: ast.Module) -> dict[str, Declaration]:
    """By name. ValueError in one line, naming file, line, function and rule."""
    return Reader(path, text, tree).declarations()


class Reader:
    """One file's syntax tree, and what its decorators say."""

    def __init__(self, path: str, text: str, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        self.lines = text.split("\n")
        self.imported = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "auglens.own"
            for alias in node.names
        }

    def refuse(self, node: ast.stmt | ast.expr, what: str, rule: str) -> ValueError:
        return ValueError(f"{self.path}:{node.lineno}: {what}: {rule} (see docs/own.md)")

    def name_of(self, node: ast.expr) -> str | None:
        """What of auglens.own an expression names: `metric`, or `own.metric` after `from auglens import own`."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "own":
            return node.attr
        return None

    def declarations(self) -> dict[str, Declaration]:
        found: dict[str, tuple[str, ast.FunctionDef, ast.expr]] = {}
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                target = decorator.func if isinstance(decorator, ast.Call) else decorator
                kind = self.name_of(target)
                if kind not in KINDS:
                    continue
                what = f"{kind} {node.name}"
                if node not in self.tree.body or not isinstance(node, ast.FunctionDef):
                    raise self.refuse(node, what, "expected a plain function at the top level of the file")
                if node.name in found or self.defined(node.name) > 1:
                    raise self.refuse(node, what, "expected the name once and one decorator; rename it")
                self.check_name(kind, node)
                found[node.name] = (kind, node, decorator)
        codes = self.codes({name: node for name, (_, node, _) in found.items()})
        return {
            name: Declaration(kind, name, code=codes[name], **self.arguments(f"{kind} {name}", kind, decorator))
            for name, (kind, _, decorator) in found.items()
        }

    def defined(self, name: str) -> int:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return sum(isinstance(node, kinds) and node.name == name for node in self.tree.body)

    def check_name(self, kind: str, node: ast.FunctionDef) -> None:
        name, what = node.name, f"{kind} {node.name}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name):
            raise self.refuse(node, what, "expected a name of at most 60 letters, digits and _; rename it")
        if name in TAKEN[kind] or (kind == METRIC and name.startswith(PREFIXES)):
            raise self.refuse(node, what, "the name is auglens's own; choose a new one")

    def arguments(self, what: str, kind: str, decorator: ast.expr) -> dict[str, Any]:
        """The decorator's keywords as values; ValueError where one is missing, unknown, no literal or wrong."""
        needed = ("definition", "higher_is_closer") if kind == METRIC else ("definition",)
        known = (*needed, "knobs", "words") if kind == AUGMENTATION else needed
        call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
        given = {keyword.arg or "**": keyword.value for keyword in call.keywords}
        if call.args or not set(needed) <= set(given) <= set(known):
            got = ", ".join(["*"] * len(call.args) + list(given)) or "none"
            raise self.refuse(decorator, what, f"expected the keywords {', '.join(known)}, got {got}")
        values = {name: self.literal(f"{what}, {name}", value) for name, value in given.items()}
        definition = values["definition"]
        if not isinstance(definition, str) or not definition.strip():
            raise self.refuse(decorator, what, f"definition: expected a sentence, got {definition!r}")
        values["definition"] = " ".join(definition.split())
        words = values.get("words", 0)
        if type(words) is not int or not 0 <= words <= 4096:
            raise self.refuse(
                decorator, what, f"words: expected a whole number from 0 to 4096 per image, got {words!r}"
            )
        if type(values.get("higher_is_closer", False)) is not bool:
            raise self.refuse(decorator, what, "higher_is_closer: expected True or False")
        knobs = values.get("knobs", {}) or {}
        kinds = tuple(KNOBS.values())
        if not isinstance(knobs, dict) or not all(isinstance(knob, kinds) for knob in knobs.values()):
            raise self.refuse(decorator, what, 'knobs: expected {"name": Number("unit", low, high)} and the like')
        for name in knobs:
            if not isinstance(name, str) or not name.isidentifier():
                raise self.refuse(
                    decorator, what, f"knobs: expected a name of letters, digits and _, got {name!r}"
                )
        return values | ({"knobs": knobs} if kind == AUGMENTATION else {})

    def literal(self, what: str, node: ast.expr) -> Any:
        """A literal, in which Number, Range, Odd and Choice may stand."""
        if isinstance(node, ast.Dict) and None not in node.keys:
            keys = [self.literal(what, key) for key in node.keys if key is not None]
            return dict(zip(keys, (self.literal(what, value) for value in node.values), strict=True))
        kind = KNOBS.get(self.name_of(node.func) or "") if isinstance(node, ast.Call) else None
        try:
            if isinstance(node, ast.Call) and kind:
                keywords = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in node.keywords}
                return _knob(kind, [ast.literal_eval(argument) for argument in node.args], keywords)
            return ast.literal_eval(node)
        except (ValueError, TypeError):
            rule = "expected a literal, since it is read and not run"
            if kind:
                rule = f'expected {kind.__name__}("unit", low, high) of literals, low ≤ high'
            if kind is knobs.Choice:
                rule = 'expected Choice(("one", "another")) of words'
            raise self.refuse(node, what, f"{rule}, got {ast.unparse(node)[:60]!r}") from None

    def codes(self, nodes: Mapping[str, ast.FunctionDef]) -> dict[str, str]:
        """Per declared name the sha256 of its code, as the module's docstring says."""
        mentioned = {
            node: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            for node in self.tree.body
        }
        found = {}
        for name in nodes:
            left_out = set(nodes) - {name}
            while True:
                kept = [node for node in self.tree.body if not any(node is nodes[other] for other in left_out)]
                wanted = left_out & set().union(*(mentioned[node] for node in kept))
                if not wanted:
                    break
                left_out -= wanted
            texts = json.dumps([name, *(self.segment(node) for node in kept)])
            found[name] = hashlib.sha256(texts.encode()).hexdigest()
        return found

    def segment(self, node: ast.stmt) -> str:
        starts = [node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))]
        return "\n".join(self.lines[min(starts) - 1 : node.end_lineno])


def _knob(kind: type[Any], arguments: list[Any], keywords: dict[str, Any]) -> Any:
    made = kind(*arguments, **keywords)
    if isinstance(made, knobs.Choice):
        right = isinstance(made.words, tuple) and all(isinstance(word, str) for word in made.words or (0,))
    else:
        right = isinstance(made.unit, str) and made.unit != "" and made.low <= made.high
    if not right:
        raise ValueError(made)
    return made
