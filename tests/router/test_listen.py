"""Addresses: parse them, bind them, say who holds them."""

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.listen import Address, bind, bound, connects, holder
from telemetry.errors import ConfigError

ANY = Address(host="127.0.0.1", port=0)


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "host:", "host:-1", "host:65536", "host:8o", "host:\u0661", "::1:80"],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--gateway: .*write it like"):
        Address.parse(text, where="--gateway")


@given(host=st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), port=st.integers(0, 65_535))
def test_an_address_is_written_as_it_was_read(host: str, port: int) -> None:
    text = f"{host}:{port}"
    assert str(Address.parse(text, where="x")) == text


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("localhost:80", "http://localhost:80"),
    ],
)
def test_a_client_is_told_an_address_it_can_call(text: str, url: str) -> None:
    assert Address.parse(text, where="x").url == url


def test_port_0_becomes_the_port_that_was_got() -> None:
    with bind(ANY, where="--gateway") as sock:
        got = bound(sock, ANY)
        assert got.port == sock.getsockname()[1] != 0
        assert connects(got, timeout_seconds=5)
    assert not connects(got, timeout_seconds=5)


def test_a_taken_port_names_its_holder_where_that_can_be_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is already in use") as caught:
            bind(Address(host="127.0.0.1", port=port), where="--console")
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in caught.value.message
    assert caught.value.hint == "stop that process, or choose another port with --console"


def test_nobody_holds_a_free_port() -> None:
    with bind(ANY, where="x") as sock:
        port = sock.getsockname()[1]
    assert holder(port) is None


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "a" * 300])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"use 127.0.0.1 for this machine only"):
        bind(Address(host=host, port=0), where="--gateway")


def test_localhost_is_bound_where_ipv4_clients_find_it() -> None:
    with bind(Address(host="localhost", port=0), where="x") as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
