"""What setup.cfg cannot express; all other metadata is there."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build import build


class CleanBuild(build):
    """Deletes an earlier `build/lib` first, or the wheel would hold the modules that have been deleted since."""

    def run(self):
        if Path(self.build_lib).parent == Path(self.build_base):
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    # The folder configs/ of the repository is installed inside the package.
    packages=[*find_packages(include=["tfvoice", "tfvoice.*"]), "tfvoice.configs"],
    package_dir={"tfvoice.configs": "configs"},
    cmdclass={"build": CleanBuild},
)
