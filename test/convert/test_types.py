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
"""Interface types by name, and which names never lead to an import."""
from __future__ import annotations

import sys
import time

import pytest

from ws_bridge.convert.schema import Constant, Field, FieldType
from ws_bridge.errors import UnknownType
from ws_bridge.ros.types import full_name, schema_of, TypeStore


@pytest.fixture
def types():
    return TypeStore()


def test_a_message_by_both_of_its_names(types):
    schema = types.message('geometry_msgs/Twist')
    assert schema is types.message('geometry_msgs/msg/Twist')
    assert schema.name == 'geometry_msgs/msg/Twist'
    assert [item.name for item in schema.fields] == ['linear', 'angular']
    assert full_name(types.message_class('geometry_msgs/Twist')) == schema.name


def test_a_service_by_both_of_its_names(types):
    service = types.service('std_srvs/SetBool')
    assert service == types.service('std_srvs/srv/SetBool')
    assert service.name == 'std_srvs/srv/SetBool'
    assert service.request == types.message('std_srvs/srv/SetBool_Request')
    assert [item.name for item in service.response.fields] == ['success', 'message']
    assert types.service_class('std_srvs/SetBool').Request is \
        types.message_class('std_srvs/srv/SetBool_Request')


def test_an_action_by_both_of_its_names(types):
    action = types.action('test_msgs/Fibonacci')
    assert action == types.action('test_msgs/action/Fibonacci')
    assert action.name == 'test_msgs/action/Fibonacci'
    assert [item.name for item in action.goal.fields] == ['order']
    assert [item.name for item in action.result.fields] == ['sequence']
    assert action.feedback == types.message('test_msgs/action/Fibonacci_Feedback')
    assert types.action_class('test_msgs/Fibonacci').Goal.__name__ == 'Fibonacci_Goal'


def test_the_messages_behind_an_action(types):
    goal = types.message('test_msgs/action/Fibonacci_SendGoal_Request')
    assert goal.fields[1].field_type.message == types.action('test_msgs/Fibonacci').goal


def test_constants_and_defaults(types):
    constants = {item.name: item for item in types.message('test_msgs/Constants').constants}
    assert constants['BOOL_CONST'] == Constant('BOOL_CONST', 'bool', True)
    assert constants['BYTE_CONST'] == Constant('BYTE_CONST', 'octet', 50)
    assert constants['FLOAT32_CONST'] == Constant('FLOAT32_CONST', 'float64', 1.125)
    assert constants['INT8_CONST'] == Constant('INT8_CONST', 'int32', -50)
    defaults = {item.name: item.default for item in types.message('test_msgs/Defaults').fields}
    assert (defaults['bool_value'], defaults['byte_value'], defaults['int8_value']) == (
        True, 50, -50)
    arrays = {item.name: item.default for item in types.message('test_msgs/Arrays').fields}
    assert arrays['byte_values_default'] == [0, 1, 255]
    assert arrays['uint64_values_default'] == [0, 1, 2 ** 64 - 1]
    assert arrays['string_values'] is None


def test_constants_of_any_size():
    constants = {'A': 2 ** 40, 'B': -2 ** 40, 'C': 2 ** 63, 'D': 'x'}
    message_class = type('Made', (), {
        **constants, '__module__': 'p.msg._made', 'SLOT_TYPES': (),
        'get_fields_and_field_types': classmethod(lambda cls: {})})
    assert [item.kind for item in schema_of(message_class).constants] == [
        'int64', 'int64', 'uint64', 'string']


def test_the_name_of_a_constant_is_read_in_no_time():
    """An expression that tries every way to divide a name takes hours for that of a field."""
    names = ('TIME_OF_LAST_GOOD_COMMAND_IN_SECONDS', 'A', 'A1_2B', 'B', 'B_')
    message_class = type('Made', (), {
        **dict.fromkeys((*names, 'BOUNDED_STRING_VALUE_DEFAULT1__DEFAULT', '_C', 'C__D'), 1),
        '__module__': 'p.msg._made', 'SLOT_TYPES': (),
        'get_fields_and_field_types': classmethod(lambda cls: {})})
    began = time.process_time()
    constants = schema_of(message_class).constants
    assert time.process_time() < began + 0.2
    assert [item.name for item in constants] == [*names[:-1]]


def test_field_types(types):
    fields = {item.name: item.field_type for item in types.message('test_msgs/WStrings').fields}
    assert fields['bounded_sequence_of_wstrings'] == FieldType('wstring', None, None, 'bounded', 3)
    assert types.message('test_msgs/Strings').fields[-1] == Field(
        'bounded_string_value_default5', FieldType('string', None, 22), 'Hello"world!')
    kinds = [item.field_type.kind for item in types.message('test_msgs/BasicTypes').fields]
    assert kinds == ['bool', 'octet', 'uint8', 'float32', 'float64', 'int8', 'uint8', 'int16',
                     'uint16', 'int32', 'uint32', 'int64', 'uint64']


@pytest.mark.parametrize('name', [
    '', '/', 'Twist', 'geometry_msgs', 'geometry_msgs/', 'geometry_msgs/twist',
    '/geometry_msgs/Twist',
    'geometry_msgs/Twist/', 'geometry_msgs//Twist', 'geometry_msgs/msg/msg/Twist',
    'geometry_msgs.msg/Twist', 'geometry_msgs/Twist ', ' geometry_msgs/Twist', '../x/Twist',
    'geometry_msgs/../Twist', 'geometry_msgs/Twist\n', 'geometry_msgs/Twist\x00',
    'geometry_msgs/Twíst',
    'geometry_msgs/Nope', 'geometry_msgs/srv/Twist', 'no_such_package/Twist', 'a' * 300 + '/B',
    'geometry_msgs/msg/__doc__', 'std_srvs/SetBool', 'std_srvs/srv/SetBool',
    'test_msgs/action/Fibonacci', 'test_msgs/action/Fibonacci_Impl', 'std_srvs/msg/SetBool'])
def test_names_that_are_no_message(types, name):
    with pytest.raises(UnknownType):
        types.message(name)


@pytest.mark.parametrize('name', ['geometry_msgs/Twist', 'std_srvs/msg/SetBool',
                                  'test_msgs/Fibonacci', 'std_srvs/action/SetBool',
                                  'std_srvs/srv/SetBool_Request'])
def test_names_that_are_no_service(types, name):
    with pytest.raises(UnknownType):
        types.service(name)


@pytest.mark.parametrize('name', ['geometry_msgs/Twist', 'std_srvs/SetBool',
                                  'test_msgs/srv/Fibonacci'])
def test_names_that_are_no_action(types, name):
    with pytest.raises(UnknownType):
        types.action(name)


def test_naming_a_package_does_not_run_it(types, tmp_path, monkeypatch):
    for name in ('innocent_pkg', 'broken_msgs'):
        (tmp_path / name / 'msg').mkdir(parents=True)
        (tmp_path / name / '__init__.py').write_text('raise ImportError("ran")\n')
        (tmp_path / name / 'msg' / '__init__.py').write_text('class Foo: SLOT_TYPES = ()\n')
    (tmp_path / 'broken_msgs' / 'broken_msgs_s__rosidl_typesupport_c.so').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownType, match='no interface package'):
        types.message('innocent_pkg/Foo')
    with pytest.raises(UnknownType, match='ran'):
        types.message('broken_msgs/Foo')
    assert 'innocent_pkg' not in sys.modules


def test_the_store_says_what_it_holds(types):
    types.message('std_msgs/Header')
    assert repr(types) == 'TypeStore(1 classes, 2 schemas)'
