from dfplan.benchmarks.reporting.markdown import format_header, format_row


def test_a_row_has_its_cells_between_bars():
    assert format_row("a", "b") == "| a | b |"


def test_a_header_aligns_the_first_column_to_the_left_and_all_others_to_the_right():
    assert format_header("agent", "return", "success") == ["| agent | return | success |", "| --- | ---: | ---: |"]
