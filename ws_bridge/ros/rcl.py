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
What ws_bridge asks of rcl itself, by :mod:`ctypes`: other threads of Python run meanwhile.

rclpy keeps the interpreter lock while rcl works. That takes long where a sample is large, and
where the middleware waits by itself: Fast DDS meets a new node of the same machine with a lock
that whoever makes or destroys an entity needs, too, and waits up to 1 s for the node's threads,
where they share memory. No command passes the bridge meanwhile.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
import ctypes
import os
import struct
import sys
import threading
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.type_support import check_is_valid_msg_type, check_is_valid_srv_type

SMALL = 65_536
"""A sample of so many bytes is taken before another thread could have had its turn."""
KEPT = 4 * 1024 * 1024
"""Most bytes of the memory that is kept for the next sample."""
SampleInfo = tuple[int, int, bytes]
"""
What is known of a sample: its source time, ns; its publisher's count of samples; the publisher.

The count is -1, and the publisher, a gid, is empty where it is not said (by rclpy 7.1).
"""
Take = Callable[[], 'tuple[bytes, SampleInfo] | None']
"""Returns the CDR of the oldest sample and what is known of it, if there is one."""


class Unsupported(Exception):
    """Not with this middleware, or on this system."""


def in_a_line(exc: BaseException) -> str:
    """Return what an exception says, for a line of the log."""
    return ' '.join(repr(exc).split())


class _Allocator(ctypes.Structure):
    """rcutils' ``rcutils_allocator_t``: functions, and a state."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in (
        'allocate', 'deallocate', 'reallocate', 'zero_allocate', 'state'))


class _Bytes(ctypes.Structure):
    """rcutils' ``rcutils_uint8_array_t``, which rmw calls ``rmw_serialized_message_t``."""

    _fields_ = (('buffer', ctypes.c_void_p), ('length', ctypes.c_size_t),
                ('capacity', ctypes.c_size_t), ('allocator', _Allocator))


#: rmw's ``rmw_message_info_t``: source and received time, ns; the count of the publisher and that
#: of the subscription, -1 if there is none; the publisher: a pointer and 16 bytes; and more.
_INFO = struct.Struct('=q8xq8x8x16s')
_INFO_ROOM = 256
_TAKE_FAILED = 401
"""rcl's ``RCL_RET_SUBSCRIPTION_TAKE_FAILED``: there is nothing to take."""
_NO_RESPONSE = 501
_NO_REQUEST = 601
_BAD_ALLOC = 10
_TIMEOUT = 2
#: Make bytes that are filled afterwards, as the C API allows, and say where.
_new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ('PyBytes_FromStringAndSize', ctypes.pythonapi))
_address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ('PyBytes_AsString', ctypes.pythonapi))


#: rmw's ``rmw_request_id_t``: the client, and its count of requests.
_REQUEST_ID = struct.Struct('=16xq')
#: Where a capsule points to: the support of a type, which has no name.
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ('PyCapsule_GetPointer', ctypes.pythonapi))


