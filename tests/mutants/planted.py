"""`python -m tests.mutants.planted NAME TEST...`: run tests in this process while one module has a planted bug.

Nothing on disk changes: the module's source is changed as it is imported. Ends with pytest's exit code, or `NOT_LOADED`
where no test imported the module.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

import pytest

from tests.mutants.mutant import ROOT, Mutant, load

NOT_LOADED = 70
#: The same examples, in the same order, each time.
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0")


class PlantedLoader(SourceFileLoader):
    """Compiles what `Mutant.planted` makes of the file; byte code is neither read nor written."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(ROOT / mutant.file))
        self._source = mutant.planted((ROOT / mutant.file).read_text(encoding="utf-8"))
        self.loaded = False

    def get_code(self, fullname: str) -> CodeType:
        self.loaded = True
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


class PlantedFinder(MetaPathFinder):
    """Comes before every other finder, for the one module."""

    def __init__(self, name: str, loader: PlantedLoader) -> None:
        self._name, self._loader = name, loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def main(name: str, tests: Sequence[str]) -> int:
    mutant = load()[name]
    loader = PlantedLoader(mutant)
    sys.meta_path.insert(0, PlantedFinder(mutant.module, loader))
    with tempfile.TemporaryDirectory() as examples:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = examples  # what fails here is nothing to try again elsewhere
        code = int(pytest.main([*OPTIONS, "-x", *tests]))
    return code if loader.loaded else NOT_LOADED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
