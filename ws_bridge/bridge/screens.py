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
``/stream`` and ``/snapshot``: cameras for pages that know nothing but ``<img>``.

They answer as web_video_server does, under the rules of this bridge: who may subscribe to a topic
may look at it.
"""
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from http import HTTPStatus
import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ws_bridge.bridge.cameras import CameraKey, Cameras
from ws_bridge.bridge.door import Admission, Door
from ws_bridge.bridge.names import BridgeNames
from ws_bridge.bridge.peer import types_of
from ws_bridge.bridge.video_topics import has_library
from ws_bridge.config import Settings
from ws_bridge.errors import (
    BadField,
    BadName,
    Forbidden,
    LimitExceeded,
    TimedOut,
    TypeMismatch,
    Unavailable,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.identity.tickets import FOLDER
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.transport.handshake import page_of
from ws_bridge.transport.options import HttpReply, HttpStreaming, PartSender, Visitor
from ws_bridge.video.camera import Packet, Viewer
from ws_bridge.video.messages import COMPRESSED_IMAGE, IMAGE
from ws_bridge.video.recipes import JpegRecipe, LARGEST_SIDE

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

STREAM, SNAPSHOT = '/stream', '/snapshot'
SNAPSHOT_WITHIN = 0.8
"""Of the time of a handshake: so long a snapshot waits for a picture."""
TYPING_ERROR = 0.8
"""How near an unknown parameter is to a known one, from 0 to 1, that was meant."""
SAID_EACH = 60.0
"""Time between lines of the log about cameras that cannot be shown, s."""

_BOUNDARY = 'boundarydonotcross'
_BEGIN = f'--{_BOUNDARY}\r\n'.encode()
"""In front of each part."""
_PARAMETERS = ('topic', 'type', 'width', 'height', 'quality', 'qos_profile')
_NOT_HERE = ('invert',)
_PROFILES: Mapping[str, QosRequest | None] = {
    'default': None, 'system_default': None,
    'sensor_data': QosRequest(reliability='best_effort', durability='volatile', depth=5),
    'services_default': QosRequest(reliability='reliable', durability='volatile', depth=10)}
_STATUS: Mapping[type[WsBridgeError], HTTPStatus] = {
    BadField: HTTPStatus.BAD_REQUEST, BadName: HTTPStatus.BAD_REQUEST,
    Forbidden: HTTPStatus.FORBIDDEN, UnknownName: HTTPStatus.NOT_FOUND,
    TypeMismatch: HTTPStatus.UNSUPPORTED_MEDIA_TYPE, TimedOut: HTTPStatus.GATEWAY_TIMEOUT,
    Unavailable: HTTPStatus.NOT_IMPLEMENTED, LimitExceeded: HTTPStatus.SERVICE_UNAVAILABLE}
"""What an error is in HTTP; others are 502: the camera is at fault."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request asks for."""

    key: CameraKey
    recipe: JpegRecipe