class CdrTaker:
    """
    Takes samples as CDR, and lets other threads run while it takes and copies large ones.

    The memory that a sample is taken into is kept for the next one, of whichever subscription:
    used on one thread at a time.

    :raises Unsupported: not with these libraries.
    """

    def __init__(self) -> None:
        self._array, self._info = _Bytes(), ctypes.create_string_buffer(_INFO_ROOM)
        self._memory = ctypes.byref(self._array)
        self._end: Callable[..., int] = lambda array: 0
        if sys.maxsize < 2 ** 32:
            raise Unsupported('not on a system of 32 bits')
        try:
            # Functions of the one release the interpreter lock, those of the other keep it.
            free, held = (load('librcl.so', mode=os.RTLD_NOLOAD)
                          for load in (ctypes.CDLL, ctypes.PyDLL))
            self._take_free, self._take_held = (
                _declared(library.rcl_take_serialized_message, 4) for library in (free, held))
            begin = _declared(free.rcutils_uint8_array_init, 3, [1])
            resize = _declared(free.rcutils_uint8_array_resize, 2, [1])
            end = _declared(free.rcutils_uint8_array_fini, 1)
            allocator = free.rcutils_get_default_allocator
            self._reset_error = free.rcutils_reset_error
        except (OSError, AttributeError) as exc:
            raise Unsupported(str(exc)) from exc
        allocator.argtypes, allocator.restype = [], _Allocator
        self._reset_error.argtypes, self._reset_error.restype = [], None
        if begin(self._memory, 1000, ctypes.byref(allocator())) or not self._has(1000):
            raise Unsupported('memory of rcutils is not as it was')
        self._end = end
        if resize(self._memory, 2000) or not self._has(2000):
            raise Unsupported('memory of rcutils is not as it was')

    def __repr__(self) -> str:
        return f'CdrTaker({self._array.capacity} bytes kept)'

    def __del__(self) -> None:
        self._end(self._memory)

    def _has(self, capacity: int) -> bool:
        return bool(self._array.capacity == capacity and self._array.buffer
                    and not self._array.length)

    def take_of(self, handle: Any) -> Take:
        """
        Return what takes from a subscription, which may not be destroyed meanwhile.

        Where small samples come the lock is kept: to give it away costs a turn of others each.
        """
        array, info, string_at = self._array, self._info, ctypes.string_at
        free, held = self._take_free, self._take_held
        arguments = handle.pointer, self._memory, ctypes.byref(info), None
        largest, call = -1, free

        def take() -> tuple[bytes, SampleInfo] | None:
            nonlocal largest, call
            code = call(*arguments)
            if code:
                if code == _TAKE_FAILED:
                    return None
                raise self._failed(code)
            size = array.length
            if size > largest:
                largest, call = size, held if size <= SMALL else free
            sample = string_at(array.buffer, size) if size <= SMALL else self._copy(size)
            known: SampleInfo = _INFO.unpack_from(info)
            return sample, known
        return take

    def _copy(self, size: int) -> bytes:
        """Copy what was taken; not even new pages of memory keep other threads waiting."""
        sample: bytes = _new_bytes(None, size)
        ctypes.memmove(_address_of(sample), self._array.buffer, size)
        if self._array.capacity > KEPT:
            self._end(self._memory)
        return sample

    def _failed(self, code: int) -> Exception:
        # What is kept may have been given back to make it larger: leave it.
        self._array.buffer, self._array.length, self._array.capacity = None, 0, 0
        self._reset_error()
        if code == _BAD_ALLOC:
            return MemoryError('a sample takes more memory than there is')
        return RuntimeError(f'rcl cannot take a sample: {code}')


class CdrPublisher:
    """
    Publishes CDR without a copy, and lets other threads run meanwhile.

    rclpy copies it first, and keeps the interpreter lock: 8 to 16 ms for 9 MB, against 2 to 5.

    :raises Unsupported: not with these libraries.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL('librcl.so', mode=os.RTLD_NOLOAD)
            self._publish = _declared(library.rcl_publish_serialized_message, 3)
            self._reset_error = library.rcutils_reset_error
        except (OSError, AttributeError) as exc:
            raise Unsupported(str(exc)) from exc
        self._reset_error.argtypes, self._reset_error.restype = [], None

    def publish(self, entity: Any, cdr: bytes | memoryview) -> None:
        """
        Publish (any thread).

        :param cdr: is not copied here if it may be written to, or is ``bytes``.
        :raises InvalidHandle: the publisher was destroyed.
        :raises RuntimeError: rcl cannot.
        """
        if type(cdr) is memoryview and cdr.readonly:
            cdr = bytes(cdr)
        message = _Bytes(length=len(cdr), capacity=len(cdr))
        message.buffer = _address_of(cdr) if type(cdr) is bytes \
            else ctypes.addressof(ctypes.c_char.from_buffer(cdr))
        with entity.handle:
            code = self._publish(entity.handle.pointer, ctypes.byref(message), None)
        if code:
            self._reset_error()
            raise RuntimeError(f'rcl cannot publish: {code}')


def _declared(function: Any, pointers: int, sizes: Sequence[int] = ()) -> Callable[..., int]:
    """Declare a function of pointers, and of sizes at some places, that returns an ``int``."""
    function.argtypes = [ctypes.c_size_t if place in sizes else ctypes.c_void_p
                         for place in range(pointers)]
    function.restype = ctypes.c_int
    result: Callable[..., int] = function
    return result


class _Qos(ctypes.Structure):
    """rmw's ``rmw_qos_profile_t``; a duration is seconds and nanoseconds."""

    _fields_ = (('history', ctypes.c_int), ('depth', ctypes.c_size_t),
                ('reliability', ctypes.c_int), ('durability', ctypes.c_int),
                ('deadline', ctypes.c_uint64 * 2), ('lifespan', ctypes.c_uint64 * 2),
                ('liveliness', ctypes.c_int), ('lease', ctypes.c_uint64 * 2),
                ('avoid_ros_namespace_conventions', ctypes.c_bool))

    def __repr__(self) -> str:
        return repr({name: value if isinstance(value, int) else tuple(value)
                     for name, *_ in self._fields_ for value in (getattr(self, name),)})


