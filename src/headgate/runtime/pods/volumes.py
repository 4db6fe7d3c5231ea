"""A Pod's volumes as directories on this machine, with kubelet's way of swapping their contents in one step."""

import base64
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from headgate.api.snapshot import Snapshot
from headgate.api.workload import ConfigMapVolume, Container, KeyPath, PodSpec, Volume


class VolumeError(Exception):
    """A volume can't be made (yet); the text says what is missing, for people."""


class Content(Struct, frozen=True):
    """The files of a volume that is made from objects: path below it → contents and mode."""

    files: Mapping[str, bytes]
    mode: int = 0o600


def contents(spec: PodSpec, namespace: str, snapshot: Snapshot, *, secrets_optional: bool) -> dict[str, Content]:
    """The files of the Pod's ConfigMap, Secret and projected volumes, by volume. Pure.

    Raises VolumeError when an object or a key is not there. With `secrets_optional` (the simulator, which needs none)
    a Secret that is not there is an empty directory.
    """
    config_maps = {
        found.meta.name: {key: text.encode() for key, text in found.data.items()} | dict(found.binary_data)
        for found in snapshot.config_maps
        if found.meta.namespace == namespace
    }
    secrets = {found.meta.name: dict(found.data) for found in snapshot.secrets if found.meta.namespace == namespace}

    def pick(kind: str, name: str, items: tuple[KeyPath, ...], optional: bool) -> dict[str, bytes]:
        data = (config_maps if kind == "ConfigMap" else secrets).get(name)
        if data is None:
            if optional or (kind == "Secret" and secrets_optional):
                return {}
            raise VolumeError(f"{kind} {namespace}/{name} is not there")
        if not items:
            return {_safe(key): value for key, value in data.items()}
        absent = [item.key for item in items if item.key not in data]
        if absent and not optional:
            raise VolumeError(f"{kind} {namespace}/{name} has no key {absent[0]!r}")
        return {_safe(item.path): data[item.key] for item in items if item.key in data}

    made: dict[str, Content] = {}
    for volume in spec.volumes:
        if volume.config_map is not None:
            config = volume.config_map
            files = pick("ConfigMap", config.name, config.items, config.optional)
            made[volume.name] = Content(files, _mode(config.default_mode))
        elif volume.secret is not None:
            secret = volume.secret
            files = pick("Secret", secret.secret_name, secret.items, secret.optional)
            made[volume.name] = Content(files, _mode(secret.default_mode))
        elif volume.projected is not None:
            files = {}
            for source in volume.projected.sources:
                parts: tuple[tuple[str, ConfigMapVolume | None], ...] = (
                    ("ConfigMap", source.config_map),
                    ("Secret", source.secret),
                )
                for kind, part in parts:
                    if part is not None:
                        files |= pick(kind, part.name, part.items, part.optional)
            made[volume.name] = Content(files, _mode(volume.projected.default_mode))
    return made


def stand_ins(spec: PodSpec) -> tuple[Volume, ...]:
    """The volumes that this machine can't make, and an empty directory stands for."""
    return tuple(
        volume
        for volume in spec.volumes
        if volume.kind != "emptyDir"
        and not (volume.config_map or volume.secret or volume.host_path or volume.projected)
    )


class Volumes:
    """The directories of one Pod's volumes, below a directory of its own; the contents change with the objects."""

    def __init__(self, root: Path, spec: PodSpec, namespace: str, *, secrets_optional: bool) -> None:
        self._root = root
        self._spec = spec
        self._namespace = namespace
        self._secrets_optional = secrets_optional
        self._written: dict[str, Content] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Make the directories and bring their files up to date. Raises VolumeError, and then changes nothing."""
        wanted = contents(self._spec, self._namespace, snapshot, secrets_optional=self._secrets_optional)
        for volume in self._spec.volumes:
            if volume.host_path is None:
                (self._root / _safe(volume.name)).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in wanted.items():
            if self._written.get(name) != content:
                publish(self._root / name, content)
                self._written[name] = content

    def restore(self, snapshot: Snapshot) -> None:
        """Make anew what was deleted of them by others, if anything was. Raises VolumeError, as `update`."""
        made = {volume.name: self._root / volume.name for volume in self._spec.volumes if volume.host_path is None}
        lost = [
            name
            for name, place in made.items()
            if not place.is_dir()
            or (name in self._written and not all((place / file).exists() for file in self._written[name].files))
        ]
        if lost:
            self._written = {name: content for name, content in self._written.items() if name not in lost}
            self.update(snapshot)

    def mounts(self, container: Container) -> dict[str, str]:
        """mountPath → the real path, for one container. Raises VolumeError when a mount names no volume."""
        places: dict[str, str] = {}
        for mount in container.volume_mounts:
            volume = next((volume for volume in self._spec.volumes if volume.name == mount.name), None)
            if volume is None:
                raise VolumeError(f"container {container.name} mounts {mount.name!r}, and no volume is called that")
            place = Path(volume.host_path.path) if volume.host_path else self._root / mount.name
            if mount.sub_path:
                place = place / _safe(mount.sub_path)
                if volume.kind == "emptyDir":
                    place.mkdir(mode=0o700, parents=True, exist_ok=True)
            places[mount.mount_path] = str(place)
        return places


def publish(directory: Path, content: Content) -> None:
    """Write the files so that a reader sees all of the old ones or all of the new ones.

    The layout is kubelet's: the files lie in a directory named by the time, the link `..data` names that directory
    and is replaced in one step, and each visible name is a link through `..data`.
    """
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    new = directory / (stamp + str(int.from_bytes(os.urandom(4))))
    new.mkdir(mode=0o700)
    for name, data in content.files.items():
        path = new / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(content.mode)
    link = directory / "..data"
    old = directory / os.readlink(link) if link.is_symlink() else None
    temporary = directory / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(new.name)
    temporary.rename(link)
    visible = {name.partition("/")[0] for name in content.files}
    for name in visible:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"..data/{name}")
    for entry in os.scandir(directory):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in visible:
            Path(entry.path).unlink()
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def directory_name(namespace: str, name: str, uid: str) -> str:
    """A name for a Pod's directory that no other Pod has, whatever its own is."""
    short = re.sub(r"[^-.a-z0-9]", "_", f"{namespace}_{name}".lower())[:80].lstrip(".")
    return f"{short}_{base64.b32encode(hashlib.blake2b(uid.encode(), digest_size=5).digest()).decode().lower()}"


def _mode(written: int | None) -> int:
    """Only the user's own bits: what is in a container is that container's, a machine has other users."""
    return 0o600 if written is None else (written & 0o700) | 0o400


def _safe(path: str) -> str:
    """The path, if it leads nowhere but down, and not to a name that the swap needs. Raises VolumeError."""
    parts = path.rstrip("/").split("/")
    if "\0" in path or any(part in ("", ".") or part.startswith("..") for part in parts):
        raise VolumeError(f"path {path!r} does not lie below its volume")
    return "/".join(parts)
