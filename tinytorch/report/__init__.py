"""Lays a record out: a table in the terminal, JSON, and one HTML page that needs nothing else. Measures nothing."""

from tinytorch.report.files import prepare_folder, save
from tinytorch.report.page import page
from tinytorch.report.terminal import show

__all__ = ["page", "prepare_folder", "save", "show"]
