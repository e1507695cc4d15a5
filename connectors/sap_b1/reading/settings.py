"""`[connectors.<name>]` with `kind = "sap_b1"`: B1 as a source."""

from typing import Literal

from pydantic import Field, PrivateAttr

from connectors.base.settings import ConnectorSettings, Settings
from connectors.sap_b1.settings import CompanySettings


class ReleaseSettings(Settings):
    """When an order is released to a warehouse: all that is named must hold."""

    status: Literal["open"] = Field(default="open", description="open: neither closed nor cancelled")
    user_field: str | None = Field(
        default=None, pattern=r"^U_[A-Za-z0-9_]{1,48}$", description="A user field of orders, as U_RELEASED"
    )
    value: str = Field(default="Y", description="What user_field must hold")
    approved: bool = Field(
        default=False, description="true: only orders that are marked as approved and wait for no approval"
    )


class SapB1Settings(ConnectorSettings):
    """How a company's B1 is read; where it is, and with which user, its `[companies.<name>]` says."""

    kind: Literal["sap_b1"] = Field(description="sap_b1")
    poll_interval_s: float = Field(
        default=30, ge=1, le=86_400, description="Seconds between two looks at changed documents and items"
    )
    sweep_interval_s: float = Field(
        default=300, ge=5, le=86_400, description="Seconds between two full readings of stock and of open orders"
    )
    release: ReleaseSettings = ReleaseSettings()
    price_lists: tuple[int, ...] = Field(default=(), description="Numbers of the price lists that are read")

    _b1: CompanySettings | None = PrivateAttr(default=None)

    def bind(self, company: CompanySettings) -> None:
        """Say whose B1 it is; done once both are valid."""
        self._b1 = company

    @property
    def b1(self) -> CompanySettings:
        """The company's settings.

        Raises:
            LookupError: It was not bound: a mistake of ours.
        """
        if self._b1 is None:
            raise LookupError("the connector was not bound to its company")
        return self._b1
