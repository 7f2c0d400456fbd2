"""What a job found, for people: one offline HTML file, and a few lines for the terminal."""

from adapt.report.page import write_report
from adapt.report.text import summary

__all__ = ["summary", "write_report"]
