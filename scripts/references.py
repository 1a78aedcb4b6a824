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
Write the references that are made from the code, and the parameter file.

``python scripts/references.py`` writes them anew; a test holds them equal.
"""
from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable, Iterator
import inspect
from pathlib import Path
import re
from textwrap import wrap

from ws_bridge import errors
from ws_bridge.cli.parser import build_parser
from ws_bridge.config import PARAMETERS, ParameterSpec
from ws_bridge.fleet.settings import OWN, SHARED
from ws_bridge.protocol.encodings import EncodingKind, ENCODINGS
from ws_bridge.protocol.operations import VIDEO

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = 'docs/reference/ws_bridge.v1.schema.json'
WIDTH = 99
YAML_HEAD = """\
# Parameters of the ws_bridge node: every one, with its default.
#
#   ws_bridge serve --ros-args --params-file ws_bridge.yaml
#   ros2 launch ws_bridge ws_bridge.launch.py params_file:=ws_bridge.yaml
#
# They are read at the start. Made from ws_bridge/config/parameters.py by
#   python scripts/references.py
/**:
  ros__parameters:
"""
PARAMETERS_HEAD = """\
# Parameters

<!-- Made from ws_bridge/config/parameters.py by `python scripts/references.py`. -->

These are the ROS parameters of the bridge node. The node reads them at its start.
There are three ways to set one:

```console
$ ws_bridge serve --ros-args -p port:=9091
$ ws_bridge serve --ros-args --params-file ws_bridge.yaml
$ ros2 launch ws_bridge ws_bridge.launch.py port:=9091 params_file:=ws_bridge.yaml
```

[`config/ws_bridge.yaml`](../../config/ws_bridge.yaml) has every parameter with its default.
[`config/secure.yaml`](../../config/secure.yaml) is a preset for a bridge that other machines
reach.

A value of the wrong kind or out of its range ends the node with one line that names the
parameter. So does a parameter that does not exist, if its name is nearly that of one
(`mapping_fil`). The node warns of other parameters that do not exist: they may be meant for other
nodes. ROS ignores a section of a file whose node name is not the bridge's, and tells nobody. ROS
reads values as YAML, which makes a bool of `off` or `no`, and a number of `1`. A text of this kind
needs quotes, also inside those of the shell: `-p robot_name:='"1"'`. `record:=off` needs none.

"""
RELAY_HEAD = """\
# Parameters of a relay

<!-- Made from ws_bridge/fleet/settings.py by `python scripts/references.py`. -->

A relay has no ROS. Its parameters come from a YAML file and from the command line:

```console
$ ws_bridge relay --params-file relay.yaml -p port:=9443
```

[Run a fleet](../how-to/run_a_fleet.md) shows how to use them together.

## Its own

"""
RELAY_SHARED = """
## Shared with a bridge

These parameters mean the same as for a [bridge](parameters.md). `max_peers` bounds the number of
robots, and separately the number of operators. A relay has the built-in roles and the role
`robot`.

"""
ERRORS_HEAD = """\
# Error codes

<!-- Made from ws_bridge/errors.py by `python scripts/references.py`. -->

Every error has a code and a message for a person. If one value is at fault, it also has the
path of that value (`data.linear.x`). The meaning of a code never changes. The classes are those of
`ws_bridge.errors`: the first class of a table is the base of the others.

`ws_bridge.js` has some more codes: [Web client](web_client.md#errors). `diagnose` has codes for
its findings: [Protocol](protocol.md#diagnosis).
"""
COMMANDS_HEAD = """\
# Command line and launch files

<!-- Made from ws_bridge/cli/parser.py and launch/ by `python scripts/references.py`. -->

The command is `ws_bridge COMMAND`. In a workspace it is `ros2 run ws_bridge ws_bridge COMMAND`.
After `make demo` it is `.venv/bin/ws_bridge COMMAND`.

`serve`, `demo` and `robot` start ROS nodes. They take ROS arguments after `--ros-args`, for
example `-p port:=9091`. The other commands need no ROS.

| exit code | |
|---|---|
| 0 | done; also a command that runs until Ctrl-C, such as `echo`; `doctor` found nothing |
| 1 | the operation failed, the reason is on stderr; `doctor` found something |
| 2 | wrong usage |
| 130 | Ctrl-C |

| environment variable | |
|---|---|
| `WS_BRIDGE_URL` | the bridge, for each command that takes `--url` |
| `WS_BRIDGE_TOKEN` | the token to log in with |
| `WS_BRIDGE_KEY` | file of the private key to sign with, where the role has to |
| `WS_BRIDGE_CA` | PEM file of the authority that signed the certificate of the bridge |
| `WS_BRIDGE_RCLPY` | of `serve`: `public` = use only the public API of rclpy, which is slower |
| `WS_BRIDGE_TOKENS` | of `serve` and `relay`: lines as in `token_file`; `;` also ends one |

"""
ENCODINGS_HEAD = """\
# Encodings

<!-- Made from ws_bridge/protocol/encodings.py by `python scripts/references.py`. -->

An encoding is the form of a ROS message in a frame. The native dialect has the encodings with a
`yes`. The two numbers after a `yes` are opcodes of binary frames: the first of samples, the second
of publications. [Come from rosbridge](../how-to/come_from_rosbridge.md) describes the rosbridge
dialect. A connection that asks for several encodings of one topic gets the one that comes last in
this table.

"""
LAUNCH_HEAD = """\
## Launch files

`demo.launch.py` starts the demo robot and the bridge. It takes the arguments of
`ws_bridge.launch.py`. `rosbridge_compatible.launch.py` takes the arguments of rosbridge's launch
file: see [Come from rosbridge](../how-to/come_from_rosbridge.md).

Where an argument is empty, the parameter file decides. If the address is not this machine's own,
peers need a way to log in: see [Log in](../how-to/log_in.md).

"""
LAUNCH_FILE = 'launch/ws_bridge.launch.py'
ERROR_GROUPS: tuple[tuple[str, type[errors.WsBridgeError]], ...] = (
    ('The frame or the request is malformed', errors.ProtocolError),
    ('A value does not fit its type', errors.ConversionError),
    ('The bridge does not do what was asked', errors.RequestError),
    ('The connection is at fault', errors.TransportError),
    ('The configuration is wrong', errors.ConfigError),
    ('A recording is at fault', errors.BadRecording),
)
REMARKS = {
    errors.TransportError:
        'Programs that use the Python package get these errors. A peer never gets them.',
    errors.ConfigError: 'The bridge ends with this error at its start. A peer never gets it.',
    errors.BadRecording: '`ws_bridge bag` ends with this error. A peer never gets it.'}


def parameter_file() -> str:
    """Return the parameter file with every default."""
    lines: list[str] = []
    for spec in PARAMETERS:
        lines += wrap(_described(spec), WIDTH, initial_indent='    # ',
                      subsequent_indent='    # ', break_long_words=False, break_on_hyphens=False)
        lines += [*wrap(f'{spec.name}: {_yaml(spec)}', WIDTH, initial_indent='    ',
                        subsequent_indent='      ', break_long_words=False,
                        break_on_hyphens=False), '']
    return YAML_HEAD + '\n'.join(lines[:-1]) + '\n'


def parameter_reference() -> str:
    """Return the reference of the parameters."""
    return PARAMETERS_HEAD + _parameter_table(PARAMETERS)


def relay_reference() -> str:
    """Return the reference of the parameters of a relay."""
    shared = ', '.join(f'`{name}`' for name in SHARED)
    return RELAY_HEAD + _parameter_table(OWN) + RELAY_SHARED + '\n'.join(
        wrap(shared, WIDTH, break_long_words=False)) + '\n'


def _parameter_table(specs: Iterable[ParameterSpec]) -> str:
    rows = ['| parameter | kind | default | range | meaning |', '|---|---|---|---|---|']
    for spec in specs:
        default = '[]' if spec.default == () else _yaml(spec).replace('|', r'\|')
        rows.append(f'| `{spec.name}` | {spec.kind.replace("_", " ")} | `{default}` | '
                    f'{spec.range_text()} | {spec.description.replace("*", chr(92) + "*")} |')
    return '\n'.join(rows) + '\n'


def error_reference() -> str:
    """Return the reference of the error codes."""
    parts = [ERRORS_HEAD, _error_table(errors.WsBridgeError, below=False)]
    for title, root in ERROR_GROUPS:
        remark = f'{REMARKS[root]}\n\n' if root in REMARKS else ''
        parts += [f'\n## {title}\n\n{remark}', _error_table(root)]
    gate = ' '.join(f'`{error.code}`' for error in errors.COMMAND_REFUSALS)
    when = f'{gate}: the [protocol](protocol.md#gates-leases-and-the-emergency-stop) says when.'
    return ''.join(parts) + '\n## Why a gate refuses a command\n\n' + '\n'.join(wrap(
        when, WIDTH, break_long_words=False, break_on_hyphens=False)) + '\n'


def encoding_reference() -> str:
    """Return the reference of the encodings."""
    rows = ['| encoding | frames | native | what it is |', '|---|---|---|---|']
    for kind in sorted(ENCODINGS.values(), key=lambda kind: kind.rank):
        rows.append(f'| `{kind.name}` | {"text" if kind.is_text else "binary"} | '
                    f'{_native(kind)} | {kind.description} |')
    return ENCODINGS_HEAD + '\n'.join(rows) + '\n'


def _native(kind: EncodingKind) -> str:
    if kind.opcode is None:
        return 'no'
    return f'yes, {kind.opcode} and {kind.opcode + 1}' if kind.opcode else 'yes'


def frame_schema() -> str:
    """Return the schema of frames with the encodings that there are; the rest is as it is."""
    names = ', '.join(f'"{name}"' for name in ENCODINGS.native_names)
    text = (ROOT / SCHEMA).read_text()
    return re.sub(rf'("encoding": \{{"enum": \[).*?(, "{VIDEO}")?(, null)?(\]\}})',
                  rf'\g<1>{names}\g<2>\g<3>\g<4>', text)


def command_reference() -> str:
    """Return the reference of the command line and of the launch file's arguments."""
    parts = [COMMANDS_HEAD]
    for name, command in _commands('', build_parser()):
        options = [action for action in command._actions if action.dest != 'help'
                   and not isinstance(action, argparse._SubParsersAction)]
        parts.append(f'## {name}\n\n{_sentence(command.description or "")}\n\n')
        if options:
            rows = [f'| `{_usage(action)}` | {action.help or ""} |' for action in options]
            parts.append('\n'.join(['| argument | |', '|---|---|', *rows]) + '\n\n')
    rows = [f'| `{name}` | {default} | {text} |' for name, default, text in _launch_arguments()]
    parts += [LAUNCH_HEAD, '\n'.join(['| argument | default | |', '|---|---|---|', *rows]), '\n']
    return ''.join(parts)


def _commands(name: str, parser: argparse.ArgumentParser
              ) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give the commands of a parser, those below a command after it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below, command in action.choices.items():
                full_name = f'{name} {below}'.strip()
                yield full_name, command
                yield from _commands(full_name, command)


def _sentence(text: str) -> str:
    return f'{text[0].upper()}{text[1:]}.'


def _usage(action: argparse.Action) -> str:
    """Return how an argument is written."""
    value = action.metavar or (
        '{' + ','.join(action.choices) + '}' if action.choices else action.dest.upper())
    if not action.option_strings:
        return f'[{value}]' if action.nargs == '?' else str(value)
    words = ', '.join(action.option_strings)
    return words if action.nargs == 0 else f'{words} {value}'


def _launch_arguments() -> Iterator[tuple[str, str, str]]:
    """Give name, default and meaning of each; read, as pip brings no launch."""
    for node in ast.walk(ast.parse((ROOT / LAUNCH_FILE).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'DeclareLaunchArgument':
            name = ast.literal_eval(node.args[0])
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            default, text = given['default_value'], ast.literal_eval(given['description'])
            if isinstance(default, ast.Constant):
                yield name, f'`{default.value}`' if default.value else 'empty', text
            else:
                yield name, {'parameters': '`config/ws_bridge.yaml`', 'PACKAGE': '`ws_bridge`'}[
                    ast.unparse(default)], text


def _error_table(root: type[errors.WsBridgeError], *, below: bool = True) -> str:
    rows = ['| code | class | meaning |', '|---|---|---|']
    for error in _tree(root) if below else [root]:
        rows.append(f'| `{error.code}` | `{error.__name__}` | {_meaning(error)} |')
    return ('' if below else '\n') + '\n'.join(rows) + '\n'


def _tree(root: type[errors.WsBridgeError]) -> Iterator[type[errors.WsBridgeError]]:
    yield root
    for error in root.__subclasses__():
        if error.__module__ == errors.__name__:
            yield from _tree(error)


def _meaning(error: type[errors.WsBridgeError]) -> str:
    text = (inspect.getdoc(error) or '').partition('\n:param')[0]
    return ' '.join(text.split()).replace('``', '`').replace(':attr:', '')


def _described(spec: ParameterSpec) -> str:
    limits = spec.range_text()
    return f'{spec.description} Range: {limits}.' if limits else spec.description


def _yaml(spec: ParameterSpec) -> str:
    """Return the default as YAML that rclpy reads with the right type."""
    value = spec.ros_default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f'[{", ".join(map(_yaml_text, value))}]'
    return _yaml_text(value) if isinstance(value, str) else repr(value)


def _yaml_text(text: str) -> str:
    """Return a text as YAML, in which a backslash between such quotes is one."""
    return "'{}'".format(text.replace("'", "''"))


FILES = {
    'config/ws_bridge.yaml': parameter_file,
    'docs/reference/parameters.md': parameter_reference,
    'docs/reference/relay_parameters.md': relay_reference,
    'docs/reference/error_codes.md': error_reference,
    'docs/reference/command_line.md': command_reference,
    'docs/reference/encodings.md': encoding_reference,
    SCHEMA: frame_schema,
}


if __name__ == '__main__':
    for name, made in FILES.items():
        (ROOT / name).write_text(made())
