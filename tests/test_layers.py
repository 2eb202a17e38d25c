"""Who may import whom, and how large a room may be: read from the source, nothing is imported.

Imports inside functions and under TYPE_CHECKING count for layers: a lower layer must not know a higher one, whenever it
looks it up. They do not count for cycles, since they do not run when a module is imported.
"""

import ast
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = ("hybridlib", "reproduction")
# From the bottom up; a module imports what stands on its own line or above it.
LIBRARY = (
    ("hybridlib.languages", "hybridlib.files", "hybridlib.progress", "hybridlib.errors", "hybridlib.devices"),
    ("hybridlib.data",),
    ("hybridlib.encoding",),
    ("hybridlib.evaluation",),
    ("hybridlib.debiasing",),
    ("hybridlib.integrations",),
    # Beside the others rather than above them: it needs the first two lines only, and none of the others needs it.
    ("hybridlib.training",),
    ("hybridlib.commands",),
    ("hybridlib.cli",),
)
TRAINING_NEEDS = (*LIBRARY[0], "hybridlib.data",
                  "hybridlib.training")
REPRODUCTION = (
    ("reproduction.workspace",),
    # Run folders are files on a disk: those who write some need not know what a system is.
    ("reproduction.published", "reproduction.run.folder"),
    ("reproduction.sources", "reproduction.miracl"),
    ("reproduction.run",),
    ("reproduction.findings",),
    ("reproduction.commands",),
)
MOST_LINES, MOST_METHODS = 400, 12
# Classes with more public methods, each with its reason.
LARGE_CLASSES = {
    "reproduction.run.store.Store": "one method per thing that is kept: model, losses, facts, ranks, embeddings, means",
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules():
    """All modules of both packages: a dict of name to (path, syntax tree)."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(path): (path, ast.parse(path.read_text("utf-8"), str(path))) for path in paths}


def imports(nodes):
    """The names that import statements among syntax nodes bring, as ``package.module`` or ``package.module.name``."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_project(names):
    """The modules of the project among imported names: ``hybridlib.files.atomic`` is ``hybridlib.files``."""
    found = set()
    for name in names:
        if name.split(".")[0] in PACKAGES:
            found.add(name if name in modules() else name.rpartition(".")[0])
    assert found <= set(modules()), found - set(modules())
    return found


def all_imports(module):
    return of_project(imports(ast.walk(modules()[module][1])))


def run_at_import(tree):
    """The statements of a module that run when it is imported: no function bodies, nothing under TYPE_CHECKING."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            stack += getattr(node, "orelse", [])
        else:
            stack += ast.iter_child_nodes(node)


def within(module, place):
    return module == place or module.startswith(f"{place}.")


def layer_of(module, layers):
    """Number of the layer that names a module most closely; None for a package's own face."""
    found = [(len(place), number) for number, layer in enumerate(layers) for place in layer if within(module, place)]
    return max(found)[1] if found else None


def upward(layers, package):
    """Imports within a package that go up its layers."""
    wrong = []
    for module in modules():
        own = layer_of(module, layers)
        if not within(module, package) or own is None:
            continue
        wrong += [f"{module} imports {other}" for other in sorted(all_imports(module))
                  if within(other, package) and (layer_of(other, layers) is None or layer_of(other, layers) > own)]
    return wrong


def test_every_module_has_a_layer():
    for package, layers in (("hybridlib", LIBRARY), ("reproduction", REPRODUCTION)):
        without = [module for module in modules() if within(module, package) and layer_of(module, layers) is None]
        assert without == [package], "its face, which brings names from everywhere"
    named = [place for layer in (*LIBRARY, *REPRODUCTION) for place in layer]
    assert set(named) <= set(modules()) and len(modules()) > 50


def test_the_library_knows_nothing_of_the_reproduction():
    wrong = [f"{module} imports {other}" for module in modules() if within(module, "hybridlib")
             for other in all_imports(module) if within(other, "reproduction")]
    assert not wrong


def test_the_library_imports_downwards_only():
    assert not upward(LIBRARY, "hybridlib")


def test_training_needs_only_data():
    wrong = [f"{module} imports {other}" for module in modules() if within(module, "hybridlib.training")
             for other in all_imports(module) if not any(within(other, place) for place in TRAINING_NEEDS)]
    assert not wrong


def test_the_reproduction_imports_downwards_only():
    assert not upward(REPRODUCTION, "reproduction")


def cycle(graph):
    """A cycle of a graph, as a list of its nodes; empty if it has none."""
    state, path = dict.fromkeys(graph, "new"), []

    def visit(node):
        state[node] = "open"
        path.append(node)
        for other in sorted(graph[node]):
            if state[other] == "open":
                return [*path[path.index(other):], other]
            if state[other] == "new" and (found := visit(other)):
                return found
        state[path.pop()] = "done"
        return []
    return next((found for node in graph if state[node] == "new" and (found := visit(node))), [])


def test_there_is_no_import_cycle():
    """To import ``a.b.c`` is to import ``a`` and ``a.b``, too, except for what lies in these itself."""
    graph = {}
    for module, (_, tree) in modules().items():
        graph[module] = set()
        for other in of_project(imports(run_at_import(tree))):
            parts = other.split(".")
            graph[module] |= {place for n in range(1, len(parts) + 1)
                              if not within(module, place := ".".join(parts[:n]))}
    assert graph["hybridlib.evaluation.report"] >= {"hybridlib.data", "hybridlib.evaluation.chance"}
    assert not cycle(graph)


def test_a_cycle_would_be_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def strings(tree):
    """Text in the source that is not documentation."""
    documentation = {id(node.body[0].value) for node in ast.walk(tree)
                     if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation]


@pytest.mark.parametrize("module", [module for module in modules() if within(module, "hybridlib")])
def test_the_library_reads_no_path_of_the_repository(module):
    path, tree = modules()[module]
    assert "__file__" not in [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    assert "parent.parent" not in path.read_text("utf-8")
    folders = {"configs", "figures", "notebooks", "reproduction", "results", "runs", "tests", "timings", "tools"}
    assert not [text for text in strings(tree) if folders & set(Path(text).parts[:1])]


def test_only_the_workspace_knows_where_the_repository_is():
    knowing = [module for module, (_, tree) in modules().items()
               if any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(tree))]
    assert knowing == ["reproduction.workspace"]


def test_no_module_is_long():
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, (path, _) in modules().items()}
    assert not {module: length for module, length in lengths.items() if length > MOST_LINES}


