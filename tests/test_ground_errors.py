from dfplan.ground import errors


def test_the_error_of_an_unknown_name_lists_similar_names():
    error = errors.unknown_name("maze", "maze2d-lrage", ["maze2d-large", "maze2d-umaze"])
    assert "did you mean maze2d-large" in str(error)


def test_the_error_lists_all_names_if_none_is_similar():
    assert "known are a, b" in str(errors.unknown_name("agent", "zzz", ["b", "a"]))


def test_the_reason_of_another_error_is_its_first_line_without_a_stop():
    assert errors.find_reason(ValueError("not this.\nbut that")) == "not this"
    assert errors.find_reason(KeyError()) == "KeyError"
