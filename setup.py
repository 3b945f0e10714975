"""Packages of the four import names; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

kernel_packages = ["copt_kernels", *(f"copt_kernels.{name}" for name in find_packages("kernels"))]

setup(
    packages=[
        *find_packages(include=["copt_d2", "copt_d2.*"]),
        *kernel_packages,
        *("copt_tools", "copt_configs"),
    ],
    package_dir={
        "copt_d2": "copt_d2",
        "copt_kernels": "kernels",
        "copt_tools": "tools",
        "copt_configs": "configs",
    },
    package_data={
        "copt_d2": ["engine/*.json", "evaluation/report/*.json", "text/templates/*.json"],
        "copt_configs": ["**/*.yaml"],
    },
)
