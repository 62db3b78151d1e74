#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys for a NATS server that knows its users by what an operator has signed, as NATS's own tools make them.

    nats_keys.py PORT

Writes into the folder that it runs in: jwt.conf for the server; user.creds for a user of its account; stranger.creds with
the same user's JWT and somebody else's seed; unknown.creds of a user whose account the server does not know.
"""
import base64
import json
import os
import subprocess
import sys

# The first byte of a key, in base32, says whose it is.
OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
# What stands before 32 bytes in PKCS #8, and so makes an Ed25519 key of them for OpenSSL.
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def encode(data):
    """Base32 with NATS's checksum: CRC-16, XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return base64.b32encode(data + crc.to_bytes(2, "little")).decode().rstrip("=")


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    def __init__(self, kind):
        seed = os.urandom(32)
        self.private = PKCS8 + seed
        self.seed = encode(bytes([SEED | kind >> 5, (kind & 31) << 3]) + seed)
        self.public = encode(bytes([kind]) + self.openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER")[-32:])

    def openssl(self, *arguments):
        with open("key.der", "wb") as file:
            file.write(self.private)
        return subprocess.run(["openssl", *arguments, "-in" if arguments[0] == "pkey" else "-inkey", "key.der"],
                              check=True, capture_output=True).stdout

    def jwt(self, subject, name, claims):
        """What this key says of the subject."""
        payload = {"jti": name, "iat": 1700000000, "iss": self.public, "name": name, "sub": subject, "nats": claims}
        text = ".".join(base64url(json.dumps(part).encode())
                        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, payload))
        with open("text", "w", encoding="ascii") as file:
            file.write(text)
        return text + "." + base64url(self.openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-in", "text"))


def account(operator, name, *more):
    key = Key(ACCOUNT)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", *more), -1)
    return key, operator.jwt(key.public, name, {"limits": {**limits, "wildcards": True}, "type": "account", "version": 2})


def credentials(name, jwt, seed):
    with open(name, "w", encoding="ascii") as file:
        file.write("-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n" % (jwt, seed))


def user(of):
    key = Key(USER)
    return key, of.jwt(key.public, "user", {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user",
                                            "version": 2})


def main():
    operator = Key(OPERATOR)
    accounts = [account(operator, "system"),
                account(operator, "shop", "mem_storage", "disk_storage", "streams", "consumer")]
    key, jwt = user(accounts[1][0])
    credentials("user.creds", jwt, key.seed)
    credentials("stranger.creds", jwt, Key(USER).seed)
    key, jwt = user(Key(ACCOUNT))
    credentials("unknown.creds", jwt, key.seed)
    with open("jwt.conf", "w", encoding="ascii") as file:
        file.write('listen: "127.0.0.1:%d"\njetstream { store_dir: jwt-store }\noperator: "%s"\nsystem_account: %s\n'
                   "resolver: MEMORY\nresolver_preload: {\n%s}\n" % (
                       int(sys.argv[1]), operator.jwt(operator.public, "operator", {"type": "operator", "version": 2}),
                       accounts[0][0].public,
                       "".join('  %s: "%s"\n' % (key.public, jwt) for key, jwt in accounts)))


main()
