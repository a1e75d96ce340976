"""
Custom properties that an operator has a say in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import Factory, field, frozen
from jsonschema import Draft4Validator, SchemaError, ValidationError
from jsonschema.validators import extend

from glance_tx.domain.errors import BadPropertySchema

__all__ = ["SHIPPED_PROPERTIES", "OperatorProperty"]

_UUID: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_TYPES: Final = ("string", ["string"], ["null", "string"], ["string", "null"])


def _pattern(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    """
    Search for a pattern as JSON schema wants it, whose ``$`` is the end of the text and not the last line break.
    """
    strict = f"{pattern[:-1]}\\Z" if pattern.endswith("$") and not pattern.endswith("\\$") else pattern
    if isinstance(value, str) and re.search(strict, value) is None:
        yield ValidationError("does not match")


# The dialect of schemas that stock Glance's files are written in.
_Validator: Final = extend(Draft4Validator, {"pattern": _pattern})


@frozen
class OperatorProperty:
    """
    What an operator wants of one custom property.

    :param schema: JSON schema of its value, which is a text or, if that says so, null.
    :raises BadPropertySchema: It is no such schema.
    """

    schema: Mapping[str, Any]
    _validator: Any = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: _compile(self.schema), takes_self=True)
    )

    def flaw(self, value: str | None) -> str | None:
        """
        Say what is wrong with a value; ``None`` where nothing is.
        """
        for error in self._validator.iter_errors(value):
            return f"must keep to {error.validator} {error.validator_value!r}"
        return None


def _compile(schema: Mapping[str, Any]) -> Any:
    try:
        _Validator.check_schema(schema)
    except SchemaError as error:
        raise BadPropertySchema(f"{error.json_path}: {error.message}") from error
    if schema.get("type", "string") not in _TYPES:
        raise BadPropertySchema(f'\'type\' must be "string" or ["null", "string"], not {schema["type"]!r}')
    if "$ref" in str(schema):
        raise BadPropertySchema("'$ref' is not supported")
    # Values are texts where the schema does not say.
    return _Validator({"type": "string", **schema})


def _shipped(description: str, **schema: Any) -> OperatorProperty:
    return OperatorProperty({"type": "string", **schema, "description": description})


SHIPPED_PROPERTIES: Final[Mapping[str, OperatorProperty]] = {
    "kernel_id": _shipped(
        "Image of the kernel to boot an AMI-style image with.", type=["null", "string"], pattern=_UUID
    ),
    "ramdisk_id": _shipped(
        "Image of the ramdisk to boot an AMI-style image with.", type=["null", "string"], pattern=_UUID
    ),
    "instance_uuid": _shipped("The server that the image was made of, for information."),
    "architecture": _shipped("Processor architecture of the operating system."),
    "os_distro": _shipped("Common name of the operating system's distribution, in lower case."),
    "os_version": _shipped("Version of the operating system, as its distributor has it."),
    "description": _shipped("What the image is, in words."),
    "cinder_encryption_key_id": _shipped("Key in the key manager that a volume made of the image is encrypted with."),
    "cinder_encryption_key_deletion_policy": _shipped(
        "What becomes of the key once the image is deleted.", enum=["on_image_deletion", "do_not_delete"]
    ),
}
"""Those of stock's ``schema-image.json``. Command lines of clients have an option for each."""