_POLICIES = 'history', 'depth', 'reliability', 'durability', 'liveliness'
_TIMES = {'deadline': 'deadline', 'lifespan': 'lifespan', 'lease': 'liveliness_lease_duration'}
_ROOM = 4096
"""Bytes; of what rcl returns by value, as much as it may ever be."""


class _Options(ctypes.Structure):
    """rcl's options of all entities: they begin so, and the rest is rcl's."""

    _fields_ = (('qos', _Qos), ('rest', ctypes.c_char * _ROOM))


class _Text(ctypes.Structure):
    """rcutils' ``rcutils_error_string_t``."""

    _fields_ = (('text', ctypes.c_char * _ROOM),)


class _Functions:
    """
    What rcl does with entities of one kind, while other threads run.

    :param kind: as rcl's functions are called.
    :param named: what has the entity's name: ``topic`` or ``service``.
    """

    def __init__(self, rcl: Any, kind: str, named: str) -> None:
        self.init = _declared(getattr(rcl, f'rcl_{kind}_init'), 5)
        self.fini = _declared(getattr(rcl, f'rcl_{kind}_fini'), 2)
        self.name = getattr(rcl, f'rcl_{kind}_get_{named}_name')
        self.name.argtypes, self.name.restype = [ctypes.c_void_p], ctypes.c_char_p
        self.defaults = getattr(rcl, f'rcl_{kind}_get_default_options')
        self.defaults.argtypes, self.defaults.restype = [], _Options
        # rclpy has the same defaults, under the same numbers
        if (found := repr(self.defaults().qos)) != (known := repr(_qos_of(QoSProfile(depth=10)))):
            raise Unsupported(f'the quality of service is not as it was: {found}, not {known}')

    def options(self, profile: QoSProfile) -> _Options:
        """Return what an entity is made with."""
        options: _Options = self.defaults()
        options.qos = _qos_of(profile)
        return options


class EntityMaker:
    """
    Makes and destroys subscriptions, publishers, clients and services while other threads run.

    :raises Unsupported: not with these libraries.
    """

    def __init__(self) -> None:
        try:
            rcl, held = (load('librcl.so', mode=os.RTLD_NOLOAD)
                         for load in (ctypes.CDLL, ctypes.PyDLL))
            self.subscription = _Functions(rcl, 'subscription', 'topic')
            self.publisher = _Functions(rcl, 'publisher', 'topic')
            self.client = _Functions(rcl, 'client', 'service')
            self.service = _Functions(rcl, 'service', 'service')
            self.count_publishers = _declared(rcl.rcl_subscription_get_publisher_count, 2)
            self.count_subscriptions = _declared(rcl.rcl_publisher_get_subscription_count, 2)
            self.add = {kind: _declared(getattr(rcl, f'rcl_wait_set_add_{kind}'), 3)
                        for kind in ('subscription', 'client', 'service')}
            self.publish = _declared(held.rcl_publish_serialized_message, 3)
            self.wait_acked = rcl.rcl_publisher_wait_for_all_acked
            self.is_served = _declared(rcl.rcl_service_server_is_available, 3)
            self.send_request = _declared(rcl.rcl_send_request, 3)
            self.send_response = _declared(rcl.rcl_send_response, 3)
            self.take_request = _declared(held.rcl_take_request, 3)
            self.take_response = _declared(held.rcl_take_response, 3)
            self._error, self.reset = rcl.rcutils_get_error_string, rcl.rcutils_reset_error
        except (OSError, AttributeError) as exc:
            raise Unsupported(str(exc)) from exc
        self.wait_acked.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self.wait_acked.restype = ctypes.c_int
        self._error.argtypes, self._error.restype = [], _Text
        self.reset.argtypes, self.reset.restype = [], None

    def __repr__(self) -> str:
        return 'EntityMaker()'

    def failed(self, what: str) -> RuntimeError:
        """Return why something could not be done, as rclpy says it."""
        text = self._error().text.decode(errors='replace')
        self.reset()
        return RuntimeError(f'Failed to {what}: {text}')


def _qos_of(profile: QoSProfile) -> _Qos:
    qos = _Qos(**{name: int(getattr(profile, name)) for name in _POLICIES},
               avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions)
    for name, attribute in _TIMES.items():
        setattr(qos, name, (ctypes.c_uint64 * 2)(*divmod(
            getattr(profile, attribute).nanoseconds, 10 ** 9)))
    return qos


