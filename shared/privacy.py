"""Personal values: sealed per customer and place, found again by blind indexes, erased by destroying one key."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol

import idna
import phonenumbers
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.events.fields import SealedText

KEY_BYTES = 32
NONCE_BYTES = 12
CACHE_SECONDS = 60.0
CACHE_KEYS = 10_000

IndexKind = Literal["phone", "email", "external", "content"]

MAINLAND = 86
_MOBILE = re.compile(r"1[3-9]\d{9}")
_LOCAL = re.compile(r"""[^\s"(),:;<>@\[\\\]]+""")
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")


class Erased(Enum):
    """What a sealed value is once its key is destroyed: a value like any other, so that replays go on."""

    ERASED = "erased"


ERASED = Erased.ERASED


class BrokenSeal(Exception):
    """The ciphertext was altered or belongs to another customer, event or field."""


class KeyDestroyed(Exception):
    """Nothing more can be sealed for this customer: it was erased, and must not come back under the same id."""


class KeyStore(Protocol):
    """Wrapped data keys by customer id."""

    async def get(self, customer_id: str) -> bytes | None:
        """None: there never was one, or it was destroyed."""

    async def put_if_absent(self, customer_id: str, wrapped: bytes) -> bytes | None:
        """The one that is kept: the first of several at once. None: the customer's key was destroyed, for good."""

    async def delete(self, customer_id: str) -> None:
        """Destroys, and keeps the mark that makes `put_if_absent` answer None. Twice is harmless."""


class MemoryKeyStore:
    """For tests and for demonstrations that keep nothing."""

    def __init__(self) -> None:
        self._wrapped: dict[str, bytes | None] = {}

    async def get(self, customer_id: str) -> bytes | None:
        return self._wrapped.get(customer_id)

    async def put_if_absent(self, customer_id: str, wrapped: bytes) -> bytes | None:
        return self._wrapped.setdefault(customer_id, wrapped)

    async def delete(self, customer_id: str) -> None:
        self._wrapped[customer_id] = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only intake holds, and the sender of webhooks for the sake of their secrets. Whoever has both keys can read every
    customer that is not erased."""

    key_encryption_key: bytes = field(repr=False)
    blind_index_pepper: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "Secrets":
        return cls(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))

    @classmethod
    def read(cls, path: Path) -> "Secrets":
        """ValueError when others may read the file, or when it is not two keys of 32 bytes in base64."""
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{path}: others may read it; run: chmod 600 {path}")
        try:
            fields = json.loads(path.read_text("utf-8"))
            found = cls(*(base64.b64decode(fields[name], validate=True) for name in cls.__slots__))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}: expected JSON with base64 of {' and '.join(cls.__slots__)}") from None
        if {len(found.key_encryption_key), len(found.blind_index_pepper)} != {KEY_BYTES}:
            raise ValueError(f"{path}: each secret must have {KEY_BYTES} bytes")
        return found

    def write(self, path: Path) -> None:
        """Readable by the owner only. Raises FileExistsError: overwriting the old key would lose every sealed value."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({name: base64.b64encode(getattr(self, name)).decode() for name in self.__slots__}, file)


class Vault:
    """Seals and opens. Data keys are cached for at most a minute, the longest that another process may still read
    after an erasure; the erasing process forgets at once."""

    def __init__(
        self, key_encryption_key: bytes, keys: KeyStore, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wrapper = AESGCM(key_encryption_key)
        self._keys = keys
        self._monotonic = monotonic
        self._cache: OrderedDict[str, tuple[float, AESGCM]] = OrderedDict()
        self._destroyed = 0

    async def seal(self, customer_id: str, event_id: str, field: str, text: str) -> SealedText:
        """The first value of a customer creates its key. KeyDestroyed after an erasure."""
        cipher = await self._cipher(customer_id) or await self._created(customer_id)
        return _sealed(cipher, customer_id, event_id, field, text)

    async def open_(self, customer_id: str, sealed: SealedText) -> str | Erased:
        """BrokenSeal where the value is not in the place for which it was sealed."""
        cipher = await self._cipher(customer_id)
        if cipher is None:
            return ERASED
        return _opened(cipher, customer_id, sealed)

    async def destroy(self, customer_id: str) -> None:
        await self._keys.delete(customer_id)
        self._cache.pop(customer_id, None)
        self._destroyed += 1

    async def _cipher(self, customer_id: str) -> AESGCM | None:
        cached = self._cache.get(customer_id)
        if cached and self._monotonic() < cached[0]:
            return cached[1]
        self._cache.pop(customer_id, None)
        destroyed = self._destroyed
        wrapped = await self._keys.get(customer_id)
        return self._unwrapped(customer_id, wrapped, destroyed) if wrapped else None

    async def _created(self, customer_id: str) -> AESGCM:
        nonce, key = os.urandom(NONCE_BYTES), AESGCM.generate_key(KEY_BYTES * 8)
        wrapped = nonce + self._wrapper.encrypt(nonce, key, _place(customer_id, "", "key"))
        destroyed = self._destroyed
        kept = await self._keys.put_if_absent(customer_id, wrapped)
        if kept is None:
            raise KeyDestroyed("the customer was erased")
        return self._unwrapped(customer_id, kept, destroyed)

    def _unwrapped(self, customer_id: str, wrapped: bytes, destroyed: int) -> AESGCM:
        """Remembered only where no key was destroyed since it was asked for: it may have been this one."""
        place = _place(customer_id, "", "key")
        try:
            cipher = AESGCM(self._wrapper.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], place))
        except InvalidTag:
            raise BrokenSeal("the customer's key was wrapped by another key-encryption key") from None
        if self._destroyed == destroyed:
            self._cache[customer_id] = (self._monotonic() + CACHE_SECONDS, cipher)
        if len(self._cache) > CACHE_KEYS:
            self._cache.popitem(last=False)
        return cipher


