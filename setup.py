"""What pyproject.toml cannot say: conf/ lies beside the package in a checkout and inside it in a wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["piva", "piva.*"]), "piva.conf"],
    package_dir={"piva.conf": "conf"},
    package_data={
        "piva.conf": ["**/*.yaml"],
        "piva.datasets": ["*.json"],
        "piva.noe": ["*.json", "*.txt"],
        "piva.report": ["*.j2", "*.css", "*.js"],
        "piva.toys": ["prior/**/*", "metric_networks/**/*"],
    },
)