class FreeHandle:
    """
    An entity of rcl, to be used as rclpy uses its own handle.

    :cvar kind: ``subscription``, ``publisher``, ``client`` or ``service``.
    :ivar pointer: where rcl has it.
    :raises RuntimeError: rcl cannot.
    """

    kind = ''

    def __init__(self, maker: EntityMaker, node: Node, interface: Any, name: str,
                 profile: QoSProfile) -> None:
        support = _pointer_of(interface._TYPE_SUPPORT, None)
        self._maker = maker
        self._functions: _Functions = getattr(maker, self.kind)
        self._node: Any = node.handle
        self._logger = node.get_logger().name
        self._memory = ctypes.create_string_buffer(64)      # rcl's is a pointer; zero = none
        self.pointer = ctypes.addressof(self._memory)
        self._lock = threading.Lock()
        self._uses = 0
        self._is_doomed = False
        text, options = name.encode(), self._functions.options(profile)
        self._node.__enter__()      # it outlives the entity
        if self._functions.init(self.pointer, self._node.pointer, support, text,
                                ctypes.byref(options)):
            self._node.__exit__(None, None, None)
            raise maker.failed(f'create {self.kind}')

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.pointer:#x}{", doomed" if self._is_doomed else ""})'

    def __enter__(self) -> FreeHandle:
        with self._lock:
            self._check()
            self._uses += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._uses -= 1
            is_last = self._is_doomed and not self._uses
        if is_last:
            self._destroy()

    def _check(self) -> None:
        if self._is_doomed:
            raise InvalidHandle(f'cannot use a {self.kind} that is destroyed')

    def destroy_when_not_in_use(self) -> None:
        """Destroy it, as soon as nobody uses it (the last one does)."""
        with self._lock:
            self._check()
            self._is_doomed = True
            is_used = self._uses > 0
        if not is_used:
            self._destroy()

    def _destroy(self) -> None:
        code = self._functions.fini(self.pointer, self._node.pointer)
        self._node.__exit__(None, None, None)
        if code:
            raise self._maker.failed(f'destroy {self.kind}')

    @property
    def _name(self) -> str:
        name: bytes = self._functions.name(self.pointer)
        return name.decode()

    def wait_in(self, wait_set: int) -> None:
        """Add it to a wait set of rcl, of which the address is given."""
        if self._maker.add[self.kind](wait_set, self.pointer, None):
            raise self._maker.failed(f'add a {self.kind} to a wait set')

    def get_logger_name(self) -> str:
        """Return the name of the node's logger."""
        return self._logger


class _TopicEnd(FreeHandle):
    """One end of a topic of rcl."""

    def __init__(self, maker: EntityMaker, node: Node, msg_type: Any, topic: str,
                 profile: QoSProfile) -> None:
        check_is_valid_msg_type(msg_type)
        super().__init__(maker, node, msg_type, topic, profile)

    def get_topic_name(self) -> str:
        """Return the full name of the topic."""
        return self._name

    def _count(self, function: Callable[..., int]) -> int:
        count = ctypes.c_size_t()
        if function(self.pointer, ctypes.byref(count)):
            raise self._maker.failed('count the other side')
        return count.value


class FreeSubscription(_TopicEnd):
    """A subscription of rcl."""

    kind = 'subscription'

    def get_publisher_count(self) -> int:
        """Return how many publishers are matched."""
        return self._count(self._maker.count_publishers)


class FreePublisher(_TopicEnd):
    """A publisher of rcl, for what is published as CDR."""

    kind = 'publisher'

    def get_subscription_count(self) -> int:
        """Return how many subscriptions are matched."""
        return self._count(self._maker.count_subscriptions)

    def publish_raw(self, cdr: bytes) -> None:
        """
        Publish a small message (any thread).

        :raises InvalidHandle: it is destroyed.
        :raises RuntimeError: rcl cannot.
        """
        size = len(cdr)
        message = _Bytes(_address_of(cdr), size, size)
        with self._lock:        # so it is not destroyed meanwhile
            self._check()
            code = self._maker.publish(self.pointer, ctypes.byref(message), None)
        if code:
            self._maker.reset()
            raise RuntimeError(f'rcl cannot publish: {code}')

    def wait_for_all_acked(self, duration: Any) -> bool:
        """
        Wait until the subscribers have everything.

        :param duration: for how long, as rclpy has it.
        :return: whether they have.
        """
        code = self._maker.wait_acked(self.pointer, duration.nanoseconds)
        if code not in (0, _TIMEOUT):
            raise self._maker.failed('wait until all is acknowledged')
        return not code


