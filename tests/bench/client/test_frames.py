"""The client's C codecs against the golden vectors: what is written is canonical, what is read means what it should, what is wrong is refused."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdk_proto.wire.frames import Hello, Ping
from sdk_proto.wire.subprotocols import JSON, PROTO

VECTORS = Path(__file__).resolve().parents[3] / "sdk_proto" / "vectors"
CODECS = {"json": JSON, "proto": PROTO}
SENT = ("json", "proto")
ACK = ("received", "undecodable")


def vectors(name: str, direction: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["vectors"]
    return [vector for vector in found if vector["direction"] == direction]


def check(client: Path, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [client, "--check"], input="\n".join(map(json.dumps, lines)) + "\n", capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def read(client: Path, chosen: Sequence[tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    return check(
        client,
        [
            {"codec": codec, "read": vector["proto"] if codec == "proto" else vector["json"].encode().hex()}
            for vector, codec in chosen
        ],
    )


def understood(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What the client has to know of a frame of the vectors."""
    ((name, fields),) = frame.items()
    match name:
        case "push":
            return {"type": name, **{key: fields[key] for key in ("id", "again", "via_vendor", "sent")}}
        case "recall" | "undecodable":
            return {"type": name, "id": fields["id"]}
        case "welcome":
            return {"type": name, "next": fields["heartbeat"]["next"], "window": fields["window"]}
        case "bye":
            return {"type": name, "code": fields["code"], "reason": fields["reason"]}
    return {"type": name}


def test_what_a_server_says_is_understood_in_both_codecs(client_program: Path) -> None:
    chosen = [(vector, codec) for vector in vectors("frames.json", "server") for codec in SENT if vector[codec]]
    assert len(chosen) > 40
    wrong = []
    for (vector, codec), answer in zip(chosen, read(client_program, chosen), strict=True):
        expected = [understood(frame) for frame in vector["frames"]]
        found = answer.get("frames", answer)
        if not isinstance(found, list) or len(found) != len(expected):
            wrong.append((vector["name"], codec, found))
        else:
            wrong += [
                (vector["name"], codec, key)
                for have, want in zip(found, expected, strict=True)
                for key in want
                if have[key] != want[key]
            ]
    assert not wrong


def test_what_no_server_may_say_is_refused(client_program: Path) -> None:
    chosen = [
        (vector, codec) for vector in vectors("invalid.json", "server") for codec in SENT if vector[codec] is not None
    ]
    assert len(chosen) > 15
    answers = zip(chosen, read(client_program, chosen), strict=True)
    assert not [(vector["name"], codec) for (vector, codec), answer in answers if "error" not in answer]


def test_acks_are_those_of_the_vectors(client_program: Path) -> None:
    asked, wanted = [], []
    for vector in vectors("frames.json", "client"):
        ack = vector["frames"][0].get("ack")
        if vector["canonical"] and len(vector["frames"]) == 1 and ack is not None and ack["status"] in ACK:
            for codec in SENT:
                asked.append({"codec": codec, "ack": ack["ids"], "undecodable": ack["status"] == "undecodable"})
                wanted.append(vector["proto"] if codec == "proto" else vector["json"].encode().hex())
    assert len(asked) >= 8
    assert [answer["message"] for answer in check(client_program, asked)] == wanted


def test_hellos_and_pings_are_what_a_server_takes_them_for(client_program: Path) -> None:
    hello: dict[str, Any] = {
        "app": "courier",
        "device": "d-1",
        "token": "e30.e30.c2ln",
        "install": "9f86d081",
        "attempt": 42,
    }
    for codec in SENT:
        said = check(client_program, [{"codec": codec} | hello, {"codec": codec, "ping": True}])
        frames = [frame for answer in said for frame in CODECS[codec].decode_client(bytes.fromhex(answer["message"]))]
        assert frames == [Hello(versions=(1,), **hello), Ping()]
