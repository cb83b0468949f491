"""Files that are written whole."""

from __future__ import annotations

import os

import pytest

from linkcast.files import sha256, write_whole


def test_a_hash_is_that_of_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(b"abc") == sha256(tmp_path / "abc") == expected


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_whole(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_on_has_the_old_file_and_who_opens_it_the_new(tmp_path):
    path = tmp_path / "manifest.json"
    write_whole(path, b"old")
    with open(path, "rb") as reader:
        write_whole(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
