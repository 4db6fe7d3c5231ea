"""What the server is told of the client and of what it asked for: by whom, to which host, over what."""

import pytest
from playbook import Play, read, service, serving, to

from headgate.plan.plan import HeaderEdit, Rewrite


def asked(headers=None, *, host="gw.example:8080", line="GET /", scheme=b"http", http10=False, **route):
    play = Play(to("p", **route), p=service())
    play.site.scheme = scheme
    return read(play.ask(line, host=host, headers=headers, http10=http10))


@pytest.mark.parametrize(("before", "after"), [({}, "192.0.2.7"), ({"x-forwarded-for": "a, b"}, "a, b, 192.0.2.7")])
def test_the_client_is_put_behind_those_before_it(before, after):
    line = asked(before)
    assert line.headers["x-forwarded-for"] == after
    assert line.names.count("x-forwarded-for") == 1


def test_addresses_on_several_lines_become_one_line():
    line = asked([("x-forwarded-for", "a"), ("x-forwarded-for", "b")])
    assert (line.headers["x-forwarded-for"], line.names.count("x-forwarded-for")) == ("a, b, 192.0.2.7", 1)


@pytest.mark.parametrize("scheme", [b"http", b"https"])
def test_scheme_and_host_are_what_the_gateway_saw_whatever_the_client_says(scheme):
    line = asked({"x-forwarded-proto": "evil", "x-forwarded-host": "evil"}, scheme=scheme)
    assert line.headers["x-forwarded-proto"] == scheme.decode()
    assert line.headers["x-forwarded-host"] == "gw.example:8080"
    assert line.names.count("x-forwarded-proto") == line.names.count("x-forwarded-host") == 1


@pytest.mark.parametrize(
    "route", [{"rewrite": Rewrite(hostname="inner.example")}, {"request": HeaderEdit(set=(("Host", "inner.example"),))}]
)
def test_a_host_that_is_rewritten_is_still_told(route):
    line = asked(**route)
    assert (line.headers["host"], line.headers["x-forwarded-host"]) == ("inner.example", "gw.example:8080")


def test_a_route_may_say_otherwise():
    """Behind a load balancer that ends TLS, and nowhere else, HTTP is HTTPS."""
    edit = HeaderEdit(set=(("X-Forwarded-Proto", "https"),), remove=("X-Forwarded-For",))
    line = asked(request=edit)
    assert (line.headers["x-forwarded-proto"], line.names.count("x-forwarded-proto")) == ("https", 1)
    assert "x-forwarded-for" not in line.headers


def test_the_host_of_an_absolute_form_is_the_one_that_counts():
    line = asked(line="GET http://a.example/x", host="b.example")
    assert (line.headers["host"], line.headers["x-forwarded-host"]) == ("a.example", "a.example")


def test_an_old_client_without_a_host_has_none_to_tell():
    assert "x-forwarded-host" not in asked(host=None, http10=True).headers


def test_the_standard_header_is_not_begun_here():
    assert "forwarded" not in asked().headers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([("forwarded", "for=10.0.0.1")], 'for=10.0.0.1, for=192.0.2.7;host="gw.example:8080";proto=https'),
        (
            [("forwarded", "for=10.0.0.1"), ("forwarded", 'for="[::1]"')],
            'for=10.0.0.1, for="[::1]", for=192.0.2.7;host="gw.example:8080";proto=https',
        ),
    ],
)
def test_the_standard_header_of_those_before_gets_the_client_behind_it(before, after):
    """Who reads the last element, as one behind one gateway does, must not read what a client made up."""
    line = asked(before, scheme=b"https")
    assert (line.headers["forwarded"], line.names.count("forwarded")) == (after, 1)


@pytest.mark.parametrize("peer", [("2001:db8::7", 'for="[2001:db8::7]"'), ("unix", "for=unknown")])
def test_addresses_are_written_as_the_standard_wants_them(peer):
    play = Play(to("p"), p=service())
    play.peer = peer[0].encode()
    line = read(play.ask("GET /", headers={"forwarded": "for=x"}))
    assert line.headers["forwarded"].startswith(f"for=x, {peer[1]};")


def test_who_may_be_dropped_by_connection_are_not_those():
    """RFC 9110 §7.6.1: what Connection names is for this hop alone; but a client must not hide where it comes from."""
    names = "x-forwarded-for, x-forwarded-proto, x-forwarded-host, forwarded, x-request-id, host"
    line = asked({"connection": names, "x-forwarded-for": "a", "forwarded": "for=a"})
    assert set(names.split(", ")) <= set(line.headers)
    assert line.headers["x-forwarded-for"] == "a, 192.0.2.7"


@pytest.mark.parametrize("pool", [service(), serving("m")])
def test_what_traces_requests_goes_on_untouched_and_nothing_is_added(pool):
    traced = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "baggage": "userId=alice,serverNode=DF%2028",
        "via": "1.1 proxy.example",
    }
    line = read(Play(to("p"), p=pool).ask(model="m", headers=traced))
    assert {name: line.headers[name] for name in traced} == traced
    assert line.names.count("via") == 1
    assert "via" not in asked().headers
