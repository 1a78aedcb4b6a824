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
The tree of subcommands, and what they return.

Exit codes: 0 done, 1 the operation failed (why is on stderr), 2 wrong usage, 130 Ctrl-C; a command
that runs until Ctrl-C, such as ``echo``, ends with 0.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
import math
import os
import re
import sys
from typing import Any

import orjson

from ws_bridge.cli.ros_arguments import check_domain, check_ros_arguments
from ws_bridge.config import VERSION
from ws_bridge.config.forms import FLEET_NAME
from ws_bridge.convert.typescript import WIDE_INTEGERS
from ws_bridge.errors import ConfigError, WsBridgeError
from ws_bridge.protocol.encodings import ENCODINGS

DEFAULT_URL = 'ws://127.0.0.1:9090'
DEFAULT_PORT = 9090
URL_VARIABLE = 'WS_BRIDGE_URL'
SEVERAL = 'of several, with commas between them, the first one that answers'
ROS_ARGUMENTS = '--ros-args'
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_BARE_HOST = re.compile(r'[^:/\[\]]+|\[[^\[\]/]*\]')


def main(argv: list[str] | None = None) -> int:
    """
    Run a command.

    :param argv: the words after ``ws_bridge``; ``None`` = those of this process. Everything from
        ``--ros-args`` on is for ROS and passed on as it is.
    :return: the exit code.
    """
    words = sys.argv[1:] if argv is None else argv
    own = words[:words.index(ROS_ARGUMENTS)] if ROS_ARGUMENTS in words else words
    parser = build_parser()
    try:
        args, unknown = parser.parse_known_args(own)
        args.ros_args = words[len(own):]
        if unknown:
            where = f'; ROS arguments come after {ROS_ARGUMENTS}' if args.takes_ros_args else ''
            parser.error(f'unrecognized arguments: {" ".join(unknown)}{where}')
        if args.ros_args and not args.takes_ros_args:
            parser.error(f"'{args.command}' takes no {ROS_ARGUMENTS}")
        if getattr(args, 'robot', None) is not None:
            args.url = ','.join(f'{url.rstrip("/")}/robots/{args.robot}'
                                for url in args.url.split(','))
    except SystemExit as exc:
        return int(exc.code or 0)
    return run(_checked, args)


def _checked(args: argparse.Namespace) -> int:
    if args.takes_ros_args or getattr(args, 'publish', None):
        check_domain(os.environ.get('ROS_DOMAIN_ID', ''))
        check_ros_arguments(args.ros_args)
    handler: Callable[[argparse.Namespace], int] = args.handler
    try:
        return handler(args)
    except ModuleNotFoundError as exc:
        if not args.takes_ros_args:
            raise
        raise ConfigError(f'{exc.name} is missing: source the setup.bash of ROS 2, or run '
                          "`pip install 'ws_bridge[kilted]'`") from exc


