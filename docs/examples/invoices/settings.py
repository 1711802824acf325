"""The settings. Each may come from the environment: `INVOICES_DATABASE` for example."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`sync_every` is in seconds. `bank`, `shop` and `chat` are addresses of services."""

    model_config = SettingsConfigDict(env_prefix="INVOICES_")

    database: Path = Path("invoices.sqlite")
    bank: str = "http://127.0.0.1:9000"
    shop: str = "http://127.0.0.1:9000"
    chat: str = "http://127.0.0.1:9000"
    sync_every: float = 10


@lru_cache
def get_settings() -> Settings:
    """Tests override this one."""
    return Settings()


CurrentSettings = Annotated[Settings, Depends(get_settings)]
