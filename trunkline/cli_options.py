"""Options that several commands share, and the configuration they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from trunkline.config_load import Configuration, configure
from trunkline.errors import ConfigError

ConfigFile: TypeAlias = Annotated[Path | None, typer.Option("--config", help="Configuration file (config.toml).")]
Host: TypeAlias = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port: TypeAlias = Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free one.")]
DataDir: TypeAlias = Annotated[Path | None, typer.Option(help="Where the database and recordings lie.")]
DatabaseUrl: TypeAlias = Annotated[str | None, typer.Option(help="postgresql://… or sqlite:///…")]
ProfileName: TypeAlias = Annotated[str | None, typer.Option("--profile", help="auto, gemini, chain, offline or echo.")]
Workers: TypeAlias = Annotated[int | None, typer.Option(help="Processes that carry calls; 0: only this one.")]
LogLevel: TypeAlias = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
Set: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting: --set limits.max_calls=20; may be repeated.")
]


@dataclass(frozen=True, slots=True)
class Options:
    """What was given on the command line; None was not."""

    config: Path | None
    host: str | None
    port: int | None
    data_dir: Path | None
    database_url: str | None
    profile: str | None
    log_level: str | None
    log_file: Path | None
    more: tuple[str, ...] = ()
    workers: int | None = None

    def configuration(self, env: Mapping[str, str]) -> Configuration:
        """Everything read and checked. Raises ConfigError."""
        return configure(self.config, env, self._overrides())

    def _overrides(self) -> dict[str, object]:
        given: dict[str, object] = {
            "server.host": self.host,
            "server.port": self.port,
            "server.workers": self.workers,
            "server.data_dir": None if self.data_dir is None else str(self.data_dir),
            "database_url": self.database_url,
            "ai.profile": self.profile,
            "log.level": self.log_level,
            "log.file": None if self.log_file is None else str(self.log_file),
        }
        for item in self.more:
            key, equals, value = item.partition("=")
            if not equals or not key:
                raise ConfigError(f"--set {item!r}: must be KEY=VALUE, such as limits.max_calls=20")
            given[key.strip()] = value
        return given