#: The functions that rosidl generates for a message: they make C's message, and of Python's
#: message C's and back.
_CREATE = ctypes.PYFUNCTYPE(ctypes.c_void_p)
_DESTROY = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_FILL = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.py_object, ctypes.c_void_p)
_READ = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)


class _Messages:
    """
    Makes C's messages of a class of Python's, and back.

    :param msg_type: of a service that was checked, so its functions are loaded.
    """

    def __init__(self, msg_type: Any) -> None:
        self._create = _CREATE(_pointer_of(msg_type._CREATE_ROS_MESSAGE, None))
        self._destroy = _DESTROY(_pointer_of(msg_type._DESTROY_ROS_MESSAGE, None))
        self._fill = _FILL(_pointer_of(msg_type._CONVERT_FROM_PY, None))
        self._read = _READ(_pointer_of(msg_type._CONVERT_TO_PY, None))

    def _new(self) -> int:
        memory: int | None = self._create()
        if memory is None:
            raise MemoryError('a message takes more memory than there is')
        return memory

    def send(self, message: Any, function: Callable[[int], int]) -> int:
        """Return what a function says of C's message."""
        memory = self._new()
        try:
            self._fill(message, memory)
            return function(memory)
        finally:
            self._destroy(memory)

    def take(self, function: Callable[[int], int]) -> tuple[int, Any]:
        """Return what a function says, and the message that it fills in, if it says 0."""
        memory = self._new()
        try:
            code = function(memory)
            return code, None if code else self._read(memory)
        finally:
            self._destroy(memory)


class _ServiceEnd(FreeHandle):
    """One end of a service of rcl."""

    def __init__(self, maker: EntityMaker, node: Node, srv_type: Any, name: str,
                 profile: QoSProfile) -> None:
        check_is_valid_srv_type(srv_type)
        self._requests, self._responses = map(_Messages, (srv_type.Request, srv_type.Response))
        super().__init__(maker, node, srv_type, name, profile)


class FreeClient(_ServiceEnd):
    """A service client of rcl."""

    kind = 'client'

    @property
    def service_name(self) -> str:
        """Return the full name of the service."""
        return self._name

    def service_server_is_available(self) -> bool:
        """Return whether a server is there."""
        is_there = ctypes.c_bool()
        if self._maker.is_served(self._node.pointer, self.pointer, ctypes.byref(is_there)):
            raise self._maker.failed('look for a server')
        return is_there.value

    def send_request(self, request: Any) -> int:
        """Send a request; return its number."""
        number = ctypes.c_int64()
        if self._requests.send(request, lambda message: self._maker.send_request(
                self.pointer, message, ctypes.byref(number))):
            raise self._maker.failed('send a request')
        return number.value

    def take_response(self) -> tuple[int, Any] | None:
        """Return the number of a request and the response, if there is one."""
        header = ctypes.create_string_buffer(_REQUEST_ID.size)
        code, response = self._responses.take(lambda message: self._maker.take_response(
            self.pointer, header, message))
        if code == _NO_RESPONSE:
            return None
        if code:
            raise self._maker.failed('take a response')
        return _REQUEST_ID.unpack(header)[0], response


class FreeService(_ServiceEnd):
    """A hosted service of rcl."""

    kind = 'service'

    @property
    def name(self) -> str:
        """Return the full name of the service."""
        return self._name

    def service_take_request(self, request_type: Any) -> tuple[Any, Any]:
        """Return a request and its header, or twice ``None``."""
        header = ctypes.create_string_buffer(_REQUEST_ID.size)
        code, request = self._requests.take(lambda message: self._maker.take_request(
            self.pointer, header, message))
        if code == _NO_REQUEST:
            return None, None
        if code:
            raise self._maker.failed('take a request')
        return request, header

    def service_send_response(self, response: Any, header: Any) -> None:
        """
        Answer a request; it waits up to 0.1 s for the caller, while other threads run.

        :raises TimeoutError: the middleware has not found the caller yet.
        :raises RuntimeError: rcl cannot.
        """
        code = self._responses.send(response, lambda message: self._maker.send_response(
            self.pointer, header, message))
        if code == _TIMEOUT:
            self._maker.reset()
            raise TimeoutError('the caller is not found')
        if code:
            raise self._maker.failed('answer a request')
