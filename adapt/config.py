"""What stays the same between runs: from ADAPT_* variables and ~/.config/adapt/config.toml."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from adapt.errors import UsageError

__all__ = ["Config", "load_config"]


def _home(variable: str, fallback: str) -> Path:
    """A folder of the XDG base directory specification."""
    return Path(os.environ.get(variable) or Path.home() / fallback) / "adapt"


class Config(BaseSettings):
    """Paths that every command shares.

    `home` keeps the tables and the locks; `tables` is the table file, by default in `home`;
    `jobs` is where new job folders go. A leading ~ is the user's home folder.
    """

    model_config = SettingsConfigDict(env_prefix="ADAPT_", env_ignore_empty=True, extra="forbid")

    home: Path = Field(default_factory=lambda: _home("XDG_DATA_HOME", ".local/share"))
    tables: Path | None = None
    jobs: Path = Path("adapt-jobs")

    @field_validator("home", "tables", "jobs")
    @classmethod
    def _expanded(cls, path: Path | None) -> Path | None:
        return path and path.expanduser()

    @property
    def table_file(self) -> Path:
        """The SQLite file with the lookup tables."""
        return self.tables or self.home / "tables.db"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file."""
        file = _home("XDG_CONFIG_HOME", ".config") / "config.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)


def load_config() -> Config:
    """The configuration; UsageError where the file or a variable is not understood."""
    try:
        return Config()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the configuration is not understood: {_explained(error)}",
            "Mend config.toml or the ADAPT_* variables; docs/cli.md lists the settings.",
        ) from error


def _explained(error: Exception) -> str:
    """What is wrong, in one line; pydantic writes several with addresses of its own pages."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = [
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()
    ]
    return "; ".join(faults)