def run(handler: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a handler and turn its errors into a line on stderr and an exit code."""
    try:
        code = handler(args)
        sys.stdout.flush()
        return code
    except ConfigError as exc:
        print(exc, file=sys.stderr)
    except WsBridgeError as exc:
        print(f'{exc.code}: {exc}{_advice(exc)}', file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()      # who read our output (head) has enough
        return DONE
    except OSError as exc:
        _drop_output()      # it may be what cannot be written
        print(f'{exc.filename}: {exc.strerror}' if exc.filename else exc.strerror or exc,
              file=sys.stderr)
    except UnicodeEncodeError as exc:
        print(f'{exc.object!r} cannot be written in {exc.encoding}', file=sys.stderr)
    return FAILED


def _advice(error: WsBridgeError) -> str:
    """Say where a command takes from what the other side misses."""
    if error.code == 'signature_needed':
        return ' (WS_BRIDGE_KEY names the file of the key)'
    return ' (put the token into WS_BRIDGE_TOKEN)' if str(error).endswith('log in first') else ''


def _drop_output() -> None:
    """Throw away what was not written: the interpreter would try again at its end."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser() -> argparse.ArgumentParser:
    """Return the whole tree; each subcommand sets ``handler``."""
    parser = argparse.ArgumentParser(
        prog='ws_bridge', description='A WebSocket bridge for ROS 2.',
        epilog="Commands that start ROS nodes take ROS arguments after '--ros-args', for example "
               "'-p port:=9091'.")
    parser.add_argument('--version', action='version', version=f'ws_bridge {VERSION}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)

    def add(name: str, summary: str, handler: Callable[[argparse.Namespace], int], *,
            takes_ros_args: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(handler=handler, takes_ros_args=takes_ros_args)
        return command

    add('serve', 'run the bridge (takes --ros-args)', _serve, takes_ros_args=True)
    add('demo', 'run the demo robot and the bridge (takes --ros-args)', _demo,
        takes_ros_args=True)
    add('robot', 'run the demo robot alone (takes --ros-args)', _robot, takes_ros_args=True)
    _add_relay(add('relay', 'run a relay, through which operators reach robots that dial it',
                   _relay))
    _add_key(add('key', 'make a key that signs commands, and print the line of the public one',
                 _key))
    check = add('check', 'check a mapping file and print what it exposes', _check)
    check.add_argument('file', metavar='FILE', help='the mapping file')
    check.add_argument('--as', metavar='ROLE', dest='role', help='what this role may do')
    _add_topics(add('topics', 'list what a running bridge exposes', _client))
    _add_echo(add('echo', 'print the samples of a topic, one JSON line each', _client))
    _add_pub(add('pub', 'publish to a topic', _client))
    _add_call(add('call', 'call a service and print its result as JSON', _client))
    _add_doctor(add('doctor', 'say why nothing arrives from a topic, or nothing moves', _doctor))
    _add_ticket(add('ticket', 'make a URL that logs a client in, once and soon', _client))
    _add_types(add('types', 'print TypeScript declarations of message types', _client))
    robots = add('robots', 'list the robots of a relay', _robots)
    robots.add_argument('--url', type=_url, default=_default_url(),
                        help=f'the relay (default: ${URL_VARIABLE} or {DEFAULT_URL}); {SEVERAL}')
    robots.add_argument('--json', action='store_true', dest='as_json',
                        help='print the list as JSON')
    _add_ping(add('ping', 'measure round trip and clock offset', _client))
    record = add('record', 'make a running bridge save what it has recorded', _client)
    _add_url(record)
    record.add_argument('--service', metavar='NAME', help='the service that saves it (default: '
                        'the one that ends in /record/save)')
    again = add('replay', 'serve a recording as if it were a robot, read-only', _replay)
    again.add_argument('path', metavar='FOLDER', help='the recording, or one of its files')
    again.add_argument('--port', type=_port, metavar='N', default=DEFAULT_PORT,
                       help=f'TCP port to listen on, 0 = any free one (default: {DEFAULT_PORT})')
    again.add_argument('--address', metavar='HOST', default='127.0.0.1',
                       help='address to listen on (default: 127.0.0.1)')
    again.add_argument('--speed', type=_positive, metavar='X', default=1.0,
                       help='how fast it goes (default: 1 = as it was)')
    again.add_argument('--begin', type=_moment, metavar='S', help='s from the beginning')
    again.add_argument('--loop', action='store_true', dest='is_endless',
                       help='begin anew at the end')
    _add_reader(again)
    again.add_argument('--publish', metavar='TOPIC', action='append', default=[],
                       help='also publish this topic into ROS, unless it has a gate; may be given '
                       'several times')
    _add_bag(add('bag', 'look into a recording, and check it', _bag))
    return parser


def _add_relay(command: argparse.ArgumentParser) -> None:
    command.add_argument('--params-file', metavar='FILE', help='YAML, a parameter a line')
    command.add_argument('-p', metavar='NAME:=VALUE', dest='assignments', action='append',
                         default=[], help='a parameter; may be given several times')


def _add_key(command: argparse.ArgumentParser) -> None:
    command.add_argument('file', metavar='FILE', help='of the private key; made if it is not '
                         'there')
    command.add_argument('name', metavar='NAME', type=_key_name,
                         help='of whoever has the key, as in the login')


def _add_topics(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('-v', '--verbose', action='store_true',
                         help='with types and counts, and services, actions and nodes')


def _add_echo(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('topic', metavar='TOPIC')
    command.add_argument('--count', type=_count, metavar='N', help='end after N samples')
    command.add_argument('--encoding', choices=ENCODINGS.native_names, default='json',
                         help='how samples travel; they are printed as JSON (default: json)')
    command.add_argument('--max-rate', type=_positive, metavar='HZ',
                         help='the most samples a second')
    command.add_argument('--max-points', type=_count, metavar='N',
                         help='of a point cloud: the most points of a sample')
    command.add_argument('--type', metavar='TYPE', dest='msg_type',
                         help='message type, for a topic that does not exist yet')


def _add_pub(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('topic', metavar='TOPIC')
    command.add_argument('fields', type=_json, metavar='JSON',
                         help="the message's fields; - reads stdin")
    command.add_argument('--type', metavar='TYPE', dest='msg_type',
                         help='message type, for a topic that does not exist yet')
    command.add_argument('--rate', type=_positive, metavar='HZ',
                         help='publish again and again (default: once)')
    command.add_argument('--take', action='store_true',
                         help='take control from whoever has it, if a gate guards the topic')
    command.add_argument('--wait', type=_duration, metavar='S', default=5.0,
                         help='how long to wait for a subscriber (default: 5 s)')
    times = command.add_mutually_exclusive_group()
    times.add_argument('--count', type=_count, metavar='N',
                       help='publish N times, at 1 Hz unless --rate is given')
    times.add_argument('--once', action='store_const', const=1, dest='count',
                       help='publish once')


def _add_call(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('service', metavar='SERVICE')
    command.add_argument('fields', type=_json, metavar='JSON', nargs='?', default='{}',
                         help="the request's fields (default: {}); - reads stdin")
    command.add_argument('--type', metavar='TYPE', dest='srv_type',
                         help='call only if the service has this type')
    command.add_argument('--timeout', type=_positive, metavar='S',
                         help="how long the call may take (default: the bridge's)")


def _add_ticket(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('role', metavar='ROLE',
                         help='role of the client; no more than yours')


def _add_types(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    command.add_argument('types', metavar='TYPE', nargs='+',
                         help='for example nav_msgs/msg/Odometry; services and actions too')
    command.add_argument('--lang', choices=('ts',), default='ts',
                         help='the language (default: ts, TypeScript)')
    command.add_argument('--int64', choices=WIDE_INTEGERS, default='bigint',
                         help="what 64-bit integers are, as the client's option says "
                         '(default: bigint)')


def _add_ping(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group()
    _add_url(where)
    _add_robot(command)
    where.add_argument('url', type=_url, metavar='URL', nargs='?', action=_StoreGiven,
                       help='the same without --url')
    command.add_argument('--count', type=_count, metavar='N', help='end after N heartbeats')
    command.add_argument('--interval', type=_positive, metavar='S', default=1.0,
                         help='time between heartbeats (default: 1 s)')


def _add_bag(command: argparse.ArgumentParser) -> None:
    commands = command.add_subparsers(dest='bag_command', metavar='COMMAND', required=True)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        below = commands.add_parser(name, help=summary, description=summary)
        below.add_argument('path', metavar='FOLDER', help='the recording, or one of its files')
        return below
    add('info', 'print what is in a recording')
    part = add('cut', 'copy a part of a recording')
    part.add_argument('target', metavar='TARGET', type=_some, help='the folder to make')
    _add_span(part)
    _add_reader(part)
    part.add_argument('--key', metavar='FILE', type=_some, help='sign with this private key')
    table = add('csv', 'print the messages of a topic as CSV')
    table.add_argument('topic', metavar='TOPIC')
    _add_span(table)
    table.add_argument('-o', '--output', metavar='FILE', help='write there instead')
    whole = add('mcap', 'write a recording as one MCAP file, which is not signed')
    whole.add_argument('target', metavar='TARGET', type=_some, help='the file to make')
    whole.add_argument('--topic', metavar='TOPIC', action='append', dest='topics',
                       help='only this topic; may be given several times')
    _add_span(whole)
    _add_reader(whole)
    add('verify', 'say what was changed, cut or left out').add_argument(
        '--key', metavar='FILE', type=_some,
        help="the bridge's public key (record_key, with .pub)")
    add('repair', 'make a recording that was cut readable again').add_argument(
        '--key', metavar='FILE', type=_some, help="sign with this private key, the bridge's")


def _add_reader(command: argparse.ArgumentParser) -> None:
    command.add_argument('--as', metavar='ROLE', dest='role',
                         help='only what this role may read; it needs the right `recordings`')
    command.add_argument('--mapping', metavar='FILE', help='the mapping file that has the role')
    command.add_argument('--node', metavar='NAME', help='the node of the bridge that recorded, '
                         'for names with ~ (default: /ws_bridge)')


def _add_span(command: argparse.ArgumentParser) -> None:
    for name, what in (('--begin', 'first message'), ('--end', 'end, which is left out')):
        command.add_argument(name, type=_moment, metavar='S', help=f'time of the {what}: s from '
                             'the beginning, or a Unix time')


def _some(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError('is empty')
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not int(text) < 65536:
        raise argparse.ArgumentTypeError(f'{text!r} is no port')
    return int(text)


def _moment(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < 9e9:
        raise argparse.ArgumentTypeError(f'{text!r} is no time in s')
    return number


class _StoreGiven(argparse.Action):
    """Stores a value, if there is one: what is not given leaves that of another argument."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        if values is not None:
            setattr(namespace, self.dest, values)


def _add_doctor(command: argparse.ArgumentParser) -> None:
    _add_url(command)
    _add_robot(command)
    command.add_argument('topic', metavar='TOPIC', nargs='?',
                         help='the topic at fault (default: only what concerns all of them)')
    command.add_argument('--use', choices=('subscribe', 'publish'),
                         help='whether nothing arrives (subscribe) or nothing moves (publish); '
                              'default: publish for a topic with a gate')
    command.add_argument('--origin', metavar='ORIGIN',
                         help='origin of a page that cannot connect, for example '
                              'https://page.example')
    command.add_argument('--wait', type=_positive, metavar='S', default=2.0,
                         help='how long a sample may take to come (default: 2 s)')
    command.add_argument('--json', action='store_true', dest='as_json',
                         help='print an object with a list of findings')


def _add_url(command: argparse._ActionsContainer) -> None:
    command.add_argument('--url', type=_url, default=_default_url(),
                         help=f'the bridge (default: ${URL_VARIABLE} or {DEFAULT_URL}); '
                         f'{SEVERAL}')


def _add_robot(command: argparse.ArgumentParser) -> None:
    command.add_argument('--robot', type=_robot_name, metavar='NAME',
                         help='name of the robot, if the URL is that of a relay')


def _default_url() -> str:
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def _url(text: str) -> str:
    """Give a bare host the bridge's port; the rest is the transport's to check."""
    return ','.join(f'ws://{url}:{DEFAULT_PORT}' if _BARE_HOST.fullmatch(url) else url
                    for url in text.split(','))


def _robot_name(text: str) -> str:
    if FLEET_NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no name of a robot of a fleet')
    return text


def _key_name(text: str) -> str:
    from ws_bridge.identity.identity import is_name
    if not is_name(text) or len(text.split()) != 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a name: no spaces')
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2 ** 31:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1 on')
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1e6:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0, at most 1000000')
    return number


def _duration(text: str) -> float:
    return 0.0 if text == '0' else _positive(text)


def _json(text: str) -> orjson.Fragment:
    """Check JSON and keep its text: what the bridge gets is what was typed."""
    text = sys.stdin.read() if text == '-' else text
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise argparse.ArgumentTypeError(f'not JSON: {exc}') from exc
    return orjson.Fragment(text)


# The handlers import late: `check` and `--help` need neither ROS nor websockets.

def _serve(args: argparse.Namespace) -> int:
    _require_websockets()
    from ws_bridge.main import serve
    return serve(args.ros_args)


def _demo(args: argparse.Namespace) -> int:
    _require_websockets()
    from ws_bridge.main import demo
    return demo(args.ros_args)


def _require_websockets() -> None:
    """Check it before what imports it: an import that fails says nothing of what to do."""
    from ws_bridge.transport.requirements import require_websockets
    require_websockets()


def _robot(args: argparse.Namespace) -> int:
    from ws_bridge.demo.node import run as run_robot
    return run_robot(args.ros_args)


def _key(args: argparse.Namespace) -> int:
    from ws_bridge.identity.signatures import line_of, load_private_key, make_private_key
    key = load_private_key(args.file, 'key') if os.path.exists(args.file) else \
        make_private_key(args.file, 'key')
    print(line_of(args.name, key.public))
    return DONE


def _check(args: argparse.Namespace) -> int:
    from ws_bridge.cli.check import check
    return check(args.file, args.role)


def _relay(args: argparse.Namespace) -> int:
    _require_websockets()
    from ws_bridge.fleet.serve import relay
    return relay(args.params_file, args.assignments)


def _robots(args: argparse.Namespace) -> int:
    from ws_bridge.cli.robots import robots
    return robots(args.url, as_json=args.as_json)


def _doctor(args: argparse.Namespace) -> int:
    from ws_bridge.cli.doctor import doctor
    return doctor(args)


def _client(args: argparse.Namespace) -> int:
    _require_websockets()
    from ws_bridge.cli.commands import run_command
    return run_command(args)


def _bag(args: argparse.Namespace) -> int:
    from ws_bridge.record.requirements import require_libraries
    require_libraries()
    from ws_bridge.cli.bag import bag
    return bag(args)


def _replay(args: argparse.Namespace) -> int:
    _require_websockets()
    from ws_bridge.record.requirements import require_libraries
    require_libraries()
    from ws_bridge.cli.replay import replay
    return replay(args)
