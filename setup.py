"""What setup.cfg cannot express; all other metadata is there."""

import atexit
import shutil
import tempfile

from setuptools import find_packages, setup
from setuptools.command.build import build


class TemporaryBuild(build):
    """Builds in a temporary folder: in `build/`, modules that are deleted later would get into the next wheel."""

    def initialize_options(self):
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="tfvoice-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


setup(
    # The folder configs/ of the repository is installed inside the package.
    packages=[*find_packages(include=["tfvoice", "tfvoice.*"]), "tfvoice.configs"],
    package_dir={"tfvoice.configs": "configs"},
    cmdclass={"build": TemporaryBuild},
)
