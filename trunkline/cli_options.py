"""Options that several commands share, and the configuration they lead to."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

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
LogFile: TypeAlias = Annotated[Path | None, typer.Option(help="Write the log there instead of to standard error.")]
SHARED: Final[Mapping[str, Any]] = {
    "config": ConfigFile,
    "host": Host,
    "port": Port,
    "data_dir": DataDir,
    "database_url": DatabaseUrl,
    "profile": ProfileName,
    "log_level": LogLevel,
    "more": Set,
    "workers": Workers,
    "log_file": LogFile,
}
STORE: Final = ("config", "data_dir", "database_url")
SETTINGS: Final = ("config", "host", "port", "data_dir", "database_url", "profile", "more")


@dataclass(frozen=True, slots=True)
class Options:
    """What was given on the command line; None was not."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    data_dir: Path | None = None
    database_url: str | None = None
    profile: str | None = None
    log_level: str | None = None
    log_file: Path | None = None
    more: list[str] | None = None
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
        for item in self.more or ():
            key, equals, value = item.partition("=")
            if not equals or not key:
                raise ConfigError(f"--set {item!r}: must be KEY=VALUE, such as limits.max_calls=20")
            given[key.strip()] = value
        return given


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose first parameter, `options`, is filled from these shared options; they stand first in its help."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            command(Options(**{name: given.pop(name) for name in names}), **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(name, keyword, default=None, annotation=SHARED[name]) for name in names]
        every = [*shared, *(one.replace(kind=keyword) for one in own)]
        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in every}
        return run

    return decorate
