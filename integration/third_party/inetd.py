"""Runs an inetd that has only its internal echo service, on a given port.

    inetd.py FOLDER openbsd|inetutils|xinetd PROGRAM PORT

The inetd finds the service by its name for the port in /etc/services, so that file is another one
for this process, in a mount namespace. Limits that would slow down the tests are lifted. Its
settings are written to a new folder in FOLDER.
"""

import os
import pathlib
import sys
import tempfile

CLASSIC = "127.0.0.1:echo stream tcp nowait.100000 root internal\n"
XINETD = """
defaults
{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 100000 1
}
service echo
{
    type = INTERNAL
    id = echo-stream
    socket_type = stream
    protocol = tcp
    wait = no
    user = root
    bind = 127.0.0.1
}
"""
KINDS = {
    "openbsd": (CLASSIC, "-i -R 100000"),
    "inetutils": (CLASSIC, "-d -R 100000 -p{folder}/pid"),
    "xinetd": (XINETD, "-dontfork -filelog /dev/stdout -pidfile {folder}/pid -f"),
}
IN_A_NAMESPACE = 'mount --bind "$1/services" /etc/services && shift && exec "$@"'


def main(settings_folder, kind, program, port):
    folder = pathlib.Path(tempfile.mkdtemp(dir=settings_folder))
    settings, options = KINDS[kind]
    (folder / "services").write_text(f"echo {port}/tcp\n")
    (folder / "settings").write_text(settings)
    command = [program, *options.format(folder=folder).split(), str(folder / "settings")]
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", IN_A_NAMESPACE, "sh", str(folder), *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
