"""`read_models` of what servers answer to GET /v1/models."""

import pytest

from headgate.fleet.endpoint import Served
from headgate.fleet.read import read_models


def test_bases_and_adapters_of_vllm_are_read():
    body = b"""{"object": "list", "data": [
        {"id": "base", "object": "model", "root": "/models/base", "parent": null, "max_model_len": 1024},
        {"id": "food", "object": "model", "root": "/adapters/food", "parent": "base", "permission": [{}]}]}"""
    assert read_models(body) == (
        Served("base", None, "/models/base", 1024),
        Served("food", "base", "/adapters/food"),
    )


def test_an_entry_needs_no_more_than_an_id():
    assert read_models(b'{"data": [{"id": "m"}]}') == (Served("m"),)


def test_fields_of_unexpected_types_count_as_absent():
    assert read_models(b'{"data": [{"id": "m", "parent": 3, "root": {}, "max_model_len": "4k"}]}') == (Served("m"),)


def test_of_entries_with_one_id_the_first_counts():
    assert read_models(b'{"data": [{"id": "m", "root": "a"}, {"id": "m", "root": "b"}]}') == (Served("m", None, "a"),)


def test_an_empty_list_is_a_list():
    assert read_models(b'{"data": []}') == ()


NO_LISTS = [b"", b"<html>", b"[]", b"{}", b'{"data": 1}', b'{"data": [{"id": 1}]}', b'{"data": [{}]}']


@pytest.mark.parametrize("body", NO_LISTS)
def test_what_is_no_list_of_models_is_said_to_be_none(body):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are msgspec's
        read_models(body)