class SubscriptionSeal:
    """Seals the signing secrets of subscriptions. Its key is made from the key-encryption key for this purpose alone, so
    that whoever sends webhooks can open no customer's key with it."""

    def __init__(self, key_encryption_key: bytes) -> None:
        derived = HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"guanxi subscriptions")
        self._cipher = AESGCM(derived.derive(key_encryption_key))

    def seal(self, subscription_id: str, secret_id: str, text: str) -> SealedText:
        return _sealed(self._cipher, subscription_id, secret_id, "secret", text)

    def open_(self, subscription_id: str, sealed: SealedText) -> str:
        """BrokenSeal where it is another subscription's, or was sealed under another key-encryption key."""
        return _opened(self._cipher, subscription_id, sealed)


class BlindIndex:
    """Finds a customer by a contact that is not kept: equal contacts give equal texts, and without the pepper nobody
    can try numbers until one fits."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper

    def of(self, kind: IndexKind, normalised: str) -> str:
        """64 hex digits. The value comes from `normalise_phone` or `normalise_email`."""
        return hmac.new(self._pepper, f"{kind}:{normalised}".encode(), hashlib.sha256).hexdigest()


def normalise_phone(text: str, region: str = "CN") -> str:
    """E.164, followed by `;ext=` (RFC 3966) where it has an extension, behind which sits somebody else.

    `region` (ISO 3166) reads numbers without a country code. ValueError, without the number, otherwise: also for a local
    number, since many cities have the same.
    """
    try:
        number = phonenumbers.parse(unicodedata.normalize("NFKC", text), region)
    except phonenumbers.NumberParseException:
        raise ValueError("is no phone number") from None
    if not (phonenumbers.is_valid_number(number) or _is_mainland_mobile(number)):
        raise ValueError("is no phone number with its area code")
    extension = f";ext={number.extension}" if number.extension else ""
    return f"{phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)}{extension}"


def _is_mainland_mobile(number: phonenumbers.PhoneNumber) -> bool:
    """Operators open prefixes before the library's tables know them; eleven digits from 13 on are mobiles, all of them."""
    return number.country_code == MAINLAND and _MOBILE.fullmatch(str(number.national_number)) is not None


def normalise_email(text: str) -> str:
    """Lower case (no provider of note tells cases apart), the domain in ASCII. ValueError, without the text, else."""
    local, _, domain = unicodedata.normalize("NFKC", text).strip().lower().rpartition("@")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
    except UnicodeError:
        raise ValueError("is no e-mail address") from None
    if not (_LOCAL.fullmatch(local) and local.isprintable() and _DOMAIN.fullmatch(ascii_domain)):
        raise ValueError("is no e-mail address")
    return f"{local}@{ascii_domain}"


def _sealed(cipher: AESGCM, owner: str, event_id: str, field: str, text: str) -> SealedText:
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + cipher.encrypt(nonce, text.encode(), _place(owner, event_id, field))
    return SealedText(field=field, event_id=event_id, ciphertext=base64.urlsafe_b64encode(sealed).decode())


def _opened(cipher: AESGCM, owner: str, sealed: SealedText) -> str:
    try:
        bytes_ = base64.urlsafe_b64decode(sealed.ciphertext)
        place = _place(owner, sealed.event_id, sealed.field)
        return cipher.decrypt(bytes_[:NONCE_BYTES], bytes_[NONCE_BYTES:], place).decode()
    except (InvalidTag, ValueError):
        raise BrokenSeal("the value does not belong here") from None


def _place(customer_id: str, event_id: str, field: str) -> bytes:
    """Additional data of the cipher; as a JSON list, so that no two places can be written alike."""
    return json.dumps([customer_id, event_id, field]).encode()
