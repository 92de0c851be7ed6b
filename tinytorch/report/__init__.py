"""Lays a record out: tables in the terminal, JSON, one HTML page that needs nothing else."""

from tinytorch.report.files import prepare_folder, save
from tinytorch.report.headline import banner, headline
from tinytorch.report.page import page
from tinytorch.report.slides import slides
from tinytorch.report.terminal import show

__all__ = ["banner", "headline", "page", "prepare_folder", "save", "show", "slides"]
