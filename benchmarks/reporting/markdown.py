"""Formats tables in Markdown."""


def format_row(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def format_header(*titles: str) -> list[str]:
    """Return the first two lines of a table: the first column is left-aligned, all others are right-aligned."""
    return [format_row(*titles), format_row("---", *["---:"] * (len(titles) - 1))]
