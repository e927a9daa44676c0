"""A real SSH server for tests, in a process of its own: python sftp_server.py ROOT PORT HOST_KEY CLIENT_KEY [--plain]."""

import asyncio
import sys

import asyncssh


class PlainServer(asyncssh.SFTPServer):
    """One that has none of OpenSSH's extensions to SFTP."""

    def posix_rename(self, oldpath, newpath):
        raise asyncssh.SFTPOpUnsupported("not here")

    def fsync(self, file_obj):
        raise asyncssh.SFTPOpUnsupported("not here")


async def main(root, port, host_key, client_key, plain):
    kind = PlainServer if plain else asyncssh.SFTPServer
    await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        authorized_client_keys=client_key,
        sftp_factory=lambda channel: kind(channel, chroot=root),
        reuse_address=True,
    )
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:5], plain="--plain" in sys.argv))