class Screens:
    """
    Answers the requests for pictures.

    :param cameras: where the pictures come from.
    :param door: knows who asks.
    """

    def __init__(self, settings: Settings, ros: RosSide, cameras: Cameras, names: BridgeNames,
                 door: Door, loop: asyncio.AbstractEventLoop, epoch: float) -> None:
        self._settings = settings
        self._ros = ros
        self._cameras = cameras
        self._names = names
        self._door = door
        self._loop = loop
        self._epoch = epoch
        self._shown = 0
        self._said = -SAID_EACH

    def __repr__(self) -> str:
        return f'Screens({self._shown} shown)'

    async def answer(self, visitor: Visitor) -> HttpReply | HttpStreaming | None:
        """Answer a request; ``None`` = it is not for a picture."""
        path, _, query = visitor.path.partition('?')
        page = path.rpartition(FOLDER)[0] if FOLDER in path else path
        if page not in (STREAM, SNAPSHOT) or not self._settings.max_streams:
            return None
        admission = await self._door.admit_to_look(visitor)
        if isinstance(admission, HttpReply):
            return admission
        try:
            wish = self._wish(query, admission)
            if self._shown >= self._settings.max_streams:
                raise LimitExceeded(f'{self._settings.max_streams} streams are open, no more may '
                                    '(max_streams)')
            self._cameras.check_room(wish.key, wish.recipe)
            if page == STREAM:
                return self._stream(visitor, admission, wish)
            return await self._snapshot(visitor, wish)
        except WsBridgeError as exc:
            return self._door.refusal(
                _STATUS.get(type(exc), HTTPStatus.BAD_GATEWAY), exc, visitor, admission, 'picture')

    # ---- what is asked for

    def _wish(self, query: str, admission: Admission) -> _Wish:
        """
        Read a request, and check whether it is allowed.

        :raises WsBridgeError: it is not.
        """
        fields = _fields_of(query)
        name = fields.get('topic', '')
        if not name:
            raise BadField('is missing', field='topic')
        topic = self._names.topic(name)
        rule = admission.rights.check('subscribe', topic, 'topic')
        kind = fields.get('type', 'mjpeg')
        if kind != 'mjpeg':
            raise BadField(f'{kind[:32]!r} is not served here, only mjpeg'
                           + ('; a compressed topic is one of its own' if 'ros' in kind else ''),
                           field='type')
        profile = fields.get('qos_profile', 'default')
        if profile not in _PROFILES:
            raise BadField(f'must be one of {", ".join(_PROFILES)}', field='qos_profile')
        recipe = JpegRecipe(
            _number(fields, 'width', LARGEST_SIDE), _number(fields, 'height', LARGEST_SIDE),
            _number(fields, 'quality', 100), 1.0 / rule.max_rate if rule.max_rate else 0.0)
        msg_type = self._type_of(topic)
        admission.rights.check_type(topic, msg_type)
        if (msg_type == IMAGE or not recipe.is_as_it_is) and not has_library('PIL'):
            raise Unavailable('needs Pillow, which is not installed where the bridge runs '
                              '(python3-pil, or pip install "ws_bridge[video]")')
        return _Wish((topic, msg_type, _PROFILES[profile]), recipe)

    def _type_of(self, topic: str) -> str:
        types = types_of(self._ros, topic)
        found = [each for each in types if each in (IMAGE, COMPRESSED_IMAGE)]
        if found:
            return found[0]
        if not types:
            raise UnknownName(f'there is no topic {topic}', field='topic')
        raise TypeMismatch(f'{topic} is {" and ".join(types)}, not {IMAGE} or {COMPRESSED_IMAGE}',
                           field='topic')

    # ---- answers

    def _stream(self, visitor: Visitor, admission: Admission, wish: _Wish) -> HttpStreaming:
        return HttpStreaming({
            **_headers(visitor), 'Pragma': 'no-cache',
            'Content-Type': f'multipart/x-mixed-replace; boundary={_BOUNDARY}'},
            partial(self._begin, admission, wish))

    def _begin(self, admission: Admission, wish: _Wish, stream: PartSender) -> None:
        """Show a camera, until one of both ends has enough, or the login expires."""
        def fail(error: WsBridgeError) -> None:
            now = self._loop.time()
            if now - self._said >= SAID_EACH:
                self._said = now
                logger.warning('%s cannot be shown: %s', wish.key[0], error)
            stream.close()

        viewer = Viewer(wish.recipe, partial(_put, stream), fail)
        expires = None if admission.identity is None else admission.identity.expires
        timer = None if expires is None else self._loop.call_later(
            max(expires - self._epoch - self._loop.time(), 0.0), stream.close)

        def end() -> None:
            self._shown -= 1
            self._cameras.remove(wish.key, viewer)
            if timer is not None:
                timer.cancel()

        self._shown += 1
        stream.on_end = end
        stream.put(_BEGIN)
        try:
            self._cameras.add(wish.key, viewer)
        except WsBridgeError as exc:
            fail(exc)

    async def _snapshot(self, visitor: Visitor, wish: _Wish) -> HttpReply:
        """
        Return one picture.

        :raises WsBridgeError: what is wrong with the camera.
        """
        picture: asyncio.Future[Packet] = self._loop.create_future()

        def take(packet: Packet) -> None:
            if not picture.done():
                picture.set_result(packet)

        def fail(error: WsBridgeError) -> None:
            if not picture.done():
                picture.set_exception(error)

        viewer = Viewer(wish.recipe, take, fail)
        limit = SNAPSHOT_WITHIN * self._settings.handshake_timeout
        self._shown += 1
        try:
            self._cameras.add(wish.key, viewer)
            packet = await asyncio.wait_for(picture, limit)
        except asyncio.TimeoutError:
            raise TimedOut(f'no picture of {wish.key[0]} came within {limit:g} s') from None
        finally:
            self._shown -= 1
            self._cameras.remove(wish.key, viewer)
        return HttpReply(HTTPStatus.OK, {
            **_headers(visitor), 'Content-Type': 'image/jpeg', 'X-Timestamp': _time(packet)},
            bytes(packet.data))


def _fields_of(query: str) -> dict[str, str]:
    """
    Return the parameters of a request; unknown ones are ignored, as pages add some of their own.

    :raises BadField: there are too many, or one is a typing error, or not served here.
    """
    try:
        fields = {name: values[-1] for name, values in parse_qs(
            query, keep_blank_values=True, max_num_fields=32).items()}
    except ValueError as exc:
        raise BadField('has too many parameters', field='query') from exc
    for name in fields:
        if name in _NOT_HERE:
            raise BadField('is not served here', field=name)
        meant = () if name in _PARAMETERS else get_close_matches(
            name[:32], _PARAMETERS, 1, TYPING_ERROR)
        for each in meant:
            raise BadField(f"there is no such parameter; did you mean '{each}'?",
                           field=name[:32])
    return fields


def _number(fields: Mapping[str, str], name: str, most: int) -> int:
    """
    Return a parameter; 0 where it is missing.

    :raises BadField: it is no number from 1 to ``most``.
    """
    text = fields.get(name)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise BadField(f'must be an integer from 1 to {most}', field=name)
    return int(text)


def _headers(visitor: Visitor) -> dict[str, str]:
    """Return what pages need to be told; one that was let in may show and read the picture."""
    headers = {'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff',
               'Referrer-Policy': 'no-referrer', 'Vary': 'Origin',
               'Cross-Origin-Resource-Policy':
                   'same-origin' if page_of(visitor.headers) is None else 'cross-origin'}
    if 'origin' in visitor.headers:
        headers['Access-Control-Allow-Origin'] = visitor.headers['origin']
    return headers


def _time(packet: Packet) -> str:
    seconds, nanoseconds = divmod(packet.stamp, 1_000_000_000)
    return f'{seconds}.{nanoseconds:09}'


def _put(stream: PartSender, packet: Packet) -> None:
    """Send a picture as a part of an answer that goes on; made once for all who get it."""
    part = packet.made.get(_put)
    if part is None:
        part = packet.made[_put] = b''.join((
            f'Content-type: image/jpeg\r\nX-Timestamp: {_time(packet)}\r\n'
            f'Content-Length: {len(packet.data)}\r\n\r\n'.encode(), packet.data,
            b'\r\n', _BEGIN))      # some browsers show a picture when they see its end
    stream.put(part)
