"""Packages of the two import names; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

kernel_packages = ["copt_kernels", *(f"copt_kernels.{name}" for name in find_packages("kernels"))]

setup(
    packages=[*find_packages(include=["copt_d2", "copt_d2.*"]), *kernel_packages],
    package_dir={"copt_d2": "copt_d2", "copt_kernels": "kernels"},
    package_data={
        "copt_d2": ["engine/*.json", "evaluation/report/*.json", "text/templates/*.json"]
    },
)
