"""The book's program as the starter writes it, by import: right, but not a matrix form."""

from xpnet.book import Network

__all__ = ["Network"]
