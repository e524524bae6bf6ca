"""The frames between a decoder pool and its child: what was sent is received, and a parent that is gone is noticed."""

import json
import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.images.decoder_child import REPLY, REQUEST, Requests, _reply


@settings(max_examples=20)
@given(st.binary(max_size=200_000), st.booleans(), st.floats(0, 1e6))
def test_a_request_arrives_whole(data, bare, moment):
    parent, child = socket.socketpair()
    with parent, child:
        sending = threading.Thread(target=parent.sendall, args=(REQUEST.pack(len(data), bare, moment) + data,))
        sending.start()
        assert Requests(child).next() == (data, bare, moment)
        sending.join()


def test_a_parent_that_is_gone_ends_it_at_whatever_place():
    header = REQUEST.pack(10, 0, 0.0)
    for sent in (b"", header[:5], header, header + b"123"):
        parent, child = socket.socketpair()
        with child:
            parent.sendall(sent)
            parent.close()
            assert Requests(child).next() is None


def test_a_reply_says_how_long_its_parts_are():
    parent, child = socket.socketpair()
    with parent, child:
        _reply(child, {"status": "ok", "width": 3}, memoryview(b"pixels"), memoryview(b"views"))
        about, pixels = REPLY.unpack(parent.recv(REPLY.size, socket.MSG_WAITALL))
        assert json.loads(parent.recv(about, socket.MSG_WAITALL)) == {"status": "ok", "width": 3}
        assert parent.recv(pixels, socket.MSG_WAITALL) == b"pixelsviews"
