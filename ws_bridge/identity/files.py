# Copyright 2026 ws_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
Files that say who may do what: nobody else may write them, nor read those that hold secrets.

A symbolic link is followed, and what it leads to is judged: Kubernetes mounts secrets as chains of
them. There ``defaultMode: 0400``, or an ``fsGroup`` with ``0440``, is right.
"""
from __future__ import annotations

import os
import stat

from ws_bridge.errors import ConfigError

ROOT = 0


def check_file(path: str, field: str, *, is_secret: bool) -> None:
    """
    Refuse a file that others may write or, if it is secret, read.

    Its group may read a file that belongs to somebody else, such as root: that is how a service
    gets a key that it cannot change.

    :param field: names the parameter in errors.
    :raises ConfigError: saying what to do; also if the file cannot be opened.
    """
    try:
        # Without waiting for who writes into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        raise _unreadable(path, field, exc) from exc
    try:
        fault = _fault(os.fstat(descriptor), is_secret=is_secret)
    finally:
        os.close(descriptor)
    if fault is not None:
        raise ConfigError(f'{path} {fault}', field=field)


def read_file(path: str, field: str, limit: int, *, is_secret: bool = True) -> bytes:
    """
    Return what a file holds that only its owner may change.

    :param limit: bytes; a larger file is refused.
    :raises ConfigError: as :func:`check_file`.
    """
    check_file(path, field, is_secret=is_secret)
    try:
        with open(path, 'rb') as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as exc:
        raise _unreadable(path, field, exc) from exc
    if len(content) > limit:
        raise ConfigError(f'{path} is larger than {limit} bytes', field=field)
    return content


def _fault(status: os.stat_result, *, is_secret: bool) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return 'is not a regular file'
    own = os.geteuid()
    if status.st_uid not in (own, ROOT) and own != ROOT:
        return f'belongs to the user {status.st_uid}, who may change it'
    mode = stat.S_IMODE(status.st_mode)
    # Many systems give each user a group of his own: what is no secret may be written by it.
    wrong = stat.S_IWOTH
    if is_secret:
        wrong |= stat.S_IWGRP | stat.S_IROTH | (stat.S_IRGRP if status.st_uid == own else 0)
    if not mode & wrong:
        return None
    verb = 'written' if mode & wrong & (stat.S_IWGRP | stat.S_IWOTH) else 'read'
    right = mode & ~wrong & 0o777
    return f'can be {verb} by others (mode {mode:04o}): chmod {right:o}'


def _unreadable(path: str, field: str, exc: OSError | ValueError) -> ConfigError:
    reason = exc.strerror if isinstance(exc, OSError) else exc
    return ConfigError(f'{path} cannot be read: {reason}', field=field)