def public(nodes):
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")]


def test_no_class_has_many_public_methods():
    """Properties count: they are doors to the same room."""
    large = set()
    for module, (_, tree) in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and len(public(node.body)) > MOST_METHODS:
                large.add(f"{module}.{node.name}")
    assert large == set(LARGE_CLASSES)


def without_annotation(function):
    """What a function leaves open: its arguments without a type, and "return"."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *filter(None, (arguments.vararg,
                                                                                            arguments.kwarg))]
    open_ = [argument.arg for argument in every if argument.annotation is None]
    # Without a type by custom: the first argument of a method, and what a constructor returns.
    return [x for x in open_ if x not in ("self", "cls")] + ["return"] * (
        function.returns is None and function.name != "__init__")


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_public_is_annotated(package):
    """Functions of a module and methods of its classes, constructors and operators included."""
    found = {}
    for module, (_, tree) in modules().items():
        if not within(module, package):
            continue
        for node in public(tree.body):
            methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)
                       and (not inner.name.startswith("_") or inner.name.endswith("__"))
                       ] if isinstance(node, ast.ClassDef) else [node]
            found |= {f"{module}.{node.name}.{inner.name}": without_annotation(inner) for inner in methods}
    assert len(found) > 50
    assert not {name: missing for name, missing in found.items() if missing}
