"""Lays a record out: tables in the terminal, JSON, one HTML page that needs nothing else."""

from tinytorch.report.files import prepare_folder, save
from tinytorch.report.page import page
from tinytorch.report.terminal import show

__all__ = ["page", "prepare_folder", "save", "show"]
