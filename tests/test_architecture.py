"""The shape of the library: rows of packages, small files, a test file each, help without TensorFlow."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice import tasks
from tfvoice.tts.duration_f0.data import ProsodyStatistics
from tfvoice.tts.vocoder.conditioning import F0Statistics

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "tfvoice").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
# What all commands share.
SHARED = ("__init__", "cluster_flags", "command", "decoder_flags", "flags", "signals")
COMMANDS = [f"cli.{path.stem}" for path in FILES if path.parent.name == "cli" and path.stem not in SHARED]

# What a package may import: what stands in the rows below it, and in its own row to its left. Modules of one package
# import each other without a circle.
ROWS = [
    "errors handlers hardware config lengths remote storage cache bootstrap keys compiled atomics products elementary",
    "audio text ctc ctc_lattice layers cluster",
    "models",
    "data",
    "checkpoints working_copy run training",
    "report",
    "asr generation tts",
    "tasks",
    "export serving converters",
    "cli",
]
PLACES = {name: (row, place) for row, names in enumerate(ROWS) for place, name in enumerate(names.split())}

# What has no behaviour has no test file of its own.
UNTESTED = {"tfvoice.errors", "tfvoice.compiled"}
# Tests of several modules at once.
JOINT = {
    "tests/test_architecture.py",
    "tests/test_walk.py",
    "tests/test_page.py",
    "tests/cli/test_languages.py",
    "tests/cli/test_toy_task.py",
    "tests/test_docs.py",
    "tests/test_init.py",
    "tests/test_python.py",
}
# What the extras install, by the names of the imports.
EXTRAS = {
    *("fastapi", "starlette", "grpc", "uvicorn", "websockets", "prometheus_client", "multipart"),
    *(
        "ai_edge_quantizer",
        "apache_beam",
        "s3fs",
        "gcsfs",
        "pyworld",
        "tf2onnx",
        "onnx",
        "onnxruntime",
        "tensorflow_io",
    ),
}
# Longer than a command should be: many flags, and a plan, a summary or several outputs to print.
LONG_COMMANDS = {"cli.convert", "cli.transcribe"}
# Commands whose module cannot be called like them: a keyword, and a name that tests/test_text.py needs.
SCRIPTS = {"cli.import_run": "import", "cli.texts": "text"}


def module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module(path): path for path in FILES}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
# Packages whose `__init__` is empty only hold their modules together.
MODULES = [name for name, tree in TREES.items() if tree.body]
each_module = pytest.mark.parametrize("name", MODULES)


def imported(name):
    """The modules of tfvoice that a module imports anywhere in it."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tfvoice")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            if node.module.split(".")[0] == "tfvoice":
                for alias in node.names:
                    deeper = f"{node.module}.{alias.name}"
                    yield deeper if deeper in SOURCES else node.module


def package(name):
    return name.split(".")[1] if "." in name else ""


@each_module
def test_a_module_imports_only_from_packages_below(name):
    if name == "tfvoice":
        return
    assert package(name) in PLACES, f"{name} is new: give its package a place in ROWS"
    for other in imported(name):
        if other == "tfvoice":
            continue
        assert PLACES[package(other)] <= PLACES[package(name)], f"{name} imports {other}, which does not stand below it"


def test_no_modules_import_each_other_in_a_circle():
    imports = {name: set(imported(name)) - {name} for name in MODULES}
    left = dict(imports)
    while ready := [name for name, others in left.items() if not others & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"a circle: {sorted(left)}"


@each_module
def test_a_module_is_small_and_has_a_docstring(name):
    text = SOURCES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    assert "keras.src" not in text
    assert ast.get_docstring(TREES[name])
    assert name.rsplit(".", 1)[-1] not in ("utils", "util", "helpers", "common", "misc")


@each_module
def test_functions_are_short_and_public_names_have_docstrings(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 55, node.name
    classes = [node for node in TREES[name].body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (TREES[name], *classes):
        for node in owner.body:
            # `build` is Keras's to explain.
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and node.name != "build"
            ):
                assert ast.get_docstring(node), node.name


def test_file(name):
    parts = name.split(".")[1:]
    return "/".join(["tests", *parts[:-1], f"test_{parts[-1]}.py"])


test_file.__test__ = False


@each_module
def test_a_module_has_a_test_file(name):
    if SOURCES[name].name != "__init__.py" and name not in UNTESTED:
        assert (ROOT / test_file(name)).is_file()


def test_a_test_file_has_its_module():
    known = {test_file(name) for name, path in SOURCES.items() if path.name != "__init__.py"} | JOINT
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert found <= known


def extras(node):
    """The packages that a statement imports and that only an extra installs."""
    if isinstance(node, ast.ImportFrom):
        return {node.module.split(".")[0]} & EXTRAS
    return {alias.name.split(".")[0] for alias in node.names} & EXTRAS if isinstance(node, ast.Import) else set()


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "tests").rglob("*.py")], ids=lambda path: path.stem)
def test_librosa_is_loaded_with_load_librosa(path):
    """Two processes that import it themselves at once can make it crash for good."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "librosa" not in names


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_test_file_is_skipped_without_the_extra_that_it_imports(path):
    skips = False
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        skips = skips or (isinstance(node, ast.Expr) and "importorskip" in ast.unparse(node))
        assert skips or not extras(node), ast.unparse(node)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_short_and_has_a_script(command):
    tree = TREES[f"tfvoice.{command}"]
    code = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.expr)}
    text = {
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    assert command in LONG_COMMANDS or len(code - text) <= 60
    script = f"tfvoice_{SCRIPTS.get(command, command.removeprefix('cli.'))}"
    assert f"  {script} --" in ast.get_docstring(tree), "its help shows a command to paste"
    assert len((ROOT / "bin" / script).read_text().splitlines()) <= 6
    assert f"bin/{script}\n" in (ROOT / "setup.cfg").read_text()


def test_help_does_not_import_tensorflow():
    names = ["tfvoice", *(f"tfvoice.{command}" for command in COMMANDS)]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    heavy = {"tensorflow", "keras", "librosa", "matplotlib", "jiwer", "scipy", "pandas", "apache_beam", "fsspec"}
    assert not heavy & set(loaded.split())


def model_of(path):
    return next(name for name in tasks.TASKS if path.stem.startswith(name))


def test_a_faithful_configuration_is_shipped():
    assert "wavenet_asr_faithful" in {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_builds(path):
    name = model_of(path)
    config = tasks.resolve(name, path.stem)
    assert config == tasks.resolve(name, str(path))
    of_data = {"sample_rate_hz": 16000, "letters": "abc", "phonemes": ["AH0", "B"]}
    of_data["statistics"] = dict.fromkeys(ProsodyStatistics._fields, 1.0)
    of_data["f0"] = dict.fromkeys(F0Statistics._fields, 1.0)
    run = tasks.of_model(name).run("none", config, info=of_data, training=True)
    assert run.model.count_params() > 0
    # Up to 350 MB, which refer to themselves.
    del run
    gc.collect()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_has_a_header_with_a_command(path):
    header = [line for line in path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if line.startswith("#")]
    assert len(header) >= 2
    assert any(f"tfvoice_train --model={model_of(path)} --config={path.stem} " in line for line in header)
